// The network back end over real rings, a grant table, event channels and xenstore.

import { describe, expect, test } from "vitest";
import { encodeSnapshot } from "../../../src/core/snapshot.ts";
import { XS } from "../../../src/xen/xenstore/wire.ts";
import { anyFrame, FEATURES, MAC, NetFront, NetMachine, type NetOptions } from "../../support/net-guest.ts";

const OKAY = 0;
const ERROR = -1;
const DROPPED = -2;
const NULL = 1;
const [CSUM_BLANK, DATA_VALIDATED, MORE_DATA, EXTRA_INFO] = [1, 2, 4, 8];
const [GSO, MCAST_ADD, MCAST_DEL, HASH] = [1, 2, 3, 4];
const EXTRA_MORE = 1;
const TCPV4 = 1;

const connected = (options?: NetOptions) => new NetFront(new NetMachine(options)).connect();
/** The store's ring, the console, and the two rings. */
const IDLE_MAPPINGS = connected().machine.mappings;

describe("a new interface", () => {
  test("stands in xenstore at both ends, each readable by the other", () => {
    const { store, xen } = new NetMachine();
    expect(store.ask(XS.DIRECTORY, "device/vif\0")).toBe("0\0");
    expect(store.ask(XS.READ, "device/vif/0/mac\0")).toBe(MAC);
    expect(store.ask(XS.READ, "device/vif/0/backend\0")).toBe("/local/domain/0/backend/vif/1/0");
    expect(store.ask(XS.READ, "device/vif/0/backend-id\0")).toBe("0");
    expect(store.ask(XS.GET_PERMS, "device/vif/0/state\0")).toBe("n1\0r0\0");
    const back = "/local/domain/0/backend/vif/1/0";
    const names = xen.xenstore.client().directory(back);
    const nodes = Object.fromEntries(names.map((name) => [name, store.ask(XS.READ, `${back}/${name}\0`)]));
    expect(nodes).toMatchObject({
      state: "2",
      mac: MAC,
      handle: "0",
      carrier: "0",
      "feature-sg": "1",
      "feature-gso-tcpv4": "1",
      "feature-rx-copy": "1",
      "feature-rx-flip": "0",
      "feature-split-event-channels": "1",
    });
    expect(nodes).not.toHaveProperty("rate");
  });

  test("connects and shows its carrier", () => {
    const front = connected();
    expect(front.backState).toBe(4);
    expect(front.read("carrier")).toBe("1");
  });

  test.each([
    ["no transmit ring", "tx-ring-ref", ""],
    ["a ring that is not granted", "rx-ring-ref", "300"],
    ["a ring beyond the grant table", "tx-ring-ref", "4294967295"],
    ["no event channel", "event-channel", "x"],
    ["an event channel that is nobody's", "event-channel", "999"],
    ["page flipping", "request-rx-copy", "0"],
    ["more queues than were offered", "multi-queue-num-queues", "2"],
  ])("closes when the front end offers %s, holds nothing of it, and can be tried again", (_, name, value) => {
    const front = new NetFront(new NetMachine());
    front.prepare();
    front.write(name, value);
    front.write("state", 4);
    front.machine.xen.settle();
    expect(front.backState).toBe(5);
    expect(front.machine.errors()).toHaveLength(1);
    expect(front.machine.mappings).toBe(IDLE_MAPPINGS - 2);
    front.write("multi-queue-num-queues", 1);
    for (const state of [6, 1]) front.write("state", state);
    expect(front.backState).toBe(2);
    front.connect();
    front.send(anyFrame(100));
    expect(front.sent()).toEqual([{ id: 0, status: OKAY }]);
  });

  test("lets go of rings and ports when the front end closes, and drops what comes then", () => {
    const front = connected();
    for (const state of [5, 6]) front.write("state", state);
    expect([front.backState, front.read("carrier")]).toEqual([6, "0"]);
    expect(front.machine.mappings).toBe(IDLE_MAPPINGS - 2);
    front.machine.send(anyFrame(60));
    front.machine.xen.settle();
    expect(front.machine.drops()).toEqual(["no carrier"]);
  });
});

