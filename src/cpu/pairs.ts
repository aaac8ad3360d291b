// Part: which two consecutive instructions have a handler in common, to save the dispatch between them.
// They are what compilers put next to each other, in flat 32-bit code. The first always goes on with the second, which keeps a
// record of its own: a jump to it, or a budget that ends between the two, finds it there.

import type { Form } from "./handlers.ts";
import { CONDITIONS } from "./opcodes.ts";

export interface Pair {
  readonly first: Form;
  readonly second: Form;
}

/** Conditional jumps, without those on overflow and parity. */
const JUMPS: ReadonlySet<string> = new Set(
  CONDITIONS.filter((name) => !/[op]/.test(name)).map((name) => `j${name} J linked`),
);

/** What sets the flags that a conditional jump asks for. All of them set all flags, so that nothing need be read back. */
const TESTS: ReadonlySet<string> = new Set([
  ...["cmp Ev,Gv", "cmp Gv,Ev", "cmp Ev,Iv"].flatMap((name) => [name, `${name} base`, `${name} indexed`]),
  ...["cmp E8,G8", "cmp G8,E8", "cmp E8,I8"].flatMap((name) => [name, `${name} base`]),
  ...["test Ev,Gv", "test Ev,Iv", "test E8,G8", "test E8,I8"].flatMap((name) => [name, `${name} base`]),
  ...["cmp Av,Iv", "cmp A8,I8", "test Av,Iv", "test A8,I8", "inc Rv", "dec Rv", "inc Ev", "dec Ev"],
  ...["add", "sub", "and", "or"].flatMap((name) =>
    ["Ev,Gv", "Gv,Ev", "Ev,Iv", "Av,Iv"].map((list) => `${name} ${list}`),
  ),
]);

/** The most frequent instructions that go straight on. */
const STRAIGHT: ReadonlySet<string> = new Set([
  ...["mov Gv,Ev base", "mov Gv,Ev indexed", "mov Ev,Gv", "mov Ev,Gv base", "mov Ev,Gv indexed", "mov Rv,Iv"],
  ...["add Ev,Gv", "add Ev,Iv", "add Av,Iv", "add Gv,Ev base", "xor Ev,Gv", "lea Gv,Mv base", "lea Gv,Mv indexed"],
  ...["push Rv", "pop Rv", "movzx Gv,E8 base"],
]);
/** What ends a run behind one of them. */
const ENDS: ReadonlySet<string> = new Set(["jmp J linked", "call J linked", "ret"]);

/** A form's name without what all forms of flat 32-bit code share; "" for others. */
function shape({ opcode, variant, operands }: Form): string {
  const { size, place, environment, linked, address, repeat } = variant;
  if (size !== 32 || environment !== "flat" || address !== 32 || repeat !== "once") return "";
  const parts = [opcode.name, ...(operands === "" ? [] : [operands]), ...(place === "register" ? [] : [place])];
  return [...parts, ...(linked ? ["linked"] : [])].join(" ");
}

/** The pairs among `forms`, in a fixed order. */
export function pairsOf(forms: readonly Form[]): Pair[] {
  const shaped = (shapes: ReadonlySet<string>): Form[] => forms.filter((form) => shapes.has(shape(form)));
  const jumps = shaped(JUMPS);
  const straight = shaped(STRAIGHT);
  const seconds = [...straight, ...shaped(ENDS)];
  return [
    ...shaped(TESTS).flatMap((first) => jumps.map((second) => ({ first, second }))),
    ...straight.flatMap((first) => seconds.map((second) => ({ first, second }))),
  ];
}
