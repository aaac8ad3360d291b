/**
 * The control fields of the VMCS bit by bit (SDM §25.6 to §25.8), and their decoded form.
 *
 * One row per control the processor offers; what has no row is reserved or a feature it lacks, and must be zero, or one
 * where the manual's "default1" class says so (SDM §A.2). Edition: see fields.ts.
 */

/** The controls of all groups, decoded at VM entry. Every boolean is true for a control that is 1. */
export interface VmxControls {
  // pin-based
  externalInterruptExiting: boolean;
  nmiExiting: boolean;
  virtualNmis: boolean;
  preemptionTimer: boolean;
  // primary processor-based
  interruptWindowExiting: boolean;
  useTscOffsetting: boolean;
  hltExiting: boolean;
  invlpgExiting: boolean;
  mwaitExiting: boolean;
  rdpmcExiting: boolean;
  rdtscExiting: boolean;
  cr3LoadExiting: boolean;
  cr3StoreExiting: boolean;
  nmiWindowExiting: boolean;
  movDrExiting: boolean;
  unconditionalIoExiting: boolean;
  useIoBitmaps: boolean;
  monitorTrapFlag: boolean;
  useMsrBitmaps: boolean;
  monitorExiting: boolean;
  pauseExiting: boolean;
  activateSecondaryControls: boolean;
  // secondary processor-based; all false when they are not activated
  eptEnabled: boolean;
  descriptorTableExiting: boolean;
  vpidEnabled: boolean;
  wbinvdExiting: boolean;
  unrestrictedGuest: boolean;
  // VM-exit
  saveDebugControls: boolean;
  acknowledgeInterruptOnExit: boolean;
  savePat: boolean;
  loadHostPat: boolean;
  saveEfer: boolean;
  loadHostEfer: boolean;
  savePreemptionTimer: boolean;
  // VM-entry
  loadDebugControls: boolean;
  loadPat: boolean;
  loadEfer: boolean;

  exceptionBitmap: number;
  pageFaultErrorMask: number;
  pageFaultErrorMatch: number;
  cr0Mask: number;
  cr0Shadow: number;
  cr4Mask: number;
  cr4Shadow: number;
  /** The CR3-target values in use: as many as the CR3-target count says. */
  cr3Targets: number[];
  /** Added to the time-stamp counter modulo 2^64 when `useTscOffsetting`. */
  tscOffset: bigint;
  ioBitmapA: number;
  ioBitmapB: number;
  msrBitmap: number;
  /** Physical address of the EPT PML4 table. */
  eptRoot: number;
  /** EPTP bit 6: accessed and dirty flags for EPT. */
  eptAccessedDirty: boolean;
  vpid: number;
}

export type ControlFlag = {
  [K in keyof VmxControls]: VmxControls[K] extends boolean ? K : never;
}[keyof VmxControls];

export interface ControlBit {
  readonly bit: number;
  readonly flag: ControlFlag;
  /** The manual's name. */
  readonly name: string;
}

export interface ControlGroup {
  readonly name: string;
  /** SDM table with the bits' definitions. */
  readonly table: string;
  /** Reserved bits that are always 1 ("default1", SDM §A.2 to §A.5) and cannot be cleared on this processor. */
  readonly alwaysOne: number;
  /** Default1 bits that may be 0 according to the TRUE capability MSR, since the processor offers the 0 setting. */
  readonly mayBeZero: number;
  readonly bits: readonly ControlBit[];
}

const bit = (position: number, flag: ControlFlag, name: string): ControlBit => ({ bit: position, flag, name });
const mask = (...positions: number[]): number => positions.reduce((bits, position) => bits | (1 << position), 0) >>> 0;

/**
 * External-interrupt exiting is always 1 on this processor: the physical interrupt that ends a run is what gives the
 * hypervisor the processor back.
 */
export const PIN_BASED: ControlGroup = {
  name: "pin-based VM-execution controls",
  table: "25-5",
  alwaysOne: mask(0, 1, 2, 4),
  mayBeZero: 0,
  bits: [
    bit(0, "externalInterruptExiting", "External-interrupt exiting"),
    bit(3, "nmiExiting", "NMI exiting"),
    bit(5, "virtualNmis", "Virtual NMIs"),
    bit(6, "preemptionTimer", "Activate VMX-preemption timer"),
  ],
};

