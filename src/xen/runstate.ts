// Part: what a vCPU has spent its time with (vcpu.h, vcpu_runstate_info), and the copy of it in the guest's memory, which a guest reads as its
// stolen and idle time. As in Xen the copy is brought up to date each time the vCPU gets the processor, so that it always says "running".
// The address is translated when it is registered: Xen keeps the virtual one, and a guest that changed its tables under it would get nothing.

import type { GuestMemory } from "../core/memory.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import { VCPU_H as V } from "./abi/constants.ts";
import { VCPU_RUNSTATE_INFO } from "./abi/structures.ts";
import type { P2m } from "./p2m.ts";

const INFO = VCPU_RUNSTATE_INFO.layouts.x86_32;
export const RUNSTATE_SIZE: number = INFO.size;

export interface RunstateState {
  state: number;
  since: number;
  times: number[];
  area: number[];
}

export class Runstate {
  readonly #clock: { readonly now: number };
  /** RUNSTATE_ */
  #state: number = V.RUNSTATE_runnable;
  /** System time when the state was entered, nanoseconds. */
  #since: number;
  /** Nanoseconds in each state, without what passes in the present one. */
  #times = [0, 0, 0, 0];
  /** Guest-physical addresses of the copy: of its first byte, and of the second page's if it lies in two; empty without a copy. */
  #area: number[] = [];

  constructor(clock: { readonly now: number }) {
    this.#clock = clock;
    this.#since = clock.now;
  }

  /** True when it is another state than before. */
  change(state: number): boolean {
    if (state === this.#state) return false;
    const { now } = this.#clock;
    this.#times[this.#state]! += now - this.#since;
    this.#state = state;
    this.#since = now;
    return true;
  }

  /** vcpu_runstate_info as it is now. */
  info(): Uint8Array {
    const { now } = this.#clock;
    const bytes = new Uint8Array(INFO.size);
    const view = new DataView(bytes.buffer);
    view.setInt32(INFO.offset.state, this.#state, true);
    view.setBigUint64(INFO.offset.state_entry_time, BigInt(this.#since), true);
    for (const [state, time] of this.#times.entries()) {
      const spent = state === this.#state ? time + now - this.#since : time;
      view.setBigUint64(INFO.offset.time + 8 * state, BigInt(spent), true);
    }
    return bytes;
  }

  /** @param area guest-physical addresses of the first byte and, if the structure crosses a page, of the second page */
  register(area: readonly number[]): void {
    this.#area = [...area];
  }

  /** Brings the guest's copy up to date; nothing where the guest has no such page any more. */
  publish(memory: GuestMemory, p2m: P2m): void {
    const [first, second] = this.#area;
    if (first === undefined) return;
    const bytes = this.info();
    const inFirst = Math.min(bytes.length, PAGE_SIZE - (first % PAGE_SIZE));
    write(memory, p2m, first, bytes.subarray(0, inFirst));
    if (second !== undefined) write(memory, p2m, second, bytes.subarray(inFirst));
  }

  save(): RunstateState {
    return { state: this.#state, since: this.#since, times: [...this.#times], area: [...this.#area] };
  }

  load(state: RunstateState): void {
    this.#state = state.state;
    this.#since = state.since;
    this.#times = [...state.times];
    this.#area = [...state.area];
  }
}

function write(memory: GuestMemory, p2m: P2m, address: number, bytes: Uint8Array): void {
  const gfn = address >>> PAGE_SHIFT;
  const frame = p2m.writable(gfn) ? p2m.frameOf(gfn) : -1;
  if (frame >= 0) memory.write((frame << PAGE_SHIFT) + (address % PAGE_SIZE), bytes);
}
