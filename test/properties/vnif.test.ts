// The network back end against front ends that do anything at all, and what it does to packets against what any cut of them should do.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { encodeSnapshot } from "../../src/core/snapshot.ts";
import { VNIF_FAULTS, type VnifFault } from "../../src/devices/vnif/faults.ts";
import { isValidated, MAX_SEGMENTS, segment } from "../../src/devices/vnif/offload.ts";
import { gather } from "../../src/devices/vnif/packet.ts";
import { XS } from "../../src/xen/xenstore/wire.ts";
import { anyFrame, NetFront, NetMachine } from "../support/net-guest.ts";
import { netFindings } from "../support/net-invariants.ts";

const MORE_DATA = 4;
const PAGE = 4096;
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const ring = fc.constantFrom("tx" as const, "rx" as const);
const start = fc.oneof(fc.constant(0), fc.integer({ min: 0xffff_ff00, max: 0xffff_ffff }), u32);

/** A slot as a front end that knows the protocol might damage it. */
const slot = fc.record({
  ref: fc.oneof(fc.integer({ min: 16, max: 19 }), u32),
  offset: fc.oneof(fc.nat(200), fc.nat(0xffff)),
  flags: fc.oneof(fc.constantFrom(0, MORE_DATA), fc.nat(0x1f)),
  size: fc.oneof(fc.constant(0), fc.nat(1600), fc.nat(0xffff)),
});

/** A part of a packet that is otherwise good. */
const part = fc.record({
  size: fc.oneof(fc.constant(0), fc.nat(300)),
  offset: fc.oneof({ arbitrary: fc.nat(3000), weight: 9 }, fc.integer({ min: 0xff00, max: 0xffff })),
});

