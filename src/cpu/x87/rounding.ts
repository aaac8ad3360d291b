// Part: rounding, precision control and the numeric exceptions of the x87 (SDM Vol. 1, 4.8.4, 4.9 and 8.5).
//
// An operation computes its exact result as an integer times a power of two (a non-zero tail below the last bit is jammed into
// the last bit) and rounds once, here.

import { bitLength, EXPONENT_BIAS, type Extended, infinity, SIGN_BIT, zero } from "./extended.ts";

/** Exception flags, as in the status word, and masks, as in the control word (SDM Vol. 1, figures 8-4 and 8-6). */
export const IE = 0x01;
export const DE = 0x02;
export const ZE = 0x04;
export const OE = 0x08;
export const UE = 0x10;
export const PE = 0x20;
/** Raised before anything is computed: unmasked, they leave the operands as they are (SDM Vol. 1, 8.6). */
export const BEFORE_COMPUTATION = IE | DE | ZE;

/** Rounding control (SDM Vol. 1, table 4-8). */
export const NEAREST = 0;
export const DOWN = 1;
export const UP = 2;
export const TOWARD_ZERO = 3;

/** What one instruction's arithmetic reads from the control word and leaves for the status word. */
export interface Arithmetic {
  readonly rounding: number;
  /** Bits of significand after precision control: 24, 53 or 64. */
  readonly precision: number;
  /** Exceptions whose mask bit is clear. */
  readonly unmasked: number;
  exceptions: number;
  /** The last rounding increased the magnitude: C1 (SDM Vol. 1, 8.1.3.3). */
  roundedUp: boolean;
}

/** Precision control (SDM Vol. 1, table 8-2); the reserved encoding 01 computes in full precision, as processors do. */
const PRECISIONS = [24, 64, 53, 64] as const;

export function arithmeticFor(controlWord: number): Arithmetic {
  return {
    rounding: (controlWord >> 10) & 3,
    precision: PRECISIONS[((controlWord >> 8) & 3) as 0 | 1 | 2 | 3],
    unmasked: ~controlWord & 0x3f,
    exceptions: 0,
    roundedUp: false,
  };
}

/** A binary format: bits of significand, and the unbiased exponents of its least and greatest normal numbers. */
export interface Format {
  readonly precision: number;
  readonly leastExponent: number;
  readonly greatestExponent: number;
}

export const FLOAT32: Format = { precision: 24, leastExponent: -126, greatestExponent: 127 };
export const FLOAT64: Format = { precision: 53, leastExponent: -1022, greatestExponent: 1023 };
const EXTENDED: Format = { precision: 64, leastExponent: -16382, greatestExponent: 16383 };
const EXTENDED_BY_PRECISION: Record<number, Format> = {
  24: { ...EXTENDED, precision: 24 },
  53: { ...EXTENDED, precision: 53 },
  64: EXTENDED,
};

/**
 * The unmasked answer to overflow and underflow: in a register, the exponent moved by 24576 (SDM Vol. 1, 8.5.4, 8.5.5); a result
 * bound for memory is not stored.
 */
export type UnmaskedAnswer = "adjust" | "discard";
const EXPONENT_ADJUSTMENT = 24576;

/** A rounded magnitude: significand × 2^exponent with at most the format's bits, or an infinity. */
export type Rounded = { readonly infinite: true } | { readonly infinite: false; significand: bigint; exponent: number };

interface Cut {
  significand: bigint;
  exponent: number;
  inexact: boolean;
  up: boolean;
}

/** Rounds significand × 2^exponent to a multiple of 2^unit. */
export function cut(rounding: number, negative: boolean, significand: bigint, exponent: number, unit: number): Cut {
  const drop = unit - exponent;
  if (drop <= 0) return { significand: significand << BigInt(-drop), exponent: unit, inexact: false, up: false };
  const shift = BigInt(drop);
  const kept = significand >> shift;
  const tail = significand - (kept << shift);
  if (tail === 0n) return { significand: kept, exponent: unit, inexact: false, up: false };
  const half = 1n << (shift - 1n);
  const up =
    rounding === NEAREST ? tail > half || (tail === half && (kept & 1n) === 1n) : rounding === (negative ? DOWN : UP);
  return { significand: up ? kept + 1n : kept, exponent: unit, inexact: true, up };
}

