/** MOV and POP of segment registers and the far-pointer loads. SDM Vol. 2, those instructions; Vol. 3 §6.8.3. */

import { type Instruction, UD } from "../context.ts";
import { BLOCKING_BY_MOV_SS, CS, DS, ES, FS, GS, SS } from "../state.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import { readOperand16, regField, requireMemory, writeOperand16, writeRegister } from "./operands.ts";
import { loadSegment } from "./segments.ts";
import { Stack } from "./stack.ts";

/** POP names its segment by bits 5:3 of the opcode: 07, 17, 1F, 0FA1, 0FA9. */
const segmentOfOpcode = (insn: Instruction): number => (insn.opcode >>> 3) & 7;

/** MOV SS and POP SS hold interrupts and debug exceptions off for one instruction; LSS does not. */
function shadowStackLoad(cpu: SystemCpu, segment: number): void {
  if (segment !== SS) return;
  cpu.state.interruptibility |= BLOCKING_BY_MOV_SS;
  cpu.checkBoundary();
}

function movTo(cpu: SystemCpu, insn: Instruction): void {
  const segment = regField(insn);
  if (segment === CS || segment > GS) throw cpu.fault(UD);
  loadSegment(cpu, segment, readOperand16(cpu, insn));
  shadowStackLoad(cpu, segment);
}

function movFrom(cpu: SystemCpu, insn: Instruction): void {
  if (regField(insn) > GS) throw cpu.fault(UD);
  writeOperand16(cpu, insn, cpu.state.selector(regField(insn)));
}

function pop(cpu: SystemCpu, insn: Instruction): void {
  const segment = segmentOfOpcode(insn);
  const stack = Stack.current(cpu);
  loadSegment(cpu, segment, stack.pop(insn.operandSize >>> 3) & 0xffff);
  stack.commitPointer();
  shadowStackLoad(cpu, segment);
}

/** An m16:16 or m16:32 operand. */
export function readFarPointer(cpu: SystemCpu, insn: Instruction): { selector: number; offset: number } {
  requireMemory(cpu, insn);
  const at = cpu.effectiveOffset();
  const width = insn.operandSize >>> 3;
  const mask = insn.addressSize === 32 ? 0xffff_ffff : 0xffff;
  const offset = cpu.read(insn.segment, at, width);
  return { selector: cpu.read(insn.segment, ((at + width) & mask) >>> 0, 2), offset };
}

const loadFarPointer =
  (segment: number): SystemInstruction =>
  (cpu, insn) => {
    const { selector, offset } = readFarPointer(cpu, insn);
    loadSegment(cpu, segment, selector);
    writeRegister(cpu, insn, regField(insn), offset);
  };

export const SEGMENT_INSTRUCTIONS = {
  mov_to_segment: movTo,
  mov_from_segment: movFrom,
  pop_segment: pop,
  les: loadFarPointer(ES),
  lds: loadFarPointer(DS),
  lss: loadFarPointer(SS),
  lfs: loadFarPointer(FS),
  lgs: loadFarPointer(GS),
} satisfies Record<string, SystemInstruction>;
