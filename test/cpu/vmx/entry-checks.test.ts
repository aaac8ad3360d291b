/** Every rule of SDM §27.2 and §27.3, broken once (at least) in a guest that is otherwise valid. */

import { expect, test } from "vitest";
import { CONTROL_CHECKS, INJECTION_CHECKS } from "../../../src/cpu/vmx/check-controls.ts";
import {
  FLAG_CHECKS,
  INJECTION_STATE_CHECKS,
  NON_REGISTER_CHECKS,
  PDPTE_CHECKS,
  REGISTER_CHECKS,
  TABLE_CHECKS,
} from "../../../src/cpu/vmx/check-guest.ts";
import { HOST_CHECKS } from "../../../src/cpu/vmx/check-host.ts";
import { SEGMENT_CHECKS } from "../../../src/cpu/vmx/check-segments.ts";
import {
  allowedOnes,
  CONTROL_GROUPS,
  type ControlFlag,
  type ControlGroup,
  controlWord,
  PIN_BASED,
  PRIMARY,
  SECONDARY,
  VM_ENTRY,
  VM_EXIT,
} from "../../../src/cpu/vmx/controls.ts";
import { ENTRY_FAILURE, EXIT } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS, type VmcsFieldName } from "../../../src/cpu/vmx/fields.ts";
import {
  INVALID_CONTROL_FIELDS,
  INVALID_HOST_STATE,
  VM_FAIL_VALID,
  VM_SUCCEED,
} from "../../../src/cpu/vmx/operation.ts";
import { type Fields, flatGuest, ScriptedProcessor, writeGuest } from "./guest.ts";

const broken = new Set<string>();

interface Outcome {
  /** "runs", "VMfail <error>" or "entry failure <qualification>". */
  readonly outcome: string;
  readonly rule: string | undefined;
}

function enterWith(changes: Fields): Outcome {
  const cpu = ScriptedProcessor.withGuest(changes);
  const result = cpu.vmx.vmlaunch(1);
  const rule = cpu.vmx.failedCheck?.rule;
  if (rule !== undefined) broken.add(rule);
  if (result === VM_FAIL_VALID) return { outcome: `VMfail ${cpu.vmx.vmread(VMCS.INSTRUCTION_ERROR)}`, rule };
  const reason = cpu.vmx.vmread(VMCS.EXIT_REASON);
  if (reason < ENTRY_FAILURE) return { outcome: "runs", rule };
  expect(reason).toBe(ENTRY_FAILURE + EXIT.ENTRY_FAILURE_GUEST_STATE);
  return { outcome: `entry failure ${cpu.vmx.vmread(VMCS.EXIT_QUALIFICATION)}`, rule };
}

const pin = (...flags: ControlFlag[]): number => controlWord(PIN_BASED, ...flags);
const primary = (...flags: ControlFlag[]): number => controlWord(PRIMARY, "activateSecondaryControls", ...flags);
const secondary = (...flags: ControlFlag[]): number => controlWord(SECONDARY, ...flags);
const CONTROLS = `VMfail ${INVALID_CONTROL_FIELDS}`;
const HOST = `VMfail ${INVALID_HOST_STATE}`;
const GUEST = "entry failure 0";
const RUNS = "runs";

const VALID = 0x8000_0000;
const halted = { GUEST_ACTIVITY: 1 };
const restricted = { SECONDARY_CONTROLS: secondary("eptEnabled", "vpidEnabled"), GUEST_CR0: 0x8000_0031 };
const v86Segments: Fields = {};
for (const name of ["ES", "CS", "SS", "DS", "FS", "GS"] as const) {
  v86Segments[`GUEST_${name}_SELECTOR`] = 0x1234;
  v86Segments[`GUEST_${name}_BASE`] = 0x1_2340;
  v86Segments[`GUEST_${name}_LIMIT`] = 0xffff;
  v86Segments[`GUEST_${name}_ACCESS_RIGHTS`] = 0xf3;
}
const v86: Fields = { ...v86Segments, GUEST_RFLAGS: 0x2_0002 };
const real: Fields = { GUEST_CR0: 0x30, GUEST_CS_ACCESS_RIGHTS: 0x93, GUEST_CS_LIMIT: 0xffff };
const ring3: Fields = {
  GUEST_CS_SELECTOR: 0x1b,
  GUEST_CS_ACCESS_RIGHTS: 0xc0fb,
  GUEST_SS_SELECTOR: 0x23,
  GUEST_SS_ACCESS_RIGHTS: 0xc0f3,
};
const pae: Fields = { GUEST_CR0: 0x8000_0031, GUEST_CR4: 0x2020 };

