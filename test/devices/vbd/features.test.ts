// What a block back end offers and a front end takes up: barriers, discards, indirect segments, persistent grants, rings of several pages.

import { describe, expect, test } from "vitest";
import { virtualDeviceName, virtualDeviceNumber } from "../../../src/devices/vbd/device-number.ts";
import { MAX_PERSISTENT_GRANTS } from "../../../src/devices/vbd/grants.ts";
import {
  BACK,
  BlockFront,
  BlockMachine,
  type BlockOptions,
  connected,
  mappings,
  numbered,
  type SegmentWords,
} from "../../support/block-guest.ts";

const READ = 0;
const WRITE = 1;
const BARRIER = 2;
const FLUSH = 3;
const DISCARD = 5;
const INDIRECT = 6;
const OKAY = 0;
const ERROR = -1;
const EOPNOTSUPP = -2;
const LAYOUTS = ["x86_32-abi", "x86_64-abi"] as const;

const node = ({ machine }: BlockFront, name: string) => machine.xen.xenstore.client().read(`${BACK}/${name}`);
const close = (front: BlockFront) => {
  for (const state of [5, 6]) front.write("state", state);
  front.machine.xen.settle();
};

describe("what is not offered", () => {
  const none = { flush: false, barrier: false, discard: false, indirectSegments: 0, persistentGrants: false } as const;

  test("is said so in the store and answered with EOPNOTSUPP", () => {
    const front = connected("x86_64-abi", { features: { ...none, ringPageOrder: 0 } });
    for (const [name, value] of [
      ["feature-flush-cache", "0"],
      ["feature-barrier", "0"],
      ["feature-discard", "0"],
      ["feature-max-indirect-segments", "0"],
      ["feature-persistent", "0"],
      ["max-ring-page-order", "0"],
    ] as const) {
      expect([name, node(front, name)]).toEqual([name, value]);
    }
    expect(front.ask(FLUSH, 0)).toBe(EOPNOTSUPP);
    expect(front.ask(BARRIER, 0, [[front.page(0), 0, 0]])).toBe(EOPNOTSUPP);
    expect(front.discard(0, 1)).toBe(EOPNOTSUPP);
    front.putIndirect(READ, 7n, 0, [[front.page(0), 0, 0]], [front.page(1)]);
    front.push();
    front.machine.xen.settle();
    expect(front.take()).toEqual([{ id: 7n, operation: INDIRECT, status: EOPNOTSUPP }]);
    expect(front.machine.disk.save().blocks).toEqual([]);
  });

  test("is not taken up: grants are not kept", () => {
    const front = connected("x86_32-abi", { features: none }, { persistent: true });
    const idle = mappings(front);
    expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
    expect(mappings(front)).toBe(idle);
  });
});

test("a CD-ROM is read-only, removable, and hints at its sectors", () => {
  const front = connected("x86_32-abi", { features: { cdrom: true, readOnly: true } });
  const names = ["device-type", "mode", "info", "removable", "sector-size", "physical-sector-size", "feature-discard"];
  expect(names.map((name) => node(front, name))).toEqual(["cdrom", "r", "7", "1", "512", "2048", "0"]);
  expect(front.ask(WRITE, 0, [[front.page(0), 0, 0]])).toBe(ERROR);
  expect(front.ask(BARRIER, 0, [[front.page(0), 0, 0]])).toBe(ERROR);
  expect(front.discard(0, 1)).toBe(ERROR);
  expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
  expect(front.machine.disk.save().blocks).toEqual([]);
});

test("a barrier is done after everything before it and before everything after it", () => {
  const front = connected("x86_32-abi");
  front.put(WRITE, 1n, 0, [[front.page(0), 0, 7]]);
  front.put(BARRIER, 2n, 40, [[front.page(1), 0, 7]]);
  front.put(WRITE, 3n, 80, [[front.page(2), 0, 0]]);
  front.put(BARRIER, 4n, 0);
  front.put(READ, 5n, 80, [[front.page(3), 0, 0]]);
  front.push();
  front.machine.xen.settle();
  expect(front.take().map(({ id, status }) => [id, status])).toEqual([1n, 2n, 3n, 4n, 5n].map((id) => [id, OKAY]));
});

