/**
 * Extended page tables: guest-physical to host-physical addresses (SDM §29.3). Four levels; 4-KByte, 2-MByte and 1-GByte
 * pages; execute-only translations; accessed and dirty flags. Edition: see fields.ts.
 */

import type { HostMemory } from "./core.ts";
import { ACCESS_READ, ACCESS_WRITE } from "./intercepts.ts";

/** Results of {@link Ept.translate} that are no address. */
export const EPT_VIOLATED = -3;
export const EPT_MISCONFIGURED = -4;

/** Bytes that one entry maps, by level: PTE, PDE, PDPTE, PML4E. */
const SPAN: readonly number[] = [2 ** 12, 2 ** 21, 2 ** 30, 2 ** 39];
const PML4E = 3;

const PERMISSIONS = 7;
const MEMORY_TYPE_SHIFT = 3;
/** Types 2, 3 and 7 are reserved (SDM §29.3.7.2). */
const RESERVED_MEMORY_TYPES = (1 << 2) | (1 << 3) | (1 << 7);
const MAPS_PAGE = 1 << 7;
const ACCESSED = 1 << 8;
const DIRTY = 1 << 9;
/** Bits 51:36 of an entry, seen in its upper word: beyond the physical-address width. */
const RESERVED_HIGH = 0x000f_fff0;
const ADDRESS_HIGH = 0xf;

/** Reserved bits of the low word by level (SDM tables 29-1 to 29-7): of entries that refer to a table, and that map a page. */
const RESERVED_IN_TABLE: readonly number[] = [0, 0x78, 0x78, 0xf8];
const RESERVED_IN_PAGE: readonly number[] = [0, 0x001f_f000, 0x3fff_f000, 0];

export class Ept {
  /** ACCESS bits that the entries used permit together; as far as the walk came, after a violation. */
  permissions = 0;
  private readonly memory: HostMemory;
  private readonly slots: [number, number, number, number] = [0, 0, 0, 0];

  constructor(memory: HostMemory) {
    this.memory = memory;
  }

  /**
   * Host-physical address of the byte at `guestPhysical`, EPT_VIOLATED or EPT_MISCONFIGURED. With accessed and dirty flags, a
   * page whose dirty flag is clear does not permit writes until one is asked for, so that the flag gets set then.
   */
  translate(root: number, flags: boolean, guestPhysical: number, access: number): number {
    let table = root;
    let permitted = PERMISSIONS;
    for (let level = PML4E; level >= 0; level--) {
      const span = SPAN[level] as number;
      const slot = table + 8 * (Math.floor(guestPhysical / span) & 511);
      const low = this.read(slot);
      permitted &= low;
      this.permissions = permitted;
      if ((low & PERMISSIONS) === 0) return EPT_VIOLATED;
      const high = this.read(slot + 4);
      const page = level === 0 || (level < PML4E && (low & MAPS_PAGE) !== 0);
      if (isMisconfigured(level, page, low, high)) return EPT_MISCONFIGURED;
      this.slots[level] = slot;
      table = ((low & 0xffff_f000) >>> 0) + (high & ADDRESS_HIGH) * 0x1_0000_0000;
      if (page) {
        if ((access & permitted) !== access) return EPT_VIOLATED;
        if (flags) this.mark(level, low, access);
        return table + (guestPhysical % span);
      }
    }
    return EPT_VIOLATED;
  }

  /** Sets accessed flags on the path down to `level`, and the page's dirty flag for a write (SDM §29.3.5). */
  private mark(level: number, leaf: number, access: number): void {
    for (let used = PML4E; used >= level; used--) {
      const slot = this.slots[used] as number;
      const entry = this.memory.load32(slot);
      const marked = entry | ACCESSED | (used === level && (access & ACCESS_WRITE) !== 0 ? DIRTY : 0);
      if (marked !== (entry | 0)) this.memory.store32(slot, marked >>> 0);
    }
    if ((leaf & DIRTY) === 0 && (access & ACCESS_WRITE) === 0) this.permissions &= ~ACCESS_WRITE;
  }

  private read(address: number): number {
    return address + 4 <= this.memory.size ? this.memory.load32(address) : 0xffff_ffff;
  }
}

/** SDM §29.3.3.1. */
function isMisconfigured(level: number, page: boolean, low: number, high: number): boolean {
  if ((low & (ACCESS_READ | ACCESS_WRITE)) === ACCESS_WRITE || (high & RESERVED_HIGH) !== 0) return true;
  if (!page) return (low & (RESERVED_IN_TABLE[level] as number)) !== 0;
  const memoryType = (low >>> MEMORY_TYPE_SHIFT) & 7;
  return ((RESERVED_MEMORY_TYPES >>> memoryType) & 1) === 1 || (low & (RESERVED_IN_PAGE[level] as number)) !== 0;
}
