/**
 * Basic exit reasons (SDM appendix C) and what their exit qualifications say (SDM §28.2.1), as numbers and as text.
 * Edition: see fields.ts.
 */

/** Basic exit reasons this processor can produce, and those that trap instructions of VMX itself. */
export const EXIT = {
  EXCEPTION_OR_NMI: 0,
  EXTERNAL_INTERRUPT: 1,
  TRIPLE_FAULT: 2,
  INTERRUPT_WINDOW: 7,
  NMI_WINDOW: 8,
  TASK_SWITCH: 9,
  CPUID: 10,
  HLT: 12,
  INVD: 13,
  INVLPG: 14,
  RDPMC: 15,
  RDTSC: 16,
  RSM: 17,
  VMCALL: 18,
  VMCLEAR: 19,
  VMLAUNCH: 20,
  VMPTRLD: 21,
  VMPTRST: 22,
  VMREAD: 23,
  VMRESUME: 24,
  VMWRITE: 25,
  VMXOFF: 26,
  VMXON: 27,
  CONTROL_REGISTER_ACCESS: 28,
  MOV_DR: 29,
  IO_INSTRUCTION: 30,
  RDMSR: 31,
  WRMSR: 32,
  ENTRY_FAILURE_GUEST_STATE: 33,
  ENTRY_FAILURE_MSR_LOADING: 34,
  MWAIT: 36,
  MONITOR_TRAP_FLAG: 37,
  MONITOR: 39,
  PAUSE: 40,
  GDTR_OR_IDTR_ACCESS: 46,
  LDTR_OR_TR_ACCESS: 47,
  EPT_VIOLATION: 48,
  EPT_MISCONFIGURATION: 49,
  INVEPT: 50,
  PREEMPTION_TIMER: 52,
  INVVPID: 53,
  WBINVD: 54,
  XSETBV: 55,
} as const;

export type ExitReason = (typeof EXIT)[keyof typeof EXIT];

/** Exit-reason bit 31: the VM entry failed (SDM §27.8). */
export const ENTRY_FAILURE = 0x8000_0000;

/** Qualifications of a failed VM entry due to guest state (SDM §27.8). */
export const ENTRY_FAILURE_PDPTE = 2;
export const ENTRY_FAILURE_NMI_INJECTION = 3;
export const ENTRY_FAILURE_LINK_POINTER = 4;

/** Exit qualification for control-register accesses (SDM table 28-3). */
export const CR_MOV_TO = 0;
export const CR_MOV_FROM = 1;
export const CR_CLTS = 2;
export const CR_LMSW = 3;

/** `access` is CR_MOV_TO …; `gpr` in encoding order for MOV CR; `lmswSource` and `lmswMemory` for LMSW. */
export function crQualification(cr: number, access: number, gpr: number, lmswMemory = false, lmswSource = 0): number {
  return (cr | (access << 4) | (lmswMemory ? 1 << 6 : 0) | (gpr << 8) | (lmswSource << 16)) >>> 0;
}

/** Exit qualification for MOV DR (SDM table 28-4). */
export function drQualification(dr: number, fromDr: boolean, gpr: number): number {
  return dr | (fromDr ? 1 << 4 : 0) | (gpr << 8);
}

/** Exit qualification for I/O instructions (SDM table 28-5). `immediate`: the port is an immediate byte, not DX. */
export function ioQualification(
  port: number,
  width: number,
  input: boolean,
  string: boolean,
  rep: boolean,
  immediate: boolean,
): number {
  return (
    ((width - 1) |
      (input ? 1 << 3 : 0) |
      (string ? 1 << 4 : 0) |
      (rep ? 1 << 5 : 0) |
      (immediate ? 1 << 6 : 0) |
      (port << 16)) >>>
    0
  );
}

/** Source of a task switch (SDM table 28-2). */
export const TASK_SWITCH_CALL = 0;
export const TASK_SWITCH_IRET = 1;
export const TASK_SWITCH_JMP = 2;
export const TASK_SWITCH_IDT_GATE = 3;

export function taskSwitchQualification(selector: number, source: number): number {
  return (selector | (source << 30)) >>> 0;
}

