// Part: a domain's guest-physical to host-physical map, held as the EPT paging structures themselves (SDM Vol. 3 §29.3) in
// host-physical memory: four levels, 4-KiB pages. What Xen calls the p2m type stands in bits 55:52 of a leaf, which the processor
// ignores. Not modelled: large pages, populate on demand, accessed and dirty flags.

import type { GuestMemory } from "../core/memory.ts";
import { PAGE_SHIFT } from "../core/memory.ts";
import type { FrameAllocator } from "./frames.ts";

/** What a guest frame is (Xen's p2m types). Foreign pages belong to another domain and are never freed with this one. */
export const P2M_NONE = 0;
export const P2M_RAM = 1;
/** A page of the hypervisor's: shared_info or a frame of the grant table. */
export const P2M_SHARED = 2;
export const P2M_GRANT = 3;
export const P2M_GRANT_READ_ONLY = 4;
/** Firmware: writes vanish (Xen's p2m_ram_ro). */
export const P2M_ROM = 5;
/** Firmware in front of RAM: reads find the one, writes the other, by an exit each (see bios-area.ts). */
export const P2M_ROM_OVER_RAM = 6;

const READ_ONLY: readonly number[] = [P2M_GRANT_READ_ONLY, P2M_ROM, P2M_ROM_OVER_RAM];

const EPT_READ_WRITE_EXECUTE = 7;
const EPT_READ = 1;
const EPT_READ_EXECUTE = 5;
const MEMORY_TYPE_WRITE_BACK = 6 << 3;
const LEVELS = 4;
const INDEX_BITS = 9;
const ENTRY_SIZE = 8;
const TYPE_SHIFT_HIGH = 20;
/** Guest frames fit the four levels. */
const GFN_LIMIT = 2 ** (LEVELS * INDEX_BITS);

/**
 * Pages of paging structures beyond those of the domain's own memory: a guest that maps shared pages all over the address space
 * cannot use up the host's memory. Xen bounds the same by its paging pool.
 */
const MAX_TABLES = 1024;

export interface P2mState {
  root: number;
  tables: number[];
  ramPages: number;
  stale: boolean;
}

export class P2m {
  readonly #memory: GuestMemory;
  readonly #frames: FrameAllocator;
  #root: number;
  /** Frames of all paging structures, the root first. */
  #tables: number[];
  #ramPages = 0;
  /** Set when a translation was taken away or changed; whoever enters the guest next executes INVEPT and clears it. */
  stale = false;

  private constructor(memory: GuestMemory, frames: FrameAllocator, root: number) {
    this.#memory = memory;
    this.#frames = frames;
    this.#root = root;
    this.#tables = [root];
  }

  /** An empty map, undefined when memory has run out. */
  static create(memory: GuestMemory, frames: FrameAllocator): P2m | undefined {
    const root = frames.allocate();
    return root === undefined ? undefined : new P2m(memory, frames, root);
  }

  /** EPT pointer for the VMCS: write-back paging structures, page-walk length 4 (SDM Vol. 3 table 25-9). */
  get eptPointer(): number {
    return this.#root * 2 ** PAGE_SHIFT + 6 + ((LEVELS - 1) << 3);
  }

  /** Pages of the domain's own memory. */
  get ramPages(): number {
    return this.#ramPages;
  }

