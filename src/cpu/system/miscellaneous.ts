/** HLT PAUSE CPUID RSM FWAIT BOUND ENTER CMPXCHG8B. SDM Vol. 2, those instructions; Vol. 3 §26.1. */

import { BR, type Instruction, MF, NM, UD } from "../context.ts";
import { AR_DB, CR0_MP, CR0_TS, EAX, EBP, EBX, ECX, EDX, HLT, SS, ZF } from "../state.ts";
import { EXIT } from "../vmx/exit-reasons.ts";
import { requirePrivilege } from "./control.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import { regField, requireMemory } from "./operands.ts";
import { Stack } from "./stack.ts";

/** The nesting levels of ENTER: bits 4:0 of its immediate. */
const ENTER_LEVELS = 31;

function hlt(cpu: SystemCpu): void {
  requirePrivilege(cpu);
  if (cpu.vmx.controls.hltExiting) throw cpu.vmx.exit(EXIT.HLT);
  cpu.state.activity = HLT;
  cpu.checkBoundary();
}

function pause(cpu: SystemCpu): void {
  if (cpu.vmx.controls.pauseExiting) throw cpu.vmx.exit(EXIT.PAUSE);
}

function cpuid(cpu: SystemCpu): void {
  throw cpu.vmx.exit(EXIT.CPUID);
}

/** System-management mode is not modelled, and outside it RSM does not exist. */
function rsm(cpu: SystemCpu): void {
  throw cpu.fault(UD);
}

/** CR0.NE is always 1 in VMX operation, so a pending exception is #MF. */
function fwait(cpu: SystemCpu): void {
  const both = CR0_MP | CR0_TS;
  if ((cpu.state.cr0 & both) === both) throw cpu.fault(NM);
  if (cpu.x87.exceptionPending) throw cpu.fault(MF);
}

function bound(cpu: SystemCpu, insn: Instruction): void {
  requireMemory(cpu, insn);
  const width = insn.operandSize >>> 3;
  const unused = 32 - insn.operandSize;
  const signed = (value: number): number => (value << unused) >> unused;
  const at = cpu.effectiveOffset();
  const lower = signed(cpu.read(insn.segment, at, width));
  const upper = signed(cpu.read(insn.segment, at + width, width));
  const index = signed(cpu.state.gpr(regField(insn)));
  if (index < lower || index > upper) throw cpu.fault(BR);
}

/** With level n > 0, ENTER copies n − 1 frame pointers of the enclosing procedures and pushes its own. */
function enter(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  const width = insn.operandSize >>> 3;
  const level = insn.immediate2 & ENTER_LEVELS;
  const bigStack = (state.accessRights(SS) & AR_DB) !== 0;
  const stackMask = bigStack ? 0xffff_ffff : 0xffff;
  const stack = Stack.current(cpu);
  stack.push(width, state.gpr(EBP));
  const frame = stack.top;
  for (let copied = 1; copied < level; copied++) {
    const offset = ((state.gpr(EBP) - copied * width) & stackMask) >>> 0;
    stack.push(width, cpu.read(SS, offset, width));
  }
  if (level > 0) stack.push(width, frame);
  stack.skip(-(insn.immediate & 0xffff));
  stack.probeTop(width);
  stack.store();
  stack.commitPointer();
  if (insn.operandSize === 32) state.setGpr(EBP, bigStack ? frame : (frame & 0xffff) >>> 0);
  else state.setGpr16(EBP, frame);
}

/** The memory operand is written in either case, as by a processor that has locked the bus. */
function cmpxchg8b(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  requireMemory(cpu, insn);
  const at = cpu.effectiveOffset();
  const bytes = cpu.readBytes(insn.segment, at, 8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const low = view.getUint32(0, true);
  const high = view.getUint32(4, true);
  const equal = low === state.gpr(EAX) && high === state.gpr(EDX);
  if (equal) {
    view.setUint32(0, state.gpr(EBX), true);
    view.setUint32(4, state.gpr(ECX), true);
  }
  cpu.writeBytes(insn.segment, at, bytes);
  if (!equal) {
    state.setGpr(EAX, low);
    state.setGpr(EDX, high);
  }
  state.eflags = (state.eflags & ~ZF) | (equal ? ZF : 0);
}

export const MISCELLANEOUS_INSTRUCTIONS = {
  hlt,
  pause,
  cpuid,
  rsm,
  fwait,
  bound,
  enter,
  cmpxchg8b,
} satisfies Record<string, SystemInstruction>;