test("a domain that dies leaves nothing mapped, and frames for it are dropped", () => {
  const front = connected();
  const { xen } = front.machine;
  const idle = front.machine.mappings;
  for (let index = 0; index < 20; index++) front.put({ ref: front.page(0, anyFrame(1500)), size: 1500 });
  front.push();
  front.machine.send(anyFrame(60));
  xen.hypervisor.destroyDomain(1);
  xen.settle();
  // The first guest's console and store rings, and the two rings of its interface.
  expect(front.machine.mappings).toBe(idle - 4);
  front.machine.send(anyFrame(60));
  xen.settle();
  expect(front.machine.drops()).toContain("no carrier");
});

describe("transmitting", () => {
  test("a frame goes out on the cable, padded to the least length", () => {
    const front = connected();
    front.send(anyFrame(42));
    const [frame] = front.machine.heard();
    expect(frame).toHaveLength(60);
    expect(frame?.subarray(0, 42)).toEqual(anyFrame(42));
    expect(frame?.subarray(42)).toEqual(new Uint8Array(18));
    expect(front.sent()).toEqual([{ id: 0, status: OKAY }]);
  });

  test("a packet is put together from several slots, empty ones among them", () => {
    const front = connected();
    const frame = anyFrame(1000);
    const parts: [number, number][] = [
      [0, 100],
      [100, 0],
      [100, 899],
      [999, 1],
    ];
    for (const [index, [from, size]] of parts.entries()) {
      const ref = size === 0 ? 9999 : front.page(index, anyFrame(1000).subarray(from, from + size));
      front.put({ ref, size: index === 0 ? 1000 : size, flags: index < 3 ? MORE_DATA : 0, id: 70 + index });
    }
    front.push();
    front.machine.xen.settle();
    expect(front.sent()).toEqual([70, 71, 72, 73].map((id) => ({ id, status: OKAY })));
    expect(front.machine.heard()).toEqual([frame]);
    expect(front.machine.xen.eventsOf("grant-copy")).toHaveLength(3);
  });

  test("a first slot may hold nothing of its packet", () => {
    const front = connected();
    front.put({ ref: 9999, size: 60, flags: MORE_DATA });
    front.put({ ref: front.page(0, anyFrame(60)), size: 60 });
    expect(front.statuses()).toEqual([OKAY, OKAY]);
    expect(front.machine.heard()).toEqual([anyFrame(60)]);
  });

  test("blank checksums are filled in for TCP and UDP", () => {
    for (const protocol of [6, 17]) {
      const front = connected();
      const frame = ipFrame(protocol, 101);
      front.send(frame, CSUM_BLANK | DATA_VALIDATED);
      const out = front.machine.heard()[0]!;
      expect(transportSum(out)).toBe(0);
      const field = 34 + (protocol === 6 ? 16 : 6);
      expect(out[field]! + out[field + 1]!).toBeGreaterThan(0);
      out.fill(0, field, field + 2);
      expect(out).toEqual(frame);
    }
  });

  test("a blank checksum of something else costs the packet", () => {
    const front = connected();
    front.put({ ref: front.page(0, anyFrame(100)), size: 100, flags: CSUM_BLANK });
    expect(front.statuses()).toEqual([ERROR]);
    expect(front.machine.drops()).toEqual(["blank checksum of no TCP or UDP"]);
    expect(front.machine.heard()).toEqual([]);
  });

  test("a large TCP packet is cut into segments as its sender would have made them", () => {
    const front = connected();
    const [FIN_PSH_ACK_CWR, header, mss] = [0x99, 54, 1000];
    const packet = ipFrame(6, 7000, FIN_PSH_ACK_CWR);
    front.put({
      ref: front.page(0, packet.subarray(0, 4096)),
      size: packet.length,
      flags: CSUM_BLANK | MORE_DATA | EXTRA_INFO,
    });
    front.putExtra(GSO, [mss & 0xff, mss >> 8, TCPV4, 0, 0, 0]);
    const rest = packet.subarray(4096);
    front.put({ ref: front.page(1, rest), size: rest.length });
    expect(front.statuses()).toEqual([OKAY, NULL, OKAY]);
    const frames = front.machine.heard();
    const payload = packet.length - header;
    expect(frames.map(({ length }) => length - header)).toEqual([
      ...Array.from({ length: Math.floor(payload / mss) }, () => mss),
      payload % mss,
    ]);
    expect(frames.flatMap((frame) => [...frame.subarray(header)])).toEqual([...packet.subarray(header)]);
    for (const [index, frame] of frames.entries()) {
      const view = new DataView(frame.buffer, frame.byteOffset);
      expect(view.getUint16(16)).toBe(frame.length - 14);
      expect(view.getUint16(18)).toBe((0xfffe + index) & 0xffff);
      expect(view.getUint32(38)).toBe((0xffff_ff00 + index * mss) >>> 0);
      expect(sum(frame.subarray(14, 34))).toBe(0);
      expect(transportSum(frame)).toBe(0);
      const flags = (index === 0 ? 0x80 : 0) | 0x10 | (index === frames.length - 1 ? 0x09 : 0);
      expect(frame[47]).toBe(flags);
    }
  });

  test("a packet that is longer than the cable takes, with no segmentation asked for, is dropped", () => {
    const front = connected();
    front.put({ ref: front.page(0, anyFrame(1514)), size: 1514 });
    front.put({ ref: front.page(1, anyFrame(1515)), size: 1515 });
    expect(front.statuses()).toEqual([OKAY, DROPPED]);
    expect(front.machine.drops()).toEqual(["longer than the cable takes"]);
  });

  test("a cable that takes large frames gets them as they are", () => {
    const front = connected({ maxFrame: 65_539 });
    const frame = anyFrame(65_535);
    for (let from = 0; from < frame.length; from += 4096) {
      const part = frame.subarray(from, from + 4096);
      const flags = from + 4096 < frame.length ? MORE_DATA : 0;
      front.put({ ref: front.page(from / 4096, part), size: from === 0 ? frame.length : part.length, flags });
    }
    expect(front.statuses()).toEqual(Array.from({ length: 16 }, () => OKAY));
    expect(front.machine.heard()).toEqual([frame]);
  });

  test.each([
    ["of no known type", [[9, [], 0]], ["extra info of no known type"]],
    ["of type none", [[0, [], 0]], ["extra info of no known type"]],
    ["with hashes, which are of no use here", [[HASH, [1, 1, 2, 3, 4, 5], 0]], []],
  ] as const)("extra info %s is answered", (_, extras, drops) => {
    const front = connected();
    front.put({ ref: front.page(0, anyFrame(64)), size: 64, flags: EXTRA_INFO });
    for (const [type, data, flags] of extras) front.putExtra(type, data, flags);
    front.put({ ref: front.page(1, anyFrame(70)), size: 70 });
    expect(front.statuses()).toEqual([drops.length === 0 ? OKAY : ERROR, NULL, OKAY]);
    expect(front.machine.drops()).toEqual(drops);
    expect(front.machine.heard().at(-1)).toEqual(anyFrame(70));
  });

  test("a grant that does not map costs the packet", () => {
    const front = connected();
    front.put({ ref: 9999, size: 100 });
    front.put({ ref: front.page(1, anyFrame(64)), size: 64 });
    expect(front.statuses()).toEqual([ERROR, OKAY]);
    expect(front.machine.drops()).toEqual(["grant 9999 cannot be copied"]);
  });

  test("nineteen slots are a packet, twenty cost it, twenty-two close the interface", () => {
    const put = (front: NetFront, slots: number) => {
      const ref = front.page(0, anyFrame(60));
      for (let index = 0; index < slots; index++) {
        const flags = index < slots - 1 ? MORE_DATA : 0;
        front.put(index === 0 ? { ref, size: 60 + slots - 1, flags } : { ref, size: 1, flags });
      }
    };
    for (const [slots, status] of [
      [19, OKAY],
      [20, ERROR],
      [21, ERROR],
    ] as const) {
      const front = connected();
      put(front, slots);
      expect(front.statuses()).toEqual(Array.from({ length: slots }, () => status));
      expect(front.backState).toBe(4);
    }
    const front = connected();
    put(front, 22);
    expect(front.statuses()).toEqual([]);
    expect(front.machine.errors()).toEqual(["more than 20 slots behind a packet's first"]);
  });

  const fatal = (name: string, put: (front: NetFront) => void, message: string) => ({ name, put, message });
  test.each([
    fatal(
      "bytes beyond a page",
      (front) => front.put({ ref: 16, offset: 4000, size: 97 }),
      "97 bytes at 4000 cross a page's end",
    ),
    fatal(
      "an offset that would wrap",
      (front) => front.put({ ref: 16, offset: 0xffff, size: 0xffff }),
      "65535 bytes at 65535 cross a page's end",
    ),
    fatal(
      "a missing slot",
      (front) => front.put({ ref: 16, size: 100, flags: MORE_DATA }),
      "1 slots, and the next is missing",
    ),
    fatal("missing extra info", (front) => front.put({ ref: 16, size: 100, flags: EXTRA_INFO }), "missing extra info"),
    fatal(
      "segments of no bytes",
      (front) => {
        front.put({ ref: 16, size: 100, flags: EXTRA_INFO });
        front.putExtra(GSO, [0, 0, TCPV4, 0, 0, 0]);
      },
      "GSO size must not be zero",
    ),
    fatal(
      "segments of no known protocol",
      (front) => {
        front.put({ ref: 16, size: 100, flags: EXTRA_INFO });
        front.putExtra(GSO, [0, 1, 7, 0, 0, 0]);
      },
      "bad GSO type 7",
    ),
    fatal(
      "an impossible index",
      (front) => {
        front.produced.tx += 257;
      },
      "impossible number of transmit requests",
    ),
    fatal(
      "an index that went back",
      (front) => {
        front.produced.tx--;
      },
      "impossible number of transmit requests",
    ),
  ])("$name closes the interface, and no other", ({ put, message }) => {
    const machine = new NetMachine({ interfaces: 2 });
    const [front, other] = [new NetFront(machine, 0).connect(), new NetFront(machine, 1).connect()];
    const before = machine.mappings;
    put(front);
    front.push();
    machine.xen.settle();
    expect(machine.errors()).toEqual([message]);
    expect([front.backState, other.backState]).toEqual([5, 4]);
    expect(machine.mappings).toBe(before - 2);
    other.send(anyFrame(64));
    expect(machine.heard(1)).toEqual([anyFrame(64)]);
    for (const state of [6, 1]) front.write("state", state);
    front.connect().send(anyFrame(64));
    expect(machine.heard(0)).toEqual([anyFrame(64)]);
  });

  test("a rate limit lets so many bytes through in its time", () => {
    const front = connected({ rate: { bytes: 1000, microseconds: 50_000 } });
    const start = front.machine.xen.clock.now;
    for (let index = 0; index < 5; index++) front.put({ ref: front.page(0, anyFrame(1000)), size: 1000 });
    // What was saved up to now: nothing but the interval's own, as far as the burst goes.
    front.push();
    front.machine.xen.settle(10_000_000_000);
    expect(front.machine.heard()).toHaveLength(5);
    expect(front.read("rate")).toBe("1000,50000");
    const times = front.machine.xen
      .eventsOf("netif-tx-response")
      .filter(({ side }) => side === 1)
      .map(({ at }) => at);
    expect(times).toHaveLength(5);
    for (let index = 2; index < 5; index++) expect(times[index]! - times[index - 1]!).toBe(50_000_000);
    expect(times[4]! - start).toBeLessThanOrEqual(200_005_000);
  });

  test("a slow cable holds the ring up and loses nothing", () => {
    const front = connected({ bitsPerSecond: 1_000_000 });
    const ref = front.page(0, anyFrame(1500));
    for (let index = 0; index < 200; index++) front.put({ ref, size: 1500 });
    front.push();
    front.machine.xen.settle(100_000_000);
    expect(front.sent().length).toBeLessThan(100);
    front.machine.xen.settle(10_000_000_000);
    expect(front.machine.heard()).toHaveLength(200);
    expect(front.machine.drops()).toEqual([]);
  });

  test("each slot is fetched exactly once, and both sides are told", () => {
    const front = connected();
    front.put({ ref: front.page(0, anyFrame(64)), size: 64, flags: EXTRA_INFO | MORE_DATA });
    front.putExtra(HASH, [], EXTRA_MORE);
    front.putExtra(HASH);
    front.put({ ref: front.page(1), size: 4 });
    front.statuses();
    front.send(anyFrame(64));
    const { xen } = front.machine;
    const seen = [...xen.eventsOf("netif-tx-request"), ...xen.eventsOf("netif-extra-info")]
      .map(({ kind, side, index }) => `${side} ${index} ${kind.slice(6)}`)
      .sort();
    const slots = ["0 tx-request", "1 extra-info", "2 extra-info", "3 tx-request", "4 tx-request"];
    expect(seen).toEqual([0, 1].flatMap((side) => slots.map((slot) => `${side} ${slot}`)));
    const responses = xen.eventsOf("netif-tx-response").map(({ side, index, status }) => [side, index, status]);
    expect(responses.slice(0, 5)).toEqual([
      [1, 0, 0],
      [1, 1, 1],
      [1, 2, 1],
      [1, 3, 0],
      [0, 0, 0],
    ]);
  });
});

