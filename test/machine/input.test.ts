// What is typed at domains that take it, and at those that are gone.

import { expect, test } from "vitest";
import { completeConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";
import type { TraceEvent } from "../../src/trace/events.ts";
import type { ModelKernel } from "../../src/xen/model/kernel.ts";

/** Writes back what it is given. */
function parrot(kernel: ModelKernel) {
  return {
    start: () => {
      kernel.console.onInput = (text) => kernel.console.write(text);
    },
    save: () => null,
    load: () => undefined,
  };
}

test("what is typed at a domain that was destroyed is recorded and reaches nobody", () => {
  const config = completeConfig({
    domains: [],
    models: ["here", "gone"].map((name) => ({ name, program: "parrot" })),
    actions: [{ action: "destroy", domain: "gone", atNs: 1_000_000 }],
  });
  const events: TraceEvent[] = [];
  const options = { programs: { parrot } };
  const machine = new Machine(
    config,
    new Images({}, () => new Uint8Array(0)),
    "1",
    (event) => events.push(event),
    options,
  );
  while (machine.step());
  expect(machine.ended("gone")).toBe("destroyed");
  for (const domain of ["gone", "here"]) machine.type(domain, Uint8Array.from([0x68, 0x69]));
  while (machine.step());
  expect(events.flatMap((event) => (event.kind === "input" ? [event.channel] : []))).toEqual([
    "console:gone",
    "console:here",
  ]);
  expect([machine.console("gone"), machine.console("here")]).toEqual(["", "hi"]);
});
