// Part: from the guest to the cable (io/netif.h, "Guest transmit"): packets out of the transmit ring, as frames onto the cable. A packet's
// data are copied out of its grants when it is taken, so it is answered at once. The ring waits while the cable has no room, or the rate limit
// allows no more.

import type { Alarm } from "../../core/clock.ts";
import { assert } from "../../core/errors.ts";
import { FCS_SIZE, HEADER_SIZE, MIN_FRAME, withCheckSequence } from "../net/ethernet.ts";
import type { Port } from "../net/port.ts";
import type { ObservedRing } from "../split/observed-ring.ts";
import { nextRequest, type VifContext } from "./context.ts";
import { Credit, type CreditState, type Rate } from "./credit.ts";
import { fillChecksum, segment } from "./offload.ts";
import { gather, isMulticastEntry, type Packet } from "./packet.ts";
import { EXTRA, type ExtraInfo, encodeTxResponse, gsoOf, RING_SIZE, RSP, TXF } from "./protocol.ts";

/** XEN_NETBK_MCAST_MAX: addresses in an interface's filter. */
const MAX_MULTICAST = 64;

export interface TransmitterOptions {
  readonly context: VifContext;
  readonly port: Port;
  readonly rate?: Rate | undefined;
}

export interface TransmitterState {
  outgoing: Uint8Array[];
  credit: CreditState | null;
  multicast: string[];
}

export class Transmitter {
  readonly #context: VifContext;
  readonly #port: Port;
  readonly #credit: Credit | undefined;
  readonly #alarm: Alarm;
  #ring: ObservedRing | undefined;
  /** Frames of the last packet that the cable had no room for. */
  #outgoing: Uint8Array[] = [];
  /** Addresses that the front end wants to hear, as six bytes in hexadecimal. */
  readonly #multicast = new Set<string>();

  constructor({ context, port, rate }: TransmitterOptions) {
    this.#context = context;
    this.#port = port;
    this.#credit = rate === undefined ? undefined : new Credit(rate);
    this.#alarm = context.host.clock.alarm(`${context.name} of d${context.frontDomid} credit`, () => this.serve());
  }

  attach(ring: ObservedRing): void {
    this.#ring = ring;
  }

  /** Takes nothing more from the ring; frames that were taken still go out. */
  detach(): void {
    this.#ring = undefined;
    this.#alarm.cancel();
    this.#multicast.clear();
  }

  /** Whether the front end has asked for frames to this multicast address. */
  wants(address: Uint8Array): boolean {
    return this.#multicast.has(text(address));
  }

  /** The cable has room again. */
  cableFree(): void {
    if (this.#outgoing.length === 0) return;
    this.#sendOut();
    if (this.#outgoing.length === 0) this.serve();
  }

  /** Takes the packets that wait, a ring full of them at most. */
  serve(): void {
    const ring = this.#ring;
    const { faults } = this.#context;
    if (ring === undefined) return;
    if (ring.waiting() < 0) {
      if (faults.has("vnif.unchecked-index")) this.#takeUnfilled(ring);
      else this.#context.fatal("impossible number of transmit requests");
      return;
    }
    const next = () => nextRequest(ring);
    while (ring.known > 0 && this.#outgoing.length === 0 && this.#hasCredit()) {
      const packet = gather(next, ring.known, faults);
      if ("fatal" in packet) {
        this.#context.fatal(packet.fatal);
        return;
      }
      this.#credit?.spend(packet.size);
      this.#answer(ring, packet, this.#accept(packet));
      this.#sendOut();
    }
    // No guest runs meanwhile, so there is nothing to look for again (RING_FINAL_CHECK_FOR_REQUESTS).
    if (ring.known === 0) ring.listen();
    ring.push();
  }

  /** The fault of an unchecked index: an endless loop, which is cut off here so that it can be looked at. */
  #takeUnfilled(ring: ObservedRing): void {
    for (let count = 0; count <= RING_SIZE; count++) nextRequest(ring);
  }

  #hasCredit(): boolean {
    const { now } = this.#context.host.clock;
    const readyNs = this.#credit?.readyNs(now) ?? now;
    if (readyNs > now) this.#alarm.set(readyNs);
    return readyNs <= now;
  }

