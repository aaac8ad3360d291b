/**
 * Paging: linear to host-physical addresses. SDM Vol. 3 chapter 4 (32-bit and PAE paging) over chapter 29 (EPT).
 *
 * Modelled: 4-KByte, 4-MByte (CR4.PSE) and 2-MByte (PAE) pages, accessed and dirty flags, CR0.WP, global pages,
 * execute-disable, reserved bits, PDPTE registers. Not modelled, because CPUID announces none of it: PSE-36, SMEP, SMAP,
 * protection keys, four-level paging.
 */

import { type Fault, GP, PAGE_FAULT } from "../context.ts";
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_PSE, OFFSET } from "../state.ts";
import { EFER_NXE, PHYSICAL_ADDRESS_BITS } from "../vmx/capabilities.ts";
import type { SystemCpu } from "./cpu.ts";

/** Access bits of {@link walk}. Without {@link WRITE} and {@link FETCH} it is a data read. */
export const READ = 1;
export const WRITE = 2;
export const FETCH = 4;
/** A user-mode access: CPL is 3 and it is no implicit access to a descriptor table or the TSS. */
export const USER = 8;

const PRESENT = 1 << 0;
const WRITABLE = 1 << 1;
const USER_PAGE = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const PAGE_SIZE_FLAG = 1 << 7;
const GLOBAL = 1 << 8;
/** Bit 63 of a PAE entry, seen in its upper word. */
const EXECUTE_DISABLE = 0x8000_0000;
/** Bits 62:36 of a PAE entry, seen in its upper word. */
const PAE_RESERVED_HIGH = 0x7fff_ffff & ~((1 << (PHYSICAL_ADDRESS_BITS - 32)) - 1);
/** Bits 21:13 of a PDE that maps a 4-MByte page (SDM Vol. 3 table 4-4, no PSE-36) and 20:13 of a 2-MByte one. */
const LARGE_RESERVED_PSE = 0x003f_e000;
const LARGE_RESERVED_PAE = 0x001f_e000;
/** Bits 2:1 and 8:5 of a PDPTE (SDM Vol. 3 table 4-8). */
const PDPTE_RESERVED = 0x1e6;

/** Page-fault error code (SDM Vol. 3 §4.7). */
const ERROR_PRESENT = 1 << 0;
const ERROR_WRITE = 1 << 1;
const ERROR_USER = 1 << 2;
const ERROR_RESERVED = 1 << 3;
const ERROR_FETCH = 1 << 4;

/** The result of a walk: what the TLB may remember of the page for the privilege (user or supervisor) that asked. */
export interface Translation {
  /** Host-physical address of the byte asked for; −1 for open bus, −2 for what `Processor.emulate` takes for MMIO. */
  physical: number;
  /** Guest-physical address of that byte. */
  guestPhysical: number;
  /** A write is permitted by the page tables, by the EPT and by a set dirty flag. */
  writable: boolean;
  executable: boolean;
  global: boolean;
  /** The page is larger than 4 KBytes: INVLPG anywhere in it concerns all of it (SDM Vol. 3 §4.10.4.1). */
  largePage: boolean;
}

/** Reused by every walk; copy what is to be kept. */
const result: Translation = {
  physical: 0,
  guestPhysical: 0,
  writable: false,
  executable: false,
  global: false,
  largePage: false,
};

/**
 * Translates `linear` for an access of `access` bits; throws the page fault, or the VM exit of an EPT violation.
 * Accessed and dirty flags are set only once the access is known to be permitted.
 */
export function walk(cpu: SystemCpu, linear: number, access: number): Translation {
  const { state } = cpu;
  if ((state.cr0 & CR0_PG) === 0) return finish(cpu, linear, linear, access, WRITABLE | DIRTY, true);
  return (state.cr4 & CR4_PAE) === 0 ? walk32(cpu, linear, access) : walkPae(cpu, linear, access);
}

