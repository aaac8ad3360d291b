// A machine that is saved and restored goes on as if nothing had happened: the same events, the same state.

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sha256Hex } from "../../src/core/digest.ts";
import { encodePlain } from "../../src/core/plain-data.ts";
import { completeConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";
import type { TraceEvent } from "../../src/trace/events.ts";
import type { ModelKernel } from "../../src/xen/model/kernel.ts";
import { verifier } from "../support/block-program.ts";

const guest = new Uint8Array(readFileSync(new URL("../../guests/images/first-light.elf", import.meta.url)));
const images = new Images({ guest: { build: () => guest } }, () => guest);
const config = completeConfig({
  domains: [
    {
      name: "guest",
      kernel: "guest",
      commandLine: "sectors=256",
      memoryMiB: 16,
      disks: [{ device: "xvda", sectors: 2048, faults: [{ operation: "write", oneIn: 10 }] }],
    },
  ],
});

function build() {
  const events: TraceEvent[] = [];
  return { machine: new Machine(config, images, "snapshot", (event) => events.push(event)), events };
}

/** Runs to the end; the number of steps. */
function finish(machine: Machine): number {
  while (machine.step());
  return machine.steps;
}

describe("a saved machine", () => {
  const straight = build();
  const steps = finish(straight.machine);

  it.each([1, 10, 100, Math.floor(steps / 2), steps - 5])(
    "restored after step %i ends as the one that was never stopped",
    (stop) => {
      const first = build();
      for (let step = 0; step < stop; step++) first.machine.step();
      const saved = first.machine.save();
      const second = build();
      second.machine.load(saved);
      expect(sha256Hex(encodePlain(second.machine.save()))).toBe(sha256Hex(encodePlain(saved)));
      expect(second.machine.stateDigest()).toEqual(first.machine.stateDigest());
      const builtEvents = second.events.length;
      finish(second.machine);
      expect([...first.events, ...second.events.slice(builtEvents)]).toEqual(straight.events);
      expect(second.machine.console("guest")).toBe(straight.machine.console("guest"));
      expect(second.machine.stateDigest()).toEqual(straight.machine.stateDigest());
    },
  );

  it.each([3, 200, 1_000, 2_000])("of a model domain goes on after step %i as well", (stop) => {
    const modelConfig = completeConfig({
      domains: [],
      models: [
        { name: "verifier", program: "verifier", pages: 300, disks: [{ device: "xvda", sectors: 2000 }] },
        { name: "other", program: "verifier", pages: 300, disks: [{ device: "xvda", sectors: 500 }] },
      ],
    });
    const programs = {
      verifier: (kernel: ModelKernel) => {
        const isOther = kernel.name === "other";
        return verifier(kernel, { sectors: isOther ? 500 : 2000, size: 13, persistent: isOther });
      },
    };
    const made = () => {
      const events: TraceEvent[] = [];
      const emit = (event: TraceEvent) => events.push(event);
      return { machine: new Machine(modelConfig, images, "snapshot", emit, { programs }), events };
    };
    const unstopped = made();
    finish(unstopped.machine);
    expect(unstopped.machine.console("verifier")).toContain("0 wrong, 0 failed\nclosed");
    const first = made();
    for (let step = 0; step < stop; step++) first.machine.step();
    const second = made();
    const builtEvents = second.events.length;
    second.machine.load(first.machine.save());
    expect(second.machine.stateDigest()).toEqual(first.machine.stateDigest());
    finish(second.machine);
    expect([...first.events, ...second.events.slice(builtEvents)]).toEqual(unstopped.events);
    expect(second.machine.stateDigest()).toEqual(unstopped.machine.stateDigest());
  });
});