/** Bits of an EPT violation's qualification (SDM table 28-7). */
export const EPT_READ = 1 << 0;
export const EPT_WRITE = 1 << 1;
export const EPT_FETCH = 1 << 2;
export const EPT_PERMISSIONS_SHIFT = 3;
export const EPT_LINEAR_VALID = 1 << 7;
export const EPT_FINAL_TRANSLATION = 1 << 8;
export const NMI_UNBLOCKING_BY_IRET = 1 << 12;

/** Interruption types in the interruption-information formats (SDM tables 25-15, 25-18 and 25-19). */
export const EXTERNAL_INTERRUPT = 0;
export const NON_MASKABLE_INTERRUPT = 2;
export const HARDWARE_EXCEPTION = 3;
export const SOFTWARE_INTERRUPT = 4;
export const PRIVILEGED_SOFTWARE_EXCEPTION = 5;
export const SOFTWARE_EXCEPTION = 6;
export const OTHER_EVENT = 7;

export const INTERRUPTION_ERROR_CODE = 1 << 11;
export const INTERRUPTION_VALID = 0x8000_0000;

const hex = (value: number): string => `0x${value.toString(16)}`;
const GPR_NAMES = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"] as const;
const gprName = (index: number): string => GPR_NAMES[index & 7] ?? "";
const bytes = (count: number): string => `${count} byte${count === 1 ? "" : "s"}`;

const VECTOR_NAMES: Readonly<Record<number, string>> = {
  0: "#DE",
  1: "#DB",
  2: "NMI",
  3: "#BP",
  4: "#OF",
  5: "#BR",
  6: "#UD",
  7: "#NM",
  8: "#DF",
  10: "#TS",
  11: "#NP",
  12: "#SS",
  13: "#GP",
  14: "#PF",
  16: "#MF",
  17: "#AC",
  18: "#MC",
  19: "#XM",
};

const INTERRUPTION_TYPES: readonly string[] = [
  "external interrupt",
  "reserved type 1",
  "NMI",
  "hardware exception",
  "software interrupt",
  "privileged software exception",
  "software exception",
  "other event",
];

/** Text of an interruption-information or IDT-vectoring-information field; empty when its valid bit is clear. */
export function describeInterruption(information: number): string {
  if (information >>> 31 === 0) return "";
  const type = (information >>> 8) & 7;
  const vector = information & 0xff;
  if (type === NON_MASKABLE_INTERRUPT) return "NMI";
  if (type === OTHER_EVENT) return "pending MTF VM exit";
  const isException =
    type === HARDWARE_EXCEPTION || type === SOFTWARE_EXCEPTION || type === PRIVILEGED_SOFTWARE_EXCEPTION;
  const name = isException ? (VECTOR_NAMES[vector] ?? `vector ${hex(vector)}`) : `vector ${hex(vector)}`;
  return `${INTERRUPTION_TYPES[type] ?? ""} ${name}`;
}

function describeCr(qualification: number): string {
  const cr = qualification & 15;
  const gpr = gprName((qualification >>> 8) & 15);
  switch ((qualification >>> 4) & 3) {
    case CR_MOV_TO:
      return `MOV CR${cr}, ${gpr}`;
    case CR_MOV_FROM:
      return `MOV ${gpr}, CR${cr}`;
    case CR_CLTS:
      return "CLTS";
    default:
      return `LMSW ${hex(qualification >>> 16)}`;
  }
}

function describeDr(qualification: number): string {
  const dr = `DR${qualification & 7}`;
  const gpr = gprName((qualification >>> 8) & 15);
  return (qualification & 16) !== 0 ? `MOV ${gpr}, ${dr}` : `MOV ${dr}, ${gpr}`;
}

function describeIo(qualification: number): string {
  const input = (qualification & 8) !== 0;
  const string = (qualification & 16) !== 0;
  const rep = (qualification & 32) !== 0 ? "REP " : "";
  const mnemonic = input ? (string ? "INS" : "IN") : string ? "OUTS" : "OUT";
  return `${rep}${mnemonic} ${hex(qualification >>> 16)}, ${bytes((qualification & 7) + 1)}`;
}

const TASK_SWITCH_SOURCES = ["CALL", "IRET", "JMP", "task gate in the IDT"] as const;

