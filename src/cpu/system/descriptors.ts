/**
 * Segment descriptors and gates in the GDT and LDT. SDM Vol. 3 §3.4.5, §3.5 and §5.8.
 */

import { GP } from "../context.ts";
import { AR_P, AR_S, AR_TYPE, AR_UNUSABLE, LDTR, OFFSET } from "../state.ts";
import { type SystemCpu, selectorFault } from "./cpu.ts";

/** System descriptor types (SDM Vol. 3 table 3-2). */
export const TSS_16_AVAILABLE = 1;
export const LDT = 2;
export const TSS_16_BUSY = 3;
export const CALL_GATE_16 = 4;
export const TASK_GATE = 5;
export const INTERRUPT_GATE_16 = 6;
export const TRAP_GATE_16 = 7;
export const TSS_32_AVAILABLE = 9;
export const TSS_32_BUSY = 11;
export const CALL_GATE_32 = 12;
export const INTERRUPT_GATE_32 = 14;
export const TRAP_GATE_32 = 15;
/** Type bit that tells a busy TSS from an available one. */
export const TSS_BUSY = 2;

/** Bits of the type of a code or data segment (SDM Vol. 3 table 3-1). */
export const TYPE_ACCESSED = 1;
/** Data: writable. Code: readable. */
export const TYPE_WRITABLE = 2;
export const TYPE_READABLE = 2;
/** Data: expand-down. Code: conforming. */
export const TYPE_EXPAND_DOWN = 4;
export const TYPE_CONFORMING = 4;
export const TYPE_CODE = 8;

/** Selector bits. */
export const TABLE_INDICATOR = 4;
export const RPL = 3;

/** Both words of a descriptor, and where they were read. */
export interface Descriptor {
  readonly selector: number;
  readonly linear: number;
  readonly low: number;
  readonly high: number;
}

export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;

/** Access rights in VMX format: bits 15:8 and 23:20 of the upper word. */
export const rightsOf = (descriptor: Descriptor): number => (descriptor.high >>> 8) & 0xf0ff;
export const typeOf = (descriptor: Descriptor): number => (descriptor.high >>> 8) & AR_TYPE;
export const dplOf = (descriptor: Descriptor): number => (descriptor.high >>> 13) & 3;
export const isPresent = (descriptor: Descriptor): boolean => ((descriptor.high >>> 8) & AR_P) !== 0;
/** A system segment or a gate rather than code or data. */
export const isSystem = (descriptor: Descriptor): boolean => ((descriptor.high >>> 8) & AR_S) === 0;
export const isCode = (descriptor: Descriptor): boolean =>
  !isSystem(descriptor) && (typeOf(descriptor) & TYPE_CODE) !== 0;
export const isConforming = (descriptor: Descriptor): boolean => (typeOf(descriptor) & TYPE_CONFORMING) !== 0;
export const isWritableData = (descriptor: Descriptor): boolean =>
  !isSystem(descriptor) && (typeOf(descriptor) & (TYPE_CODE | TYPE_WRITABLE)) === TYPE_WRITABLE;

export function baseOf({ low, high }: Descriptor): number {
  return ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0;
}

/** The limit in bytes, granularity applied. */
export function limitOf({ low, high }: Descriptor): number {
  const limit = (low & 0xffff) | (high & 0x000f_0000);
  return (high & 0x0080_0000) === 0 ? limit : ((limit << 12) | 0xfff) >>> 0;
}

/** Gate fields (SDM Vol. 3 figures 5-8 and 6-2); 16-bit gates have a 16-bit offset. */
export const gateSelector = (gate: Descriptor): number => gate.low >>> 16;
export function gateOffset(gate: Descriptor): number {
  const low = gate.low & 0xffff;
  return (typeOf(gate) & 8) === 0 ? low : ((gate.high & 0xffff_0000) | low) >>> 0;
}

/** Linear address of the descriptor that a selector names, or −1 if it lies outside its table. */
export function descriptorAddress(cpu: SystemCpu, selector: number): number {
  const { state } = cpu;
  const offset = selector & 0xfff8;
  if ((selector & TABLE_INDICATOR) === 0) {
    return offset + 7 > state.get(OFFSET.gdtrLimit) ? -1 : (state.get(OFFSET.gdtrBase) + offset) >>> 0;
  }
  const unusable = (state.accessRights(LDTR) & AR_UNUSABLE) !== 0;
  return unusable || offset + 7 > state.limit(LDTR) ? -1 : (state.segmentBase(LDTR) + offset) >>> 0;
}

/** The descriptor that `selector` names; undefined outside the table. Reads as supervisor and may page-fault. */
export function findDescriptor(cpu: SystemCpu, selector: number): Descriptor | undefined {
  const linear = descriptorAddress(cpu, selector);
  if (linear < 0) return undefined;
  const low = cpu.readLinear(linear, 4, true);
  return { selector, linear, low, high: cpu.readLinear((linear + 4) >>> 0, 4, true) };
}

/** As {@link findDescriptor}; outside the table the fault `vector` (#GP unless given) with the selector. */
export function readDescriptor(cpu: SystemCpu, selector: number, vector = GP): Descriptor {
  const descriptor = findDescriptor(cpu, selector);
  if (descriptor === undefined) throw selectorFault(cpu, vector, selector);
  return descriptor;
}

/** Sets the accessed bit of a code or data segment in memory, if it is clear. */
export function markAccessed(cpu: SystemCpu, descriptor: Descriptor): void {
  if ((typeOf(descriptor) & TYPE_ACCESSED) === 0) setTypeBits(cpu, descriptor, TYPE_ACCESSED);
}

export function setTypeBits(cpu: SystemCpu, descriptor: Descriptor, bits: number): void {
  const rights = ((descriptor.high >>> 8) & 0xff) | bits;
  cpu.writeLinear((descriptor.linear + 5) >>> 0, 1, rights, true);
}
