/**
 * What this processor's VMX offers: the VMX capability MSRs (SDM appendix A) and the facts behind them.
 * Edition: see fields.ts.
 */

import { CR4_DE, CR4_MCE, CR4_OSFXSR, CR4_PAE, CR4_PCE, CR4_PGE, CR4_PSE, CR4_TSD, CR4_VMXE } from "../state.ts";
import { allowedOnes, type ControlGroup, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "./controls.ts";
import { HIGHEST_FIELD_INDEX } from "./fields.ts";

/** VMCS revision identifier, bits 30:0 of the first word of VMXON and VMCS regions (SDM §25.2). */
export const VMCS_REVISION = 0x5242;
/** Bytes of a VMXON or VMCS region (IA32_VMX_BASIC bits 44:32). */
export const VMCS_REGION_SIZE = 4096;
/** MAXPHYADDR: a processor with PAE and without CPUID leaf 80000008H has 36 bits (SDM §4.1.4). */
export const PHYSICAL_ADDRESS_BITS = 36;
export const PHYSICAL_ADDRESS_END = 2 ** PHYSICAL_ADDRESS_BITS;
/** Bits 63:32 of a 64-bit physical address that are beyond the physical-address width. */
export const BEYOND_WIDTH_HIGH = (-1 << (PHYSICAL_ADDRESS_BITS - 32)) >>> 0;

/** The preemption timer counts down each time this bit of the TSC changes (IA32_VMX_MISC bits 4:0, SDM §26.5.1). */
export const PREEMPTION_TIMER_TSC_BIT = 5;
/** IA32_VMX_MISC bits 24:16. */
export const CR3_TARGETS = 4;
/**
 * Entries of an MSR area. IA32_VMX_MISC bits 27:25 are 0, which recommends at most 512 (SDM §A.6); this processor refuses more, so that an
 * entry or exit is a bounded amount of work.
 */
export const MSR_AREA_ENTRIES = 512;

/** Bits of CR0 that are fixed to 1, and to anything but 0, in VMX operation (SDM §A.7): PG, NE, PE. */
export const CR0_FIXED0 = 0x8000_0021;
export const CR0_FIXED1 = 0xffff_ffff;
/** SDM §A.8. Bits of features that CPUID does not announce (VME, SSE exceptions, SMEP, …) are fixed to 0. */
export const CR4_FIXED0 = CR4_VMXE;
export const CR4_FIXED1 = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_VMXE;

/** IA32_EFER bits that exist without Intel 64: NXE. SCE, LME and LMA are reserved. */
export const EFER_NXE = 1 << 11;
export const EFER_DEFINED = EFER_NXE;
/** IA32_DEBUGCTL bits that exist: LBR and BTF are not modelled, so none. */
export const DEBUGCTL_DEFINED = 0;

/** EPT and VPID capabilities, IA32_VMX_EPT_VPID_CAP (SDM §A.10). */
const EPT_VPID_CAPABILITIES: readonly (readonly [bit: number, what: string])[] = [
  [0, "execute-only translations"],
  [6, "page-walk length of 4"],
  [8, "EPT paging structures may be uncacheable"],
  [14, "EPT paging structures may be write-back"],
  [16, "2-MByte pages"],
  [17, "1-GByte pages"],
  [20, "INVEPT"],
  [21, "accessed and dirty flags for EPT"],
  [25, "single-context INVEPT"],
  [26, "all-context INVEPT"],
  [32, "INVVPID"],
  [40, "individual-address INVVPID"],
  [41, "single-context INVVPID"],
  [42, "all-context INVVPID"],
  [43, "single-context-retaining-globals INVVPID"],
];

/** Control capability MSR: bits 31:0 are the allowed 0-settings (1 = must be 1), bits 63:32 the allowed 1-settings. */
const controlMsr = (group: ControlGroup, mustBeOne: number): bigint =>
  (BigInt((allowedOnes(group) | mustBeOne) >>> 0) << 32n) | BigInt(mustBeOne);
const defaultMsr = (group: ControlGroup): bigint => controlMsr(group, (group.alwaysOne | group.mayBeZero) >>> 0);
const trueMsr = (group: ControlGroup): bigint => controlMsr(group, group.alwaysOne);

export interface CapabilityMsr {
  readonly index: number;
  readonly name: string;
  readonly value: bigint;
}

/** SDM appendix A. IA32_VMX_VMFUNC (491H) does not exist: VM functions are not offered. */
export const CAPABILITY_MSRS: readonly CapabilityMsr[] = [
  {
    index: 0x480,
    name: "IA32_VMX_BASIC",
    // Region size; write-back (6); INS/OUTS information (54); TRUE control MSRs (55).
    value: BigInt(VMCS_REVISION) | (BigInt(VMCS_REGION_SIZE) << 32n) | (6n << 50n) | (1n << 54n) | (1n << 55n),
  },
  { index: 0x481, name: "IA32_VMX_PINBASED_CTLS", value: defaultMsr(PIN_BASED) },
  { index: 0x482, name: "IA32_VMX_PROCBASED_CTLS", value: defaultMsr(PRIMARY) },
  { index: 0x483, name: "IA32_VMX_EXIT_CTLS", value: defaultMsr(VM_EXIT) },
  { index: 0x484, name: "IA32_VMX_ENTRY_CTLS", value: defaultMsr(VM_ENTRY) },
  {
    index: 0x485,
    name: "IA32_VMX_MISC",
    // Bit 5 goes with unrestricted guest; bit 6: HLT is the one inactive activity state. Shutdown and wait-for-SIPI are not
    // offered: nothing but NMI, INIT and SIPI could end them.
    value: BigInt(PREEMPTION_TIMER_TSC_BIT) | (1n << 5n) | (1n << 6n) | (BigInt(CR3_TARGETS) << 16n),
  },
  { index: 0x486, name: "IA32_VMX_CR0_FIXED0", value: BigInt(CR0_FIXED0) },
  { index: 0x487, name: "IA32_VMX_CR0_FIXED1", value: BigInt(CR0_FIXED1) },
  { index: 0x488, name: "IA32_VMX_CR4_FIXED0", value: BigInt(CR4_FIXED0) },
  { index: 0x489, name: "IA32_VMX_CR4_FIXED1", value: BigInt(CR4_FIXED1) },
  { index: 0x48a, name: "IA32_VMX_VMCS_ENUM", value: BigInt(HIGHEST_FIELD_INDEX << 1) },
  { index: 0x48b, name: "IA32_VMX_PROCBASED_CTLS2", value: defaultMsr(SECONDARY) },
  {
    index: 0x48c,
    name: "IA32_VMX_EPT_VPID_CAP",
    value: EPT_VPID_CAPABILITIES.reduce((value, [bit]) => value | (1n << BigInt(bit)), 0n),
  },
  { index: 0x48d, name: "IA32_VMX_TRUE_PINBASED_CTLS", value: trueMsr(PIN_BASED) },
  { index: 0x48e, name: "IA32_VMX_TRUE_PROCBASED_CTLS", value: trueMsr(PRIMARY) },
  { index: 0x48f, name: "IA32_VMX_TRUE_EXIT_CTLS", value: trueMsr(VM_EXIT) },
  { index: 0x490, name: "IA32_VMX_TRUE_ENTRY_CTLS", value: trueMsr(VM_ENTRY) },
];

/** The value of a VMX capability MSR, undefined for an MSR that is none. */
export function capabilityMsr(index: number): bigint | undefined {
  return CAPABILITY_MSRS.find((row) => row.index === index)?.value;
}
