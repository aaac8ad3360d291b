// Part: the slow path of memory accesses, by linear address and through segments.
// Handlers come here when the TLB's tags do not permit the fast path: no translation yet, two pages, decoded code or a
// clean page below a store, a data breakpoint, no memory behind the page. What is permitted gets its tag on the way.

import type { LinearMemory } from "../core/memory.ts";
import { AC_FAULT, type Fault, GP, SS_FAULT } from "./context.ts";
import { RAM_BASE } from "./layout.ts";
import { AC, AR_DB, AR_TYPE, AR_UNUSABLE, CR0_AM, CR0_PE, type ProcessorState, SS, VM } from "./state.ts";
import { EXECUTABLE, GLOBAL, LARGE, OPEN_BUS, PRESENT, type Tlb, WRITABLE } from "./tlb.ts";

/** Access bits, those of part "system"'s walk. */
export const READ = 1;
export const WRITE = 2;
export const FETCH = 4;
export const USER = 8;

/** The result of {@link AccessHost.walk}; reused by it. */
export interface Translation {
  /** Host-physical address; −1 for open bus, −2 for an address that the hypervisor emulates, −3 when the access exits. */
  physical: number;
  guestPhysical: number;
  writable: boolean;
  executable: boolean;
  global: boolean;
  largePage: boolean;
}

/** Where emulated accesses go, by guest-physical address; widths are 1, 2 and 4 bytes. */
export interface MmioHandler {
  read(guestPhysical: number, width: number): number;
  write(guestPhysical: number, width: number, value: number): void;
}

export interface AccessHost {
  /** Throws the page fault, or the exit of an access to the paging structures. */
  walk(linear: number, access: number): Translation;
  fault(vector: number, errorCode?: number, address?: number): Fault;
  /** Bytes of host-physical memory were written; one page at most. */
  written(physical: number, length: number): void;
  checkBoundary(): void;
  /** What is thrown for the exit that was recorded. */
  readonly exitSignal: unknown;
}

/** Pending debug exceptions, bit 12: an enabled breakpoint was met (SDM Vol. 3 table 25-4). */
const ENABLED_BREAKPOINT = 1 << 12;
const OPEN = -1;
const EMULATED = -2;
/**
 * The access ends in the VM exit that was recorded. Memory-mapped devices make many of these, so that the way from here to the
 * engine throws nothing: an exception costs more than all the rest of an exit.
 */
export const EXITED = -3;
/** The type field: code; expand-down (data); writable (data) or readable (code). SDM Vol. 3 table 3-1. */
const TYPE_CODE = 8;
const TYPE_EXPAND_DOWN = 4;
const TYPE_WRITABLE = 2;

interface Breakpoint {
  readonly number: number;
  readonly first: number;
  readonly last: number;
  readonly onRead: boolean;
}

export class Access {
  readonly #state: ProcessorState;
  readonly #tlb: Tlb;
  readonly #host: AccessHost;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #ramSize: number;
  readonly #codePages: Uint8Array;
  readonly #dirty: Uint8Array;
  #breakpoints: readonly Breakpoint[] = [];
  /** Set while the hypervisor emulates one instruction. */
  mmio: MmioHandler | undefined;
  /** Guest-physical address of what `translate` answered with EMULATED. */
  #emulatedAddress = 0;

  /**
   * @param codePages by page, not 0 where something is decoded: such a page gets a code tag instead of a write tag
   * @param dirty by page; set here before a page gets a write tag
   */
  constructor(
    memory: LinearMemory,
    state: ProcessorState,
    tlb: Tlb,
    ramSize: number,
    codePages: Uint8Array,
    dirty: Uint8Array,
    host: AccessHost,
  ) {
    this.#state = state;
    this.#tlb = tlb;
    this.#host = host;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
    this.#ramSize = ramSize;
    this.#codePages = codePages;
    this.#dirty = dirty;
  }

