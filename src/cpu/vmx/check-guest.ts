/**
 * Checks on the guest-state area at VM entry (SDM §27.3.1), by the group of fields that makes them due; failing, the entry
 * ends as a VM exit with reason 33. Segments have check-segments.ts. Without Intel 64 there are no canonical addresses
 * and no IA-32e mode to check. Edition: see fields.ts.
 */

import {
  ACTIVE,
  BLOCKING_BY_MOV_SS,
  BLOCKING_BY_NMI,
  BLOCKING_BY_STI,
  CR0_CD,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR4_PAE,
  HLT,
  IF,
  TF,
  VM,
} from "../state.ts";
import {
  BEYOND_WIDTH_HIGH,
  CR0_FIXED0,
  CR0_FIXED1,
  CR4_FIXED0,
  CR4_FIXED1,
  DEBUGCTL_DEFINED,
  EFER_DEFINED,
  VMCS_REVISION,
} from "./capabilities.ts";
import { fixedBitsHold } from "./check-host.ts";
import { type EntryCheck, type EntryView, isPatWord } from "./entry-view.ts";
import {
  ENTRY_FAILURE_LINK_POINTER,
  ENTRY_FAILURE_PDPTE,
  EXTERNAL_INTERRUPT,
  HARDWARE_EXCEPTION,
  NON_MASKABLE_INTERRUPT,
  OTHER_EVENT,
} from "./exit-reasons.ts";
import { VMCS } from "./fields.ts";

/** Pending debug exceptions: B3–B0, enabled breakpoint, BS; the rest is reserved (SDM table 25-4; RTM is not offered). */
const PENDING_DEBUG_DEFINED = 0xf | (1 << 12) | (1 << 14);
const PENDING_BS = 1 << 14;
/** Bits 31:4: enclave interruption (SGX) is not offered. */
const INTERRUPTIBILITY_RESERVED = 0xffff_fff0;
const BLOCKING_BY_SMI = 1 << 2;
const NO_LINK_HALF = 0xffff_ffff;
/** Bits 2:1 and 8:5 of a PDPTE (SDM table 4-8). */
const PDPTE_RESERVED = 0x1e6;
const DB = 1;
const MC = 18;

export const REGISTER_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.3.1.1",
    rule: "guest CR0 has the bits that VMX operation fixes",
    holds: (v) => {
      const free = CR0_CD | CR0_NW | (v.controls.unrestrictedGuest ? CR0_PE | CR0_PG : 0);
      return fixedBitsHold(v.low(VMCS.GUEST_CR0), CR0_FIXED0, CR0_FIXED1, free);
    },
  },
  {
    section: "27.3.1.1",
    rule: "guest CR0.PG needs CR0.PE",
    holds: (v) => (v.low(VMCS.GUEST_CR0) & CR0_PG) === 0 || (v.low(VMCS.GUEST_CR0) & CR0_PE) !== 0,
  },
  {
    section: "27.3.1.1",
    rule: "guest CR4 has the bits that VMX operation fixes",
    holds: (v) => fixedBitsHold(v.low(VMCS.GUEST_CR4), CR4_FIXED0, CR4_FIXED1),
  },
  {
    section: "27.3.1.1",
    rule: "reserved bits of guest IA32_DEBUGCTL are 0",
    holds: (v) =>
      !v.controls.loadDebugControls ||
      ((v.low(VMCS.GUEST_DEBUGCTL) & ~DEBUGCTL_DEFINED) === 0 && v.high(VMCS.GUEST_DEBUGCTL) === 0),
  },
  {
    section: "27.3.1.1",
    rule: "every entry of guest IA32_PAT is a memory type",
    holds: (v) => !v.controls.loadPat || (isPatWord(v.low(VMCS.GUEST_PAT)) && isPatWord(v.high(VMCS.GUEST_PAT))),
  },
  {
    section: "27.3.1.1",
    rule: "reserved bits, LMA and LME of guest IA32_EFER are 0",
    holds: (v) =>
      !v.controls.loadEfer || ((v.low(VMCS.GUEST_EFER) & ~EFER_DEFINED) === 0 && v.high(VMCS.GUEST_EFER) === 0),
  },
];

