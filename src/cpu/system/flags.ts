/** EFLAGS as PUSHF, POPF, CLI and STI have it. SDM Vol. 2, those instructions; Vol. 3 §6.8.1, §20.2.6 (without VME). */

import { GP, type Instruction } from "../context.ts";
import {
  AC,
  ARITHMETIC_FLAGS,
  BLOCKING_BY_STI,
  DF,
  ID,
  IF,
  IOPL,
  NT,
  type ProcessorState,
  RF,
  TF,
  VM,
} from "../state.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import { isV86 } from "./segments.ts";
import { Stack } from "./stack.ts";

/** What POPF and IRET may change at CPL 0, RF and the virtual-8086 flags apart. */
export const WRITABLE_FLAGS = ARITHMETIC_FLAGS | TF | IF | DF | IOPL | NT | AC | ID;

export const iopl = (state: ProcessorState): number => (state.flagsRest & IOPL) >>> 12;

/** Replaces the flags in `mask`. */
export function replaceFlags(state: ProcessorState, value: number, mask: number): void {
  state.eflags = (state.eflags & ~mask) | (value & mask);
}

/** {@link WRITABLE_FLAGS} less those that the privilege level protects, of which a 16-bit instruction sees the low half. */
export function permittedFlags(state: ProcessorState, operandSize: number): number {
  const privileged = (state.cpl > 0 ? IOPL : 0) | (state.cpl > iopl(state) ? IF : 0);
  return WRITABLE_FLAGS & ~privileged & (operandSize === 32 ? -1 : 0xffff);
}

/** PUSHF, POPF and IRET in virtual-8086 mode need IOPL 3. */
export function requireV86Iopl(cpu: SystemCpu): void {
  if (isV86(cpu.state) && iopl(cpu.state) < 3) throw cpu.fault(GP, 0);
}

function pushf(cpu: SystemCpu, insn: Instruction): void {
  requireV86Iopl(cpu);
  Stack.current(cpu).pushAlone(insn.operandSize >>> 3, cpu.state.eflags & ~(VM | RF));
}

function popf(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  requireV86Iopl(cpu);
  const stack = Stack.current(cpu);
  const value = stack.pop(insn.operandSize >>> 3);
  stack.commitPointer();
  const before = state.flagsRest;
  const cleared = insn.operandSize === 32 ? RF : 0;
  replaceFlags(state, value & ~RF, permittedFlags(state, insn.operandSize) | cleared);
  cpu.flagsSet(state.flagsRest & ~before);
}

function cli(cpu: SystemCpu): void {
  requireIopl(cpu);
  cpu.state.flagsRest &= ~IF;
}

/** Setting IF holds interrupts off for one more instruction; an IF that is set already does not. */
function sti(cpu: SystemCpu): void {
  const { state } = cpu;
  requireIopl(cpu);
  if ((state.flagsRest & IF) !== 0) return;
  state.flagsRest |= IF;
  state.interruptibility |= BLOCKING_BY_STI;
  cpu.checkBoundary();
}

function requireIopl(cpu: SystemCpu): void {
  if (cpu.state.cpl > iopl(cpu.state)) throw cpu.fault(GP, 0);
}

export const FLAG_INSTRUCTIONS = { pushf, popf, cli, sti } satisfies Record<string, SystemInstruction>;
