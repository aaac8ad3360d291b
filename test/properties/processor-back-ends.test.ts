/** The same handlers as WebAssembly and as JavaScript, on random programs; and one run against the same run in pieces. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Processor } from "../../src/cpu/processor.ts";
import { javaScript } from "../../src/cpu/text.ts";
import {
  byteStrings,
  createProcessor,
  FREQUENT_CODE_END,
  frequentPrograms,
  outcome,
  type Program,
  prepare,
  programs,
  run,
} from "../support/programs.ts";

const compiled = createProcessor();
const printed = createProcessor(javaScript);

function begin(processor: Processor, program: Program): number {
  prepare(processor, program);
  processor.fault(0);
  return processor.retired;
}

function execute(processor: Processor, program: Program, pieces: readonly number[] = []) {
  const since = begin(processor, program);
  run(processor, program, pieces);
  return outcome(processor, since);
}

describe("the processor's back ends", () => {
  test("agree on every random program", () => {
    fc.assert(
      fc.property(programs, (program) => {
        expect(execute(printed, program)).toEqual(execute(compiled, program));
      }),
      { numRuns: 2000 },
    );
  });

  test("agree on every program of frequent instructions that changes its own code", () => {
    fc.assert(
      fc.property(frequentPrograms, (program) => {
        expect(execute(printed, program)).toEqual(execute(compiled, program));
      }),
      { numRuns: 500 },
    );
  });

  test("agree on any string of bytes", () => {
    fc.assert(
      fc.property(byteStrings, (program) => {
        expect(execute(printed, program)).toEqual(execute(compiled, program));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("a run of the processor", () => {
  test("ends in the same state however it is cut into pieces", () => {
    fc.assert(
      fc.property(programs, fc.array(fc.integer({ min: 1, max: 7 }), { maxLength: 60 }), (program, pieces) => {
        expect(execute(compiled, program, pieces)).toEqual(execute(compiled, program));
      }),
      { numRuns: 2000 },
    );
  });

  test("ends in the same state when nothing decoded is kept from one instruction to the next", () => {
    fc.assert(
      fc.property(frequentPrograms, (program) => {
        const result = execute(compiled, program);
        const since = begin(compiled, program);
        for (let left = program.budget; left > 0; left--) {
          const { retired } = compiled;
          run(compiled, { ...program, budget: 1 });
          if (compiled.retired === retired) break;
          compiled.memory.write(0, compiled.memory.read(0, FREQUENT_CODE_END));
        }
        expect(outcome(compiled, since)).toEqual(result);
      }),
      { numRuns: 600 },
    );
  });

  test("goes on from a snapshot as it does without", () => {
    const copy = createProcessor();
    fc.assert(
      fc.property(programs, fc.integer({ min: 1, max: 50 }), (program, before) => {
        fc.pre(before < program.budget);
        const since = begin(compiled, program);
        run(compiled, { ...program, budget: before });
        copy.load(compiled.save());
        copy.memory.load(compiled.memory.save());
        const rest = { ...program, budget: program.budget - before };
        for (const processor of [copy, compiled]) {
          processor.fault(0);
          // As in prepare: whose delivery faulted is for the hypervisor to know.
          processor.vmx.endDelivery();
        }
        run(compiled, rest);
        run(copy, rest);
        expect(outcome(copy, since)).toEqual(outcome(compiled, since));
      }),
      { numRuns: 500 },
    );
  });
});
