// Part: a PCI function's configuration space (PCI Local Bus Specification 2.1, chapter 6) as a table of bytes with their reset values, the bits
// that can be written and those that a written one clears.

import type { AccessWidth } from "../../core/bus.ts";
import { assert, InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";

const SIZE = 256;

/** Registers of every function (section 6.1). */
export const PCI = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  CLASS: 0x09,
  HEADER_TYPE: 0x0e,
  BAR4: 0x20,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;
export const COMMAND_IO = 1 << 0;
/** An I/O base address register says so in its lowest bit. */
export const BAR_IO = 1;

export interface ConfigRow {
  readonly offset: number;
  readonly name: string;
  /** Reset values, one byte each. */
  readonly bytes: readonly number[];
  /** Bits that can be written; none when absent. */
  readonly writable?: readonly number[];
  /** Bits that writing a one clears. */
  readonly clearable?: readonly number[];
  /** Where the data sheet describes it. */
  readonly section: string;
}

export class ConfigSpace implements Snapshotable<Uint8Array> {
  readonly name: string;
  readonly #reset = new Uint8Array(SIZE);
  readonly #bytes = new Uint8Array(SIZE);
  readonly #writable = new Uint8Array(SIZE);
  readonly #clearable = new Uint8Array(SIZE);

  /** @param rows in ascending order; bytes that no row names read as zeros */
  constructor(name: string, rows: readonly ConfigRow[]) {
    this.name = name;
    let end = 0;
    for (const { offset, bytes, writable, clearable, name: register } of rows) {
      assert(offset >= end, `${name}: ${register} overlaps the register before it`);
      end = offset + bytes.length;
      this.#reset.set(bytes, offset);
      this.#writable.set(writable ?? [], offset);
      this.#clearable.set(clearable ?? [], offset);
    }
    this.#bytes.set(this.#reset);
  }

  /** @param offset 0 to 255; what lies beyond reads as zeros */
  read(offset: number, width: AccessWidth): number {
    let value = 0;
    for (let index = 0; index < width; index++) value |= (this.#bytes[offset + index] ?? 0) << (8 * index);
    return value >>> 0;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    for (let index = 0; index < width && offset + index < SIZE; index++) {
      const at = offset + index;
      const byte = (value >>> (8 * index)) & 0xff;
      const writable = this.#writable[at]!;
      const old = this.#bytes[at]! & ~(byte & this.#clearable[at]!);
      this.#bytes[at] = (old & ~writable) | (byte & writable);
    }
  }

  reset(): void {
    this.#bytes.set(this.#reset);
  }

  save(): Uint8Array {
    return this.#bytes.slice();
  }

  /** @throws InputError when a byte differs that can never change */
  load(bytes: Uint8Array): void {
    const isOurs = (byte: number, at: number): boolean =>
      ((byte ^ this.#reset[at]!) & ~(this.#writable[at]! | this.#clearable[at]!)) === 0;
    if (!(bytes instanceof Uint8Array) || bytes.length !== SIZE || !bytes.every(isOurs)) {
      throw new InputError("not this function's configuration space", `snapshot of ${this.name}`);
    }
    this.#bytes.set(bytes);
  }
}
