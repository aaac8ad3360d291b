import { expect, test } from "vitest";
import { defineScenario, type Scenario } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import { replay } from "../../src/replay/replayer.ts";
import type { ModelKernel, ModelProgram } from "../../src/xen/model/kernel.ts";

function scenario(programs: Record<string, (kernel: ModelKernel) => Partial<ModelProgram>>): Scenario {
  const stateless = { start() {}, save: () => null, load() {} };
  return defineScenario({
    name: "models",
    why: "A test's.",
    images: {},
    machine: { domains: [], models: Object.keys(programs).map((name) => ({ name, program: name })), timeLimitNs: 1e9 },
    programs: Object.fromEntries(
      Object.entries(programs).map(([name, make]) => [name, (kernel) => ({ ...stateless, ...make(kernel) })]),
    ),
    expect: { "it ends": () => true },
  });
}

test("a model domain speaks on its console, in the store and shuts down; its trace replays", () => {
  const hello = scenario({
    hello: (kernel) => ({
      start() {
        kernel.console.write(`I am ${kernel.store.read("name")}\n`);
        kernel.alarm("end", () => kernel.shutdown()).set(kernel.clock.now + 1_000_000);
      },
    }),
  });
  const { run, bytes } = record(hello);
  expect(run.console("hello")).toBe("I am hello\n");
  expect(run.ended("hello")).toBe("poweroff");
  expect(run.reason).toBe("domains ended");
  expect(run.events("hypercall").map(({ number }) => number)).toContain(29);
  expect(replay(bytes, hello).divergence).toBeUndefined();
});