export const PRIMARY: ControlGroup = {
  name: "primary processor-based VM-execution controls",
  table: "25-6",
  alwaysOne: mask(1, 4, 5, 6, 8, 13, 14, 26),
  mayBeZero: mask(15, 16),
  bits: [
    bit(2, "interruptWindowExiting", "Interrupt-window exiting"),
    bit(3, "useTscOffsetting", "Use TSC offsetting"),
    bit(7, "hltExiting", "HLT exiting"),
    bit(9, "invlpgExiting", "INVLPG exiting"),
    bit(10, "mwaitExiting", "MWAIT exiting"),
    bit(11, "rdpmcExiting", "RDPMC exiting"),
    bit(12, "rdtscExiting", "RDTSC exiting"),
    bit(15, "cr3LoadExiting", "CR3-load exiting"),
    bit(16, "cr3StoreExiting", "CR3-store exiting"),
    bit(22, "nmiWindowExiting", "NMI-window exiting"),
    bit(23, "movDrExiting", "MOV-DR exiting"),
    bit(24, "unconditionalIoExiting", "Unconditional I/O exiting"),
    bit(25, "useIoBitmaps", "Use I/O bitmaps"),
    bit(27, "monitorTrapFlag", "Monitor trap flag"),
    bit(28, "useMsrBitmaps", "Use MSR bitmaps"),
    bit(29, "monitorExiting", "MONITOR exiting"),
    bit(30, "pauseExiting", "PAUSE exiting"),
    bit(31, "activateSecondaryControls", "Activate secondary controls"),
  ],
};

export const SECONDARY: ControlGroup = {
  name: "secondary processor-based VM-execution controls",
  table: "25-7",
  alwaysOne: 0,
  mayBeZero: 0,
  bits: [
    bit(1, "eptEnabled", "Enable EPT"),
    bit(2, "descriptorTableExiting", "Descriptor-table exiting"),
    bit(5, "vpidEnabled", "Enable VPID"),
    bit(6, "wbinvdExiting", "WBINVD exiting"),
    bit(7, "unrestrictedGuest", "Unrestricted guest"),
  ],
};

/** Bit 9, host address-space size, is a feature of Intel 64 and not offered: hosts are 32-bit. */
export const VM_EXIT: ControlGroup = {
  name: "VM-exit controls",
  table: "25-13",
  alwaysOne: mask(0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14, 16, 17),
  mayBeZero: mask(2),
  bits: [
    bit(2, "saveDebugControls", "Save debug controls"),
    bit(15, "acknowledgeInterruptOnExit", "Acknowledge interrupt on exit"),
    bit(18, "savePat", "Save IA32_PAT"),
    bit(19, "loadHostPat", "Load IA32_PAT"),
    bit(20, "saveEfer", "Save IA32_EFER"),
    bit(21, "loadHostEfer", "Load IA32_EFER"),
    bit(22, "savePreemptionTimer", "Save VMX-preemption timer value"),
  ],
};

/** Bit 9, IA-32e mode guest, is a feature of Intel 64 and not offered. */
export const VM_ENTRY: ControlGroup = {
  name: "VM-entry controls",
  table: "25-15",
  alwaysOne: mask(0, 1, 3, 4, 5, 6, 7, 8, 12),
  mayBeZero: mask(2),
  bits: [
    bit(2, "loadDebugControls", "Load debug controls"),
    bit(14, "loadPat", "Load IA32_PAT"),
    bit(15, "loadEfer", "Load IA32_EFER"),
  ],
};

export const CONTROL_GROUPS = [PIN_BASED, PRIMARY, SECONDARY, VM_EXIT, VM_ENTRY] as const;

/** Bits that may be 1 in the group. */
export function allowedOnes(group: ControlGroup): number {
  return (group.bits.reduce((bits, row) => bits | (1 << row.bit), 0) | group.alwaysOne) >>> 0;
}

/** Sets the group's flags of `controls` as `word` has them. */
export function decodeGroup(controls: VmxControls, group: ControlGroup, word: number): void {
  for (const row of group.bits) controls[row.flag] = ((word >>> row.bit) & 1) === 1;
}

/** Bit of a control by name, for whoever composes a control word. */
export function controlBit(group: ControlGroup, flag: ControlFlag): number {
  const row = group.bits.find((candidate) => candidate.flag === flag);
  if (row === undefined) throw new RangeError(`${group.name} have no ${flag}`);
  return (1 << row.bit) >>> 0;
}

/** The word with the named controls and every bit that must be one. */
export function controlWord(group: ControlGroup, ...flags: ControlFlag[]): number {
  return flags.reduce((word, flag) => (word | controlBit(group, flag)) >>> 0, group.alwaysOne);
}

/** All controls at 0. */
export function noControls(): VmxControls {
  const flags = {} as Record<ControlFlag, boolean>;
  for (const group of CONTROL_GROUPS) for (const row of group.bits) flags[row.flag] = false;
  return {
    ...flags,
    exceptionBitmap: 0,
    pageFaultErrorMask: 0,
    pageFaultErrorMatch: 0,
    cr0Mask: 0,
    cr0Shadow: 0,
    cr4Mask: 0,
    cr4Shadow: 0,
    cr3Targets: [],
    tscOffset: 0n,
    ioBitmapA: 0,
    ioBitmapB: 0,
    msrBitmap: 0,
    eptRoot: 0,
    eptAccessedDirty: false,
    vpid: 0,
  };
}
