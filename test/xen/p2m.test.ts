import { describe, expect, test } from "vitest";
import { GuestMemory } from "../../src/core/memory.ts";
import { FrameAllocator } from "../../src/xen/frames.ts";
import { P2M_GRANT_READ_ONLY, P2M_NONE, P2M_RAM, P2M_SHARED, P2m } from "../../src/xen/p2m.ts";

function start(pages = 64) {
  const memory = new GuestMemory(new WebAssembly.Memory({ initial: pages, maximum: pages }), 0, pages * 65_536);
  const frames = new FrameAllocator(memory);
  return { memory, frames, p2m: P2m.create(memory, frames)! };
}

/** Walks the tables as the processor would: the leaf entry of a guest-physical address, 0 when a level is not present. */
function leaf(memory: GuestMemory, eptPointer: number, gfn: number): { low: number; high: number } {
  let table = eptPointer - (eptPointer % 4096);
  for (let level = 3; level > 0; level--) {
    const low = memory.load32(table + (Math.floor(gfn / 512 ** level) % 512) * 8);
    if ((low & 7) === 0) return { low: 0, high: 0 };
    table = (low & 0xffff_f000) >>> 0;
  }
  return { low: memory.load32(table + (gfn % 512) * 8), high: memory.load32(table + (gfn % 512) * 8 + 4) };
}

describe("a p2m", () => {
  test("is EPT paging structures: write-back, readable, writable, executable", () => {
    const { memory, p2m } = start();
    expect(p2m.set(0xfefff, 5, P2M_RAM)).toBe(true);
    expect(p2m.eptPointer % 4096).toBe(6 | (3 << 3));
    expect(leaf(memory, p2m.eptPointer, 0xfefff).low).toBe((5 << 12) | (6 << 3) | 7);
    expect(leaf(memory, p2m.eptPointer, 0xffffe)).toEqual({ low: 0, high: 0 });
  });

  test("tells frames, types and what may be written", () => {
    const { p2m } = start();
    p2m.set(1, 10, P2M_RAM);
    p2m.set(2, 11, P2M_GRANT_READ_ONLY);
    expect([1, 2, 3].map((gfn) => p2m.frameOf(gfn))).toEqual([10, 11, -1]);
    expect([1, 2, 3].map((gfn) => p2m.typeOf(gfn))).toEqual([P2M_RAM, P2M_GRANT_READ_ONLY, P2M_NONE]);
    expect([1, 2, 3].map((gfn) => p2m.writable(gfn))).toEqual([true, false, false]);
  });

  test("is stale once a translation was replaced or taken away, not when one was added", () => {
    const { p2m } = start();
    p2m.set(1, 10, P2M_RAM);
    expect(p2m.stale).toBe(false);
    p2m.clear(2);
    expect(p2m.stale).toBe(false);
    p2m.set(1, 12, P2M_SHARED);
    expect(p2m.stale).toBe(true);
  });

  test("counts the domain's own pages and knows its highest one", () => {
    const { p2m } = start();
    expect(p2m.highestGfn()).toBe(-1);
    for (const gfn of [0, 7, 0x1234]) p2m.set(gfn, 20 + gfn, P2M_RAM);
    p2m.set(0x2_0000, 9, P2M_SHARED);
    expect(p2m.ramPages).toBe(3);
    expect(p2m.highestGfn()).toBe(0x2_0000);
    p2m.clear(7);
    expect(p2m.ramPages).toBe(2);
    const seen: number[] = [];
    p2m.forEach((gfn) => {
      seen.push(gfn);
    });
    expect(seen).toEqual([0, 0x1234, 0x2_0000]);
  });

  test("gives up cleanly when a guest scatters pages until memory for tables runs out", () => {
    const { p2m, frames } = start(4);
    const results = Array.from({ length: 100 }, (_, index) => p2m.set(index * 512 * 512, 5, P2M_SHARED));
    expect(results[0]).toBe(true);
    expect(results.at(-1)).toBe(false);
    expect(frames.available).toBeLessThan(3);
  });

  test("does not take numbers beyond its four levels", () => {
    const { p2m } = start();
    for (const gfn of [-1, 2 ** 36, 2 ** 40, Number.NaN]) {
      expect(p2m.set(gfn, 5, P2M_RAM)).toBe(false);
      expect(p2m.frameOf(gfn)).toBe(-1);
    }
  });
});

describe("frames", () => {
  test("come zeroed, also when they were used before", () => {
    const { memory, frames } = start();
    const frame = frames.allocate()!;
    memory.store32(frame * 4096, 0xdead);
    frames.free(frame);
    expect(frames.allocate()).toBe(frame);
    expect(memory.load32(frame * 4096)).toBe(0);
  });

  test("that somebody holds are not reused before the last release", () => {
    const { frames } = start();
    const frame = frames.allocate()!;
    frames.hold(frame);
    frames.hold(frame);
    frames.free(frame);
    expect(frames.allocate()).not.toBe(frame);
    frames.release(frame);
    expect(frames.allocate()).not.toBe(frame);
    frames.release(frame);
    expect(frames.allocate()).toBe(frame);
  });
});
