/** IN, OUT, INS, OUTS. SDM Vol. 1 chapter 19, Vol. 2, those instructions; Vol. 3 §17.2.4, §26.1.3, §28.2.1. */

import { GP, type Instruction } from "../context.ts";
import { AR_UNUSABLE, CR4_DE, DF, EAX, ECX, EDI, EDX, ES, ESI, TR, VM } from "../state.ts";
import { EXIT, ioQualification } from "../vmx/exit-reasons.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import { TSS_32_AVAILABLE, TSS_BUSY, TYPE_CODE, TYPE_WRITABLE } from "./descriptors.ts";
import { iopl } from "./flags.ts";
import { insideSegment, isProtected } from "./segments.ts";

/** Where a 32-bit TSS has the offset of its I/O permission map (SDM Vol. 1 figure 19-2). */
const TSS_IO_MAP_BASE = 102;

/** IN and OUT are 1 byte wide with an even opcode, else of the operand size; so are INS and OUTS. */
const widthOf = (insn: Instruction): number => ((insn.opcode & 1) === 0 ? 1 : insn.operandSize >>> 3);

/** At CPL > IOPL and in virtual-8086 mode the I/O permission map decides, else the access is permitted. */
function requirePermission(cpu: SystemCpu, port: number, width: number): void {
  const { state } = cpu;
  const v86 = (state.flagsRest & VM) !== 0;
  if (!isProtected(state) || (state.cpl <= iopl(state) && !v86)) return;
  const wide = (state.accessRights(TR) & 0xf & ~TSS_BUSY) === TSS_32_AVAILABLE;
  const limit = state.limit(TR);
  if (!wide || limit < TSS_IO_MAP_BASE + 1) throw cpu.fault(GP, 0);
  const base = state.segmentBase(TR);
  const at = cpu.readLinear((base + TSS_IO_MAP_BASE) >>> 0, 2, true) + (port >>> 3);
  // Two bytes are always read, so that an access may straddle them.
  if (at + 1 > limit) throw cpu.fault(GP, 0);
  const map = cpu.readLinear((base + at) >>> 0, 2, true);
  if (((map >>> (port & 7)) & ((1 << width) - 1)) !== 0) throw cpu.fault(GP, 0);
}

/** I/O breakpoints: R/W is 2, CR4.DE is set; the #DB is a trap after the instruction (SDM Vol. 3 §17.2.4). */
function noteBreakpoints(cpu: SystemCpu, port: number, width: number): void {
  const { state } = cpu;
  const dr7 = state.dr(7);
  if ((dr7 & 0xff) === 0 || (state.cr4 & CR4_DE) === 0) return;
  for (let index = 0; index < 4; index++) {
    const control = dr7 >>> (16 + 4 * index);
    const length = (control >>> 2) & 3;
    const enabled = ((dr7 >>> (2 * index)) & 3) !== 0;
    const first = (state.dr(index) & ~length) >>> 0;
    if (!enabled || (control & 3) !== 2 || port + width <= first || port > first + length) continue;
    state.pendingDebug |= (1 << index) | ENABLED_BREAKPOINT;
    cpu.checkBoundary();
  }
}

/** Pending debug exceptions, bit 12 (SDM Vol. 3 table 25-4). */
const ENABLED_BREAKPOINT = 1 << 12;

/** The port of IN and OUT: DX with opcode bit 3, else an immediate byte. */
function portOf(cpu: SystemCpu, insn: Instruction): number {
  return (insn.opcode & 8) === 0 ? insn.immediate & 0xff : cpu.state.gpr(EDX) & 0xffff;
}

/** Records the exit of IN or OUT, if it exits; the permission map comes first. */
function exits(cpu: SystemCpu, insn: Instruction, port: number, width: number, isInput: boolean): boolean {
  requirePermission(cpu, port, width);
  if (!cpu.vmx.ioExits(port, width)) return false;
  const immediate = (insn.opcode & 8) === 0;
  cpu.vmx.exit(EXIT.IO_INSTRUCTION, ioQualification(port, width, isInput, false, false, immediate));
  return true;
}

