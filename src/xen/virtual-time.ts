// Part: virtual time while a guest runs: an offset plus the retired instructions × nsPerInstruction. The offset takes in idle time
// and the cost of exits; the instructions are counted from the machine's start, so that splitting a run loses no fraction.

import type { Clock } from "../core/clock.ts";
import { inverse, type Ratio, scaleCeil, scaleFloor } from "../core/units.ts";
import type { TscClock } from "./time.ts";

/**
 * Alarms further away than this (18 minutes) are looked at again later: a guest may set a timer to any 64-bit time, which counted in
 * instructions would leave the exact integers.
 */
const FAR_NS = 2 ** 40;

export class VirtualTime {
  readonly #clock: Clock;
  readonly #tsc: TscClock;
  readonly #processor: { readonly retired: number };
  readonly #rate: Ratio;
  readonly #perNs: Ratio;
  #offset = 0;
  #running = false;
  /** What was worked out last: at one exit the time is asked for again and again. */
  #retired = 0;
  #retiredNs = 0;

  constructor(clock: Clock, tsc: TscClock, processor: { readonly retired: number }, nsPerInstruction: Ratio) {
    this.#clock = clock;
    this.#tsc = tsc;
    this.#processor = processor;
    this.#rate = nsPerInstruction;
    this.#perNs = inverse(nsPerInstruction);
  }

  /** A guest begins to run at the clock's time. */
  start(): void {
    this.#offset = this.#clock.now - this.#elapsed();
    this.#running = true;
  }

  /** The guest has stopped: the clock takes over, and the alarms that have become due run. */
  stop(): void {
    const now = this.#now();
    this.#running = false;
    this.#clock.advanceTo(now);
  }

  spend(costNs: number): void {
    this.#offset += costNs;
  }

  /** Instructions until an alarm is due or `latestNs`, or that can run before the next look at a time far away; Infinity when there is none. */
  instructionsUntilAlarm(latestNs: number): number {
    const deadline = Math.min(this.#clock.nextDeadline() ?? Number.POSITIVE_INFINITY, latestNs);
    if (deadline === Number.POSITIVE_INFINITY) return deadline;
    const now = this.#now();
    return deadline <= now ? 0 : this.#instructionsUntil(Math.min(deadline, now + FAR_NS));
  }

  /**
   * Brings the clock up to an exit. An exit at the very boundary where an alarm is due comes before it: the clock then
   * stands just short of the alarm.
   */
  follow(): void {
    const now = this.#now();
    const deadline = this.#clock.nextDeadline();
    this.#clock.advanceTo(deadline !== undefined && deadline <= now ? deadline - 1 : now);
  }

  /** The time-stamp counter at the current instruction. */
  readTsc(): bigint {
    return this.#tsc.at(this.#running ? this.#now() : this.#clock.now);
  }

  /** Smallest number of further instructions after which {@link readTsc} is at least `tsc`. */
  instructionsUntilTsc(tsc: bigint): number {
    const khz = BigInt(this.#tsc.khz);
    const timeNs = Number((tsc * 1_000_000n + khz - 1n) / khz);
    return timeNs <= this.#now() ? 0 : this.#instructionsUntil(timeNs);
  }

  #instructionsUntil(timeNs: number): number {
    return scaleCeil(timeNs - this.#offset, this.#perNs) - this.#processor.retired;
  }

  #now(): number {
    return this.#offset + this.#elapsed();
  }

  /** The time that all instructions so far have taken. */
  #elapsed(): number {
    const { retired } = this.#processor;
    if (retired !== this.#retired) {
      this.#retired = retired;
      this.#retiredNs = scaleFloor(retired, this.#rate);
    }
    return this.#retiredNs;
  }
}
