// Part: plain data as bytes, one encoding for each value.
// CBOR (RFC 8949) with the core deterministic encoding of its section 4.2: shortest heads, definite lengths, map keys
// in the order of their encoded bytes. One deliberate difference: a bigint is always a bignum (tag 2 or 3), also where a
// shorter integer would do, so that decoding gives a bigint back.
// Not plain data, and refused: fractions, NaN, infinities, class instances, functions, typed arrays other than Uint8Array.

import { CborWriter } from "./cbor.ts";
import { assert, InputError } from "./errors.ts";

/** What snapshots are made of. Numbers are integers between -(2^53 - 1) and 2^53 - 1. */
export type PlainData =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly PlainData[]
  | { readonly [key: string]: PlainData };

/** Arrays and objects inside one another; deeper than any state needs, shallow enough for the host's stack. */
const MAX_DEPTH = 64;

// Major types (RFC 8949 section 3.1), simple values (section 3.3) and bignum tags (section 3.4.3).
const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const TAG = 6;
const SIMPLE = 7;
const SIMPLE_VALUES = new Map<number, PlainData>([
  [20, false],
  [21, true],
  [22, null],
  [23, undefined],
]);
const POSITIVE_BIGNUM = 2;
const NEGATIVE_BIGNUM = 3;
const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;

const utf8 = new TextEncoder();
const utf8Strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The one encoding of a value. What is not plain data is a bug of the caller's. */
export function encodePlain(value: unknown): Uint8Array {
  const encoder = new Encoder();
  encoder.value(value, 0);
  return encoder.writer.view().slice();
}

/** The value of which these bytes are the one encoding. @throws InputError when there is none */
export function decodePlain(bytes: Uint8Array, context: string): PlainData {
  const decoder = new Decoder(bytes, context);
  const value = decoder.value(0);
  decoder.end();
  return value;
}

/** The keys of an object in its own order, and in the encoding's. */
interface KeyOrder {
  readonly own: readonly string[];
  readonly encoded: readonly string[];
}

class Encoder {
  readonly writer = new CborWriter();
  /** Of the last object at each depth: the objects of an array are mostly alike, and sorting keys is most of the work. */
  readonly #orders: (KeyOrder | undefined)[] = [];

  value(value: unknown, depth: number): void {
    assert(depth <= MAX_DEPTH, () => `plain data is nested deeper than ${MAX_DEPTH}`);
    const { writer } = this;
    switch (typeof value) {
      case "number":
        assert(Number.isSafeInteger(value), () => `${value} is not plain data`);
        writer.int(value);
        break;
      case "string":
        writer.text(value);
        break;
      case "boolean":
        writer.bool(value);
        break;
      case "bigint":
        this.#bignum(value);
        break;
      default:
        if (value === undefined) writer.undefined();
        else if (value === null) writer.null();
        else if (value instanceof Uint8Array) writer.bytes(value);
        else if (Array.isArray(value)) {
          writer.array(value.length);
          for (let index = 0; index < value.length; index++) this.value(value[index], depth + 1);
        } else this.#map(value, depth);
    }
  }

  #map(value: object, depth: number): void {
    const isPlain = Object.getPrototypeOf(value) === Object.prototype;
    assert(isPlain, () => `a ${typeof value} that is no plain object is not plain data`);
    const keys = this.#sortedKeys(value, depth);
    this.writer.map(keys.length);
    for (let index = 0; index < keys.length; index++) {
      const key = keys[index]!;
      this.writer.text(key);
      this.value((value as Readonly<Record<string, unknown>>)[key], depth + 1);
    }
  }

  #sortedKeys(value: object, depth: number): readonly string[] {
    const own = Object.keys(value);
    const last = this.#orders[depth];
    if (last !== undefined && sameKeys(last.own, own)) return last.encoded;
    const encoded = [...own].sort(own.every(isAscii) ? compareAsciiKeys : compareKeys);
    this.#orders[depth] = { own, encoded };
    return encoded;
  }

  #bignum(value: bigint): void {
    this.writer.tag(value < 0n ? NEGATIVE_BIGNUM : POSITIVE_BIGNUM);
    this.writer.bytes(magnitudeBytes(value < 0n ? -1n - value : value));
  }
}

