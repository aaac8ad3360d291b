// Part: an interface's rate limit: so many bytes in so many microseconds, as the `rate` node of xl says (xl-network-configuration.5) and
// xen-netback keeps it: bytes that were not used are kept, up to a limit.

import { type Nanoseconds, NS_PER_US } from "../../core/units.ts";

/** What an interface may send at once after it was idle: xen-netback's max_burst. */
const MAX_BURST = 131_072;

export interface Rate {
  readonly bytes: number;
  readonly microseconds: number;
}

export interface CreditState {
  remaining: number;
  /** When the present interval began. */
  sinceNs: Nanoseconds;
}

export class Credit {
  readonly #bytes: number;
  readonly #intervalNs: Nanoseconds;
  #state: CreditState;

  constructor({ bytes, microseconds }: Rate) {
    this.#bytes = bytes;
    this.#intervalNs = microseconds * NS_PER_US;
    this.#state = { remaining: bytes, sinceNs: 0 };
  }

  /** When a packet may be sent: now, or a later time. A packet may take more than there is; the next waits for it. */
  readyNs(now: Nanoseconds): Nanoseconds {
    const { sinceNs } = this.#state;
    const intervals = Math.floor((now - sinceNs) / this.#intervalNs);
    if (intervals > 0) this.#grow(intervals);
    if (this.#state.remaining > 0) return now;
    const missing = Math.floor(-this.#state.remaining / this.#bytes) + 1;
    return this.#state.sinceNs + missing * this.#intervalNs;
  }

  spend(bytes: number): void {
    this.#state.remaining -= bytes;
  }

  #grow(intervals: number): void {
    const state = this.#state;
    const most = Math.max(MAX_BURST, this.#bytes);
    // So many intervals fill it from any depth: the product stays small.
    const useful = Math.min(intervals, Math.ceil((most - state.remaining) / this.#bytes));
    state.remaining = Math.min(state.remaining + useful * this.#bytes, most);
    state.sinceNs += intervals * this.#intervalNs;
  }

  save(): CreditState {
    return { ...this.#state };
  }

  load(state: CreditState): void {
    this.#state = { ...state };
  }
}
