/** VMXON to VMXOFF as SDM chapter 31 has them: which region, which state, which error. */

import { beforeEach, describe, expect, test } from "vitest";
import { EXIT } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS } from "../../../src/cpu/vmx/fields.ts";
import {
  INVALID_INVALIDATION,
  VM_FAIL_INVALID,
  VM_FAIL_VALID,
  VM_SUCCEED,
  VMCLEAR_INVALID_ADDRESS,
  VMCLEAR_VMXON_POINTER,
  VMLAUNCH_NOT_CLEAR,
  VMPTRLD_INVALID_ADDRESS,
  VMPTRLD_VMXON_POINTER,
  VMPTRLD_WRONG_REVISION,
  VMRESUME_NOT_LAUNCHED,
  VMXON_IN_ROOT,
} from "../../../src/cpu/vmx/operation.ts";
import { flatGuest, OTHER_VMCS_REGION, ScriptedProcessor, VMCS_REGION, VMXON_REGION, writeGuest } from "./guest.ts";

let cpu: ScriptedProcessor;
beforeEach(() => {
  cpu = ScriptedProcessor.withGuest();
});

const error = (): number => cpu.vmx.vmread(VMCS.INSTRUCTION_ERROR);

test("outside VMX operation every instruction but VMXON fails", () => {
  const { vmx } = new ScriptedProcessor();
  expect(vmx.vmptrld(VMCS_REGION)).toBe(VM_FAIL_INVALID);
  expect(vmx.vmclear(VMCS_REGION)).toBe(VM_FAIL_INVALID);
  expect(vmx.vmlaunch(1)).toBe(VM_FAIL_INVALID);
  expect(vmx.invept(2, 0)).toBe(VM_FAIL_INVALID);
  expect(vmx.invvpid(2, 0, 0)).toBe(VM_FAIL_INVALID);
  expect(vmx.vmxoff()).toBe(VM_FAIL_INVALID);
  expect(vmx.vmptrst()).toBe(-1);
});

test("VMXON wants a page with the revision identifier, once", () => {
  const { vmx } = new ScriptedProcessor();
  for (const region of [0x1004, -4096, 2 ** 36, 0x7000, 0x1000_0000]) expect(vmx.vmxon(region)).toBe(VM_FAIL_INVALID);
  expect(vmx.vmxon(VMXON_REGION)).toBe(VM_SUCCEED);
  expect(vmx.vmxon(VMXON_REGION)).toBe(VM_FAIL_INVALID);
  expect(cpu.vmx.vmxon(VMXON_REGION)).toBe(VM_FAIL_VALID);
  expect(error()).toBe(VMXON_IN_ROOT);
});

describe("VMPTRLD and VMCLEAR", () => {
  const failures: readonly (readonly ["vmptrld" | "vmclear", number, number])[] = [
    ["vmptrld", 0x2004, VMPTRLD_INVALID_ADDRESS],
    ["vmptrld", 2 ** 36, VMPTRLD_INVALID_ADDRESS],
    ["vmptrld", VMXON_REGION, VMPTRLD_VMXON_POINTER],
    ["vmptrld", 0x7000, VMPTRLD_WRONG_REVISION],
    ["vmptrld", 0x1000_0000, VMPTRLD_WRONG_REVISION],
    ["vmclear", 0x2004, VMCLEAR_INVALID_ADDRESS],
    ["vmclear", 2 ** 36, VMCLEAR_INVALID_ADDRESS],
    ["vmclear", VMXON_REGION, VMCLEAR_VMXON_POINTER],
  ];
  for (const [name, region, expected] of failures) {
    test(`${name} of ${region.toString(16)} fails with error ${expected} and changes nothing`, () => {
      expect(cpu.vmx[name](region)).toBe(VM_FAIL_VALID);
      expect(error()).toBe(expected);
      expect(cpu.vmx.vmptrst()).toBe(VMCS_REGION);
    });
  }

  test("VMCLEAR of the current VMCS leaves none", () => {
    expect(cpu.vmx.vmclear(VMCS_REGION)).toBe(VM_SUCCEED);
    expect(cpu.vmx.vmptrst()).toBe(-1);
    expect(cpu.vmx.vmlaunch(1)).toBe(VM_FAIL_INVALID);
  });

  test("VMCLEAR of another VMCS keeps the current one", () => {
    expect(cpu.vmx.vmclear(OTHER_VMCS_REGION)).toBe(VM_SUCCEED);
    expect(cpu.vmx.vmptrst()).toBe(VMCS_REGION);
  });

  test("two guests keep their state apart as they take turns", () => {
    cpu.vmx.vmclear(OTHER_VMCS_REGION);
    cpu.vmx.vmptrld(OTHER_VMCS_REGION);
    writeGuest(cpu.vmx, { ...flatGuest(), GUEST_RIP: 0x2222, GUEST_CS_BASE: 0x9000, VPID: 2 });
    expect(cpu.vmx.vmlaunch(1)).toBe(VM_SUCCEED);
    cpu.vmx.vmptrld(VMCS_REGION);
    expect(cpu.state.eip).toBe(0x1_0000);
    expect(cpu.vmx.vmlaunch(1)).toBe(VM_SUCCEED);
    cpu.vmx.vmptrld(OTHER_VMCS_REGION);
    expect(cpu.vmx.vmread(VMCS.GUEST_RIP)).toBe(0x2222);
    expect(cpu.vmx.vmread(VMCS.GUEST_CS_BASE)).toBe(0x9000);
    expect(cpu.vmx.vmresume(1)).toBe(VM_SUCCEED);
  });
});