const step = fc.oneof(
  fc.record({ kind: fc.constant("slots" as const), slots: fc.array(slot, { maxLength: 25 }) }),
  fc.record({ kind: fc.constant("packet" as const), parts: fc.array(part, { minLength: 1, maxLength: 6 }) }),
  fc.record({ kind: fc.constant("tiny" as const), count: fc.nat(30), size: fc.nat(3) }),
  fc.record({ kind: fc.constant("raw" as const), ring, bytes: fc.uint8Array({ minLength: 8, maxLength: 12 }) }),
  fc.record({ kind: fc.constant("produce" as const), ring, count: fc.oneof(fc.nat(20), fc.nat(300), u32) }),
  fc.record({ kind: fc.constant("event" as const), ring, value: u32 }),
  fc.record({ kind: fc.constant("state" as const), value: fc.oneof(fc.nat(9), fc.string({ maxLength: 3 })) }),
  fc.record({ kind: fc.constant("frame" as const), size: fc.integer({ min: 60, max: 1514 }) }),
  fc.record({ kind: fc.constant("wait" as const), ns: fc.nat(100_000) }),
  fc.record({ kind: fc.constant("post" as const), count: fc.nat(6) }),
  fc.record({ kind: fc.constant("connect" as const), start, split: fc.boolean() }),
  fc.record({ kind: fc.constant("close port" as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
const steps = fc.array(step, { maxLength: 25 });

function play(one: NetFront, each: Step): void {
  const { machine } = one;
  const { store, xen } = machine;
  if (each.kind === "slots") {
    for (const words of each.slots) one.put(words);
    one.push();
  } else if (each.kind === "packet") {
    const { parts } = each;
    const whole = parts.reduce((sum, { size }) => sum + size, 0);
    for (const [index, { offset, size }] of parts.entries()) {
      const flags = index < parts.length - 1 ? MORE_DATA : 0;
      one.put({ ref: 16 + (index & 3), offset, size: index === 0 ? whole : size, flags });
    }
    one.push();
  } else if (each.kind === "tiny") {
    // A packet of very many slots of very few bytes.
    for (let index = 0; index <= each.count; index++) {
      const size = index === 0 ? 60 + each.count * each.size : each.size;
      one.put({ ref: 16, size, flags: index < each.count ? MORE_DATA : 0 });
    }
    one.push();
  } else if (each.kind === "raw") {
    one.putRaw(each.ring, each.bytes.subarray(0, each.ring === "rx" ? 8 : 12));
    one.push(each.ring);
  } else if (each.kind === "produce") {
    one.setIndex(each.ring, "req_prod", one.index(each.ring, "req_prod") + each.count);
    store.guest.send(one.ports[each.ring]);
  } else if (each.kind === "event") one.setIndex(each.ring, "rsp_event", each.value);
  else if (each.kind === "state") store.ask(XS.WRITE, `${one.front}/state\0${each.value}`);
  else if (each.kind === "frame") machine.send(anyFrame(each.size));
  else if (each.kind === "wait") xen.clock.advanceTo(xen.clock.now + each.ns);
  else if (each.kind === "post") one.post(10, each.count);
  else if (each.kind === "connect") one.connect({ start: each.start, split: each.split });
  else for (const port of Object.values(one.ports)) store.guest.domain.events.close(port);
}

/** Plays steps beside a neighbour, and checks what holds whatever they are. */
function holds(first: number, played: readonly Step[], faults: readonly VnifFault[] = []): void {
  const machine = new NetMachine({ interfaces: 2, faults });
  const other = new NetFront(machine, 1).connect();
  const idle = machine.mappings;
  const one = new NetFront(machine, 0).connect({ start: first });
  const { store, xen } = machine;
  for (let page = 0; page < 4; page++) one.page(page, anyFrame(PAGE - 1, page));
  for (const each of played) {
    play(one, each);
    expect(machine.mappings).toBeLessThanOrEqual(idle + 2);
  }
  xen.settle();
  store.ask(XS.WRITE, `${one.front}/state\0${6}`);
  xen.settle();
  expect(machine.mappings).toBe(idle);
  for (let page = 0; page < 40; page++) expect(store.guest.grantFlags(16 + page) & 0x18).toBe(0);
  expect(netFindings(xen.events, 1, 0, one.everyPort)).toEqual([]);
  other.send(anyFrame(99));
  expect(machine.heard(1)).toEqual([anyFrame(99)]);
  for (const node of ["event-channel-tx", "event-channel-rx"]) store.ask(XS.RM, `${one.front}/${node}\0`);
  store.ask(XS.WRITE, `${one.front}/state\0${1}`);
  xen.settle(20_000_000_000);
  one.connect().send(anyFrame(98));
  expect(one.sent()).toEqual([{ id: 0, status: 0 }]);
  expect(machine.heard(0).at(-1)).toEqual(anyFrame(98));
}

test("any bytes in the rings, any indices, any states: nothing throws, no grant is kept, others live, the guest can begin again", () => {
  fc.assert(
    fc.property(start, steps, (first, played) => holds(first, played)),
    { numRuns: 60 },
  );
});

test.each(Object.keys(VNIF_FAULTS) as VnifFault[])("a back end with %s is found out", (fault) => {
  const property = fc.property(start, steps, (first, played) => holds(first, played, [fault]));
  // Whether it fails is what counts, not by how little.
  expect(fc.check(property, { numRuns: 200, seed: 1, endOnFailure: true }).failed).toBe(true);
});

test("packets arrive whole and in order, however they are cut into slots; each slot is fetched once and answered once", () => {
  const packet = fc.record({
    size: fc.integer({ min: 60, max: 1514 }),
    cuts: fc.array(fc.nat(1514), { maxLength: 18 }),
  });
  fc.assert(
    fc.property(start, fc.array(packet, { minLength: 1, maxLength: 12 }), (first, packets) => {
      const front = new NetFront(new NetMachine()).connect({ start: first });
      for (const [number, { size, cuts }] of packets.entries()) {
        const ref = front.page(number, anyFrame(size, number));
        const ends = [...cuts.map((cut) => Math.min(cut, size)).sort((a, b) => a - b), size];
        for (const [index, end] of ends.entries()) {
          const offset = ends[index - 1] ?? 0;
          front.put({
            ref,
            offset,
            size: index === 0 ? size : end - offset,
            flags: index < ends.length - 1 ? MORE_DATA : 0,
          });
        }
      }
      const slots = (front.produced.tx - first) >>> 0;
      expect(front.statuses()).toEqual(Array.from({ length: slots }, () => 0));
      expect(front.machine.heard()).toEqual(packets.map(({ size }, number) => anyFrame(size, number)));
      const fetched = front.machine.xen.eventsOf("netif-tx-request").filter(({ side }) => side === 1);
      expect(fetched.map(({ index }) => (index - first) >>> 0)).toEqual(Array.from({ length: slots }, (_, at) => at));
    }),
    { numRuns: 40 },
  );
});

test("gathering any slots takes what is there and no more, and a good packet's slots lie in their pages and add up", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 12, maxLength: 12 }), { minLength: 1, maxLength: 60 }), (slots) => {
      let taken = 0;
      const packet = gather(() => slots[taken++]!, slots.length);
      expect(taken).toBeLessThanOrEqual(slots.length);
      if ("fatal" in packet || packet.flaw !== undefined) return;
      expect(packet.slots.length + packet.extras.length).toBe(taken);
      expect(packet.slots.every(({ offset, size }) => offset + size <= PAGE)).toBe(true);
      expect(packet.slots.reduce((sum, { size }) => sum + size, 0)).toBe(packet.size);
    }),
    { numRuns: 500 },
  );
});

