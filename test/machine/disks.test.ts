// A machine's disks as its configuration has them: what an action waits for, and faults that are switched on.

import { describe, expect, test } from "vitest";
import hotplug from "../../scenarios/hotplug.ts";
import type { DiskAction, MachineConfig } from "../../src/machine/config.ts";
import { record } from "../../src/replay/record.ts";
import { replay } from "../../src/replay/replayer.ts";

const recorded = (machine: Partial<MachineConfig>) => {
  const scenario = { ...hotplug, machine: { ...hotplug.machine, timeLimitNs: 20_000_000, ...machine } };
  const recording = record(scenario);
  expect(replay(recording.bytes, scenario).divergence).toBeUndefined();
  return recording;
};
const changes = (actions: readonly DiskAction[]) =>
  recorded({ actions })
    .run.events("device-plug")
    .filter(({ device }) => device === "vbd/51728")
    .map(({ at, change }) => [at, change]);
const xvdb = { domain: "guest", disk: "xvdb" } as const;

describe("actions", () => {
  test("come at their time, and in order: one whose time is past comes at once", () => {
    expect(
      changes([
        { action: "attach", ...xvdb, atNs: 3_000_000 },
        { action: "remove", ...xvdb, atNs: 2_000_000 },
        { action: "attach", ...xvdb, atNs: 9_000_000 },
      ]),
    ).toEqual([
      [3_000_000, "plugged in"],
      [3_000_000, "removed"],
      [3_000_000, "gone"],
      [9_000_000, "plugged in"],
    ]);
  });

  test("wait for a text that comes after what they waited for before", () => {
    const [attach, ...others] = changes([
      { action: "attach", ...xvdb, after: "xvda has" },
      { action: "detach", ...xvdb, after: "xvda has" },
    ]);
    expect(attach?.[1]).toBe("plugged in");
    expect(others).toEqual([]);
  });

  test("that make no sense when it is their turn change nothing", () => {
    expect(
      changes([
        { action: "detach", ...xvdb, atNs: 1 },
        { action: "remove", ...xvdb, atNs: 2 },
        { action: "resize", ...xvdb, sectors: 100, atNs: 3 },
      ]),
    ).toEqual([]);
  });
});

test("a fault that is switched on stands in the trace's header, and the device has it", () => {
  const fetches = (faults: readonly string[]) => {
    const { run, trace } = recorded({ faults });
    expect(trace.header.machine).toMatchObject({ faults });
    const requests = run.events("blkif-request");
    return requests.filter(({ side }) => side === 1).length / requests.filter(({ side }) => side === 0).length;
  };
  expect(fetches([])).toBe(1);
  expect(fetches(["vbd.double-fetch"])).toBe(2);
});
