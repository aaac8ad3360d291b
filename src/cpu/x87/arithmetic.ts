// Part: FADD, FSUB, FMUL, FDIV, FSQRT, comparison, and the rules for NaN operands (SDM Vol. 1, 4.8.3.5 and 8.3.3 to 8.3.6).
// Every function takes supported and unsupported operands alike and reports through the Arithmetic's exceptions.

import {
  type Extended,
  INDEFINITE,
  infinity,
  isDenormal,
  isInfinity,
  isNan,
  isNegative,
  isSignalling,
  isUnsupported,
  isZero,
  negated,
  quieted,
  unpack,
  zero,
} from "./extended.ts";
import { type Arithmetic, DE, DOWN, IE, roundToExtended, ZE } from "./rounding.ts";

/** The masked answer to an invalid-arithmetic-operand exception. */
export function invalid(a: Arithmetic): Extended {
  a.exceptions |= IE;
  return INDEFINITE;
}

/** The result of an operation with a NaN or unsupported operand, or undefined when the operands are numbers (SDM Vol. 1, table 4-7). */
export function nanResult(a: Arithmetic, x: Extended, y: Extended = x): Extended | undefined {
  if (isUnsupported(x) || isUnsupported(y)) return invalid(a);
  const xIsNaN = isNan(x);
  const yIsNaN = isNan(y);
  if (!xIsNaN && !yIsNaN) return undefined;
  const xSignals = isSignalling(x);
  const ySignals = isSignalling(y);
  if (xSignals || ySignals) a.exceptions |= IE;
  if (!yIsNaN) return quieted(x);
  if (!xIsNaN) return quieted(y);
  if (xSignals !== ySignals) return xSignals ? y : x;
  const [qx, qy] = [quieted(x), quieted(y)];
  if (qx.significand !== qy.significand) return qx.significand > qy.significand ? qx : qy;
  return isNegative(qx) ? qy : qx;
}

export function noteDenormal(a: Arithmetic, x: Extended, y: Extended = x): void {
  if (isDenormal(x) || isDenormal(y)) a.exceptions |= DE;
}

/** Beyond this distance the smaller addend lies below every bit that can matter and only its existence counts. */
const FARTHEST_ALIGNMENT = 130;

export function add(a: Arithmetic, x: Extended, y: Extended): Extended {
  const nan = nanResult(a, x, y);
  if (nan !== undefined) return nan;
  if (isInfinity(x) && isInfinity(y) && isNegative(x) !== isNegative(y)) return invalid(a);
  noteDenormal(a, x, y);
  if (isInfinity(x)) return x;
  if (isInfinity(y)) return y;
  if (isZero(x) && isZero(y)) return isNegative(x) === isNegative(y) ? x : zero(a.rounding === DOWN);
  if (isZero(x)) return rounded(a, y);
  if (isZero(y)) return rounded(a, x);
  let [big, small] = [unpack(x), unpack(y)];
  if (big.exponent < small.exponent) [big, small] = [small, big];
  const distance = big.exponent - small.exponent;
  const far = distance > FARTHEST_ALIGNMENT;
  const shift = far ? FARTHEST_ALIGNMENT : distance;
  const bigger = big.significand << BigInt(shift);
  const smaller = far ? 1n : small.significand;
  const sum = (big.negative ? -bigger : bigger) + (small.negative ? -smaller : smaller);
  if (sum === 0n) return zero(a.rounding === DOWN);
  return roundToExtended(a, sum < 0n, sum < 0n ? -sum : sum, big.exponent - shift);
}

export function subtract(a: Arithmetic, x: Extended, y: Extended): Extended {
  return add(a, x, isNan(y) ? y : negated(y));
}

function rounded(a: Arithmetic, x: Extended): Extended {
  const { negative, significand, exponent } = unpack(x);
  return roundToExtended(a, negative, significand, exponent);
}

export function multiply(a: Arithmetic, x: Extended, y: Extended): Extended {
  const nan = nanResult(a, x, y);
  if (nan !== undefined) return nan;
  const negative = isNegative(x) !== isNegative(y);
  if ((isInfinity(x) && isZero(y)) || (isZero(x) && isInfinity(y))) return invalid(a);
  noteDenormal(a, x, y);
  if (isInfinity(x) || isInfinity(y)) return infinity(negative);
  if (isZero(x) || isZero(y)) return zero(negative);
  const [p, q] = [unpack(x), unpack(y)];
  return roundToExtended(a, negative, p.significand * q.significand, p.exponent + q.exponent);
}

/** Quotient bits computed before the rest is jammed: more than the 64 of the widest result plus one for rounding. */
const QUOTIENT_SHIFT = 68;

export function divide(a: Arithmetic, x: Extended, y: Extended): Extended {
  const nan = nanResult(a, x, y);
  if (nan !== undefined) return nan;
  const negative = isNegative(x) !== isNegative(y);
  if ((isInfinity(x) && isInfinity(y)) || (isZero(x) && isZero(y))) return invalid(a);
  if (isZero(y) && !isInfinity(x)) {
    a.exceptions |= ZE;
    return infinity(negative);
  }
  noteDenormal(a, x, y);
  if (isInfinity(x)) return infinity(negative);
  if (isInfinity(y) || isZero(x)) return zero(negative);
  const [p, q] = [unpack(x), unpack(y)];
  const dividend = p.significand << BigInt(QUOTIENT_SHIFT);
  const quotient = dividend / q.significand;
  const jam = quotient * q.significand === dividend ? 0n : 1n;
  return roundToExtended(a, negative, (quotient << 1n) | jam, p.exponent - q.exponent - QUOTIENT_SHIFT - 1);
}

export function squareRoot(a: Arithmetic, x: Extended): Extended {
  const nan = nanResult(a, x);
  if (nan !== undefined) return nan;
  if (isZero(x)) return x;
  if (isNegative(x)) return invalid(a);
  noteDenormal(a, x);
  if (isInfinity(x)) return x;
  const { significand, exponent } = unpack(x);
  const shift = (exponent & 1) === 0 ? 70 : 71;
  const radicand = significand << BigInt(shift);
  const root = integerSquareRoot(radicand);
  const jam = root * root === radicand ? 0n : 1n;
  return roundToExtended(a, false, (root << 1n) | jam, (exponent - shift) / 2 - 1);
}

/** The integer part of the square root of a number of up to 136 bits, by Newton's method from above (it only descends). */
function integerSquareRoot(n: bigint): bigint {
  let root = 1n << 68n;
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

export type Relation = "less" | "equal" | "greater" | "unordered";

/**
 * @param quiet FUCOM and FUCOMI: a quiet NaN does not raise IE
 */
export function compare(a: Arithmetic, x: Extended, y: Extended, quiet: boolean): Relation {
  if (isUnsupported(x) || isUnsupported(y) || isNan(x) || isNan(y)) {
    const silent = quiet && !isUnsupported(x) && !isUnsupported(y) && !isSignalling(x) && !isSignalling(y);
    if (!silent) a.exceptions |= IE;
    return "unordered";
  }
  noteDenormal(a, x, y);
  const [p, q] = [orderKey(x), orderKey(y)];
  return p < q ? "less" : p > q ? "greater" : "equal";
}

/** An integer that orders as the numbers do: exponent and significand are one field, and zeros of either sign are equal. */
function orderKey(x: Extended): bigint {
  if (isZero(x)) return 0n;
  const exponent = Math.max(x.signExponent & 0x7fff, 1);
  const magnitude = (BigInt(exponent) << 64n) + x.significand;
  return isNegative(x) ? -magnitude : magnitude;
}
