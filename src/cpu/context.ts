/**
 * What the processor's rare, long and privileged instructions see of the processor.
 *
 * The hot instructions are expressions compiled to WebAssembly; everything else is a plain function over this
 * interface, called with the instruction pointer still at the instruction (so a fault leaves it restartable).
 */

import type { ProcessorState } from "./state.ts";

/** Exception classes and vectors (SDM Vol. 3 table 6-1). */
export const DE = 0;
export const DB = 1;
export const NMI = 2;
export const BP = 3;
export const OF_TRAP = 4;
export const BR = 5;
export const UD = 6;
export const NM = 7;
export const DOUBLE_FAULT = 8;
export const TS = 10;
export const NP = 11;
export const SS_FAULT = 12;
export const GP = 13;
export const PAGE_FAULT = 14;
export const MF = 16;
export const AC_FAULT = 17;
export const MC = 18;
export const XM = 19;

/**
 * An exception the guest's instruction raised, as data. One object exists per processor; throw it only by
 * {@link Cpu.fault}. The engine catches it before it reaches a handler.
 */
export interface Fault {
  vector: number;
  /** −1 when the exception pushes none. */
  errorCode: number;
  /** Fault linear address of a page fault, the exit qualification of a debug exception; else 0. */
  address: number;
}

/** The decoded instruction that a slow function executes. */
export interface Instruction {
  /** EIP of its first byte. */
  eip: number;
  /** Bytes, prefixes included. */
  length: number;
  /** One byte, or 0x0fXX for the two-byte map. */
  opcode: number;
  /** The ModRM byte, −1 without one. */
  modrm: number;
  operandSize: 16 | 32;
  addressSize: 16 | 32;
  /** Segment of the memory operand, override applied (DS for string sources). */
  segment: number;
  /** 0, 0xf2 or 0xf3. */
  rep: number;
  lock: boolean;
  /** Immediate, moffs or far offset; sign-extended where the opcode says so. */
  immediate: number;
  /** Far selector, ENTER's level. */
  immediate2: number;
}

/** Data access for slow functions. Widths are 1, 2 and 4 bytes; every access may throw a {@link Fault} or a VM exit. */
export interface Cpu {
  readonly state: ProcessorState;
  readonly insn: Instruction;

  /** Offset of the ModRM memory operand in `insn.segment`, truncated to the address size. */
  effectiveOffset(): number;

  /** Segment-checked and paged access at the current privilege. */
  read(segment: number, offset: number, width: number): number;
  write(segment: number, offset: number, width: number, value: number): void;
  /** Copies; the write checks every byte before it stores the first one. */
  readBytes(segment: number, offset: number, length: number): Uint8Array;
  writeBytes(segment: number, offset: number, bytes: Uint8Array): void;

  /** Paged access by linear address. Descriptor tables and the TSS are read and written as supervisor (SDM Vol. 3 §4.6). */
  readLinear(linear: number, width: number, supervisor: boolean): number;
  writeLinear(linear: number, width: number, value: number, supervisor: boolean): void;
  /** Faults exactly when a write (or read) of `length` bytes would; stores nothing. */
  probeLinear(linear: number, length: number, write: boolean, supervisor: boolean): void;

  /** Fills and returns the one fault object: `throw cpu.fault(GP, 0)`. */
  fault(vector: number, errorCode?: number, address?: number): Fault;

  /**
   * CPL, CR0/CR4/CR3, CS or EFLAGS.VM changed, so that code may be elsewhere. What else decides about decoding, as the other
   * segments, the engine looks up after each slow function anyway.
   */
  modeChanged(): void;
  /** Drops all non-global translations (or all of them). */
  flushTlb(includingGlobal: boolean): void;
  invalidatePage(linear: number): void;
  /** These flags of EFLAGS became set: as {@link checkBoundary} if an event waits for one of them or it is TF or RF. */
  flagsSet(flags: number): void;
  /** Return to the instruction-boundary checks after this instruction (IF, TF, shadows, activity may have changed). */
  checkBoundary(): void;
}

/** What surrounds the processor. */
export interface Platform {
  /** Value of the time-stamp counter at the current instruction, before TSC offsetting. */
  readTsc(): bigint;
  /** I/O that does not exit. Width 1, 2 or 4. */
  portRead(port: number, width: number): number;
  portWrite(port: number, width: number, value: number): void;
}
