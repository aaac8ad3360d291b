/** The descriptor-table registers: SGDT SIDT LGDT LIDT SLDT STR LLDT LTR. SDM Vol. 2, those instructions; §26.1.3. */

import { GP, type Instruction, NP, UD } from "../context.ts";
import { LDTR, OFFSET, TR } from "../state.ts";
import { EXIT } from "../vmx/exit-reasons.ts";
import { requirePrivilege } from "./control.ts";
import { type SystemCpu, type SystemInstruction, selectorFault } from "./cpu.ts";
import {
  type Descriptor,
  isNull,
  isPresent,
  isSystem,
  LDT,
  readDescriptor,
  setTypeBits,
  TABLE_INDICATOR,
  TSS_16_AVAILABLE,
  TSS_32_AVAILABLE,
  TSS_BUSY,
  typeOf,
} from "./descriptors.ts";
import { describeOperand } from "./instruction-information.ts";
import { readOperand16, requireMemory, writeOperand16 } from "./operands.ts";
import { setNullSegment, setSegment, usesDescriptors } from "./segments.ts";

/** Instruction identities, bits 29:28 of the instruction information: SGDT SIDT LGDT LIDT and SLDT STR LLDT LTR (SDM Vol. 3
 * tables 28-9 and 28-10). */
const FIRST = 0;
const SECOND = 1;
const THIRD = 2;
const FOURTH = 3;

/** Throws the exit of "descriptor-table exiting", which comes before any access to the operand. */
function intercept(cpu: SystemCpu, insn: Instruction, reason: number, identity: number): void {
  if (!cpu.vmx.controls.descriptorTableExiting) return;
  const { information, displacement } = describeOperand(cpu, insn);
  const wide = reason === EXIT.GDTR_OR_IDTR_ACCESS && insn.operandSize === 32 ? 1 << 11 : 0;
  const instructionInformation = (information | wide | (identity << 28)) >>> 0;
  throw cpu.vmx.exit(reason, displacement, { instructionInformation });
}

/** SGDT and SIDT store all 32 bits of the base, whatever the operand size. */
function store(identity: number, base: number, limit: number): SystemInstruction {
  return (cpu, insn) => {
    requireMemory(cpu, insn);
    intercept(cpu, insn, EXIT.GDTR_OR_IDTR_ACCESS, identity);
    const bytes = new Uint8Array(6);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, cpu.state.get(limit), true);
    view.setUint32(2, cpu.state.get(base), true);
    cpu.writeBytes(insn.segment, cpu.effectiveOffset(), bytes);
  };
}

/** LGDT and LIDT with a 16-bit operand size load 24 bits of base. */
function load(identity: number, base: number, limit: number): SystemInstruction {
  return (cpu, insn) => {
    requireMemory(cpu, insn);
    requirePrivilege(cpu);
    intercept(cpu, insn, EXIT.GDTR_OR_IDTR_ACCESS, identity);
    const bytes = cpu.readBytes(insn.segment, cpu.effectiveOffset(), 6);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 6);
    cpu.state.set(limit, view.getUint16(0, true));
    cpu.state.set(base, (view.getUint32(2, true) & (insn.operandSize === 32 ? 0xffff_ffff : 0x00ff_ffff)) >>> 0);
  };
}

/** The LDTR and TR instructions exist in protected mode only. */
function requireDescriptors(cpu: SystemCpu): void {
  if (!usesDescriptors(cpu.state)) throw cpu.fault(UD);
}

function storeSelector(identity: number, segment: number): SystemInstruction {
  return (cpu, insn) => {
    requireDescriptors(cpu);
    intercept(cpu, insn, EXIT.LDTR_OR_TR_ACCESS, identity);
    writeOperand16(cpu, insn, cpu.state.selector(segment));
  };
}

function lldt(cpu: SystemCpu, insn: Instruction): void {
  requireDescriptors(cpu);
  requirePrivilege(cpu);
  intercept(cpu, insn, EXIT.LDTR_OR_TR_ACCESS, THIRD);
  const selector = readOperand16(cpu, insn);
  if (isNull(selector)) setNullSegment(cpu.state, LDTR, selector);
  else
    setSegment(
      cpu.state,
      LDTR,
      selector,
      readSystem(cpu, selector, (type) => type === LDT),
    );
}

function ltr(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  requireDescriptors(cpu);
  requirePrivilege(cpu);
  intercept(cpu, insn, EXIT.LDTR_OR_TR_ACCESS, FOURTH);
  const selector = readOperand16(cpu, insn);
  if (isNull(selector)) throw selectorFault(cpu, GP, 0);
  const descriptor = readSystem(cpu, selector, (type) => type === TSS_16_AVAILABLE || type === TSS_32_AVAILABLE);
  setTypeBits(cpu, descriptor, TSS_BUSY);
  setSegment(state, TR, selector, descriptor);
  state.setAccessRights(TR, state.accessRights(TR) | TSS_BUSY);
}

/** A present system descriptor of the GDT. */
function readSystem(cpu: SystemCpu, selector: number, fits: (type: number) => boolean): Descriptor {
  if ((selector & TABLE_INDICATOR) !== 0) throw selectorFault(cpu, GP, selector);
  const descriptor = readDescriptor(cpu, selector);
  if (!isSystem(descriptor) || !fits(typeOf(descriptor))) throw selectorFault(cpu, GP, selector);
  if (!isPresent(descriptor)) throw selectorFault(cpu, NP, selector);
  return descriptor;
}

export const TABLE_INSTRUCTIONS = {
  sgdt: store(FIRST, OFFSET.gdtrBase, OFFSET.gdtrLimit),
  sidt: store(SECOND, OFFSET.idtrBase, OFFSET.idtrLimit),
  lgdt: load(THIRD, OFFSET.gdtrBase, OFFSET.gdtrLimit),
  lidt: load(FOURTH, OFFSET.idtrBase, OFFSET.idtrLimit),
  sldt: storeSelector(FIRST, LDTR),
  str: storeSelector(SECOND, TR),
  lldt,
  ltr,
} satisfies Record<string, SystemInstruction>;
