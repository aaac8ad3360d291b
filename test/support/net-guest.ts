// A network front end on a guest's own memory: a machine with one guest, its interfaces each on a cable to a station that a test plays, and
// the driver that a test plays as well. Offsets and sizes are written down here once more, from io/netif.h.

import { withCheckSequence } from "../../src/devices/net/ethernet.ts";
import { Link } from "../../src/devices/net/link.ts";
import { Port } from "../../src/devices/net/port.ts";
import type { Rate } from "../../src/devices/vnif/credit.ts";
import type { VnifFault } from "../../src/devices/vnif/faults.ts";
import { Vif } from "../../src/devices/vnif/vif.ts";
import { XS } from "../../src/xen/xenstore/wire.ts";
import { StoreGuest } from "./store-guest.ts";
import { XenMachine } from "./xen-machine.ts";

const RINGS = {
  tx: { gfn: 16, ref: 8, slot: 12 },
  rx: { gfn: 17, ref: 9, slot: 8 },
} as const;
const DATA_GFN = 20;
const DATA_REF = 16;
/** Pages that a front end has for data. */
export const PAGES = 40;
const PERMIT = 1;

export const MAC = "00:16:3e:00:00:01";
const INDICES = { req_prod: 0, req_event: 4, rsp_prod: 8, rsp_event: 12 } as const;
type Ring = keyof typeof RINGS;

export interface NetOptions {
  readonly rate?: Rate;
  readonly interfaces?: number;
  readonly bitsPerSecond?: number;
  readonly maxFrame?: number;
  readonly faults?: readonly VnifFault[];
}

/** A station that keeps what it hears. */
interface Peer {
  readonly port: Port;
  /** Frames without their check sequences. */
  readonly heard: Uint8Array[];
}

export class NetMachine {
  readonly xen = new XenMachine();
  readonly store: StoreGuest;
  readonly vifs: Vif[] = [];
  readonly peers: Peer[] = [];

  constructor({ rate, interfaces = 1, bitsPerSecond = 1_000_000_000, maxFrame = 1518, faults = [] }: NetOptions = {}) {
    const { xen } = this;
    const guest = xen.guest("first");
    this.store = new StoreGuest(guest);
    const { clock } = xen;
    const emit = xen.events.push.bind(xen.events);
    for (let device = 0; device < interfaces; device++) {
      const random = (name: string) => xen.random.stream(`${name} ${device}`);
      const options = { bitsPerSecond, latencyNs: 500, fullDuplex: true, maxFrame };
      const link = new Link(`vif ${device}`, { clock, random: random("link"), emit }, options);
      const vif = new Vif(xen.hypervisor.backendHost(xen.xenstore.client()), {
        frontDomid: guest.domid,
        device,
        address: MAC,
        rate,
        medium: link.ends[0],
        random: random("vif"),
        grant: (path, owner, reader) => xen.xenstore.grant(path, owner, reader),
        faults: new Set(faults),
      });
      const heard: Uint8Array[] = [];
      const receive = (frame: Uint8Array) => heard.push(frame.slice(0, -4));
      const port = new Port(`peer ${device}`, { clock, medium: link.ends[1], random: random("peer"), receive });
      xen.snapshots.register(`link ${device}`, 1, link);
      xen.snapshots.register(`vif ${device}`, 1, vif);
      xen.snapshots.register(`peer ${device}`, 1, port);
      this.vifs.push(vif);
      this.peers.push({ port, heard });
      vif.plug();
    }
    xen.settle();
  }

  /** Sends a frame to an interface from its cable's other end. */
  send(frame: Uint8Array, device = 0): void {
    this.peers[device]!.port.send(withCheckSequence(frame));
  }

  heard(device = 0): readonly Uint8Array[] {
    return this.peers[device]!.heard;
  }

  drops(): string[] {
    return this.xen.eventsOf("packet-dropped").map(({ reason }) => reason);
  }

  errors(): string[] {
    return this.xen.eventsOf("xenbus-error").map(({ message }) => message);
  }

  /** Grants that the control domain has mapped. */
  get mappings(): number {
    return this.xen.hypervisor.serviceDomain(0).save().mappings.entries.length;
  }
}

