// A disk against the plainest disk there is: an array of bytes.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodePlain } from "../../src/core/plain-data.ts";
import { OverlayDisk } from "../../src/devices/block/disk.ts";

const SECTORS = 70;

/** Without Vitest's comparison, which takes its time over long arrays. */
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

const range = fc
  .tuple(fc.nat(SECTORS), fc.nat(SECTORS))
  .map(([a, b]) => ({ sector: Math.min(a, b), count: Math.abs(a - b) }));
const step = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), range, fill: fc.nat(255) }),
  fc.record({ kind: fc.constant("discard" as const), range, fill: fc.constant(0) }),
  fc.record({ kind: fc.constant("read" as const), range, fill: fc.constant(0) }),
  fc.record({ kind: fc.constant("restore" as const), range, fill: fc.constant(0) }),
);

test("any sequence of reads, writes, discards and restores is what an array of bytes would do", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: SECTORS * 512 }), fc.array(step, { maxLength: 40 }), (image, steps) => {
      const kept = image.slice();
      const model = new Uint8Array(SECTORS * 512);
      model.set(image);
      let disk = new OverlayDisk(image, SECTORS);
      for (const {
        kind,
        range: { sector, count },
        fill,
      } of steps) {
        const [from, end] = [sector * 512, (sector + count) * 512];
        if (kind === "write") {
          const bytes = Uint8Array.from({ length: end - from }, (_, index) => (fill + index + (index >> 9)) & 0xff);
          model.set(bytes, from);
          disk.write(sector, bytes);
        } else if (kind === "discard") {
          model.fill(0, from, end);
          disk.discard(sector, count);
        } else if (kind === "restore") {
          const state = disk.save();
          disk = new OverlayDisk(image, SECTORS);
          disk.load(state);
          expect(same(encodePlain(disk.save()), encodePlain(state))).toBe(true);
        }
        expect(same(disk.read(sector, count), model.subarray(from, end))).toBe(true);
      }
      expect(same(disk.read(0, SECTORS), model)).toBe(true);
      expect(same(image, kept)).toBe(true);
    }),
  );
});
