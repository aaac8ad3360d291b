// Part: the software TLB (layout.ts has its format).
// An entry remembers what one page walk permitted, for one privilege. Its four tags say which accesses may take the fast
// path at this moment; they come and go with decoded code, clean pages and breakpoints and are set again without a walk,
// so that whether a walk happens depends on the guest only. The metadata is part of the saved state, the tags are not.

import type { LinearMemory } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import { NO_TAG, RAM_BASE, TLB, TLB_EMPTY, TLB_ENTRIES, TLB_STRIDE, TLB_SUPERVISOR, TLB_USER } from "./layout.ts";

/** Bits of an entry's flags. */
export const PRESENT = 1;
/** A write needs no further walk: it is permitted, and the dirty flag is set. */
export const WRITABLE = 2;
export const EXECUTABLE = 4;
export const GLOBAL = 8;
/** There is no memory behind the page. */
export const OPEN_BUS = 16;
/** Part of a 2-MByte or 4-MByte page. */
export const LARGE = 32;
/** Linear address bits that two addresses in one large page have in common, at least. */
const LARGE_PAGE_MASK = 0xffc0_0000;

/** Everything but the tags of the entries in use: `slot, linear, physical, flags` each. */
export interface TlbState {
  entries: number[];
}

const SLOTS = 2 * TLB_ENTRIES;
const LINEAR = TLB.linear >> 2;
const PHYSICAL = TLB.physical >> 2;
const FLAGS = TLB.flags >> 2;
const READ_TAG = TLB.readTag >> 2;
const WRITE_TAG = TLB.writeTag >> 2;
const EXECUTE_TAG = TLB.executeTag >> 2;
const ADDEND = TLB.addend >> 2;
const CODE_TAG = TLB.codeTag >> 2;

export class Tlb implements Snapshotable<TlbState> {
  readonly #words: Uint32Array;
  /** Slots that have been filled since they were last emptied, so that a flush need not visit the rest. */
  readonly #filled = new Uint16Array(SLOTS);
  #count = 0;

  constructor(memory: LinearMemory) {
    this.#words = new Uint32Array(memory.buffer);
    for (let slot = 0; slot < SLOTS; slot++) this.#empty(slotIndex(slot));
    for (let index = 0; index < TLB_ENTRIES; index++) this.#empty((TLB_EMPTY + index * TLB_STRIDE) >> 2);
  }

  /** Index of the first word of the entry that `linear` can be in. */
  index(linear: number, user: boolean): number {
    return ((user ? TLB_USER : TLB_SUPERVISOR) >> 2) + ((linear >>> 12) & (TLB_ENTRIES - 1)) * (TLB_STRIDE >> 2);
  }

  /** The flags of what the entry knows about the page, 0 if nothing. */
  flags(index: number, page: number): number {
    return this.#words[index + LINEAR] === page ? (this.#words[index + FLAGS] as number) : 0;
  }

  physical(index: number): number {
    return this.#words[index + PHYSICAL] as number;
  }

  /** Takes over what a walk found out; no access has the fast path yet. */
  fill(index: number, page: number, physical: number, flags: number): void {
    const words = this.#words;
    if (words[index + FLAGS] === 0) this.#filled[this.#count++] = slotOf(index);
    this.#untag(index);
    words[index + LINEAR] = page;
    words[index + PHYSICAL] = physical;
    words[index + FLAGS] = flags;
    words[index + ADDEND] = RAM_BASE + physical - page;
  }

  permitRead(index: number): void {
    this.#words[index + READ_TAG] = this.#words[index + LINEAR] as number;
  }

  permitWrite(index: number): void {
    this.#words[index + WRITE_TAG] = this.#words[index + LINEAR] as number;
  }

  /** For a page that holds decoded code. */
  permitWriteBesideCode(index: number): void {
    this.#words[index + CODE_TAG] = this.#words[index + LINEAR] as number;
  }

  permitExecute(index: number): void {
    this.#words[index + EXECUTE_TAG] = this.#words[index + LINEAR] as number;
  }

