import { expect, test } from "vitest";
import { CAPABILITY_MSRS, capabilityMsr } from "../../../src/cpu/vmx/capabilities.ts";
import { controlWord, PRIMARY, SECONDARY } from "../../../src/cpu/vmx/controls.ts";
import { EXIT, HARDWARE_EXCEPTION, SOFTWARE_EXCEPTION } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS } from "../../../src/cpu/vmx/fields.ts";
import { type Fields, ScriptedProcessor } from "./guest.ts";

const IO_A = 0x7000;
const IO_B = 0x8000;
const MSRS = 0x9000;

function entered(changes: Fields): ScriptedProcessor {
  const cpu = ScriptedProcessor.withGuest(changes);
  cpu.vmx.vmlaunch(1);
  return cpu;
}

test("with I/O bitmaps an access exits if any of its ports has its bit set", () => {
  const primary = controlWord(PRIMARY, "useIoBitmaps", "activateSecondaryControls");
  const cpu = entered({ PRIMARY_CONTROLS: primary, IO_BITMAP_A: IO_A, IO_BITMAP_B: IO_B });
  cpu.memory.store8(IO_A + (0x3f8 >> 3), 1 << (0x3f8 & 7));
  cpu.memory.store8(IO_B + (0x4cfc >> 3), 1 << (0xcfc & 7));
  for (const [port, width, exits] of [
    [0x3f8, 1, true],
    [0x3f7, 1, false],
    [0x3f7, 2, true],
    [0x3f5, 4, true],
    [0x3f4, 4, false],
    [0xccfc, 1, true],
    [0xccfb, 1, false],
    [0x7fff, 2, false],
    [0xffff, 1, false],
    [0xffff, 2, true],
    [0xfffd, 4, true],
  ] as const) {
    expect(cpu.vmx.ioExits(port, width), `${port.toString(16)} ${width}`).toBe(exits);
  }
});

test("without I/O bitmaps unconditional I/O exiting decides", () => {
  for (const unconditional of [true, false]) {
    const flags = unconditional ? (["unconditionalIoExiting"] as const) : [];
    const cpu = entered({ PRIMARY_CONTROLS: controlWord(PRIMARY, "activateSecondaryControls", ...flags) });
    expect(cpu.vmx.ioExits(0x80, 1)).toBe(unconditional);
  }
});

test("MSR bitmaps have a quarter for each of low and high, read and write; other MSRs exit", () => {
  const primary = controlWord(PRIMARY, "useMsrBitmaps", "activateSecondaryControls");
  const cpu = entered({ PRIMARY_CONTROLS: primary, MSR_BITMAP: MSRS });
  for (const [index, write, offset] of [
    [0x174, false, 0],
    [0xc000_0080, false, 1024],
    [0x174, true, 2048],
    [0xc000_0080, true, 3072],
  ] as const) {
    const at = MSRS + offset + ((index & 0x1fff) >> 3);
    expect(cpu.vmx.msrExits(index, write)).toBe(false);
    cpu.memory.store8(at, 1 << (index & 7));
    expect(cpu.vmx.msrExits(index, write)).toBe(true);
    expect(cpu.vmx.msrExits(index, !write)).toBe(offset >= 2048);
  }
  for (const index of [0x2000, 0x4000_0000, 0xbfff_ffff, 0xc000_2000, 0xffff_ffff]) {
    expect(cpu.vmx.msrExits(index, false)).toBe(true);
  }
  expect(entered({}).vmx.msrExits(0x174, false)).toBe(true);
});

test("each exception exits exactly when its bit of the bitmap is set", () => {
  for (let bit = 0; bit < 32; bit++) {
    const cpu = entered({ EXCEPTION_BITMAP: (1 << bit) >>> 0, PAGE_FAULT_ERROR_CODE_MASK: 0 });
    for (let vector = 0; vector < 32; vector++) {
      expect(cpu.vmx.exceptionExits(vector, 0), `${bit} ${vector}`).toBe(bit === vector);
    }
  }
});

test("page faults exit by bitmap, error-code mask and match together (SDM §26.2)", () => {
  for (const bitmap of [0, 1 << 14]) {
    const cpu = entered({
      EXCEPTION_BITMAP: bitmap,
      PAGE_FAULT_ERROR_CODE_MASK: 0x11,
      PAGE_FAULT_ERROR_CODE_MATCH: 0x10,
    });
    for (let errorCode = 0; errorCode < 32; errorCode++) {
      const matches = (errorCode & 0x11) === 0x10;
      expect(cpu.vmx.exceptionExits(14, errorCode)).toBe(matches === (bitmap !== 0));
    }
  }
});