export interface Slot {
  readonly ref: number;
  readonly offset?: number;
  readonly flags?: number;
  readonly id?: number;
  readonly size: number;
}

export interface Received {
  readonly id: number;
  readonly offset: number;
  readonly flags: number;
  readonly status: number;
}

/** Numbers that a front end writes besides its rings. */
export const FEATURES: Readonly<Record<string, number>> = {
  "request-rx-copy": 1,
  "feature-sg": 1,
  "feature-rx-notify": 1,
  "feature-no-csum-offload": 1,
};

export class NetFront {
  readonly machine: NetMachine;
  readonly device: number;
  readonly front: string;
  readonly back: string;
  /** Ports of transmit and receive ring; the same unless they are split. */
  ports = { tx: 0, rx: 0 };
  /** All that it ever had. */
  readonly everyPort = new Set<number>();
  readonly produced = { tx: 0, rx: 0 };
  readonly consumed = { tx: 0, rx: 0 };
  readonly #base: { readonly gfn: number; readonly ref: number };

  constructor(machine: NetMachine, device = 0) {
    this.machine = machine;
    this.device = device;
    this.front = `device/vif/${device}`;
    this.back = `/local/domain/0/backend/vif/1/${device}`;
    // A second interface has its rings elsewhere.
    this.#base = { gfn: device * 2, ref: device * 2 };
  }

