/**
 * Checks on the host-state area at VM entry (SDM §27.2.2 to §27.2.4); failing, VMLAUNCH and VMRESUME give error 8.
 * Without Intel 64 there are no canonical addresses and no host address-space size to check. Edition: see fields.ts.
 */

import { CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, CR4_FIXED1, EFER_DEFINED } from "./capabilities.ts";
import { type EntryCheck, isPatWord } from "./entry-view.ts";
import { VMCS } from "./fields.ts";

/** Bits that are fixed by a pair of IA32_VMX_CRx_FIXED MSRs, except those in `free`. */
export function fixedBitsHold(value: number, fixed0: number, fixed1: number, free = 0): boolean {
  return (~value & fixed0 & ~free) === 0 && (value & ~fixed1 & ~free) === 0;
}

const selector = (name: string, encoding: number): EntryCheck => ({
  section: "27.2.3",
  rule: `RPL and TI of the host ${name} selector are 0`,
  holds: (v) => (v.low(encoding) & 7) === 0,
});

const notNull = (name: string, encoding: number): EntryCheck => ({
  section: "27.2.3",
  rule: `the host ${name} selector is not null`,
  holds: (v) => v.low(encoding) !== 0,
});

export const HOST_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.2.2",
    rule: "host CR0 has the bits that VMX operation fixes",
    holds: (v) => fixedBitsHold(v.low(VMCS.HOST_CR0), CR0_FIXED0, CR0_FIXED1),
  },
  {
    section: "27.2.2",
    rule: "host CR4 has the bits that VMX operation fixes",
    holds: (v) => fixedBitsHold(v.low(VMCS.HOST_CR4), CR4_FIXED0, CR4_FIXED1),
  },
  {
    section: "27.2.2",
    rule: "every entry of host IA32_PAT is a memory type",
    holds: (v) => !v.controls.loadHostPat || (isPatWord(v.low(VMCS.HOST_PAT)) && isPatWord(v.high(VMCS.HOST_PAT))),
  },
  {
    section: "27.2.2",
    rule: "reserved bits, LMA and LME of host IA32_EFER are 0",
    holds: (v) =>
      !v.controls.loadHostEfer || ((v.low(VMCS.HOST_EFER) & ~EFER_DEFINED) === 0 && v.high(VMCS.HOST_EFER) === 0),
  },
  selector("CS", VMCS.HOST_CS_SELECTOR),
  selector("SS", VMCS.HOST_SS_SELECTOR),
  selector("DS", VMCS.HOST_DS_SELECTOR),
  selector("ES", VMCS.HOST_ES_SELECTOR),
  selector("FS", VMCS.HOST_FS_SELECTOR),
  selector("GS", VMCS.HOST_GS_SELECTOR),
  selector("TR", VMCS.HOST_TR_SELECTOR),
  notNull("CS", VMCS.HOST_CS_SELECTOR),
  notNull("TR", VMCS.HOST_TR_SELECTOR),
  notNull("SS", VMCS.HOST_SS_SELECTOR),
];
