/**
 * The virtual-machine control structure (VMCS): every field this processor has, with its architectural encoding.
 *
 * Source for all of src/cpu/vmx: Intel 64 and IA-32 Architectures Software Developer's Manual, Volume 3 (325384-080US,
 * June 2023), chapters 24 to 32 and appendices A to C; "SDM §" in these files means that volume. Encodings: SDM
 * appendix B. Contents: SDM §25.4 to §25.9.
 *
 * The processor has no Intel 64 architecture, so natural-width fields are 32 bits wide (SDM §25.11.2). Fields of
 * features it does not offer (virtual APIC, posted interrupts, VM functions, page-modification logging, …) do not exist:
 * VMREAD and VMWRITE of them fail with error 12, as the manual says for unsupported components.
 */

import { OFFSET, SEGMENT_STRIDE } from "../state.ts";

/** Field width, encoding bits 14:13 (SDM table 25-21). */
export const WIDTH_16 = 0;
export const WIDTH_64 = 1;
export const WIDTH_32 = 2;
export const WIDTH_NATURAL = 3;

/** Field type, encoding bits 11:10 (SDM table 25-21). */
export const TYPE_CONTROL = 0;
export const TYPE_EXIT_INFORMATION = 1;
export const TYPE_GUEST = 2;
export const TYPE_HOST = 3;

