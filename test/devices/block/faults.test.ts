import { expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { RandomStreams } from "../../../src/core/random.ts";
import { OverlayDisk } from "../../../src/devices/block/disk.ts";
import { type DiskFault, FaultyDisk } from "../../../src/devices/block/faults.ts";
import { SOLID_STATE, serviceNs } from "../../../src/devices/block/service.ts";

const EIO = 5;
const SECTOR = new Uint8Array(512).fill(0xab);

function faultyDisk(...faults: DiskFault[]) {
  const inner = new OverlayDisk(new Uint8Array(0), 100);
  const told: string[] = [];
  const random = new RandomStreams("faults").stream("disk");
  return { inner, told, random, disk: new FaultyDisk(inner, faults, random, (detail) => told.push(detail)) };
}

test("a bad range fails every operation that touches it, and only those of its kind", () => {
  const { disk, told } = faultyDisk({ operation: "read", sector: 10, count: 5 });
  expect(disk.read(9, 1)).toBeInstanceOf(Uint8Array);
  expect(disk.read(9, 2)).toBe(-EIO);
  expect(disk.read(12, 1)).toBe(-EIO);
  expect(disk.read(14, 10)).toBe(-EIO);
  expect(disk.read(15, 1)).toBeInstanceOf(Uint8Array);
  expect(disk.write(12, SECTOR)).toBe(0);
  expect(disk.discard(12, 1)).toBe(0);
  expect(disk.flush()).toBe(0);
  expect(told).toEqual([
    "read of 2 sectors at 9: EIO",
    "read of 1 sectors at 12: EIO",
    "read of 10 sectors at 14: EIO",
  ]);
});

test("a write that fails leaves the disk as it was", () => {
  const { disk, inner } = faultyDisk({ operation: "write" });
  expect(disk.write(3, SECTOR)).toBe(-EIO);
  expect(inner.read(3, 1)).toEqual(new Uint8Array(512));
  expect(disk.sectorCount).toBe(100);
});

test("flushes and discards fail when asked to; nothing to discard cannot fail", () => {
  const { disk, inner } = faultyDisk({ operation: "flush" }, { operation: "discard", sector: 50 });
  inner.write(60, SECTOR);
  expect(disk.flush()).toBe(-EIO);
  expect(disk.discard(49, 12)).toBe(-EIO);
  expect(inner.read(60, 1)).toEqual(SECTOR);
  expect(disk.discard(60, 0)).toBe(0);
  expect(disk.discard(0, 50)).toBe(0);
});

test("a fault with a number of times goes away", () => {
  const { disk } = faultyDisk({ operation: "read", times: 2 });
  const fails = Array.from({ length: 4 }, () => disk.read(0, 1) === -EIO);
  expect(fails).toEqual([true, true, false, false]);
});

test("one in three fails at random, the same way from the same seed", () => {
  const run = () => {
    const { disk } = faultyDisk({ operation: "read", oneIn: 3 });
    return Array.from({ length: 300 }, () => disk.read(0, 1) === -EIO);
  };
  const fails = run();
  const failures = fails.filter(Boolean).length;
  expect(failures).toBeGreaterThan(60);
  expect(failures).toBeLessThan(140);
  expect(run()).toEqual(fails);
});

test("a snapshot continues where it was taken", () => {
  const faults: DiskFault[] = [{ operation: "read", times: 3, oneIn: 2 }];
  const before = faultyDisk(...faults);
  for (let read = 0; read < 3; read++) before.disk.read(0, 1);
  const state = before.disk.save();
  const random = before.random.save();
  const rest = Array.from({ length: 20 }, () => before.disk.read(0, 1) === -EIO);
  const after = faultyDisk(...faults);
  after.disk.load(state);
  after.random.load(random);
  expect(after.disk.save()).toEqual(state);
  expect(Array.from({ length: 20 }, () => after.disk.read(0, 1) === -EIO)).toEqual(rest);
  expect(() => faultyDisk().disk.load(state)).toThrow(InputError);
});

test("service takes the fixed part, a part for each sector, and less than the jitter", () => {
  const random = new RandomStreams(1).stream("service");
  const times = Array.from({ length: 1000 }, () => serviceNs(SOLID_STATE, 8, random));
  expect(Math.min(...times)).toBeGreaterThanOrEqual(48_000);
  expect(Math.max(...times)).toBeLessThan(68_000);
  expect(new Set(times).size).toBeGreaterThan(900);
});

test("without jitter service time is exact and draws nothing", () => {
  const random = new RandomStreams(1).stream("service");
  const state = random.save();
  expect(serviceNs({ operationNs: 7, perSectorNs: 3, jitterNs: 0 }, 5, random)).toBe(22);
  expect(random.save()).toEqual(state);
});
