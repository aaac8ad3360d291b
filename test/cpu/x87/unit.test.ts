import { describe, expect, test } from "vitest";
import { decodePlain, encodePlain } from "../../../src/core/plain-data.ts";
import { INDEFINITE } from "../../../src/cpu/x87/extended.ts";
import { decodeX87, GROUPS } from "../../../src/cpu/x87/opcodes.ts";
import { X87 } from "../../../src/cpu/x87/unit.ts";
import { exceptionOf, Machine } from "./machine.ts";

const UNMASK_ALL = 0x0340;

describe("the register stack", () => {
  test("pushes, computes and pops in stack order", () => {
    const m = new Machine();
    m.push(2);
    m.push(3);
    expect(m.stack).toEqual([3, 2]);
    m.execute(0xde, 0xe9); // FSUBP ST(1), ST(0)
    expect(m.stack).toEqual([-1]);
    m.execute(0xdd, 0x1f); // FSTP m64fp
    expect(m.double).toBe(-1);
    expect(m.stack).toEqual([]);
  });

  test("answers a ninth push with the indefinite and a stack overflow, C1 set", () => {
    const m = new Machine();
    for (let i = 0; i < 9; i++) m.push(i);
    expect(m.unit.read(0)).toEqual(INDEFINITE);
    expect(m.unit.status & 0x0241).toBe(0x0241);
  });

  test("answers the use of an empty register with a stack underflow, C1 clear", () => {
    const m = new Machine();
    m.execute(0xd9, 0xfa); // FSQRT
    expect(m.unit.read(0)).toEqual(INDEFINITE);
    expect(m.unit.status & 0x0241).toBe(0x0041);
  });

  test("keeps the data registers through FNINIT but empties them", () => {
    const m = new Machine();
    m.push(7);
    const before = m.unit.read(0);
    m.execute(0xdb, 0xe3);
    expect(m.stack).toEqual([]);
    expect(m.unit.read(-1)).toEqual(before);
    expect([m.unit.control, m.unit.status]).toEqual([0x037f, 0]);
  });

  test("holds zeros in registers in use after RESET, with every exception unmasked", () => {
    const unit = new X87();
    unit.push(INDEFINITE);
    unit.xmm.fill(1);
    unit.reset();
    expect([unit.control, unit.status, unit.occupied, unit.mxcsr]).toEqual([0x0040, 0, 0xff, 0x1f80]);
    expect(unit.read(0)).toEqual({ signExponent: 0, significand: 0n });
    expect(unit.xmm.every((byte) => byte === 0)).toBe(true);
  });
});

describe("unmasked exceptions", () => {
  test("are raised by the next waiting instruction, and not by those that do not wait", () => {
    const m = new Machine();
    m.unit.loadControl(UNMASK_ALL);
    m.push(1);
    m.execute(0xd9, 0xee); // FLDZ
    m.execute(0xde, 0xf9); // FDIVP: 1 / 0
    expect(m.unit.status & 0x8084).toBe(0x8084);
    expect(m.stack).toEqual([0, 1]);
    expect(exceptionOf(() => m.execute(0xd9, 0xe8))).toBe(16);
    expect(exceptionOf(() => m.execute(0xdf, 0xe0))).toBeUndefined(); // FNSTSW AX
    expect(m.ax).toBe(m.unit.status);
    m.execute(0xdb, 0xe2); // FNCLEX
    expect(exceptionOf(() => m.execute(0xd9, 0xe8))).toBeUndefined();
    expect(m.stack).toEqual([1, 0, 1]);
  });

  test("become pending when FLDCW unmasks an exception that is flagged", () => {
    const m = new Machine();
    m.execute(0xd9, 0xee);
    m.execute(0xd8, 0xf0); // 0 / 0
    expect(m.unit.exceptionPending).toBe(false);
    m.memory.set([0x7e, 0x03]);
    m.execute(0xd9, 0x2f); // FLDCW
    expect(m.unit.exceptionPending).toBe(true);
    expect(exceptionOf(() => m.execute(0xd9, 0xd0))).toBe(16); // FNOP
  });

  test("leave memory and stack as they are when a store overflows", () => {
    const m = new Machine();
    m.unit.loadControl(UNMASK_ALL);
    m.push(1e300);
    m.memory.fill(0x5a);
    m.execute(0xd9, 0x1f); // FSTP m32fp
    expect(m.memory[0]).toBe(0x5a);
    expect(m.stack).toEqual([1e300]);
    expect(m.unit.status & 0x3f).toBe(0x08);
  });
});

