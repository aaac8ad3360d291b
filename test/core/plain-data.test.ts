import { expect, test } from "vitest";
import { InputError, InvariantError } from "../../src/core/errors.ts";
import { decodePlain, encodePlain } from "../../src/core/plain-data.ts";

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

// The encodings of RFC 8949, appendix A, where plain data has them.
test.each([
  [0, "00"],
  [23, "17"],
  [24, "1818"],
  [255, "18ff"],
  [256, "190100"],
  [65536, "1a00010000"],
  [1000000000000, "1b000000e8d4a51000"],
  [Number.MAX_SAFE_INTEGER, "1b001fffffffffffff"],
  [-1, "20"],
  [-1000, "3903e7"],
  [Number.MIN_SAFE_INTEGER, "3b001ffffffffffffe"],
  [false, "f4"],
  [true, "f5"],
  [null, "f6"],
  [undefined, "f7"],
  ["", "60"],
  ["ü水", "65c3bce6b0b4"],
  [Uint8Array.of(1, 2, 3, 4), "4401020304"],
  [[1, [2, 3]], "8201820203"],
  [{ b: [2], a: 1 }, "a26161016162" + "8102"],
  [{ aa: 1, b: 2 }, "a261620262616101"],
  [18446744073709551616n, "c249010000000000000000"],
  [-18446744073709551617n, "c349010000000000000000"],
  [0n, "c240"],
  [-1n, "c340"],
  [5n, "c24105"],
])("%o is encoded as %s and comes back", (value, encoding) => {
  expect(hex(encodePlain(value))).toBe(encoding);
  expect(decodePlain(bytes(encoding), "test")).toEqual(value);
});

test("large values outgrow the first buffer", () => {
  const value = { blob: new Uint8Array(5000).fill(7), list: Array.from({ length: 3000 }, (_, index) => index) };
  expect(decodePlain(encodePlain(value), "test")).toEqual(value);
});

test("a key named __proto__ is a key like others", () => {
  const value = JSON.parse('{"__proto__": {"polluted": 1}}') as object;
  const decoded = decodePlain(encodePlain(value), "test") as object;
  expect(Object.keys(decoded)).toEqual(["__proto__"]);
  expect("polluted" in decoded).toBe(false);
});

test("what is not plain data is refused", () => {
  const circular: unknown[] = [];
  circular.push(circular);
  for (const value of [
    0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53,
    new Map(),
    new Uint16Array(2),
    () => 1,
    Symbol("s"),
    circular,
  ]) {
    expect(() => encodePlain(value)).toThrow(InvariantError);
    expect(() => encodePlain({ inside: [value] })).toThrow(InvariantError);
  }
});

test.each([
  ["", "truncated"],
  ["18", "truncated"],
  ["4401", "truncated"],
  ["9b001fffffffffffff", "truncated"],
  ["bb001fffffffffffff", "truncated"],
  ["5b001fffffffffffff", "truncated"],
  ["0000", "bytes after the end"],
  ["1817", "a head longer than it needs to be"],
  ["190018", "a head longer than it needs to be"],
  ["1b00000000ffffffff", "a head longer than it needs to be"],
  ["1b0020000000000000", "an integer above 2^53 - 1"],
  ["3b001fffffffffffff", "an integer below"],
  ["9fff", "initial byte 0x9f"],
  ["1c", "initial byte 0x1c"],
  ["f90000", "initial byte 0xf9"],
  ["f818", "initial byte 0xf8"],
  ["e0", "simple value 0"],
  ["c100", "tag 1"],
  ["c200", "a bignum that is not a byte string"],
  ["c24100", "a bignum with a leading zero"],
  ["61ff", "text that is not UTF-8"],
  ["a10000", "a map key that is not text"],
  ["a2616201616101", "map keys out of order"],
  ["a2616101616101", "map keys out of order"],
  [`${"81".repeat(70)}00`, "nested deeper"],
])("the bytes %s are no encoding: %s", (encoding, problem) => {
  expect(() => decodePlain(bytes(encoding), "a.trace")).toThrow(InputError);
  expect(() => decodePlain(bytes(encoding), "a.trace")).toThrow(`a.trace: ${problem}`);
});

test("map keys stand in the order of their encodings, which is neither that of characters nor of UTF-16", () => {
  const value = { "\u{1f600}": 1, "\uffff\uffff": 2, "\uffff": 3, z: 4, ab: 5, é: 6, "": 7, a: 8, abcd: 9 };
  const bytes = encodePlain(value);
  const keys = Object.keys(decodePlain(bytes, "test") as object);
  expect(keys).toEqual(["", "a", "z", "ab", "é", "\uffff", "abcd", "\u{1f600}", "\uffff\uffff"]);
});