function walk32(cpu: SystemCpu, linear: number, access: number): Translation {
  const { cr3, cr4 } = cpu.state;
  const directoryAt = (cr3 & 0xffff_f000) + ((linear >>> 22) << 2);
  const directorySlot = entryAddress(cpu, directoryAt >>> 0, linear);
  const directory = readEntry(cpu, directorySlot);
  if ((directory & PRESENT) === 0) throw pageFault(cpu, linear, access, 0);

  if ((directory & PAGE_SIZE_FLAG) !== 0 && (cr4 & CR4_PSE) !== 0) {
    if ((directory & LARGE_RESERVED_PSE) !== 0) throw pageFault(cpu, linear, access, ERROR_PRESENT | ERROR_RESERVED);
    const rights = permit(cpu, linear, access, directory, false);
    const flags = markAccess(cpu, directoryAt >>> 0, directorySlot, directory, linear, access, true);
    const physical = ((directory & 0xffc0_0000) | (linear & 0x003f_ffff)) >>> 0;
    result.global = (directory & GLOBAL) !== 0 && (cr4 & CR4_PGE) !== 0;
    result.largePage = true;
    return finish(cpu, physical, linear, access, rights | (flags & DIRTY), false);
  }

  const tableAt = ((directory & 0xffff_f000) >>> 0) + (((linear >>> 12) & 0x3ff) << 2);
  const tableSlot = entryAddress(cpu, tableAt, linear);
  const table = readEntry(cpu, tableSlot);
  if ((table & PRESENT) === 0) throw pageFault(cpu, linear, access, 0);
  const rights = permit(cpu, linear, access, directory & table, false);
  markAccess(cpu, directoryAt >>> 0, directorySlot, directory, linear, access, false);
  const flags = markAccess(cpu, tableAt, tableSlot, table, linear, access, true);
  result.global = (table & GLOBAL) !== 0 && (cr4 & CR4_PGE) !== 0;
  result.largePage = false;
  return finish(cpu, ((table & 0xffff_f000) | (linear & 0xfff)) >>> 0, linear, access, rights | (flags & DIRTY), false);
}

function walkPae(cpu: SystemCpu, linear: number, access: number): Translation {
  const { state } = cpu;
  const reservedHigh = noExecute(cpu) ? PAE_RESERVED_HIGH : (PAE_RESERVED_HIGH | EXECUTE_DISABLE) >>> 0;
  const pdpteSlot = OFFSET.pdpte + 8 * (linear >>> 30);
  const pdpte = state.get(pdpteSlot);
  if ((pdpte & PRESENT) === 0) throw pageFault(cpu, linear, access, 0);

  const directoryAt = address36(pdpte, state.get(pdpteSlot + 4)) + (((linear >>> 21) & 0x1ff) << 3);
  const directorySlot = entryAddress(cpu, directoryAt, linear);
  const directory = readEntry(cpu, directorySlot);
  const directoryHigh = readEntryHigh(cpu, directorySlot);
  if ((directory & PRESENT) === 0) throw pageFault(cpu, linear, access, 0);
  if ((directoryHigh & reservedHigh) !== 0) throw pageFault(cpu, linear, access, ERROR_PRESENT | ERROR_RESERVED);

  if ((directory & PAGE_SIZE_FLAG) !== 0) {
    if ((directory & LARGE_RESERVED_PAE) !== 0) throw pageFault(cpu, linear, access, ERROR_PRESENT | ERROR_RESERVED);
    const rights = permit(cpu, linear, access, directory, (directoryHigh & EXECUTE_DISABLE) !== 0);
    const flags = markAccess(cpu, directoryAt, directorySlot, directory, linear, access, true);
    const page = address36(directory & 0xffe0_0000, directoryHigh);
    result.global = (directory & GLOBAL) !== 0 && (state.cr4 & CR4_PGE) !== 0;
    result.largePage = true;
    return finish(cpu, page + (linear & 0x001f_ffff), linear, access, rights | (flags & DIRTY), false);
  }

  const tableAt = address36(directory, directoryHigh) + (((linear >>> 12) & 0x1ff) << 3);
  const tableSlot = entryAddress(cpu, tableAt, linear);
  const table = readEntry(cpu, tableSlot);
  const tableHigh = readEntryHigh(cpu, tableSlot);
  if ((table & PRESENT) === 0) throw pageFault(cpu, linear, access, 0);
  if ((tableHigh & reservedHigh) !== 0) throw pageFault(cpu, linear, access, ERROR_PRESENT | ERROR_RESERVED);
  const disabled = ((directoryHigh | tableHigh) & EXECUTE_DISABLE) !== 0;
  const rights = permit(cpu, linear, access, directory & table, disabled);
  markAccess(cpu, directoryAt, directorySlot, directory, linear, access, false);
  const flags = markAccess(cpu, tableAt, tableSlot, table, linear, access, true);
  result.global = (table & GLOBAL) !== 0 && (state.cr4 & CR4_PGE) !== 0;
  result.largePage = false;
  return finish(cpu, address36(table, tableHigh) + (linear & 0xfff), linear, access, rights | (flags & DIRTY), false);
}

/** Host-physical address of the paging-structure entry at `guestPhysical`, or −1. A read, as the EPT sees it. */
function entryAddress(cpu: SystemCpu, guestPhysical: number, linear: number): number {
  const page = cpu.vmx.translate(guestPhysical, READ, linear, true);
  return page < 0 ? -1 : page + (guestPhysical & 0xfff);
}

