// The block back end against front ends that do anything at all, and against a plain array of bytes.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodeSnapshot } from "../../src/core/snapshot.ts";
import { XS } from "../../src/xen/xenstore/wire.ts";
import {
  BlockFront,
  BlockMachine,
  FRONT,
  numbered,
  type RingShape,
  SECTORS,
  type SegmentWords,
} from "../support/block-guest.ts";

const READ = 0;
const WRITE = 1;
const BARRIER = 2;
const PAGES = 16;
const service = { operationNs: 10_000, perSectorNs: 1_000, jitterNs: 100_000 };
const protocol = fc.constantFrom("x86_32-abi" as const, "x86_64-abi" as const);

function front(layout: "x86_32-abi" | "x86_64-abi", ring?: RingShape): BlockFront {
  const connected = new BlockFront(new BlockMachine({ service }), layout, ring).connect();
  for (let page = 0; page < PAGES; page++) connected.page(page);
  return connected;
}

const segment = fc
  .tuple(fc.integer({ min: 16, max: 15 + PAGES }), fc.nat(7), fc.nat(7))
  .map(([ref, a, b]): SegmentWords => [ref, Math.min(a, b), Math.max(a, b)]);
const transfer = fc.record({
  operation: fc.constantFrom(READ, WRITE),
  sector: fc.nat(SECTORS + 5),
  segments: fc.array(segment, { minLength: 1, maxLength: 11 }),
  fill: fc.nat(255),
});

test("requests one after the other do to disk and pages what copies of bytes would do", () => {
  fc.assert(
    fc.property(protocol, fc.array(transfer, { maxLength: 12 }), (layout, transfers) => {
      const one = front(layout);
      const disk = new Uint8Array(SECTORS * 512);
      disk.set(numbered());
      for (const { operation, sector, segments, fill } of transfers) {
        const pages = Array.from({ length: PAGES }, (_, page) => {
          const bytes = Uint8Array.from({ length: 4096 }, (_, at) => (fill + page * 3 + at * 7) & 0xff);
          one.fill(page, bytes);
          return bytes;
        });
        const count = segments.reduce((sum, [, first, last]) => sum + last - first + 1, 0);
        const fits = sector + count <= SECTORS;
        let at = sector * 512;
        for (const [ref, first, last] of fits ? segments : []) {
          const part = pages[ref - 16]?.subarray(first * 512, (last + 1) * 512) ?? new Uint8Array(0);
          if (operation === READ) part.set(disk.subarray(at, at + part.length));
          else disk.set(part, at);
          at += part.length;
        }
        expect(one.ask(operation, sector, segments)).toBe(fits ? 0 : -1);
        for (const [page, bytes] of pages.entries()) expect(Buffer.compare(one.data(page), bytes)).toBe(0);
      }
      expect(Buffer.compare(one.machine.disk.read(0, SECTORS), disk)).toBe(0);
    }),
    { numRuns: 40 },
  );
});

test("any bytes in the ring, any indices, any states: nothing throws, nothing is left mapped, the guest can begin again", () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("bytes" as const),
      offset: fc.nat(4095 - 600),
      bytes: fc.uint8Array({ maxLength: 600 }),
    }),
    fc.record({
      kind: fc.constant("produce" as const),
      count: fc.oneof(fc.nat(40), fc.integer({ min: 0, max: 0xffff_ffff })),
    }),
    fc.record({ kind: fc.constant("event" as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
    fc.record({ kind: fc.constant("state" as const), value: fc.oneof(fc.nat(9), fc.string({ maxLength: 3 })) }),
    fc.record({ kind: fc.constant("wait" as const), ns: fc.nat(60_000) }),
    fc.record({ kind: fc.constant("connect" as const) }),
    fc.record({ kind: fc.constant("close port" as const) }),
  );
  fc.assert(
    fc.property(protocol, fc.array(step, { maxLength: 25 }), (layout, steps) => {
      const one = front(layout);
      const { store, xen } = one.machine;
      const idle = xen.hypervisor.serviceDomain(0).save().mappings.entries.length;
      for (const each of steps) {
        if (each.kind === "bytes") store.guest.write(16, Math.max(each.offset, 64), each.bytes);
        else if (each.kind === "produce") {
          one.setIndex("req_prod", one.index("req_prod") + each.count);
          store.guest.send(one.port);
        } else if (each.kind === "event") one.setIndex("rsp_event", each.value);
        else if (each.kind === "state") store.ask(XS.WRITE, `${FRONT}/state\0${each.value}`);
        else if (each.kind === "wait") xen.clock.advanceTo(xen.clock.now + each.ns);
        else if (each.kind === "connect") one.connect();
        else store.guest.domain.events.close(one.port);
        expect(xen.hypervisor.serviceDomain(0).save().mappings.entries.length).toBeLessThanOrEqual(idle + 32 * 11);
      }
      xen.settle();
      store.ask(XS.WRITE, `${FRONT}/state\0${6}`);
      xen.settle();
      expect(xen.hypervisor.serviceDomain(0).save().mappings.entries).toHaveLength(idle - 1);
      store.ask(XS.WRITE, `${FRONT}/state\0${1}`);
      expect(one.connect().ask(READ, 0, [[one.page(0), 0, 0]])).toBe(0);
      expect(store.ask(XS.READ, "name\0")).toBe("first");
    }),
    { numRuns: 80 },
  );
});

/** A front end's requests, plain and indirect, some of them barriers and discards. */
const mixed = fc.oneof(
  transfer.map((one) => ({ ...one, indirect: false })),
  transfer.map((one) => ({ ...one, indirect: true })),
  transfer.map((one) => ({ ...one, operation: BARRIER, indirect: false })),
);
const shape = fc.record({
  order: fc.constantFrom(0, 1),
  start: fc.constantFrom(0, 2 ** 32 - 5),
  persistent: fc.boolean(),
});

test("a snapshot taken with any requests in flight goes on the same way", () => {
  fc.assert(
    fc.property(
      protocol,
      shape,
      fc.array(mixed, { maxLength: 10 }),
      fc.nat(120_000),
      (layout, ring, requests, waitNs) => {
        const one = front(layout, ring);
        for (const [id, { operation, sector, segments, indirect }] of requests.entries()) {
          if (indirect) one.putIndirect(operation, BigInt(id), sector, segments, [one.page(PAGES + id)]);
          else one.put(operation, BigInt(id), sector, segments);
        }
        one.push();
        one.machine.xen.clock.advanceTo(one.machine.xen.clock.now + waitNs);
        const snapshot = one.machine.xen.snapshots.save();
        const copy = new BlockFront(new BlockMachine({ service }), layout, ring);
        copy.machine.xen.snapshots.load(snapshot);
        expect(Buffer.compare(encodeSnapshot(copy.machine.xen.snapshots.save()), encodeSnapshot(snapshot))).toBe(0);
        const [a, b] = [one, copy].map(({ machine }) => {
          machine.xen.settle();
          return encodeSnapshot(machine.xen.snapshots.save());
        });
        expect(Buffer.compare(a!, b!)).toBe(0);
        expect(one.take()).toHaveLength(requests.length);
      },
    ),
    { numRuns: 25 },
  );
});
