// Part: the timer of the local APIC (SDM Vol. 3 §11.5.4): one shot or periodic, with its divider. Not modelled: TSC deadline.

import type { Alarm, AlarmClock } from "../../core/clock.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";

/** The timer's clock before its divider, as Xen has it (APIC_BUS_CYCLE_NS). */
const BUS_CYCLE_NS = 10;
/** A shorter period than a handler can be entered and left in would only flood the event queue; Xen has such a bound, too. */
const MIN_PERIOD_NS = 1_000;

export interface LapicTimerState {
  initialCount: number;
  divide: number;
  periodic: boolean;
  /** When the count began; meaningful while `initialCount` is not 0. */
  countFrom: number;
  expired: boolean;
}

export class LapicTimer implements Snapshotable<LapicTimerState> {
  readonly #clock: AlarmClock;
  readonly #alarm: Alarm;
  readonly #expired: () => void;
  #state: LapicTimerState = { initialCount: 0, divide: 0, periodic: false, countFrom: 0, expired: false };

  constructor(clock: AlarmClock, expired: () => void) {
    this.#clock = clock;
    this.#expired = expired;
    this.#alarm = clock.alarm("local apic timer", () => this.#expire());
  }

  get initialCount(): number {
    return this.#state.initialCount;
  }

  /** The divide configuration register. */
  get divide(): number {
    return this.#state.divide;
  }

  get currentCount(): number {
    const { initialCount, countFrom, expired } = this.#state;
    if (expired) return 0;
    return Math.max(0, initialCount - Math.floor((this.#clock.now - countFrom) / this.#countNs));
  }

  /** A register was written: the count begins anew. */
  start(written: Partial<Pick<LapicTimerState, "initialCount" | "divide" | "periodic">>): void {
    const state = this.#state;
    Object.assign(state, written);
    state.countFrom = this.#clock.now;
    state.expired = state.initialCount === 0;
    this.#arm();
  }

  /** Nanoseconds of one count (SDM Vol. 3 figure 11-10: 111b divides by 1, 000b by 2). */
  get #countNs(): number {
    const { divide } = this.#state;
    const code = (divide & 3) | ((divide >>> 1) & 4);
    return BUS_CYCLE_NS * (1 << ((code + 1) & 7));
  }

  #arm(): void {
    const { initialCount, countFrom, expired, periodic } = this.#state;
    const span = initialCount * this.#countNs;
    if (expired) this.#alarm.cancel();
    else this.#alarm.set(countFrom + (periodic ? Math.max(span, MIN_PERIOD_NS) : span));
  }

  #expire(): void {
    const state = this.#state;
    state.countFrom = this.#clock.now;
    state.expired = !state.periodic;
    this.#arm();
    this.#expired();
  }

  save(): LapicTimerState {
    return copyState(this.#state);
  }

  /** The clock restores the alarm. @throws InputError when the state is not a timer's */
  load(state: LapicTimerState): void {
    this.#state = adoptState(this.#state, state, "the local APIC's timer");
  }
}
