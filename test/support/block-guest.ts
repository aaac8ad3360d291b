// A block front end on a guest's own memory: a machine with one guest and its xvda, and the driver that a test plays.

import type { RandomStream } from "../../src/core/random.ts";
import { OverlayDisk } from "../../src/devices/block/disk.ts";
import { type DiskFault, FaultyDisk } from "../../src/devices/block/faults.ts";
import type { ServiceTime } from "../../src/devices/block/service.ts";
import type { VbdFault } from "../../src/devices/vbd/faults.ts";
import { DEFAULT_FEATURES, type VbdFeatures } from "../../src/devices/vbd/options.ts";
import type { ProtocolName } from "../../src/devices/vbd/protocol.ts";
import { Vbd } from "../../src/devices/vbd/vbd.ts";
import { XS } from "../../src/xen/xenstore/wire.ts";
import { StoreGuest } from "./store-guest.ts";
import { XenMachine } from "./xen-machine.ts";

/** Offsets in a slot, from io/blkif.h. */
const SLOTS = {
  "x86_32-abi": { size: 108, id: 4, sector: 12, segments: 20, indirect: 24, response: 12 },
  "x86_64-abi": { size: 112, id: 8, sector: 16, segments: 24, indirect: 28, response: 16 },
} as const;
const RING_GFN = 16;
const RING_REF = 8;
/** Of the second page of a ring of several, and what grants it. */
const MORE_RING_GFN = 48;
const MORE_RING_REF = 100;
const DATA_GFN = 20;
const DATA_REF = 16;
export const FRONT = "device/vbd/51712";
export const BACK = "/local/domain/0/backend/vbd/1/51712";
const PERMIT = 1;
const READ_ONLY = 4;

export const SECTORS = 200;
/** Exact times: 10 µs an operation and 1 µs a sector. */
export const SERVICE: ServiceTime = { operationNs: 10_000, perSectorNs: 1_000, jitterNs: 0 };

export interface BlockOptions {
  readonly features?: Partial<VbdFeatures>;
  readonly switches?: readonly VbdFault[];
  readonly faults?: readonly DiskFault[];
  readonly service?: ServiceTime;
  readonly image?: Uint8Array;
  readonly sectors?: number;
}

/** A guest with a disk; several may share a machine. */
export class BlockMachine {
  readonly xen: XenMachine;
  readonly store: StoreGuest;
  /** The back end's directory. */
  readonly back: string;
  readonly disk: OverlayDisk;
  readonly vbd: Vbd;
  readonly random: RandomStream;

  constructor(options: BlockOptions = {}, xen = new XenMachine(), name = "first") {
    this.xen = xen;
    const guest = xen.guest(name);
    const suffix = guest.domid === 1 ? "" : ` ${name}`;
    this.back = BACK.replace("/vbd/1/", `/vbd/${guest.domid}/`);
    this.store = new StoreGuest(guest);
    this.disk = new OverlayDisk(options.image ?? numbered(), options.sectors ?? SECTORS);
    this.random = xen.random.stream(`disk${suffix}`);
    this.vbd = new Vbd(xen.hypervisor.backendHost(xen.xenstore.client()), {
      frontDomid: guest.domid,
      device: "xvda",
      disk: new FaultyDisk(this.disk, options.faults ?? [], xen.random.stream(`faults${suffix}`), () => {}),
      features: { ...DEFAULT_FEATURES, ...options.features },
      service: options.service ?? SERVICE,
      random: this.random,
      grant: (path, owner, reader) => xen.xenstore.grant(path, owner, reader),
      faults: new Set(options.switches),
    });
    xen.snapshots.register(`disk${suffix}`, 1, this.disk);
    xen.snapshots.register(`vbd${suffix}`, 1, this.vbd);
    this.vbd.plug();
    xen.settle();
  }
}

/** Sectors that begin with their own number. */
export function numbered(): Uint8Array {
  return Uint8Array.from({ length: SECTORS * 512 }, (_, at) => (at % 512 === 0 ? at >> 9 : (at * 31) & 0xff));
}

export interface Reply {
  readonly id: bigint;
  readonly operation: number;
  readonly status: number;
}

/** What a front end's ring is like: 2 to the power of `order` pages, indices that begin at `start`. */
export interface RingShape {
  readonly order?: number;
  readonly start?: number;
  readonly persistent?: boolean;
}

export type SegmentWords = readonly [ref: number, first: number, last: number];

export class BlockFront {
  readonly machine: BlockMachine;
  readonly protocol: ProtocolName;
  readonly #ring: Required<RingShape>;
  readonly slots: number;
  port = 0;
  produced = 0;
  consumed = 0;

