import { expect, test } from "vitest";
import { digest64, PageDigest, Sha256, sha256Hex } from "../../src/core/digest.ts";
import { InvariantError } from "../../src/core/errors.ts";
import { PAGE_SIZE } from "../../src/core/memory.ts";

const ascii = (text: string) => new TextEncoder().encode(text);
const counting = (length: number, from = 0) => Uint8Array.from({ length }, (_, index) => from + index);

// First eight bytes, as two little-endian words, of MurmurHash3_x86_128 as computed by Python's mmh3.
test.each([
  [ascii(""), 0, "0000000000000000"],
  [ascii(""), 1, "88c4adec54d201b9"],
  [ascii("a"), 0, "a794933c5556b01b"],
  [ascii("The quick brown fox jumps over the lazy dog"), 0, "2f1583c3ecee2c67"],
  [ascii("The quick brown fox jumps over the lazy dog"), 0x9747b28c, "8ad4d55e4cb86171"],
  [counting(256), 7, "1db3c7daf6108f26"],
  [counting(13, 200), 3, "6bb293f572ec1102"],
  [counting(14, 200), 3, "13832af1599e942d"],
  [counting(15, 200), 3, "78eb3d783f6d7808"],
  [counting(16, 200), 3, "e59532c53f078cf5"],
  [counting(17, 200), 3, "41d884d25ac4441b"],
])("digest64 agrees with MurmurHash3_x86_128 (case %#)", (bytes, seed, expected) => {
  expect(digest64(bytes, seed).toString(16).padStart(16, "0")).toBe(expected);
});

test("digest64 does not depend on where the bytes lie in their buffer", () => {
  const content = counting(100);
  for (const offset of [0, 1, 2, 3, 4, 7]) {
    const buffer = new Uint8Array(200).fill(0xee);
    buffer.set(content, offset);
    expect(digest64(buffer.subarray(offset, offset + 100))).toBe(digest64(content));
  }
});

test("a page digest is that of the contents, whatever the order of the updates", () => {
  const bytes = new Uint8Array(4 * PAGE_SIZE);
  const digest = new PageDigest(bytes);
  expect(digest.value()).toBe(0n);
  bytes[5] = 1;
  bytes[3 * PAGE_SIZE] = 2;
  digest.update(3);
  digest.update(0);
  const fresh = new PageDigest(bytes);
  fresh.updateAll();
  expect(digest.value()).toBe(fresh.value());
  expect(digest.value()).not.toBe(0n);
});

test("a page digest returns to an earlier value with the contents", () => {
  const bytes = new Uint8Array(2 * PAGE_SIZE);
  const digest = new PageDigest(bytes);
  const seen = new Set<bigint>();
  for (let value = 0; value < 200; value++) {
    bytes[PAGE_SIZE + 17] = value;
    digest.update(1);
    seen.add(digest.value());
  }
  expect(seen.size).toBe(200);
  bytes[PAGE_SIZE + 17] = 0;
  digest.update(1);
  expect(digest.value()).toBe(0n);
});

test("the same page elsewhere gives another digest", () => {
  const [first, second] = [0, 1].map((page) => {
    const bytes = new Uint8Array(2 * PAGE_SIZE);
    bytes[page * PAGE_SIZE] = 1;
    const digest = new PageDigest(bytes);
    digest.updateAll();
    return digest.value();
  });
  expect(first).not.toBe(second);
});

test("a page digest wants whole pages and pages that exist", () => {
  expect(() => new PageDigest(new Uint8Array(PAGE_SIZE + 1))).toThrow(InvariantError);
  expect(() => new PageDigest(new Uint8Array(PAGE_SIZE)).update(1)).toThrow(InvariantError);
});

test("SHA-256 is that of FIPS 180-4, also in pieces and while more bytes follow", () => {
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  expect(sha256Hex(ascii("abc"))).toBe(abc);
  const inPieces = new Sha256().update(ascii("a"));
  expect(inPieces.hex()).toBe(sha256Hex(ascii("a")));
  expect(inPieces.update(ascii("bc")).hex()).toBe(abc);
  expect(inPieces.digest()).toHaveLength(32);
});
