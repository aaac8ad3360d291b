// Part: a shared ring with an observer, who tells the trace what either side published: a request as the front end published it and as the
// back end fetched it, a response as the back end published it and as the front end took it. What the observer looks at, the back end has not
// fetched. Every copy of a slot that the back end takes is told as a fetch: a slot that is fetched twice is seen twice.

import { SharedRing, type SharedRingOptions, type SharedRingState } from "./ring.ts";
import { slotsBetween } from "./sring.ts";

const FRONT = 0;
const BACK = 1;

/** Tells the trace what a slot holds; side 0 is the front end's. The slot is a copy that is overwritten afterwards. */
export type Tell = (side: number, index: number, slot: Uint8Array) => void;

export interface ObservedRingOptions extends SharedRingOptions {
  readonly request: Tell;
  readonly response: Tell;
}

export interface ObservedRingState {
  shared: SharedRingState;
  seen: number;
  taken: number;
  /** By slot; empty before its first response. */
  recent: Uint8Array[];
}

export class ObservedRing {
  readonly #shared: SharedRing;
  readonly #tellRequest: Tell;
  readonly #tellResponse: Tell;
  /** The producer's index that was last found good. */
  #seen: number;
  /** Responses that the front end has taken, as told to the trace. */
  #taken: number;
  /** The last response written to each slot. */
  readonly #recent: Uint8Array[];

  constructor(options: ObservedRingOptions, state?: ObservedRingState) {
    this.#tellRequest = options.request;
    this.#tellResponse = options.response;
    this.#shared = new SharedRing(options, state?.shared);
    const start = this.#shared.consumed;
    this.#seen = state?.seen ?? start;
    this.#taken = state?.taken ?? start;
    const nothing = new Uint8Array(0);
    this.#recent =
      state?.recent.map((slot) => slot.slice()) ?? Array.from({ length: this.#shared.size }, () => nothing);
  }

  get size(): number {
    return this.#shared.size;
  }

  /** Index of the request that is fetched next. */
  get consumed(): number {
    return this.#shared.consumed;
  }

  /** Requests taken that have no response yet. */
  get inFlight(): number {
    return this.#shared.inFlight;
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
      this.#tellRequest(FRONT, this.#seen, this.#shared.copySlot(this.#seen));
    }
    return count;
  }

  /** A copy of the request at an index, which the next one overwrites. */
  fetch(index: number): Uint8Array {
    const slot = this.#shared.copySlot(index);
    this.#tellRequest(BACK, index, slot);
    return slot;
  }

  /** The request at `consumed` is taken. */
  consume(): void {
    this.#shared.consume();
  }

  /** Asks to be notified of the first request behind those known. */
  listen(): void {
    this.#shared.listen(this.known + 1);
  }

  /** Writes a response, of which a copy is kept; the front end sees it after `push`. */
  respond(response: Uint8Array): void {
    const index = this.#shared.produced;
    this.#shared.respond(response);
    const recent = this.#recent[index & (this.#shared.size - 1)]!;
    if (recent.length === response.length) recent.set(response);
    else this.#recent[index & (this.#shared.size - 1)] = response.slice();
    this.#tellResponse(BACK, index, response);
  }

  /** Publishes the responses written, and notifies the front end if it asked for one of them. */
  push(): void {
    this.#shared.push();
  }

  /** A front end that waits for the next response has taken those before it (RING_FINAL_CHECK_FOR_RESPONSES). */
  #noteTaken(): void {
    const { size, published } = this.#shared;
    const next = (this.#shared.peek("rsp_event") - 1) >>> 0;
    if (slotsBetween(this.#taken, next) > slotsBetween(this.#taken, published)) return;
    // Of a front end that has not said so for long, the last responses are told.
    if (slotsBetween(this.#taken, published) > size) this.#taken = (published - size) >>> 0;
    for (; slotsBetween(this.#taken, next) <= size && this.#taken !== next; this.#taken = (this.#taken + 1) >>> 0) {
      this.#tellResponse(FRONT, this.#taken, this.#recent[this.#taken & (size - 1)]!);
    }
  }

  save(): ObservedRingState {
    return {
      shared: this.#shared.save(),
      seen: this.#seen,
      taken: this.#taken,
      recent: this.#recent.map((slot) => slot.slice()),
    };
  }
}
