import { expect, test } from "vitest";
import { InputError, InvariantError } from "../../../src/core/errors.ts";
import { encodePlain } from "../../../src/core/plain-data.ts";
import { OverlayDisk } from "../../../src/devices/block/disk.ts";

/** `count` sectors, each full of its own number plus `seed`. */
function sectors(first: number, count: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: count * 512 }, (_, index) => (first + (index >> 9) + seed) & 0xff);
}

test("a disk reads as its image, with zeros behind the image's end", () => {
  const disk = new OverlayDisk(sectors(0, 3).subarray(0, 1100), 20);
  expect(disk.sectorCount).toBe(20);
  expect(disk.read(0, 2)).toEqual(sectors(0, 2));
  const third = new Uint8Array(512);
  third.set(sectors(2, 1).subarray(0, 1100 - 1024));
  expect(disk.read(2, 1)).toEqual(third);
  expect(disk.read(3, 17)).toEqual(new Uint8Array(17 * 512));
});

test("without a size, a disk is as long as its image, rounded up to a sector", () => {
  expect(new OverlayDisk(new Uint8Array(1025)).sectorCount).toBe(3);
});

test("writes go beside the image, across blocks, and never into it", () => {
  const image = sectors(0, 24);
  const kept = image.slice();
  const disk = new OverlayDisk(image);
  expect(disk.write(6, sectors(6, 12, 100))).toBe(0);
  expect(disk.read(5, 1)).toEqual(sectors(5, 1));
  expect(disk.read(6, 12)).toEqual(sectors(6, 12, 100));
  expect(disk.read(18, 6)).toEqual(sectors(18, 6));
  expect(image).toEqual(kept);
});

test("what was written stays as it was when the writer changes its bytes", () => {
  const disk = new OverlayDisk(new Uint8Array(0), 8);
  const bytes = sectors(0, 8);
  disk.write(0, bytes);
  bytes.fill(0xee);
  expect(disk.read(0, 8)).toEqual(sectors(0, 8));
});

test("discarded sectors read as zeros, their neighbours stay, and they can be written again", () => {
  const disk = new OverlayDisk(sectors(0, 40), 60);
  disk.write(50, sectors(50, 3));
  expect(disk.discard(5, 50)).toBe(0);
  expect(disk.read(0, 5)).toEqual(sectors(0, 5));
  expect(disk.read(5, 50)).toEqual(new Uint8Array(50 * 512));
  disk.write(17, sectors(17, 1, 9));
  expect(disk.read(16, 3)).toEqual(
    Uint8Array.from([...new Uint8Array(512), ...sectors(17, 1, 9), ...new Uint8Array(512)]),
  );
  expect(disk.read(24, 8)).toEqual(new Uint8Array(8 * 512));
});

test("discarding all of a disk of four exabytes takes no time and no memory", () => {
  const disk = new OverlayDisk(sectors(0, 9), 2 ** 53 - 1);
  disk.write(2 ** 52, sectors(0, 3));
  expect(disk.discard(0, 2 ** 53 - 1)).toBe(0);
  expect(disk.read(2 ** 52, 3)).toEqual(new Uint8Array(3 * 512));
  expect(disk.save().blocks.map(({ number }) => number)).toEqual([0, 1, 2 ** 50 - 1]);
});

test("sectors outside of the disk are a bug of the caller's", () => {
  const disk = new OverlayDisk(new Uint8Array(0), 8);
  expect(() => disk.read(8, 1)).toThrow(InvariantError);
  expect(() => disk.read(-1, 1)).toThrow(InvariantError);
  expect(() => disk.write(7, new Uint8Array(1024))).toThrow(InvariantError);
  expect(() => disk.discard(0, 9)).toThrow(InvariantError);
});

test("a snapshot holds what differs from the image and shares nothing with the disk", () => {
  const make = () => new OverlayDisk(sectors(0, 40));
  const disk = make();
  disk.write(33, sectors(33, 2, 7));
  disk.write(0, sectors(0, 1, 7));
  disk.discard(8, 8);
  const state = disk.save();
  const bytes = encodePlain(state);
  const contents = disk.read(0, 40);
  expect(state.blocks.map(({ number }) => number)).toEqual([0, 1, 4]);

  disk.write(0, sectors(0, 40, 3));
  const other = make();
  other.write(20, sectors(20, 1, 99));
  other.load(state);
  expect(other.read(0, 40)).toEqual(contents);
  expect(encodePlain(other.save())).toEqual(bytes);
  other.write(0, sectors(0, 40, 4));
  expect(encodePlain(state)).toEqual(bytes);
});

test.each([
  ["beyond the end", { number: 5, bytes: new Uint8Array(4096) }],
  ["before the beginning", { number: -1, bytes: new Uint8Array(4096) }],
  ["of another size", { number: 0, bytes: new Uint8Array(512) }],
])("a snapshot with a block %s is refused and changes nothing", (_, block) => {
  const disk = new OverlayDisk(sectors(0, 40));
  expect(() => disk.load({ sectorCount: 40, blocks: [{ number: 0, bytes: new Uint8Array(4096) }, block] })).toThrow(
    InputError,
  );
  expect(disk.read(0, 40)).toEqual(sectors(0, 40));
});

test.each([0, -1, 2.5, Number.NaN])("a snapshot of a disk of %s sectors is refused", (sectorCount) => {
  expect(() => new OverlayDisk(sectors(0, 40)).load({ sectorCount, blocks: [] })).toThrow(InputError);
});

test("a disk that shrinks loses what is beyond its end, one that grows gains zeros", () => {
  const disk = new OverlayDisk(sectors(0, 40));
  disk.write(8, sectors(8, 32, 5));
  const digest = disk.digest();
  disk.resize(13);
  expect(disk.sectorCount).toBe(13);
  expect(disk.read(8, 5)).toEqual(sectors(8, 5, 5));
  expect(disk.digest()).not.toBe(digest);
  const copy = new OverlayDisk(sectors(0, 40));
  copy.load(disk.save());
  for (const one of [disk, copy]) {
    one.resize(1000);
    expect(one.read(0, 8)).toEqual(sectors(0, 8));
    expect(one.read(8, 5)).toEqual(sectors(8, 5, 5));
    expect(one.read(13, 987)).toEqual(new Uint8Array(987 * 512));
    one.write(999, sectors(999, 1, 6));
  }
  expect(copy.digest()).toBe(disk.digest());
});

test("the digest follows the contents, whatever the order in which they came", () => {
  const one = new OverlayDisk(sectors(0, 40));
  const other = new OverlayDisk(sectors(0, 40));
  const seen = new Set([one.digest()]);
  const changes: readonly ((disk: OverlayDisk) => unknown)[] = [
    (disk) => disk.write(3, sectors(3, 1, 7)),
    (disk) => disk.write(3, sectors(3, 1, 8)),
    (disk) => disk.discard(0, 8),
    (disk) => disk.write(16, sectors(16, 12, 9)),
    (disk) => disk.discard(32, 8),
  ];
  for (const [index, change] of changes.entries()) {
    change(one);
    seen.add(one.digest());
    expect(seen.size).toBe(index + 2);
  }

  other.discard(32, 8);
  other.write(16, sectors(16, 12, 9));
  other.discard(0, 8);
  expect(other.digest()).toBe(one.digest());
  const restored = new OverlayDisk(sectors(0, 40));
  restored.write(8, sectors(8, 1, 99));
  expect(restored.digest()).not.toBe(one.digest());
  restored.load(one.save());
  expect(restored.digest()).toBe(one.digest());
});
