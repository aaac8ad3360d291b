// Part: grant tables, version 1 (grant_table.h). A domain's table is a run of shared frames that the guest fills in; a peer uses an
// entry by mapping it or by a copy of the hypervisor's. Each use is taken from the entry once, checked, and pinned: while pins exist
// the hypervisor keeps GTF_reading and GTF_writing set in the entry. Results are GNTST_ values.
// Not modelled: version 2, transitive and sub-page grants, transfers.

import type { GuestMemory } from "../core/memory.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import { GRANT_TABLE_H as G } from "./abi/constants.ts";
import { GRANT_ENTRY_V1 } from "./abi/structures.ts";
import type { FrameAllocator } from "./frames.ts";

const ENTRY = GRANT_ENTRY_V1.layouts.x86_32;
const ENTRIES_PER_FRAME = PAGE_SIZE / ENTRY.size;

/** xl's default max_grant_frames: 64 frames hold 32,768 grants. */
export const MAX_GRANT_FRAMES = 64;

/** Mappings that one domain may hold; Xen bounds them by max_maptrack_frames. */
const MAX_MAPPINGS = 65_536;

/** A use of an entry: who uses it, and the host frame that the first use found. */
interface Pins {
  domid: number;
  frame: number;
  readers: number;
  writers: number;
}

export interface GrantTableState {
  frames: number[];
  places: number[];
  pins: (Pins & { ref: number })[];
}

/** What resolves a domain's guest frames. */
export interface GrantOwner {
  readonly domid: number;
  readonly grants: GrantTable;
  /** Host frame of the owner's own memory, −1 when the guest frame is none. */
  ownFrame(gfn: number): number;
}

export class GrantTable implements Snapshotable<GrantTableState> {
  readonly #memory: GuestMemory;
  readonly #allocator: FrameAllocator;
  #frames: number[] = [];
  /** Guest frame at which the guest last placed each frame of the table. */
  #places: number[] = [];
  readonly #pins = new Map<number, Pins>();
  readonly #ownFrame: (gfn: number) => number;

  /** @param ownFrame host frame of the domain's own memory, −1 when the guest frame is none */
  constructor(memory: GuestMemory, allocator: FrameAllocator, ownFrame: (gfn: number) => number) {
    this.#memory = memory;
    this.#allocator = allocator;
    this.#ownFrame = ownFrame;
  }

  get frameCount(): number {
    return this.#frames.length;
  }

  /** Host frame number of the table's frame `index`, growing the table as Xen does; undefined past its limit. */
  frame(index: number): number | undefined {
    return this.grow(index + 1) ? this.#frames[index] : undefined;
  }

  place(index: number, gfn: number): void {
    this.#places[index] = gfn;
  }

  /** Guest frame of the table's frame `index`; all ones while the guest has not placed it. */
  placeOf(index: number): number {
    return this.#places[index] ?? 0xffff_ffff;
  }

  /** Makes the table at least `count` frames long; false past the limit or out of memory. */
  grow(count: number): boolean {
    if (count > MAX_GRANT_FRAMES) return false;
    while (this.#frames.length < count) {
      const frame = this.#allocator.allocate();
      if (frame === undefined) return false;
      this.#frames.push(frame);
      this.#places.push(0xffff_ffff);
    }
    return true;
  }

  /** Fills in an entry on the guest's behalf, as the domain builder does for the console and the store. */
  seed(ref: number, domid: number, gfn: number): void {
    const address = this.#entry(ref);
    if (address === undefined) return;
    this.#memory.store16(address + ENTRY.offset.domid, domid);
    this.#memory.store32(address + ENTRY.offset.frame, gfn);
    this.#memory.store16(address + ENTRY.offset.flags, G.GTF_permit_access);
  }

