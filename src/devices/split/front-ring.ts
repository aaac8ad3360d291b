// Part: a front end's side of one shared ring (xen/include/public/io/ring.h), whatever its slots hold. The ring lies in pages of the front end's
// own, which the back end may write to at any time: its index is fetched once a visit and checked, a response is copied once. Indices run freely
// and wrap at 2^32.

import { PAGE_SHIFT, PAGE_SIZE } from "../../core/memory.ts";
import type { Page } from "../../xen/model/memory.ts";
import { ringSize } from "./ring.ts";
import { SRING, slotsBetween } from "./sring.ts";

export interface FrontRingState {
  req_prod_pvt: number;
  rsp_cons: number;
}

export class FrontRing {
  readonly size: number;
  readonly #pages: readonly Page[];
  readonly #first: Page;
  readonly #slotSize: number;
  /** The last response that was taken, as words and as bytes. */
  readonly #words: Uint32Array;
  readonly #copy: Uint8Array;
  #produced: number;
  #consumed: number;

  /**
   * @param pages zeroed, unless `state` is given
   * @param slotSize bytes of the union of request and response
   * @param start first index; a peer must not care (FRONT_RING_ATTACH)
   */
  constructor(pages: readonly Page[], slotSize: number, start = 0, state?: FrontRingState) {
    this.size = ringSize(pages.length, slotSize);
    this.#pages = pages;
    this.#first = pages[0]!;
    this.#slotSize = slotSize;
    this.#words = new Uint32Array(slotSize / 4);
    this.#copy = new Uint8Array(this.#words.buffer);
    this.#produced = state?.req_prod_pvt ?? start;
    this.#consumed = state?.rsp_cons ?? start;
    if (state !== undefined) return;
    // SHARED_RING_INIT.
    this.#first.store32(SRING.req_prod, start);
    this.#first.store32(SRING.rsp_prod, start);
    this.#first.store32(SRING.req_event, (start + 1) >>> 0);
    this.#first.store32(SRING.rsp_event, (start + 1) >>> 0);
  }

  /** Requests written that have no response yet. */
  get inFlight(): number {
    return slotsBetween(this.#consumed, this.#produced);
  }

  get full(): boolean {
    return this.inFlight >= this.size;
  }

  /** Writes a request into the next slot; the back end sees it after `push`. */
  request(bytes: Uint8Array): void {
    const at = this.#slot(this.#produced);
    const page = at >>> PAGE_SHIFT;
    const offset = at % PAGE_SIZE;
    const inPage = Math.min(bytes.length, PAGE_SIZE - offset);
    if (inPage === bytes.length) this.#pages[page]!.write(offset, bytes);
    else {
      this.#pages[page]!.write(offset, bytes.subarray(0, inPage));
      this.#pages[page + 1]!.write(0, bytes.subarray(inPage));
    }
    this.#produced = (this.#produced + 1) >>> 0;
  }

  /** Publishes the requests written; whether the back end asked to be notified of one of them (RING_PUSH_REQUESTS_AND_CHECK_NOTIFY). */
  push(): boolean {
    const before = this.#first.load32(SRING.req_prod);
    this.#first.store32(SRING.req_prod, this.#produced);
    return slotsBetween(this.#first.load32(SRING.req_event), this.#produced) < slotsBetween(before, this.#produced);
  }

  /** Responses that wait; −1 when the back end's index is nonsense: more responses than there were requests. */
  responses(): number {
    const waiting = slotsBetween(this.#consumed, this.#first.load32(SRING.rsp_prod));
    return waiting > this.inFlight ? -1 : waiting;
  }

  /** Takes the next response, of `length` bytes (whole words): a copy of its slot, of which the rest is not read. The next one overwrites it. */
  take(length: number): Uint8Array {
    const words = this.#words;
    const count = length / 4;
    const at = this.#slot(this.#consumed);
    const page = at >>> PAGE_SHIFT;
    const offset = at % PAGE_SIZE;
    this.#consumed = (this.#consumed + 1) >>> 0;
    const inPage = Math.min(count, (PAGE_SIZE - offset) / 4);
    this.#pages[page]!.loadWords(offset, words, 0, inPage);
    if (inPage < count) this.#pages[page + 1]!.loadWords(0, words, inPage, count - inPage);
    return this.#copy;
  }

  /** Asks to be notified of the next response (RING_FINAL_CHECK_FOR_RESPONSES); no back end runs meanwhile. */
  listen(): void {
    this.#first.store32(SRING.rsp_event, (this.#consumed + 1) >>> 0);
  }

  #slot(index: number): number {
    return SRING.slots + (index & (this.size - 1)) * this.#slotSize;
  }

  save(): FrontRingState {
    return { req_prod_pvt: this.#produced, rsp_cons: this.#consumed };
  }
}
