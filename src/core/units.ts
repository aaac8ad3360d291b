// Part: time, sizes and exact ratios.
// Time is a whole number of nanoseconds of the machine's virtual clock, kept in a `number` below 2^53 (104 days).
// Rates are ratios of integers, so that converting a count to a time is exact and the same on every engine.

import { assert, InputError, InvariantError } from "./errors.ts";

/** Virtual time since the machine's power-on, or a span of it: an integer from 0 to 2^53 - 1. */
export type Nanoseconds = number;

export const NS_PER_US = 1_000;
export const NS_PER_MS = 1_000_000;
export const NS_PER_SECOND = 1_000_000_000;

export const KIB = 1024;
export const MIB = 1024 * 1024;

/** numerator / denominator, both integers from 1 to 2^53 - 1, in lowest terms. */
export interface Ratio {
  readonly numerator: number;
  readonly denominator: number;
}

/** The ratio in lowest terms. @throws InputError unless both are positive integers below 2^53 */
export function ratio(numerator: number, denominator: number): Ratio {
  for (const part of [numerator, denominator]) {
    if (!Number.isSafeInteger(part) || part < 1) {
      throw new InputError(`${numerator}/${denominator} is not a ratio of positive integers below 2^53`);
    }
  }
  const divisor = greatestCommonDivisor(numerator, denominator);
  return { numerator: numerator / divisor, denominator: denominator / divisor };
}

export function inverse({ numerator, denominator }: Ratio): Ratio {
  return { numerator: denominator, denominator: numerator };
}

/** floor(amount * rate), exact. `amount` and the result are integers from 0 to 2^53 - 1. */
export function scaleFloor(amount: number, rate: Ratio): number {
  return scale(amount, rate, 0);
}

/** ceil(amount * rate), exact. `amount` and the result are integers from 0 to 2^53 - 1. */
export function scaleCeil(amount: number, rate: Ratio): number {
  return scale(amount, rate, rate.denominator - 1);
}

/** floor((amount * numerator + roundUp) / denominator): in numbers while they are exact, else in BigInt. */
function scale(amount: number, { numerator, denominator }: Ratio, roundUp: number): number {
  if (!(Number.isSafeInteger(amount) && amount >= 0)) throw new InvariantError(`${amount} is not an amount to scale`);
  const dividend = amount * numerator + roundUp;
  if (dividend <= Number.MAX_SAFE_INTEGER) {
    return denominator === 1 ? dividend : (dividend - (dividend % denominator)) / denominator;
  }
  const exact = (BigInt(amount) * BigInt(numerator) + BigInt(roundUp)) / BigInt(denominator);
  assert(exact <= BigInt(Number.MAX_SAFE_INTEGER), () => `${amount} * ${numerator}/${denominator} leaves 2^53`);
  return Number(exact);
}

function greatestCommonDivisor(a: number, b: number): number {
  let [larger, smaller] = [a, b];
  while (smaller !== 0) [larger, smaller] = [smaller, larger % smaller];
  return larger;
}