/** Encodings by name (SDM appendix B). The high halves of 64-bit fields are these plus one. */
export const VMCS = {
  // 16-bit control, guest and host fields: §B.1
  VPID: 0x0000,
  GUEST_ES_SELECTOR: 0x0800,
  GUEST_CS_SELECTOR: 0x0802,
  GUEST_SS_SELECTOR: 0x0804,
  GUEST_DS_SELECTOR: 0x0806,
  GUEST_FS_SELECTOR: 0x0808,
  GUEST_GS_SELECTOR: 0x080a,
  GUEST_LDTR_SELECTOR: 0x080c,
  GUEST_TR_SELECTOR: 0x080e,
  HOST_ES_SELECTOR: 0x0c00,
  HOST_CS_SELECTOR: 0x0c02,
  HOST_SS_SELECTOR: 0x0c04,
  HOST_DS_SELECTOR: 0x0c06,
  HOST_FS_SELECTOR: 0x0c08,
  HOST_GS_SELECTOR: 0x0c0a,
  HOST_TR_SELECTOR: 0x0c0c,
  // 64-bit fields: §B.2
  IO_BITMAP_A: 0x2000,
  IO_BITMAP_B: 0x2002,
  MSR_BITMAP: 0x2004,
  EXIT_MSR_STORE_ADDRESS: 0x2006,
  EXIT_MSR_LOAD_ADDRESS: 0x2008,
  ENTRY_MSR_LOAD_ADDRESS: 0x200a,
  TSC_OFFSET: 0x2010,
  EPT_POINTER: 0x201a,
  GUEST_PHYSICAL_ADDRESS: 0x2400,
  VMCS_LINK_POINTER: 0x2800,
  GUEST_DEBUGCTL: 0x2802,
  GUEST_PAT: 0x2804,
  GUEST_EFER: 0x2806,
  GUEST_PDPTE0: 0x280a,
  GUEST_PDPTE1: 0x280c,
  GUEST_PDPTE2: 0x280e,
  GUEST_PDPTE3: 0x2810,
  HOST_PAT: 0x2c00,
  HOST_EFER: 0x2c02,
  // 32-bit fields: §B.3
  PIN_BASED_CONTROLS: 0x4000,
  PRIMARY_CONTROLS: 0x4002,
  EXCEPTION_BITMAP: 0x4004,
  PAGE_FAULT_ERROR_CODE_MASK: 0x4006,
  PAGE_FAULT_ERROR_CODE_MATCH: 0x4008,
  CR3_TARGET_COUNT: 0x400a,
  EXIT_CONTROLS: 0x400c,
  EXIT_MSR_STORE_COUNT: 0x400e,
  EXIT_MSR_LOAD_COUNT: 0x4010,
  ENTRY_CONTROLS: 0x4012,
  ENTRY_MSR_LOAD_COUNT: 0x4014,
  ENTRY_INTERRUPTION_INFORMATION: 0x4016,
  ENTRY_EXCEPTION_ERROR_CODE: 0x4018,
  ENTRY_INSTRUCTION_LENGTH: 0x401a,
  SECONDARY_CONTROLS: 0x401e,
  INSTRUCTION_ERROR: 0x4400,
  EXIT_REASON: 0x4402,
  EXIT_INTERRUPTION_INFORMATION: 0x4404,
  EXIT_INTERRUPTION_ERROR_CODE: 0x4406,
  IDT_VECTORING_INFORMATION: 0x4408,
  IDT_VECTORING_ERROR_CODE: 0x440a,
  EXIT_INSTRUCTION_LENGTH: 0x440c,
  EXIT_INSTRUCTION_INFORMATION: 0x440e,
  GUEST_ES_LIMIT: 0x4800,
  GUEST_CS_LIMIT: 0x4802,
  GUEST_SS_LIMIT: 0x4804,
  GUEST_DS_LIMIT: 0x4806,
  GUEST_FS_LIMIT: 0x4808,
  GUEST_GS_LIMIT: 0x480a,
  GUEST_LDTR_LIMIT: 0x480c,
  GUEST_TR_LIMIT: 0x480e,
  GUEST_GDTR_LIMIT: 0x4810,
  GUEST_IDTR_LIMIT: 0x4812,
  GUEST_ES_ACCESS_RIGHTS: 0x4814,
  GUEST_CS_ACCESS_RIGHTS: 0x4816,
  GUEST_SS_ACCESS_RIGHTS: 0x4818,
  GUEST_DS_ACCESS_RIGHTS: 0x481a,
  GUEST_FS_ACCESS_RIGHTS: 0x481c,
  GUEST_GS_ACCESS_RIGHTS: 0x481e,
  GUEST_LDTR_ACCESS_RIGHTS: 0x4820,
  GUEST_TR_ACCESS_RIGHTS: 0x4822,
  GUEST_INTERRUPTIBILITY: 0x4824,
  GUEST_ACTIVITY: 0x4826,
  GUEST_SMBASE: 0x4828,
  GUEST_SYSENTER_CS: 0x482a,
  PREEMPTION_TIMER: 0x482e,
  HOST_SYSENTER_CS: 0x4c00,
  // natural-width fields: §B.4
  CR0_MASK: 0x6000,
  CR4_MASK: 0x6002,
  CR0_READ_SHADOW: 0x6004,
  CR4_READ_SHADOW: 0x6006,
  CR3_TARGET_0: 0x6008,
  CR3_TARGET_1: 0x600a,
  CR3_TARGET_2: 0x600c,
  CR3_TARGET_3: 0x600e,
  EXIT_QUALIFICATION: 0x6400,
  IO_RCX: 0x6402,
  IO_RSI: 0x6404,
  IO_RDI: 0x6406,
  IO_RIP: 0x6408,
  GUEST_LINEAR_ADDRESS: 0x640a,
  GUEST_CR0: 0x6800,
  GUEST_CR3: 0x6802,
  GUEST_CR4: 0x6804,
  GUEST_ES_BASE: 0x6806,
  GUEST_CS_BASE: 0x6808,
  GUEST_SS_BASE: 0x680a,
  GUEST_DS_BASE: 0x680c,
  GUEST_FS_BASE: 0x680e,
  GUEST_GS_BASE: 0x6810,
  GUEST_LDTR_BASE: 0x6812,
  GUEST_TR_BASE: 0x6814,
  GUEST_GDTR_BASE: 0x6816,
  GUEST_IDTR_BASE: 0x6818,
  GUEST_DR7: 0x681a,
  GUEST_RSP: 0x681c,
  GUEST_RIP: 0x681e,
  GUEST_RFLAGS: 0x6820,
  GUEST_PENDING_DEBUG_EXCEPTIONS: 0x6822,
  GUEST_SYSENTER_ESP: 0x6824,
  GUEST_SYSENTER_EIP: 0x6826,
  HOST_CR0: 0x6c00,
  HOST_CR3: 0x6c02,
  HOST_CR4: 0x6c04,
  HOST_FS_BASE: 0x6c06,
  HOST_GS_BASE: 0x6c08,
  HOST_TR_BASE: 0x6c0a,
  HOST_GDTR_BASE: 0x6c0c,
  HOST_IDTR_BASE: 0x6c0e,
  HOST_SYSENTER_ESP: 0x6c10,
  HOST_SYSENTER_EIP: 0x6c12,
  HOST_RSP: 0x6c14,
  HOST_RIP: 0x6c16,
} as const;

