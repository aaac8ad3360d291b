// Part: the hypervisor's access to a guest's memory by guest-linear address, as hypercall arguments name it.
// Walks the guest's paging structures (SDM Vol. 3 ch. 4: none, 32-bit with 4-MiB pages, PAE with 2-MiB pages) through the p2m with
// supervisor rights and sets accessed and dirty bits. An address that does not translate is the guest's mistake: the caller answers
// -EFAULT. Not modelled: protection keys, SMAP (Xen's copies from HVM guests ignore it).

import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PSE, OFFSET, type ProcessorState } from "../cpu/state.ts";
import type { P2m } from "./p2m.ts";

const PRESENT = 1 << 0;
const WRITABLE = 1 << 1;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const LARGE = 1 << 7;
const OFFSET_MASK = PAGE_SIZE - 1;

/** The registers that translation depends on. */
export type PagingRegisters = Pick<ProcessorState, "cr0" | "cr3" | "cr4" | "get64">;

/** Paging is off: linear addresses are guest-physical ones. */
export const NO_PAGING: PagingRegisters = { cr0: 0, cr3: 0, cr4: 0, get64: () => 0n };

/** The current vCPU's view of its domain's memory. Linear addresses wrap at 4 GiB. */
export class GuestAccess {
  readonly #memory: GuestMemory;
  readonly #state: PagingRegisters;
  readonly #p2m: P2m;

  constructor(memory: GuestMemory, state: PagingRegisters, p2m: P2m) {
    this.#memory = memory;
    this.#state = state;
    this.#p2m = p2m;
  }

  /** A copy of guest memory, undefined when a byte of it does not translate. */
  read(linear: number, length: number): Uint8Array | undefined {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const address = (linear + done) >>> 0;
      const host = this.#translate(address, false);
      if (host < 0) return undefined;
      const count = Math.min(length - done, PAGE_SIZE - (address & OFFSET_MASK));
      bytes.set(this.#memory.bytes.subarray(host, host + count), done);
      done += count;
    }
    return bytes;
  }

  /** False when a byte does not translate or may not be written; bytes before it have been written, as Xen's copies do. */
  write(linear: number, bytes: Uint8Array): boolean {
    for (let done = 0; done < bytes.length; ) {
      const address = (linear + done) >>> 0;
      const host = this.#translate(address, true);
      if (host < 0) return false;
      const count = Math.min(bytes.length - done, PAGE_SIZE - (address & OFFSET_MASK));
      this.#memory.write(host, bytes.subarray(done, done + count));
      done += count;
    }
    return true;
  }

  /** Guest-physical address of a byte, −1 when its translation does not permit the access. */
  guestPhysical(linear: number, write: boolean): number {
    return this.#walk(linear, write);
  }

  /** Host-physical address, −1 when the access is not possible. */
  #translate(linear: number, write: boolean): number {
    const physical = this.#walk(linear, write);
    if (physical < 0) return -1;
    return this.#host(physical, write);
  }

  #host(physical: number, write: boolean): number {
    const gfn = Math.floor(physical / PAGE_SIZE);
    const frame = this.#p2m.frameOf(gfn);
    if (frame < 0 || (write && !this.#p2m.writable(gfn))) return -1;
    return frame * PAGE_SIZE + (physical & OFFSET_MASK);
  }

  #walk(linear: number, write: boolean): number {
    const { cr0, cr3, cr4 } = this.#state;
    if ((cr0 & CR0_PG) === 0) return linear;
    const needWritable = write && (cr0 & CR0_WP) !== 0;
    return (cr4 & CR4_PAE) === 0
      ? this.#walk32(linear, write, needWritable, cr3, (cr4 & CR4_PSE) !== 0)
      : this.#walkPae(linear, write, needWritable);
  }

  /** SDM Vol. 3 §4.3. */
  #walk32(linear: number, write: boolean, needWritable: boolean, cr3: number, largePages: boolean): number {
    const directory = this.#host((cr3 & ~OFFSET_MASK) >>> 0, true);
    if (directory < 0) return -1;
    const pde = directory + (linear >>> 22) * 4;
    const large = this.#memory.load32(pde);
    if (!permits(large, needWritable)) return -1;
    if (largePages && (large & LARGE) !== 0) {
      this.#mark(pde, large, write);
      return ((large & 0xffc0_0000) | (linear & 0x3f_ffff)) >>> 0;
    }
    this.#mark(pde, large, false);
    const table = this.#host((large & ~OFFSET_MASK) >>> 0, true);
    if (table < 0) return -1;
    const pte = table + ((linear >>> PAGE_SHIFT) & 1023) * 4;
    const entry = this.#memory.load32(pte);
    if (!permits(entry, needWritable)) return -1;
    this.#mark(pte, entry, write);
    return ((entry & ~OFFSET_MASK) | (linear & OFFSET_MASK)) >>> 0;
  }

  /** SDM Vol. 3 §4.4; the PDPTEs are those of the processor's registers. */
  #walkPae(linear: number, write: boolean, needWritable: boolean): number {
    const pdpte = this.#state.get64(OFFSET.pdpte + 8 * (linear >>> 30));
    if ((pdpte & 1n) === 0n) return -1;
    const directory = this.#host(Number(pdpte & 0xf_ffff_ffff_f000n), true);
    if (directory < 0) return -1;
    const pde = directory + ((linear >>> 21) & 511) * 8;
    const large = this.#memory.load32(pde);
    if (!permits(large, needWritable)) return -1;
    if ((large & LARGE) !== 0) {
      this.#mark(pde, large, write);
      return this.#address(pde, 0xffe0_0000) + (linear & 0x1f_ffff);
    }
    this.#mark(pde, large, false);
    const table = this.#host(this.#address(pde, 0xffff_f000), true);
    if (table < 0) return -1;
    const pte = table + ((linear >>> PAGE_SHIFT) & 511) * 8;
    const entry = this.#memory.load32(pte);
    if (!permits(entry, needWritable)) return -1;
    this.#mark(pte, entry, write);
    return this.#address(pte, 0xffff_f000) + (linear & OFFSET_MASK);
  }

  #address(entry: number, lowMask: number): number {
    return ((this.#memory.load32(entry) & lowMask) >>> 0) + (this.#memory.load32(entry + 4) & 0xf_ffff) * 2 ** 32;
  }

  #mark(address: number, entry: number, dirty: boolean): void {
    const bits = ACCESSED | (dirty ? DIRTY : 0);
    if ((entry & bits) !== bits) this.#memory.store32(address, (entry | bits) >>> 0);
  }
}

function permits(entry: number, needWritable: boolean): boolean {
  return (entry & PRESENT) !== 0 && (!needWritable || (entry & WRITABLE) !== 0);
}
