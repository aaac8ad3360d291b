// Part: digests of state and of files.
// `digest64` is quick and tells states apart that differ by accident: MurmurHash3_x86_128 (Austin Appleby, public domain,
// SMHasher revision of 2011), of which the first 64 bits are kept. `PageDigest` sums it over the pages of a memory, so that
// a changed page costs one page. `Sha256` (FIPS 180-4) is for what has to stand against intent: images and traces.

import { assert } from "./errors.ts";
import { isZeroPage, PAGE_SIZE } from "./memory.ts";

export { Sha256, sha256Hex } from "./sha256.ts";

const C1 = 0x239b961b;
const C2 = 0xab0e9789;
const C3 = 0x38b34ae5;
const C4 = 0xa1e38b93;

/** The first two words of the last hash: a result without an allocation. */
const hashed = new Uint32Array(2);

/** A 64-bit digest of bytes, for telling states apart; not for use against intent. */
export function digest64(bytes: Uint8Array, seed = 0): bigint {
  hash(bytes, seed);
  return (BigInt(hashed[0]!) << 32n) | BigInt(hashed[1]!);
}

/** The low half of `digest64`. */
export function digest32(bytes: Uint8Array): number {
  hash(bytes, 0);
  return hashed[1]!;
}

/** The last 0 to 15 bytes of what is hashed, as words. */
const tail = new Int32Array(4);

function hash(bytes: Uint8Array, seed: number): void {
  const length = bytes.length;
  const blockEnd = length & ~15;
  let h1 = seed;
  let h2 = seed;
  let h3 = seed;
  let h4 = seed;
  // Whole words where the memory allows it: about four times as quick as assembling them from bytes.
  const words =
    bytes.byteOffset % 4 === 0 ? new Int32Array(bytes.buffer, bytes.byteOffset, length >> 2) : copyWords(bytes);
  for (let word = 0; word < blockEnd >> 2; word += 4) {
    h1 ^= Math.imul(rotate(Math.imul(words[word]!, C1), 15), C2);
    h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0;
    h2 ^= Math.imul(rotate(Math.imul(words[word + 1]!, C2), 16), C3);
    h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0;
    h3 ^= Math.imul(rotate(Math.imul(words[word + 2]!, C3), 17), C4);
    h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0;
    h4 ^= Math.imul(rotate(Math.imul(words[word + 3]!, C4), 18), C1);
    h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0;
  }
  // The last 0 to 15 bytes, padded with zeros: a word of zeros adds nothing to its lane.
  if (blockEnd < length) {
    tail.fill(0);
    for (let index = blockEnd; index < length; index++) {
      tail[(index - blockEnd) >> 2]! |= bytes[index]! << (8 * (index & 3));
    }
    h4 ^= Math.imul(rotate(Math.imul(tail[3]!, C4), 18), C1);
    h3 ^= Math.imul(rotate(Math.imul(tail[2]!, C3), 17), C4);
    h2 ^= Math.imul(rotate(Math.imul(tail[1]!, C2), 16), C3);
    h1 ^= Math.imul(rotate(Math.imul(tail[0]!, C1), 15), C2);
  }

  h1 ^= length;
  h2 ^= length;
  h3 ^= length;
  h4 ^= length;
  h1 = (h1 + h2 + h3 + h4) | 0;
  h2 = (h2 + h1) | 0;
  h3 = (h3 + h1) | 0;
  h4 = (h4 + h1) | 0;
  h1 = mix(h1);
  h2 = mix(h2);
  h1 = (h1 + h2 + mix(h3) + mix(h4)) | 0;
  h2 = (h2 + h1) | 0;
  hashed[0] = h1;
  hashed[1] = h2;
}

function copyWords(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.slice(0, bytes.length & ~3).buffer);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/**
 * A 64-bit digest of a memory kept page by page: the pages' digests, each seeded with the page's number, are summed in two
 * halves modulo 2^32.
 * A page of zeros counts as 0, so a new memory costs nothing. Starts as the digest of a memory full of zeros.
 */
export class PageDigest {
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;
  /** High and low halves of each page's share in the sums. */
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  #sumHigh = 0;
  #sumLow = 0;

  /** @param bytes the memory itself, not a copy: whole pages, at an offset divisible by 4 in its buffer */
  constructor(bytes: Uint8Array) {
    const pages = bytes.length / PAGE_SIZE;
    assert(Number.isInteger(pages) && bytes.byteOffset % 4 === 0, "a page digest needs whole, aligned pages");
    this.#bytes = bytes;
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.#high = new Uint32Array(pages);
    this.#low = new Uint32Array(pages);
  }

  /** Takes up the present contents of one page. */
  update(page: number): void {
    assert(page >= 0 && page < this.#low.length, () => `page ${page} is outside the memory`);
    if (isZeroPage(this.#words, page)) hashed.fill(0);
    else hash(this.#bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), page + 1);
    this.#sumHigh = (this.#sumHigh - this.#high[page]! + hashed[0]!) >>> 0;
    this.#sumLow = (this.#sumLow - this.#low[page]! + hashed[1]!) >>> 0;
    this.#high[page] = hashed[0]!;
    this.#low[page] = hashed[1]!;
  }

  /** Takes up all pages. */
  updateAll(): void {
    for (let page = 0; page < this.#low.length; page++) this.update(page);
  }

  value(): bigint {
    return (BigInt(this.#sumHigh) << 32n) | BigInt(this.#sumLow);
  }
}