  /** Whether accesses of CPL 3 have to be aligned. */
  get checksAlignment(): boolean {
    return (this.#state.cr0 & CR0_AM) !== 0 && (this.#state.flagsRest & AC) !== 0;
  }

  get hasBreakpoints(): boolean {
    return this.#breakpoints.length > 0;
  }

  /** The debug registers changed: data breakpoints on writes (R/W 1) and on reads or writes (R/W 3), SDM Vol. 3 §17.2.4. */
  updateBreakpoints(): void {
    const dr7 = this.#state.dr(7);
    const list: Breakpoint[] = [];
    for (let number = 0; number < 4; number++) {
      const condition = (dr7 >>> (16 + 4 * number)) & 3;
      if (((dr7 >>> (2 * number)) & 3) === 0 || (condition & 1) === 0) continue;
      const length = (dr7 >>> (18 + 4 * number)) & 3;
      // LEN 10B is reserved and taken as 8 bytes by processors that have it; here it is 4, as of a P6.
      const span = length === 2 ? 3 : length;
      const first = (this.#state.dr(number) & ~span) >>> 0;
      list.push({ number, first, last: first + span, onRead: condition === 3 });
    }
    this.#breakpoints = list;
    this.#tlb.forbidData();
  }

  /** Host-physical address of `linear` for an access of one kind, negative for OPEN and EMULATED; throws the exit. */
  translate(linear: number, access: number, user: boolean): number {
    const physical = this.#translate(linear, access, user);
    if (physical === EXITED) throw this.#host.exitSignal;
    return physical;
  }

  /** As {@link translate}; EXITED for an exit. */
  #translate(linear: number, access: number, user: boolean): number {
    const page = (linear & ~0xfff) >>> 0;
    const index = this.#tlb.index(page, user);
    const needed = (access & WRITE) !== 0 ? WRITABLE : (access & FETCH) !== 0 ? EXECUTABLE : PRESENT;
    let flags = this.#tlb.flags(index, page);
    if ((flags & PRESENT) === 0 || (flags & needed) === 0) {
      const found = this.#host.walk(linear, user ? access | USER : access);
      if (found.physical === EMULATED) {
        this.#emulatedAddress = found.guestPhysical;
        return EMULATED;
      }
      if (found.physical === EXITED) return EXITED;
      const open = found.physical < 0 || found.physical >= this.#ramSize;
      flags =
        PRESENT |
        (found.writable ? WRITABLE : 0) |
        (found.executable ? EXECUTABLE : 0) |
        (found.global ? GLOBAL : 0) |
        (found.largePage ? LARGE : 0) |
        (open ? OPEN_BUS : 0);
      this.#tlb.fill(index, page, open ? 0 : found.physical - (found.physical % 4096), flags);
    }
    if ((flags & OPEN_BUS) !== 0) return OPEN;
    const physical = this.#tlb.physical(index);
    this.#tag(index, page, physical, access);
    return physical + (linear & 0xfff);
  }

  #tag(index: number, page: number, physical: number, access: number): void {
    if ((access & FETCH) !== 0) {
      this.#tlb.permitExecute(index);
      return;
    }
    if (this.#breakpoints.length > 0 && this.#hasBreakpoint(page)) return;
    if ((access & WRITE) === 0) {
      this.#tlb.permitRead(index);
      return;
    }
    const number = physical / 4096;
    this.#dirty[number] = 1;
    this.#tlb.permitRead(index);
    if (this.#codePages[number] === 0) this.#tlb.permitWrite(index);
    else this.#tlb.permitWriteBesideCode(index);
  }

  #hasBreakpoint(page: number): boolean {
    return this.#breakpoints.some(({ first, last }) => first <= page + 4095 && last >= page);
  }

  /** Width in bytes: 1, 2 or 4. The value, or EXITED. */
  read(linear: number, width: number, user: boolean): number {
    this.#check(linear, width, user, false);
    return this.#load(linear, width, user, READ);
  }

  /** As `read`, after having made sure that a write would not fault. */
  readForWrite(linear: number, width: number, user: boolean): number {
    this.#check(linear, width, user, true);
    return this.#load(linear, width, user, WRITE);
  }

  #load(linear: number, width: number, user: boolean, access: number): number {
    if ((linear & 0xfff) + width > 4096) return this.#loadAcross(linear, width, user, access);
    const physical = this.#translate(linear, access, user);
    if (physical === EXITED) return EXITED;
    if (physical === EMULATED) return (this.#mmio().read(this.#emulatedAddress, width) & allOnes(width)) >>> 0;
    if (physical === OPEN) return allOnes(width);
    const at = RAM_BASE + physical;
    if (width === 4) return this.#view.getUint32(at, true);
    return width === 2 ? this.#view.getUint16(at, true) : (this.#bytes[at] as number);
  }

  /** Both pages are translated before a byte is read: the second one may fault. */
  #loadAcross(linear: number, width: number, user: boolean, access: number): number {
    this.translate(linear, access, user);
    this.translate(lastPage(linear, width), access, user);
    let value = 0;
    for (let index = 0; index < width; index++) {
      value |= this.#loadByte((linear + index) >>> 0, user, access) << (8 * index);
    }
    return value >>> 0;
  }

