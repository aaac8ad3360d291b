// Part: a machine's steps, up to where its guest does what ringback does not model: there it ends in an orderly way, recorded or replayed.

import { NotModelled } from "../core/errors.ts";
import type { Machine } from "../machine/machine.ts";

export class Stepper {
  readonly #machine: Machine;
  #notModelled: NotModelled | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Why the machine stopped; "running" before that. */
  get reason(): string {
    return this.#notModelled?.message ?? this.#machine.reason;
  }

  /** The guest did what is not modelled: the machine goes no further, whatever is typed. */
  get stuck(): boolean {
    return this.#notModelled !== undefined;
  }

  /** One step; false when the machine stopped. */
  step(): boolean {
    try {
      return this.#machine.step();
    } catch (error) {
      if (!(error instanceof NotModelled)) throw error;
      this.#notModelled = error;
      return false;
    }
  }
}
