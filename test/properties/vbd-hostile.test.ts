// Front ends that do anything: what is in the ring, where the indices stand, which nodes are written in which order, which grants are taken back,
// when the device is closed, unplugged or resized. The back end's invariants are those that real block back ends broke; built with one of those
// faults, it is found out. Beside it a neighbour goes on as if nothing were.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VBD_FAULTS, type VbdFault } from "../../src/devices/vbd/faults.ts";
import { XS } from "../../src/xen/xenstore/wire.ts";
import {
  BlockFront,
  BlockMachine,
  FRONT,
  numbered,
  type Reply,
  SECTORS,
  type SegmentWords,
} from "../support/block-guest.ts";
import { blockFindings } from "../support/block-invariants.ts";
import { LATENCY_NS, XenMachine } from "../support/xen-machine.ts";

const READ = 0;
const PAGES = 16;
const SERVICE = { operationNs: 10_000, perSectorNs: 500, jitterNs: 100_000 };
/** Events that one step of a front end may cause: a few dozen for each request that a ring holds, and what it granted. */
const MAX_EVENTS_A_STEP = 10_000;
const UNGRANTED = 400;

/** Mostly good grants, some that are none. */
const segment = fc
  .tuple(
    fc.oneof({ arbitrary: fc.integer({ min: 16, max: 15 + PAGES }), weight: 12 }, fc.constant(UNGRANTED)),
    fc.oneof({ arbitrary: fc.nat(7), weight: 60 }, fc.nat(255)),
    fc.nat(7),
  )
  .map(([ref, a, b]): SegmentWords => [ref, Math.min(a, b), Math.max(a, b)]);