test("segments of any TCP packet hold its bytes once, in order, with right checksums; any bytes at all make none or few", () => {
  const tcp = fc.record({
    size: fc.nat(20_000),
    mss: fc.integer({ min: 160, max: 2000 }),
    sequence: u32,
    words: fc.integer({ min: 5, max: 15 }),
    flags: fc.nat(255),
  });
  fc.assert(
    fc.property(tcp, ({ size, mss, sequence, words, flags }) => {
      const header = 34 + words * 4;
      const packet = anyFrame(header + size);
      const view = new DataView(packet.buffer);
      view.setUint16(12, 0x0800);
      packet.set([0x45, 0], 14);
      view.setUint16(16, packet.length - 14);
      packet.set([0, 0, 64, 6], 20);
      view.setUint32(38, sequence);
      packet.set([words << 4, flags], 46);
      const parts = segment(packet, mss)!;
      expect(parts).toHaveLength(Math.max(1, Math.ceil(size / mss)));
      expect(Buffer.concat(parts.map((part) => part.subarray(header)))).toEqual(Buffer.from(packet.subarray(header)));
      let next = sequence;
      for (const part of parts) {
        expect(isValidated(part)).toBe(true);
        expect(new DataView(part.buffer).getUint32(38)).toBe(next);
        next = (next + part.length - header) >>> 0;
      }
    }),
    { numRuns: 60 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(0xffff), (bytes, mss) => {
      expect(segment(bytes, mss)?.length ?? 0).toBeLessThanOrEqual(MAX_SEGMENTS);
    }),
    { numRuns: 500 },
  );
});

test("a snapshot taken at any time goes on the same way", () => {
  const options = { bitsPerSecond: 100_000_000, rate: { bytes: 3000, microseconds: 100 } };
  fc.assert(
    fc.property(fc.array(slot, { maxLength: 20 }), fc.nat(8), fc.nat(400_000), (slots, frames, waitNs) => {
      const front = new NetFront(new NetMachine(options)).connect();
      const { xen } = front.machine;
      for (let page = 0; page < 4; page++) front.page(page, anyFrame(PAGE - 1, page));
      for (const words of slots) front.put(words);
      front.push();
      for (let frame = 0; frame < frames; frame++) front.machine.send(anyFrame(200, frame));
      front.post(10, 3);
      xen.clock.advanceTo(xen.clock.now + waitNs);
      const snapshot = xen.snapshots.save();
      const copy = new NetMachine(options).xen;
      copy.snapshots.load(snapshot);
      expect(Buffer.compare(encodeSnapshot(copy.snapshots.save()), encodeSnapshot(snapshot))).toBe(0);
      for (const each of [xen, copy]) each.settle(20_000_000_000);
      expect(Buffer.compare(encodeSnapshot(xen.snapshots.save()), encodeSnapshot(copy.snapshots.save()))).toBe(0);
    }),
    { numRuns: 25 },
  );
});
