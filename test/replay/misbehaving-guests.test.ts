// A guest that does wrong ends by itself and harms nobody: the guest beside it goes on, and what was recorded replays.

import { describe, expect, it } from "vitest";
import type { Scenario } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import { replay } from "../../src/replay/replayer.ts";
import { load } from "../support/recorded.ts";
import { pvhKernel } from "../xen/support.ts";

const MiB = 16;

/** A guest in some mode beside one that does its disk's work. */
function beside(commandLine: string, timeLimitNs: number): Scenario {
  return {
    name: "beside",
    why: "One guest misbehaves beside a sound one.",
    images: { guest: { guest: "first-light" } },
    machine: {
      timeLimitNs,
      domains: [
        { name: "bad", kernel: "guest", commandLine, memoryMiB: MiB, disks: [{ device: "xvda", sectors: 2048 }] },
        {
          name: "sound",
          kernel: "guest",
          commandLine: "sectors=64",
          memoryMiB: MiB,
          disks: [{ device: "xvda", sectors: 2048 }],
        },
      ],
    },
    expect: {},
  };
}

describe.each([
  ["triple-faults", "mode=triple-fault", "triple fault"],
  ["writes to its read-only text", "mode=crash", "crash"],
  ["writes nonsense to rings, grants and hypercalls", "mode=ring-nonsense", "poweroff"],
  ["spins for ever", "mode=spin", "running"],
])("a guest that %s", (_, commandLine, end) => {
  it("leaves the guest beside it alone, and the recording replays", () => {
    const scenario = beside(commandLine, 400_000_000);
    const { run, bytes } = record(scenario, { load });
    expect(run.ended("bad")).toBe(end);
    expect(run.ended("sound")).toBe("poweroff");
    expect(run.console("sound")).toContain("verified");
    expect(run.reason).toBe(end === "running" ? "time limit" : "domains ended");
    expect(replay(bytes, scenario, load)).toMatchObject({ divergence: undefined, complete: true });
  });
});

describe("a guest that does what ringback does not model", () => {
  // fninit; fldz; fsin; hlt
  const scenario: Scenario = {
    name: "sine",
    why: "A transcendental function of x87.",
    images: { kernel: { build: () => pvhKernel([0xdb, 0xe3, 0xd9, 0xee, 0xd9, 0xfe, 0xf4]) } },
    machine: { domains: [{ name: "guest", kernel: "kernel", memoryMiB: 4 }] },
    expect: {},
  };

  it("ends the recording with its reason, and the replay ends there, too", () => {
    const { run, bytes, trace } = record(scenario);
    expect(run.reason).toMatch(/^not modelled: x87 instruction fsin$/i);
    expect(trace.end?.reason).toBe(run.reason);
    expect(replay(bytes, scenario)).toMatchObject({ divergence: undefined, complete: true });
  });
});
