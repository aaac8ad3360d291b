// Part: a machine run with its events thrown away, recorded, and replayed: the three that the costs of recording and replay compare.

import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import type { Scenario } from "../src/machine/scenario.ts";
import { Replayer } from "../src/replay/replayer.ts";
import { CHUNK_EVENTS } from "../src/replay/session.ts";
import { FORMAT_VERSION, type TraceEvent } from "../src/trace/events.ts";
import type { TraceHeader } from "../src/trace/format.ts";
import { Trace } from "../src/trace/reader.ts";
import { TraceWriter } from "../src/trace/writer.ts";
import { loadImage } from "./files.ts";
import { timed } from "./measure.ts";

const SEED = "bench";

export interface Measured {
  /** CPU seconds from the machine's first step to its last, building the machine left out. */
  readonly seconds: number;
  readonly machine: Machine;
}

/** Runs the scenario's machine; nobody listens to its events. */
export function runUnrecorded(scenario: Scenario): Measured {
  const images = new Images(scenario.images, loadImage);
  const machine = new Machine(completeConfig(scenario.machine), images, SEED, () => {});
  const seconds = timed(() => {
    while (machine.step());
  });
  return { seconds, machine };
}

export interface Recorded extends Measured {
  readonly trace: Uint8Array;
  readonly events: number;
}

/** Runs and records it, as a session does. */
export function runRecorded(scenario: Scenario): Recorded {
  const images = new Images(scenario.images, loadImage);
  const config = completeConfig(scenario.machine);
  const records: Uint8Array[] = [];
  const header = headerFor(scenario.name, config, images.records());
  const writer = new TraceWriter(header, (record) => records.push(record.slice()));
  const machine = new Machine(config, images, SEED, (event) => writer.write(event));
  const seconds = timed(() => {
    while (machine.step()) if (writer.full) writer.closeChunk(machine.stateDigest());
    const { reason, now, retired, steps } = machine;
    writer.write({ kind: "end", at: now, reason, retired, steps });
    writer.close(machine.stateDigest(), { reason, durationNs: now, retired });
  });
  return { seconds, machine, trace: concatenated(records), events: writer.events };
}

/** Replays a trace with every event, digest and hash checked. @throws Error when it diverges */
export function runReplayed(scenario: Scenario, trace: Uint8Array): Measured {
  let seconds = 0;
  let read: Trace | undefined;
  seconds += timed(() => {
    read = new Trace(trace, "the trace just recorded");
  });
  const replayer = new Replayer(read!, scenario, loadImage);
  seconds += timed(() => {
    while (replayer.run(1000));
  });
  if (replayer.result.divergence !== undefined) throw new Error(`${scenario.name} diverged from its own recording`);
  return { seconds, machine: replayer.machine };
}

export function headerFor(name: string, machine: object, images: TraceHeader["images"]): TraceHeader {
  return {
    format: FORMAT_VERSION,
    time: "virtual nanoseconds since power-on",
    product: "ringback bench",
    scenario: { name },
    seed: SEED,
    machine,
    images,
    chunkEvents: CHUNK_EVENTS,
  };
}

/** Encodes events again and again for at least `seconds` CPU seconds. @returns events per CPU second */
export function encodingRate(events: readonly TraceEvent[], seconds: number): number {
  const digest = new Uint8Array(16);
  let encoded = 0;
  let spent = 0;
  while (spent < seconds) {
    spent += timed(() => {
      const writer = new TraceWriter(headerFor("encoding", {}, []), () => {});
      for (const event of events) {
        writer.write(event);
        if (writer.full) writer.closeChunk(digest);
      }
      writer.closeChunk(digest);
      encoded += events.length;
    });
  }
  return encoded / spent;
}

function concatenated(records: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(records));
}
