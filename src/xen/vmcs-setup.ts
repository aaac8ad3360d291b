// Part: how the hypervisor sets up a VMCS: which controls it uses and the state in which a PVH guest's vCPU starts
// (docs/misc/pvh.pandoc, "x86 boot ABI"; SDM Vol. 3 §25.4 to §25.8).

import type { GuestMemory } from "../core/memory.ts";
import { CR0_CD, CR0_ET, CR0_NE, CR0_NW, CR0_PE, CR0_PG, CR4_PAE, CR4_VMXE, EBX, EDX } from "../cpu/state.ts";
import { cpuid } from "../cpu/system/cpuid.ts";
import { MSRS } from "../cpu/system/msr.ts";
import { VMCS_REVISION } from "../cpu/vmx/capabilities.ts";
import { controlWord, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "../cpu/vmx/controls.ts";
import { VMCS } from "../cpu/vmx/fields.ts";
import type { HostProcessor } from "./host-processor.ts";

/** Flat 4-GiB segments, access rights in VMX format. */
const CODE_32 = 0xc09b;
const DATA_32 = 0xc093;
const TSS_32_BUSY = 0x8b;
/** After RESET: writable data and readable code, accessed; an LDT. */
const REAL_MODE_DATA = 0x93;
const REAL_MODE_CODE = 0x9b;
const LDT = 0x82;
const REAL_MODE_LIMIT = 0xffff;
const CR0_RESET = (CR0_CD | CR0_NW | CR0_ET) >>> 0;
const UNUSABLE = 0x1_0000;
/** Limit of the TSS that a PVH guest starts with. */
const TSS_LIMIT = 0x67;
const FLAGS_RESET = 2;
const DR7_RESET = 0x400;
/** Power-up value of IA32_PAT (SDM Vol. 3 §12.12.4). */
const PAT_RESET = 0x0007_0406_0007_0406n;
/** Selectors of root mode. They only have to be valid (SDM Vol. 3 §27.2.3): root mode is not made of instructions. */
const HOST_CODE = 0x08;
const HOST_DATA = 0x10;
const HOST_TSS = 0x18;

export const PRIMARY_BASE: number = controlWord(
  PRIMARY,
  "useTscOffsetting",
  "hltExiting",
  "mwaitExiting",
  "monitorExiting",
  "rdpmcExiting",
  "unconditionalIoExiting",
  "useMsrBitmaps",
  "activateSecondaryControls",
);
export const INTERRUPT_WINDOW: number = controlWord(PRIMARY, "interruptWindowExiting") & ~controlWord(PRIMARY);

/** VMXON and VMCS regions begin with the revision identifier. */
export function prepareRegion(memory: GuestMemory, frame: number): number {
  memory.store32(frame * 4096, VMCS_REVISION);
  return frame * 4096;
}

/** Low and high MSRs for reading, then for writing, 1 KiB each (SDM Vol. 3 §25.6.9): a clear bit lets the access pass. */
export function msrBitmap(): Uint8Array {
  const bitmap = new Uint8Array(4096).fill(0xff);
  const pass = (index: number, base: number): void => {
    const bit = index % 0x2000;
    const byte = base + (index >= 0xc000_0000 ? 1024 : 0) + (bit >>> 3);
    bitmap[byte] = bitmap[byte]! & ~(1 << (bit & 7));
  };
  for (const { index } of MSRS) {
    pass(index, 0);
    pass(index, 2048);
  }
  // IA32_TIME_STAMP_COUNTER is read with the TSC offset; writing it is the hypervisor's.
  pass(0x10, 0);
  return bitmap;
}

export interface VcpuStart {
  /** EIP and, in EBX, the guest-physical address of hvm_start_info; undefined: as after RESET. */
  readonly pvh: { readonly entry: number; readonly startInfo: number } | undefined;
  readonly eptPointer: number;
  /** Not 0: with it, translations outlive VM entries (SDM Vol. 3 §29.1). */
  readonly vpid: number;
  /** Host-physical address of the MSR bitmap. */
  readonly msrBitmap: number;
}

const SEGMENTS = ["ES", "CS", "SS", "DS", "FS", "GS"] as const;

type WriteField = (field: number, value: number | bigint) => void;

/** Fills in the current VMCS and the registers it does not hold. */
export function setUpVmcs({ vmx, state }: HostProcessor, start: VcpuStart): void {
  const write: WriteField = (field, value) => {
    vmx.vmwrite(field, value);
  };
  write(VMCS.PIN_BASED_CONTROLS, controlWord(PIN_BASED, "externalInterruptExiting", "nmiExiting"));
  write(VMCS.PRIMARY_CONTROLS, PRIMARY_BASE);
  write(VMCS.SECONDARY_CONTROLS, controlWord(SECONDARY, "eptEnabled", "vpidEnabled", "unrestrictedGuest"));
  write(VMCS.EXIT_CONTROLS, controlWord(VM_EXIT, "saveDebugControls", "savePat", "saveEfer"));
  write(VMCS.ENTRY_CONTROLS, controlWord(VM_ENTRY, "loadDebugControls", "loadPat", "loadEfer"));
  write(VMCS.VPID, start.vpid);
  write(VMCS.EPT_POINTER, start.eptPointer);
  write(VMCS.MSR_BITMAP, start.msrBitmap);
  write(VMCS.TSC_OFFSET, 0);
  write(VMCS.CR0_MASK, CR0_NE);
  write(VMCS.CR4_MASK, CR4_VMXE);
  write(VMCS.CR4_READ_SHADOW, 0);

  write(VMCS.HOST_CR0, (CR0_PG | CR0_NE | CR0_ET | CR0_PE) >>> 0);
  write(VMCS.HOST_CR4, CR4_PAE | CR4_VMXE);
  write(VMCS.HOST_CS_SELECTOR, HOST_CODE);
  for (const name of ["SS", "DS", "ES"] as const) write(VMCS[`HOST_${name}_SELECTOR`], HOST_DATA);
  write(VMCS.HOST_TR_SELECTOR, HOST_TSS);

  write(VMCS.VMCS_LINK_POINTER, 0xffff_ffff_ffff_ffffn);
  write(VMCS.GUEST_CR4, CR4_VMXE);
  write(VMCS.GUEST_PAT, PAT_RESET);
  write(VMCS.GUEST_DR7, DR7_RESET);
  write(VMCS.GUEST_RFLAGS, FLAGS_RESET);
  if (start.pvh === undefined) startAtReset(write, state);
  else startPvh(write, state, start.pvh);
}

function startPvh(write: WriteField, state: HostProcessor["state"], pvh: NonNullable<VcpuStart["pvh"]>): void {
  write(VMCS.GUEST_CR0, CR0_PE | CR0_ET | CR0_NE);
  write(VMCS.CR0_READ_SHADOW, CR0_PE | CR0_ET);
  write(VMCS.GUEST_RIP, pvh.entry);
  for (const name of SEGMENTS) {
    write(VMCS[`GUEST_${name}_LIMIT`], 0xffff_ffff);
    write(VMCS[`GUEST_${name}_ACCESS_RIGHTS`], name === "CS" ? CODE_32 : DATA_32);
  }
  write(VMCS.GUEST_TR_LIMIT, TSS_LIMIT);
  write(VMCS.GUEST_TR_ACCESS_RIGHTS, TSS_32_BUSY);
  write(VMCS.GUEST_LDTR_ACCESS_RIGHTS, UNUSABLE);
  state.setGpr(EBX, pvh.startInfo);
}

/** Real mode at FFFFFFF0h, which an unrestricted guest may be in (SDM Vol. 3 table 10-1, §26.6.2). */
function startAtReset(write: WriteField, state: HostProcessor["state"]): void {
  write(VMCS.CR0_READ_SHADOW, CR0_RESET);
  write(VMCS.GUEST_CR0, CR0_RESET | CR0_NE);
  write(VMCS.GUEST_RIP, 0xfff0);
  for (const name of SEGMENTS) {
    write(VMCS[`GUEST_${name}_LIMIT`], REAL_MODE_LIMIT);
    write(VMCS[`GUEST_${name}_ACCESS_RIGHTS`], name === "CS" ? REAL_MODE_CODE : REAL_MODE_DATA);
  }
  write(VMCS.GUEST_CS_SELECTOR, 0xf000);
  write(VMCS.GUEST_CS_BASE, 0xffff_0000);
  for (const name of ["GDTR", "IDTR", "TR", "LDTR"] as const) write(VMCS[`GUEST_${name}_LIMIT`], REAL_MODE_LIMIT);
  write(VMCS.GUEST_TR_ACCESS_RIGHTS, TSS_32_BUSY);
  write(VMCS.GUEST_LDTR_ACCESS_RIGHTS, LDT);
  const [signature] = cpuid(1);
  state.setGpr(EDX, signature);
}