/** What is changed in the valid guest, and what becomes of the entry. */
const cases: readonly (readonly [what: string, changes: Fields, outcome: string])[] = [
  ["nothing", {}, RUNS],
  // §27.2.1.1
  ["4 CR3 targets", { CR3_TARGET_COUNT: 4 }, RUNS],
  ["5 CR3 targets", { CR3_TARGET_COUNT: 5 }, CONTROLS],
  [
    "aligned bitmaps",
    {
      PRIMARY_CONTROLS: primary("useIoBitmaps", "useMsrBitmaps"),
      IO_BITMAP_A: 0x7000,
      IO_BITMAP_B: 0x8000,
      MSR_BITMAP: 0x9000,
    },
    RUNS,
  ],
  ["I/O bitmap A unaligned", { PRIMARY_CONTROLS: primary("useIoBitmaps"), IO_BITMAP_A: 0x7800 }, CONTROLS],
  ["I/O bitmap A unaligned but unused", { IO_BITMAP_A: 0x7800 }, RUNS],
  ["I/O bitmap B beyond 36 bits", { PRIMARY_CONTROLS: primary("useIoBitmaps"), IO_BITMAP_B: 2 ** 36 }, CONTROLS],
  ["MSR bitmap unaligned", { PRIMARY_CONTROLS: primary("useMsrBitmaps"), MSR_BITMAP: 1 }, CONTROLS],
  ["virtual NMIs without NMI exiting", { PIN_BASED_CONTROLS: pin("virtualNmis") }, CONTROLS],
  [
    "NMI window without virtual NMIs",
    { PIN_BASED_CONTROLS: pin("nmiExiting"), PRIMARY_CONTROLS: primary("nmiWindowExiting") },
    CONTROLS,
  ],
  ["uncacheable EPT structures", { EPT_POINTER: 0x4000 | (3 << 3) }, RUNS],
  ["accessed and dirty flags for EPT", { EPT_POINTER: 0x4000 | (3 << 3) | 6 | 0x40 }, RUNS],
  ["EPT memory type WT", { EPT_POINTER: 0x4000 | (3 << 3) | 4 }, CONTROLS],
  ["EPT walk length 5", { EPT_POINTER: 0x4000 | (4 << 3) | 6 }, CONTROLS],
  ["EPT pointer bit 7", { EPT_POINTER: 0x4000 | (3 << 3) | 6 | 0x80 }, CONTROLS],
  ["EPT pointer beyond 36 bits", { EPT_POINTER: 2 ** 36 + (3 << 3) + 6 }, CONTROLS],
  ["unrestricted guest without EPT", { SECONDARY_CONTROLS: secondary("unrestrictedGuest", "vpidEnabled") }, CONTROLS],
  ["VPID 0", { VPID: 0 }, CONTROLS],
  ["VPID 0 with VPIDs disabled", { VPID: 0, SECONDARY_CONTROLS: secondary("eptEnabled", "unrestrictedGuest") }, RUNS],
  [
    "reserved secondary controls that are not activated",
    { PRIMARY_CONTROLS: controlWord(PRIMARY), SECONDARY_CONTROLS: 0xffff_ffff, GUEST_CR0: 0x8000_0031 },
    RUNS,
  ],
  // §27.2.1.2
  ["saving a preemption timer that is off", { EXIT_CONTROLS: controlWord(VM_EXIT, "savePreemptionTimer") }, CONTROLS],
  ["MSR-store area unaligned", { EXIT_MSR_STORE_COUNT: 1, EXIT_MSR_STORE_ADDRESS: 0x7008 }, CONTROLS],
  [
    "MSR-load area whose last byte is beyond 36 bits",
    { EXIT_MSR_LOAD_COUNT: 2, EXIT_MSR_LOAD_ADDRESS: 2 ** 36 - 16 },
    CONTROLS,
  ],
  [
    "513 entries in the MSR-load area of entries",
    { ENTRY_MSR_LOAD_COUNT: 513, ENTRY_MSR_LOAD_ADDRESS: 0x7000 },
    CONTROLS,
  ],
  ["an unaligned area without entries", { EXIT_MSR_STORE_ADDRESS: 3 }, RUNS],
  // §27.2.1.3, event injection
  ["injection of reserved type 1", { ENTRY_INTERRUPTION_INFORMATION: VALID | (1 << 8) }, CONTROLS],
  ["an NMI of vector 3", { ENTRY_INTERRUPTION_INFORMATION: VALID | (2 << 8) | 3 }, CONTROLS],
  ["#GP without its error code", { ENTRY_INTERRUPTION_INFORMATION: VALID | (3 << 8) | 13 }, CONTROLS],
  [
    "reserved bit 12 of the injected event",
    { ENTRY_INTERRUPTION_INFORMATION: VALID | (1 << 12) | (3 << 8) | 6 },
    CONTROLS,
  ],
  [
    "a 17-bit error code",
    { ENTRY_INTERRUPTION_INFORMATION: VALID | (1 << 11) | (3 << 8) | 13, ENTRY_EXCEPTION_ERROR_CODE: 0x1_0000 },
    CONTROLS,
  ],
  ["INT n of 0 bytes", { ENTRY_INTERRUPTION_INFORMATION: VALID | (4 << 8) | 0x80 }, CONTROLS],
  [
    "INT n of 16 bytes",
    { ENTRY_INTERRUPTION_INFORMATION: VALID | (4 << 8) | 0x80, ENTRY_INSTRUCTION_LENGTH: 16 },
    CONTROLS,
  ],
  // §27.2.2, §27.2.3
  ["host CR0 without paging", { HOST_CR0: 0x21 }, HOST],
  ["host CR4 without VMXE", { HOST_CR4: 0 }, HOST],
  ["host CR4 with SMEP", { HOST_CR4: 0x2000 | (1 << 20) }, HOST],
  [
    "host PAT with type 2",
    { EXIT_CONTROLS: controlWord(VM_EXIT, "loadHostPat"), HOST_PAT: 0x0007_0402_0007_0406n },
    HOST,
  ],
  ["host PAT with type 2 that is not loaded", { HOST_PAT: 2 }, RUNS],
  ["host EFER with LMA", { EXIT_CONTROLS: controlWord(VM_EXIT, "loadHostEfer"), HOST_EFER: 1 << 10 }, HOST],
  ...(["CS", "SS", "DS", "ES", "FS", "GS", "TR"] as const).map(
    (name) => [`host ${name} with RPL 3`, { [`HOST_${name}_SELECTOR`]: 0x13 }, HOST] as const,
  ),
  ["host SS with TI", { HOST_SS_SELECTOR: 0x14 }, HOST],
  ["host CS null", { HOST_CS_SELECTOR: 0 }, HOST],
  ["host SS null", { HOST_SS_SELECTOR: 0 }, HOST],
  ["host TR null", { HOST_TR_SELECTOR: 0 }, HOST],
  ["host DS null", { HOST_DS_SELECTOR: 0 }, RUNS],
  // §27.3.1.1
  ["guest CR0 without NE", { GUEST_CR0: 0x11 }, GUEST],
  ["guest CR0 with CD and NW", { GUEST_CR0: 0x6000_0031 }, RUNS],
  ["an unpaged guest that is not unrestricted", { ...restricted, GUEST_CR0: 0x31 }, GUEST],
  ["a paged guest that is not unrestricted", restricted, RUNS],
  ["paging without protection", { GUEST_CR0: 0x8000_0030 }, GUEST],
  ["guest CR4 without VMXE", { GUEST_CR4: 0 }, GUEST],
  ["guest CR4 with PCIDE", { GUEST_CR4: 0x2000 | (1 << 17) }, GUEST],
  ["DEBUGCTL with LBR", { GUEST_DEBUGCTL: 1 }, GUEST],
  ["DEBUGCTL with LBR that is not loaded", { GUEST_DEBUGCTL: 1, ENTRY_CONTROLS: controlWord(VM_ENTRY) }, RUNS],
  ["guest PAT with type 8", { GUEST_PAT: 0x0800_0000_0000_0000n }, GUEST],
  ["guest EFER with NXE", { GUEST_EFER: 1 << 11 }, RUNS],
  ["guest EFER with LME", { GUEST_EFER: 1 << 8 }, GUEST],
  // §27.3.1.2 in particular modes
  ["real-address mode", real, RUNS],
  ["real-address mode with CS.DPL 3", { ...real, GUEST_CS_ACCESS_RIGHTS: 0xf3 }, GUEST],
  ["real-address mode with SS.DPL 3", { ...real, GUEST_SS_ACCESS_RIGHTS: 0xc0f3 }, GUEST],
  ["a data segment in CS without unrestricted guest", { ...restricted, GUEST_CS_ACCESS_RIGHTS: 0xc093 }, GUEST],
  ["privilege level 3", ring3, RUNS],
  ["CS.DPL 3 with SS.DPL 0", { GUEST_CS_ACCESS_RIGHTS: 0xc0fb }, GUEST],
  ["conforming CS of DPL 0 at level 3", { ...ring3, GUEST_CS_ACCESS_RIGHTS: 0xc09f }, RUNS],
  ["conforming CS of DPL 3 at level 0", { GUEST_CS_ACCESS_RIGHTS: 0xc0ff }, GUEST],
  ["SS.RPL 3 without unrestricted guest", { ...restricted, GUEST_SS_SELECTOR: 0x13 }, GUEST],
  ["SS.RPL 3 in an unrestricted guest", { GUEST_SS_SELECTOR: 0x13 }, RUNS],
  [
    "SS.DPL 3 and CS.DPL 3 with RPL 0 without unrestricted guest",
    { ...restricted, GUEST_SS_ACCESS_RIGHTS: 0xc0f3, GUEST_CS_ACCESS_RIGHTS: 0xc0fb },
    GUEST,
  ],
  ...(["ES", "DS", "FS", "GS"] as const).map(
    (name) =>
      [
        `${name}.RPL 3 on DPL 0 without unrestricted guest`,
        { ...restricted, [`GUEST_${name}_SELECTOR`]: 0x13 },
        GUEST,
      ] as const,
  ),
  ["DS null and unusable", { GUEST_DS_SELECTOR: 0, GUEST_DS_ACCESS_RIGHTS: 0x1_0000 }, RUNS],
  ["SS unusable", { GUEST_SS_ACCESS_RIGHTS: 0x1_0000 }, RUNS],
  ["CS unusable", { GUEST_CS_ACCESS_RIGHTS: 0x1_0000 }, GUEST],
  ["TR unusable", { GUEST_TR_ACCESS_RIGHTS: 0x1_008b }, GUEST],
  ["an available TSS", { GUEST_TR_ACCESS_RIGHTS: 0x89 }, GUEST],
  ["a busy 16-bit TSS", { GUEST_TR_ACCESS_RIGHTS: 0x83 }, RUNS],
  ["virtual-8086 mode", v86, RUNS],
  ["virtual-8086 mode with RFLAGS.VM in real-address mode", { ...v86, GUEST_CR0: 0x30 }, GUEST],
  // §27.3.1.3, §27.3.1.4
  ["a GDTR limit of 17 bits", { GUEST_GDTR_LIMIT: 0x1_0000 }, GUEST],
  ["an IDTR limit of 17 bits", { GUEST_IDTR_LIMIT: 0x1_0000 }, GUEST],
  ["RFLAGS bit 1 clear", { GUEST_RFLAGS: 0 }, GUEST],
  ...[3, 5, 15, 22, 31].map((bit) => [`RFLAGS bit ${bit}`, { GUEST_RFLAGS: (2 | (1 << bit)) >>> 0 }, GUEST] as const),
  // §27.3.1.5
  ["the HLT state", halted, RUNS],
  ["the shutdown state", { GUEST_ACTIVITY: 2 }, GUEST],
  ["wait-for-SIPI", { GUEST_ACTIVITY: 3 }, GUEST],
  ["activity 4", { GUEST_ACTIVITY: 4 }, GUEST],
  ["HLT at level 3", { ...ring3, ...halted }, GUEST],
  ["HLT in the shadow of MOV SS", { ...halted, GUEST_INTERRUPTIBILITY: 2 }, GUEST],
  ["reserved interruptibility bit 4", { GUEST_INTERRUPTIBILITY: 0x10 }, GUEST],
  ["blocking by STI and by MOV SS", { GUEST_RFLAGS: 0x202, GUEST_INTERRUPTIBILITY: 3 }, GUEST],
  ["blocking by STI with IF clear", { GUEST_INTERRUPTIBILITY: 1 }, GUEST],
  ["blocking by STI", { GUEST_RFLAGS: 0x202, GUEST_INTERRUPTIBILITY: 1 }, RUNS],
  ["blocking by SMI", { GUEST_INTERRUPTIBILITY: 4 }, GUEST],
  ["blocking by NMI", { GUEST_INTERRUPTIBILITY: 8 }, RUNS],
  ["pending debug exception bit 13", { GUEST_PENDING_DEBUG_EXCEPTIONS: 1 << 13 }, GUEST],
  ["TF in the shadow of MOV SS without a pending trap", { GUEST_RFLAGS: 0x102, GUEST_INTERRUPTIBILITY: 2 }, GUEST],
  [
    "TF in the shadow of MOV SS with its trap pending",
    { GUEST_RFLAGS: 0x102, GUEST_INTERRUPTIBILITY: 2, GUEST_PENDING_DEBUG_EXCEPTIONS: 1 << 14 },
    RUNS,
  ],
  [
    "a pending trap in the shadow of MOV SS without TF",
    { GUEST_INTERRUPTIBILITY: 2, GUEST_PENDING_DEBUG_EXCEPTIONS: 1 << 14 },
    GUEST,
  ],
  ["a link pointer to a region of another revision", { VMCS_LINK_POINTER: 0x7000 }, "entry failure 4"],
  ["a link pointer to the current VMCS", { VMCS_LINK_POINTER: 0x2000 }, "entry failure 4"],
  ["an unaligned link pointer", { VMCS_LINK_POINTER: 0x3010 }, "entry failure 4"],
  ["a link pointer outside memory", { VMCS_LINK_POINTER: 2 ** 35 }, "entry failure 4"],
  ["a link pointer to another VMCS", { VMCS_LINK_POINTER: 0x3000 }, RUNS],
  // §27.3.1.6
  ["PAE with absent PDPTEs", { ...pae, GUEST_PDPTE2: 0x1e6 }, RUNS],
  ["PAE with a present PDPTE", { ...pae, GUEST_PDPTE0: 0x7001 }, RUNS],
  ...[1, 2, 5, 8, 36, 63].map(
    (bit) => [`PDPTE bit ${bit}`, { ...pae, GUEST_PDPTE3: (1n << BigInt(bit)) | 1n }, "entry failure 2"] as const,
  ),
  ["a bad PDPTE without PAE", { GUEST_PDPTE0: 0x1e7 }, RUNS],
  // §27.3.1.4 and §27.3.1.5 with an event
  ["an interrupt with IF clear", { ENTRY_INTERRUPTION_INFORMATION: VALID | 0x30 }, GUEST],
  [
    "an interrupt in the shadow of STI",
    { ENTRY_INTERRUPTION_INFORMATION: VALID | 0x30, GUEST_RFLAGS: 0x202, GUEST_INTERRUPTIBILITY: 1 },
    GUEST,
  ],
  [
    "an NMI in the shadow of MOV SS",
    { ENTRY_INTERRUPTION_INFORMATION: VALID | 0x202, GUEST_INTERRUPTIBILITY: 2 },
    GUEST,
  ],
  [
    "an NMI while virtual NMIs are blocked",
    { ENTRY_INTERRUPTION_INFORMATION: VALID | 0x202, GUEST_INTERRUPTIBILITY: 8 },
    GUEST,
  ],
  ["#UD into a halted guest", { ...halted, ENTRY_INTERRUPTION_INFORMATION: VALID | 0x306 }, GUEST],
];

