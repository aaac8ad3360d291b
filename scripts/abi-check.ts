// Compares the tables of src/xen/abi with Xen's public headers as the C compiler understands them, for both x86 ABIs.
// The headers are those of Debian's libxen-dev, in guests/.cache (scripts/fetch-guests) or /usr/include/xen.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CONSTANTS } from "../src/xen/abi/constants.ts";
import type { Abi, AnyStructure } from "../src/xen/abi/layout.ts";
import { STRUCTURES } from "../src/xen/abi/structures.ts";

/** XORed to every value, so that none is zero and each has a line of its own in the listing. */
const MARK = 0x5a5a5a5a;

const COMPILER_FLAGS: Readonly<Record<Abi, string>> = { x86_32: "-m32", x86_64: "-m64" };

export type AbiCheck =
  | { readonly skipped: string }
  | { readonly checked: number; readonly differences: readonly string[] };

/** The folder that holds xen/xen.h, undefined when there is none. */
export function findHeaders(): string | undefined {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const folders = [process.env.XEN_HEADERS, join(root, "guests/.cache/usr/include"), "/usr/include"];
  return folders.find((folder) => folder !== undefined && existsSync(join(folder, "xen/xen.h")));
}

/** Compares every size, offset and constant; `structures` may name others than those of src/xen/abi. */
export function checkAbi(abi: Abi, structures: readonly AnyStructure[] = STRUCTURES, constants = CONSTANTS): AbiCheck {
  const headers = findHeaders();
  if (headers === undefined) return { skipped: "no Xen headers: run scripts/fetch-guests (Debian's libxen-dev)" };
  const expected = new Map<string, number>();
  for (const one of structures) {
    const layout = one.layouts[abi];
    expected.set(`sizeof(${one.name})`, layout.size);
    for (const [member, type] of Object.entries(one.members)) {
      if (typeof type !== "string" && type[1] === 0 && abi === "x86_32") continue;
      // Bit-fields have no offset in C.
      if (member.startsWith("#")) continue;
      expected.set(`offsetof(${one.name}, ${member})`, layout.offset[member] ?? -1);
    }
  }
  for (const group of Object.values(constants)) {
    for (const [name, value] of Object.entries(group)) expected.set(name, value);
  }
  const folder = mkdtempSync(join(tmpdir(), "xen-abi-"));
  try {
    const source = join(folder, "abi.c");
    const listing = join(folder, "abi.s");
    const expressions = [...expected.keys()];
    writeFileSync(source, cSource(expressions, structures, Object.keys(constants)));
    const flags = [COMPILER_FLAGS[abi], "-ffreestanding", "-w", "-I", headers];
    const compiled = spawnSync("gcc", [...flags, "-S", "-o", listing, source], { encoding: "utf8" });
    if (compiled.error !== undefined) return { skipped: "no C compiler: install gcc" };
    if (compiled.status !== 0) return { checked: 0, differences: [compiled.stderr] };
    const values = [...readFileSync(listing, "utf8").matchAll(/^\s*\.long\s+(-?\d+)/gm)].map((match) =>
      Number(match[1]),
    );
    if (values.length !== expressions.length) return { checked: 0, differences: ["the listing is not understood"] };
    const found = new Map(expressions.map((expression, index) => [expression, (values[index]! ^ MARK) >>> 0]));
    const differences = [...expected]
      .filter(([expression, value]) => found.get(expression) !== value >>> 0)
      .map(([expression, value]) => `${expression}: the table says ${value}, the headers ${found.get(expression)}`);
    return { checked: expected.size, differences };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One table of 32-bit numbers, read back from the assembly listing: no library of the other ABI is needed. */
function cSource(
  expressions: readonly string[],
  structures: readonly AnyStructure[],
  headers: readonly string[],
): string {
  const included = new Set([...headers, ...structures.map((one) => one.header)]);
  return [
    "#define __XEN_INTERFACE_VERSION__ 0x00040e00",
    "#define __XEN_TOOLS__ 1",
    "#include <stddef.h>",
    "#include <stdint.h>",
    "#include <xen/xen.h>",
    ...[...included].map((header) => `#include <xen/${header}>`),
    "const unsigned table[] = {",
    ...expressions.map((text) => `  (unsigned)(${text}) ^ ${MARK}u,`),
    "};",
    "",
  ].join("\n");
}