describe("receiving", () => {
  test("a frame goes to the page that was posted first", () => {
    const front = connected();
    front.post(0, 2);
    front.machine.send(anyFrame(200));
    front.machine.xen.settle();
    expect(front.received()).toEqual([{ id: 0, offset: 0, flags: 0, status: 200 }]);
    expect(front.data(0, 200)).toEqual(anyFrame(200));
    expect(front.notified("rx")).toBe(true);
  });

  test("frames wait for pages, and the front end is asked to tell of the next", () => {
    const front = connected();
    for (let index = 0; index < 3; index++) front.machine.send(anyFrame(100, index));
    front.machine.xen.settle(1_000_000);
    expect(front.received()).toEqual([]);
    front.post(0, 2);
    front.machine.xen.settle(1_000_000);
    expect(front.received()).toHaveLength(2);
    expect(front.index("rx", "req_event")).toBe(3);
    front.post(2, 1);
    front.machine.xen.settle(1_000_000);
    expect(front.data(2, 100)).toEqual(anyFrame(100, 2));
    expect(front.machine.drops()).toEqual([]);
  });

  test.each([
    ["ten seconds", FEATURES, 10_000],
    ["thirty milliseconds without feature-rx-notify", { ...FEATURES, "feature-rx-notify": 0 }, 30],
  ])("a frame that finds no page is dropped after %s", (_, features, milliseconds) => {
    const front = new NetFront(new NetMachine()).connect({ features });
    front.machine.send(anyFrame(100));
    const { clock } = front.machine.xen;
    clock.advanceTo(clock.now + milliseconds * 1_000_000);
    expect(front.machine.drops()).toEqual([]);
    clock.advanceTo(clock.now + 100_000);
    expect(front.machine.drops()).toEqual(["no slots posted"]);
  });

  test("more frames than a ring takes are not kept", () => {
    const front = connected();
    for (let index = 0; index < 260; index++) {
      front.machine.send(anyFrame(60));
      front.machine.xen.settle(1_000_000);
    }
    expect(front.machine.drops()).toEqual(["queue full", "queue full", "queue full", "queue full"]);
  });

  test("a page that is granted read-only gets an error, and the next frame the next page", () => {
    const front = connected();
    front.post(0, 2);
    front.page(0, undefined, 1 | 4);
    for (const size of [100, 101]) front.machine.send(anyFrame(size));
    front.machine.xen.settle();
    expect(front.received().map(({ status }) => status)).toEqual([ERROR, 101]);
    expect(front.machine.drops()).toEqual(["grant 16 cannot be copied to"]);
  });

  test("an impossible index closes the interface", () => {
    const front = connected();
    front.produced.rx += 300;
    front.push("rx");
    front.machine.send(anyFrame(64));
    front.machine.xen.settle();
    expect(front.machine.errors()).toEqual(["impossible number of receive requests"]);
    expect(front.machine.mappings).toBe(IDLE_MAPPINGS - 2);
  });

  test("a right checksum is said to be validated, to a front end that wants to know", () => {
    const good = ipFrame(17, 100);
    good[40] = 0;
    good[41] = 0;
    const field = transportSum(good);
    good.set([field >> 8, field & 0xff], 40);
    const bad = good.slice();
    bad[60]! ^= 1;
    for (const [features, flags] of [
      [{ "request-rx-copy": 1 }, [1, 0]],
      [FEATURES, [0, 0]],
    ] as const) {
      const front = new NetFront(new NetMachine()).connect({ features });
      front.post(0, 2);
      for (const frame of [good, bad]) front.machine.send(frame);
      front.machine.xen.settle();
      expect(front.received().map((response) => response.flags)).toEqual(flags);
    }
  });

  test("a frame longer than a page takes several, if the front end gathers them", () => {
    const frame = anyFrame(9000);
    const front = connected({ maxFrame: 9018 });
    front.post(0, 2);
    front.machine.send(frame);
    front.machine.xen.settle(1_000_000);
    expect(front.received()).toEqual([]);
    front.post(2, 1);
    front.machine.xen.settle(1_000_000);
    const parts = front.received();
    expect(parts.map(({ flags, status }) => [flags, status])).toEqual([
      [MORE_DATA, 4096],
      [MORE_DATA, 4096],
      [0, 808],
    ]);
    expect(Buffer.concat(parts.map(({ id, status }) => front.data(id, status)))).toEqual(Buffer.from(frame));
    const plain = new NetFront(new NetMachine({ maxFrame: 9018 })).connect({ features: { "request-rx-copy": 1 } });
    plain.machine.send(frame);
    plain.machine.xen.settle(1_000_000);
    expect(plain.machine.drops()).toEqual(["longer than a page, and no feature-sg"]);
  });

  test("multicast goes through the filter that the front end asked for", () => {
    const front = new NetFront(new NetMachine()).connect({ features: { ...FEATURES, "request-multicast-control": 1 } });
    const group = [0x01, 0, 0x5e, 0, 0, 0xfb];
    const to = (address: readonly number[]) => {
      const frame = anyFrame(64);
      frame.set(address);
      front.machine.send(frame);
      front.machine.xen.settle(1_000_000);
    };
    const filter = (type: number) => {
      front.put({ ref: 0, size: 0, flags: EXTRA_INFO });
      front.putExtra(type, group);
      expect(front.statuses()).toEqual([OKAY, NULL]);
    };
    front.post(0, 10);
    to(group);
    filter(MCAST_ADD);
    to(group);
    to([255, 255, 255, 255, 255, 255]);
    filter(MCAST_DEL);
    to(group);
    expect(front.received()).toHaveLength(2);
    expect(front.machine.drops()).toEqual(["filtered", "filtered"]);
  });
});

