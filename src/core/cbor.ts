// Part: CBOR (RFC 8949), piece by piece: definite lengths, shortest heads.
// The writer is our own because every event of a trace passes through it: it appends to one buffer and allocates nothing.
// `itemEnd` finds where an item ends without trusting a byte of it; a trace's rows are read back with cbor-x.

import { InputError, InvariantError } from "./errors.ts";

// Heads and simple values (section 3).
const UNSIGNED = 0x00;
const NEGATIVE = 0x20;
const BYTES = 0x40;
const TEXT = 0x60;
export const ARRAY = 0x80;
const MAP = 0xa0;
const TAG = 0xc0;
const SIMPLE = 0xe0;
export const FALSE = 0xf4;
export const TRUE = 0xf5;
export const NULL = 0xf6;
const UNDEFINED = 0xf7;

/** Arguments below it stand in the head's first byte. */
export const SHORT = 24;
/** The longest head, which is also the longest number. */
export const HEAD_BYTES = 9;
/** UTF-8 takes at most so many bytes for each unit of UTF-16. */
export const UTF8_BYTES = 3;

const TWO_32 = 2 ** 32;
const TWO_53 = 2 ** 53;

/** Nesting that `itemEnd` follows; a trace needs five levels. Deeper input is refused rather than recursed into. */
const MAX_DEPTH = 32;

const utf8 = new TextEncoder();

// Each of these puts an item into `bytes` at `place`, where there has to be room, and gives the place behind it.

function putHead(bytes: Uint8Array, place: number, major: number, argument: number): number {
  if (argument < SHORT) {
    bytes[place] = major | argument;
    return place + 1;
  }
  if (argument < 0x100) {
    bytes[place] = major | 24;
    bytes[place + 1] = argument;
    return place + 2;
  }
  if (argument < 0x1_0000) {
    bytes[place] = major | 25;
    bytes[place + 1] = argument >>> 8;
    bytes[place + 2] = argument;
    return place + 3;
  }
  if (argument < TWO_32) {
    bytes[place] = major | 26;
    return putWord(bytes, place + 1, argument);
  }
  bytes[place] = major | 27;
  return putWord(bytes, putWord(bytes, place + 1, Math.floor(argument / TWO_32)), argument % TWO_32);
}

function putWord(bytes: Uint8Array, place: number, value: number): number {
  bytes[place] = value >>> 24;
  bytes[place + 1] = value >>> 16;
  bytes[place + 2] = value >>> 8;
  bytes[place + 3] = value;
  return place + 4;
}

/** @param value an integer from 0 to 2^53 - 1 */
export function putUint(bytes: Uint8Array, place: number, value: number): number {
  if (!(value >= 0 && value < TWO_53)) refuse(value);
  return putHead(bytes, place, UNSIGNED, value);
}

/** @param value an integer between -2^53 and 2^53 */
export function putInt(bytes: Uint8Array, place: number, value: number): number {
  if (!(value > -TWO_53 && value < TWO_53)) refuse(value);
  return value >= 0 ? putHead(bytes, place, UNSIGNED, value) : putHead(bytes, place, NEGATIVE, -1 - value);
}

const halves = new DataView(new ArrayBuffer(8));

/** @param value an integer from 0 to 2^64 - 1 */
export function putUint64(bytes: Uint8Array, place: number, value: bigint): number {
  // Much quicker than arithmetic on it.
  halves.setBigUint64(0, value);
  const high = halves.getUint32(0);
  const low = halves.getUint32(4);
  if (high < TWO_53 / TWO_32) return putHead(bytes, place, UNSIGNED, high * TWO_32 + low);
  bytes[place] = UNSIGNED | 27;
  return putWord(bytes, putWord(bytes, place + 1, high), low);
}

