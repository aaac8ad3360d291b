// Part: the allocator of host-physical frames, Xen's heap. Frames are handed out zeroed, the lowest unused or the last freed first.
// Frame 0 is never handed out, so 0 can mean "none". Not modelled: NUMA nodes, zones, orders above 0.

import { InputError } from "../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";

export interface FrameAllocatorState {
  /** The first frame that was never handed out. */
  next: number;
  freed: number[];
  holds: { frame: number; count: number }[];
  /** Freed while held. */
  dying: number[];
}

const ZEROS = new Uint8Array(PAGE_SIZE);

export class FrameAllocator implements Snapshotable<FrameAllocatorState> {
  readonly #memory: GuestMemory;
  #next = 1;
  #freed: number[] = [];
  readonly #holds = new Map<number, number>();
  readonly #dying = new Set<number>();

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Frames that can still be handed out. */
  get available(): number {
    return (this.#memory.size >>> PAGE_SHIFT) - this.#next + this.#freed.length;
  }

  /** A zeroed frame's number, undefined when memory has run out. */
  allocate(): number | undefined {
    const frame = this.#freed.pop();
    if (frame !== undefined) {
      this.#memory.write(frame << PAGE_SHIFT, ZEROS);
      return frame;
    }
    if (this.#next >= this.#memory.size >>> PAGE_SHIFT) return undefined;
    return this.#next++;
  }

  /** Gives a frame back; one that is held stays allocated until the last holder releases it. */
  free(frame: number): void {
    if (this.#holds.has(frame)) this.#dying.add(frame);
    else this.#freed.push(frame);
  }

  /** Keeps a frame from being reused while somebody besides its owner uses it (a granted page, a vcpu_info). */
  hold(frame: number): void {
    this.#holds.set(frame, (this.#holds.get(frame) ?? 0) + 1);
  }

  release(frame: number): void {
    const count = this.#holds.get(frame) ?? 0;
    if (count > 1) {
      this.#holds.set(frame, count - 1);
      return;
    }
    this.#holds.delete(frame);
    if (this.#dying.delete(frame)) this.#freed.push(frame);
  }

  save(): FrameAllocatorState {
    const holds = [...this.#holds].map(([frame, count]) => ({ frame, count }));
    return { next: this.#next, freed: [...this.#freed], holds, dying: [...this.#dying] };
  }

  load(state: FrameAllocatorState): void {
    const frames = this.#memory.size >>> PAGE_SHIFT;
    const fits = (frame: number) => Number.isInteger(frame) && frame >= 1 && frame < state.next;
    if (!Number.isInteger(state.next) || state.next < 1 || state.next > frames || !state.freed.every(fits)) {
      throw new InputError("frames outside of memory", "snapshot of the frame allocator");
    }
    this.#next = state.next;
    this.#freed = [...state.freed];
    this.#holds.clear();
    for (const { frame, count } of state.holds) this.#holds.set(frame, count);
    this.#dying.clear();
    for (const frame of state.dying) this.#dying.add(frame);
  }
}
