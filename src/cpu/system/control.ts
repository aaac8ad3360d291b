/**
 * Control and debug registers: MOV CR, MOV DR, CLTS, LMSW, SMSW, INVLPG, INVD, WBINVD. SDM Vol. 2, those instructions;
 * Vol. 3 §2.5, §17.2, §26.1.3 and §26.3.
 */

import { DB, GP, type Instruction, UD } from "../context.ts";
import {
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  OFFSET,
} from "../state.ts";
import { CR0_FIXED0, CR4_FIXED0, CR4_FIXED1 } from "../vmx/capabilities.ts";
import {
  CR_CLTS,
  CR_LMSW,
  CR_MOV_FROM,
  CR_MOV_TO,
  crQualification,
  drQualification,
  EXIT,
} from "../vmx/exit-reasons.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import { DR6_FIXED, DR7_GD } from "./exceptions.ts";
import { isRegister, readOperand16, regField, requireMemory, rmField, writeOperand16 } from "./operands.ts";
import { loadPdptes } from "./paging.ts";

/** CR0 bits that exist; the others read as zero. */
const CR0_DEFINED = 0xe005_003f;
const CR0_PAGING_CACHE = CR0_PG | CR0_CD | CR0_NW;
const CR4_PAGING = CR4_PAE | CR4_PSE | CR4_PGE;
/** PE, MP, EM, TS: the bits of LMSW. */
const MACHINE_STATUS = 0xf;
/** DR6 bits that can be written: B0 to B3, BD, BS, BT. */
const DR6_WRITABLE = 0xe00f;
/** DR7: bits 15:14 and 12:11 are always 0, bit 10 always 1 (SDM Vol. 3 §17.2.4). */
const DR7_WRITABLE = 0xffff_23ff;
const DR7_FIXED = 0x400;
/** DR6.BD as the qualification of the #DB that DR7.GD raises. */
const DEBUG_BD = 1 << 13;

export function requirePrivilege(cpu: SystemCpu): void {
  if (cpu.state.cpl !== 0) throw cpu.fault(GP, 0);
}

/** CR0 as the guest reads it: bits the host owns come from the read shadow (SDM Vol. 3 §25.6.6). */
function visibleCr0({ state, vmx: { controls } }: SystemCpu): number {
  return ((state.cr0 & ~controls.cr0Mask) | (controls.cr0Shadow & controls.cr0Mask)) >>> 0;
}

function visibleCr4({ state, vmx: { controls } }: SystemCpu): number {
  return ((state.cr4 & ~controls.cr4Mask) | (controls.cr4Shadow & controls.cr4Mask)) >>> 0;
}

/** Loads CR0, with everything that depends on it; the value has passed the guest/host mask. */
function setCr0(cpu: SystemCpu, requested: number): void {
  const { state, vmx } = cpu;
  const value = ((requested & CR0_DEFINED) | CR0_ET) >>> 0;
  const fixed = vmx.controls.unrestrictedGuest ? CR0_FIXED0 & ~(CR0_PE | CR0_PG) : CR0_FIXED0;
  const invalid =
    (value & (CR0_PG | CR0_PE)) >>> 0 === CR0_PG >>> 0 ||
    (value & (CR0_NW | CR0_CD)) === CR0_NW ||
    (value & fixed) !== (fixed | 0);
  if (invalid) throw cpu.fault(GP, 0);
  const changed = value ^ state.cr0;
  const pae = (value & CR0_PG) !== 0 && (state.cr4 & CR4_PAE) !== 0;
  if (pae && (changed & CR0_PAGING_CACHE) !== 0) loadPdptes(cpu, state.cr3);
  state.cr0 = value;
  if ((changed & (CR0_PG | CR0_PE | CR0_WP)) !== 0) cpu.flushTlb(true);
  cpu.modeChanged();
}

