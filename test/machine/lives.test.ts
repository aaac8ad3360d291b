// Machines whose domains were destroyed or have migrated are saved and restored as any other: on a new machine the trace goes on as it would have.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import death from "../../scenarios/domain-death.ts";
import migration from "../../scenarios/live-migration.ts";
import lan from "../../scenarios/two-guests-one-lan.ts";
import { decodePlain, encodePlain } from "../../src/core/plain-data.ts";
import { completeConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine, type MachineState } from "../../src/machine/machine.ts";
import type { Scenario } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import { sameEvent } from "../../src/trace/compare.ts";
import type { TraceEvent } from "../../src/trace/events.ts";

const guest = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../guests/images/${name}.elf`, import.meta.url)));
const MS = 1_000_000;

function build(scenario: Scenario) {
  const images = new Images(scenario.images, (source) => guest("guest" in source ? source.guest : ""));
  const events: TraceEvent[] = [];
  const emit = (event: TraceEvent) => events.push(event);
  const { programs } = scenario;
  return { machine: new Machine(completeConfig(scenario.machine), images, "lives", emit, { programs }), events };
}

/** As a snapshot in a file. */
const crossed = (state: MachineState): MachineState =>
  decodePlain(encodePlain(state), "machine") as unknown as MachineState;

describe.each([
  // While the requests of the second that died land.
  ["domain-death", death, [60 * MS + 10_000]],
  // While the domain is away; on the second host; on the third.
  ["live-migration", migration, [15 * MS, 25 * MS, 60 * MS]],
] as const)("%s", (_name, scenario, moments) => {
  const straight = build(scenario);
  while (straight.machine.step());

  test.each(moments)("saved at %i ns, goes on in a new machine with the same events and state", (at) => {
    const first = build(scenario);
    while (first.machine.now < at) first.machine.step();
    const second = build(scenario);
    const built = second.events.length;
    second.machine.load(crossed(first.machine.save()));
    expect(second.events).toHaveLength(built);
    expect(second.machine.stateDigest()).toEqual(first.machine.stateDigest());
    while (second.machine.step());
    expect(second.events.length - built + first.events.length).toBe(straight.events.length);
    const expected = straight.events.slice(first.events.length);
    expect(second.events.slice(built).findIndex((event, index) => !sameEvent(event, expected[index]!))).toBe(-1);
    expect(second.machine.stateDigest()).toEqual(straight.machine.stateDigest());
  });
});

describe("a domain", () => {
  const changed = (machine: Partial<Scenario["machine"]>, scenario: Scenario = migration) =>
    record({ ...scenario, machine: { ...scenario.machine, ...machine } }).run;

  test("that is destroyed while it is away does not come back", () => {
    const run = changed({
      actions: [
        { action: "migrate", domain: "traveller", atNs: 10 * MS },
        { action: "destroy", domain: "traveller", atNs: 15 * MS },
      ],
    });
    expect(run.ended("traveller")).toBe("destroyed");
    expect(run.events("domain-state").filter(({ state }) => state === "created")).toHaveLength(2);
    expect(run.ended("neighbour")).toBe("poweroff");
  });

  test("that has ended is not asked to migrate, and destroyed twice is gone once", () => {
    const run = changed({
      actions: [
        { action: "destroy", domain: "traveller", atNs: 5 * MS },
        { action: "destroy", domain: "traveller", atNs: 6 * MS },
        { action: "migrate", domain: "traveller", atNs: 7 * MS },
      ],
    });
    expect(run.ended("traveller")).toBe("destroyed");
    expect(run.events("domain-state").filter(({ domain }) => domain > 2)).toEqual([]);
  });

  test("of machine code behind a board is destroyed with its card, and the others' frames go on", () => {
    const { machine } = lan;
    const run = record(
      { ...lan, machine: { ...machine, actions: [{ action: "destroy", domain: "card", atNs: 200 * MS }] } },
      { load: (source) => guest("guest" in source ? source.guest : "") },
    ).run;
    expect(run.ended("card")).toBe("destroyed");
    expect(run.events("vm-exit").every(({ at }) => at <= 200 * MS)).toBe(true);
    expect(run.pings("tester")?.answers.every((count) => count === 1)).toBe(true);
  });
});
