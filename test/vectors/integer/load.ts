/**
 * Reads the single-instruction vectors taken on a real processor (see README.md for the format and how they were taken).
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

const MAGIC = "RBIV";
const FORMAT_VERSION = 1;
const NO_EXCEPTION = 0xff;

/** A run of bytes at a linear address. */
export interface MemoryPiece {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** General registers in encoding order (EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI), each 0 to 2^32 - 1. */
export type GeneralRegisters = readonly number[];

/** One instruction executed at CPL 3, IOPL 0, IF set, with flat segments. */
export interface IntegerVector {
  /** Mnemonic and operand shape, such as `adc r/m32, imm8`. */
  readonly form: string;
  /** Position within the form, from 0. */
  readonly index: number;
  /** The instruction's bytes, at `IntegerVectors.code`; everything after them is INT3 and not executed. */
  readonly bytes: Uint8Array;
  readonly initial: { readonly gpr: GeneralRegisters; readonly eflags: number };
  /** What the window holds at the start where it differs from `background`. */
  readonly memory: readonly MemoryPiece[];
  readonly final: { readonly gpr: GeneralRegisters; readonly eflags: number; readonly eip: number };
  /** What the instruction changed in the window. */
  readonly written: readonly MemoryPiece[];
  readonly exception?: { readonly vector: number; readonly errorCode: number };
}

export interface IntegerVectors {
  /** Linear address of the instruction. */
  readonly code: number;
  /** The only memory that the instructions read and write. */
  readonly window: { readonly address: number; readonly size: number };
  readonly forms: readonly { readonly name: string; readonly vectors: readonly IntegerVector[] }[];
}

/** The byte that the window holds at a linear address where a vector says nothing else. */
export function background(address: number): number {
  return (Math.imul(address, 0x9d) ^ (address >>> 5)) & 0xff;
}

class Cursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.#at++);
  }

  u16(): number {
    this.#at += 2;
    return this.#view.getUint16(this.#at - 2, true);
  }

  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  bytes(length: number): Uint8Array {
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new RangeError("integer vectors: the file ends inside a vector");
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(length: number): string {
    return String.fromCharCode(...this.bytes(length));
  }

  registers(before: GeneralRegisters): GeneralRegisters {
    const changed = this.u8();
    return before.map((value, i) => (changed & (1 << i) ? this.u32() : value));
  }

  pieces(): MemoryPiece[] {
    return Array.from({ length: this.u8() }, () => {
      const address = this.u16();
      return { address, bytes: this.bytes(this.u8()) };
    });
  }
}

function readVector(from: Cursor, form: string, index: number, idle: GeneralRegisters): IntegerVector {
  const bytes = from.bytes(from.u8());
  const initial = { gpr: from.registers(idle), eflags: from.u16() };
  const memory = from.pieces();
  const final = { gpr: from.registers(initial.gpr), eip: from.u32(), eflags: from.u16() };
  const written = from.pieces();
  const vector = from.u8();
  const plain = { form, index, bytes, initial, memory, final, written };
  return vector === NO_EXCEPTION ? plain : { ...plain, exception: { vector, errorCode: from.u16() } };
}

/** @throws Error when the file is missing, of another format, or cut short. */
export function loadIntegerVectors(): IntegerVectors {
  const from = new Cursor(gunzipSync(readFileSync(new URL("./integer.vectors.gz", import.meta.url))));
  const magic = from.text(MAGIC.length);
  const version = from.u16();
  if (magic !== MAGIC || version !== FORMAT_VERSION)
    throw new Error(`integer vectors: unknown format ${magic} ${version}`);
  from.u32(); // the generator's seed
  const window = { address: from.u32(), size: from.u32() };
  const code = from.u32();
  const idle = Array.from({ length: 8 }, () => from.u32());
  const forms = [];
  for (let length = from.u8(); length > 0; length = from.u8()) {
    const name = from.text(length);
    const count = from.u16();
    forms.push({ name, vectors: Array.from({ length: count }, (_, index) => readVector(from, name, index, idle)) });
  }
  return { code, window, forms };
}