describe("events", () => {
  test("a notification is sent only when the front end asked for one of the responses, and the trace tells either", () => {
    const front = connected();
    front.notified("tx");
    front.setIndex("tx", "rsp_event", 3);
    const notified: boolean[] = [];
    for (let index = 0; index < 4; index++) {
      front.put({ ref: front.page(0, anyFrame(64)), size: 64 });
      front.push();
      front.machine.xen.settle();
      notified.push(front.notified("tx"));
    }
    expect(notified).toEqual([false, false, true, false]);
    const told = front.machine.xen.eventsOf("ring-notify").map(({ ring, sent }) => [ring, sent]);
    expect(told).toEqual(notified.map((sent) => ["vif/0 tx", sent]));
  });

  test("the back end asks for the next request", () => {
    const front = connected();
    front.send(anyFrame(64));
    expect(front.index("tx", "req_event")).toBe(2);
  });

  test("each direction may have an event channel of its own", () => {
    const front = new NetFront(new NetMachine()).connect({ split: true });
    front.post(0, 1);
    front.send(anyFrame(64));
    expect([front.notified("tx"), front.notified("rx")]).toEqual([true, false]);
    front.machine.send(anyFrame(64));
    front.machine.xen.settle();
    expect([front.notified("tx"), front.notified("rx")]).toEqual([false, true]);
  });

  test("indices wrap at 2^32", () => {
    const front = new NetFront(new NetMachine()).connect({ start: 0xffff_fffe });
    front.post(0, 4);
    for (let index = 0; index < 4; index++) {
      front.send(anyFrame(64, index));
      front.machine.send(anyFrame(64, index));
      front.machine.xen.settle(1_000_000);
    }
    expect(front.sent()).toHaveLength(4);
    expect(front.received().map(({ status }) => status)).toEqual([64, 64, 64, 64]);
    expect(front.index("tx", "rsp_prod")).toBe(2);
    expect(front.machine.heard()).toEqual([0, 1, 2, 3].map((index) => anyFrame(64, index)));
  });
});