function describeTaskSwitch(qualification: number): string {
  return `to TSS selector ${hex(qualification & 0xffff)} by ${TASK_SWITCH_SOURCES[(qualification >>> 30) & 3] ?? ""}`;
}

const listed = (flags: readonly (readonly [number, string])[], value: number): string =>
  flags
    .filter(([bit]) => (value & bit) !== 0)
    .map(([, name]) => name)
    .join("+");

const ACCESSES = [
  [1, "read"],
  [2, "write"],
  [4, "fetch"],
] as const;
const PERMISSIONS = [
  [1, "readable"],
  [2, "writable"],
  [4, "executable"],
] as const;

function describeEptViolation(qualification: number): string {
  const permitted = listed(PERMISSIONS, (qualification >>> EPT_PERMISSIONS_SHIFT) & 7) || "not present";
  const of =
    (qualification & EPT_LINEAR_VALID) === 0
      ? "PDPTEs"
      : (qualification & EPT_FINAL_TRANSLATION) !== 0
        ? "data"
        : "page walk";
  return `${listed(ACCESSES, qualification & 7)} (${of}), ${permitted}`;
}

/** Debug-exception qualification (SDM table 28-1). */
function describeDebug(qualification: number): string {
  const conditions = listed(
    [
      [1, "B0"],
      [2, "B1"],
      [4, "B2"],
      [8, "B3"],
      [1 << 13, "BD"],
      [1 << 14, "BS"],
    ],
    qualification,
  );
  return conditions === "" ? "" : `DR6 ${conditions}`;
}

function describeEntryFailure(qualification: number): string {
  switch (qualification) {
    case ENTRY_FAILURE_PDPTE:
      return "PDPTEs";
    case ENTRY_FAILURE_NMI_INJECTION:
      return "NMI injection while blocked by STI";
    case ENTRY_FAILURE_LINK_POINTER:
      return "VMCS link pointer";
    default:
      return "";
  }
}

export interface ExitReasonRow {
  readonly reason: ExitReason;
  readonly name: string;
  /** Text of the qualification; rows without it define none. */
  readonly describe?: (qualification: number) => string;
  /** The VM-exit instruction length is defined for direct exits of this reason (SDM §28.2.5). */
  readonly instruction: boolean;
}

const row = (
  reason: ExitReason,
  name: string,
  instruction: boolean,
  describe?: (qualification: number) => string,
): ExitReasonRow => (describe === undefined ? { reason, name, instruction } : { reason, name, instruction, describe });

/** SDM appendix C, table C-1: the reasons that exist on this processor. */
export const EXIT_REASONS: readonly ExitReasonRow[] = [
  row(EXIT.EXCEPTION_OR_NMI, "exception or NMI", false),
  row(EXIT.EXTERNAL_INTERRUPT, "external interrupt", false),
  row(EXIT.TRIPLE_FAULT, "triple fault", false),
  row(EXIT.INTERRUPT_WINDOW, "interrupt window", false),
  row(EXIT.NMI_WINDOW, "NMI window", false),
  row(EXIT.TASK_SWITCH, "task switch", true, describeTaskSwitch),
  row(EXIT.CPUID, "CPUID", true),
  row(EXIT.HLT, "HLT", true),
  row(EXIT.INVD, "INVD", true),
  row(EXIT.INVLPG, "INVLPG", true, hex),
  row(EXIT.RDPMC, "RDPMC", true),
  row(EXIT.RDTSC, "RDTSC", true),
  row(EXIT.RSM, "RSM", true),
  row(EXIT.VMCALL, "VMCALL", true),
  row(EXIT.VMCLEAR, "VMCLEAR", true),
  row(EXIT.VMLAUNCH, "VMLAUNCH", true),
  row(EXIT.VMPTRLD, "VMPTRLD", true),
  row(EXIT.VMPTRST, "VMPTRST", true),
  row(EXIT.VMREAD, "VMREAD", true),
  row(EXIT.VMRESUME, "VMRESUME", true),
  row(EXIT.VMWRITE, "VMWRITE", true),
  row(EXIT.VMXOFF, "VMXOFF", true),
  row(EXIT.VMXON, "VMXON", true),
  row(EXIT.CONTROL_REGISTER_ACCESS, "control-register access", true, describeCr),
  row(EXIT.MOV_DR, "MOV DR", true, describeDr),
  row(EXIT.IO_INSTRUCTION, "I/O instruction", true, describeIo),
  row(EXIT.RDMSR, "RDMSR", true),
  row(EXIT.WRMSR, "WRMSR", true),
  row(EXIT.ENTRY_FAILURE_GUEST_STATE, "invalid guest state", false, describeEntryFailure),
  row(EXIT.ENTRY_FAILURE_MSR_LOADING, "MSR loading", false, (entry) => `entry ${entry}`),
  row(EXIT.MWAIT, "MWAIT", true),
  row(EXIT.MONITOR_TRAP_FLAG, "monitor trap flag", false),
  row(EXIT.MONITOR, "MONITOR", true),
  row(EXIT.PAUSE, "PAUSE", true),
  row(EXIT.GDTR_OR_IDTR_ACCESS, "access to GDTR or IDTR", true),
  row(EXIT.LDTR_OR_TR_ACCESS, "access to LDTR or TR", true),
  row(EXIT.EPT_VIOLATION, "EPT violation", false, describeEptViolation),
  row(EXIT.EPT_MISCONFIGURATION, "EPT misconfiguration", false),
  row(EXIT.INVEPT, "INVEPT", true),
  row(EXIT.PREEMPTION_TIMER, "VMX-preemption timer expired", false),
  row(EXIT.INVVPID, "INVVPID", true),
  row(EXIT.WBINVD, "WBINVD", true),
  row(EXIT.XSETBV, "XSETBV", true),
];