export const TABLE_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.3.1.3",
    rule: "bits 31:16 of the GDTR limit are 0",
    holds: (v) => v.low(VMCS.GUEST_GDTR_LIMIT) >>> 16 === 0,
  },
  {
    section: "27.3.1.3",
    rule: "bits 31:16 of the IDTR limit are 0",
    holds: (v) => v.low(VMCS.GUEST_IDTR_LIMIT) >>> 16 === 0,
  },
];

export const FLAG_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.3.1.4",
    rule: "reserved bits of RFLAGS are as the architecture fixes them",
    holds: (v) => !v.vmcs.rflagsReservedWrong,
  },
  {
    section: "27.3.1.4",
    rule: "RFLAGS.VM needs CR0.PE",
    holds: (v) => (v.low(VMCS.GUEST_RFLAGS) & VM) === 0 || (v.low(VMCS.GUEST_CR0) & CR0_PE) !== 0,
  },
];

/** Made whenever an event is injected. */
export const INJECTION_STATE_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.3.1.4",
    rule: "RFLAGS.IF is 1 when an external interrupt is injected",
    holds: (v) => !injects(v, EXTERNAL_INTERRUPT) || (v.low(VMCS.GUEST_RFLAGS) & IF) !== 0,
  },
  {
    section: "27.3.1.5",
    rule: "a halted guest is injected only what would wake it",
    holds: (v) => {
      if (v.low(VMCS.GUEST_ACTIVITY) !== HLT) return true;
      const vector = v.injectionVector;
      switch (v.injectionType) {
        case EXTERNAL_INTERRUPT:
        case NON_MASKABLE_INTERRUPT:
          return true;
        case HARDWARE_EXCEPTION:
          return vector === DB || vector === MC;
        default:
          return v.injectionType === OTHER_EVENT && vector === 0;
      }
    },
  },
  {
    section: "27.3.1.5",
    rule: "no blocking by STI or MOV SS when an external interrupt is injected",
    holds: (v) => !injects(v, EXTERNAL_INTERRUPT) || !blocks(v, BLOCKING_BY_STI | BLOCKING_BY_MOV_SS),
  },
  {
    section: "27.3.1.5",
    rule: "no blocking by MOV SS when an NMI is injected",
    holds: (v) => !injects(v, NON_MASKABLE_INTERRUPT) || !blocks(v, BLOCKING_BY_MOV_SS),
  },
  {
    section: "27.3.1.5",
    rule: "no virtual-NMI blocking when an NMI is injected",
    holds: (v) => !injects(v, NON_MASKABLE_INTERRUPT) || !v.controls.virtualNmis || !blocks(v, BLOCKING_BY_NMI),
  },
];

