// Part: the order in which a toolstack does what the configuration says: each action at its time, or when the domain's terminal has shown what
// it waits for.

import type { Clock } from "../core/clock.ts";
import { InputError } from "../core/errors.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import type { MachineAction } from "./config-actions.ts";

export interface ActionsParts {
  readonly clock: Clock;
  readonly actions: readonly MachineAction[];
  /** What a person at the domain's terminal has seen. */
  readonly terminal: (domain: string) => string;
  readonly perform: (action: MachineAction) => void;
}

export interface ActionsState {
  /** Actions that were taken. */
  taken: number;
  /** How much of each domain's terminal the actions so far have behind them. */
  seen: { domain: string; characters: number }[];
}

export class Actions implements Snapshotable<ActionsState> {
  readonly #parts: ActionsParts;
  readonly #alarm: { set(deadlineNs: number): void };
  #taken = 0;
  readonly #seen = new Map<string, number>();

  constructor(parts: ActionsParts) {
    this.#parts = parts;
    this.#alarm = parts.clock.alarm("actions", () => this.#take());
    this.#await();
  }

  /** A domain's terminal has shown something: an action may wait for it. */
  shown(): void {
    if (this.#parts.actions[this.#taken]?.after !== undefined) this.#alarm.set(this.#parts.clock.now);
  }

  #await(): void {
    const next = this.#parts.actions[this.#taken];
    if (next !== undefined) this.#alarm.set(next.atNs ?? this.#parts.clock.now);
  }

  /** Takes the action that is next, if what it waits for has come. */
  #take(): void {
    const next = this.#parts.actions[this.#taken];
    if (next === undefined || !this.#hasShown(next)) return;
    this.#taken++;
    this.#parts.perform(next);
    this.#await();
  }

  #hasShown({ domain, after }: MachineAction): boolean {
    if (after === undefined) return true;
    const at = this.#parts.terminal(domain).indexOf(after, this.#seen.get(domain) ?? 0);
    if (at >= 0) this.#seen.set(domain, at + after.length);
    return at >= 0;
  }

  save(): ActionsState {
    return { taken: this.#taken, seen: Array.from(this.#seen, ([domain, characters]) => ({ domain, characters })) };
  }

  /** @throws InputError when the snapshot is of other actions */
  load(state: ActionsState): void {
    if (state.taken > this.#parts.actions.length) {
      throw new InputError(`${state.taken} actions of ${this.#parts.actions.length}`, "snapshot of the actions");
    }
    this.#taken = state.taken;
    this.#seen.clear();
    for (const { domain, characters } of state.seen) this.#seen.set(domain, characters);
  }
}