  #loadByte(linear: number, user: boolean, access: number): number {
    const physical = this.translate(linear, access, user);
    if (physical === EMULATED) return this.#mmio().read(this.#emulatedAddress, 1) & 0xff;
    return physical === OPEN ? 0xff : (this.#bytes[RAM_BASE + physical] as number);
  }

  /** Returns EXITED when nothing was written because the access exits, else 0. */
  write(linear: number, width: number, value: number, user: boolean): number {
    this.#check(linear, width, user, true);
    if ((linear & 0xfff) + width > 4096) {
      this.translate(linear, WRITE, user);
      this.translate(lastPage(linear, width), WRITE, user);
      for (let index = 0; index < width; index++) {
        this.#store((linear + index) >>> 0, 1, (value >>> (8 * index)) & 0xff, user);
      }
    } else if (this.#store(linear, width, value, user) === EXITED) return EXITED;
    if (this.#breakpoints.length > 0) this.#meet(linear, width, true);
    return 0;
  }

  #store(linear: number, width: number, value: number, user: boolean): number {
    const physical = this.#translate(linear, WRITE, user);
    if (physical === EXITED) return EXITED;
    if (physical === EMULATED) {
      this.#mmio().write(this.#emulatedAddress, width, (value & allOnes(width)) >>> 0);
      return 0;
    }
    if (physical === OPEN) return 0;
    const at = RAM_BASE + physical;
    if (width === 4) this.#view.setUint32(at, value, true);
    else if (width === 2) this.#view.setUint16(at, value, true);
    else this.#bytes[at] = value;
    this.#host.written(physical, width);
    return 0;
  }

  #mmio(): MmioHandler {
    if (this.mmio === undefined) throw new TypeError("an emulated address outside of emulation");
    return this.mmio;
  }

  /** Faults as an access of `length` bytes would; every page is visited. */
  probe(linear: number, length: number, write: boolean, user: boolean): void {
    const access = write ? WRITE : READ;
    this.translate(linear, access, user);
    const first = (linear & ~0xfff) >>> 0;
    for (let page = first + 4096; page < linear + length; page += 4096) this.translate(page >>> 0, access, user);
  }

  readBytes(linear: number, length: number, user: boolean): Uint8Array {
    if ((linear & 0xfff) + length > 4096) this.probe(linear, length, false, user);
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const at = (linear + done) >>> 0;
      const count = Math.min(length - done, 4096 - (at & 0xfff));
      const physical = this.translate(at, READ, user);
      if (physical === EMULATED) this.#readDevice(bytes.subarray(done, done + count));
      else if (physical === OPEN) bytes.fill(0xff, done, done + count);
      else {
        const from = RAM_BASE + physical;
        for (let index = 0; index < count; index++) bytes[done + index] = this.#bytes[from + index] as number;
      }
      done += count;
    }
    if (this.#breakpoints.length > 0) this.#meet(linear, length, false);
    return bytes;
  }

