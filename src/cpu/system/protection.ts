/** Asking about selectors: LAR LSL VERR VERW ARPL. SDM Vol. 2, those instructions; Vol. 3 §5.10. */

import { type Instruction, UD } from "../context.ts";
import { type ProcessorState, ZF } from "../state.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import {
  CALL_GATE_16,
  CALL_GATE_32,
  type Descriptor,
  dplOf,
  findDescriptor,
  isCode,
  isConforming,
  isNull,
  isSystem,
  isWritableData,
  LDT,
  limitOf,
  RPL,
  TASK_GATE,
  TSS_16_AVAILABLE,
  TSS_16_BUSY,
  TSS_32_AVAILABLE,
  TSS_32_BUSY,
  TYPE_READABLE,
  typeOf,
} from "./descriptors.ts";
import { readOperand16, regField, writeOperand16, writeRegister } from "./operands.ts";
import { usesDescriptors } from "./segments.ts";

/** System descriptors with a limit, and those that LAR knows as well (SDM Vol. 2 tables 3-58 and 3-51). */
const WITH_LIMIT: readonly number[] = [TSS_16_AVAILABLE, LDT, TSS_16_BUSY, TSS_32_AVAILABLE, TSS_32_BUSY];
const LAR_TYPES: ReadonlySet<number> = new Set([...WITH_LIMIT, CALL_GATE_16, TASK_GATE, CALL_GATE_32]);
const LSL_TYPES: ReadonlySet<number> = new Set(WITH_LIMIT);

/** P, DPL, S, type and G, D/B, L, AVL in their places in the descriptor's upper word. */
const LAR_MASK = 0x00f0_ff00;

function setZf(state: ProcessorState, value: boolean): void {
  state.eflags = (state.eflags & ~ZF) | (value ? ZF : 0);
}

/** The descriptor, if the selector is not null, lies in its table and is visible at this CPL and RPL. */
function visibleDescriptor(cpu: SystemCpu, selector: number): Descriptor | undefined {
  const descriptor = isNull(selector) ? undefined : findDescriptor(cpu, selector);
  if (descriptor === undefined) return undefined;
  const dpl = dplOf(descriptor);
  const visible = (isCode(descriptor) && isConforming(descriptor)) || (dpl >= cpu.state.cpl && dpl >= (selector & RPL));
  return visible ? descriptor : undefined;
}

function requireDescriptors(cpu: SystemCpu): void {
  if (!usesDescriptors(cpu.state)) throw cpu.fault(UD);
}

/** LAR and LSL: `value` of a descriptor of the right kind goes to the register, ZF tells. */
const load =
  (types: ReadonlySet<number>, value: (descriptor: Descriptor) => number): SystemInstruction =>
  (cpu, insn) => {
    requireDescriptors(cpu);
    const descriptor = visibleDescriptor(cpu, readOperand16(cpu, insn));
    const found = descriptor !== undefined && (!isSystem(descriptor) || types.has(typeOf(descriptor)));
    if (found) writeRegister(cpu, insn, regField(insn), value(descriptor));
    setZf(cpu.state, found);
  };

const verify =
  (permits: (descriptor: Descriptor) => boolean): SystemInstruction =>
  (cpu, insn) => {
    requireDescriptors(cpu);
    const descriptor = visibleDescriptor(cpu, readOperand16(cpu, insn));
    setZf(cpu.state, descriptor !== undefined && !isSystem(descriptor) && permits(descriptor));
  };

function arpl(cpu: SystemCpu, insn: Instruction): void {
  requireDescriptors(cpu);
  const destination = readOperand16(cpu, insn);
  const rpl = cpu.state.gpr(regField(insn)) & RPL;
  const raise = (destination & RPL) < rpl;
  if (raise) writeOperand16(cpu, { ...insn, operandSize: 16 }, (destination & ~RPL) | rpl);
  setZf(cpu.state, raise);
}

export const PROTECTION_INSTRUCTIONS = {
  lar: load(LAR_TYPES, ({ high }) => high & LAR_MASK),
  lsl: load(LSL_TYPES, limitOf),
  verr: verify((descriptor) => !isCode(descriptor) || (typeOf(descriptor) & TYPE_READABLE) !== 0),
  verw: verify(isWritableData),
  arpl,
} satisfies Record<string, SystemInstruction>;
