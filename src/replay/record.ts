// Part: recording in one call, for programs.

import { type ImageLoader, noImages } from "../machine/images.ts";
import type { Scenario } from "../machine/scenario.ts";
import { PRODUCT } from "./product.ts";
import { Session, type SessionResult } from "./session.ts";

export interface RecordOptions {
  /** What the machine's random streams grow from; "1" by default. */
  readonly seed?: string;
  /** Gives the bytes of images that the scenario does not make itself; on Node `nodeImages()` of `ringback/node`. */
  readonly load?: ImageLoader;
  /** Takes the trace as it grows, one whole record at a time; it must not keep the array. */
  readonly sink?: (record: Uint8Array) => void;
  /** Events after which a chunk is closed; CHUNK_EVENTS by default. */
  readonly chunkEvents?: number;
}

export interface Recording extends SessionResult {
  /** The whole trace file. */
  readonly bytes: Uint8Array;
}

/**
 * Runs a scenario to its end and gives back its trace and what became of its expectations.
 * @throws InputError when the scenario or an image makes no machine
 */
export function record(scenario: Scenario, options: RecordOptions = {}): Recording {
  const { seed = "1", load = noImages, sink = () => {}, chunkEvents } = options;
  const session = new Session({
    scenario,
    seed,
    load,
    product: PRODUCT,
    sink,
    ...(chunkEvents === undefined ? {} : { chunkEvents }),
  });
  while (session.run(STEPS_A_CALL));
  const result = session.finish();
  return { ...result, bytes: result.trace.bytes() };
}

/** Nobody looks in between; any number will do. */
const STEPS_A_CALL = 1_000;
