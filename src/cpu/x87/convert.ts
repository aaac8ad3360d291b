// Part: conversions between registers and the memory formats: float32, float64, 16-, 32- and 64-bit integers, packed BCD
// (SDM Vol. 1, 4.2, 4.7 and 8.1.2). Memory images are little-endian bytes.

import { nanResult } from "./arithmetic.ts";
import {
  bitLength,
  type Extended,
  INTEGER_BIT,
  isInfinity,
  isNan,
  isNegative,
  isUnsupported,
  isZero,
  unpack,
} from "./extended.ts";
import { type Arithmetic, cut, FLOAT32, FLOAT64, type Format, IE, PE, packExtended, roundTo } from "./rounding.ts";

/** Widens the bits of a float32 or float64 exactly; NaNs keep signalling, denormals are marked. */
function widen(bits: bigint, format: Format): Extended {
  const fractionBits = BigInt(format.precision - 1);
  const fraction = bits & ((1n << fractionBits) - 1n);
  const exponentField = Number((bits >> fractionBits) & BigInt(2 * format.greatestExponent + 1));
  const negative = bits >> BigInt(format === FLOAT32 ? 31 : 63) === 1n;
  if (exponentField === 2 * format.greatestExponent + 1) {
    const significand = INTEGER_BIT | (fraction << BigInt(64 - format.precision));
    return { signExponent: negative ? 0xffff : 0x7fff, significand };
  }
  const unit = Math.max(exponentField, 1) - format.greatestExponent - (format.precision - 1);
  if (exponentField !== 0) return packExtended(negative, fraction | (1n << fractionBits), unit);
  const value = packExtended(negative, fraction, unit);
  return fraction === 0n ? value : { ...value, fromDenormal: true };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

export const fromFloat32 = (bytes: Uint8Array): Extended => widen(BigInt(viewOf(bytes).getUint32(0, true)), FLOAT32);
export const fromFloat64 = (bytes: Uint8Array): Extended => widen(viewOf(bytes).getBigUint64(0, true), FLOAT64);

/** The bits of a register rounded to a shorter format, or the NaN it becomes. A denormal is no operand here: DE is not raised. */
function narrow(a: Arithmetic, x: Extended, format: Format): bigint {
  const fractionBits = BigInt(format.precision - 1);
  const sign = (negative: boolean): bigint => (negative ? 1n << BigInt(format === FLOAT32 ? 31 : 63) : 0n);
  const topExponent = BigInt(2 * format.greatestExponent + 1) << fractionBits;
  const nan = nanResult(a, x);
  if (nan !== undefined) {
    const fraction = (nan.significand & (INTEGER_BIT - 1n)) >> BigInt(64 - format.precision);
    return sign(isNegative(nan)) | topExponent | fraction;
  }
  const negative = isNegative(x);
  if (isInfinity(x)) return sign(negative) | topExponent;
  if (isZero(x)) return sign(negative);
  const { significand, exponent } = unpack(x);
  const result = roundTo(a, format, negative, significand, exponent, "discard");
  if (result.infinite) return sign(negative) | topExponent;
  const biased = result.exponent + bitLength(result.significand) - 1 + format.greatestExponent;
  if (result.significand === 0n || biased < 1) return sign(negative) | result.significand;
  const normal = result.significand << BigInt(format.precision - bitLength(result.significand));
  return sign(negative) | (BigInt(biased) << fractionBits) | (normal & ((1n << fractionBits) - 1n));
}

export function toFloat32(a: Arithmetic, x: Extended): Uint8Array {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, Number(BigInt.asUintN(32, narrow(a, x, FLOAT32))), true);
  return bytes;
}

export function toFloat64(a: Arithmetic, x: Extended): Uint8Array {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, BigInt.asUintN(64, narrow(a, x, FLOAT64)), true);
  return bytes;
}

/** Widens a signed integer of 2, 4 or 8 bytes. */
export function fromInteger(bytes: Uint8Array): Extended {
  const view = viewOf(bytes);
  const value =
    bytes.length === 2
      ? BigInt(view.getInt16(0, true))
      : bytes.length === 4
        ? BigInt(view.getInt32(0, true))
        : view.getBigInt64(0, true);
  return packExtended(value < 0n, value < 0n ? -value : value, 0);
}

/** The magnitude of a number rounded to an integer, or undefined when it is no number or has more than 64 bits before the point. */
function integerMagnitude(
  x: Extended,
  rounding: number,
): { magnitude: bigint; inexact: boolean; up: boolean } | undefined {
  if (isUnsupported(x) || isNan(x) || isInfinity(x)) return undefined;
  if (isZero(x)) return { magnitude: 0n, inexact: false, up: false };
  const { negative, significand, exponent } = unpack(x);
  if (exponent > 0) return undefined;
  const result = cut(rounding, negative, significand, exponent, 0);
  return { magnitude: result.significand, inexact: result.inexact, up: result.up };
}

/** FIST, FISTP: a signed integer of 2, 4 or 8 bytes; IE and the integer indefinite when it does not fit. */
export function toInteger(a: Arithmetic, x: Extended, length: 2 | 4 | 8): Uint8Array {
  const result = integerMagnitude(x, a.rounding);
  const limit = 1n << BigInt(8 * length - 1);
  const bytes = new Uint8Array(8);
  if (result === undefined || result.magnitude > (isNegative(x) ? limit : limit - 1n)) {
    a.exceptions |= IE;
    viewOf(bytes).setBigUint64(0, limit, true);
  } else {
    if (result.inexact) a.exceptions |= PE;
    a.roundedUp = result.up;
    viewOf(bytes).setBigInt64(0, isNegative(x) ? -result.magnitude : result.magnitude, true);
  }
  return bytes.subarray(0, length);
}

const BCD_LIMIT = 10n ** 18n;
/** SDM Vol. 1, table 4-4. */
const BCD_INDEFINITE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff);

/** FBLD: nine bytes of two digits each, least first, and a byte whose top bit is the sign; digits above 9 count as their value. */
export function fromBcd(bytes: Uint8Array): Extended {
  let magnitude = 0n;
  for (let i = 8; i >= 0; i--) {
    const pair = bytes[i] ?? 0;
    magnitude = magnitude * 100n + BigInt(10 * (pair >> 4) + (pair & 15));
  }
  return packExtended(((bytes[9] ?? 0) & 0x80) !== 0, magnitude, 0);
}

/** FBSTP: IE and the packed BCD indefinite when the rounded integer has more than 18 digits. */
export function toBcd(a: Arithmetic, x: Extended): Uint8Array {
  const result = integerMagnitude(x, a.rounding);
  if (result === undefined || result.magnitude >= BCD_LIMIT) {
    a.exceptions |= IE;
    return BCD_INDEFINITE;
  }
  if (result.inexact) a.exceptions |= PE;
  a.roundedUp = result.up;
  const bytes = new Uint8Array(10);
  let rest = result.magnitude;
  for (let i = 0; i < 9; i++) {
    const pair = Number(rest % 100n);
    bytes[i] = (Math.floor(pair / 10) << 4) | (pair % 10);
    rest /= 100n;
  }
  bytes[9] = isNegative(x) ? 0x80 : 0;
  return bytes;
}
