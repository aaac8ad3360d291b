/**
 * Loading segment registers in real-address, virtual-8086 and protected mode. SDM Vol. 2 "MOV", "POP", "LDS/LES/LFS/
 * LGS/LSS"; Vol. 3 §3.4.3, §5.5 to §5.7, §20.1.
 *
 * A load in real-address mode sets the base and leaves the limit and the default size alone, as processors since the
 * 80386 do; that is what makes "flat real mode" work.
 */

import { GP, NP, SS_FAULT } from "../context.ts";
import { AR_DB, AR_G, AR_P, AR_S, AR_UNUSABLE, CR0_PE, CS, type ProcessorState, SS, VM } from "../state.ts";
import { type SystemCpu, selectorFault } from "./cpu.ts";
import {
  baseOf,
  type Descriptor,
  dplOf,
  isNull,
  isPresent,
  isSystem,
  isWritableData,
  limitOf,
  markAccessed,
  RPL,
  readDescriptor,
  rightsOf,
  TYPE_ACCESSED,
  TYPE_CODE,
  TYPE_CONFORMING,
  TYPE_EXPAND_DOWN,
  TYPE_READABLE,
  TYPE_WRITABLE,
  typeOf,
} from "./descriptors.ts";

/** Access rights of every segment in virtual-8086 mode: accessed writable data, DPL 3, 64 KiB (SDM Vol. 3 §27.3.1.2). */
const V86_RIGHTS = AR_P | (3 << 5) | AR_S | TYPE_WRITABLE | TYPE_ACCESSED;
const REAL_MODE_RIGHTS = AR_P | AR_S | TYPE_WRITABLE | TYPE_ACCESSED;

export const isProtected = (state: ProcessorState): boolean => (state.cr0 & CR0_PE) !== 0;
export const isV86 = (state: ProcessorState): boolean => (state.flagsRest & VM) !== 0;
/** Selectors name descriptors: protected mode and not virtual-8086 mode. */
export const usesDescriptors = (state: ProcessorState): boolean => isProtected(state) && !isV86(state);

/** Whether `width` bytes at `offset` lie inside a segment of the given access rights and limit. */
export function insideSegment(rights: number, limit: number, offset: number, width: number): boolean {
  if ((rights & AR_UNUSABLE) !== 0) return false;
  const last = offset + width - 1;
  const expandDown = (rights & (AR_S | TYPE_CODE | TYPE_EXPAND_DOWN)) === (AR_S | TYPE_EXPAND_DOWN);
  return expandDown ? offset > limit && last <= ((rights & AR_DB) !== 0 ? 0xffff_ffff : 0xffff) : last <= limit;
}

/** Puts a descriptor into a segment register, with the accessed bit set; the caller has made all checks. */
export function setSegment(state: ProcessorState, segment: number, selector: number, descriptor: Descriptor): void {
  const accessed = isSystem(descriptor) ? 0 : TYPE_ACCESSED;
  state.setSelector(segment, selector);
  state.setAccessRights(segment, rightsOf(descriptor) | accessed);
  state.setLimit(segment, limitOf(descriptor));
  state.setSegmentBase(segment, baseOf(descriptor));
}

/** A null selector: the segment is unusable until it is loaded again. */
export function setNullSegment(state: ProcessorState, segment: number, selector: number): void {
  state.setSelector(segment, selector);
  state.setAccessRights(segment, AR_UNUSABLE);
  state.setLimit(segment, 0);
  state.setSegmentBase(segment, 0);
}

/** A load in real-address or virtual-8086 mode. */
export function setRealSegment(state: ProcessorState, segment: number, selector: number): void {
  state.setSelector(segment, selector);
  state.setSegmentBase(segment, (selector & 0xffff) << 4);
  if (isV86(state)) {
    state.setAccessRights(segment, V86_RIGHTS);
    state.setLimit(segment, 0xffff);
  } else {
    state.setAccessRights(segment, (state.accessRights(segment) & (AR_DB | AR_G)) | REAL_MODE_RIGHTS);
  }
}

