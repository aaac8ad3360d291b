/** The r/m operand of system instructions: a register, or memory at the ModRM address. */

import { type Instruction, UD } from "../context.ts";
import type { SystemCpu } from "./cpu.ts";

export const isRegister = (insn: Instruction): boolean => insn.modrm >= 0xc0;
/** The reg field of ModRM: a general, segment, control or debug register, or an opcode extension. */
export const regField = (insn: Instruction): number => (insn.modrm >>> 3) & 7;
export const rmField = (insn: Instruction): number => insn.modrm & 7;

export function requireMemory(cpu: SystemCpu, insn: Instruction): void {
  if (isRegister(insn)) throw cpu.fault(UD);
}

export function readOperand16(cpu: SystemCpu, insn: Instruction): number {
  if (isRegister(insn)) return cpu.state.gpr(rmField(insn)) & 0xffff;
  return cpu.read(insn.segment, cpu.effectiveOffset(), 2);
}

/** Stores a 16-bit value: zero-extended to the operand size in a register, always two bytes in memory. */
export function writeOperand16(cpu: SystemCpu, insn: Instruction, value: number): void {
  if (isRegister(insn)) writeRegister(cpu, insn, rmField(insn), value & 0xffff);
  else cpu.write(insn.segment, cpu.effectiveOffset(), 2, value & 0xffff);
}

/** Writes a general register with the instruction's operand size. */
export function writeRegister(cpu: SystemCpu, insn: Instruction, index: number, value: number): void {
  if (insn.operandSize === 32) cpu.state.setGpr(index, value);
  else cpu.state.setGpr16(index, value);
}