export type VmcsFieldName = keyof typeof VMCS;

/** Named `highest index` of IA32_VMX_VMCS_ENUM (SDM §A.9): the largest index in any encoding above. */
export const HIGHEST_FIELD_INDEX = 0x17;

export interface VmcsField {
  readonly encoding: number;
  readonly name: VmcsFieldName;
  /** WIDTH_16 … WIDTH_NATURAL. */
  readonly width: number;
  /** TYPE_CONTROL … TYPE_HOST. */
  readonly type: number;
  /** Index of its first word in the VMCS data; 64-bit fields have a second one for bits 63:32. */
  readonly word: number;
  /**
   * Byte offset in the processor's state block of a guest-state field that lives there while its VMCS is current
   * (SDM §25.1: the processor may keep an active VMCS on chip), or −1.
   */
  readonly live: number;
}

const segment = (index: number, part: number): number => OFFSET.segment + SEGMENT_STRIDE * index + part;

const SEGMENT_NAMES = ["ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR"] as const;

/**
 * Guest-state fields that live in the processor's state block. RFLAGS is one too, but needs its lazy form's accessor. DR7,
 * IA32_DEBUGCTL, IA32_PAT and IA32_EFER do not: controls decide whether entries load and exits save them.
 */
const LIVE: Partial<Record<VmcsFieldName, number>> = {
  GUEST_GDTR_LIMIT: OFFSET.gdtrLimit,
  GUEST_IDTR_LIMIT: OFFSET.idtrLimit,
  GUEST_INTERRUPTIBILITY: OFFSET.interruptibility,
  GUEST_ACTIVITY: OFFSET.activity,
  GUEST_SYSENTER_CS: OFFSET.sysenterCs,
  GUEST_SYSENTER_ESP: OFFSET.sysenterEsp,
  GUEST_SYSENTER_EIP: OFFSET.sysenterEip,
  GUEST_CR0: OFFSET.cr0,
  GUEST_CR3: OFFSET.cr3,
  GUEST_CR4: OFFSET.cr4,
  GUEST_GDTR_BASE: OFFSET.gdtrBase,
  GUEST_IDTR_BASE: OFFSET.idtrBase,
  GUEST_RSP: 4 * 8,
  GUEST_RIP: OFFSET.rip,
  GUEST_PENDING_DEBUG_EXCEPTIONS: OFFSET.pendingDebug,
  GUEST_PDPTE0: OFFSET.pdpte,
  GUEST_PDPTE1: OFFSET.pdpte + 8,
  GUEST_PDPTE2: OFFSET.pdpte + 16,
  GUEST_PDPTE3: OFFSET.pdpte + 24,
};
SEGMENT_NAMES.forEach((name, index) => {
  LIVE[`GUEST_${name}_SELECTOR`] = segment(index, 0);
  LIVE[`GUEST_${name}_ACCESS_RIGHTS`] = segment(index, 4);
  LIVE[`GUEST_${name}_LIMIT`] = segment(index, 8);
  LIVE[`GUEST_${name}_BASE`] = segment(index, 16);
});

let nextWord = 0;

/** All fields, in the order of their encodings. */
export const VMCS_FIELDS: readonly VmcsField[] = (Object.entries(VMCS) as [VmcsFieldName, number][]).map(
  ([name, encoding]) => {
    const width = (encoding >>> 13) & 3;
    const word = nextWord;
    nextWord += width === WIDTH_64 ? 2 : 1;
    return { encoding, name, width, type: (encoding >>> 10) & 3, word, live: LIVE[name] ?? -1 };
  },
);

/** 32-bit words that the data of a VMCS takes. */
export const VMCS_WORDS: number = nextWord;

/** Encodings are below 2^15 (SDM table 25-21). */
const byEncoding: (VmcsField | undefined)[] = new Array<VmcsField | undefined>(1 << 15).fill(undefined);
for (const field of VMCS_FIELDS) byEncoding[field.encoding] = field;

/** The field that `encoding` names in full; undefined for high halves and fields that do not exist. */
export function vmcsField(encoding: number): VmcsField | undefined {
  return byEncoding[encoding];
}

/** Index of the field's (low) word in the VMCS data. */
export function wordOf(encoding: number): number {
  const field = byEncoding[encoding];
  if (field === undefined) throw new RangeError(`VMCS encoding ${encoding.toString(16)} names no field`);
  return field.word;
}
