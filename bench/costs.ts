// Part: what recording and replaying cost over running, and how large traces are.

import { spawnSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import type { Scenario } from "../src/machine/scenario.ts";
import { Trace } from "../src/trace/reader.ts";
import { isInstalled, table, verdict } from "./measure.ts";
import { encodingRate, runRecorded, runReplayed, runUnrecorded } from "./recorded.ts";

/** Runs before the first one that counts: until then V8 compiles. */
const WARM_UP = 6;
const SAMPLES = 25;
const ENCODING_SECONDS = 2;

/** Demands on recording over not recording, replay over recording, bytes an event raw and compressed, and events encoded in a second. */
export const DEMANDED = {
  recording: 1.1,
  replay: 1.1,
  rawBytes: 24,
  compressedBytes: 4,
  eventsPerSecond: 1e6,
} as const;

export interface Costs {
  readonly table: string;
  readonly demands: readonly string[];
}

interface ScenarioCosts {
  readonly name: string;
  readonly plain: number;
  readonly recording: number;
  readonly replay: number;
  readonly events: number;
  readonly raw: number;
  readonly gzip: number;
  readonly zstd: number | undefined;
  readonly encoded: number;
}

/** The three take turns, and the best of each counts: what disturbs a run only ever adds to its CPU seconds. */
function measure(scenario: Scenario): ScenarioCosts {
  const best = { plain: Infinity, recording: Infinity, replay: Infinity };
  let recorded = runRecorded(scenario);
  for (let round = -WARM_UP; round < SAMPLES; round++) {
    const plain = runUnrecorded(scenario).seconds;
    recorded = runRecorded(scenario);
    const replay = runReplayed(scenario, recorded.trace).seconds;
    if (round < 0) continue;
    best.plain = Math.min(best.plain, plain);
    best.recording = Math.min(best.recording, recorded.seconds);
    best.replay = Math.min(best.replay, replay);
  }
  const { trace, events } = recorded;
  const decoded = Array.from(new Trace(trace, scenario.name).events());
  return {
    name: scenario.name,
    plain: best.plain,
    recording: best.recording / best.plain,
    replay: best.replay / best.recording,
    events,
    raw: trace.length / events,
    gzip: gzipSync(trace, { level: 9 }).length / events,
    zstd: isInstalled("zstd") ? zstdSize(trace) / events : undefined,
    encoded: encodingRate(decoded, ENCODING_SECONDS),
  };
}

function zstdSize(bytes: Uint8Array): number {
  return spawnSync("zstd", ["-q", "-19", "-c"], { input: bytes, maxBuffer: 2 ** 30 }).stdout.length;
}

export function recordingCosts(scenarios: readonly Scenario[], progress: (line: string) => void): Costs {
  const all = scenarios.map((scenario) => {
    progress(scenario.name);
    return measure(scenario);
  });
  const rows: readonly [string, (costs: ScenarioCosts) => string][] = [
    ["events", ({ events }) => `${events}`],
    ["not recording, CPU ms", ({ plain }) => (1000 * plain).toFixed(1)],
    ["recording / not recording", ({ recording }) => recording.toFixed(3)],
    ["replay / recording", ({ replay }) => replay.toFixed(3)],
    ["bytes an event", ({ raw }) => raw.toFixed(1)],
    ["bytes an event, gzip -9", ({ gzip }) => gzip.toFixed(2)],
    ["bytes an event, zstd -19", ({ zstd }) => zstd?.toFixed(2) ?? "—"],
    ["events encoded in a second", ({ encoded }) => `${(encoded / 1e6).toFixed(2)} M`],
  ];
  const demands = all.flatMap((costs) => {
    const { name, recording, replay, raw, gzip, encoded } = costs;
    const atMost = (what: string, value: number, limit: number): string =>
      `${name}, ${what}: ${value.toFixed(2)}, at most ${limit} demanded: ${verdict(value <= limit)}`;
    return [
      atMost("recording / not recording", recording, DEMANDED.recording),
      atMost("replay / recording", replay, DEMANDED.replay),
      atMost("bytes an event", raw, DEMANDED.rawBytes),
      atMost("bytes an event, compressed", gzip, DEMANDED.compressedBytes),
      `${name}, events encoded: ${(encoded / 1e6).toFixed(2)} M/s, at least 1 M demanded: ${verdict(encoded >= DEMANDED.eventsPerSecond)}`,
    ];
  });
  const header = ["recording and replay", ...all.map(({ name }) => name)];
  return {
    table: table(
      header,
      rows.map(([what, show]) => [what, ...all.map(show)]),
    ),
    demands,
  };
}