function setCr4(cpu: SystemCpu, value: number): void {
  const { state } = cpu;
  if ((value & ~CR4_FIXED1) !== 0 || (value & CR4_FIXED0) !== CR4_FIXED0) throw cpu.fault(GP, 0);
  const changed = value ^ state.cr4;
  const pae = (state.cr0 & CR0_PG) !== 0 && (value & CR4_PAE) !== 0;
  if (pae && (changed & CR4_PAGING) !== 0) loadPdptes(cpu, state.cr3);
  state.cr4 = value;
  if ((changed & CR4_PAGING) !== 0) cpu.flushTlb(true);
  cpu.modeChanged();
}

function setCr3(cpu: SystemCpu, value: number): void {
  const { state } = cpu;
  if ((state.cr0 & CR0_PG) !== 0 && (state.cr4 & CR4_PAE) !== 0) loadPdptes(cpu, value);
  state.cr3 = value;
  cpu.flushTlb(false);
}

/** The two moves encode the general register in r/m, whatever the mod field says. */
function movToCr(cpu: SystemCpu, insn: Instruction): void {
  const { state, vmx } = cpu;
  const { controls } = vmx;
  const cr = regField(insn);
  const value = state.gpr(rmField(insn));
  const exit = () => vmx.exit(EXIT.CONTROL_REGISTER_ACCESS, crQualification(cr, CR_MOV_TO, rmField(insn)));
  requireControlRegister(cpu, cr);
  requirePrivilege(cpu);
  if (cr === 0) {
    if (((value ^ controls.cr0Shadow) & controls.cr0Mask) !== 0) throw exit();
    setCr0(cpu, (value & ~controls.cr0Mask) | (state.cr0 & controls.cr0Mask));
  } else if (cr === 2) {
    state.set(OFFSET.cr2, value);
  } else if (cr === 3) {
    if (controls.cr3LoadExiting && !controls.cr3Targets.includes(value)) throw exit();
    setCr3(cpu, value);
  } else {
    if (((value ^ controls.cr4Shadow) & controls.cr4Mask) !== 0) throw exit();
    setCr4(cpu, ((value & ~controls.cr4Mask) | (state.cr4 & controls.cr4Mask)) >>> 0);
  }
}

function movFromCr(cpu: SystemCpu, insn: Instruction): void {
  const { state, vmx } = cpu;
  const cr = regField(insn);
  const gpr = rmField(insn);
  requireControlRegister(cpu, cr);
  requirePrivilege(cpu);
  if (cr === 3 && vmx.controls.cr3StoreExiting) {
    throw vmx.exit(EXIT.CONTROL_REGISTER_ACCESS, crQualification(cr, CR_MOV_FROM, gpr));
  }
  if (cr === 0) state.setGpr(gpr, visibleCr0(cpu));
  else if (cr === 2) state.setGpr(gpr, state.get(OFFSET.cr2));
  else if (cr === 3) state.setGpr(gpr, state.cr3);
  else state.setGpr(gpr, visibleCr4(cpu));
}

function requireControlRegister(cpu: SystemCpu, cr: number): void {
  if (cr === 1 || cr > 4) throw cpu.fault(UD);
}

function clts(cpu: SystemCpu): void {
  const { state, vmx } = cpu;
  const { cr0Mask, cr0Shadow } = vmx.controls;
  requirePrivilege(cpu);
  if ((cr0Mask & cr0Shadow & CR0_TS) !== 0)
    throw vmx.exit(EXIT.CONTROL_REGISTER_ACCESS, crQualification(0, CR_CLTS, 0));
  if ((cr0Mask & CR0_TS) === 0) state.cr0 = (state.cr0 & ~CR0_TS) >>> 0;
  cpu.modeChanged();
}

