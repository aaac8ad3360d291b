// Part: virtual time as guests see it: time-stamp counter and the scale of vcpu_time_info (xen.h).

import type { Clock } from "../core/clock.ts";
import { type Ratio, ratio, scaleFloor } from "../core/units.ts";

export interface TimeScale {
  /** 32.32 fixed-point nanoseconds for each (shifted) tick. */
  readonly mul: number;
  /** Bits to shift the tick count left (negative: right) before multiplying. */
  readonly shift: number;
}

/** Scale from ticks of a counter at `khz` to nanoseconds, normalised so that `mul` has its top bit set. */
export function timeScale(khz: number): TimeScale {
  let shift = 0;
  let ticks = BigInt(khz) * 1000n;
  const second = 1_000_000_000n;
  while (ticks > 2n * second) {
    ticks >>= 1n;
    shift--;
  }
  while (ticks <= second) {
    ticks <<= 1n;
    shift++;
  }
  return { mul: Number((second << 32n) / ticks), shift };
}

/** The machine's time-stamp counter: virtual nanoseconds × frequency, exact. */
export class TscClock {
  readonly #clock: Clock;
  readonly khz: number;
  readonly #ticksPerNs: Ratio;
  readonly scale: TimeScale;

  constructor(clock: Clock, khz: number) {
    this.#clock = clock;
    this.khz = khz;
    this.#ticksPerNs = ratio(khz, 1_000_000);
    this.scale = timeScale(khz);
  }

  /** The counter at a virtual time in nanoseconds. */
  at(timeNs: number): bigint {
    return BigInt(scaleFloor(timeNs, this.#ticksPerNs));
  }

  get now(): bigint {
    return this.at(this.#clock.now);
  }
}