test("an intercepted exception is recorded as it would have been delivered", () => {
  const cpu = entered({ EXCEPTION_BITMAP: 0xffff_ffff });
  const recorded = (vector: number, errorCode: number, address: number, type = HARDWARE_EXCEPTION) => {
    expect(() => cpu.vmx.interceptException(vector, errorCode, address, type)).toThrow();
    return [
      VMCS.EXIT_REASON,
      VMCS.EXIT_INTERRUPTION_INFORMATION,
      VMCS.EXIT_INTERRUPTION_ERROR_CODE,
      VMCS.EXIT_QUALIFICATION,
    ].map((field) => cpu.vmx.vmread(field));
  };
  expect(recorded(14, 7, 0xc000_0000)).toEqual([EXIT.EXCEPTION_OR_NMI, 0x8000_0b0e, 7, 0xc000_0000]);
  expect(recorded(13, 0, 0)).toEqual([EXIT.EXCEPTION_OR_NMI, 0x8000_0b0d, 0, 0]);
  expect(recorded(1, -1, 0x4000)).toEqual([EXIT.EXCEPTION_OR_NMI, 0x8000_0301, 0, 0x4000]);
  expect(recorded(3, -1, 0, SOFTWARE_EXCEPTION)).toEqual([EXIT.EXCEPTION_OR_NMI, 0x8000_0603, 0, 0]);
});

test("secondary controls that are not activated are all off", () => {
  const cpu = entered({
    PRIMARY_CONTROLS: controlWord(PRIMARY),
    SECONDARY_CONTROLS: 0xffff_ffff,
    GUEST_CR0: 0x8000_0031,
  });
  const { eptEnabled, vpidEnabled, unrestrictedGuest, wbinvdExiting, descriptorTableExiting } = cpu.vmx.controls;
  expect([eptEnabled, vpidEnabled, unrestrictedGuest, wbinvdExiting, descriptorTableExiting]).not.toContain(true);
});

test("the decoded controls are the fields' values", () => {
  const cpu = entered({
    TSC_OFFSET: -5n,
    CR3_TARGET_COUNT: 2,
    CR3_TARGET_0: 0x1000,
    CR3_TARGET_1: 0x2000,
    CR3_TARGET_2: 0x3000,
    CR0_MASK: 0x8000_0001,
    CR0_READ_SHADOW: 0x8000_0011,
    CR4_MASK: 0x2000,
    SECONDARY_CONTROLS: controlWord(SECONDARY, "eptEnabled", "vpidEnabled", "unrestrictedGuest", "wbinvdExiting"),
  });
  expect(cpu.vmx.controls).toMatchObject({
    hltExiting: true,
    rdtscExiting: false,
    wbinvdExiting: true,
    tscOffset: 0xffff_ffff_ffff_fffbn,
    cr3Targets: [0x1000, 0x2000],
    cr0Mask: 0x8000_0001,
    cr0Shadow: 0x8000_0011,
    cr4Mask: 0x2000,
    eptRoot: 0x4000,
    eptAccessedDirty: false,
    vpid: 1,
  });
});

test("capability MSRs say what the manual says of their form (SDM appendix A)", () => {
  const value = (index: number): bigint => capabilityMsr(index) ?? -1n;
  expect(CAPABILITY_MSRS.map(({ index }) => index)).toEqual(Array.from({ length: 17 }, (_, at) => 0x480 + at));
  expect(value(0x480) & 0x8000_0000n).toBe(0n);
  expect((value(0x480) >> 32n) & 0x1fffn).toBe(4096n);
  for (const [control, exact] of [
    [0x481, 0x48d],
    [0x482, 0x48e],
    [0x483, 0x48f],
    [0x484, 0x490],
  ] as const) {
    // What must be 1 may be 1; and the TRUE MSR allows at least what the other does.
    for (const index of [control, exact]) expect(value(index) & 0xffff_ffffn & ~(value(index) >> 32n)).toBe(0n);
    expect(value(exact) & 0xffff_ffffn & ~value(control)).toBe(0n);
    expect(value(exact) >> 32n).toBe(value(control) >> 32n);
  }
  // Default1 (SDM §A.2): the words that a hypervisor without knowledge of TRUE MSRs sees.
  expect([0x482, 0x483, 0x484].map((index) => value(index) & 0xffff_ffffn)).toEqual([
    0x0401_e172n,
    0x0003_6dffn,
    0x0000_11ffn,
  ]);
  expect(value(0x486)).toBe(0x8000_0021n);
  expect(value(0x488)).toBe(0x2000n);
  expect(capabilityMsr(0x491)).toBeUndefined();
});
