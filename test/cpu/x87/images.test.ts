// The memory images, byte by byte, against the figures of SDM Vol. 1, 8.1.10 and table 10-2.

import { describe, expect, test } from "vitest";
import { fxrstor, fxsave } from "../../../src/cpu/x87/execute.ts";
import { exceptionOf, Machine } from "./machine.ts";

const FNSTENV = [0xd9, 0x37] as const;
const FLDENV = [0xd9, 0x27] as const;
const FNSAVE = [0xdd, 0x37] as const;
const FRSTOR = [0xdd, 0x27] as const;

/** A unit whose last instruction was FADD m32fp (D8 07), at 1234:87654321 with its operand at ABCD:FEDCBA98. */
function afterFadd(): Machine {
  const m = new Machine();
  m.push(1);
  m.memory.fill(0);
  m.execute(0xd8, 0x07);
  m.memory.fill(0x5a);
  return m;
}

/** The 28-byte image's double words, or the 14-byte image's words. */
function fields(m: Machine): number[] {
  const view = new DataView(m.memory.buffer);
  return [0, 1, 2, 3, 4, 5, 6].map((i) =>
    m.operandSize === 32 ? view.getUint32(4 * i, true) : view.getUint16(2 * i, true),
  );
}

const LINEAR_INSTRUCTION = 0x12340 + 0x8765_4321;
const LINEAR_OPERAND = (0xabcd0 + 0xfedc_ba98) % 2 ** 32;

describe("the environment's image", () => {
  test("in 32-bit protected mode has offsets, selectors and the opcode, and reserved halves of ones (figure 8-9)", () => {
    const m = afterFadd();
    m.execute(...FNSTENV);
    expect(fields(m)).toEqual([
      0xffff_037f, 0xffff_3800, 0xffff_3fff, 0x8765_4321, 0x0007_1234, 0xfedc_ba98, 0xffff_abcd,
    ]);
    expect(m.memory[28]).toBe(0x5a);
  });

  test("in 32-bit real mode has linear addresses in two pieces (figure 8-10)", () => {
    const m = afterFadd();
    m.protectedMode = false;
    m.execute(...FNSTENV);
    expect(fields(m)).toEqual([
      0xffff_037f,
      0xffff_3800,
      0xffff_3fff,
      0xffff_0000 + (LINEAR_INSTRUCTION % 0x10000),
      Math.floor(LINEAR_INSTRUCTION / 0x10000) * 0x1000 + 0x007,
      0xffff_0000 + (LINEAR_OPERAND % 0x10000),
      Math.floor(LINEAR_OPERAND / 0x10000) * 0x1000,
    ]);
  });

  test("in 16-bit protected mode has no opcode (figure 8-11)", () => {
    const m = afterFadd();
    m.operandSize = 16;
    m.execute(...FNSTENV);
    expect(fields(m)).toEqual([0x037f, 0x3800, 0x3fff, 0x4321, 0x1234, 0xba98, 0xabcd]);
    expect(m.memory[14]).toBe(0x5a);
  });

  test("in 16-bit real mode has 20-bit linear addresses (figure 8-12)", () => {
    const m = afterFadd();
    m.codeSelector = 0xf000;
    m.instructionPointer = 0x1234;
    m.operandSelector = 0x2000;
    m.operandOffset = 0x0010;
    m.memory.fill(0);
    m.execute(0xd8, 0x07);
    m.operandSize = 16;
    m.protectedMode = false;
    m.execute(...FNSTENV);
    expect(fields(m)).toEqual([0x037f, 0x3800, 0x3fff, 0x1234, 0xf007, 0x0010, 0x2000]);
  });

  test.each([
    [32, true],
    [32, false],
    [16, true],
    [16, false],
  ] as const)("is loaded as it was stored: %i bits, protected mode %s", (operandSize, protectedMode) => {
    const m = afterFadd();
    Object.assign(m, { operandSize, protectedMode });
    m.execute(...FNSTENV);
    const stored = m.memory.slice(0, 28);
    m.execute(0xdb, 0xe3); // FNINIT
    m.execute(...FLDENV);
    m.memory.fill(0x5a);
    m.execute(...FNSTENV);
    expect(m.memory.slice(0, 28)).toEqual(stored);
  });

  test("leaves every exception masked when it is stored", () => {
    const m = new Machine();
    m.unit.loadControl(0x0340);
    m.execute(...FNSTENV);
    expect(fields(m)[0]).toBe(0xffff_0340);
    expect(m.unit.control).toBe(0x037f);
  });
});