  /**
   * Begins a use of an entry by `domid`, as Xen's map_grant_ref does: while uses last, the entry is its first user's and stands for the frame
   * that the first use found, whatever the guest writes into it.
   * @returns the host frame, or a negative GNTST_ status
   */
  acquire(ref: number, domid: number, readOnly: boolean): number {
    const address = this.#entry(ref);
    if (address === undefined) return G.GNTST_bad_gntref;
    let pins = this.#pins.get(ref);
    if (pins !== undefined && pins.domid !== domid) return G.GNTST_general_error;
    if (pins === undefined || (!readOnly && pins.writers === 0)) {
      // _set_status_v1.
      const flags = this.#memory.load16(address + ENTRY.offset.flags);
      if ((flags & G.GTF_type_mask) !== G.GTF_permit_access) return G.GNTST_general_error;
      if (this.#memory.load16(address + ENTRY.offset.domid) !== domid) return G.GNTST_general_error;
      if (!readOnly && (flags & G.GTF_readonly) !== 0) return G.GNTST_general_error;
      if (pins === undefined) {
        const frame = this.#ownFrame(this.#memory.load32(address + ENTRY.offset.frame));
        if (frame < 0) return G.GNTST_bad_page;
        pins = { domid, frame, readers: 0, writers: 0 };
        this.#pins.set(ref, pins);
      }
      const inUse = flags | G.GTF_reading | (readOnly ? 0 : G.GTF_writing);
      if (inUse !== flags) this.#memory.store16(address + ENTRY.offset.flags, inUse);
    }
    if (readOnly) pins.readers++;
    else pins.writers++;
    return pins.frame;
  }

  /** Ends a use; the last one takes GTF_writing, then GTF_reading, out of the entry. */
  release(ref: number, readOnly: boolean): void {
    const pins = this.#pins.get(ref);
    const address = this.#entry(ref);
    if (pins === undefined || address === undefined) return;
    if (readOnly) pins.readers--;
    else pins.writers--;
    let clear = 0;
    if (pins.writers === 0) clear |= G.GTF_writing;
    if (pins.writers === 0 && pins.readers === 0) {
      clear |= G.GTF_reading;
      this.#pins.delete(ref);
    }
    const flags = this.#memory.load16(address + ENTRY.offset.flags);
    if ((flags & clear) !== 0) this.#memory.store16(address + ENTRY.offset.flags, flags & ~clear);
  }

  destroy(): void {
    for (const frame of this.#frames) this.#allocator.free(frame);
    this.#frames = [];
    this.#pins.clear();
  }

  save(): GrantTableState {
    return {
      frames: [...this.#frames],
      places: [...this.#places],
      pins: [...this.#pins].map(([ref, pins]) => ({ ref, ...pins })),
    };
  }

  load(state: GrantTableState): void {
    this.#frames = [...state.frames];
    this.#places = [...state.places];
    this.#pins.clear();
    for (const { ref, ...pins } of state.pins) this.#pins.set(ref, pins);
  }

  /** Host-physical address of an entry, undefined when the table does not reach that far. */
  #entry(ref: number): number | undefined {
    const frame = this.#frames[Math.floor(ref / ENTRIES_PER_FRAME)];
    return frame === undefined ? undefined : (frame << PAGE_SHIFT) + (ref % ENTRIES_PER_FRAME) * ENTRY.size;
  }
}

/** A grant that a domain has mapped. */
export interface MappedGrant {
  owner: number;
  ref: number;
  readOnly: boolean;
  /** Host frame. */
  frame: number;
  /** Guest frame where a guest sees it; −1 for a service domain. */
  gfn: number;
}

export interface GrantMappingsState {
  entries: (MappedGrant & { handle: number })[];
  next: number;
  freed: number[];
}

/** The grants that one domain has mapped: Xen's maptrack table. */
export class GrantMappings implements Snapshotable<GrantMappingsState> {
  readonly #frames: FrameAllocator;
  readonly #entries = new Map<number, MappedGrant>();
  #next = 0;
  #freed: number[] = [];

  constructor(frames: FrameAllocator) {
    this.#frames = frames;
  }

  /** Maps a grant of `owner` for `domid`: a handle, or a negative GNTST_ status. */
  map(domid: number, owner: GrantOwner, ref: number, readOnly: boolean): number {
    if (this.#entries.size >= MAX_MAPPINGS) return G.GNTST_no_space;
    const frame = owner.grants.acquire(ref, domid, readOnly);
    if (frame < 0) return frame;
    const handle = this.#freed.pop() ?? this.#next++;
    this.#frames.hold(frame);
    this.#entries.set(handle, { owner: owner.domid, ref, readOnly, frame, gfn: -1 });
    return handle;
  }

  get(handle: number): MappedGrant | undefined {
    return this.#entries.get(handle);
  }

  handles(): number[] {
    return [...this.#entries.keys()];
  }

  /** Forgets a mapping; `owner` is undefined when that domain is gone. */
  unmap(handle: number, owner: GrantOwner | undefined): number {
    const entry = this.#entries.get(handle);
    if (entry === undefined) return G.GNTST_bad_handle;
    this.#entries.delete(handle);
    this.#freed.push(handle);
    this.#frames.release(entry.frame);
    owner?.grants.release(entry.ref, entry.readOnly);
    return G.GNTST_okay;
  }

  save(): GrantMappingsState {
    const entries = [...this.#entries].map(([handle, entry]) => ({ handle, ...entry }));
    return { entries, next: this.#next, freed: [...this.#freed] };
  }

  load(state: GrantMappingsState): void {
    this.#entries.clear();
    for (const { handle, ...entry } of state.entries) this.#entries.set(handle, entry);
    this.#next = state.next;
    this.#freed = [...state.freed];
  }
}