for (const [what, changes, outcome] of cases) {
  test(`${what}: ${outcome}`, () => {
    expect(enterWith(changes).outcome).toBe(outcome);
  });
}

const DATA = ["ES", "DS", "FS", "GS"] as const;
const RIGHTS: Record<"CS" | "SS" | (typeof DATA)[number], number> = {
  CS: 0xc09b,
  SS: 0xc093,
  ES: 0xc093,
  DS: 0xc093,
  FS: 0xc093,
  GS: 0xc093,
};

for (const [name, rights] of Object.entries(RIGHTS) as [keyof typeof RIGHTS, number][]) {
  test(`${name} is refused with any access right out of its place`, () => {
    const field: VmcsFieldName = `GUEST_${name}_ACCESS_RIGHTS`;
    const wrong: number[] = [rights & ~(1 << 4), rights & ~(1 << 7)];
    for (const bit of [8, 9, 10, 11, 17, 24, 31]) wrong.push((rights | (1 << bit)) >>> 0);
    wrong.push(rights & ~1, name === "CS" ? rights & ~8 & ~2 : (rights | 8) & ~2);
    for (const value of wrong) {
      const seen = enterWith({ [field]: value });
      expect(seen.outcome, value.toString(16)).toBe(GUEST);
      expect(seen.rule, value.toString(16)).toMatch(new RegExp(`^${name}: `));
    }
  });

  test(`${name} is refused when G does not fit its limit`, () => {
    const field: VmcsFieldName = `GUEST_${name}_LIMIT`;
    const bytes = rights & ~(1 << 15);
    expect(enterWith({ [field]: 0xffff_effe }).outcome).toBe(GUEST);
    expect(enterWith({ [field]: 0x0010_0000, [`GUEST_${name}_ACCESS_RIGHTS`]: bytes }).outcome).toBe(GUEST);
    expect(enterWith({ [field]: 0x000f_ffff, [`GUEST_${name}_ACCESS_RIGHTS`]: bytes }).outcome).toBe(RUNS);
    expect(enterWith({ [field]: 0xfff }).outcome).toBe(RUNS);
  });

  test(`${name} in virtual-8086 mode has the one form that the mode knows`, () => {
    for (const change of [
      { [`GUEST_${name}_BASE`]: 0x1_2341 },
      { [`GUEST_${name}_LIMIT`]: 0xfffe },
      { [`GUEST_${name}_ACCESS_RIGHTS`]: 0x93 },
    ]) {
      const seen = enterWith({ ...v86, ...change });
      expect(seen.outcome).toBe(GUEST);
      expect(seen.rule).toMatch(new RegExp(`^${name} in virtual-8086 mode: `));
    }
  });
}

