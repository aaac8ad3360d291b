// The block back end's requests over a real ring, grant table, event channel and xenstore, in both ring layouts.

import { describe, expect, test } from "vitest";
import { encodeSnapshot } from "../../../src/core/snapshot.ts";
import {
  BlockFront,
  BlockMachine,
  connected,
  IDLE_MAPPINGS,
  mappings,
  numbered,
  SECTORS,
} from "../../support/block-guest.ts";

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const OKAY = 0;
const ERROR = -1;
const EOPNOTSUPP = -2;
const LAYOUTS = ["x86_32-abi", "x86_64-abi"] as const;

describe.each(LAYOUTS)("in the layout %s", (protocol) => {
  test("reads go to the parts of pages that the segments name", () => {
    const front = connected(protocol);
    for (const page of [0, 1]) front.fill(page, new Uint8Array(4096).fill(0xcc));
    const segments = [
      [front.page(0), 2, 7],
      [front.page(1), 0, 0],
      [front.page(1), 3, 4],
    ] as const;
    expect(front.ask(READ, 50, segments)).toBe(OKAY);
    const image = numbered();
    expect(front.data(0, 0, 1024)).toEqual(new Uint8Array(1024).fill(0xcc));
    expect(front.data(0, 1024, 3072)).toEqual(image.slice(50 * 512, 56 * 512));
    expect(front.data(1, 0, 512)).toEqual(image.slice(56 * 512, 57 * 512));
    expect(front.data(1, 512, 1024)).toEqual(new Uint8Array(1024).fill(0xcc));
    expect(front.data(1, 1536, 1024)).toEqual(image.slice(57 * 512, 59 * 512));
  });

  test("writes of eleven segments arrive on the disk and can be read back", () => {
    const front = connected(protocol);
    const pages = Array.from({ length: 11 }, (_, page) =>
      Uint8Array.from({ length: 4096 }, (_, at) => (at + page) & 255),
    );
    const segments = pages.map((bytes, page) => {
      front.fill(page, bytes);
      // A write needs no more than a grant to read.
      return [front.page(page, true), 0, 7] as const;
    });
    expect(front.ask(WRITE, 100, segments)).toBe(OKAY);
    const expected = pages.flatMap((bytes) => [...bytes]);
    expect(Buffer.compare(front.machine.disk.read(100, 88), Uint8Array.from(expected))).toBe(0);
    expect(front.machine.disk.read(99, 1)).toEqual(numbered().slice(99 * 512, 100 * 512));
    front.fill(0, new Uint8Array(4096));
    expect(front.ask(READ, 100, [[front.page(0), 0, 7]])).toBe(OKAY);
    expect(front.data(0)).toEqual(pages[0]);
  });

  test("flush and discard are answered, and discarded sectors are zeros", () => {
    const front = connected(protocol);
    expect(front.ask(FLUSH, 0)).toBe(OKAY);
    expect(front.discard(10, 20)).toBe(OKAY);
    expect(front.machine.disk.read(10, 20)).toEqual(new Uint8Array(20 * 512));
    expect(front.discard(0, SECTORS)).toBe(OKAY);
  });

  test("thirty-two requests fill the ring, and it goes round and round", () => {
    const front = connected(protocol);
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 32; index++) front.put(READ, BigInt(index), index, [[front.page(index), 0, 0]]);
      front.push();
      front.machine.xen.settle();
      const replies = front.take();
      expect(replies.map(({ id }) => id).sort((a, b) => Number(a - b))).toEqual(
        Array.from({ length: 32 }, (_, id) => BigInt(id)),
      );
      expect(replies.every(({ status }) => status === OKAY)).toBe(true);
    }
    expect(front.index("req_event")).toBe(161);
    expect(front.machine.vbd.save().connection?.ring.ring.recent).toHaveLength(32);
  });

  test("a response is zeros but for what it says", () => {
    const front = connected(protocol);
    front.ask(READ, 0, [[front.page(0), 0, 0]]);
    const { guest } = front.machine.store;
    const bytes = guest.read(16, 64, protocol === "x86_32-abi" ? 12 : 16);
    expect([...bytes]).toEqual([0, 0, 0, 0, 1, 0, 0, 0, ...new Uint8Array(bytes.length - 8)]);
  });

  test.each([
    ["a read of the sector after the last", READ, SECTORS, [[0, 0, 0]], ERROR],
    ["a read over the end", READ, SECTORS - 1, [[0, 0, 1]], ERROR],
    ["a write over the end", WRITE, SECTORS - 7, [[0, 0, 7]], ERROR],
    ["sector 2^63", READ, 2n ** 63n, [[0, 0, 0]], ERROR],
    ["sector 2^64 - 1, which wraps", READ, 2n ** 64n - 1n, [[0, 0, 1]], ERROR],
    ["no segments to read", READ, 0, [], ERROR],
    ["no segments to write", WRITE, 0, [], ERROR],
    ["a segment that ends before it begins", READ, 0, [[0, 5, 4]], ERROR],
    ["a segment over the end of its page", READ, 0, [[0, 0, 8]], ERROR],
    ["a segment far outside of its page", WRITE, 0, [[0, 200, 255]], ERROR],
    ["an unused grant", READ, 0, [[400, 0, 0]], ERROR],
    [
      "a grant after good ones",
      READ,
      0,
      [
        [0, 0, 0],
        [1, 0, 0],
        [400, 0, 0],
      ],
      ERROR,
    ],
    ["a grant outside of the table", WRITE, 0, [[0xffff_ffff, 0, 0]], ERROR],
    ["a grant to another domain", READ, 0, [[30, 0, 0]], ERROR],
    ["a grant of a frame that is not there", READ, 0, [[31, 0, 0]], ERROR],
    ["a read into a page granted read-only", READ, 0, [[29, 0, 0]], ERROR],
    ["an operation that is none", 77, 0, [[0, 0, 0]], EOPNOTSUPP],
    ["the reserved operation 4", 4, 0, [], EOPNOTSUPP],
  ] as const)("%s is refused, and nothing else stops", (_, operation, sector, segments, status) => {
    const front = connected(protocol);
    front.page(0);
    front.page(1);
    front.page(13, true); // reference 29
    const { guest } = front.machine.store;
    guest.grant(30, 7, 30, 1);
    guest.grant(31, 0, 0xff_ffff, 1);
    const words = segments.map(([ref, first, last]) => [ref < 2 ? front.page(ref) : ref, first, last] as const);
    expect(front.ask(operation, sector, words)).toBe(status);
    expect(mappings(front)).toBe(IDLE_MAPPINGS);
    expect(Buffer.compare(front.machine.disk.read(0, SECTORS), numbered())).toBe(0);
    expect(front.ask(READ, 5, [[front.page(2), 0, 0]])).toBe(OKAY);
    expect(front.data(2, 0, 1)).toEqual(Uint8Array.of(5));
  });

  test.each([12, 255])("%d segments are refused", (count) => {
    const front = connected(protocol);
    const segments = Array.from({ length: 11 }, (_, page) => [front.page(page), 0, 0] as const);
    expect(front.ask(READ, 0, segments, count)).toBe(ERROR);
    expect(front.ask(WRITE, 0, segments, count)).toBe(ERROR);
    expect(front.ask(READ, 0, segments)).toBe(OKAY);
  });

  test.each([
    [SECTORS, 1],
    [0, SECTORS + 1],
    [0, 2n ** 64n - 1n],
    [2n ** 63n, 2n ** 63n],
  ])("a discard of %s+%s is refused", (sector, count) => {
    const front = connected(protocol);
    expect(front.discard(sector, count)).toBe(ERROR);
    expect(Buffer.compare(front.machine.disk.read(0, SECTORS), numbered())).toBe(0);
  });
});

