// Part: registers as text, from the register table: a dump of the chip, and names for single accesses.

import { fieldValue } from "./dp8390.ts";
import { REGISTERS, type RegisterRow } from "./registers.ts";
import type { Dp8390State } from "./state.ts";

/**
 * One line for each register: name, value, names of the bits that are set, section of the data sheet.
 * Reads nothing through the bus, so tallies and FIFO stay as they are.
 */
export function describeRegisters({ registers }: Readonly<Dp8390State>): string[] {
  const seen = new Set<string>();
  const lines: string[] = [];
  for (const row of REGISTERS) {
    const isKept = row.field !== undefined || row.name in registers;
    if (!isKept || seen.has(row.name)) continue;
    seen.add(row.name);
    const value =
      row.field === undefined ? (registers[row.name as keyof typeof registers] as number) : fieldValue(registers, row);
    lines.push(`${row.name.padEnd(8)} ${describeValue(row, value).padEnd(32)} ${row.section}`);
  }
  return lines;
}

/** The register that an access reaches, with the page that CR selects; undefined where there is none. */
export function registerAt(page: number, offset: number, isWrite: boolean): RegisterRow | undefined {
  const access = isWrite ? "w" : "r";
  return REGISTERS.find((row) => row.offset === offset && row.pages.includes(page) && row.access.includes(access));
}

/** A value with the names of its bits: `0x22 RD2 STA`. */
export function describeValue(row: RegisterRow, value: number): string {
  const names = (row.bits ?? []).filter((name, index) => name !== "" && (value & (0x80 >> index)) !== 0);
  return [`0x${value.toString(16).padStart(2, "0")}`, ...names].join(" ");
}
