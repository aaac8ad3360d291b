// Part: from the cable to the guest (io/netif.h, "Guest receive"): frames are copied into the pages that the front end has posted, one slot a
// page. A frame that finds too few slots waits, as in xen-netback, and is dropped when it has waited for too long.

import type { Alarm } from "../../core/clock.ts";
import { PAGE_SIZE } from "../../core/memory.ts";
import { type Nanoseconds, NS_PER_MS } from "../../core/units.ts";
import type { ObservedRing } from "../split/observed-ring.ts";
import { nextRequest, type VifContext } from "./context.ts";
import { isValidated } from "./offload.ts";
import { decodeRxRequest, encodeRxResponse, RING_SIZE, RSP, RXF } from "./protocol.ts";

/** rx_drain_timeout_msecs; 30 ms for a front end that does not tell when it posts slots (no feature-rx-notify). */
const DRAIN_NS = 10_000 * NS_PER_MS;
const DRAIN_WITHOUT_NOTIFY_NS = 30 * NS_PER_MS;
/** Frames that wait for slots: what the whole ring would take. */
const MAX_QUEUED = RING_SIZE;

/** What the front end said of itself when it connected. */
export interface ReceiverFeatures {
  /** feature-rx-notify. */
  notifies: boolean;
  /** feature-sg: a frame may take several slots. */
  gathers: boolean;
  /** No feature-no-csum-offload: it reads NETRXF_data_validated. */
  offload: boolean;
}

export interface ReceiverState {
  features: ReceiverFeatures;
  queue: { frame: Uint8Array; dueNs: Nanoseconds }[];
}

export class Receiver {
  readonly #context: VifContext;
  readonly #alarm: Alarm;
  #ring: ObservedRing | undefined;
  #features: ReceiverFeatures = { notifies: false, gathers: false, offload: false };
  /** Frames without check sequence, and when they are given up. */
  #queue: { frame: Uint8Array; dueNs: Nanoseconds }[] = [];

  constructor(context: VifContext) {
    this.#context = context;
    this.#alarm = context.host.clock.alarm(`${context.name} of d${context.frontDomid} drain`, () => this.#drain());
  }

  attach(ring: ObservedRing, features: ReceiverFeatures): void {
    this.#ring = ring;
    this.#features = features;
  }

  detach(): void {
    this.#ring = undefined;
    this.#alarm.cancel();
    for (const { frame } of this.#queue.splice(0)) this.#context.drop(true, frame.length, "interface closed");
  }

  /** @param frame without check sequence */
  take(frame: Uint8Array): void {
    const { host } = this.#context;
    if (this.#ring === undefined) this.#context.drop(true, frame.length, "no carrier");
    else if (frame.length > PAGE_SIZE && !this.#features.gathers)
      this.#context.drop(true, frame.length, "longer than a page, and no feature-sg");
    else if (this.#queue.length >= MAX_QUEUED) this.#context.drop(true, frame.length, "queue full");
    else {
      const patienceNs = this.#features.notifies ? DRAIN_NS : DRAIN_WITHOUT_NOTIFY_NS;
      this.#queue.push({ frame, dueNs: host.clock.now + patienceNs });
      this.serve();
    }
  }

  /** Copies the frames that there are slots for. */
  serve(): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const needed = Math.ceil(next.frame.length / PAGE_SIZE);
      if (ring.known < needed && ring.waiting() < 0) {
        this.#context.fatal("impossible number of receive requests");
        return;
      }
      if (ring.known < needed) {
        ring.listen();
        break;
      }
      this.#queue.shift();
      this.#deliver(ring, next.frame);
    }
    ring.push();
    this.#arm();
  }

  #deliver(ring: ObservedRing, frame: Uint8Array): void {
    const { host, frontDomid } = this.#context;
    const validated = this.#features.offload && isValidated(frame) ? RXF.data_validated : 0;
    for (let from = 0; from < frame.length; from += PAGE_SIZE) {
      const part = frame.subarray(from, from + PAGE_SIZE);
      const { id, ref } = decodeRxRequest(nextRequest(ring));
      const copied = host.copyToGrant(frontDomid, ref, 0, part);
      if (copied < 0) this.#context.drop(true, part.length, `grant ${ref} cannot be copied to`);
      const more = from + PAGE_SIZE < frame.length ? RXF.more_data : 0;
      const flags = (from === 0 ? validated : 0) | more;
      ring.respond(encodeRxResponse({ id, offset: 0, flags, status: copied < 0 ? RSP.ERROR : part.length }));
    }
  }

  /** The frame that has waited longest is due. */
  #drain(): void {
    this.serve();
    const { now } = this.#context.host.clock;
    for (let next = this.#queue[0]; next !== undefined && next.dueNs <= now; next = this.#queue[0]) {
      this.#queue.shift();
      this.#context.drop(true, next.frame.length, "no slots posted");
    }
    this.#arm();
  }

  #arm(): void {
    const next = this.#queue[0];
    if (next === undefined) this.#alarm.cancel();
    else this.#alarm.set(next.dueNs);
  }

  save(): ReceiverState {
    return {
      features: { ...this.#features },
      queue: this.#queue.map(({ frame, dueNs }) => ({ frame: frame.slice(), dueNs })),
    };
  }

  load({ features, queue }: ReceiverState): void {
    this.#features = { ...features };
    this.#queue = queue.map(({ frame, dueNs }) => ({ frame: frame.slice(), dueNs }));
  }
}
