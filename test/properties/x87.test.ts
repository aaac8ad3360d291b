// The x87 unit against the host's IEEE double arithmetic and against algebra.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NotModelled } from "../../src/core/errors.ts";
import { X87 } from "../../src/cpu/x87/unit.ts";
import { exceptionOf, Machine } from "../cpu/x87/machine.ts";

/** FNINIT's control word with precision control at 53 bits. */
const DOUBLE_PRECISION = 0x027f;

/** Doubles whose sums, products and quotients stay normal, where the extended exponent range makes no difference. */
const moderate = fc
  .tuple(fc.boolean(), fc.integer({ min: -400, max: 400 }), fc.bigInt({ min: 0n, max: (1n << 52n) - 1n }))
  .map(([negative, exponent, fraction]) => (negative ? -1 : 1) * (1 + Number(fraction) / 2 ** 52) * 2 ** exponent);

function compute(x: number, y: number, modrm: number): number {
  const m = new Machine();
  m.unit.loadControl(DOUBLE_PRECISION);
  m.push(y);
  m.push(x);
  m.execute(0xd8, modrm);
  m.execute(0xdd, 0x1f); // FSTP m64fp
  return m.double;
}

describe("with 53 bits of precision", () => {
  test.each([
    ["FADD", 0xc1, (x: number, y: number) => x + y],
    ["FSUB", 0xe1, (x: number, y: number) => x - y],
    ["FMUL", 0xc9, (x: number, y: number) => x * y],
    ["FDIV", 0xf1, (x: number, y: number) => x / y],
  ] as const)("%s is the host's double arithmetic", (_, modrm, operate) => {
    const agrees = (x: number, y: number): void => {
      expect(compute(x, y, modrm)).toBe(operate(x, y));
    };
    fc.assert(fc.property(moderate, moderate, agrees));
    fc.assert(fc.property(moderate, (x) => agrees(x, x)));
  });

  test("FSQRT is the host's square root", () => {
    fc.assert(
      fc.property(moderate, (x) => {
        const m = new Machine();
        m.unit.loadControl(DOUBLE_PRECISION);
        m.push(Math.abs(x));
        m.execute(0xd9, 0xfa);
        m.execute(0xdd, 0x1f);
        expect(m.double).toBe(Math.sqrt(Math.abs(x)));
      }),
    );
  });
});

test("every double but a signalling NaN goes through a register unchanged", () => {
  fc.assert(
    fc.property(fc.double(), (x) => {
      const m = new Machine();
      m.push(x);
      m.memory.fill(0);
      m.execute(0xdd, 0x1f);
      expect(m.double).toBe(x);
      expect(m.unit.status & 0x3d).toBe(0);
    }),
  );
});

test("every 64-bit integer goes through a register unchanged", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), (value) => {
      const m = new Machine();
      const view = new DataView(m.memory.buffer);
      view.setBigInt64(0, value, true);
      m.execute(0xdf, 0x2f); // FILD m64int
      view.setBigInt64(0, 0n, true);
      m.execute(0xdf, 0x3f); // FISTP m64int
      expect(view.getBigInt64(0, true)).toBe(value);
      expect(m.unit.status & 0x3f).toBe(0);
    }),
  );
});

test("every decimal of 18 digits goes through a register unchanged", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 18, maxLength: 18 }),
      fc.boolean(),
      (digits, negative) => {
        const m = new Machine();
        const bcd = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => (digits[2 * i + 1]! << 4) | digits[2 * i]!);
        bcd.push(negative ? 0x80 : 0);
        m.memory.set(bcd);
        m.execute(0xdf, 0x27); // FBLD
        m.memory.fill(0);
        m.execute(0xdf, 0x37); // FBSTP
        expect([...m.memory.slice(0, 10)]).toEqual(bcd);
      },
    ),
  );
});

test("rounding down and rounding up enclose the exact quotient by neighbours, and nearest is one of them", () => {
  const quotientWith = (x: number, y: number, control: number) => {
    const m = new Machine();
    m.push(y);
    m.push(x);
    m.unit.loadControl(control);
    m.execute(0xd8, 0xf1); // FDIV ST(0), ST(1)
    return { bits: m.unit.read(0), inexact: (m.unit.status & 0x20) !== 0 };
  };
  fc.assert(
    fc.property(moderate, moderate, (x, y) => {
      const [ax, ay] = [Math.abs(x), Math.abs(y)];
      const [nearest, down, up] = [0x037f, 0x077f, 0x0b7f].map((control) => quotientWith(ax, ay, control));
      const ulp = (q: typeof down) =>
        (BigInt(q!.bits.signExponent) << 63n) + (q!.bits.significand & ((1n << 63n) - 1n));
      expect(ulp(up) - ulp(down)).toBe(down!.inexact ? 1n : 0n);
      expect([ulp(down), ulp(up)]).toContain(ulp(nearest));
    }),
  );
});

test("repeated FPREM ends at the host's exact remainder", () => {
  fc.assert(
    fc.property(moderate, moderate, (x, y) => {
      const m = new Machine();
      m.push(y);
      m.push(x);
      let rounds = 0;
      do {
        m.execute(0xd9, 0xf8);
        rounds += 1;
      } while ((m.unit.status & 0x0400) !== 0 && rounds < 100);
      m.execute(0xdd, 0x1f);
      expect(m.double).toBe(x % y);
    }),
  );
});

test("FXTRACT and FSCALE are inverse to each other", () => {
  fc.assert(
    fc.property(moderate, (x) => {
      const m = new Machine();
      m.push(x);
      m.execute(0xd9, 0xf4); // significand over exponent
      m.execute(0xd9, 0xfd);
      m.execute(0xdd, 0x1f);
      expect(m.double).toBe(x);
    }),
  );
});

test("any instruction on any state ends in a state that can be saved and restored, an exception, or not modelled", () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(
    fc.property(
      bytes(108),
      bytes(512),
      fc.integer({ min: 0xd8, max: 0xdf }),
      fc.integer({ min: 0, max: 0xff }),
      fc.boolean(),
      (image, operand, opcode, modrm, masked) => {
        const m = new Machine();
        m.memory.set(image);
        if (masked) m.memory.set([0x7f, 0, 0, 0, 0], 0);
        m.execute(0xdd, 0x27); // FRSTOR
        m.memory.set(operand);
        const before = m.unit.save();
        try {
          const vector = exceptionOf(() => m.execute(opcode, modrm));
          expect([undefined, 6, 16]).toContain(vector);
          if (vector !== undefined) expect(m.unit.save()).toEqual(before);
        } catch (error) {
          if (!(error instanceof NotModelled)) throw error;
          expect(m.unit.save()).toEqual(before);
        }
        const other = new X87();
        other.load(m.unit.save());
        expect(other.save()).toEqual(m.unit.save());
      },
    ),
    { numRuns: 2000 },
  );
});