const byReason: (ExitReasonRow | undefined)[] = [];
for (const entry of EXIT_REASONS) byReason[entry.reason] = entry;

/** The row of a basic exit reason (bits 15:0), or undefined. */
export function exitReason(reason: number): ExitReasonRow | undefined {
  return byReason[reason & 0xffff];
}

const byInstruction: readonly boolean[] = Array.from(byReason, (row) => row?.instruction === true);

/** Whether an instruction causes exits of a basic reason (bits 15:0), whose length they report (SDM §28.2.5). */
export function isInstructionExit(reason: number): boolean {
  return byInstruction[reason & 0xffff] === true;
}

/** What a trace records of a VM exit. Absent fields were zero or undefined for the reason. */
export interface ExitRecord {
  readonly reason: number;
  readonly qualification: number;
  /** Guest-physical address of EPT violations and misconfigurations. */
  readonly gpa?: number;
  /** VM-exit interruption information. */
  readonly interruption?: number;
  /** IDT-vectoring information. */
  readonly vectoring?: number;
}

/**
 * One line for a person, such as "I/O instruction: OUT 0x3f8, 1 byte" or
 * "VM-entry failure: invalid guest state: PDPTEs". Works for reasons this processor does not know, too.
 */
export function describeExit(exit: ExitRecord): string {
  const { reason, qualification } = exit;
  const basic = exitReason(reason);
  const parts = [basic?.name ?? `exit reason ${reason & 0xffff}`];
  if (reason >>> 31 === 1) parts.unshift("VM-entry failure");
  if (basic?.reason === EXIT.EXCEPTION_OR_NMI) {
    parts.push(describeInterruption(exit.interruption ?? 0));
    if (((exit.interruption ?? 0) & 0xff) === 1) parts.push(describeDebug(qualification));
    if (((exit.interruption ?? 0) & 0xff) === 14) parts.push(`address ${hex(qualification)}`);
  } else if (basic?.reason === EXIT.EXTERNAL_INTERRUPT && (exit.interruption ?? 0) !== 0) {
    parts.push(`vector ${hex((exit.interruption ?? 0) & 0xff)}`);
  } else if (basic?.describe !== undefined) {
    parts.push(basic.describe(qualification));
  }
  if (exit.gpa !== undefined) parts.push(`guest-physical ${hex(exit.gpa)}`);
  const vectoring = describeInterruption(exit.vectoring ?? 0);
  if (vectoring !== "") parts.push(`while delivering ${vectoring}`);
  return parts.filter((part) => part !== "").join(": ");
}