test("the launch state decides between VMLAUNCH and VMRESUME", () => {
  const { vmx } = cpu;
  expect([vmx.vmresume(1), error()]).toEqual([VM_FAIL_VALID, VMRESUME_NOT_LAUNCHED]);
  expect(vmx.vmlaunch(1)).toBe(VM_SUCCEED);
  expect([vmx.vmlaunch(1), error()]).toEqual([VM_FAIL_VALID, VMLAUNCH_NOT_CLEAR]);
  expect(vmx.vmresume(1)).toBe(VM_SUCCEED);
  vmx.vmclear(VMCS_REGION);
  vmx.vmptrld(VMCS_REGION);
  expect([vmx.vmresume(1), error()]).toEqual([VM_FAIL_VALID, VMRESUME_NOT_LAUNCHED]);
  expect(vmx.vmlaunch(1)).toBe(VM_SUCCEED);
  vmx.vmptrld(OTHER_VMCS_REGION);
  vmx.vmptrld(VMCS_REGION);
  expect(vmx.vmresume(1)).toBe(VM_SUCCEED);
});

test("a failed launch leaves the launch state clear, the event to inject valid and the exit information alone", () => {
  const { vmx } = cpu;
  writeGuest(vmx, { GUEST_ACTIVITY: 4, ENTRY_INTERRUPTION_INFORMATION: 0x8000_0306 });
  expect(vmx.vmlaunch(1)).toBe(VM_SUCCEED);
  expect(vmx.vmread(VMCS.EXIT_REASON)).toBe(0x8000_0000 + EXIT.ENTRY_FAILURE_GUEST_STATE);
  expect(vmx.vmread(VMCS.ENTRY_INTERRUPTION_INFORMATION)).toBe(0x8000_0306);
  writeGuest(vmx, { GUEST_ACTIVITY: 0, ENTRY_INTERRUPTION_INFORMATION: 0 });
  expect(vmx.vmlaunch(1)).toBe(VM_SUCCEED);
  expect(vmx.vmread(VMCS.EXIT_REASON)).toBe(EXIT.HLT);
});

test("an entry that failed for one field fails for the next one that is wrong, too", () => {
  const { vmx } = cpu;
  writeGuest(vmx, { GUEST_CR4: 0, GUEST_TR_ACCESS_RIGHTS: 0x89, HOST_CR4: 0 });
  expect(vmx.vmlaunch(1)).toBe(VM_FAIL_VALID);
  writeGuest(vmx, { HOST_CR4: 0x2000 });
  expect(vmx.vmlaunch(1)).toBe(VM_SUCCEED);
  expect(vmx.failedCheck?.rule).toMatch(/guest CR4/);
  writeGuest(vmx, { GUEST_CR4: 0x2000 });
  expect(vmx.vmlaunch(1)).toBe(VM_SUCCEED);
  expect(vmx.failedCheck?.rule).toMatch(/^TR: type/);
});

test("a field that is made invalid after many entries fails the next one", () => {
  const { vmx } = cpu;
  vmx.vmlaunch(1);
  for (let entry = 0; entry < 10; entry++) expect(vmx.vmresume(1)).toBe(VM_SUCCEED);
  writeGuest(vmx, { PRIMARY_CONTROLS: vmx.vmread(VMCS.PRIMARY_CONTROLS) | (1 << 22) });
  expect(vmx.vmresume(1)).toBe(VM_SUCCEED);
  writeGuest(vmx, { PIN_BASED_CONTROLS: vmx.vmread(VMCS.PIN_BASED_CONTROLS) & ~(1 << 5) });
  expect(vmx.vmresume(1)).toBe(VM_FAIL_VALID);
  expect(vmx.failedCheck?.rule).toBe("NMI-window exiting needs virtual NMIs");
});