  /** Forgets all translations, or those that are not global. */
  flush(includingGlobal: boolean): void {
    let kept = 0;
    for (let position = 0; position < this.#count; position++) {
      const slot = this.#filled[position] as number;
      const index = slotIndex(slot);
      if (!includingGlobal && ((this.#words[index + FLAGS] as number) & GLOBAL) !== 0) this.#filled[kept++] = slot;
      else this.#empty(index);
    }
    this.#count = kept;
  }

  /** Forgets one page, for both privileges, also if it is global (INVLPG); of a large page all parts. */
  invalidate(linear: number): void {
    const page = (linear & ~0xfff) >>> 0;
    for (const user of [false, true]) {
      const index = this.index(page, user);
      if (this.flags(index, page) !== 0) this.#forget(index);
    }
    for (let position = 0; position < this.#count; position++) {
      const index = slotIndex(this.#filled[position] as number);
      const isLarge = ((this.#words[index + FLAGS] as number) & LARGE) !== 0;
      const distance = (this.#words[index + LINEAR] as number) ^ page;
      if (isLarge && (distance & LARGE_PAGE_MASK) === 0) this.#forget(index);
    }
  }

  /** The slot stays in the list of those to visit: `fill` must not list it a second time. */
  #forget(index: number): void {
    this.#untag(index);
    this.#words[index + FLAGS] = FORGOTTEN;
  }

  /** Takes the fast path for writes from the pages at host-physical `physical`, or from all. */
  forbidWrites(physical = -1): void {
    for (let position = 0; position < this.#count; position++) {
      const index = slotIndex(this.#filled[position] as number);
      if (physical < 0 || this.#words[index + PHYSICAL] === physical) this.#forbidWrite(index);
    }
  }

  /** Takes the fast path from all data accesses. */
  forbidData(): void {
    for (let position = 0; position < this.#count; position++) {
      const index = slotIndex(this.#filled[position] as number);
      this.#words[index + READ_TAG] = NO_TAG;
      this.#forbidWrite(index);
    }
  }

  #forbidWrite(index: number): void {
    this.#words[index + WRITE_TAG] = NO_TAG;
    this.#words[index + CODE_TAG] = NO_TAG;
  }

  save(): TlbState {
    const entries: number[] = [];
    for (let slot = 0; slot < SLOTS; slot++) {
      const index = slotIndex(slot);
      const flags = this.#words[index + FLAGS] as number;
      if ((flags & PRESENT) === 0) continue;
      entries.push(slot, this.#words[index + LINEAR] as number, this.physical(index), flags);
    }
    return { entries };
  }

  load(state: TlbState): void {
    this.flush(true);
    const { entries } = state;
    for (let position = 0; position + 3 < entries.length; position += 4) {
      const [slot, linear, physical, flags] = entries.slice(position, position + 4) as [number, number, number, number];
      this.fill(slotIndex(slot % SLOTS), linear, physical, flags);
    }
  }

  #untag(index: number): void {
    this.#words[index + READ_TAG] = NO_TAG;
    this.#forbidWrite(index);
    this.#words[index + EXECUTE_TAG] = NO_TAG;
  }

  #empty(index: number): void {
    this.#untag(index);
    this.#words[index + LINEAR] = NO_TAG;
    this.#words[index + FLAGS] = 0;
  }
}

/** Flags of an entry that is listed as filled, yet knows nothing. */
const FORGOTTEN = 1 << 31;

/** Slot 0 … SLOTS − 1: the supervisor half, then the user half. */
function slotIndex(slot: number): number {
  return slot < TLB_ENTRIES
    ? (TLB_SUPERVISOR + slot * TLB_STRIDE) >> 2
    : (TLB_USER + (slot - TLB_ENTRIES) * TLB_STRIDE) >> 2;
}

function slotOf(index: number): number {
  const address = index << 2;
  return address < TLB_USER ? (address - TLB_SUPERVISOR) / TLB_STRIDE : (address - TLB_USER) / TLB_STRIDE + TLB_ENTRIES;
}