test("TR and LDTR are refused with any access right out of its place", () => {
  const ldtr = { GUEST_LDTR_SELECTOR: 0x20, GUEST_LDTR_LIMIT: 0xff };
  expect(enterWith({ ...ldtr, GUEST_LDTR_ACCESS_RIGHTS: 0x82 }).outcome).toBe(RUNS);
  const wrong: readonly (readonly [string, Fields])[] = [
    ["TR", { GUEST_TR_SELECTOR: 0x1c }],
    ["TR", { GUEST_TR_ACCESS_RIGHTS: 0x9b }],
    ["TR", { GUEST_TR_ACCESS_RIGHTS: 0x0b }],
    ["TR", { GUEST_TR_ACCESS_RIGHTS: 0x18b }],
    ["TR", { GUEST_TR_ACCESS_RIGHTS: 0x808b }],
    ["TR", { GUEST_TR_LIMIT: 0x10_0000 }],
    ["TR", { GUEST_TR_ACCESS_RIGHTS: 0x2_008b }],
    ["LDTR", { ...ldtr, GUEST_LDTR_SELECTOR: 0x24, GUEST_LDTR_ACCESS_RIGHTS: 0x82 }],
    ["LDTR", { ...ldtr, GUEST_LDTR_ACCESS_RIGHTS: 0x83 }],
    ["LDTR", { ...ldtr, GUEST_LDTR_ACCESS_RIGHTS: 0x92 }],
    ["LDTR", { ...ldtr, GUEST_LDTR_ACCESS_RIGHTS: 0x02 }],
    ["LDTR", { ...ldtr, GUEST_LDTR_ACCESS_RIGHTS: 0x882 }],
    ["LDTR", { ...ldtr, GUEST_LDTR_ACCESS_RIGHTS: 0x8082 }],
    ["LDTR", { ...ldtr, GUEST_LDTR_ACCESS_RIGHTS: 0x2_0082 }],
  ];
  for (const [name, changes] of wrong) {
    const seen = enterWith(changes);
    expect(seen.outcome, JSON.stringify(changes)).toBe(GUEST);
    expect(seen.rule).toMatch(new RegExp(`^${name}: `));
  }
});

