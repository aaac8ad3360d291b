// Part: registers as text, from the register table: a dump of the chip, and names for single accesses.

import { fieldValue, PAGE_SHIFT } from "./dp8390.ts";
import { DATA_PORT, RESET_PORT } from "./ports.ts";
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

/** Names a card's port accesses. The page that CR selects is followed from access to access. */
export class AccessNames {
  #page = 0;

  /** What an access reaches: `ISR`, with what it writes `CR = 0x62 PS0 RD2 STA`; wider accesses reach several registers. */
  describe(offset: number, width: number, isWrite: boolean, value?: number): string {
    const names: string[] = [];
    for (let index = 0; index < width && offset + index < DATA_PORT; index++) {
      const row = registerAt(this.#page, offset + index, isWrite);
      const byte = value === undefined ? "" : describeByte(row, (value >>> (8 * index)) & 0xff);
      names.push(`${row?.name ?? "reserved"}${byte}`);
    }
    if (names.length > 0) return names.join(", ");
    return offset < RESET_PORT ? "data port" : "reset port";
  }

  /** An access takes place: a write to CR or a reset may select another page. */
  follow(offset: number, isWrite: boolean, value: number): void {
    if (offset === 0 && isWrite) this.#page = (value >> PAGE_SHIFT) & 3;
    else if (offset >= RESET_PORT && !isWrite) this.#page = 0;
  }
}

/** ` = 0x41 RDC PRX` */
function describeByte(row: RegisterRow | undefined, value: number): string {
  return row === undefined ? "" : ` = ${describeValue(row, value)}`;
}