describe("a disk", () => {
  test("that is read-only is read and flushed, not changed", () => {
    const front = connected("x86_32-abi", { features: { readOnly: true } });
    expect(front.ask(WRITE, 0, [[front.page(0), 0, 0]])).toBe(ERROR);
    expect(front.ask(FLUSH, 0, [[front.page(0), 0, 0]])).toBe(ERROR);
    expect(front.discard(0, 1)).toBe(ERROR);
    expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
    expect(front.ask(FLUSH, 0)).toBe(OKAY);
    expect(front.machine.disk.save().blocks).toEqual([]);
  });

  test("with bad sectors answers with an error and leaves the guest's page alone", () => {
    const front = connected("x86_32-abi", { faults: [{ operation: "read", sector: 7, count: 1 }] });
    front.fill(0, new Uint8Array(4096).fill(0xcc));
    expect(front.ask(READ, 5, [[front.page(0), 0, 7]])).toBe(ERROR);
    expect(front.data(0)).toEqual(new Uint8Array(4096).fill(0xcc));
    expect(front.ask(READ, 8, [[front.page(0), 0, 7]])).toBe(OKAY);
    const done = front.machine.xen.eventsOf("disk-operation");
    expect(done.map(({ sector, count, status }) => [sector, count, status])).toEqual([
      [5, 8, -5],
      [8, 8, 0],
    ]);
    expect(mappings(front)).toBe(IDLE_MAPPINGS);
  });

  test("that cannot flush does not write what was to come behind the flush", () => {
    const front = connected("x86_32-abi", { faults: [{ operation: "flush" }] });
    expect(front.ask(FLUSH, 0)).toBe(ERROR);
    expect(front.ask(FLUSH, 0, [[front.page(0), 0, 0]])).toBe(ERROR);
    expect(front.machine.disk.save().blocks).toEqual([]);
  });

  test("takes its time: the fixed part and a part for each sector", () => {
    const front = connected();
    const { clock } = front.machine.xen;
    const start = clock.now;
    front.put(READ, 1n, 0, [[front.page(0), 0, 7]]);
    front.push();
    front.machine.xen.settle();
    const [event] = front.machine.xen.eventsOf("disk-operation");
    expect(event).toMatchObject({ disk: "1/xvda", operation: 0, sector: 0, count: 8, status: 0, serviceNs: 18_000 });
    expect(event?.at).toBe(start + 5_000 + 18_000);
  });

  test("of any size is discarded in the time of one operation", () => {
    const front = connected("x86_64-abi", { sectors: 2 ** 53 - 1 });
    expect(front.discard(0, 2n ** 53n - 1n)).toBe(OKAY);
    expect(front.machine.xen.eventsOf("disk-operation")[0]?.serviceNs).toBe(10_000);
  });

  test("answers short requests before long ones that came earlier", () => {
    const front = connected();
    front.put(READ, 1n, 0, [[front.page(0), 0, 7]]);
    front.put(READ, 2n, 0, [[front.page(1), 0, 0]]);
    front.push();
    front.machine.xen.settle();
    expect(front.take().map(({ id }) => id)).toEqual([2n, 1n]);
  });

  test("flushes only behind everything that came before, also with data of its own", () => {
    const front = connected();
    front.put(WRITE, 1n, 0, [[front.page(0), 0, 7]]);
    front.put(FLUSH, 2n, 0);
    front.fill(1, new Uint8Array(4096).fill(0x77));
    front.put(FLUSH, 3n, 40, [[front.page(1), 0, 0]]);
    front.push();
    front.machine.xen.settle();
    expect(front.take().map(({ id, status }) => [id, status])).toEqual([
      [1n, OKAY],
      [2n, OKAY],
      [3n, OKAY],
    ]);
    expect(front.machine.disk.read(40, 1)).toEqual(new Uint8Array(512).fill(0x77));
  });
});

