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

/** Names a card's port accesses one after another; the page that CR selected is remembered between them. */
export class AccessNames {
  readonly #base: number;
  #page = 0;

  /** @param base the card's first port */
  constructor(base: number) {
    this.#base = base;
  }

  /** `ISR = 0x41 RDC PRX` for a write, `ISR: 0x41 RDC PRX` for a read; undefined for ports that are not the card's registers. */
  describe(port: number, isWrite: boolean, value: number): string | undefined {
    const row = registerAt(this.#page, port - this.#base, isWrite);
    if (row === undefined) return undefined;
    if (row.name === "CR" && isWrite) this.#page = (value >> 6) & 3;
    return `${row.name}${isWrite ? " =" : ":"} ${describeValue(row, value & 0xff)}`;
  }
}
