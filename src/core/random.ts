// Part: the named random streams of a machine.
// Each stream is an xor4096 generator (R. Brent, "Some long-period random number generators using shifts and xors", 2006;
// package seedrandom) seeded from the machine's seed and the stream's name alone, so a new consumer disturbs no other.

import xor4096 from "seedrandom/lib/xor4096.js";
import { sha256Hex } from "./digest.ts";
import { assert, InputError } from "./errors.ts";
import type { Snapshotable } from "./snapshot.ts";

/** Words of the generator's state. */
const STATE_WORDS = 128;

export interface RandomStreamState {
  name: string;
  index: number;
  weyl: number;
  /** The generator's 128 words, signed 32-bit. */
  words: number[];
}

export interface RandomStreamsState {
  streams: RandomStreamState[];
}

/** A source of random integers; get one from `RandomStreams.stream`. */
export class RandomStream {
  readonly name: string;
  #generator: ReturnType<typeof xor4096>;

  constructor(name: string, seed: string) {
    this.name = name;
    this.#generator = xor4096(seed, { state: true });
  }

  /** An integer from 0 to 2^32 - 1. */
  uint32(): number {
    return this.#generator.int32() >>> 0;
  }

  /** An integer from 0 to n - 1, each as likely as any other; n is an integer from 1 to 2^32. */
  below(n: number): number {
    assert(Number.isInteger(n) && n >= 1 && n <= 2 ** 32, () => `cannot draw an integer below ${n}`);
    // Draws at or past the last multiple of n would favour small results: draw again (at most every second draw).
    const end = 2 ** 32 - (2 ** 32 % n);
    let draw = this.uint32();
    while (draw >= end) draw = this.uint32();
    return draw % n;
  }

  /** An integer from `low` to `high`, both included; at most 2^32 of them. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True in `numerator` of `denominator` cases; draws even when the answer is certain. */
  chance(numerator: number, denominator: number): boolean {
    return this.below(denominator) < numerator;
  }

  save(): RandomStreamState {
    const { i, w, X } = this.#generator.state();
    return { name: this.name, index: i, weyl: w, words: X };
  }

  load(state: RandomStreamState): void {
    const { index, weyl, words } = state;
    const valid = index >= 0 && index < STATE_WORDS && words.length === STATE_WORDS;
    if (!valid || ![index, weyl, ...words].every((word) => (word | 0) === word)) {
      throw new InputError("not a generator's state", `snapshot of the random stream ${this.name}`);
    }
    this.#generator = xor4096("", { state: { i: index, w: weyl, X: words } });
  }
}

/** All random streams of one machine. */
export class RandomStreams implements Snapshotable<RandomStreamsState> {
  readonly #seed: string;
  readonly #streams = new Map<string, RandomStream>();

  /** @param seed the machine's seed; the number 1 and the string "1" are the same seed */
  constructor(seed: string | number) {
    this.#seed = String(seed);
  }

  /** Creates the stream of this name. @throws InputError when it exists: two consumers of one stream disturb each other */
  stream(name: string): RandomStream {
    if (this.#streams.has(name)) throw new InputError("a random stream of this name exists already", name);
    // JSON keeps the pair unambiguous; SHA-256 spreads it over the whole state.
    const seed = sha256Hex(new TextEncoder().encode(JSON.stringify([this.#seed, name])));
    const stream = new RandomStream(name, seed);
    this.#streams.set(name, stream);
    return stream;
  }

  save(): RandomStreamsState {
    return { streams: [...this.#streams.values()].map((stream) => stream.save()) };
  }

  /** @throws InputError unless the snapshot holds exactly this machine's streams */
  load(state: RandomStreamsState): void {
    const known = [...this.#streams.values()];
    const names = (streams: readonly { name: string }[]) => streams.map((stream) => stream.name).join(", ");
    if (names(known) !== names(state.streams)) {
      throw new InputError(`streams [${names(state.streams)}], this machine has [${names(known)}]`, "random snapshot");
    }
    for (const [index, stream] of known.entries()) stream.load(state.streams[index]!);
  }
}