const CONTROL_FIELDS: readonly (readonly [ControlGroup, VmcsFieldName])[] = [
  [PIN_BASED, "PIN_BASED_CONTROLS"],
  [PRIMARY, "PRIMARY_CONTROLS"],
  [SECONDARY, "SECONDARY_CONTROLS"],
  [VM_EXIT, "EXIT_CONTROLS"],
  [VM_ENTRY, "ENTRY_CONTROLS"],
];

for (const [group, field] of CONTROL_FIELDS) {
  test(`each bit of the ${group.name} is refused where the capability MSR fixes it`, () => {
    const valid = Number(flatGuest()[field]);
    for (let bit = 0; bit < 32; bit++) {
      const mask = (1 << bit) >>> 0;
      if ((group.alwaysOne & mask) !== 0) expect(enterWith({ [field]: (valid & ~mask) >>> 0 }).outcome).toBe(CONTROLS);
      else if ((allowedOnes(group) & mask) === 0) {
        expect(enterWith({ [field]: (valid | mask) >>> 0 }).outcome).toBe(CONTROLS);
      }
    }
  });
}

test("every pair of event type and vector is injected or refused as SDM §27.2.1.3 says", () => {
  const cpu = ScriptedProcessor.withGuest({ ENTRY_INSTRUCTION_LENGTH: 2, GUEST_RFLAGS: 0x202 });
  const withErrorCode = [8, 10, 11, 12, 13, 14, 17];
  for (let type = 0; type < 8; type++) {
    for (let vector = 0; vector < 256; vector++) {
      for (const error of [0, 1 << 11]) {
        const needsError = type === 3 && withErrorCode.includes(vector);
        const fits = [true, false, vector === 2, vector < 32, true, true, true, vector === 0][type] === true;
        const valid = fits && needsError === (error !== 0);
        writeGuest(cpu.vmx, { ENTRY_INTERRUPTION_INFORMATION: (VALID | error | (type << 8) | vector) >>> 0 });
        // An invalid host field stands behind the injection checks, so that nothing is run here.
        writeGuest(cpu.vmx, { HOST_TR_SELECTOR: 0 });
        cpu.vmx.vmlaunch(1);
        const expected = valid ? INVALID_HOST_STATE : INVALID_CONTROL_FIELDS;
        expect(cpu.vmx.vmread(VMCS.INSTRUCTION_ERROR), `type ${type} vector ${vector} ${error}`).toBe(expected);
      }
    }
  }
});