test("a write's data are those of the moment when it was taken", () => {
  const front = connected();
  front.fill(0, new Uint8Array(4096).fill(0x11));
  front.put(WRITE, 1n, 0, [[front.page(0), 0, 0]]);
  front.push();
  const { clock } = front.machine.xen;
  clock.advanceTo(clock.now + 6_000);
  front.fill(0, new Uint8Array(4096).fill(0x22));
  front.machine.xen.settle();
  expect(front.machine.disk.read(0, 1)).toEqual(new Uint8Array(512).fill(0x11));
});

describe("notifications", () => {
  test("come only when the front end's threshold is crossed", () => {
    const front = connected();
    const { guest } = front.machine.store;
    guest.takeEvent(front.port);
    front.setIndex("rsp_event", 3);
    const heard = [1n, 2n, 3n, 4n].map((id) => {
      front.put(READ, id, 0, [[front.page(0), 0, 0]]);
      front.push();
      front.machine.xen.settle();
      return guest.takeEvent(front.port);
    });
    expect(heard).toEqual([false, false, true, false]);
    expect(front.take()).toHaveLength(4);
  });

  test("are asked for by the back end for the next request", () => {
    const front = connected();
    expect(front.index("req_event")).toBe(1);
    front.ask(READ, 0, [[front.page(0), 0, 0]]);
    expect(front.index("req_event")).toBe(2);
  });

  test("that mean nothing do nothing", () => {
    const front = connected();
    front.machine.xen.events.splice(0);
    for (let turn = 0; turn < 5; turn++) {
      front.push();
      front.machine.xen.settle();
    }
    expect(front.take()).toEqual([]);
    expect(front.backState).toBe(4);
    expect(front.machine.xen.eventsOf("ring-index").filter(({ index }) => index === "rsp_prod")).toEqual([]);
    expect(front.machine.xen.eventsOf("ring-notify")).toEqual([]);
  });
});

