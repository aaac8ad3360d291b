import { beforeEach, expect, test } from "vitest";
import { InputError, InvariantError, OutOfRange } from "../../src/core/errors.ts";
import { GuestMemory, PAGE_SIZE } from "../../src/core/memory.ts";

let shared: WebAssembly.Memory;
let memory: GuestMemory;

beforeEach(() => {
  shared = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  memory = new GuestMemory(shared, 4 * PAGE_SIZE, 4 * PAGE_SIZE);
});

test("address 0 of the guest is the start of its window in the shared memory", () => {
  memory.store8(0, 0xab);
  memory.store8(4 * PAGE_SIZE - 1, 0xcd);
  const all = new Uint8Array(shared.buffer);
  expect([all[4 * PAGE_SIZE - 1], all[4 * PAGE_SIZE], all[8 * PAGE_SIZE - 1], all[8 * PAGE_SIZE]]).toEqual([
    0, 0xab, 0xcd, 0,
  ]);
});

test("numbers are little-endian, unsigned and need no alignment", () => {
  memory.store32(1, 0xfedcba98);
  expect([...memory.read(0, 6)]).toEqual([0, 0x98, 0xba, 0xdc, 0xfe, 0]);
  expect([memory.load32(1), memory.load16(3), memory.load8(4)]).toEqual([0xfedcba98, 0xfedc, 0xfe]);
  memory.store16(1, 0x12345);
  expect(memory.load32(1)).toBe(0xfedc2345);
});

test("what was read is a copy", () => {
  memory.write(10, Uint8Array.of(1, 2, 3));
  const copy = memory.read(10, 3);
  memory.store8(10, 9);
  expect([...copy]).toEqual([1, 2, 3]);
});

test("an access that leaves the window is out of range and changes nothing", () => {
  const end = 4 * PAGE_SIZE;
  for (const access of [
    () => memory.load8(end),
    () => memory.load16(end - 1),
    () => memory.load32(end - 3),
    () => memory.load32(-1),
    () => memory.load8(Number.NaN),
    () => memory.read(2 ** 52, 1),
    () => memory.store8(end, 1),
    () => memory.store16(end - 1, 0x0101),
    () => memory.store32(end - 3, 0x01010101),
    () => memory.write(end - 1, Uint8Array.of(1, 1)),
  ]) {
    expect(access).toThrow(OutOfRange);
  }
  expect(memory.bytes.every((byte) => byte === 0)).toBe(true);
  expect(new Uint8Array(shared.buffer).every((byte) => byte === 0)).toBe(true);
});

test("the observer hears of every store after it happened, and of no load", () => {
  const seen: string[] = [];
  memory.writeObserver = (address, length) => seen.push(`${address}+${length}=${memory.load8(address)}`);
  memory.store8(1, 11);
  memory.store16(2, 22);
  memory.store32(4, 44);
  memory.write(8, Uint8Array.of(8, 9, 10));
  memory.load32(0);
  memory.read(0, 8);
  expect(seen).toEqual(["1+1=11", "2+2=22", "4+4=44", "8+3=8"]);
});

test("a snapshot holds the runs of pages that are not zero, as copies", () => {
  memory.store8(PAGE_SIZE, 1);
  memory.store8(3 * PAGE_SIZE - 1, 2);
  const state = memory.save();
  expect(state.runs.map(({ address, bytes }) => [address, bytes.length])).toEqual([[PAGE_SIZE, 2 * PAGE_SIZE]]);
  memory.store8(PAGE_SIZE, 7);
  expect(state.runs[0]!.bytes[0]).toBe(1);
});

test("restoring gives back every byte and tells the processor", () => {
  memory.store8(3 * PAGE_SIZE + 5, 1);
  memory.store8(PAGE_SIZE, 2);
  const state = memory.save();
  const bytes = memory.read(0, memory.size);

  const other = new GuestMemory(new WebAssembly.Memory({ initial: 1, maximum: 1 }), 0, memory.size);
  for (const page of [0, 1, 2, 3]) other.store8(page * PAGE_SIZE + 9, 0xff);
  const seen: number[][] = [];
  other.writeObserver = (...range) => seen.push(range);
  other.load(state);
  expect(other.read(0, other.size)).toEqual(bytes);
  expect(seen).toEqual([[0, other.size]]);
});

test("a snapshot of another size or with runs out of place is bad input and changes nothing", () => {
  memory.store8(0, 5);
  const size = memory.size;
  const page = new Uint8Array(PAGE_SIZE);
  for (const state of [
    { size: size + PAGE_SIZE, runs: [] },
    { size, runs: [{ address: size, bytes: page }] },
    { size, runs: [{ address: -PAGE_SIZE, bytes: page }] },
    {
      size,
      runs: [
        { address: PAGE_SIZE, bytes: page },
        { address: 0, bytes: page },
      ],
    },
  ]) {
    expect(() => memory.load(state)).toThrow(InputError);
    expect(memory.load8(0)).toBe(5);
  }
});

test("guest memory is made of whole pages", () => {
  expect(() => new GuestMemory(shared, 1, PAGE_SIZE)).toThrow(InvariantError);
  expect(() => new GuestMemory(shared, 0, PAGE_SIZE + 1)).toThrow(InvariantError);
});