describe.each(LAYOUTS)("indirect segments in the layout %s", (protocol) => {
  /** So many segments of one sector each, over sixteen pages. */
  const many = (front: BlockFront, count: number): SegmentWords[] =>
    Array.from({ length: count }, (_, index) => {
      const sector = Math.floor(index / 16) % 8;
      return [front.page(index % 16), sector, sector];
    });

  test("move as much as 256 segments can", () => {
    const front = connected(protocol, { image: new Uint8Array(300 * 512), sectors: 300 });
    const idle = mappings(front);
    for (let page = 0; page < 16; page++)
      front.fill(
        page,
        Uint8Array.from({ length: 4096 }, (_, at) => at * page + (at >> 9)),
      );
    const segments = many(front, 128);
    expect(front.askIndirect(WRITE, 3, segments, 20)).toBe(OKAY);
    const expected = segments.flatMap(([ref, first]) => [...front.data(ref - 16, first * 512, 512)]);
    expect(Buffer.compare(front.machine.disk.read(3, 128), Uint8Array.from(expected))).toBe(0);
    for (let page = 0; page < 16; page++) front.fill(page, new Uint8Array(4096));
    expect(front.askIndirect(READ, 3, [...segments, ...segments], 20)).toBe(OKAY);
    expect(front.askIndirect(READ, 3, segments, 20)).toBe(OKAY);
    const read = segments.flatMap(([ref, first]) => [...front.data(ref - 16, first * 512, 512)]);
    expect(Buffer.compare(Uint8Array.from(read), Uint8Array.from(expected))).toBe(0);
    expect(mappings(front)).toBe(idle);
  });

  test("are told to the trace, each page as it is fetched", () => {
    const front = connected(protocol);
    const segments = [[front.page(0), 1, 2]] as const;
    front.askIndirect(READ, 5, segments, 20);
    const { xen } = front.machine;
    expect(xen.eventsOf("blkif-request").at(-1)).toMatchObject({ segments: [], count: 1, indirect: [READ, 36] });
    expect(xen.eventsOf("blkif-segments")).toMatchObject([{ index: 0, ref: 36, segments: [16, 1, 2] }]);
  });

  test.each([
    ["no segments", READ, (front: BlockFront) => many(front, 0), 20],
    ["257 segments", READ, (front: BlockFront) => many(front, 257), 20],
    ["an indirect flush", FLUSH, (front: BlockFront) => many(front, 1), 20],
    ["an indirect indirect request", INDIRECT, (front: BlockFront) => many(front, 1), 20],
    ["a segment over the end of its page", READ, (front: BlockFront) => [[front.page(0), 0, 8] as const], 20],
    ["an unused grant after good ones", WRITE, (front: BlockFront) => [...many(front, 40), [400, 0, 0] as const], 20],
  ])("%s is refused, and nothing stays mapped", (_, operation, segments, page) => {
    const front = connected(protocol);
    const idle = mappings(front);
    expect(front.askIndirect(operation, 0, segments(front), page)).toBe(ERROR);
    expect(mappings(front)).toBe(idle);
    expect(Buffer.compare(front.machine.disk.read(0, 200), numbered())).toBe(0);
    expect(front.machine.xen.eventsOf("blkif-refusal")).toHaveLength(1);
    expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
  });

  test("in a page that is not granted are refused", () => {
    const front = connected(protocol);
    front.putIndirect(READ, 7n, 0, [[front.page(0), 0, 0]], [front.page(3)]);
    front.machine.store.guest.grant(front.page(3), 0, 0, 0);
    front.push();
    front.machine.xen.settle();
    expect(front.take()).toEqual([{ id: 7n, operation: READ, status: ERROR }]);
  });
});