test("a snapshot with packets everywhere goes on as the machine that it was taken of", () => {
  const options = { bitsPerSecond: 10_000_000, rate: { bytes: 4000, microseconds: 1000 } };
  const front = connected(options);
  for (let index = 0; index < 40; index++) front.put({ ref: front.page(0, anyFrame(1400)), size: 1400 });
  front.push();
  for (let index = 0; index < 5; index++) front.machine.send(anyFrame(300, index));
  front.machine.xen.clock.advanceTo(front.machine.xen.clock.now + 5_000_000);
  const snapshot = front.machine.xen.snapshots.save();
  const copy = new NetMachine(options);
  copy.xen.snapshots.load(snapshot);
  expect(Buffer.compare(encodeSnapshot(copy.xen.snapshots.save()), encodeSnapshot(snapshot))).toBe(0);
  const [a, b] = [front.machine, copy].map(({ xen }) => {
    xen.settle();
    return encodeSnapshot(xen.snapshots.save());
  });
  expect(Buffer.compare(a!, b!)).toBe(0);
  expect(front.sent()).toHaveLength(40);
});

/** IPv4 and a TCP or UDP header whose checksum is zero, `size` bytes behind the IPv4 header; a frame without check sequence. */
function ipFrame(protocol: number, size: number, tcpFlags = 0x18): Uint8Array {
  const frame = anyFrame(34 + size);
  const view = new DataView(frame.buffer);
  view.setUint16(12, 0x0800);
  frame.set([0x45, 0], 14);
  view.setUint16(16, 20 + size);
  view.setUint16(18, 0xfffe);
  frame.set([0x40, 0, 64, protocol, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 20);
  view.setUint16(24, sum(frame.subarray(14, 34)));
  if (protocol === 6) {
    view.setUint32(38, 0xffff_ff00);
    frame.set([0x50, tcpFlags, 0x20, 0, 0, 0, 0, 0], 46);
  } else {
    view.setUint16(38, size);
    view.setUint16(40, 0);
  }
  return frame;
}

/** The Internet checksum (RFC 1071). */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += bytes[at]! * 256 + (bytes[at + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x1_0000);
  return 0xffff - total;
}

/** Over pseudo header and what follows the IPv4 header; zero when the checksum in it is right. */
function transportSum(frame: Uint8Array): number {
  const length = new DataView(frame.buffer, frame.byteOffset).getUint16(16) - 20;
  const pseudo = [...frame.subarray(26, 34), 0, frame[23]!, length >> 8, length & 0xff];
  return sum(Uint8Array.from([...pseudo, ...frame.subarray(34, 34 + length)]));
}
