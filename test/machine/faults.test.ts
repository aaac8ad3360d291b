// A fault that a machine's configuration names reaches its device, and stands in the trace.

import { expect, test } from "vitest";
import overflow from "../../scenarios/ne2000-overflow.ts";
import { record } from "../../src/replay/record.ts";
import { load } from "../support/recorded.ts";

const DELIVERED_AGAIN = "pings after the burst are answered, all of them";

test("a card that stalls once its ring was full fails the scenario that fills it, and the header says why", () => {
  const machine = { ...overflow.machine, faults: ["ne2000.stalls-when-full"] };
  const { outcomes, trace } = record({ ...overflow, machine }, { load });
  expect(outcomes.find(({ expectation }) => expectation === DELIVERED_AGAIN)?.held).toBe(false);
  expect(trace.header.machine).toMatchObject({ faults: ["ne2000.stalls-when-full"] });
});