/** All six segments as virtual-8086 mode has them; `selectors` in encoding order. EFLAGS.VM is already set. */
export function setV86Segments(state: ProcessorState, selectors: readonly number[]): void {
  selectors.forEach((selector, segment) => {
    setRealSegment(state, segment, selector);
  });
}

/**
 * MOV, POP and LxS to ES, SS, DS, FS or GS in any mode. The caller has excluded CS and deals with the shadow of SS.
 */
export function loadSegment(cpu: SystemCpu, segment: number, selector: number): void {
  const { state } = cpu;
  if (!usesDescriptors(state)) {
    setRealSegment(state, segment, selector);
  } else if (segment === SS) {
    const descriptor = checkStackSegment(cpu, selector, state.cpl, GP);
    markAccessed(cpu, descriptor);
    setSegment(state, SS, selector, descriptor);
  } else if (isNull(selector)) {
    setNullSegment(state, segment, selector);
  } else {
    const descriptor = checkDataSegment(cpu, selector);
    markAccessed(cpu, descriptor);
    setSegment(state, segment, selector, descriptor);
  }
}

/**
 * The checks on a stack segment for privilege level `cpl`. `vector` is what a bad selector raises: #GP, or #TS for a
 * selector out of a TSS. An absent segment raises #SS.
 */
export function checkStackSegment(cpu: SystemCpu, selector: number, cpl: number, vector: number): Descriptor {
  if (isNull(selector)) throw selectorFault(cpu, vector, 0);
  const descriptor = readDescriptor(cpu, selector, vector);
  const valid = isWritableData(descriptor) && (selector & RPL) === cpl && dplOf(descriptor) === cpl;
  if (!valid) throw selectorFault(cpu, vector, selector);
  if (!isPresent(descriptor)) throw selectorFault(cpu, SS_FAULT, selector);
  return descriptor;
}

/** The checks on a segment for DS, ES, FS or GS; the selector is not null. */
export function checkDataSegment(cpu: SystemCpu, selector: number, vector = GP): Descriptor {
  const descriptor = readDescriptor(cpu, selector, vector);
  const type = typeOf(descriptor);
  const code = (type & TYPE_CODE) !== 0;
  const readable = !isSystem(descriptor) && (!code || (type & TYPE_READABLE) !== 0);
  const dpl = dplOf(descriptor);
  const conforming = code && (type & TYPE_CONFORMING) !== 0;
  const privileged = conforming || (dpl >= (selector & RPL) && dpl >= cpu.state.cpl);
  if (!readable || !privileged) throw selectorFault(cpu, vector, selector);
  if (!isPresent(descriptor)) throw selectorFault(cpu, NP, selector);
  return descriptor;
}

/**
 * Loads CS and EIP with a checked code segment; the CPL becomes `cpl`, which is also the selector's RPL. Throws #GP(0) if
 * `offset` lies outside the segment.
 */
export function enterCode(cpu: SystemCpu, descriptor: Descriptor, cpl: number, offset: number): void {
  if (offset > limitOf(descriptor)) throw selectorFault(cpu, GP, 0);
  markAccessed(cpu, descriptor);
  setCode(cpu, descriptor, cpl, offset);
}

/** As {@link enterCode} when limit and accessed bit are dealt with: cannot fault. */
export function setCode(cpu: SystemCpu, descriptor: Descriptor, cpl: number, offset: number): void {
  const { state } = cpu;
  setSegment(state, CS, (descriptor.selector & ~RPL) | cpl, descriptor);
  state.cpl = cpl;
  state.eip = offset;
  cpu.modeChanged();
}

/** A far transfer in real-address or virtual-8086 mode. */
export function enterRealCode(cpu: SystemCpu, selector: number, offset: number): void {
  const { state } = cpu;
  if (offset > state.limit(CS)) throw selectorFault(cpu, GP, 0);
  setRealSegment(state, CS, selector);
  state.eip = offset;
  cpu.modeChanged();
}