test("the NMI window without virtual NMIs is refused when only it changes", () => {
  const guest = ScriptedProcessor.withGuest({ PIN_BASED_CONTROLS: 0x1f });
  expect(guest.vmx.vmlaunch(1)).toBe(VM_SUCCEED);
  writeGuest(guest.vmx, { PRIMARY_CONTROLS: guest.vmx.vmread(VMCS.PRIMARY_CONTROLS) | (1 << 22) });
  expect(guest.vmx.vmresume(1)).toBe(VM_FAIL_VALID);
});

describe("INVEPT and INVVPID", () => {
  test("check their operands", () => {
    const { vmx } = cpu;
    for (const [type, eptp] of [
      [0, 0],
      [3, 0],
      [1, 0x4000],
      [1, 2 ** 40 + 0x1e],
    ] as const) {
      expect([vmx.invept(type, eptp), error()]).toEqual([VM_FAIL_VALID, INVALID_INVALIDATION]);
    }
    for (const [type, vpid] of [
      [4, 1],
      [-1, 1],
      [0, 0],
      [1, 0],
      [3, 0],
      [1, 0x1_0000],
    ] as const) {
      expect([vmx.invvpid(type, vpid, 0), error()]).toEqual([VM_FAIL_VALID, INVALID_INVALIDATION]);
    }
  });

  test("drop as much as they are asked for, and nothing of a VPID that has no translations", () => {
    const { vmx, flushes } = cpu;
    vmx.vmlaunch(1);
    flushes.length = 0;
    vmx.invvpid(0, 1, 0x1234);
    vmx.invvpid(1, 1, 0);
    vmx.invvpid(2, 0, 0);
    vmx.invvpid(3, 1, 0);
    vmx.invvpid(1, 2, 0);
    vmx.invept(1, 0x401e);
    vmx.invept(2, 0);
    expect(flushes).toEqual(["page 1234", "all", "all", "non-global", "all", "all"]);
  });
});

describe("translations at entry", () => {
  const enter = (changes: Parameters<typeof writeGuest>[1]): string[] => {
    writeGuest(cpu.vmx, changes);
    cpu.flushes.length = 0;
    if (cpu.vmx.vmresume(1) !== VM_SUCCEED) throw new Error(cpu.vmx.failedCheck?.rule);
    return [...cpu.flushes];
  };

  test("are kept with the VPID and dropped with another VPID, EPT pointer, paging mode or breakpoint", () => {
    cpu.vmx.vmlaunch(1);
    expect(enter({})).toEqual([]);
    expect(enter({ GUEST_RIP: 5, GUEST_CS_BASE: 0x1000 })).toEqual([]);
    expect(enter({ VPID: 2 })).toEqual(["all"]);
    expect(enter({ EPT_POINTER: 0x4000 | (3 << 3) })).toEqual([]);
    expect(enter({ EPT_POINTER: 0x5000 | (3 << 3) })).toEqual(["all"]);
    expect(enter({ GUEST_CR3: 0x1000 })).toEqual(["all"]);
    expect(enter({ GUEST_DR7: 0x401 })).toEqual(["all"]);
    expect(enter({ GUEST_EFER: 0x800 })).toEqual(["all", "all"]);
  });
});

test("a snapshot restores VMX to the bit, and the next entry goes on from it", () => {
  cpu.vmx.vmlaunch(1);
  writeGuest(cpu.vmx, { GUEST_CR4: 0x2010, TSC_OFFSET: -9n });
  cpu.vmx.signalNmi();
  const saved = cpu.vmx.save();
  const other = new ScriptedProcessor();
  other.state.words.set(cpu.state.words);
  other.vmx.load(saved);
  expect(other.vmx.save()).toEqual(saved);
  expect(other.vmx.vmread64(VMCS.TSC_OFFSET)).toBe(0xffff_ffff_ffff_fff7n);
  for (const machine of [cpu, other]) {
    expect(machine.vmx.vmresume(1)).toBe(VM_SUCCEED);
    expect(machine.vmx.vmread(VMCS.EXIT_INTERRUPTION_INFORMATION)).toBe(0x8000_0202);
  }
  expect(other.vmx.save()).toEqual(cpu.vmx.save());
});

test("VMXOFF writes the current VMCS back", () => {
  writeGuest(cpu.vmx, { GUEST_RIP: 0x7777 });
  expect(cpu.vmx.vmxoff()).toBe(VM_SUCCEED);
  cpu.vmx.vmxon(VMXON_REGION);
  cpu.vmx.vmptrld(VMCS_REGION);
  expect(cpu.vmx.vmread(VMCS.GUEST_RIP)).toBe(0x7777);
});