export const NON_REGISTER_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.3.1.5",
    rule: "the activity state is active or HLT",
    holds: (v) => v.low(VMCS.GUEST_ACTIVITY) === ACTIVE || v.low(VMCS.GUEST_ACTIVITY) === HLT,
  },
  {
    section: "27.3.1.5",
    rule: "the HLT state needs SS.DPL 0",
    holds: (v) => v.low(VMCS.GUEST_ACTIVITY) !== HLT || ((v.low(VMCS.GUEST_SS_ACCESS_RIGHTS) >>> 5) & 3) === 0,
  },
  {
    section: "27.3.1.5",
    rule: "blocking by STI or MOV SS needs the active state",
    holds: (v) => v.low(VMCS.GUEST_ACTIVITY) === ACTIVE || !blocks(v, BLOCKING_BY_STI | BLOCKING_BY_MOV_SS),
  },
  {
    section: "27.3.1.5",
    rule: "reserved bits of the interruptibility state are 0",
    holds: (v) => !blocks(v, INTERRUPTIBILITY_RESERVED),
  },
  {
    section: "27.3.1.5",
    rule: "not both blocking by STI and blocking by MOV SS",
    holds: (v) => !(blocks(v, BLOCKING_BY_STI) && blocks(v, BLOCKING_BY_MOV_SS)),
  },
  {
    section: "27.3.1.5",
    rule: "blocking by STI needs RFLAGS.IF",
    holds: (v) => !blocks(v, BLOCKING_BY_STI) || (v.low(VMCS.GUEST_RFLAGS) & IF) !== 0,
  },
  {
    section: "27.3.1.5",
    rule: "no blocking by SMI outside system-management mode",
    holds: (v) => !blocks(v, BLOCKING_BY_SMI),
  },
  {
    section: "27.3.1.5",
    rule: "reserved bits of the pending debug exceptions are 0",
    holds: (v) => (v.low(VMCS.GUEST_PENDING_DEBUG_EXCEPTIONS) & ~PENDING_DEBUG_DEFINED) === 0,
  },
  {
    section: "27.3.1.5",
    rule: "while blocked by STI or MOV SS, or halted, a single-step trap is pending exactly when RFLAGS.TF is set",
    holds: (v) => {
      const held = blocks(v, BLOCKING_BY_STI | BLOCKING_BY_MOV_SS) || v.low(VMCS.GUEST_ACTIVITY) === HLT;
      const pending = (v.low(VMCS.GUEST_PENDING_DEBUG_EXCEPTIONS) & PENDING_BS) !== 0;
      return !held || pending === ((v.low(VMCS.GUEST_RFLAGS) & TF) !== 0);
    },
  },
  {
    section: "27.3.1.5",
    rule: "the VMCS link pointer is all ones or a page-aligned address of another region with the revision identifier",
    qualification: ENTRY_FAILURE_LINK_POINTER,
    holds: (v) => {
      const link = VMCS.VMCS_LINK_POINTER;
      if (v.low(link) === NO_LINK_HALF && v.high(link) === NO_LINK_HALF) return true;
      return (
        v.isAddress(link, 4096) && v.address(link) !== v.vmcs.pointer && v.readHost32(v.address(link)) === VMCS_REVISION
      );
    },
  },
];

export const PDPTE_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.3.1.6",
    rule: "reserved bits of present PDPTEs are 0",
    qualification: ENTRY_FAILURE_PDPTE,
    holds: (v) => !usesPdptes(v) || [0, 1, 2, 3].every((index) => isPdpte(v, index)),
  },
];

function injects(v: EntryView, type: number): boolean {
  return v.injection !== 0 && v.injectionType === type;
}

function blocks(v: EntryView, bits: number): boolean {
  return (v.low(VMCS.GUEST_INTERRUPTIBILITY) & bits) !== 0;
}

export function usesPdptes(v: EntryView): boolean {
  return (v.low(VMCS.GUEST_CR0) & CR0_PG) !== 0 && (v.low(VMCS.GUEST_CR4) & CR4_PAE) !== 0;
}

/** With EPT the PDPTEs are those of the guest-state area, without it those that CR3 points to (SDM §27.3.1.6). */
function isPdpte(v: EntryView, index: number): boolean {
  const { controls, vmcs } = v;
  const field = VMCS.GUEST_PDPTE0 + 2 * index;
  const address = (v.low(VMCS.GUEST_CR3) & 0xffff_ffe0) >>> 0;
  const low = controls.eptEnabled ? v.low(field) : v.readHost32(address + 8 * index);
  const high = controls.eptEnabled ? v.high(field) : v.readHost32(address + 8 * index + 4);
  if ((low & 1) !== 0 && ((low & PDPTE_RESERVED) !== 0 || (high & BEYOND_WIDTH_HIGH) !== 0)) return false;
  if (!controls.eptEnabled) vmcs.loadPdpte(index, low, high);
  return true;
}