/** A paging structure on open bus reads as all ones, like everything there. */
function readEntry(cpu: SystemCpu, slot: number): number {
  return slot < 0 ? 0xffff_ffff : cpu.readPhysical(slot);
}

function readEntryHigh(cpu: SystemCpu, slot: number): number {
  return slot < 0 ? 0xffff_ffff : cpu.readPhysical(slot + 4);
}

/** Bits 35:12 of a PAE entry as a number. */
function address36(low: number, high: number): number {
  return ((low & 0xffff_f000) >>> 0) + (high & ((1 << (PHYSICAL_ADDRESS_BITS - 32)) - 1)) * 0x1_0000_0000;
}

function noExecute(cpu: SystemCpu): boolean {
  return (cpu.state.get(OFFSET.efer) & EFER_NXE) !== 0 && (cpu.state.cr4 & CR4_PAE) !== 0;
}

/**
 * The access check of SDM Vol. 3 §4.6.1 over the AND of the entries' R/W and U/S flags. Returns {@link WRITABLE} if the
 * asking privilege may write, else 0, and sets `result.executable`.
 */
function permit(cpu: SystemCpu, linear: number, access: number, flags: number, executeDisabled: boolean): number {
  const user = (access & USER) !== 0;
  const writable = (flags & WRITABLE) !== 0 || (!user && (cpu.state.cr0 & CR0_WP) === 0);
  const allowed =
    (!user || (flags & USER_PAGE) !== 0) &&
    ((access & WRITE) === 0 || writable) &&
    ((access & FETCH) === 0 || !executeDisabled);
  if (!allowed) throw pageFault(cpu, linear, access, ERROR_PRESENT);
  result.executable = !executeDisabled;
  return writable ? WRITABLE : 0;
}

/** Sets the accessed flag and, in the entry that maps the page, the dirty flag (SDM Vol. 3 §4.8). Returns the entry. */
function markAccess(
  cpu: SystemCpu,
  guestPhysical: number,
  slot: number,
  entry: number,
  linear: number,
  access: number,
  mapsPage: boolean,
): number {
  const marked = entry | ACCESSED | (mapsPage && (access & WRITE) !== 0 ? DIRTY : 0);
  if (marked !== (entry | 0) && slot >= 0) {
    cpu.vmx.translate(guestPhysical, READ | WRITE, linear, true);
    cpu.writePhysical(slot, marked >>> 0);
  }
  return marked;
}

function finish(
  cpu: SystemCpu,
  guestPhysical: number,
  linear: number,
  access: number,
  rights: number,
  unpaged: boolean,
): Translation {
  const wanted = (access & FETCH) !== 0 ? FETCH : (access & WRITE) !== 0 ? WRITE : READ;
  const page = cpu.vmx.translate(guestPhysical, wanted, linear, false);
  const ept = cpu.vmx.eptPermissions;
  if (unpaged) {
    result.executable = true;
    result.global = false;
    result.largePage = false;
  }
  result.guestPhysical = guestPhysical;
  result.physical = page < 0 ? page : page + (guestPhysical & 0xfff);
  result.writable = (rights & WRITABLE) !== 0 && (rights & DIRTY) !== 0 && (ept & WRITE) !== 0;
  result.executable = result.executable && (ept & FETCH) !== 0;
  return result;
}

function pageFault(cpu: SystemCpu, linear: number, access: number, cause: number): Fault {
  const fetch = (access & FETCH) !== 0 && noExecute(cpu) ? ERROR_FETCH : 0;
  const user = (access & USER) !== 0 ? ERROR_USER : 0;
  const write = (access & WRITE) !== 0 ? ERROR_WRITE : 0;
  return cpu.fault(PAGE_FAULT, cause | write | user | fetch, linear);
}

/**
 * Loads the four PDPTE registers from guest-physical memory for the CR3 value `cr3`, as MOV to CR3 and the changes of
 * CR0 and CR4 named in SDM Vol. 3 §4.4.1 do; #GP(0) if a present one has a reserved bit, with no register changed.
 */
export function loadPdptes(cpu: SystemCpu, cr3: number): void {
  const table = (cr3 & 0xffff_ffe0) >>> 0;
  const words: number[] = [];
  for (let offset = 0; offset < 32; offset += 8) {
    const slot = entryAddress(cpu, table + offset, -1);
    const low = readEntry(cpu, slot);
    const high = readEntryHigh(cpu, slot);
    const reserved = (low & PDPTE_RESERVED) !== 0 || (high & (PAE_RESERVED_HIGH | EXECUTE_DISABLE)) !== 0;
    if ((low & PRESENT) !== 0 && reserved) throw cpu.fault(GP, 0);
    words.push(low, high);
  }
  words.forEach((word, index) => {
    cpu.state.set(OFFSET.pdpte + 4 * index, word);
  });
}