function sameKeys(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** Big-endian, without leading zeros. */
function magnitudeBytes(magnitude: bigint): Uint8Array {
  if (magnitude <= MAX_UINT64) {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, magnitude);
    let first = 0;
    while (first < 8 && bytes[first] === 0) first++;
    return bytes.subarray(first);
  }
  const hex = magnitude.toString(16);
  const digits = hex.length % 2 === 0 ? hex : `0${hex}`;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #context: string;
  #at = 0;

  constructor(bytes: Uint8Array, context: string) {
    this.#bytes = bytes;
    this.#context = context;
  }

  value(depth: number): PlainData {
    if (depth > MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH}`);
    const { major, argument } = this.#head();
    switch (major) {
      case UNSIGNED:
        return argument;
      case NEGATIVE:
        return argument < Number.MAX_SAFE_INTEGER ? -1 - argument : this.#fail("an integer below -(2^53 - 1)");
      case BYTES:
        return this.#take(argument).slice();
      case TEXT:
        return this.#text(this.#take(argument));
      case ARRAY:
        return this.#items(argument, () => this.value(depth + 1));
      case MAP:
        return this.#map(argument, depth);
      case TAG:
        return this.#bignum(argument);
      default:
        return SIMPLE_VALUES.has(argument) ? SIMPLE_VALUES.get(argument) : this.#fail(`simple value ${argument}`);
    }
  }

  end(): void {
    if (this.#at !== this.#bytes.length) this.#fail("bytes after the end");
  }

  #map(count: number, depth: number): PlainData {
    let before: string | undefined;
    const entries = this.#items(count, (): [string, PlainData] => {
      const { major, argument } = this.#head();
      if (major !== TEXT) this.#fail("a map key that is not text");
      const key = this.#text(this.#take(argument));
      if (before !== undefined && compareKeys(before, key) >= 0) this.#fail("map keys out of order");
      before = key;
      return [key, this.value(depth + 1)];
    });
    return Object.fromEntries(entries);
  }

  /** Each item takes a byte or more, so `count` is bounded by what is left before anything is allocated. */
  #items<T>(count: number, item: () => T): T[] {
    if (count > this.#bytes.length - this.#at) this.#fail("truncated");
    const items: T[] = [];
    for (let index = 0; index < count; index++) items.push(item());
    return items;
  }

  #bignum(tag: number): bigint {
    if (tag !== POSITIVE_BIGNUM && tag !== NEGATIVE_BIGNUM) this.#fail(`tag ${tag}`);
    const { major, argument } = this.#head();
    if (major !== BYTES) this.#fail("a bignum that is not a byte string");
    const bytes = this.#take(argument);
    if (bytes[0] === 0) this.#fail("a bignum with a leading zero");
    const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const magnitude = BigInt(`0x0${digits}`);
    return tag === POSITIVE_BIGNUM ? magnitude : -1n - magnitude;
  }

  #text(bytes: Uint8Array): string {
    try {
      return utf8Strict.decode(bytes);
    } catch {
      return this.#fail("text that is not UTF-8");
    }
  }

  #head(): { major: number; argument: number } {
    const initial = this.#take(1)[0]!;
    const major = initial >> 5;
    const short = initial & 31;
    if (short < 24) return { major, argument: short };
    if (short > 27 || major === SIMPLE) this.#fail(`initial byte 0x${initial.toString(16)}`);
    const size = 1 << (short - 24);
    const argument = this.#take(size).reduce((value, byte) => value * 256 + byte, 0);
    if (argument < (size === 1 ? 24 : 256 ** (size / 2))) this.#fail("a head longer than it needs to be");
    if (argument > Number.MAX_SAFE_INTEGER) this.#fail("an integer above 2^53 - 1");
    return { major, argument };
  }

  #take(count: number): Uint8Array {
    if (count > this.#bytes.length - this.#at) this.#fail("truncated");
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  #fail(problem: string): never {
    throw new InputError(`${problem} before byte ${this.#at}`, this.#context);
  }
}

/** The order of the encoded keys: their heads put shorter keys first. */
function compareKeys(a: string, b: string): number {
  if (isAscii(a) && isAscii(b)) return compareAsciiKeys(a, b);
  return compareBytes(utf8.encode(a), utf8.encode(b));
}

function compareAsciiKeys(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a === b ? 0 : 1);
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return a.length - b.length;
  const difference = a.findIndex((byte, index) => byte !== b[index]);
  return difference === -1 ? 0 : a[difference]! - b[difference]!;
}