  get #guest() {
    return this.machine.store.guest;
  }

  get backState(): number {
    return Number(this.read("state"));
  }

  /** A node of the back end. */
  read(name: string): string | undefined {
    return this.machine.xen.xenstore.client().read(`${this.back}/${name}`);
  }

  write(name: string, value: string | number): void {
    const answer = this.machine.store.ask(XS.WRITE, `${this.front}/${name}\0${value}`);
    if (answer !== "OK\0") throw new Error(answer);
  }

  /** Makes new rings, offers them and waits for the back end. */
  connect(
    options: { readonly start?: number; readonly features?: typeof FEATURES; readonly split?: boolean } = {},
  ): this {
    this.prepare(options);
    this.write("state", 4);
    this.machine.xen.settle();
    return this;
  }

  /** Makes new rings, whose indices begin at `start`, and writes where they are. */
  prepare({ start = 0, features = FEATURES, split = false }: Parameters<NetFront["connect"]>[0] = {}): void {
    const guest = this.#guest;
    for (const ring of ["tx", "rx"] as const) {
      const { ref } = RINGS[ring];
      const gfn = this.#gfn(ring);
      guest.write(gfn, 0, new Uint8Array(4096));
      for (const index of ["req_prod", "rsp_prod"] as const) this.setIndex(ring, index, start);
      for (const index of ["req_event", "rsp_event"] as const) this.setIndex(ring, index, start + 1);
      this.produced[ring] = start;
      this.consumed[ring] = start;
      guest.grant(ref + this.#base.ref, 0, gfn, PERMIT);
      this.write(`${ring}-ring-ref`, ref + this.#base.ref);
    }
    const tx = guest.domain.events.allocUnbound(0);
    this.ports = { tx, rx: split ? guest.domain.events.allocUnbound(0) : tx };
    for (const port of Object.values(this.ports)) this.everyPort.add(port);
    if (split) for (const ring of ["tx", "rx"] as const) this.write(`event-channel-${ring}`, this.ports[ring]);
    else this.write("event-channel", tx);
    for (const [name, value] of Object.entries(features)) this.write(name, value);
  }

  #gfn(ring: Ring): number {
    return RINGS[ring].gfn + this.#base.gfn;
  }

  index(ring: Ring, name: keyof typeof INDICES): number {
    return this.#guest.load32(this.#gfn(ring), INDICES[name]);
  }

  setIndex(ring: Ring, name: keyof typeof INDICES, value: number): void {
    this.#guest.store32(this.#gfn(ring), INDICES[name], value >>> 0);
  }

  /** Grants data page `number`, whose contents are `bytes`; the reference. */
  page(number: number, bytes: Uint8Array = new Uint8Array(0), flags = PERMIT): number {
    this.#guest.grant(DATA_REF + number, 0, DATA_GFN + number, flags);
    this.#guest.write(DATA_GFN + number, 0, bytes);
    return DATA_REF + number;
  }

  data(number: number, length: number): Uint8Array {
    return this.#guest.read(DATA_GFN + number, 0, length);
  }

  /** Any bytes into the next slot. */
  putRaw(ring: Ring, bytes: Uint8Array): void {
    this.#guest.write(this.#gfn(ring), 64 + (this.produced[ring] & 255) * RINGS[ring].slot, bytes);
    this.produced[ring] = (this.produced[ring] + 1) >>> 0;
  }

  put({ ref, offset = 0, flags = 0, id = this.produced.tx & 0xffff, size }: Slot): void {
    const view = new DataView(new ArrayBuffer(12));
    view.setUint32(0, ref, true);
    for (const [index, value] of [offset, flags, id, size].entries()) view.setUint16(4 + 2 * index, value, true);
    this.putRaw("tx", new Uint8Array(view.buffer));
  }

  /** An extra-info slot with what a transmit slot has behind it. */
  putExtra(type: number, data: readonly number[] = [], flags = 0): void {
    const bytes = new Uint8Array(12).fill(0xee);
    bytes.set([type, flags, ...data]);
    this.putRaw("tx", bytes);
  }

  /** Posts data pages as receive buffers. */
  post(from: number, count: number): void {
    for (let number = from; number < from + count; number++) {
      const view = new DataView(new ArrayBuffer(8));
      view.setUint16(0, number, true);
      view.setUint16(2, 0xeeee, true);
      view.setUint32(4, this.page(number), true);
      this.putRaw("rx", new Uint8Array(view.buffer));
    }
    this.push("rx");
  }

  /** Publishes what was put, and notifies the back end. */
  push(ring: Ring = "tx"): void {
    this.setIndex(ring, "req_prod", this.produced[ring]);
    this.#guest.send(this.ports[ring]);
  }

  /** Publishes what was put and lets the back end work; the responses' statuses. */
  statuses(): number[] {
    this.push();
    this.machine.xen.settle();
    return this.sent().map(({ status }) => status);
  }

  /** Sends one frame out of data page 0. */
  send(frame: Uint8Array, flags = 0): void {
    this.put({ ref: this.page(0, frame), size: frame.length, flags });
    this.push();
    this.machine.xen.settle();
  }

  /** Takes the responses in the transmit ring. */
  sent(): { id: number; status: number }[] {
    return this.#take("tx", (view) => ({ id: view.getUint16(0, true), status: view.getInt16(2, true) }));
  }

  /** Takes the responses in the receive ring. */
  received(): Received[] {
    return this.#take("rx", (view) => ({
      id: view.getUint16(0, true),
      offset: view.getUint16(2, true),
      flags: view.getUint16(4, true),
      status: view.getInt16(6, true),
    }));
  }

  #take<T>(ring: Ring, decode: (view: DataView) => T): T[] {
    const end = this.index(ring, "rsp_prod");
    if ((end - this.consumed[ring]) >>> 0 > 256) throw new Error(`rsp_prod went from ${this.consumed[ring]} to ${end}`);
    const taken: T[] = [];
    for (; this.consumed[ring] !== end; this.consumed[ring] = (this.consumed[ring] + 1) >>> 0) {
      const at = 64 + (this.consumed[ring] & 255) * RINGS[ring].slot;
      taken.push(decode(new DataView(this.#guest.read(this.#gfn(ring), at, RINGS[ring].slot).buffer)));
    }
    this.setIndex(ring, "rsp_event", this.consumed[ring] + 1);
    return taken;
  }

  /** Whether a notification of the ring came since the last time. */
  notified(ring: Ring): boolean {
    return this.#guest.takeEvent(this.ports[ring]);
  }
}

/** An Ethernet frame of a type that nobody speaks, `size` bytes long without check sequence. */
export function anyFrame(size: number, first = 0): Uint8Array<ArrayBuffer> {
  const frame = Uint8Array.from({ length: size }, (_, at) => (at * 7 + first) & 0xff);
  frame.set([0x02, 0, 0, 0, 0, 2, 0x00, 0x16, 0x3e, 0, 0, 1, 0x88, 0xb5]);
  return frame;
}