function input(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  const port = portOf(cpu, insn);
  const width = widthOf(insn);
  if (exits(cpu, insn, port, width, true)) return;
  const value = cpu.platform.portRead(port, width);
  if (width === 1) state.setGpr8(EAX, value);
  else if (width === 2) state.setGpr16(EAX, value);
  else state.setGpr(EAX, value);
  noteBreakpoints(cpu, port, width);
}

function output(cpu: SystemCpu, insn: Instruction): void {
  const port = portOf(cpu, insn);
  const width = widthOf(insn);
  if (exits(cpu, insn, port, width, false)) return;
  const mask = width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
  cpu.platform.portWrite(port, width, (cpu.state.gpr(EAX) & mask) >>> 0);
  noteBreakpoints(cpu, port, width);
}

/**
 * One iteration of INS or OUTS. With a REP prefix and iterations left, EIP goes back to the instruction, so that each
 * iteration counts as one instruction and interrupts are seen between them. An exit comes before any access to memory.
 */
function stringIo(cpu: SystemCpu, insn: Instruction, isInput: boolean): void {
  const { state } = cpu;
  const mask = insn.addressSize === 32 ? 0xffff_ffff : 0xffff;
  const repeated = insn.rep !== 0;
  const count = (state.gpr(ECX) & mask) >>> 0;
  if (repeated && count === 0) return;

  const segment = isInput ? ES : insn.segment;
  const index = isInput ? EDI : ESI;
  const offset = (state.gpr(index) & mask) >>> 0;
  const port = state.gpr(EDX) & 0xffff;
  const width = widthOf(insn);
  requirePermission(cpu, port, width);
  if (cpu.vmx.ioExits(port, width)) {
    const qualification = ioQualification(port, width, isInput, true, repeated, false);
    // VM-exit instruction information for INS and OUTS, SDM Vol. 3 table 28-8.
    const instructionInformation = (insn.addressSize === 32 ? 1 << 7 : 0) | (segment << 15);
    const guestLinear = (state.segmentBase(segment) + offset) >>> 0;
    throw cpu.vmx.exit(EXIT.IO_INSTRUCTION, qualification, { instructionInformation, guestLinear });
  }

  if (isInput) {
    requireWritable(cpu, offset, width);
    cpu.write(segment, offset, width, cpu.platform.portRead(port, width));
  } else {
    cpu.platform.portWrite(port, width, cpu.read(segment, offset, width));
  }
  const step = (state.flagsRest & DF) === 0 ? width : -width;
  setMasked(cpu, index, offset + step, mask);
  noteBreakpoints(cpu, port, width);
  if (!repeated) return;
  setMasked(cpu, ECX, count - 1, mask);
  if (count > 1) state.eip = insn.eip;
}

/** Reading the port may have an effect, so the faults of the store to ES:EDI come first. */
function requireWritable(cpu: SystemCpu, offset: number, width: number): void {
  const { state } = cpu;
  const rights = state.accessRights(ES);
  const writable = (rights & (AR_UNUSABLE | TYPE_CODE | TYPE_WRITABLE)) === TYPE_WRITABLE;
  if (!writable || !insideSegment(rights, state.limit(ES), offset, width)) throw cpu.fault(GP, 0);
  cpu.probeLinear((state.segmentBase(ES) + offset) >>> 0, width, true, state.cpl !== 3);
}

function setMasked(cpu: SystemCpu, register: number, value: number, mask: number): void {
  if (mask === 0xffff) cpu.state.setGpr16(register, value);
  else cpu.state.setGpr(register, value);
}

export const IO_INSTRUCTIONS = {
  in: input,
  out: output,
  ins: (cpu, insn) => stringIo(cpu, insn, true),
  outs: (cpu, insn) => stringIo(cpu, insn, false),
} satisfies Record<string, SystemInstruction>;
