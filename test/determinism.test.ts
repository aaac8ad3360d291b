// The same scenario, the same seed: the same trace, to the last byte, whatever else differs.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bundledScenarios, type LoadedScenario, loadScenario, nodeImages } from "../src/cli/host/library.ts";
import { packageRoot } from "../src/cli/host/package.ts";
import { javaScript } from "../src/cpu/text.ts";
import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import { type Recording, record } from "../src/replay/record.ts";
import { CHUNK_EVENTS } from "../src/replay/session.ts";
import { sameEvent } from "../src/trace/compare.ts";
import type { TraceEvent } from "../src/trace/events.ts";
import type { Trace } from "../src/trace/reader.ts";

const SEED = "determinism";
/** No power of two, and small: chunks end, and digests are taken, at other moments than usually. */
const OTHER_CHUNK_EVENTS = 301;

/** A scenario of a million events takes a quarter of a minute to record, and here it is recorded three times. */
const TIMEOUT_MS = 300_000;

const packagesAreThere = existsSync(join(packageRoot, "guests", ".cache", "usr"));

const recordIt = ({ scenario, folder }: LoadedScenario, chunkEvents = CHUNK_EVENTS, seed = SEED): Recording =>
  record(scenario, { seed, load: nodeImages(folder), chunkEvents });

const needsPackages = ({ scenario }: LoadedScenario): boolean =>
  Object.values(scenario.images).some((source) => "package" in source);

/** Number of the first event in which two traces differ; −1 when they are equal in length and in every event. */
function firstDifference(a: Trace, b: Trace): number {
  const others = b.events();
  let number = 0;
  for (const event of a.events()) {
    const { value: other, done } = others.next();
    if (done === true || !sameEvent(event, other)) return number;
    number++;
  }
  return others.next().done === true ? -1 : number;
}

describe.each(bundledScenarios())("%s", async (name) => {
  const loaded = await loadScenario(name, packageRoot);
  const missing = needsPackages(loaded) && !packagesAreThere;

  test.skipIf(missing)(
    "recorded again is the same file, and with other chunks the same events and state",
    { timeout: TIMEOUT_MS },
    () => {
      const first = recordIt(loaded);
      expect(first.outcomes.filter(({ held }) => !held)).toEqual([]);
      const again = recordIt(loaded);
      expect(again.sha256).toBe(first.sha256);
      expect(Buffer.compare(first.bytes, again.bytes)).toBe(0);
      const other = recordIt(loaded, OTHER_CHUNK_EVENTS);
      expect(other.trace.chunks.length).toBeGreaterThan(first.trace.chunks.length);
      expect(firstDifference(other.trace, first.trace)).toBe(-1);
      expect(other.trace.chunks.at(-1)?.stateDigest).toEqual(first.trace.chunks.at(-1)?.stateDigest);
    },
  );
});

test("another seed gives another trace", async () => {
  const loaded = await loadScenario("disk-errors", packageRoot);
  expect(firstDifference(recordIt(loaded, CHUNK_EVENTS, "another").trace, recordIt(loaded).trace)).toBeGreaterThan(0);
});

test("the processor's back ends give the same events and the same state", async () => {
  const { scenario, folder } = await loadScenario("first-light", packageRoot);
  const images = new Images(scenario.images, nodeImages(folder));
  const [domain] = scenario.machine.domains;
  const config = completeConfig({ domains: [{ ...domain!, commandLine: "sectors=64 seed=3" }] });
  const run = (backend?: typeof javaScript): { events: TraceEvent[]; digest: Uint8Array; console: string } => {
    const events: TraceEvent[] = [];
    const machine = new Machine(config, images, SEED, (event) => events.push(event), backend && { backend });
    while (machine.step());
    return { events, digest: machine.stateDigest(), console: machine.console("guest") };
  };
  const compiled = run();
  expect(compiled.console).toContain("verified");
  expect(run(javaScript)).toEqual(compiled);
});
