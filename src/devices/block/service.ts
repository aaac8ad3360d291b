// Part: how long a disk takes, in virtual time: a fixed part for the operation, a part for each sector, and jitter from a random stream, so that
// requests overtake each other as they do on a real disk with a queue.

import type { RandomStream } from "../../core/random.ts";
import type { Nanoseconds } from "../../core/units.ts";

export interface ServiceTime {
  readonly operationNs: Nanoseconds;
  readonly perSectorNs: Nanoseconds;
  /** The drawn part is from 0 up to this, exclusive of it. */
  readonly jitterNs: Nanoseconds;
}

/** A solid-state disk of the SATA class: some 20,000 operations a second one at a time, 500 MB/s. */
export const SOLID_STATE: ServiceTime = { operationNs: 40_000, perSectorNs: 1_000, jitterNs: 20_000 };

export function serviceNs(model: ServiceTime, sectors: number, random: RandomStream): Nanoseconds {
  return model.operationNs + sectors * model.perSectorNs + (model.jitterNs > 0 ? random.below(model.jitterNs) : 0);
}
