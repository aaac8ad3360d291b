/**
 * RDMSR, WRMSR, RDTSC, RDPMC. SDM Vol. 2, those instructions; Vol. 3 §26.1.3, §26.3; Vol. 4 for the registers.
 *
 * Only the registers that are the processor's own are here. The rest of what a guest asks for belongs to the
 * hypervisor, which intercepts it by the MSR bitmaps; an access that is not intercepted is #GP(0).
 */

import { GP } from "../context.ts";
import { CR4_PCE, CR4_TSD, EAX, ECX, EDX, OFFSET, type ProcessorState } from "../state.ts";
import { EFER_DEFINED } from "../vmx/capabilities.ts";
import { EXIT } from "../vmx/exit-reasons.ts";
import { requirePrivilege } from "./control.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";

interface Msr {
  readonly index: number;
  readonly name: string;
  /** Offset of the register's 64-bit slot in the state block. */
  readonly slot: number;
  /** Whether the value may be written. */
  valid(value: bigint): boolean;
}

const fits32 = (value: bigint): boolean => value >> 32n === 0n;

/** SDM Vol. 3 table 13-10: UC, WC, WT, WP, WB, UC−. */
const MEMORY_TYPES: ReadonlySet<bigint> = new Set([0n, 1n, 4n, 5n, 6n, 7n]);
const validPat = (value: bigint): boolean =>
  [0n, 8n, 16n, 24n, 32n, 40n, 48n, 56n].every((shift) => MEMORY_TYPES.has((value >> shift) & 0xffn));

export const IA32_TIME_STAMP_COUNTER = 0x10;
const IA32_EFER = 0xc000_0080;

/** The registers a guest may both read and write. */
export const MSRS: readonly Msr[] = [
  { index: 0x174, name: "IA32_SYSENTER_CS", slot: OFFSET.sysenterCs, valid: fits32 },
  { index: 0x175, name: "IA32_SYSENTER_ESP", slot: OFFSET.sysenterEsp, valid: fits32 },
  { index: 0x176, name: "IA32_SYSENTER_EIP", slot: OFFSET.sysenterEip, valid: fits32 },
  { index: 0x277, name: "IA32_PAT", slot: OFFSET.pat, valid: validPat },
  {
    index: IA32_EFER,
    name: "IA32_EFER",
    slot: OFFSET.efer,
    valid: (value) => (value & ~BigInt(EFER_DEFINED)) === 0n,
  },
];

const byIndex = new Map(MSRS.map((msr) => [msr.index, msr]));

function setPair(state: ProcessorState, value: bigint): void {
  state.setGpr(EAX, Number(value & 0xffff_ffffn));
  state.setGpr(EDX, Number((value >> 32n) & 0xffff_ffffn));
}

function rdmsr(cpu: SystemCpu): void {
  const { state, vmx } = cpu;
  const index = state.gpr(ECX);
  requirePrivilege(cpu);
  if (vmx.msrExits(index, false)) throw vmx.exit(EXIT.RDMSR);
  const msr = byIndex.get(index);
  if (msr !== undefined) setPair(state, state.get64(msr.slot));
  else if (index === IA32_TIME_STAMP_COUNTER) setPair(state, guestTsc(cpu));
  else throw cpu.fault(GP, 0);
}

function wrmsr(cpu: SystemCpu): void {
  const { state, vmx } = cpu;
  const index = state.gpr(ECX);
  const value = (BigInt(state.gpr(EDX)) << 32n) | BigInt(state.gpr(EAX));
  requirePrivilege(cpu);
  if (vmx.msrExits(index, true)) throw vmx.exit(EXIT.WRMSR);
  const msr = byIndex.get(index);
  if (msr === undefined || !msr.valid(value)) throw cpu.fault(GP, 0);
  state.set64(msr.slot, value);
  // EFER.NXE decides whether bit 63 of a page-table entry is reserved.
  if (index === IA32_EFER) cpu.flushTlb(true);
}

/** The time-stamp counter with the VMCS's offset (SDM Vol. 3 §26.3). */
function guestTsc({ platform, vmx }: SystemCpu): bigint {
  const offset = vmx.controls.useTscOffsetting ? vmx.controls.tscOffset : 0n;
  return (platform.readTsc() + offset) & 0xffff_ffff_ffff_ffffn;
}

function rdtsc(cpu: SystemCpu): void {
  const { state, vmx } = cpu;
  if ((state.cr4 & CR4_TSD) !== 0) requirePrivilege(cpu);
  if (vmx.controls.rdtscExiting) throw vmx.exit(EXIT.RDTSC);
  setPair(state, guestTsc(cpu));
}

/** There are no performance counters, so every ECX is out of range. */
function rdpmc(cpu: SystemCpu): void {
  if ((cpu.state.cr4 & CR4_PCE) === 0) requirePrivilege(cpu);
  if (cpu.vmx.controls.rdpmcExiting) throw cpu.vmx.exit(EXIT.RDPMC);
  throw cpu.fault(GP, 0);
}

export const MSR_INSTRUCTIONS = { rdmsr, wrmsr, rdtsc, rdpmc } satisfies Record<string, SystemInstruction>;
