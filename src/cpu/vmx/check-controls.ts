/** Checks on VMX controls at VM entry (SDM §27.2.1); failing, VMLAUNCH and VMRESUME give error 7. Edition: see fields.ts. */

import { CR0_PE } from "../state.ts";
import { CR3_TARGETS, MSR_AREA_ENTRIES, PHYSICAL_ADDRESS_END } from "./capabilities.ts";
import { allowedOnes, type ControlGroup, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "./controls.ts";
import type { EntryCheck, EntryView } from "./entry-view.ts";
import {
  HARDWARE_EXCEPTION,
  INTERRUPTION_ERROR_CODE,
  NON_MASKABLE_INTERRUPT,
  OTHER_EVENT,
  PRIVILEGED_SOFTWARE_EXCEPTION,
  SOFTWARE_EXCEPTION,
  SOFTWARE_INTERRUPT,
} from "./exit-reasons.ts";
import { VMCS } from "./fields.ts";

/** #DF, #TS, #NP, #SS, #GP, #PF and #AC push an error code. */
const WITH_ERROR_CODE = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);
const INTERRUPTION_RESERVED = 0x7fff_f000;
/** Longest x86 instruction. */
const LONGEST_INSTRUCTION = 15;
const MSR_ENTRY_SIZE = 16;

const reservedBits = (section: string, group: ControlGroup, encoding: number): EntryCheck => ({
  section,
  rule: `reserved bits of the ${group.name} are as the capability MSRs say`,
  holds: (v) => {
    const word = v.low(encoding);
    return (word & ~allowedOnes(group)) === 0 && (word & group.alwaysOne) >>> 0 === group.alwaysOne;
  },
});

const pageAddress = (name: string, encoding: number, enabled: (v: EntryView) => boolean): EntryCheck => ({
  section: "27.2.1.1",
  rule: `the ${name} address is page-aligned and within the physical-address width`,
  holds: (v) => !enabled(v) || v.isAddress(encoding, 4096),
});

const msrArea = (section: string, name: string, count: number, address: number): EntryCheck => ({
  section,
  rule: `the VM-${name} area is 16-byte aligned, within the physical-address width and at most ${MSR_AREA_ENTRIES} entries`,
  holds: (v) => {
    const entries = v.low(count);
    if (entries === 0) return true;
    if (entries > MSR_AREA_ENTRIES || !v.isAddress(address, MSR_ENTRY_SIZE)) return false;
    return v.address(address) + entries * MSR_ENTRY_SIZE <= PHYSICAL_ADDRESS_END;
  },
});

const NMI_WINDOW_CHECK: EntryCheck = {
  section: "27.2.1.1",
  rule: "NMI-window exiting needs virtual NMIs",
  holds: (v) => v.controls.virtualNmis || !v.controls.nmiWindowExiting,
};

/** The checks that interrupt-window and NMI-window exiting have a part in. */
export const WINDOW_CHECKS: readonly EntryCheck[] = [NMI_WINDOW_CHECK];

