// Xenstore against guests that send anything at all.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodeSnapshot } from "../../src/core/snapshot.ts";
import { XS } from "../../src/xen/xenstore/wire.ts";
import { frame, latin1, StoreGuest } from "../support/store-guest.ts";
import { XenMachine } from "../support/xen-machine.ts";

const TYPES = [...Object.values(XS), 20, 99];

const paths = fc.constantFrom(
  "data",
  "data/a",
  "data/a/b",
  "name",
  "/",
  "/local/domain/2/data",
  "@releaseDomain",
  "..",
  "",
  "data//a",
);
const strings = fc.array(
  fc.oneof(paths, fc.constantFrom("T", "F", "n1", "b2", "1", "token"), fc.string({ maxLength: 6 })),
  {
    maxLength: 4,
  },
);
/** Mostly well formed, so that the handlers are reached. */
const payloads = fc.oneof(
  { weight: 5, arbitrary: strings.map((list) => latin1(list.map((text) => `${text}\0`).join(""))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
);
const message = fc
  .tuple(
    fc.constantFrom(...TYPES),
    fc.nat(3),
    fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 3, arbitrary: fc.nat(3) }),
    payloads,
  )
  .map(([type, id, transaction, payload]) => frame(type, id, transaction, payload));

interface Step {
  readonly bytes: Uint8Array;
  readonly take: boolean;
}
const step: fc.Arbitrary<Step> = fc.record({ bytes: message, take: fc.boolean() });

function machine() {
  const xen = new XenMachine();
  const guests = [new StoreGuest(xen.guest("first")), new StoreGuest(xen.guest("second"))] as const;
  xen.settle();
  return { xen, first: guests[0], second: guests[1] };
}

function play(xen: XenMachine, guest: StoreGuest, steps: readonly Step[]): void {
  for (const { bytes, take } of steps) {
    if (guest.put(bytes) < bytes.length) return;
    xen.settle();
    if (take) guest.take();
  }
}

test("any messages at all are answered one by one, and harm nobody else", () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 30 }), (messages) => {
      const { xen, first, second } = machine();
      const before = xen.xenstore.save().store.nodes.filter(({ path }) => path.startsWith("/local/domain/2/"));
      for (const bytes of messages) {
        expect(first.put(bytes)).toBe(bytes.length);
        const replies = first.replies();
        expect(replies).toHaveLength(1);
        const view = new DataView(bytes.buffer);
        expect(replies[0]?.requestId).toBe(view.getUint32(4, true));
        expect(replies[0]?.transaction).toBe(view.getUint32(8, true));
        expect([view.getUint32(0, true), XS.ERROR]).toContain(replies[0]?.type);
      }
      expect(second.ask(XS.READ, "name\0")).toBe("second");
      expect(second.heard()).toEqual([]);
      const after = xen.xenstore.save().store.nodes.filter(({ path }) => path.startsWith("/local/domain/2/"));
      expect(after).toEqual(before);
    }),
    { numRuns: 60 },
  );
});

test("any bytes and any indices in the ring end in answers or in the error field, and harm nobody else", () => {
  const page = fc.record({
    bytes: fc.uint8Array({ minLength: 1024, maxLength: 1024 }),
    indices: fc.array(fc.oneof(fc.nat(2048), fc.integer({ min: 0, max: 0xffff_ffff })), { minLength: 4, maxLength: 4 }),
  });
  fc.assert(
    fc.property(fc.array(page, { minLength: 1, maxLength: 5 }), (pages) => {
      const { xen, first, second } = machine();
      const { gfn } = first.guest.domain.store;
      for (const { bytes, indices } of pages) {
        first.guest.write(gfn, 0, bytes);
        for (const [index, value] of indices.entries()) first.setIndex(2048 + 4 * index, value);
        first.notify();
        xen.settle();
      }
      expect(second.ask(XS.READ, "name\0")).toBe("second");
    }),
    { numRuns: 60 },
  );
});

test("a snapshot taken anywhere loads into the same bytes, and goes on the same way", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 15 }), fc.array(step, { maxLength: 8 }), (steps, more) => {
      const original = machine();
      play(original.xen, original.first, steps);
      const snapshot = original.xen.snapshots.save();
      const copy = machine();
      copy.xen.snapshots.load(snapshot);
      expect(Buffer.compare(encodeSnapshot(copy.xen.snapshots.save()), encodeSnapshot(snapshot))).toBe(0);
      for (const { xen, first } of [original, copy]) play(xen, first, more);
      const ends = [original, copy].map(({ xen }) => encodeSnapshot(xen.snapshots.save()));
      expect(Buffer.compare(ends[0]!, ends[1]!)).toBe(0);
    }),
    { numRuns: 25 },
  );
});