test("in real-address mode no injected exception has an error code", () => {
  const event = VALID | (3 << 8) | 13;
  expect(enterWith({ ...real, ENTRY_INTERRUPTION_INFORMATION: (event | (1 << 11)) >>> 0 }).outcome).toBe(CONTROLS);
});

test("what a halted guest may be injected: interrupts, NMIs, #DB, #MC, a pending MTF exit", () => {
  const cpu = ScriptedProcessor.withGuest({ ...halted, GUEST_RFLAGS: 0x202, ENTRY_INSTRUCTION_LENGTH: 2 });
  const wakes = (type: number, vector: number): boolean =>
    type === 0 || type === 2 || type === 7 || (type === 3 && (vector === 1 || vector === 18));
  for (const [type, vector] of [
    [0, 0x30],
    [2, 2],
    [3, 1],
    [3, 18],
    [3, 6],
    [3, 0],
    [4, 0x80],
    [5, 1],
    [6, 3],
    [7, 0],
  ] as const) {
    // A link pointer that no check before it would reach tells an accepted event from a refused one.
    writeGuest(cpu.vmx, {
      ENTRY_INTERRUPTION_INFORMATION: (VALID | (type << 8) | vector) >>> 0,
      GUEST_CR0: 0x8000_0031,
      GUEST_CR4: 0x2020,
      GUEST_PDPTE0: 0x1e7,
    });
    expect(cpu.vmx.vmlaunch(1)).toBe(VM_SUCCEED);
    const qualification = wakes(type, vector) ? 2 : 0;
    expect(cpu.vmx.vmread(VMCS.EXIT_QUALIFICATION), `type ${type} vector ${vector}`).toBe(qualification);
  }
});

test("every rule of the tables has been broken above", () => {
  const rules = [
    CONTROL_CHECKS,
    INJECTION_CHECKS,
    HOST_CHECKS,
    REGISTER_CHECKS,
    SEGMENT_CHECKS,
    TABLE_CHECKS,
    FLAG_CHECKS,
    NON_REGISTER_CHECKS,
    INJECTION_STATE_CHECKS,
    PDPTE_CHECKS,
  ].flat();
  expect(rules.filter(({ rule }) => !broken.has(rule)).map(({ rule }) => rule)).toEqual([]);
  expect(CONTROL_GROUPS.length).toBe(CONTROL_FIELDS.length);
});
