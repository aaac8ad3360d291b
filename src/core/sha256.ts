// Part: SHA-256 (FIPS 180-4). The compression function is WebAssembly with its 64 rounds written out, which is twice as quick as JavaScript: every
// byte of a trace passes through it.

/** The fractional parts of the square roots of the first eight primes (section 5.3.3). */
const INITIAL = Int32Array.from([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);

/** The fractional parts of the cube roots of the first 64 primes (section 4.2.2). */
const ROUND = Int32Array.from([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
  0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
  0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
  0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
  0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
  0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
  0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
  0xc67178f2,
]);

const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;
const PAGE_BYTES = 65_536;
/** The compression function's memory: the hash's eight words, then the blocks. */
const BLOCKS_AT = 64;
const MOST_BYTES = PAGE_BYTES - BLOCKS_AT;

// Instructions of WebAssembly (core specification 2.0, section 5.4).
const LOOP = [0x03, 0x40];
const END = 0x0b;
const BRANCH_IF = 0x0d;
const LOCAL_GET = 0x20;
const LOCAL_SET = 0x21;
const LOCAL_TEE = 0x22;
const LOAD = 0x28;
const STORE = 0x36;
const CONST = 0x41;
const LESS_U = 0x49;
const ADD = 0x6a;
const AND = 0x71;
const OR = 0x72;
const XOR = 0x73;
const SHIFT_RIGHT_U = 0x76;
const ROTATE_RIGHT = 0x78;
const I32 = 0x7f;
const FUNCTION = 0x60;

/** An integer as signed LEB128; where it is not negative that is a valid unsigned one too. */
function leb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    const low = rest & 0x7f;
    if (rest >> 6 === 0 || rest >> 6 === -1) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

const get = (local: number): number[] => [LOCAL_GET, local];
const set = (local: number): number[] => [LOCAL_SET, local];
const tee = (local: number): number[] => [LOCAL_TEE, local];
const constant = (value: number): number[] => [CONST, ...leb(value)];
/** A word at a constant distance from the address on the stack; the address is aligned to 4 bytes. */
const load = (offset: number): number[] => [LOAD, 2, ...leb(offset)];
const store = (offset: number): number[] => [STORE, 2, ...leb(offset)];
const rotated = (local: number, bits: number): number[] => [...get(local), ...constant(bits), ROTATE_RIGHT];

// Locals: the two parameters, the working variables a to h, the last 16 words of the message schedule, and `a XOR b` of this round and the last.
const FROM = 0;
const TO = 1;
const WORKING = 2;
const SCHEDULE = 10;
const PAIRS = 26;
const DECLARED = 26;

/** Puts the word that FROM points to, big-endian, into a local. */
function loadWord(index: number): number[] {
  const word = SCHEDULE + index;
  return [
    ...[...get(FROM), ...load(4 * index), ...set(word)],
    ...[...rotated(word, 24), ...constant(0x00ff_00ff), AND],
    ...[...rotated(word, 8), ...constant(0xff00_ff00 | 0), AND, OR, ...set(word)],
  ];
}

/** The next word of the message schedule takes the place of the one 16 before it (section 6.2.2, step 1). */
function schedule(round: number): number[] {
  const back = (rounds: number): number => SCHEDULE + ((round - rounds) & 15);
  const sigma = (word: number, first: number, second: number, shift: number): number[] => [
    ...[...rotated(word, first), ...rotated(word, second), XOR],
    ...[...get(word), ...constant(shift), SHIFT_RIGHT_U, XOR],
  ];
  return [
    ...[...get(back(16)), ...get(back(7)), ADD],
    ...[...sigma(back(15), 7, 18, 3), ADD, ...sigma(back(2), 17, 19, 10), ADD, ...set(back(16))],
  ];
}

/** Step 3. The working variables change places from round to round rather than values. */
function compressionRound(round: number): number[] {
  const [a, b, , d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map((name) => WORKING + ((name - round) & 7)) as [
    ...[number, number, number, number],
    ...[number, number, number, number],
  ];
  const [pair, before] = [PAIRS + (round & 1), PAIRS + (~round & 1)];
  const sum = (word: number, ...bits: readonly [number, number, number]): number[] => {
    const [first, second, third] = bits.map((count) => rotated(word, count)) as [number[], number[], number[]];
    return [...first, ...second, XOR, ...third, XOR];
  };
  return [
    ...[...get(h), ...sum(e, 6, 11, 25), ADD],
    // Ch(e, f, g)
    ...[...get(g), ...get(e), ...get(f), ...get(g), XOR, AND, XOR, ADD],
    ...[...get(SCHEDULE + (round & 15)), ...constant(ROUND[round]!), ADD, ADD, ...tee(h)],
    ...[...get(d), ADD, ...set(d)],
    ...[...get(h), ...sum(a, 2, 13, 22), ADD],
    // Maj(a, b, c) is b XOR ((a XOR b) AND (b XOR c)), and b XOR c is the round before's a XOR b.
    ...[...get(a), ...get(b), XOR, ...tee(pair), ...get(before), AND, ...get(b), XOR, ADD, ...set(h)],
  ];
}

/** The body of `compress(from, to)`: takes up the blocks between two addresses; there is one at least. */
function body(): number[] {
  const words = Array.from({ length: 16 }, (_, index) => index);
  const names = words.slice(0, 8);
  const rounds = Array.from(ROUND, (_, round) => [...(round < 16 ? [] : schedule(round)), ...compressionRound(round)]);
  return [
    ...LOOP,
    ...words.flatMap(loadWord),
    ...names.flatMap((name) => [...constant(0), ...load(4 * name), ...set(WORKING + name)]),
    ...[...get(WORKING + 1), ...get(WORKING + 2), XOR, ...set(PAIRS + 1)],
    ...rounds.flat(),
    ...names.flatMap((name) => [
      ...[...constant(0), ...constant(0), ...load(4 * name), ...get(WORKING + name), ADD, ...store(4 * name)],
    ]),
    ...[...get(FROM), ...constant(BLOCK_BYTES), ADD, ...tee(FROM), ...get(TO), LESS_U, BRANCH_IF, 0, END, END],
  ];
}

/** A module (section 5.5) of one function over one imported page of memory. */
function moduleBytes(): Uint8Array {
  const sized = (bytes: readonly number[]): number[] => [...leb(bytes.length), ...bytes];
  const section = (id: number, ...bytes: readonly number[]): number[] => [id, ...sized(bytes)];
  const code = [1, DECLARED, I32, ...body()];
  return Uint8Array.of(
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, 1, FUNCTION, 2, I32, I32, 0),
    ...section(2, 1, 0, 0, 2, 1, 1, 1),
    ...section(3, 1, 0),
    ...section(7, 1, 0, 0, 0),
    ...section(10, 1, ...sized(code)),
  );
}

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const module = new WebAssembly.Module(moduleBytes());
const compress = new WebAssembly.Instance(module, { "": { "": memory } }).exports[""] as (
  from: number,
  to: number,
) => number;
const hashWords = new Int32Array(memory.buffer, 0, INITIAL.length);
const blocks = new Uint8Array(memory.buffer, BLOCKS_AT);

/** Takes whole blocks up into a hash. */
function absorb(hash: Int32Array, bytes: Uint8Array): void {
  hashWords.set(hash);
  for (let at = 0; at < bytes.length; at += MOST_BYTES) {
    const piece = bytes.subarray(at, at + MOST_BYTES);
    blocks.set(piece);
    compress(BLOCKS_AT, BLOCKS_AT + piece.length);
  }
  hash.set(hashWords);
}

/** SHA-256 of bytes that arrive in pieces. */
export class Sha256 {
  readonly #hash = INITIAL.slice();
  /** The beginning of a block that is not whole yet. */
  readonly #rest = new Uint8Array(BLOCK_BYTES);
  #length = 0;

  update(bytes: Uint8Array): this {
    const begun = this.#length % BLOCK_BYTES;
    const missing = begun === 0 ? 0 : Math.min(BLOCK_BYTES - begun, bytes.length);
    this.#rest.set(bytes.subarray(0, missing), begun);
    if (begun > 0 && begun + missing === BLOCK_BYTES) absorb(this.#hash, this.#rest);
    const whole = missing + Math.floor((bytes.length - missing) / BLOCK_BYTES) * BLOCK_BYTES;
    absorb(this.#hash, bytes.subarray(missing, whole));
    this.#rest.set(bytes.subarray(whole));
    this.#length += bytes.length;
    return this;
  }

  /** The 32 bytes of the digest of all bytes so far; more may follow. */
  digest(): Uint8Array {
    const begun = this.#length % BLOCK_BYTES;
    // A bit, zeros, and the length in bits (section 5.1.1).
    const last = new Uint8Array(begun < BLOCK_BYTES - 8 ? BLOCK_BYTES : 2 * BLOCK_BYTES);
    last.set(this.#rest.subarray(0, begun));
    last[begun] = 0x80;
    new DataView(last.buffer).setBigUint64(last.length - 8, 8n * BigInt(this.#length));
    const hash = this.#hash.slice();
    absorb(hash, last);
    const digest = new DataView(new ArrayBuffer(DIGEST_BYTES));
    for (const [index, word] of hash.entries()) digest.setInt32(4 * index, word);
    return new Uint8Array(digest.buffer);
  }

  hex(): string {
    return Array.from(this.digest(), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

/** SHA-256 of bytes as 64 lower-case hexadecimal digits. */
export function sha256Hex(bytes: Uint8Array): string {
  return new Sha256().update(bytes).hex();
}
