// Part: the allocator of host-physical frames, Xen's heap. Frames are handed out zeroed, the lowest unused or the last freed first.
// Frame 0 is never handed out, so 0 can mean "none". Not modelled: NUMA nodes, zones, orders above 0.

import { InputError } from "../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";

export interface FrameAllocatorState {
  /** The first frame that was never handed out. */
  next: number;
  freed: number[];
}

const ZEROS = new Uint8Array(PAGE_SIZE);

export class FrameAllocator implements Snapshotable<FrameAllocatorState> {
  readonly #memory: GuestMemory;
  #next = 1;
  #freed: number[] = [];

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

  free(frame: number): void {
    this.#freed.push(frame);
  }

  save(): FrameAllocatorState {
    return { next: this.#next, freed: [...this.#freed] };
  }

  load(state: FrameAllocatorState): void {
    const frames = this.#memory.size >>> PAGE_SHIFT;
    const fits = (frame: number) => Number.isInteger(frame) && frame >= 1 && frame < state.next;
    if (!Number.isInteger(state.next) || state.next < 1 || state.next > frames || !state.freed.every(fits)) {
      throw new InputError("frames outside of memory", "snapshot of the frame allocator");
    }
    this.#next = state.next;
    this.#freed = [...state.freed];
  }
}