describe("restarting", () => {
  const every = GROUPS.flatMap(({ rows }) => rows.map(([encoding, mnemonic]) => [mnemonic, encoding] as const));
  const memoryForms = every.filter(([, encoding]) => encoding.includes("/"));

  test.each(memoryForms)("%s changes nothing when its operand faults", (_, encoding) => {
    const m = new Machine();
    for (const value of [1.5, -2, 1e-310, 4]) m.push(value);
    m.pageFaults = true;
    m.instructionPointer = 0x1000;
    const before = m.unit.save();
    const modrm = (Number(encoding.slice(4)) << 3) | 7;
    expect(exceptionOf(() => m.execute(Number.parseInt(encoding.slice(0, 2), 16), modrm))).toBe(14);
    expect(m.unit.save()).toEqual(before);
  });
});

describe("the opcode map", () => {
  test("gives every encoding to one row only", () => {
    const seen = new Map<string, string>();
    for (const { rows } of GROUPS) {
      for (const [encoding, mnemonic] of rows) {
        const count = encoding.endsWith("+i") ? 8 : 1;
        for (let i = 0; i < count; i++) {
          const first = Number.parseInt(encoding.slice(3, 5), 16);
          const key = encoding.includes("/") ? encoding : `${encoding.slice(0, 2)} ${(first + i).toString(16)}`;
          expect(seen.get(key), `${key}: ${mnemonic}`).toBeUndefined();
          seen.set(key, mnemonic);
        }
      }
    }
  });

  test("finds the row by opcode and ModRM", () => {
    expect(decodeX87(0xde, 0xc9)?.mnemonic).toBe("FMULP ST(i), ST(0)");
    expect(decodeX87(0xdd, 0x75)?.mnemonic).toBe("FNSAVE m94/108byte");
    expect(decodeX87(0xd9, 0xef)).toBeUndefined();
  });

  test("raises #UD for an encoding that does not exist, also with an exception pending", () => {
    const m = new Machine();
    m.unit.loadStatus(0x0001);
    m.unit.loadControl(0);
    expect(exceptionOf(() => m.execute(0xd9, 0xef))).toBe(6);
    expect(exceptionOf(() => m.execute(0xd9, 0x0f))).toBe(6);
  });

  test.each([
    ["F2XM1", 0xf0],
    ["FYL2X", 0xf1],
    ["FPTAN", 0xf2],
    ["FPATAN", 0xf3],
    ["FYL2XP1", 0xf9],
    ["FSINCOS", 0xfb],
    ["FSIN", 0xfe],
    ["FCOS", 0xff],
  ])("says that %s is not modelled", (mnemonic, modrm) => {
    const m = new Machine();
    m.push(0.5);
    m.push(0.5);
    expect(() => m.execute(0xd9, modrm)).toThrow(`not modelled: x87 instruction ${mnemonic}`);
    expect(m.stack).toEqual([0.5, 0.5]);
  });
});

describe("the saved state", () => {
  const busy = (): Machine => {
    const m = new Machine();
    for (const value of [1.25, -3, Number.NaN, Number.NEGATIVE_INFINITY]) m.push(value);
    m.unit.xmm.set([1, 2, 3], 40);
    m.unit.mxcsr = 0x1fa0;
    return m;
  };

  test("is plain data that restores to the same state", () => {
    const { unit } = busy();
    const saved = decodePlain(encodePlain({ ...unit.save() }), "test") as unknown as ReturnType<X87["save"]>;
    const other = new X87();
    other.load(saved);
    expect(other.save()).toEqual(unit.save());
  });

  test("shares nothing with the unit", () => {
    const m = busy();
    const saved = m.unit.save();
    const copy = structuredClone(saved);
    m.push(5);
    m.unit.xmm.fill(9);
    expect(saved).toEqual(copy);
  });

  test.each([
    ["a control word of 17 bits", { control: 0x10000 }, "control does not fit in 16 bits"],
    ["a negative pointer", { operandOffset: -1 }, "operandOffset does not fit in 32 bits"],
    ["too few registers", { registers: new Uint8Array(70) }, "the registers have a wrong length"],
  ])("is refused with %s", (_, change, message) => {
    const m = busy();
    const before = m.unit.save();
    expect(() => m.unit.load({ ...before, ...change })).toThrow(message);
    expect(m.unit.save()).toEqual(before);
  });
});
