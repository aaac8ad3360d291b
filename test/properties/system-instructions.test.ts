import fc from "fast-check";
import { expect, test } from "vitest";
import { AR_UNUSABLE, CR0_PE, CS, DS, ES, FS, GS, OFFSET, SS, VM } from "../../src/cpu/state.ts";
import { deliverEvent, SYSTEM_INSTRUCTIONS } from "../../src/cpu/system/index.ts";
import { setV86Segments } from "../../src/cpu/system/segments.ts";
import { CODE_0, DATA_0, FakeCpu, GDT, IDT, STACK_0, TSS } from "../cpu/system/fake-cpu.ts";

const NAMES = Object.keys(SYSTEM_INSTRUCTIONS);
/** Bytes of the GDT and of the IDT, whatever they describe. */
const TABLE = 0x80;
const STACK = 0x7000;

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const selector = fc.oneof(fc.integer({ min: 0, max: TABLE }), fc.integer({ min: 0, max: 0xffff }));
/** Descriptors and gates that are mostly present and of every type; bases and offsets of the lower megabyte. */
const descriptor = fc
  .record({
    low: word,
    type: fc.integer({ min: 0, max: 0x1f }),
    dpl: fc.constantFrom(0, 3),
    limit: fc.constantFrom(0, 0xf),
  })
  .map(({ low, type, dpl, limit }) => [low, ((limit << 16) | ((0x80 | (dpl << 5) | type) << 8) | (0xc << 20)) >>> 0]);

/** Gates that mostly lead somewhere: to the ring 0 code segment at an offset inside or outside of it. */
const gate = fc
  .record({
    target: fc.oneof(fc.constant(CODE_0), selector),
    offset: fc.integer({ min: 0, max: 0xffff }),
    type: fc.constantFrom(6, 7, 14, 15, 5),
    dpl: fc.constantFrom(0, 3),
  })
  .map(({ target, offset, type, dpl }) => [((target << 16) | offset) >>> 0, (0x80 | (dpl << 5) | type) << 8]);

const machine = fc.record({
  descriptors: fc.array(fc.oneof(descriptor, fc.tuple(word, word)), { minLength: TABLE / 8, maxLength: TABLE / 8 }),
  gates: fc.array(fc.oneof({ weight: 4, arbitrary: gate }, fc.tuple(word, word)), {
    minLength: TABLE / 8,
    maxLength: TABLE / 8,
  }),
  stack: fc.array(fc.oneof(selector, word), { minLength: 10, maxLength: 10 }),
  gpr: fc.array(fc.oneof(selector, word), { minLength: 8, maxLength: 8 }),
  innerStack: fc.record({
    pointer: fc.constantFrom(STACK_0, 0x10, 0),
    selector: fc.oneof(fc.constant(DATA_0), selector),
  }),
  stackLimit: fc.constantFrom(0xf_ffff, 0xf),
  codeLimit: fc.constantFrom(0xf_ffff, 0),
  mode: fc.constantFrom("real", "ring 0", "ring 3", "v86"),
  eflags: word,
});

type Machine = typeof machine extends fc.Arbitrary<infer T> ? T : never;

function build(machine: Machine): FakeCpu {
  const { descriptors, gates, stack, gpr, mode, eflags, innerStack } = machine;
  const cpu = new FakeCpu().enterFlat();
  cpu.describe(CODE_0, 0, machine.codeLimit, 0xc09b);
  cpu.describe(DATA_0, 0, machine.stackLimit, 0x4093);
  cpu.set32(TSS + 4, innerStack.pointer);
  cpu.set32(TSS + 8, innerStack.selector);
  const { state } = cpu;
  for (const [table, entries] of [
    [GDT + 0x30, descriptors.slice(6)],
    [IDT, gates],
  ] as const) {
    entries.forEach(([low, high], index) => {
      cpu.set32(table + 8 * index, low as number);
      cpu.set32(table + 8 * index + 4, high as number);
    });
  }
  state.set(OFFSET.gdtrLimit, TABLE - 1);
  state.set(OFFSET.idtrLimit, TABLE - 1);
  stack.forEach((value, index) => {
    cpu.set32(STACK + 4 * index, value);
  });
  gpr.forEach((value, index) => {
    state.setGpr(index, value);
  });
  state.setGpr(4, STACK);
  state.eflags = eflags & ~VM;
  if (mode === "ring 3") cpu.setLevel(3);
  if (mode === "v86") {
    state.eflags = eflags | VM;
    state.cpl = 3;
    setV86Segments(state, [0, 0x1000, 0, 0, 0, 0]);
  }
  if (mode === "real") {
    state.cr0 &= ~CR0_PE;
    for (const segment of [ES, CS, SS, DS, FS, GS]) state.setAccessRights(segment, segment === CS ? 0x9b : 0x93);
  }
  return cpu;
}

/** Every register of the state block. */
const registers = (cpu: FakeCpu): number[] => [...cpu.state.words.subarray(0, OFFSET.engine / 4)];

/** What holds of the state between any two instructions. */
function expectSound({ state }: FakeCpu): void {
  const isProtected = (state.cr0 & CR0_PE) !== 0;
  const v86 = (state.flagsRest & VM) !== 0;
  expect(state.cpl).toBe(!isProtected ? 0 : v86 ? 3 : state.selector(CS) & 3);
  if (!isProtected || v86) return;
  expect(state.accessRights(SS) & AR_UNUSABLE).toBe(0);
  expect((state.accessRights(SS) >>> 5) & 3).toBe(state.cpl);
  expect(state.accessRights(CS) & 0x98).toBe(0x98);
}

test("an instruction that faults or exits has changed no register; one that completes leaves a sound state", () => {
  fc.assert(
    fc.property(
      machine,
      fc.constantFrom(...NAMES),
      fc.record({
        opcode: fc.integer({ min: 0, max: 0xff }),
        modrm: fc.integer({ min: 0, max: 0xff }),
        operandSize: fc.constantFrom<16 | 32>(16, 32),
        addressSize: fc.constantFrom<16 | 32>(16, 32),
        rep: fc.constantFrom(0, 0xf3),
        immediate: word,
        immediate2: selector,
      }),
      fc.integer({ min: STACK, max: STACK + 16 }),
      (state, name, fields, memory) => {
        const opcode = name.endsWith("_segment") ? [0x07, 0x17, 0x1f, 0x0fa1][fields.opcode & 3] : fields.opcode;
        const cpu = build(state);
        const before = registers(cpu);
        const raised = cpu.run(name, { ...fields, opcode: opcode as number }, memory);
        if (raised === undefined) expectSound(cpu);
        else expect(registers(cpu)).toEqual(before);
      },
    ),
    { numRuns: 4000, seed: 1 },
  );
});

test("an event that cannot be delivered has changed no register", () => {
  fc.assert(
    fc.property(
      machine,
      fc.record({
        type: fc.constantFrom(0, 2, 3, 4, 5, 6),
        vector: fc.integer({ min: 0, max: TABLE / 8 }),
        errorCode: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 0xffff })),
        instructionLength: fc.constant(0),
      }),
      (state, event) => {
        const cpu = build(state);
        cpu.insn = { ...cpu.insn, length: 0 };
        const before = registers(cpu);
        if (cpu.attempt(() => deliverEvent(cpu, event)) === undefined) expectSound(cpu);
        else expect(registers(cpu)).toEqual(before);
      },
    ),
    { numRuns: 4000, seed: 1 },
  );
});
