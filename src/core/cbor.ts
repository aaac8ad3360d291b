// Part: CBOR (RFC 8949), piece by piece: definite lengths, shortest heads.
// The writer is our own because every event of a trace passes through it: it appends to one buffer and allocates nothing.
// `itemEnd` finds where an item ends without trusting a byte of it; a trace's rows are read back with cbor-x.

import { InputError } from "./errors.ts";

const UNSIGNED = 0x00;
const NEGATIVE = 0x20;
const BYTES = 0x40;
const TEXT = 0x60;
const ARRAY = 0x80;
const MAP = 0xa0;
const TAG = 0xc0;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;
const UNDEFINED = 0xf7;

const TWO_32 = 2 ** 32;

/** Nesting that `itemEnd` follows; a trace needs five levels. Deeper input is refused rather than recursed into. */
const MAX_DEPTH = 32;

const utf8 = new TextEncoder();

export class CborWriter {
  #buffer = new Uint8Array(4096);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The bytes written so far: a view that the next write may overwrite. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** @param value an integer from 0 to 2^53 - 1 */
  uint(value: number): void {
    this.#head(UNSIGNED, value);
  }

  /** @param value an integer between -2^53 and 2^53 */
  int(value: number): void {
    if (value >= 0) this.#head(UNSIGNED, value);
    else this.#head(NEGATIVE, -1 - value);
  }

  /** @param value an integer from 0 to 2^64 - 1 */
  uint64(value: bigint): void {
    if (value < 0x20_0000_0000_0000n) this.#head(UNSIGNED, Number(value));
    else {
      this.#reserve(9);
      this.#buffer[this.#length++] = UNSIGNED | 27;
      this.#word(Number(value >> 32n));
      this.#word(Number(value & 0xffff_ffffn));
    }
  }

  bool(value: boolean): void {
    this.#byte(value ? TRUE : FALSE);
  }

  null(): void {
    this.#byte(NULL);
  }

  undefined(): void {
    this.#byte(UNDEFINED);
  }

  text(value: string): void {
    const length = value.length;
    for (let index = 0; index < length; index++) {
      if (value.charCodeAt(index) > 0x7f) {
        this.#string(TEXT, utf8.encode(value));
        return;
      }
    }
    this.#head(TEXT, length);
    this.#reserve(length);
    for (let index = 0; index < length; index++) this.#buffer[this.#length++] = value.charCodeAt(index);
  }

  bytes(value: Uint8Array): void {
    this.#string(BYTES, value);
  }

  array(length: number): void {
    this.#head(ARRAY, length);
  }

  /** @param length entries; each is a key and a value, and the caller puts the keys in order */
  map(length: number): void {
    this.#head(MAP, length);
  }

  /** @param number the meaning of the item that follows */
  tag(number: number): void {
    this.#head(TAG, number);
  }

  /** Bytes that are CBOR already. */
  raw(encoded: Uint8Array): void {
    this.#reserve(encoded.length);
    this.#buffer.set(encoded, this.#length);
    this.#length += encoded.length;
  }

  #string(major: number, bytes: Uint8Array): void {
    this.#head(major, bytes.length);
    this.raw(bytes);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  #head(major: number, argument: number): void {
    this.#reserve(9);
    const buffer = this.#buffer;
    if (argument < 24) buffer[this.#length++] = major | argument;
    else if (argument < 0x100) {
      buffer[this.#length++] = major | 24;
      buffer[this.#length++] = argument;
    } else if (argument < 0x1_0000) {
      buffer[this.#length++] = major | 25;
      buffer[this.#length++] = argument >>> 8;
      buffer[this.#length++] = argument;
    } else if (argument < TWO_32) {
      buffer[this.#length++] = major | 26;
      this.#word(argument);
    } else {
      buffer[this.#length++] = major | 27;
      this.#word(Math.floor(argument / TWO_32));
      this.#word(argument % TWO_32);
    }
  }

  #word(value: number): void {
    const buffer = this.#buffer;
    buffer[this.#length++] = value >>> 24;
    buffer[this.#length++] = value >>> 16;
    buffer[this.#length++] = value >>> 8;
    buffer[this.#length++] = value;
  }

  #reserve(length: number): void {
    const needed = this.#length + length;
    if (needed <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}

/**
 * The offset behind the item that starts at `start`: −1 when the input ends before the item does.
 * @throws InputError on what is not well-formed, or not of the subset that traces use
 */
export function itemEnd(bytes: Uint8Array, start: number): number {
  // Items still to come at each open level, innermost last.
  const open: number[] = [1];
  const isMap: boolean[] = [false];
  let position = start;
  while (open.length > 0) {
    const level = open.length - 1;
    if (open[level] === 0) {
      open.pop();
      isMap.pop();
      continue;
    }
    // Of a map an even number of items is left when the next one is a key.
    const isKey = isMap[level] === true && open[level]! % 2 === 0;
    open[level]! -= 1;
    const initial = bytes[position++];
    if (initial === undefined) return -1;
    const major = initial & 0xe0;
    const information = initial & 0x1f;
    if (isKey && major !== TEXT) throw new InputError("a map key that is not text", `offset ${position - 1}`);
    if (major === 0xe0) {
      if (initial === FALSE || initial === TRUE || initial === NULL) continue;
      throw new InputError(`the byte 0x${initial.toString(16)} begins no item of a trace`, `offset ${position - 1}`);
    }
    if (information > 27 || major === TAG) {
      throw new InputError(`the byte 0x${initial.toString(16)} begins no item of a trace`, `offset ${position - 1}`);
    }
    let argument = information;
    if (information > 23) {
      const length = 1 << (information - 24);
      if (position + length > bytes.length) return -1;
      argument = 0;
      for (let index = 0; index < length; index++) argument = argument * 256 + bytes[position++]!;
    }
    if (major === BYTES || major === TEXT) {
      position += argument;
      if (position > bytes.length) return -1;
    } else if (major === ARRAY || major === MAP) {
      // Each item takes a byte at least, so a count beyond what is left means that the input ends before the item.
      if (argument > bytes.length - position) return -1;
      if (open.length >= MAX_DEPTH) throw new InputError("nested too deeply for a trace", `offset ${position}`);
      open.push(major === MAP ? 2 * argument : argument);
      isMap.push(major === MAP);
    }
  }
  return position;
}
