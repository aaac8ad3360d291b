import { expect, test } from "vitest";
import { InputError, InvariantError } from "../../src/core/errors.ts";
import { inverse, ratio, scaleCeil, scaleFloor } from "../../src/core/units.ts";

test("a ratio is kept in lowest terms", () => {
  expect(ratio(6, 4)).toEqual({ numerator: 3, denominator: 2 });
  expect(inverse(ratio(6, 4))).toEqual({ numerator: 2, denominator: 3 });
});

test("a ratio of anything but positive integers below 2^53 is bad input", () => {
  for (const [numerator, denominator] of [
    [0, 1],
    [1, 0],
    [-1, 2],
    [1.5, 2],
    [2 ** 53, 1],
    [Number.NaN, 1],
  ] as const) {
    expect(() => ratio(numerator, denominator)).toThrow(InputError);
  }
});

test("scaling rounds down or up on demand and is exact at a whole result", () => {
  expect([scaleFloor(7, ratio(1, 2)), scaleCeil(7, ratio(1, 2))]).toEqual([3, 4]);
  expect([scaleFloor(8, ratio(1, 2)), scaleCeil(8, ratio(1, 2))]).toEqual([4, 4]);
  expect(scaleFloor(0, ratio(5, 3))).toBe(0);
});

test("scaling stays exact where the product leaves the doubles", () => {
  const counter = 2 ** 53 - 1;
  expect(scaleFloor(counter, ratio(2_400_000_001, 2_400_000_002))).toBe(9007199250987991);
  expect(scaleCeil(counter, ratio(2_400_000_001, 2_400_000_002))).toBe(9007199250987992);
});

test("a result past 2^53 is caught rather than rounded", () => {
  expect(() => scaleFloor(2 ** 52, ratio(3, 1))).toThrow(InvariantError);
  expect(() => scaleFloor(-1, ratio(3, 1))).toThrow(InvariantError);
});