describe("the last-instruction pointers", () => {
  test("are left by control instructions, and the data pointer by instructions without a memory operand", () => {
    const m = afterFadd();
    m.instructionPointer = 0x2000;
    m.operandOffset = 0x3000;
    m.execute(0xd9, 0x3f); // FNSTCW
    expect([m.unit.instructionOffset, m.unit.operandOffset, m.unit.opcode]).toEqual([0x8765_4321, 0xfedc_ba98, 0x007]);
    m.execute(0xd9, 0xe0); // FCHS
    expect([m.unit.instructionOffset, m.unit.operandOffset, m.unit.opcode]).toEqual([0x2000, 0xfedc_ba98, 0x1e0]);
  });
});

describe("the whole state's image", () => {
  test.each([
    [32, 108],
    [16, 94],
  ] as const)("with %i-bit operands takes %i bytes, initialises the unit, and restores it", (operandSize, length) => {
    const m = new Machine();
    m.operandSize = operandSize;
    for (const value of [1, -2.5, 1e300]) m.push(value);
    m.memory.fill(0x5a);
    const before = m.unit.save();
    m.execute(...FNSAVE);
    expect(m.memory[length - 1]).not.toBe(0x5a);
    expect(m.memory[length]).toBe(0x5a);
    expect(m.stack).toEqual([]);
    m.execute(...FRSTOR);
    expect(m.stack).toEqual([1e300, -2.5, 1]);
    expect(m.unit.save().registers).toEqual(before.registers);
  });
});

describe("FXSAVE's image", () => {
  test("has the abridged tags, the pointers and the XMM registers, and leaves the unit as it is", () => {
    const m = afterFadd();
    m.unit.xmm.set([1, 2, 3]);
    const before = m.unit.save();
    fxsave(m.unit, m);
    const view = new DataView(m.memory.buffer);
    expect([view.getUint16(0, true), view.getUint16(2, true), m.memory[4]]).toEqual([0x037f, 0x3800, 0x80]);
    expect(view.getUint16(6, true)).toBe(0x007);
    expect([view.getUint32(8, true), view.getUint16(12, true)]).toEqual([0x8765_4321, 0x1234]);
    expect([view.getUint32(16, true), view.getUint16(20, true)]).toEqual([0xfedc_ba98, 0xabcd]);
    expect([view.getUint32(24, true), view.getUint32(28, true)]).toEqual([0x1f80, 0xffbf]);
    expect([view.getBigUint64(32, true), view.getUint16(40, true)]).toEqual([1n << 63n, 0x3fff]);
    expect([...m.memory.slice(160, 163)]).toEqual([1, 2, 3]);
    expect(m.memory[288]).toBe(0x5a);
    expect(m.unit.save()).toEqual(before);
  });

  test("is restored by FXRSTOR", () => {
    const m = afterFadd();
    m.unit.xmm.set([1, 2, 3]);
    m.unit.mxcsr = 0x1fa0;
    const before = m.unit.save();
    fxsave(m.unit, m);
    m.unit.reset();
    fxrstor(m.unit, m);
    expect(m.unit.save()).toEqual(before);
  });

  test("raises #GP and changes nothing when reserved bits of MXCSR are set", () => {
    const m = afterFadd();
    fxsave(m.unit, m);
    m.memory[26] = 1;
    m.push(1);
    const before = m.unit.save();
    m.memory[26] = 1;
    expect(exceptionOf(() => fxrstor(m.unit, m))).toBe(13);
    expect(m.unit.save()).toEqual(before);
  });
});