export const CONTROL_CHECKS: readonly EntryCheck[] = [
  reservedBits("27.2.1.1", PIN_BASED, VMCS.PIN_BASED_CONTROLS),
  reservedBits("27.2.1.1", PRIMARY, VMCS.PRIMARY_CONTROLS),
  {
    ...reservedBits("27.2.1.1", SECONDARY, VMCS.SECONDARY_CONTROLS),
    holds: (v) =>
      !v.controls.activateSecondaryControls || (v.low(VMCS.SECONDARY_CONTROLS) & ~allowedOnes(SECONDARY)) === 0,
  },
  {
    section: "27.2.1.1",
    rule: `the CR3-target count is at most ${CR3_TARGETS}`,
    holds: (v) => v.low(VMCS.CR3_TARGET_COUNT) <= CR3_TARGETS,
  },
  pageAddress("I/O bitmap A", VMCS.IO_BITMAP_A, (v) => v.controls.useIoBitmaps),
  pageAddress("I/O bitmap B", VMCS.IO_BITMAP_B, (v) => v.controls.useIoBitmaps),
  pageAddress("MSR bitmap", VMCS.MSR_BITMAP, (v) => v.controls.useMsrBitmaps),
  {
    section: "27.2.1.1",
    rule: "virtual NMIs need NMI exiting",
    holds: (v) => v.controls.nmiExiting || !v.controls.virtualNmis,
  },
  NMI_WINDOW_CHECK,
  {
    section: "27.2.1.1",
    rule: "the EPT pointer has a supported memory type, page-walk length 4 and no reserved bits",
    holds: (v) => !v.controls.eptEnabled || isEptPointer(v.low(VMCS.EPT_POINTER), v.high(VMCS.EPT_POINTER)),
  },
  {
    section: "27.2.1.1",
    rule: "unrestricted guest needs EPT",
    holds: (v) => v.controls.eptEnabled || !v.controls.unrestrictedGuest,
  },
  {
    section: "27.2.1.1",
    rule: "with VPID enabled the VPID is not 0",
    holds: (v) => !v.controls.vpidEnabled || v.low(VMCS.VPID) !== 0,
  },
  reservedBits("27.2.1.2", VM_EXIT, VMCS.EXIT_CONTROLS),
  {
    section: "27.2.1.2",
    rule: "saving the VMX-preemption timer needs the timer activated",
    holds: (v) => v.controls.preemptionTimer || !v.controls.savePreemptionTimer,
  },
  msrArea("27.2.1.2", "exit MSR-store", VMCS.EXIT_MSR_STORE_COUNT, VMCS.EXIT_MSR_STORE_ADDRESS),
  msrArea("27.2.1.2", "exit MSR-load", VMCS.EXIT_MSR_LOAD_COUNT, VMCS.EXIT_MSR_LOAD_ADDRESS),
  reservedBits("27.2.1.3", VM_ENTRY, VMCS.ENTRY_CONTROLS),
  msrArea("27.2.1.3", "entry MSR-load", VMCS.ENTRY_MSR_LOAD_COUNT, VMCS.ENTRY_MSR_LOAD_ADDRESS),
];

/** Memory type UC or WB, walk length 4 (encoded as 3), accessed and dirty flags optional (SDM table 25-9). */
export function isEptPointer(low: number, high: number): boolean {
  const memoryType = low & 7;
  return (
    (memoryType === 0 || memoryType === 6) &&
    ((low >>> 3) & 7) === 3 &&
    (low & 0xf80) === 0 &&
    (high & 0xffff_fff0) === 0
  );
}

function takesErrorCode(v: EntryView): boolean {
  const protectedMode = !v.controls.unrestrictedGuest || (v.low(VMCS.GUEST_CR0) & CR0_PE) !== 0;
  const vector = v.injectionVector;
  return (
    protectedMode && v.injectionType === HARDWARE_EXCEPTION && vector < 32 && ((WITH_ERROR_CODE >>> vector) & 1) === 1
  );
}

/** Checks on event injection (SDM §27.2.1.3), made only when the interruption-information field is valid. */
export const INJECTION_CHECKS: readonly EntryCheck[] = [
  {
    section: "27.2.1.3",
    rule: "the type of the injected event is not reserved",
    holds: (v) => v.injectionType !== 1,
  },
  {
    section: "27.2.1.3",
    rule: "the vector of the injected event fits its type",
    holds: (v) => {
      if (v.injectionType === NON_MASKABLE_INTERRUPT) return v.injectionVector === 2;
      if (v.injectionType === HARDWARE_EXCEPTION) return v.injectionVector <= 31;
      return v.injectionType !== OTHER_EVENT || v.injectionVector === 0;
    },
  },
  {
    section: "27.2.1.3",
    rule: "an error code is delivered exactly with a hardware exception that has one, outside real-address mode",
    holds: (v) => ((v.injection & INTERRUPTION_ERROR_CODE) !== 0) === takesErrorCode(v),
  },
  {
    section: "27.2.1.3",
    rule: "reserved bits of the VM-entry interruption-information field are 0",
    holds: (v) => (v.injection & INTERRUPTION_RESERVED) === 0,
  },
  {
    section: "27.2.1.3",
    rule: "bits 31:16 of the VM-entry exception error code are 0",
    holds: (v) => (v.injection & INTERRUPTION_ERROR_CODE) === 0 || v.low(VMCS.ENTRY_EXCEPTION_ERROR_CODE) >>> 16 === 0,
  },
  {
    section: "27.2.1.3",
    rule: "the instruction length of an injected software event is 1 to 15",
    holds: (v) => {
      const type = v.injectionType;
      const software =
        type === SOFTWARE_INTERRUPT || type === PRIVILEGED_SOFTWARE_EXCEPTION || type === SOFTWARE_EXCEPTION;
      const length = v.low(VMCS.ENTRY_INSTRUCTION_LENGTH);
      return !software || (length >= 1 && length <= LONGEST_INSTRUCTION);
    },
  },
];
