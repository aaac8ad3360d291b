// Part: the back end's side of one shared ring (xen/include/public/io/ring.h), whatever its slots hold: indices, slots, notifications by the event
// thresholds. Indices run freely and wrap at 2^32. Every read of a shared index is one fetch and one event of the trace; slots are handed out as
// copies, and who asks for one twice has fetched it twice. The ring lies in one granted page or in several, one behind the other.

import { PAGE_SHIFT, PAGE_SIZE } from "../../core/memory.ts";
import type { DomainServices, GrantMapping } from "../../xen/backend-host.ts";
import { SRING, slotsBetween } from "./sring.ts";

/** __RING_SIZE: slots of a ring in so many pages, rounded down to a power of two. */
export function ringSize(pages: number, slotSize: number): number {
  return 2 ** (31 - Math.clz32((pages * PAGE_SIZE - SRING.slots) / slotSize));
}

/** The back end's private copies of its indices. */
export interface SharedRingState {
  req_cons: number;
  rsp_prod_pvt: number;
  rsp_prod: number;
}

export interface SharedRingOptions {
  readonly host: DomainServices;
  readonly frontDomid: number;
  /** For the trace: `vbd/51712`, `vif/0 tx`. */
  readonly name: string;
  readonly pages: readonly GrantMapping[];
  /** Bytes of a slot: of the union of request and response. */
  readonly slotSize: number;
  /** The back end's local port. */
  readonly port: number;
}

export class SharedRing {
  readonly size: number;
  readonly #options: SharedRingOptions;
  readonly #first: GrantMapping;
  /** The last slot that was copied, as words and as bytes. */
  readonly #words: Uint32Array;
  readonly #copy: Uint8Array;
  #consumed: number;
  /** Responses written, and responses that the front end can see (`rsp_prod`). */
  #produced: number;
  #published: number;

  /** @param state after a snapshot was loaded; without it the ring is attached where the front end left it (BACK_RING_ATTACH) */
  constructor(options: SharedRingOptions, state?: SharedRingState) {
    this.#options = options;
    this.#first = options.pages[0]!;
    this.size = ringSize(options.pages.length, options.slotSize);
    this.#words = new Uint32Array(options.slotSize / 4);
    this.#copy = new Uint8Array(this.#words.buffer);
    const start = state?.rsp_prod ?? this.#fetch("rsp_prod");
    this.#published = start;
    this.#consumed = state?.req_cons ?? start;
    this.#produced = state?.rsp_prod_pvt ?? start;
  }

  /** Index of the request that is taken next. */
  get consumed(): number {
    return this.#consumed;
  }

  /** Index of the response that is written next. */
  get produced(): number {
    return this.#produced;
  }

  get published(): number {
    return this.#published;
  }

  /** Requests taken that have no response yet. */
  get inFlight(): number {
    return slotsBetween(this.#produced, this.#consumed);
  }

  /**
   * Fetches `req_prod`.
   * @returns how many requests wait; −1 when the index is nonsense and nothing of the ring may be believed any more: requests and responses
   * share the slots (RING_REQUEST_PROD_OVERFLOW), and an index that went back is caught as well
   */
  requests(): number {
    const waiting = slotsBetween(this.#consumed, this.#fetch("req_prod"));
    return waiting > this.size - this.inFlight ? -1 : waiting;
  }

  /** A copy of a slot, which the next one overwrites. */
  copySlot(index: number): Uint8Array {
    const { pages } = this.#options;
    const words = this.#words;
    const at = this.#slot(index);
    const page = at >>> PAGE_SHIFT;
    const offset = at % PAGE_SIZE;
    // Slots are whole words.
    const inPage = Math.min(words.length, (PAGE_SIZE - offset) / 4);
    pages[page]!.loadWords(offset, words, 0, inPage);
    if (inPage < words.length) pages[page + 1]!.loadWords(0, words, inPage, words.length - inPage);
    return this.#copy;
  }

  /** The request at `consumed` is taken. */
  consume(): void {
    this.#consumed = (this.#consumed + 1) >>> 0;
  }

  /** Writes a whole response; the front end sees it after `push`. */
  respond(bytes: Uint8Array): void {
    const at = this.#slot(this.#produced);
    const page = at >>> PAGE_SHIFT;
    const offset = at % PAGE_SIZE;
    const inPage = Math.min(bytes.length, PAGE_SIZE - offset);
    if (inPage === bytes.length) this.#options.pages[page]!.write(offset, bytes);
    else {
      this.#options.pages[page]!.write(offset, bytes.subarray(0, inPage));
      this.#options.pages[page + 1]!.write(0, bytes.subarray(inPage));
    }
    this.#produced = (this.#produced + 1) >>> 0;
  }

  /** Asks to be notified of the request that comes `ahead` after those taken (RING_FINAL_CHECK_FOR_REQUESTS: 1). No guest runs meanwhile. */
  listen(ahead = 1): void {
    const event = (this.#consumed + ahead) >>> 0;
    this.#first.store32(SRING.req_event, event);
    this.#trace("req_event", true, event);
  }

  /** Publishes the responses written, and notifies the front end if it asked for one of them (RING_PUSH_RESPONSES_AND_CHECK_NOTIFY). */
  push(): void {
    const { host, frontDomid, name, port } = this.#options;
    const before = this.#published;
    if (this.#produced === before) return;
    this.#published = this.#produced;
    this.#first.store32(SRING.rsp_prod, this.#published);
    this.#trace("rsp_prod", true, this.#published);
    const event = this.#fetch("rsp_event");
    const sent = slotsBetween(event, this.#published) < slotsBetween(before, this.#published);
    host.emit({ kind: "ring-notify", at: host.clock.now, domain: frontDomid, ring: name, sent });
    if (sent) host.notify(port);
  }

  /** What a trace's observer may look at without the back end having fetched it. */
  peek(index: "rsp_event"): number {
    return this.#first.load32(SRING[index]);
  }

  #slot(index: number): number {
    return SRING.slots + (index & (this.size - 1)) * this.#options.slotSize;
  }

  #fetch(index: "req_prod" | "rsp_prod" | "rsp_event"): number {
    const value = this.#first.load32(SRING[index]);
    this.#trace(index, false, value);
    return value;
  }

  #trace(index: string, update: boolean, value: number): void {
    const { host, frontDomid, name } = this.#options;
    host.emit({ kind: "ring-index", at: host.clock.now, domain: frontDomid, ring: name, index, update, value });
  }

  save(): SharedRingState {
    return { req_cons: this.#consumed, rsp_prod_pvt: this.#produced, rsp_prod: this.#published };
  }
}