const operation = fc.oneof({ arbitrary: fc.constantFrom(0, 1), weight: 8 }, fc.nat(7), fc.nat(255));
const sector = fc.oneof({ arbitrary: fc.nat(SECTORS - 88), weight: 8 }, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
const number = fc.oneof(fc.nat(40), fc.integer({ min: 0, max: 0xffff_ffff }));
const value = fc.oneof(
  fc.nat(12).map(String),
  fc.constantFrom("8", "x86_64-abi", "x86_32-abi"),
  fc.string({ maxLength: 5 }),
);
const node = fc.constantFrom(
  "state",
  "ring-ref",
  "ring-ref0",
  "ring-ref1",
  "ring-page-order",
  "event-channel",
  "protocol",
  "feature-persistent",
);

/** Number of segments as the slot says it; mostly the truth. */
const count = (most: number) => fc.oneof({ arbitrary: fc.constant(undefined), weight: 9 }, fc.nat(most));

const STEPS = {
  request: fc.record({
    operation,
    sector,
    segments: fc.array(segment, { maxLength: 11 }),
    count: count(255),
  }),
  indirect: fc.record({
    operation,
    sector,
    segments: fc.array(segment, { maxLength: 40 }),
    count: count(600),
    ref: fc.constantFrom(30, 31, UNGRANTED),
  }),
  bytes: fc.record({ at: fc.integer({ min: 64, max: 4000 }), bytes: fc.uint8Array({ maxLength: 96 }) }),
  push: fc.constant({}),
  produce: fc.record({ by: number }),
  index: fc.record({
    index: fc.constantFrom("rsp_event" as const, "req_event" as const, "rsp_prod" as const),
    value: number,
  }),
  node: fc.record({ node, value }),
  forget: fc.record({ node: fc.oneof(node, fc.constant("")) }),
  revoke: fc.record({ ref: fc.constantFrom(8, 16, 17, 18) }),
  grant: fc.record({ ref: fc.constantFrom(16, 17, 18), readOnly: fc.boolean() }),
  "close port": fc.constant({}),
  close: fc.constant({}),
  /** A good request, and the close before it can be done. */
  "hasty close": fc.constant({}),
  reconnect: fc.record({ persistent: fc.boolean() }),
  plug: fc.constantFrom("plug", "unplug", "remove").map((how) => ({ how })),
  resize: fc.record({ sectors: fc.integer({ min: 1, max: 2 * SECTORS }) }),
  wait: fc.record({ ns: fc.nat(150_000) }),
} as const;
type Steps = typeof STEPS;
type Step = { [K in keyof Steps]: { kind: K; with: Steps[K] extends fc.Arbitrary<infer T> ? T : never } }[keyof Steps];

const WEIGHTS: Partial<Record<keyof Steps, number>> = {
  request: 8,
  indirect: 3,
  push: 6,
  wait: 3,
  reconnect: 3,
  grant: 2,
};
const step = fc.oneof(
  ...Object.entries(STEPS).map(([kind, arbitrary]) => ({
    weight: WEIGHTS[kind as keyof Steps] ?? 1,
    arbitrary: (arbitrary as fc.Arbitrary<unknown>).map((given) => ({ kind, with: given }) as Step),
  })),
);

const scene = fc.record({
  protocol: fc.constantFrom("x86_32-abi" as const, "x86_64-abi" as const),
  persistent: fc.boolean(),
  start: fc.constantFrom(0, 2 ** 32 - 7),
  steps: fc.array(step, { maxLength: 40 }),
});
type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never;

function play(front: BlockFront, { kind, with: given }: Step): void {
  const { store, xen, vbd, disk } = front.machine;
  const { guest } = store;
  const write = (name: string, text: string) => store.ask(XS.WRITE, `${FRONT}/${name}\0${text}`);
  switch (kind) {
    case "request":
      front.put(given.operation, BigInt(front.produced), given.sector, given.segments, given.count);
      break;
    case "indirect": {
      const refs = given.ref === UNGRANTED ? [] : [given.ref];
      front.putIndirect(given.operation, BigInt(front.produced), given.sector, given.segments, refs, given.count);
      break;
    }
    case "bytes":
      front.poke(given.at, given.bytes);
      break;
    case "push":
      front.push();
      break;
    case "produce":
      front.setIndex("req_prod", front.index("req_prod") + given.by);
      guest.send(front.port);
      break;
    case "index":
      front.setIndex(given.index, given.value);
      break;
    case "node":
      write(given.node, given.value);
      break;
    case "forget":
      store.ask(XS.RM, `${FRONT}${given.node === "" ? "" : "/"}${given.node}\0`);
      break;
    case "revoke":
      guest.grant(given.ref, 0, 0, 0);
      break;
    case "grant":
      front.page(given.ref - 16, given.readOnly);
      break;
    case "close port":
      guest.domain.events.close(front.port);
      break;
    case "close":
      write("state", "5");
      write("state", "6");
      break;
    case "hasty close":
      front.put(READ, BigInt(front.produced), 0, [[front.page(0), 0, 0]]);
      front.push();
      xen.clock.advanceTo(xen.clock.now + LATENCY_NS);
      write("state", "6");
      break;
    case "reconnect":
      reconnect(front, given.persistent);
      break;
    case "plug":
      if (given.how === "plug" && !vbd.isPlugged) vbd.plug();
      else if (given.how === "unplug" && vbd.isPlugged) vbd.unplug();
      else if (given.how === "remove" && vbd.isPlugged) vbd.remove();
      return;
    case "resize":
      disk.resize(given.sectors);
      vbd.resized();
      break;
    case "wait":
      xen.clock.advanceTo(xen.clock.now + given.ns);
      break;
  }
}

/** As a driver that starts anew: closes what there was, and connects if there is a device and the guest has not lost its nodes. */
function reconnect(front: BlockFront, persistent: boolean): boolean {
  const { store, xen, vbd } = front.machine;
  const ask = (type: number, rest: string) => store.ask(type, `${FRONT}/${rest}`);
  if (!vbd.isPlugged) return false;
  ask(XS.WRITE, "state\x006");
  xen.settle();
  ask(XS.WRITE, "state\x001");
  for (const name of ["ring-page-order", "ring-ref0", "ring-ref1"]) ask(XS.RM, `${name}\0`);
  if (!vbd.isPlugged || store.ask(XS.READ, `${FRONT}/backend\0`).startsWith("ERROR")) return false;
  ask(XS.WRITE, `feature-persistent\0${Number(persistent)}`);
  front.connect();
  return true;
}

/** A second guest with a disk of its own, who reads while the first one does what it does. */
class Neighbour {
  readonly front: BlockFront;
  readonly #replies: Reply[] = [];

  constructor(xen: XenMachine) {
    this.front = new BlockFront(new BlockMachine({ service: SERVICE }, xen, "second")).connect();
  }

  /** Sends a read, without waiting for anybody. */
  read(): void {
    this.#replies.push(...this.front.take());
    const { produced } = this.front;
    if (produced - this.#replies.length >= 16) return;
    this.front.put(READ, BigInt(produced), produced % SECTORS, [[this.front.page(produced % 16), 0, 0]]);
    this.front.push();
  }

  /** What is not as if it were alone, when nothing is left to do. */
  findings(): string[] {
    this.#replies.push(...this.front.take());
    const wrong = this.#replies.filter(({ status }) => status !== 0);
    const missing = this.front.produced - this.#replies.length;
    const last = this.front.produced - 1;
    const isRight = last < 0 || Buffer.compare(this.front.data(last % 16, 0, 512), sectorOf(last % SECTORS)) === 0;
    return wrong.length + missing === 0 && isRight ? [] : ["the neighbour noticed something"];
  }
}

const sectorOf = (at: number) => numbered().subarray(at * 512, (at + 1) * 512);

/** Plays a scene; what must not be, in words. */
function findings(
  { protocol, persistent, start, steps }: Scene,
  faults: readonly VbdFault[] = [],
  alone = false,
): string[] {
  const xen = new XenMachine();
  const machine = new BlockMachine({ service: SERVICE, switches: faults }, xen);
  const mapped = () =>
    xen.hypervisor
      .serviceDomain(0)
      .save()
      .mappings.entries.filter(({ owner }) => owner === 1).length;
  const idle = mapped();
  const front = new BlockFront(machine, protocol, { persistent, start }).connect();
  for (let page = 0; page < PAGES; page++) front.page(page);
  const neighbour = alone ? undefined : new Neighbour(xen);
  const found: string[] = [];
  try {
    for (const each of steps) {
      const before = xen.events.length;
      play(front, each);
      neighbour?.read();
      if (xen.events.length - before > MAX_EVENTS_A_STEP) found.push(`unbounded work: ${each.kind}`);
    }
    xen.settle();
    for (const state of [5, 6]) machine.store.ask(XS.WRITE, `${FRONT}/state\0${state}`);
    xen.settle();
    if (mapped() !== idle) found.push(`B9: ${mapped() - idle} grants are left mapped`);
    if (machine.vbd.isPlugged) {
      machine.disk.resize(SECTORS);
      if (reconnect(front, false) && front.ask(READ, 0, [[front.page(0), 0, 0]]) !== 0)
        found.push("does not serve any more");
    }
  } catch (error) {
    found.push(`B7: ${String(error)}`);
  }
  return [...found, ...blockFindings(xen.events, 1), ...(neighbour?.findings() ?? []), ...blockFindings(xen.events, 2)];
}

test("whatever a front end does, its back end keeps to the rules and serves the next one, and a neighbour notices nothing", () => {
  fc.assert(
    fc.property(scene, (given) => {
      expect(findings(given)).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

describe("a back end with a fault is found out:", () => {
  const SEEN_ELSEWHERE: readonly VbdFault[] = ["vbd.unwritten-padding"];
  const switches = (Object.keys(VBD_FAULTS) as VbdFault[]).filter((fault) => !SEEN_ELSEWHERE.includes(fault));

  test.each(switches)("%s", (fault) => {
    const result = fc.check(
      fc.property(scene, (given) => findings(given, [fault], true).length === 0),
      { numRuns: 100, seed: 1, endOnFailure: true },
    );
    expect(result.failed).toBe(true);
  });
});

describe("a response's padding is the back end's own, not what stood there", () => {
  /** In the x86_64 layout a request's id lies where a response's padding is. */
  const HIGH_ID = 0xeeee_eeee_0000_0000n;

  /** Whether all responses to some reads end in zeros. */
  const isWritten = (count: number, start: number, faults: readonly VbdFault[]): boolean => {
    const front = new BlockFront(new BlockMachine({ service: SERVICE, switches: faults }), "x86_64-abi", { start });
    front.connect();
    for (let index = 0; index < count; index++)
      front.put(READ, HIGH_ID + BigInt(index), index, [[front.page(index % 16), 0, 0]]);
    front.push();
    front.machine.xen.settle();
    const responses = Array.from({ length: count }, (_, index) => front.slot(start + index).subarray(0, 16));
    return responses.every((bytes) => [9, 12, 13, 14, 15].every((at) => bytes[at] === 0));
  };
  const requests = [fc.integer({ min: 1, max: 32 }), fc.constantFrom(0, 2 ** 32 - 7)] as const;

  test("as it is", () => {
    fc.assert(
      fc.property(...requests, (count, start) => isWritten(count, start, [])),
      { numRuns: 10 },
    );
  });

  test("unless it has the fault vbd.unwritten-padding", () => {
    expect(isWritten(1, 0, ["vbd.unwritten-padding"])).toBe(false);
  });
});