  constructor(machine: BlockMachine, protocol: ProtocolName = "x86_32-abi", ring: RingShape = {}) {
    this.machine = machine;
    this.protocol = protocol;
    this.#ring = { order: 0, start: 0, persistent: false, ...ring };
    this.slots = 32 << this.#ring.order;
  }

  get #guest() {
    return this.machine.store.guest;
  }

  get backState(): number {
    return Number(this.machine.xen.xenstore.client().read(`${this.machine.back}/state`));
  }

  write(name: string, value: string | number): void {
    const answer = this.machine.store.ask(XS.WRITE, `${FRONT}/${name}\0${value}`);
    if (answer !== "OK\0") throw new Error(answer);
  }

  /** Makes a new ring, offers it and waits for the back end. */
  connect(state = 3): this {
    this.prepare();
    this.write("state", state);
    this.machine.xen.settle();
    return this;
  }

  /** Makes a new ring and writes where it is. */
  prepare(): void {
    const { order, start, persistent } = this.#ring;
    for (let page = 0; page < 1 << order; page++) {
      const gfn = page === 0 ? RING_GFN : MORE_RING_GFN + page - 1;
      const ref = page === 0 ? RING_REF : MORE_RING_REF + page;
      this.#guest.write(gfn, 0, new Uint8Array(4096));
      this.#guest.grant(ref, 0, gfn, PERMIT);
      if (order > 0) this.write(`ring-ref${page}`, ref);
    }
    if (order === 0) this.write("ring-ref", RING_REF);
    else this.write("ring-page-order", order);
    if (persistent) this.write("feature-persistent", 1);
    for (const index of ["req_prod", "rsp_prod"] as const) this.setIndex(index, start);
    for (const index of ["req_event", "rsp_event"] as const) this.setIndex(index, start + 1);
    this.produced = start;
    this.consumed = start;
    this.port = this.#guest.domain.events.allocUnbound(0);
    this.write("event-channel", this.port);
    this.write("protocol", this.protocol);
  }

  /** Calls back for each part of the ring's bytes that lies in one page. */
  #eachPart(at: number, length: number, visit: (gfn: number, offset: number, from: number, length: number) => void) {
    for (let done = 0; done < length; ) {
      const page = Math.floor((at + done) / 4096);
      const offset = (at + done) % 4096;
      const part = Math.min(length - done, 4096 - offset);
      visit(page === 0 ? RING_GFN : MORE_RING_GFN + page - 1, offset, done, part);
      done += part;
    }
  }

  #slot(index: number): number {
    return 64 + (index & (this.slots - 1)) * SLOTS[this.protocol].size;
  }

  /** Writes into the ring's bytes. */
  poke(at: number, bytes: Uint8Array): void {
    this.#eachPart(at, bytes.length, (gfn, offset, from, length) =>
      this.#guest.write(gfn, offset, bytes.subarray(from, from + length)),
    );
  }

  peek(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#eachPart(at, length, (gfn, offset, from, part) => bytes.set(this.#guest.read(gfn, offset, part), from));
    return bytes;
  }

  /** What the slot of an index holds. */
  slot(index: number): Uint8Array {
    return this.peek(this.#slot(index), SLOTS[this.protocol].size);
  }

  index(name: keyof typeof INDICES): number {
    return this.#guest.load32(RING_GFN, INDICES[name]);
  }

  setIndex(name: keyof typeof INDICES, value: number): void {
    this.#guest.store32(RING_GFN, INDICES[name], value >>> 0);
  }

  /** Grants data page `number`; the reference. */
  page(number: number, readOnly = false): number {
    this.#guest.grant(DATA_REF + number, 0, DATA_GFN + number, PERMIT | (readOnly ? READ_ONLY : 0));
    return DATA_REF + number;
  }

  data(number: number, from = 0, length = 4096): Uint8Array {
    return this.#guest.read(DATA_GFN + number, from, length);
  }

  fill(number: number, bytes: Uint8Array): void {
    this.#guest.write(DATA_GFN + number, 0, bytes);
  }

  /** Writes a request into the next slot. */
  put(
    operation: number,
    id: bigint,
    sector: number | bigint,
    segments: readonly SegmentWords[] = [],
    count = segments.length,
  ): void {
    const layout = SLOTS[this.protocol];
    const slot = new Uint8Array(layout.size).fill(0xee);
    const view = new DataView(slot.buffer);
    view.setUint8(0, operation);
    view.setUint8(1, count);
    view.setUint16(2, 51712, true);
    view.setBigUint64(layout.id, id, true);
    view.setBigUint64(layout.sector, BigInt(sector), true);
    for (const [index, [ref, first, last]] of segments.slice(0, 11).entries()) {
      view.setUint32(layout.segments + 8 * index, ref, true);
      view.setUint8(layout.segments + 8 * index + 4, first);
      view.setUint8(layout.segments + 8 * index + 5, last);
    }
    this.poke(this.#slot(this.produced), slot);
    this.produced = (this.produced + 1) >>> 0;
  }

  /** Writes a request whose segments stand in data pages of their own; the grants of those pages. */
  putIndirect(
    operation: number,
    id: bigint,
    sector: number | bigint,
    segments: readonly SegmentWords[],
    refs: readonly number[],
    count = segments.length,
  ): void {
    const layout = SLOTS[this.protocol];
    for (const [page, ref] of refs.entries()) {
      const part = segments.slice(512 * page, 512 * (page + 1));
      const bytes = new Uint8Array(4096);
      const view = new DataView(bytes.buffer);
      for (const [index, [gref, first, last]] of part.entries()) {
        view.setUint32(8 * index, gref, true);
        bytes.set([first, last], 8 * index + 4);
      }
      this.fill(ref - DATA_REF, bytes);
    }
    this.put(6, id, sector, []);
    const slot = this.slot(this.produced - 1);
    const view = new DataView(slot.buffer);
    view.setUint8(1, operation);
    view.setUint16(2, count, true);
    for (const [page, ref] of refs.entries()) view.setUint32(layout.indirect + 4 * page, ref, true);
    this.poke(this.#slot(this.produced - 1), slot);
  }

  /** A discard has its length where segments would be. */
  putDiscard(id: bigint, sector: number | bigint, count: number | bigint): void {
    const layout = SLOTS[this.protocol];
    this.put(5, id, sector);
    const length = new DataView(new ArrayBuffer(8));
    length.setBigUint64(0, BigInt(count), true);
    this.poke(this.#slot(this.produced - 1) + layout.segments, new Uint8Array(length.buffer));
  }

  /** Publishes what was put, and notifies the back end. */
  push(): void {
    this.setIndex("req_prod", this.produced);
    this.#guest.send(this.port);
  }

  /** Takes the responses that are there. */
  take(): Reply[] {
    const layout = SLOTS[this.protocol];
    const replies: Reply[] = [];
    const end = this.index("rsp_prod");
    if ((end - this.consumed) >>> 0 > this.slots) throw new Error(`rsp_prod went from ${this.consumed} to ${end}`);
    for (; this.consumed !== end; this.consumed = (this.consumed + 1) >>> 0) {
      const bytes = this.peek(this.#slot(this.consumed), layout.response);
      const view = new DataView(bytes.buffer);
      replies.push({ id: view.getBigUint64(0, true), operation: bytes[8] ?? 0, status: view.getInt16(10, true) });
    }
    this.setIndex("rsp_event", this.consumed + 1);
    return replies;
  }

  /** Puts one request and waits for its response's status; anything else than one response is an error. */
  ask(operation: number, sector: number | bigint, segments: readonly SegmentWords[] = [], count?: number): number {
    const id = BigInt(this.produced) + 0x1_0000_0000n;
    this.put(operation, id, sector, segments, count);
    return this.#answered(operation, id);
  }

  discard(sector: number | bigint, count: number | bigint): number {
    const id = BigInt(this.produced) + 0x1_0000_0000n;
    this.putDiscard(id, sector, count);
    return this.#answered(5, id);
  }

  /** As `ask`, with the segments in page `page`; the response names what was done. */
  askIndirect(operation: number, sector: number | bigint, segments: readonly SegmentWords[], page: number): number {
    const id = BigInt(this.produced) + 0x1_0000_0000n;
    this.putIndirect(operation, id, sector, segments, [this.page(page)]);
    return this.#answered(operation, id);
  }

  #answered(operation: number, id: bigint): number {
    this.push();
    this.machine.xen.settle();
    const [reply, ...others] = this.take();
    if (reply === undefined || others.length > 0) throw new Error(`${1 + others.length} responses to one request`);
    if (reply.id !== id || reply.operation !== operation) throw new Error(`response to ${reply.id}, asked ${id}`);
    return reply.status;
  }
}

const INDICES = { req_prod: 0, req_event: 4, rsp_prod: 8, rsp_event: 12 } as const;

/** A front end that is connected to a back end. */
export function connected(protocol?: ProtocolName, options?: BlockOptions, ring?: RingShape): BlockFront {
  return new BlockFront(new BlockMachine(options), protocol, ring).connect();
}

/** Pages of the guest that the control domain has mapped. */
export function mappings({ machine }: BlockFront): number {
  return machine.xen.hypervisor.serviceDomain(0).save().mappings.entries.length;
}

/** The store's ring, the console and a block ring of one page. */
export const IDLE_MAPPINGS = 3;