/** LMSW sets PE but cannot clear it, so a clear PE in its operand never exits (SDM Vol. 3 §26.1.3). */
function lmsw(cpu: SystemCpu, insn: Instruction): void {
  const { state, vmx } = cpu;
  const { cr0Mask, cr0Shadow } = vmx.controls;
  requirePrivilege(cpu);
  const source = readOperand16(cpu, insn);
  const differs = (source ^ cr0Shadow) & cr0Mask & MACHINE_STATUS;
  if ((differs & ~CR0_PE) !== 0 || (differs & source & CR0_PE) !== 0) {
    const memory = !isRegister(insn);
    const guestLinear = memory ? (state.segmentBase(insn.segment) + cpu.effectiveOffset()) >>> 0 : 0;
    const qualification = crQualification(0, CR_LMSW, 0, memory, source);
    throw vmx.exit(EXIT.CONTROL_REGISTER_ACCESS, qualification, { guestLinear });
  }
  const replaced = MACHINE_STATUS & ~cr0Mask & ((source & CR0_PE) !== 0 ? -1 : ~CR0_PE);
  setCr0(cpu, (state.cr0 & ~replaced) | (source & replaced));
}

/** SMSW to a 32-bit register stores all of CR0; to memory always 16 bits. */
function smsw(cpu: SystemCpu, insn: Instruction): void {
  const value = visibleCr0(cpu);
  if (isRegister(insn) && insn.operandSize === 32) cpu.state.setGpr(rmField(insn), value);
  else writeOperand16(cpu, insn, value);
}

function invlpg(cpu: SystemCpu, insn: Instruction): void {
  requireMemory(cpu, insn);
  requirePrivilege(cpu);
  const linear = (cpu.state.segmentBase(insn.segment) + cpu.effectiveOffset()) >>> 0;
  if (cpu.vmx.controls.invlpgExiting) throw cpu.vmx.exit(EXIT.INVLPG, linear);
  cpu.invalidatePage(linear);
}

function invd(cpu: SystemCpu): void {
  requirePrivilege(cpu);
  throw cpu.vmx.exit(EXIT.INVD);
}

/** There are no caches to write back: memory is always coherent. */
function wbinvd(cpu: SystemCpu): void {
  requirePrivilege(cpu);
  if (cpu.vmx.controls.wbinvdExiting) throw cpu.vmx.exit(EXIT.WBINVD);
}

/** MOV-DR exiting comes before the checks of CPL and CR4.DE (SDM Vol. 3 §26.1.3). Returns the register's number. */
function debugRegister(cpu: SystemCpu, insn: Instruction, from: boolean): number {
  const { state, vmx } = cpu;
  const dr = regField(insn);
  if (vmx.controls.movDrExiting) throw vmx.exit(EXIT.MOV_DR, drQualification(dr, from, rmField(insn)));
  const alias = dr === 4 || dr === 5;
  if (alias && (state.cr4 & CR4_DE) !== 0) throw cpu.fault(UD);
  requirePrivilege(cpu);
  if ((state.dr(7) & DR7_GD) !== 0) throw cpu.fault(DB, -1, DEBUG_BD);
  return alias ? dr + 2 : dr;
}

function movFromDr(cpu: SystemCpu, insn: Instruction): void {
  const dr = debugRegister(cpu, insn, true);
  cpu.state.setGpr(rmField(insn), cpu.state.dr(dr));
}

function movToDr(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  const dr = debugRegister(cpu, insn, false);
  const value = state.gpr(rmField(insn));
  if (dr < 4) state.setDr(dr, value);
  else if (dr === 6) state.setDr(6, (value & DR6_WRITABLE) | DR6_FIXED);
  else state.setDr(7, (value & DR7_WRITABLE) | DR7_FIXED);
  // The engine looks at the breakpoints again when it is entered.
  cpu.checkBoundary();
}

export const CONTROL_INSTRUCTIONS = {
  mov_to_cr: movToCr,
  mov_from_cr: movFromCr,
  mov_to_dr: movToDr,
  mov_from_dr: movFromDr,
  clts,
  lmsw,
  smsw,
  invlpg,
  invd,
  wbinvd,
} satisfies Record<string, SystemInstruction>;
