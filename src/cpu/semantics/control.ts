// Part: near jumps, calls and loops (Intel SDM Vol. 1 §7.3.8). Far transfers are part "system".

import { CONDITIONS } from "../opcodes.ts";
import { ECX } from "../state.ts";
import type { Context } from "./context.ts";
import { condition } from "./data.ts";

const conditional: Record<string, (c: Context) => void> = {};
for (const [index, name] of CONDITIONS.entries()) {
  conditional[`j${name}`] = (c) => {
    c.b.if(condition(c, index), () => c.branch());
    c.next();
  };
}

/** LOOPcc: counts down in ECX or CX; `zero` is the ZF that goes on, if it matters. */
function loop(zero: boolean | undefined): (c: Context) => void {
  return (c) => {
    const count = c.let(c.register(ECX, c.variant.address).sub(1));
    const more = c.let(c.variant.address === 16 ? count.and(0xffff) : count);
    const zeroFlag = c.flagResult.eqz();
    const taken = zero === undefined ? more : more.ne(0).and(zero ? zeroFlag : zeroFlag.eqz());
    c.b.if(taken, () => c.branch(() => c.setRegister(ECX, count, c.variant.address)));
    c.setRegister(ECX, count, c.variant.address);
    c.next();
  };
}

export const CONTROL: Record<string, (c: Context) => void> = {
  ...conditional,
  jmp: (c) => c.branch(),
  jmp_indirect: (c) => c.jump(c.let(c.get(0))),
  call: (c) => c.branch(() => c.push(c.nextEip().truncate(c.variant.size))),
  call_indirect: (c) => {
    const target = c.let(c.get(0));
    c.checkTarget(target);
    c.push(c.nextEip().truncate(c.variant.size));
    c.transfer(target);
  },
  ret: (c) => {
    const target = c.let(c.top());
    c.checkTarget(target);
    c.release(c.variant.size / 8);
    if (c.opcode.operands.length > 0) c.release(c.field("immediate"));
    c.transfer(target);
  },
  loop: loop(undefined),
  loope: loop(true),
  loopne: loop(false),
  jecxz: (c) => {
    c.b.if(c.register(ECX, c.variant.address).eqz(), () => c.branch());
    c.next();
  },
};