describe("persistent grants", () => {
  const keeping = (protocol: (typeof LAYOUTS)[number] = "x86_64-abi") => connected(protocol, {}, { persistent: true });

  test("are mapped once and used again, and all are unmapped at the close", () => {
    const front = keeping();
    const idle = mappings(front);
    const { xen } = front.machine;
    xen.events.splice(0);
    for (let round = 0; round < 5; round++) {
      expect(front.ask(WRITE, round, [[front.page(round & 1), 0, 0]])).toBe(OKAY);
      expect(front.ask(READ, round, [[front.page(round & 1), 0, 0]])).toBe(OKAY);
    }
    expect(xen.eventsOf("grant-map").map(({ ref, readOnly }) => [ref, readOnly])).toEqual([
      [16, false],
      [17, false],
    ]);
    expect(xen.eventsOf("grant-unmap")).toEqual([]);
    expect(mappings(front)).toBe(idle + 2);
    close(front);
    expect(mappings(front)).toBe(idle - 1);
    expect(xen.eventsOf("grant-unmap").every(({ status }) => status === 0)).toBe(true);
  });

  test("named twice at one time are mapped twice, and kept once", () => {
    const front = keeping();
    const idle = mappings(front);
    const ref = front.page(0);
    expect(
      front.ask(READ, 0, [
        [ref, 0, 0],
        [ref, 1, 1],
      ]),
    ).toBe(OKAY);
    expect(mappings(front)).toBe(idle + 1);
    expect(front.data(0, 512, 1)).toEqual(Uint8Array.of(1));
  });

  test("that the front end takes back while they are mapped are still in use, as it can see", () => {
    const front = keeping();
    const ref = front.page(0);
    front.ask(READ, 0, [[ref, 0, 0]]);
    const { guest } = front.machine.store;
    // GTF_reading and GTF_writing: gnttab_end_foreign_access refuses.
    expect(guest.grantFlags(ref) & 0x18).toBe(0x18);
    close(front);
    expect(guest.grantFlags(ref) & 0x18).toBe(0);
  });

  test("that are taken back by force stay mapped until the close, and do not come back", () => {
    const front = keeping();
    const idle = mappings(front);
    const ref = front.page(0);
    front.ask(READ, 0, [[ref, 0, 0]]);
    front.machine.store.guest.grant(ref, 0, 0, 0);
    expect(front.ask(READ, 1, [[ref, 0, 0]])).toBe(OKAY);
    close(front);
    expect(mappings(front)).toBe(idle - 1);
    front.write("state", 1);
    front.connect();
    expect(front.ask(READ, 1, [[ref, 0, 0]])).toBe(ERROR);
  });

  test("are no more than Linux allows, and make room for others", () => {
    const front = keeping();
    const { guest } = front.machine.store;
    const idle = mappings(front);
    const first = 512;
    const count = MAX_PERSISTENT_GRANTS + 11;
    for (let ref = first; ref < first + count; ref++) guest.grant(ref, 0, 20, 1);
    const read = (from: number) =>
      front.ask(
        READ,
        0,
        Array.from({ length: 11 }, (_, index): SegmentWords => [from + index, 0, 0]),
      );
    for (let ref = first; ref < first + count; ref += 11) expect(read(ref)).toBe(OKAY);
    expect(mappings(front)).toBe(idle + MAX_PERSISTENT_GRANTS);
    const { clock } = front.machine.xen;
    clock.advanceTo(clock.now + 200_000_000);
    expect(read(first + count - 11)).toBe(OKAY);
    // A twentieth made room, the longest unused of them first; the last eleven moved in.
    expect(mappings(front)).toBe(idle + MAX_PERSISTENT_GRANTS - 52 + 11);
    expect(guest.grantFlags(first) & 0x18).toBe(0);
    expect(guest.grantFlags(first + 52) & 0x18).toBe(0x18);
    clock.advanceTo(clock.now + 61_000_000_000);
    expect(read(first + count - 11)).toBe(OKAY);
    expect(mappings(front)).toBe(idle + 11);
    close(front);
    expect(mappings(front)).toBe(idle - 1);
  });
});

describe.each([
  [1, 64],
  [2, 128],
  [4, 512],
])("a ring of 2^%i pages", (order, slots) => {
  test.each(LAYOUTS)("holds its requests over the pages' ends, round and round, in the layout %s", (protocol) => {
    const front = connected(protocol, {}, { order });
    expect(front.slots).toBe(slots);
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < slots; index++)
        front.put(READ, BigInt(index), index % 200, [[front.page(index % 16), 0, 0]]);
      front.push();
      front.machine.xen.settle();
      const replies = front.take();
      expect(replies.map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual(
        Array.from({ length: slots }, (_, id) => id),
      );
      expect(replies.every(({ status }) => status === OKAY)).toBe(true);
    }
    front.setIndex("req_prod", front.produced + slots + 1);
    front.machine.store.guest.send(front.port);
    front.machine.xen.settle();
    expect(front.backState).toBe(5);
  });
});

