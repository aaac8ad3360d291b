// Part: one of an interface's two rings as its back end has it, with an observer that tells the trace what either side published: a request
// as the front end published it and as it was fetched, a response as it was published and as it was taken.

import type { GrantMapping } from "../../xen/backend-host.ts";
import { SharedRing, type SharedRingOptions, type SharedRingState } from "../split/ring.ts";
import { slotsBetween } from "../split/sring.ts";

const FRONT = 0;
const BACK = 1;

/** Tells the trace what a slot holds; side 0 is the front end's. */
export type Tell = (side: number, index: number, slot: Uint8Array) => void;

export interface VifRingOptions extends Omit<SharedRingOptions, "pages"> {
  readonly page: GrantMapping;
  readonly request: Tell;
  readonly response: Tell;
}

export interface VifRingState {
  mapping: number;
  port: number;
  shared: SharedRingState;
  seen: number;
  taken: number;
  recent: Uint8Array[];
}

export class VifRing {
  readonly #options: VifRingOptions;
  readonly #shared: SharedRing;
  /** The producer's index that was last found good. */
  #seen: number;
  /** Responses that the front end has taken, as told to the trace. */
  #taken: number;
  /** The last response written to each slot, for the trace; empty before the first. */
  readonly #recent: Uint8Array[];

  constructor(options: VifRingOptions, state?: VifRingState) {
    this.#options = options;
    this.#shared = new SharedRing({ ...options, pages: [options.page] }, state?.shared);
    const start = this.#shared.consumed;
    this.#seen = state?.seen ?? start;
    this.#taken = state?.taken ?? start;
    const nothing = new Uint8Array(0);
    this.#recent =
      state?.recent.map((slot) => slot.slice()) ?? Array.from({ length: this.#shared.size }, () => nothing);
  }

  get port(): number {
    return this.#options.port;
  }

  /** Requests known to wait, without a look at the front end's index. */
  get known(): number {
    return slotsBetween(this.#shared.consumed, this.#seen);
  }

  /** Requests that wait, by a look at the front end's index; −1 when it is nonsense: nothing may be believed any more. */
  waiting(): number {
    this.#noteTaken();
    const count = this.#shared.requests();
    if (count < this.known) return -1;
    const end = (this.#shared.consumed + count) >>> 0;
    for (; this.#seen !== end; this.#seen = (this.#seen + 1) >>> 0) {
      this.#options.request(FRONT, this.#seen, this.#shared.copySlot(this.#seen));
    }
    return count;
  }

  /** A copy of the next request that is known to wait; its slot is not looked at again. */
  fetch(): Uint8Array {
    const index = this.#shared.consumed;
    const slot = this.#shared.copySlot(index);
    this.#shared.consume();
    this.#options.request(BACK, index, slot);
    return slot;
  }

  /** Asks to be notified of the first request behind those known. */
  listen(): void {
    this.#shared.listen(this.known + 1);
  }

  /** Writes a response; the front end sees it after `push`. */
  respond(response: Uint8Array): void {
    const index = this.#shared.produced;
    this.#shared.respond(response);
    this.#recent[index & (this.#shared.size - 1)] = response;
    this.#options.response(BACK, index, response);
  }

  push(): void {
    this.#shared.push();
  }

  unmap(): void {
    this.#options.page.unmap();
  }

  /** A front end that waits for the next response has taken those before it (RING_FINAL_CHECK_FOR_RESPONSES). */
  #noteTaken(): void {
    const { size, published } = this.#shared;
    const next = (this.#shared.peek("rsp_event") - 1) >>> 0;
    if (slotsBetween(this.#taken, next) > slotsBetween(this.#taken, published)) return;
    // Of one that has not said so for long, the last responses are told.
    if (slotsBetween(this.#taken, published) > size) this.#taken = (published - size) >>> 0;
    for (; slotsBetween(this.#taken, next) <= size && this.#taken !== next; this.#taken = (this.#taken + 1) >>> 0) {
      this.#options.response(FRONT, this.#taken, this.#recent[this.#taken & (size - 1)]!);
    }
  }

  save(): VifRingState {
    return {
      mapping: this.#options.page.handle,
      port: this.#options.port,
      shared: this.#shared.save(),
      seen: this.#seen,
      taken: this.#taken,
      recent: this.#recent.map((slot) => slot.slice()),
    };
  }
}
