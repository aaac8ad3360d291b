// Part: FPREM, FPREM1, FSCALE, FXTRACT and FRNDINT (SDM Vol. 2A). None of them is subject to precision control.

import { invalid, nanResult, noteDenormal } from "./arithmetic.ts";
import {
  EXPONENT_BIAS,
  type Extended,
  infinity,
  isInfinity,
  isNegative,
  isZero,
  unpack,
  withSign,
  zero,
} from "./extended.ts";
import { type Arithmetic, cut, PE, packExtended, roundToExtended, TOWARD_ZERO, ZE } from "./rounding.ts";

export interface Remainder {
  readonly value: Extended;
  /** The three least bits of the quotient, 0 when the reduction is incomplete; undefined when the operands have no quotient. */
  readonly quotient: number | undefined;
  /** The exponents were too far apart: ST(0) was only reduced, and the instruction is to be repeated (C2). */
  readonly incomplete: boolean;
}

const withoutQuotient = (value: Extended): Remainder => ({ value, quotient: undefined, incomplete: false });
const smaller = (value: Extended): Remainder => ({ value, quotient: 0, incomplete: false });

/**
 * @param toNearest FPREM1 rounds the quotient to nearest (IEEE 754 remainder), FPREM chops it
 */
export function remainder(a: Arithmetic, x: Extended, y: Extended, toNearest: boolean): Remainder {
  const nan = nanResult(a, x, y);
  if (nan !== undefined) return withoutQuotient(nan);
  if (isInfinity(x) || isZero(y)) return withoutQuotient(invalid(a));
  noteDenormal(a, x, y);
  if (isZero(x)) return smaller(x);
  const p = unpack(x);
  if (isInfinity(y)) return smaller(roundToExtended(a, p.negative, p.significand, p.exponent, 64));
  const q = unpack(y);
  const distance = p.exponent - q.exponent;
  if (distance < -1) return smaller(roundToExtended(a, p.negative, p.significand, p.exponent, 64));
  if (distance >= 64) {
    const step = 32 + (distance % 32);
    const rest = (p.significand << BigInt(step)) % q.significand;
    const exponent = q.exponent + distance - step;
    const value = rest === 0n ? zero(p.negative) : roundToExtended(a, p.negative, rest, exponent, 64);
    return { value, quotient: 0, incomplete: true };
  }
  const unit = Math.min(p.exponent, q.exponent);
  const dividend = p.significand << BigInt(p.exponent - unit);
  const divisor = q.significand << BigInt(q.exponent - unit);
  let quotient = dividend / divisor;
  let rest = dividend - quotient * divisor;
  let negative = p.negative;
  if (toNearest && (2n * rest > divisor || (2n * rest === divisor && (quotient & 1n) === 1n))) {
    quotient += 1n;
    rest = divisor - rest;
    negative = !negative;
  }
  const value = rest === 0n ? zero(p.negative) : roundToExtended(a, negative, rest, unit, 64);
  return { value, quotient: Number(quotient & 7n), incomplete: false };
}

/** Any power of two beyond this one takes every finite number past either limit, also after the unmasked exponent adjustment. */
const GREATEST_SCALE = 0x10000;

/** x × 2^trunc(y) */
export function scale(a: Arithmetic, x: Extended, y: Extended): Extended {
  const nan = nanResult(a, x, y);
  if (nan !== undefined) return nan;
  if (isInfinity(y) && ((isInfinity(x) && isNegative(y)) || (isZero(x) && !isNegative(y)))) return invalid(a);
  noteDenormal(a, x, y);
  if (isInfinity(x) || isZero(x)) return x;
  if (isInfinity(y)) return isNegative(y) ? zero(isNegative(x)) : infinity(isNegative(x));
  const p = unpack(x);
  return roundToExtended(a, p.negative, p.significand, p.exponent + scaleOf(y), 64);
}

function scaleOf(y: Extended): number {
  if (isZero(y)) return 0;
  const { negative, significand, exponent } = unpack(y);
  const magnitude =
    exponent + 63 > 16 ? GREATEST_SCALE : Number(cut(TOWARD_ZERO, false, significand, exponent, 0).significand);
  return negative ? -magnitude : magnitude;
}

/** The unbiased exponent as a number, and the significand as a number with the exponent of 1.0. */
export function extract(a: Arithmetic, x: Extended): { exponent: Extended; significand: Extended } {
  const nan = nanResult(a, x);
  if (nan !== undefined) return { exponent: nan, significand: nan };
  if (isInfinity(x)) return { exponent: infinity(false), significand: x };
  if (isZero(x)) {
    a.exceptions |= ZE;
    return { exponent: infinity(true), significand: x };
  }
  noteDenormal(a, x);
  const { negative, significand, exponent } = unpack(x);
  const power = exponent + 63;
  return {
    exponent: packExtended(power < 0, BigInt(Math.abs(power)), 0),
    significand: withSign({ signExponent: EXPONENT_BIAS, significand }, negative),
  };
}

export function roundToInteger(a: Arithmetic, x: Extended): Extended {
  const nan = nanResult(a, x);
  if (nan !== undefined) return nan;
  noteDenormal(a, x);
  if (isInfinity(x) || isZero(x)) return x;
  const { negative, significand, exponent } = unpack(x);
  if (exponent >= 0) return x;
  const result = cut(a.rounding, negative, significand, exponent, 0);
  if (result.inexact) a.exceptions |= PE;
  a.roundedUp = result.up;
  return packExtended(negative, result.significand, 0);
}
