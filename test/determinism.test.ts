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
import type { TraceEvent } from "../src/trace/events.ts";

const SEED = "determinism";
/** No power of two, and small: chunks end, and digests are taken, at other moments than usually. */
const OTHER_CHUNK_EVENTS = 301;

const packagesAreThere = existsSync(join(packageRoot, "guests", ".cache", "usr"));

const recordIt = ({ scenario, folder }: LoadedScenario, chunkEvents = CHUNK_EVENTS, seed = SEED): Recording =>
  record(scenario, { seed, load: nodeImages(folder), chunkEvents });

const needsPackages = ({ scenario }: LoadedScenario): boolean =>
  Object.values(scenario.images).some((source) => "package" in source);

const eventsOf = (recording: Recording): TraceEvent[] => Array.from(recording.trace.events());

describe.each(bundledScenarios())("%s", async (name) => {
  const loaded = await loadScenario(name, packageRoot);
  const missing = needsPackages(loaded) && !packagesAreThere;

  test.skipIf(missing)("two recordings are the same file", () => {
    const first = recordIt(loaded);
    expect(first.outcomes.filter(({ held }) => !held)).toEqual([]);
    const second = recordIt(loaded);
    expect(second.sha256).toBe(first.sha256);
    expect(Buffer.compare(first.bytes, second.bytes)).toBe(0);
  });

  test.skipIf(missing)("the size of chunks changes no event and no digest", () => {
    const usual = recordIt(loaded);
    const other = recordIt(loaded, OTHER_CHUNK_EVENTS);
    expect(other.trace.chunks.length).toBeGreaterThan(usual.trace.chunks.length);
    expect(eventsOf(other)).toEqual(eventsOf(usual));
    expect(other.trace.chunks.at(-1)?.stateDigest).toEqual(usual.trace.chunks.at(-1)?.stateDigest);
  });
});

test("another seed gives another trace", async () => {
  const loaded = await loadScenario("disk-errors", packageRoot);
  expect(eventsOf(recordIt(loaded, CHUNK_EVENTS, "another"))).not.toEqual(eventsOf(recordIt(loaded)));
});

test("the processor's back ends give the same events and the same state", async () => {
  const { scenario, folder } = await loadScenario("first-light", packageRoot);
  const images = new Images(scenario.images, nodeImages(folder));
  const [domain] = scenario.machine.domains;
  const config = completeConfig({ domains: [{ ...domain!, commandLine: "sectors=64 seed=3" }] });
  const run = (backend?: typeof javaScript): { events: TraceEvent[]; digest: Uint8Array; console: string } => {
    const events: TraceEvent[] = [];
    const machine = new Machine(config, images, SEED, (event) => events.push(event), backend);
    while (machine.step());
    return { events, digest: machine.stateDigest(), console: machine.console("guest") };
  };
  const compiled = run();
  expect(compiled.console).toContain("verified");
  expect(run(javaScript)).toEqual(compiled);
});
