// Part: the 80-bit double extended-precision format (SDM Vol. 1, 4.2.2 and 8.2) as data, and its classes (tables 4-3 and 8-3).

/** A register's contents: bit 15 the sign, bits 14..0 the biased exponent; a significand of 64 bits with an explicit integer bit. */
export interface Extended {
  readonly signExponent: number;
  readonly significand: bigint;
  /** The value was widened from a denormal of a shorter format: a normal number here, but the operand raises DE. */
  readonly fromDenormal?: boolean;
}

export const EXPONENT_BIAS = 16383;
export const EXPONENT_MASK = 0x7fff;
export const SIGN_BIT = 0x8000;
export const INTEGER_BIT = 1n << 63n;
export const QUIET_BIT = 1n << 62n;
const TWO_TO_64 = 1n << 64n;

/** The QNaN floating-point indefinite (SDM Vol. 1, table 4-3), the masked answer to an invalid operation. */
export const INDEFINITE: Extended = { signExponent: 0xffff, significand: INTEGER_BIT | QUIET_BIT };

export const zero = (negative: boolean): Extended => ({ signExponent: negative ? SIGN_BIT : 0, significand: 0n });
export const infinity = (negative: boolean): Extended => ({
  signExponent: negative ? 0xffff : EXPONENT_MASK,
  significand: INTEGER_BIT,
});
export const one: Extended = { signExponent: EXPONENT_BIAS, significand: INTEGER_BIT };

export const isNegative = (x: Extended): boolean => (x.signExponent & SIGN_BIT) !== 0;
const exponentOf = (x: Extended): number => x.signExponent & EXPONENT_MASK;

export const isZero = (x: Extended): boolean => exponentOf(x) === 0 && x.significand === 0n;
/** Denormals and pseudo-denormals, and what was widened from a denormal. */
export const isDenormal = (x: Extended): boolean =>
  x.fromDenormal === true || (exponentOf(x) === 0 && x.significand !== 0n);
export const isInfinity = (x: Extended): boolean => exponentOf(x) === EXPONENT_MASK && x.significand === INTEGER_BIT;
export const isNan = (x: Extended): boolean => exponentOf(x) === EXPONENT_MASK && x.significand > INTEGER_BIT;
export const isSignalling = (x: Extended): boolean => isNan(x) && (x.significand & QUIET_BIT) === 0n;
/** Unnormals, pseudo-infinities and pseudo-NaNs: a cleared integer bit under a non-zero exponent (SDM Vol. 1, 8.2.2). */
export const isUnsupported = (x: Extended): boolean => exponentOf(x) !== 0 && x.significand < INTEGER_BIT;

export const quieted = (x: Extended): Extended => ({
  signExponent: x.signExponent,
  significand: x.significand | QUIET_BIT,
});
export const withSign = (x: Extended, negative: boolean): Extended => ({
  signExponent: (x.signExponent & EXPONENT_MASK) | (negative ? SIGN_BIT : 0),
  significand: x.significand,
});
export const negated = (x: Extended): Extended => ({ ...x, signExponent: x.signExponent ^ SIGN_BIT });

/** A finite non-zero number: ±significand × 2^exponent, the significand normalised to exactly 64 bits. */
export interface Finite {
  readonly negative: boolean;
  readonly exponent: number;
  readonly significand: bigint;
}

/** @param x a finite non-zero supported number */
export function unpack(x: Extended): Finite {
  const shift = 64 - bitLength(x.significand);
  const exponent = Math.max(exponentOf(x), 1) - EXPONENT_BIAS - 63 - shift;
  return {
    negative: isNegative(x),
    exponent,
    significand: shift === 0 ? x.significand : x.significand << BigInt(shift),
  };
}

/** The number of bits of a non-negative integer; 0 for 0. */
export function bitLength(value: bigint): number {
  if (value >= INTEGER_BIT && value < TWO_TO_64) return 64; // what a normalised significand has
  if (value === 0n) return 0;
  const digits = value.toString(16);
  return 4 * digits.length + 28 - Math.clz32(Number.parseInt(digits.charAt(0), 16));
}

/** The ten bytes of a register in memory: the significand, then sign and exponent. */
export function toBytes(x: Extended): Uint8Array {
  const bytes = new Uint8Array(10);
  writeExtended(new DataView(bytes.buffer), 0, x);
  return bytes;
}

export function writeExtended(view: DataView, offset: number, x: Extended): void {
  view.setBigUint64(offset, x.significand, true);
  view.setUint16(offset + 8, x.signExponent, true);
}

export function readExtended(view: DataView, offset: number): Extended {
  return { signExponent: view.getUint16(offset + 8, true), significand: view.getBigUint64(offset, true) };
}

/** The two-bit tag of a non-empty register (SDM Vol. 1, 8.1.7): 0 valid, 1 zero, 2 special. */
export function tagOf(x: Extended): 0 | 1 | 2 {
  if (isZero(x)) return 1;
  const exponent = exponentOf(x);
  return exponent !== 0 && exponent !== EXPONENT_MASK && x.significand >= INTEGER_BIT ? 0 : 2;
}