  /** Host frame of a guest frame, −1 when there is none. */
  frameOf(gfn: number): number {
    const entry = this.#find(gfn);
    if (entry < 0) return -1;
    const low = this.#memory.load32(entry);
    if ((low & EPT_READ) === 0) return -1;
    return (low >>> PAGE_SHIFT) + (this.#memory.load32(entry + 4) & 0xf_ffff) * 2 ** 20;
  }

  /** Host frame of a guest frame that is the domain's own memory, −1 for any other. */
  ramFrameOf(gfn: number): number {
    const entry = this.#find(gfn);
    if (entry < 0) return -1;
    const low = this.#memory.load32(entry);
    const high = this.#memory.load32(entry + 4);
    if ((low & EPT_READ) === 0 || ((high >>> TYPE_SHIFT_HIGH) & 15) !== P2M_RAM) return -1;
    return (low >>> PAGE_SHIFT) + (high & 0xf_ffff) * 2 ** 20;
  }

  typeOf(gfn: number): number {
    const entry = this.#find(gfn);
    return entry < 0 ? P2M_NONE : (this.#memory.load32(entry + 4) >>> TYPE_SHIFT_HIGH) & 15;
  }

  /** Whether the guest may write to the frame. */
  writable(gfn: number): boolean {
    const type = this.typeOf(gfn);
    return type !== P2M_NONE && !READ_ONLY.includes(type);
  }

  /** Maps a guest frame, replacing what was there (which is not freed); false when there is no memory for the tables. */
  set(gfn: number, frame: number, type: number): boolean {
    const entry = this.#make(gfn);
    if (entry < 0) return false;
    this.#count(entry, type);
    const permissions =
      type === P2M_GRANT_READ_ONLY ? EPT_READ : READ_ONLY.includes(type) ? EPT_READ_EXECUTE : EPT_READ_WRITE_EXECUTE;
    this.#memory.store32(entry, ((frame << PAGE_SHIFT) | MEMORY_TYPE_WRITE_BACK | permissions) >>> 0);
    this.#memory.store32(entry + 4, (type << TYPE_SHIFT_HIGH) | (frame >>> 20));
    return true;
  }

  clear(gfn: number): void {
    const entry = this.#find(gfn);
    if (entry < 0) return;
    this.#count(entry, P2M_NONE);
    this.#memory.store32(entry, 0);
    this.#memory.store32(entry + 4, 0);
  }

  /** Highest guest frame that is mapped, −1 for none. */
  highestGfn(): number {
    return this.#highest(this.#root, LEVELS - 1, 0);
  }

  /** Calls back for every mapped frame in ascending order. */
  forEach(visit: (gfn: number, frame: number, type: number) => void): void {
    this.#walk(this.#root, LEVELS - 1, 0, visit);
  }

  /** Frees the paging structures. The map must not be used afterwards. */
  destroy(): void {
    for (const table of this.#tables) this.#frames.free(table);
    this.#tables = [];
  }

  save(): P2mState {
    return { root: this.#root, tables: [...this.#tables], ramPages: this.#ramPages, stale: this.stale };
  }

  load(state: P2mState): void {
    this.#root = state.root;
    this.#tables = [...state.tables];
    this.#ramPages = state.ramPages;
    this.stale = state.stale;
  }

  #count(entry: number, type: number): void {
    const before = (this.#memory.load32(entry + 4) >>> TYPE_SHIFT_HIGH) & 15;
    if (before !== P2M_NONE) this.stale = true;
    if (before === P2M_RAM) this.#ramPages--;
    if (type === P2M_RAM) this.#ramPages++;
  }

  #walk(table: number, level: number, prefix: number, visit: (gfn: number, frame: number, type: number) => void): void {
    for (let index = 0; index < 1 << INDEX_BITS; index++) {
      const entry = (table << PAGE_SHIFT) + index * ENTRY_SIZE;
      const low = this.#memory.load32(entry);
      if ((low & EPT_READ) === 0) continue;
      const number = prefix * 2 ** INDEX_BITS + index;
      if (level > 0) this.#walk(low >>> PAGE_SHIFT, level - 1, number, visit);
      else visit(number, this.frameOf(number), this.typeOf(number));
    }
  }

  #highest(table: number, level: number, prefix: number): number {
    for (let index = (1 << INDEX_BITS) - 1; index >= 0; index--) {
      const low = this.#memory.load32((table << PAGE_SHIFT) + index * ENTRY_SIZE);
      if ((low & EPT_READ) === 0) continue;
      const number = prefix * 2 ** INDEX_BITS + index;
      // A table may have been emptied again: then the frames below it come next.
      const found = level === 0 ? number : this.#highest(low >>> PAGE_SHIFT, level - 1, number);
      if (found >= 0) return found;
    }
    return -1;
  }

  /** Host-physical address of a frame's leaf entry, −1 when its table does not exist. */
  #find(gfn: number): number {
    if (!(gfn >= 0 && gfn < GFN_LIMIT)) return -1;
    let table = this.#root;
    for (let level = LEVELS - 1; level > 0; level--) {
      const low = this.#memory.load32(entryAddress(table, gfn, level));
      if ((low & EPT_READ) === 0) return -1;
      table = low >>> PAGE_SHIFT;
    }
    return entryAddress(table, gfn, 0);
  }

  #make(gfn: number): number {
    if (!(gfn >= 0 && gfn < GFN_LIMIT)) return -1;
    let table = this.#root;
    for (let level = LEVELS - 1; level > 0; level--) {
      const entry = entryAddress(table, gfn, level);
      const low = this.#memory.load32(entry);
      if ((low & EPT_READ) !== 0) {
        table = low >>> PAGE_SHIFT;
        continue;
      }
      const added = this.#tables.length < MAX_TABLES ? this.#frames.allocate() : undefined;
      if (added === undefined) return -1;
      this.#tables.push(added);
      this.#memory.store32(entry, ((added << PAGE_SHIFT) | EPT_READ_WRITE_EXECUTE) >>> 0);
      table = added;
    }
    return entryAddress(table, gfn, 0);
  }
}

/** Frames that one entry maps, by level. */
const SPAN: readonly number[] = Array.from({ length: LEVELS }, (_, level) => 2 ** (INDEX_BITS * level));

function entryAddress(table: number, gfn: number, level: number): number {
  const index = Math.floor(gfn / SPAN[level]!) & ((1 << INDEX_BITS) - 1);
  return (table << PAGE_SHIFT) + index * ENTRY_SIZE;
}
