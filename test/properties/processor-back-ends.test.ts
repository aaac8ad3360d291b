/** The same handlers as WebAssembly and as JavaScript, on random programs; and one run against the same run in pieces. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Processor } from "../../src/cpu/processor.ts";
import { javaScript } from "../../src/cpu/text.ts";
import { createProcessor, outcome, prepare, programs, run } from "../support/programs.ts";

const compiled = createProcessor();
const printed = createProcessor(javaScript);

function execute(processor: Processor, program: Parameters<typeof run>[1], pieces: readonly number[] = []) {
  prepare(processor, program);
  processor.fault(0);
  const since = processor.retired;
  run(processor, program, pieces);
  return outcome(processor, since);
}

describe("the processor's back ends", () => {
  test("agree on every random program", () => {
    fc.assert(
      fc.property(programs, (program) => {
        expect(execute(printed, program)).toEqual(execute(compiled, program));
      }),
      { numRuns: 3000 },
    );
  });

  test("end in the same state however a run is cut into pieces", () => {
    fc.assert(
      fc.property(programs, fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 60 }), (program, pieces) => {
        expect(execute(compiled, program, pieces)).toEqual(execute(compiled, program));
      }),
      { numRuns: 3000 },
    );
  });
});
