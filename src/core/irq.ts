// Part: an interrupt line as wired-OR of its sources.
// The line is high while any source holds it high; the sink hears of each change of the line and of nothing else.

import { InputError } from "./errors.ts";
import type { Snapshotable } from "./snapshot.ts";

/** One device's pin on a line. */
export interface IrqSource {
  readonly level: boolean;
  set(level: boolean): void;
}

export interface IrqLineState {
  sources: { name: string; level: boolean }[];
}

interface Pin extends IrqSource {
  readonly name: string;
  level: boolean;
}

export class IrqLine implements Snapshotable<IrqLineState> {
  readonly name: string;
  readonly #sink: (level: boolean) => void;
  readonly #pins: Pin[] = [];
  #highCount = 0;

  /** @param sink called with the new level on each edge of the line */
  constructor(name: string, sink: (level: boolean) => void) {
    this.name = name;
    this.#sink = sink;
  }

  get level(): boolean {
    return this.#highCount > 0;
  }

  /** Adds a source, low at first. @throws InputError when the line has a source of this name */
  source(name: string): IrqSource {
    if (this.#pins.some((pin) => pin.name === name)) {
      throw new InputError(`the line has a source ${name} already`, this.name);
    }
    const pin: Pin = { name, level: false, set: (level) => this.#drive(pin, level) };
    this.#pins.push(pin);
    return pin;
  }

  #drive(pin: Pin, level: boolean): void {
    if (pin.level === level) return;
    const before = this.level;
    pin.level = level;
    this.#highCount += level ? 1 : -1;
    if (this.level !== before) this.#sink(level);
  }

  /** Takes all sources to be low, without an edge: power-on. */
  reset(): void {
    for (const pin of this.#pins) pin.level = false;
    this.#highCount = 0;
  }

  save(): IrqLineState {
    return { sources: this.#pins.map(({ name, level }) => ({ name, level })) };
  }

  /** Takes the levels over without an edge: what hangs on the line restores its own view of it. */
  load(state: IrqLineState): void {
    const known = this.#pins.map((pin) => pin.name).join(", ");
    const saved = state.sources.map((source) => source.name).join(", ");
    if (known !== saved)
      throw new InputError(`sources [${saved}], this machine has [${known}]`, `snapshot of ${this.name}`);
    this.#highCount = 0;
    for (const [index, pin] of this.#pins.entries()) {
      pin.level = state.sources[index]!.level;
      if (pin.level) this.#highCount++;
    }
  }
}
