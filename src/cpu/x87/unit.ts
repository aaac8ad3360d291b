// Part: the state of the x87 unit and the SSE registers beside it (SDM Vol. 1, 8.1 and 10.2), as plain data.
// The SSE registers are storage for FXSAVE and FXRSTOR only. The tag word is kept abridged: one bit a physical register,
// set when it is not empty; the two-bit tags are computed from the contents when an image is stored, as processors do.

import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { type Extended, readExtended, writeExtended } from "./extended.ts";

/** Status word bits (SDM Vol. 1, figure 8-4). */
export const SF = 0x0040;
export const ES = 0x0080;
export const C0 = 0x0100;
export const C1 = 0x0200;
export const C2 = 0x0400;
export const C3 = 0x4000;
export const BUSY = 0x8000;
export const CONDITION_CODES = C0 | C1 | C2 | C3;
const TOP_SHIFT = 11;
const TOP_MASK = 7 << TOP_SHIFT;
const EXCEPTIONS = 0x3f;

/** Bits of the control word that can be written; bit 6 reads as one (SDM Vol. 1, figure 8-6). */
const CONTROL_WRITABLE = 0x1f3f;
const CONTROL_FIXED = 0x0040;
/** The control word after FNINIT (SDM Vol. 2A, FINIT/FNINIT) and after RESET (SDM Vol. 3A, table 10-1). */
const CONTROL_INITIAL = 0x037f;
const CONTROL_RESET = 0x0040;
const MXCSR_RESET = 0x1f80;

const REGISTER_BYTES = 10;
const XMM_BYTES = 8 * 16;

export interface X87Snapshot {
  readonly control: number;
  readonly status: number;
  readonly occupied: number;
  readonly opcode: number;
  readonly instructionOffset: number;
  readonly instructionSelector: number;
  readonly operandOffset: number;
  readonly operandSelector: number;
  readonly mxcsr: number;
  /** R0 to R7, ten bytes each in memory format. */
  readonly registers: Uint8Array;
  /** XMM0 to XMM7. */
  readonly xmm: Uint8Array;
}

const WIDTHS = {
  control: 16,
  status: 16,
  occupied: 8,
  opcode: 11,
  instructionOffset: 32,
  instructionSelector: 16,
  operandOffset: 32,
  operandSelector: 16,
  mxcsr: 32,
} as const;
type Field = keyof typeof WIDTHS;
const FIELDS = Object.keys(WIDTHS) as Field[];

export class X87 implements Snapshotable<X87Snapshot> {
  control = CONTROL_RESET;
  /** With TOP in bits 13..11, ES and B. */
  status = 0;
  /** Bit n: physical register n is not empty. */
  occupied = 0xff;
  /** The last non-control instruction: its opcode (low 3 bits of the first byte, then the second) and both pointers. */
  opcode = 0;
  instructionOffset = 0;
  instructionSelector = 0;
  operandOffset = 0;
  operandSelector = 0;
  mxcsr = MXCSR_RESET;
  readonly xmm = new Uint8Array(XMM_BYTES);
  private readonly registers = new Uint8Array(8 * REGISTER_BYTES);
  private readonly view = new DataView(this.registers.buffer);

  /** The state after power-up or RESET: all registers +0.0 and not empty. */
  reset(): void {
    this.initialize();
    this.control = CONTROL_RESET;
    this.occupied = 0xff;
    this.mxcsr = MXCSR_RESET;
    this.registers.fill(0);
    this.xmm.fill(0);
  }

  /** FNINIT: the data registers keep their contents but are all empty. */
  initialize(): void {
    this.control = CONTROL_INITIAL;
    this.status = 0;
    this.occupied = 0;
    this.opcode = 0;
    this.instructionOffset = 0;
    this.instructionSelector = 0;
    this.operandOffset = 0;
    this.operandSelector = 0;
  }

  get top(): number {
    return (this.status >> TOP_SHIFT) & 7;
  }

  set top(value: number) {
    this.status = (this.status & ~TOP_MASK) | ((value & 7) << TOP_SHIFT);
  }

  private physical(index: number): number {
    return (this.top + index) & 7;
  }

  /** @param index i of ST(i), from 0 to 7, empty or not; -1 is the register that a push would take */
  read(index: number): Extended {
    return readExtended(this.view, this.physical(index) * REGISTER_BYTES);
  }

  /** Writes ST(index) and marks it as not empty. */
  write(index: number, value: Extended): void {
    const register = this.physical(index);
    writeExtended(this.view, register * REGISTER_BYTES, value);
    this.occupied |= 1 << register;
  }

  isEmpty(index: number): boolean {
    return (this.occupied & (1 << this.physical(index))) === 0;
  }

  free(index: number): void {
    this.occupied &= ~(1 << this.physical(index));
  }

  push(value: Extended): void {
    this.top -= 1;
    this.write(0, value);
  }

  pop(): void {
    this.free(0);
    this.top += 1;
  }

  /** Loads the control word; unmasking an exception that is flagged makes it pending. */
  loadControl(value: number): void {
    this.control = (value & CONTROL_WRITABLE) | CONTROL_FIXED;
    this.updateSummary();
  }

  /** Loads the status word; ES and B follow from the exception flags and masks. */
  loadStatus(value: number): void {
    this.status = value & 0xffff;
    this.updateSummary();
  }

  /** ES is set while an exception flag is set whose mask is clear; B mirrors ES (SDM Vol. 1, 8.1.3). */
  updateSummary(): void {
    const pending = (this.status & ~this.control & EXCEPTIONS) !== 0;
    this.status = (this.status & ~(ES | BUSY)) | (pending ? ES | BUSY : 0);
  }

  get exceptionPending(): boolean {
    return (this.status & ES) !== 0;
  }

  save(): X87Snapshot {
    const { control, status, occupied, opcode, instructionOffset, instructionSelector } = this;
    const { operandOffset, operandSelector, mxcsr } = this;
    return {
      control,
      status,
      occupied,
      opcode,
      instructionOffset,
      instructionSelector,
      operandOffset,
      operandSelector,
      mxcsr,
      registers: this.registers.slice(),
      xmm: this.xmm.slice(),
    };
  }

  /** @throws InputError when the state is out of range; the unit is then as it was */
  load(state: X87Snapshot): void {
    for (const field of FIELDS) {
      const value = state[field];
      if (!Number.isInteger(value) || value < 0 || value >= 2 ** WIDTHS[field]) {
        throw new InputError(`${field} does not fit in ${WIDTHS[field]} bits`, "x87 state");
      }
    }
    if (state.registers.length !== this.registers.length || state.xmm.length !== this.xmm.length) {
      throw new InputError("the registers have a wrong length", "x87 state");
    }
    for (const field of FIELDS) this[field] = state[field];
    this.registers.set(state.registers);
    this.xmm.set(state.xmm);
  }
}