/** A masked overflow gives infinity or the greatest finite number (SDM Vol. 1, table 4-10). */
function overflowsToInfinity(rounding: number, negative: boolean): boolean {
  return rounding === NEAREST || rounding === (negative ? DOWN : UP);
}

/**
 * Rounds a non-zero magnitude to a format, raising OE, UE and PE. Tininess is detected after rounding (SDM Vol. 1, 4.9.1.5).
 * @param answer when an unmasked overflow or underflow discards the result, the one returned means nothing
 */
export function roundTo(
  a: Arithmetic,
  format: Format,
  negative: boolean,
  significand: bigint,
  exponent: number,
  answer: UnmaskedAnswer,
): Rounded {
  const { precision, leastExponent, greatestExponent } = format;
  const normal = cut(a.rounding, negative, significand, exponent, exponent + bitLength(significand) - precision);
  const top = normal.exponent + bitLength(normal.significand) - 1;
  if (top > greatestExponent) {
    a.exceptions |= OE;
    if ((a.unmasked & OE) === 0) {
      a.exceptions |= PE;
      a.roundedUp = overflowsToInfinity(a.rounding, negative);
      if (a.roundedUp) return { infinite: true };
      const greatest = (1n << BigInt(precision)) - 1n;
      return { infinite: false, significand: greatest, exponent: greatestExponent - precision + 1 };
    }
    return answerUnmasked(a, format, normal, answer);
  }
  if (top < leastExponent) {
    if ((a.unmasked & UE) !== 0) {
      a.exceptions |= UE;
      return answerUnmasked(a, format, normal, answer);
    }
    const denormal = cut(a.rounding, negative, significand, exponent, leastExponent - precision + 1);
    if (denormal.inexact) a.exceptions |= UE;
    return settle(a, denormal);
  }
  return settle(a, normal);
}

function settle(a: Arithmetic, { significand, exponent, inexact, up }: Cut): Rounded {
  if (inexact) a.exceptions |= PE;
  a.roundedUp = up;
  return { infinite: false, significand, exponent };
}

/** Moves the exponent; what FSCALE leaves out of range even so becomes an infinity or a zero, inexactly (SDM Vol. 2A, FSCALE). */
function answerUnmasked(a: Arithmetic, format: Format, result: Cut, answer: UnmaskedAnswer): Rounded {
  if (answer === "discard") return { infinite: false, significand: 0n, exponent: 0 };
  const overflow = result.exponent > 0;
  const exponent = result.exponent + (overflow ? -EXPONENT_ADJUSTMENT : EXPONENT_ADJUSTMENT);
  const top = exponent + bitLength(result.significand) - 1;
  if (top >= format.leastExponent && top <= format.greatestExponent) return settle(a, { ...result, exponent });
  a.exceptions |= PE;
  a.roundedUp = overflow;
  return overflow ? { infinite: true } : { infinite: false, significand: 0n, exponent: 0 };
}

/**
 * Rounds ±significand × 2^exponent to a register.
 * @param precision bits of significand; the control word's unless the instruction ignores precision control
 */
export function roundToExtended(
  a: Arithmetic,
  negative: boolean,
  significand: bigint,
  exponent: number,
  precision: number = a.precision,
): Extended {
  const format = EXTENDED_BY_PRECISION[precision] ?? EXTENDED;
  const result = roundTo(a, format, negative, significand, exponent, "adjust");
  return result.infinite ? infinity(negative) : packExtended(negative, result.significand, result.exponent);
}

/** Encodes a ±significand × 2^exponent that a register can hold exactly. */
export function packExtended(negative: boolean, significand: bigint, exponent: number): Extended {
  if (significand === 0n) return zero(negative);
  const length = bitLength(significand);
  const biased = exponent + length - 1 + EXPONENT_BIAS;
  const sign = negative ? SIGN_BIT : 0;
  if (biased >= 1) return { signExponent: sign | biased, significand: significand << BigInt(64 - length) };
  return { signExponent: sign, significand: significand << BigInt(exponent + EXPONENT_BIAS - 1 + 63) };
}