describe("a front end that wants several pages", () => {
  const offer = (nodes: Readonly<Record<string, string | number>>, options?: BlockOptions) => {
    const front = new BlockFront(new BlockMachine(options));
    front.prepare();
    for (const [name, value] of Object.entries(nodes)) front.write(name, value);
    front.write("state", 3);
    front.machine.xen.settle();
    const { xenstore } = front.machine.xen;
    const error = xenstore.client().read("/local/domain/0/error/backend/vbd/1/51712/error");
    return { front, error };
  };

  test.each([
    ["more than the most", { "ring-page-order": 5 }, "22 requested ring page order 5 exceed max:4"],
    [
      "an order that is no number",
      { "ring-page-order": "x" },
      "22 reading /local/domain/1/device/vbd/51712/ring-page-order",
    ],
    [
      "a page that it does not name",
      { "ring-page-order": 1, "ring-ref0": 8 },
      "22 reading /local/domain/1/device/vbd/51712/ring-ref1",
    ],
    [
      "a page that it does not grant",
      { "ring-page-order": 1, "ring-ref0": 8, "ring-ref1": 300 },
      "22 mapping ring-ref port 3",
    ],
  ])("and %s is closed, with the reason in the store and the trace", (_, nodes, reason) => {
    const { front, error } = offer(nodes);
    expect(error).toBe(reason);
    expect(front.backState).toBe(5);
    expect(front.machine.xen.eventsOf("xenbus-error").map(({ errno, message }) => `${errno} ${message}`)).toEqual([
      reason,
    ]);
    expect(mappings(front)).toBe(2);
  });

  test("of order 0 may name its page either way", () => {
    for (const nodes of [{ "ring-page-order": 0 }, { "ring-page-order": 0, "ring-ref0": 8, "ring-ref": "" }]) {
      expect(offer(nodes).front.backState).toBe(4);
    }
  });
});

test.each(LAYOUTS)("indices run over 2^32 without a request lost, in the layout %s", (protocol) => {
  for (const order of [0, 2]) {
    const front = connected(protocol, {}, { order, start: 2 ** 32 - 40 });
    for (let round = 0; round < 5; round++) {
      for (let index = 0; index < 29; index++) front.put(READ, BigInt(index), index, [[front.page(index % 16), 0, 0]]);
      front.push();
      front.machine.xen.settle();
      expect(front.take().filter(({ status }) => status === OKAY)).toHaveLength(29);
      expect(front.machine.store.guest.takeEvent(front.port)).toBe(true);
    }
    expect(front.index("rsp_prod")).toBe(5 * 29 - 40);
    expect(front.index("req_event")).toBe(5 * 29 - 39);
    const told = front.machine.xen.eventsOf("blkif-request").filter(({ side }) => side === 1);
    expect(told.map(({ index }) => index)).toEqual(
      Array.from({ length: 145 }, (_, index) => (2 ** 32 - 40 + index) % 2 ** 32),
    );
  }
});

test("a ring whose indices begin with a nonsense lead is shut at once", () => {
  const front = new BlockFront(new BlockMachine(), "x86_64-abi", { start: 2 ** 32 - 5 });
  front.prepare();
  front.setIndex("req_prod", 40);
  front.write("state", 3);
  front.machine.xen.settle();
  expect(front.backState).toBe(5);
});

test("virtual device numbers are those of the toolstack's names", () => {
  const numbers = {
    xvda: 51712,
    xvdb: 51728,
    xvdp: 51952,
    xvdq: 268439552,
    xvdaa: 268442112,
    sda: 2048,
    hda: 768,
    hdb: 832,
    hdd: 5696,
  };
  for (const [name, number] of Object.entries(numbers)) {
    expect([name, virtualDeviceNumber(name)]).toEqual([name, number]);
    expect(virtualDeviceName(number)).toBe(name);
  }
  expect(["xvd", "hde", "sdq", "vda", "xvd1", "XVDA"].map(virtualDeviceNumber)).toEqual(Array(6).fill(undefined));
  expect([virtualDeviceName(51713), virtualDeviceName(5633), virtualDeviceName(1)]).toEqual([
    "xvda1",
    "hdc1",
    undefined,
  ]);
});

test("discards of a disk of several kinds of hints say them", () => {
  const front = connected("x86_32-abi", { features: { discardGranularity: 4096, discardAlignment: 512 } });
  expect(["discard-granularity", "discard-alignment", "discard-secure"].map((name) => node(front, name))).toEqual([
    "4096",
    "512",
    "0",
  ]);
  expect(front.discard(3, 5)).toBe(OKAY);
  expect(front.machine.xen.eventsOf("blkif-request").at(-1)).toMatchObject({
    operation: DISCARD,
    sector: 3n,
    discard: 5n,
  });
});
