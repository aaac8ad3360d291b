// Part: integer arithmetic, logic and comparisons (Intel SDM Vol. 1 §7.3.2 to §7.3.4).

import { type Expr, i32, type Width } from "../ir.ts";
import type { Context, Difference } from "./context.ts";

/** Bits of the lazy carry vector: carry out of the top bit, carry into it, carry out of bit 3. */
export const TOP_CARRIES = 0xc000_0000 | 0;
const AUXILIARY = 8;

/** The carry vector of a `width`-bit operation, in the form that state.ts documents. */
export function alignCarries(vector: Expr, width: Width): Expr {
  return width === 32
    ? vector.and(TOP_CARRIES | AUXILIARY)
    : vector
        .shl(32 - width)
        .and(TOP_CARRIES)
        .or(vector.and(AUXILIARY));
}

/** Carries of result = a + b (+ carry): where both bits are set, or one is and the sum's bit is not. */
function sumCarries(result: Expr, a: Expr, b: Expr): Expr {
  return a.and(b).or(a.or(b).and(result.not()));
}

/** Borrows of result = a - b (- borrow). */
function differenceCarries(result: Expr, a: Expr, b: Expr): Expr {
  return a.not().and(b).or(a.not().or(b).and(result));
}

export function carryFlag(c: Context): Expr {
  return c.flagCarries.shrU(31);
}

/** Flags of a logical operation: CF and OF clear; AF, undefined, is cleared. */
export function logicFlags(c: Context, result: Expr): void {
  c.setFlags(result.signExtend(c.width), i32(0));
}

export function addFlags(c: Context, result: Expr, a: Expr, b: Expr): void {
  c.setFlags(result.signExtend(c.width), alignCarries(c.let(sumCarries(result, a, b)), c.width));
}

export function subFlags(c: Context, result: Expr, a: Expr, b: Expr): void {
  borrowFlags(c, result, a, b, { a, b, width: c.width });
}

function borrowFlags(c: Context, result: Expr, a: Expr, b: Expr, difference?: Difference): void {
  c.setFlags(result.signExtend(c.width), alignCarries(c.let(differenceCarries(result, a, b)), c.width), difference);
}

/** Flags of INC and DEC: as of an addition or subtraction, with CF kept. */
function keepCarry(c: Context, result: Expr, vector: Expr): void {
  const carries = c.let(alignCarries(c.let(vector), c.width));
  const old = c.let(c.flagCarries);
  const overflow = carries.xor(carries.shl(1));
  const into = old.xor(overflow).shrU(1).and(0x4000_0000);
  c.setFlags(
    result.signExtend(c.width),
    old
      .and(0x8000_0000 | 0)
      .or(into)
      .or(carries.and(AUXILIARY)),
  );
}

function add(c: Context, a: Expr, b: Expr, carry: Expr | undefined = undefined): { r: Expr; commit: () => void } {
  const sum = carry === undefined ? a.add(b) : a.add(b).add(carry);
  const r = c.let(sum);
  return { r, commit: () => addFlags(c, r, a, b) };
}

function subtract(c: Context, a: Expr, b: Expr, carry: Expr | undefined = undefined): { r: Expr; commit: () => void } {
  if (carry === undefined) {
    const r = c.let(a.sub(b));
    return { r, commit: () => subFlags(c, r, a, b) };
  }
  const r = c.let(a.sub(b).sub(carry));
  return { r, commit: () => borrowFlags(c, r, a, b) };
}

/**
 * Reads the source before it opens the destination; an operation that stores its result, then commits its flags, since the store may fault.
 */
function storing(operation: (c: Context, a: Expr, b: Expr) => { r: Expr; commit: () => void }): (c: Context) => void {
  return (c) => {
    const b = c.let(c.get(1));
    const destination = c.modify(0);
    const { r, commit } = operation(c, destination.value, b);
    destination.write(r);
    commit();
  };
}

const logic = (compute: (a: Expr, b: Expr) => Expr) =>
  storing((c, a, b) => {
    const r = c.let(compute(a, b));
    return { r, commit: () => logicFlags(c, r) };
  });

export const ARITHMETIC: Record<string, (c: Context) => void> = {
  add: storing((c, a, b) => add(c, a, b)),
  adc: storing((c, a, b) => add(c, a, b, c.let(carryFlag(c)))),
  sub: storing((c, a, b) => subtract(c, a, b)),
  sbb: storing((c, a, b) => subtract(c, a, b, c.let(carryFlag(c)))),
  and: logic((a, b) => a.and(b)),
  or: logic((a, b) => a.or(b)),
  xor: logic((a, b) => a.xor(b)),
  cmp: (c) => {
    const b = c.let(c.get(1));
    const a = c.let(c.get(0));
    subtract(c, a, b).commit();
  },
  test: (c) => {
    const b = c.let(c.get(1));
    logicFlags(c, c.let(c.let(c.get(0)).and(b)));
  },
  inc: (c) => {
    const destination = c.modify(0);
    const a = destination.value;
    const r = c.let(a.add(1));
    destination.write(r);
    keepCarry(c, r, sumCarries(r, a, i32(1)));
  },
  dec: (c) => {
    const destination = c.modify(0);
    const a = destination.value;
    const r = c.let(a.sub(1));
    destination.write(r);
    keepCarry(c, r, differenceCarries(r, a, i32(1)));
  },
  neg: (c) => {
    const destination = c.modify(0);
    const r = c.let(i32(0).sub(destination.value));
    destination.write(r);
    subFlags(c, r, i32(0), destination.value);
  },
  not: (c) => {
    const destination = c.modify(0);
    destination.write(destination.value.not());
  },
  xadd: (c) => {
    const b = c.let(c.get(1));
    const destination = c.modify(0);
    const a = destination.value;
    const r = c.let(a.add(b));
    // With the same register twice, the sum is what stays (SDM Vol. 2, XADD: SRC := DEST, then DEST := TEMP).
    if (c.variant.place === "register") c.set(1, a);
    destination.write(r);
    if (c.variant.place !== "register") c.set(1, a);
    addFlags(c, r, a, b);
  },
  cmpxchg: (c) => {
    const accumulator = c.let(c.register(0, c.width));
    const source = c.let(c.get(1));
    const destination = c.modify(0);
    const a = destination.value;
    const r = c.let(accumulator.sub(a));
    const equal = c.let(accumulator.eq(a));
    // The destination is written either way (SDM Vol. 2, CMPXCHG), before the accumulator.
    destination.write(equal.select(source, a));
    c.b.if(equal.eqz(), () => c.setRegister(0, a, c.width));
    subFlags(c, r, accumulator, a);
  },
};