export function putText(bytes: Uint8Array, place: number, value: string): number {
  const { length } = value;
  let at = putHead(bytes, place, TEXT, length);
  for (let index = 0; index < length; index++) {
    const code = value.charCodeAt(index);
    if (code > 0x7f) {
      const encoded = utf8.encode(value);
      at = putHead(bytes, place, TEXT, encoded.length);
      bytes.set(encoded, at);
      return at + encoded.length;
    }
    bytes[at++] = code;
  }
  return at;
}

export function putBytes(bytes: Uint8Array, place: number, value: Uint8Array): number {
  const at = putHead(bytes, place, BYTES, value.length);
  bytes.set(value, at);
  return at + value.length;
}

function refuse(value: unknown): never {
  throw new InvariantError(`${String(value)} is no integer that CBOR has`);
}

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
    this.#length = putUint(this.#room(HEAD_BYTES), this.#length, value);
  }

  /** @param value an integer between -2^53 and 2^53 */
  int(value: number): void {
    this.#length = putInt(this.#room(HEAD_BYTES), this.#length, value);
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
    this.#length = putText(this.#room(HEAD_BYTES + UTF8_BYTES * value.length), this.#length, value);
  }

  bytes(value: Uint8Array): void {
    this.#length = putBytes(this.#room(HEAD_BYTES + value.length), this.#length, value);
  }

  array(length: number): void {
    this.#length = putHead(this.#room(HEAD_BYTES), this.#length, ARRAY, length);
  }

  /** @param length entries; each is a key and a value, and the caller puts the keys in order */
  map(length: number): void {
    this.#length = putHead(this.#room(HEAD_BYTES), this.#length, MAP, length);
  }

  /** @param number the meaning of the item that follows */
  tag(number: number): void {
    this.#length = putHead(this.#room(HEAD_BYTES), this.#length, TAG, number);
  }

  /** Bytes that are CBOR already. */
  raw(encoded: Uint8Array): void {
    this.#room(encoded.length).set(encoded, this.#length);
    this.#length += encoded.length;
  }

  #byte(value: number): void {
    this.#room(1)[this.#length++] = value;
  }

  /** The buffer, with room for `length` bytes more. */
  #room(length: number): Uint8Array {
    const needed = this.#length + length;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
      grown.set(this.view());
      this.#buffer = grown;
    }
    return this.#buffer;
  }
}

/**
 * The offset behind the item that starts at `start`: −1 when the input ends before the item does.
 * @throws InputError on what is not well-formed, or not of the subset that traces use
 */
export function itemEnd(bytes: Uint8Array, start: number): number {
  // Items still to come in the innermost array or map, and of those around it.
  let left = 1;
  let isMap = false;
  const around: { left: number; isMap: boolean }[] = [];
  let position = start;
  for (;;) {
    while (left === 0) {
      const outer = around.pop();
      if (outer === undefined) return position;
      left = outer.left;
      isMap = outer.isMap;
    }
    // Of a map an even number of items is left when the next one is a key.
    const isKey = isMap && left % 2 === 0;
    left--;
    const initial = bytes[position++];
    if (initial === undefined) return -1;
    const major = initial & 0xe0;
    const information = initial & 0x1f;
    if (isKey && major !== TEXT) throw new InputError("a map key that is not text", `offset ${position - 1}`);
    const known = major === SIMPLE ? initial === FALSE || initial === TRUE || initial === NULL : major !== TAG;
    if (!known || (information > 27 && major !== SIMPLE)) {
      throw new InputError(`the byte 0x${initial.toString(16)} begins no item of a trace`, `offset ${position - 1}`);
    }
    if (major === SIMPLE) continue;
    let argument = information;
    if (information >= SHORT) {
      const length = 1 << (information - SHORT);
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
      if (around.length + 1 >= MAX_DEPTH) throw new InputError("nested too deeply for a trace", `offset ${position}`);
      around.push({ left, isMap });
      left = major === MAP ? 2 * argument : argument;
      isMap = major === MAP;
    }
  }
}
