/** PUSHF, POPF, CLI and STI in WebAssembly do what their functions do, and end a run when an event may wait for IF. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BOUNDARY, FAULT } from "../../../src/cpu/engine.ts";
import type { Processor } from "../../../src/cpu/processor.ts";
import { ESP, FS, IF, OFFSET, RF, TF, VM } from "../../../src/cpu/state.ts";
import { FLAG_INSTRUCTIONS } from "../../../src/cpu/system/flags.ts";
import { bareProcessor, CODE, load } from "../../support/bare-processor.ts";

const STACK = 0x2_0000;
const OPCODES = { pushf: 0x9c, popf: 0x9d, cli: 0xfa, sti: 0xfb } as const;
type Name = keyof typeof OPCODES;
const ALL_FLAGS = 0x3f_ffff;
/** The state block without what is the engine's own. */
const architectural = (processor: Processor) => processor.state.words.slice(0, OFFSET.engine / 4);
const NOP = 0x90;

interface Case {
  readonly name: Name;
  readonly wide: boolean;
  readonly cpl: number;
  readonly flags: number;
  readonly popped: number;
}

const cases: fc.Arbitrary<Case> = fc.record({
  name: fc.constantFrom<Name>("pushf", "popf", "cli", "sti"),
  wide: fc.boolean(),
  cpl: fc.integer({ min: 0, max: 3 }),
  flags: fc.integer({ min: 0, max: ALL_FLAGS }),
  popped: fc.integer({ min: 0, max: ALL_FLAGS }),
});

const handled = bareProcessor();
const called = bareProcessor();

function prepare(processor: Processor, { name, wide, cpl, flags, popped }: Case): void {
  const { state } = processor;
  state.interruptibility = 0;
  state.eflags = flags | 2;
  // In virtual-8086 mode the segments are not flat; here it is the privilege that matters.
  state.cpl = (flags & VM) !== 0 ? 3 : cpl;
  state.eip = CODE;
  state.setGpr(ESP, STACK);
  processor.memory.store32(STACK - 4, 0);
  processor.memory.store32(STACK, popped);
  load(processor, CODE, ...(wide ? [] : [0x66]), OPCODES[name], NOP, NOP);
  processor.modeChanged();
}

describe("a handler of a flag instruction", () => {
  test("leaves the state that its function leaves", () => {
    fc.assert(
      fc.property(cases, (example) => {
        prepare(handled, example);
        prepare(called, example);
        const stop = handled.execute(1);

        const { name, wide } = example;
        called.state.eip = CODE + (wide ? 1 : 2);
        let faulted = false;
        try {
          FLAG_INSTRUCTIONS[name](called, { ...called.insn, operandSize: wide ? 32 : 16 });
        } catch (thrown) {
          expect(thrown).toBe(called.pendingFault);
          called.state.eip = CODE;
          faulted = true;
        }
        expect(stop).toBe(faulted ? FAULT : BOUNDARY);
        expect(handled.state.eflags).toBe(called.state.eflags);
        expect(handled.memory.load32(STACK - 4)).toBe(called.memory.load32(STACK - 4));
        // The lazy form of the same flags may differ.
        for (const { state } of [handled, called]) state.eflags = 2;
        expect(architectural(handled)).toEqual(architectural(called));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("POPF that sets IF", () => {
  const run = (awaited: number, popped: number): number => {
    prepare(handled, { name: "popf", wide: true, cpl: 0, flags: 0, popped });
    const before = handled.retired;
    handled.execute(3, awaited);
    return handled.retired - before;
  };

  test("ends the run when an event waits for it, and only then", () => {
    expect(run(IF, IF)).toBe(1);
    expect(run(0, IF)).toBe(3);
    expect(run(IF, 0)).toBe(3);
  });

  test("ends the run always when it sets TF", () => {
    expect(run(0, TF)).toBe(1);
  });

  test("clears RF", () => {
    prepare(handled, { name: "popf", wide: true, cpl: 0, flags: RF, popped: RF });
    handled.execute(1);
    expect(handled.state.flagsRest & RF).toBe(0);
  });
});

test("PUSH FS pushes the selector by the operand size", () => {
  const { state, memory } = handled;
  for (const [code, size] of [
    [[0x0f, 0xa0], 4],
    [[0x66, 0x0f, 0xa0], 2],
  ] as const) {
    prepare(handled, { name: "cli", wide: true, cpl: 0, flags: 0, popped: 0 });
    memory.store32(STACK - 4, 0xffff_ffff);
    state.setSelector(FS, 0x33);
    load(handled, CODE, ...code);
    handled.execute(1);
    expect(state.gpr(ESP)).toBe(STACK - size);
    expect(memory.load32(STACK - 4)).toBe(size === 4 ? 0x33 : 0x33_ffff);
  }
});
