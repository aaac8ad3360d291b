import { describe, expect, test } from "vitest";
import { defineScenario, type Scenario } from "../../../src/machine/scenario.ts";
import { record } from "../../../src/replay/record.ts";
import { replay } from "../../../src/replay/replayer.ts";
import type { ModelFactory } from "../../../src/xen/model/kernel.ts";
import { type VerifierOptions, verifier } from "../../support/block-program.ts";

function scenario(options: VerifierOptions, pages = 600): Scenario {
  const disks = [{ device: "xvda", sectors: options.sectors }];
  return defineScenario({
    name: "verifier",
    why: "A test's.",
    images: {},
    machine: { domains: [], models: [{ name: "verifier", program: "verifier", pages, disks }] },
    programs: { verifier: (kernel) => verifier(kernel, options) } as Record<string, ModelFactory>,
    expect: { "it ends": () => true },
  });
}

describe("the block front end of a model domain", () => {
  test.each<[string, VerifierOptions, number]>([
    ["one sector a request", { sectors: 300, size: 1 }, 600],
    ["full requests", { sectors: 4000, size: 88 }, 600],
    ["requests that end within a page", { sectors: 1000, size: 13 }, 600],
    [
      "the 64-bit layout, indices that wrap",
      { sectors: 1000, size: 20, protocol: "x86_64-abi", start: 0xffff_fff0 },
      600,
    ],
    ["persistent grants", { sectors: 4000, size: 40, persistent: true }, 600],
    ["fewer pages than slots", { sectors: 500, size: 16 }, 12],
  ])("writes a disk and reads it back: %s", (_name, options, pages) => {
    const written = scenario(options, pages);
    const { run, bytes } = record(written);
    expect(run.console("verifier")).toBe(`${options.sectors} sectors\n0 wrong, 0 failed\nclosed\n`);
    expect(run.ended("verifier")).toBe("poweroff");
    expect(run.events("frontend-error")).toEqual([]);
    expect(replay(bytes, written).divergence).toBeUndefined();
  });
});