  /** One response a slot: extra-info slots have none of their own, and get NETIF_RSP_NULL. */
  #answer(ring: ObservedRing, { slots, extras }: Packet, status: number): void {
    for (let slot = 0; slot < slots.length; slot++) {
      ring.respond(encodeTxResponse({ id: slots[slot]!.id, status }));
      if (slot > 0) continue;
      for (let extra = 0; extra < extras.length; extra++) ring.respond(encodeTxResponse({ id: 0, status: RSP.NULL }));
    }
  }

  /** Copies a packet and queues its frames; the status of its responses. */
  #accept(packet: Packet): number {
    const { flaw, extras, flags } = packet;
    if (flaw !== undefined) return this.#drop(packet, RSP.ERROR, flaw);
    const entry = extras.length === 0 ? undefined : extras.findLast(isMulticastEntry);
    if (entry !== undefined)
      return this.#filter(entry) ? RSP.OKAY : this.#drop(packet, RSP.ERROR, "multicast filter is full");
    const { faults } = this.#context;
    assert(
      !faults.has("vnif.split-header") || packet.slots[0]!.size >= HEADER_SIZE,
      "the header lies in the first slot",
    );
    const frame = this.#copy(packet);
    if (typeof frame === "string") return this.#drop(packet, RSP.ERROR, frame);
    if ((flags & TXF.csum_blank) !== 0 && !fillChecksum(frame))
      return this.#drop(packet, RSP.ERROR, "blank checksum of no TCP or UDP");
    const gso = extras.length === 0 ? undefined : extras.findLast(({ type }) => type === EXTRA.GSO);
    if (this.#fits(frame)) {
      this.#outgoing.push(withCheckSequence(frame, MIN_FRAME));
      return RSP.OKAY;
    }
    const frames = gso === undefined ? [frame] : segment(frame, gsoOf(gso).size);
    if (frames === undefined)
      return this.#drop(packet, RSP.ERROR, "no TCP packet to be segmented, or into too many parts");
    if (!frames.every((each) => this.#fits(each)))
      return this.#drop(packet, RSP.DROPPED, "longer than the cable takes");
    for (const each of frames) this.#outgoing.push(withCheckSequence(each, MIN_FRAME));
    return RSP.OKAY;
  }

  /** The packet is lost; @returns its responses' status */
  #drop({ size }: Packet, status: number, reason: string): number {
    this.#context.drop(false, size, reason);
    return status;
  }

  /** The packet's bytes, or why there are none. A slot without bytes is not looked at. */
  #copy({ slots }: Packet): Uint8Array | string {
    const { host, frontDomid, faults } = this.#context;
    let length = 0;
    for (const { size } of slots) length += size;
    let frame: Uint8Array | undefined;
    let at = 0;
    for (const { ref, offset, size } of slots) {
      if (size === 0 && !faults.has("vnif.empty-slot")) continue;
      const bytes = host.copyFromGrant(frontDomid, ref, offset, size);
      if (typeof bytes === "number") return `grant ${ref} cannot be copied`;
      if (size === length) return bytes;
      frame ??= new Uint8Array(length);
      frame.set(bytes, at);
      at += size;
    }
    return frame ?? "no bytes";
  }

  #filter({ type, data }: ExtraInfo): boolean {
    const address = text(data);
    if (type === EXTRA.MCAST_DEL) this.#multicast.delete(address);
    else if (this.#multicast.size < MAX_MULTICAST) this.#multicast.add(address);
    else return this.#multicast.has(address);
    return true;
  }

  #fits(frame: Uint8Array): boolean {
    return frame.length + FCS_SIZE <= this.#port.maxFrame;
  }

  #sendOut(): void {
    while (this.#outgoing.length > 0 && this.#port.hasRoom) this.#port.send(this.#outgoing.shift()!);
  }

  save(): TransmitterState {
    return {
      outgoing: this.#outgoing.map((frame) => frame.slice()),
      credit: this.#credit?.save() ?? null,
      multicast: [...this.#multicast],
    };
  }

  load({ outgoing, credit, multicast }: TransmitterState): void {
    this.#outgoing = outgoing.map((frame) => frame.slice());
    if (credit !== null) this.#credit?.load(credit);
    this.#multicast.clear();
    for (const address of multicast) this.#multicast.add(address);
  }
}

function text(address: Uint8Array): string {
  return Array.from(address, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