  /** Fills `bytes`, which lie in one page, from the emulated address on. */
  #readDevice(bytes: Uint8Array): void {
    const first = this.#emulatedAddress;
    for (let index = 0; index < bytes.length; index++) bytes[index] = this.#mmio().read(first + index, 1);
  }

  writeBytes(linear: number, bytes: Uint8Array, user: boolean): void {
    const { length } = bytes;
    if ((linear & 0xfff) + length > 4096) this.probe(linear, length, true, user);
    for (let done = 0; done < length; ) {
      const at = (linear + done) >>> 0;
      const count = Math.min(length - done, 4096 - (at & 0xfff));
      this.#storeBytes(at, bytes, done, count, user);
      done += count;
    }
    if (this.#breakpoints.length > 0) this.#meet(linear, length, true);
  }

  /** Stores `count` bytes from `start` of `bytes` on in one page. */
  #storeBytes(linear: number, bytes: Uint8Array, start: number, count: number, user: boolean): void {
    const physical = this.translate(linear, WRITE, user);
    if (physical === EMULATED) {
      const first = this.#emulatedAddress;
      for (let index = 0; index < count; index++) this.#mmio().write(first + index, 1, bytes[start + index] as number);
      return;
    }
    if (physical === OPEN) return;
    const at = RAM_BASE + physical;
    for (let index = 0; index < count; index++) this.#bytes[at + index] = bytes[start + index] as number;
    this.#host.written(physical, count);
  }

  #check(linear: number, width: number, user: boolean, write: boolean): void {
    if ((linear & (width - 1)) !== 0 && user && this.checksAlignment) throw this.#host.fault(AC_FAULT, 0);
    if (!write && this.#breakpoints.length > 0) {
      // A read that faults meets no breakpoint.
      this.probe(linear, width, false, user);
      this.#meet(linear, width, false);
    }
  }

  #meet(linear: number, length: number, write: boolean): void {
    for (const { number, first, last, onRead } of this.#breakpoints) {
      if (linear > last || linear + length - 1 < first || !(write || onRead)) continue;
      this.#state.pendingDebug |= (1 << number) | ENABLED_BREAKPOINT;
      this.#host.checkBoundary();
    }
  }

  /**
   * Throws unless the segment permits the access (SDM Vol. 3 §5.3, §5.5): #SS for the stack segment, else #GP. In real
   * and virtual-8086 mode only limits are checked.
   */
  checkSegment(segment: number, offset: number, width: number, write: boolean): void {
    const state = this.#state;
    const rights = state.accessRights(segment);
    const limit = state.limit(segment);
    const isProtected = (state.cr0 & CR0_PE) !== 0 && (state.flagsRest & VM) === 0;
    const type = rights & AR_TYPE;
    const last = offset + width - 1;
    const expandDown = (type & (TYPE_CODE | TYPE_EXPAND_DOWN)) === TYPE_EXPAND_DOWN;
    const inside = expandDown
      ? offset > limit && last <= ((rights & AR_DB) !== 0 ? 0xffff_ffff : 0xffff)
      : last <= limit;
    const isData = (type & TYPE_CODE) === 0;
    const permitted =
      !isProtected || (write ? isData && (type & TYPE_WRITABLE) !== 0 : isData || (type & TYPE_WRITABLE) !== 0);
    if (inside && permitted && (rights & AR_UNUSABLE) === 0) return;
    throw this.#host.fault(segment === SS ? SS_FAULT : GP, 0);
  }
}

/** What a fault in the second page of an access reports: the first byte there. */
function lastPage(linear: number, width: number): number {
  return ((linear + width - 1) & ~0xfff) >>> 0;
}

/** The greatest value of `width` bytes: what open bus reads as. */
function allOnes(width: number): number {
  return 0xffff_ffff >>> (32 - 8 * width);
}