test("the trace tells requests and responses of both sides", () => {
  const front = connected();
  const { xen } = front.machine;
  xen.events.splice(0);
  front.ask(READ, 5, [[front.page(0), 1, 2]]);
  front.ask(FLUSH, 0);
  const requests = xen.eventsOf("blkif-request");
  expect(requests.map(({ side, index, operation }) => [side, index, operation])).toEqual([
    [0, 0, READ],
    [1, 0, READ],
    [0, 1, FLUSH],
    [1, 1, FLUSH],
  ]);
  expect(requests[1]).toMatchObject({ domain: 1, device: 51712, id: 0x1_0000_0000n, sector: 5n, segments: [16, 1, 2] });
  const responses = xen.eventsOf("blkif-response");
  expect(responses.map(({ side, index, operation, status }) => [side, index, operation, status])).toEqual([
    [1, 0, READ, OKAY],
    [0, 0, READ, OKAY],
    [1, 1, FLUSH, OKAY],
  ]);
  const states = new BlockFront(new BlockMachine()).connect().machine.xen.eventsOf("xenbus-state");
  expect(states.filter(({ side }) => side === 1).map(({ state }) => state)).toEqual([2, 4]);
});

test("a snapshot with requests in flight goes on where it was taken", () => {
  const service = { operationNs: 20_000, perSectorNs: 1_000, jitterNs: 50_000 };
  const front = connected("x86_64-abi", { service });
  front.ask(READ, 0, [[front.page(0), 0, 0]]);
  front.fill(9, new Uint8Array(4096).fill(0x99));
  for (let index = 0; index < 6; index++)
    front.put(index % 2, BigInt(index), index, [[front.page(index + 4), 0, index]]);
  front.putDiscard(6n, 60, 20);
  front.put(FLUSH, 7n, 0);
  front.push();
  const { clock } = front.machine.xen;
  clock.advanceTo(clock.now + 40_000);
  expect(mappings(front)).toBeGreaterThan(IDLE_MAPPINGS);
  const snapshot = front.machine.xen.snapshots.save();
  const bytes = encodeSnapshot(snapshot);

  const copy = new BlockFront(new BlockMachine({ service }), "x86_64-abi");
  copy.machine.xen.snapshots.load(snapshot);
  expect(Buffer.compare(encodeSnapshot(copy.machine.xen.snapshots.save()), bytes)).toBe(0);
  Object.assign(copy, { port: front.port, produced: front.produced, consumed: front.consumed });
  const ends = [front, copy].map((one) => {
    const from = one.machine.xen.events.length;
    one.machine.xen.settle();
    const replies = one.take();
    const events = one.machine.xen.events.slice(from === 0 ? 0 : from);
    return { replies, events, more: one.ask(READ, 3, [[one.page(0), 0, 3]]) };
  });
  expect(ends[0]?.replies.length).toBeGreaterThan(0);
  expect(ends[1]?.replies).toEqual(ends[0]?.replies);
  expect(ends[1]?.events).toEqual(ends[0]?.events);
  const states = [front, copy].map((one) => encodeSnapshot(one.machine.xen.snapshots.save()));
  expect(Buffer.compare(states[0] ?? new Uint8Array(1), states[1] ?? new Uint8Array(2))).toBe(0);
});
