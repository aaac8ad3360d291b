import { beforeEach, describe, expect, test } from "vitest";
import { SLOW_NAMES } from "../../../src/cpu/opcodes.ts";
import { USER_INSTRUCTIONS } from "../../../src/cpu/slow.ts";
import { CR0_PE, CS, ECX, EDX, ESP, HLT, IF, OFFSET, SS, VM } from "../../../src/cpu/state.ts";
import { cpuid, SYSTEM_INSTRUCTIONS } from "../../../src/cpu/system/index.ts";
import { EXIT } from "../../../src/cpu/vmx/exit-reasons.ts";
import { FakeCpu, memoryOperand, registerOperand } from "./fake-cpu.ts";

const GP = { vector: 13, errorCode: 0 };
const UD = { vector: 6, errorCode: -1 };

let cpu: FakeCpu;

beforeEach(() => {
  cpu = new FakeCpu().enterFlat();
});

test("every slow name of the opcode map is a system, a user or an x87 instruction", () => {
  const elsewhere = new Set([...Object.keys(USER_INSTRUCTIONS), "x87", "fwait", "fxsave", "fxrstor"]);
  const missing = SLOW_NAMES.filter((name) => !(name in SYSTEM_INSTRUCTIONS) && !elsewhere.has(name));
  expect(missing).toEqual([]);
  const unknown = Object.keys(SYSTEM_INSTRUCTIONS).filter((name) => !SLOW_NAMES.includes(name));
  expect(unknown).toEqual([]);
});

describe("VMX instructions", () => {
  test("all exit in protected mode at any privilege level", () => {
    cpu.setLevel(3);
    for (const [name, reason] of [
      ["vmcall", EXIT.VMCALL],
      ["vmlaunch", EXIT.VMLAUNCH],
      ["vmresume", EXIT.VMRESUME],
      ["vmxoff", EXIT.VMXOFF],
      ["vmxon", EXIT.VMXON],
      ["vmclear", EXIT.VMCLEAR],
      ["vmptrld", EXIT.VMPTRLD],
      ["vmptrst", EXIT.VMPTRST],
      ["vmread", EXIT.VMREAD],
      ["vmwrite", EXIT.VMWRITE],
      ["invept", EXIT.INVEPT],
      ["invvpid", EXIT.INVVPID],
    ] as const) {
      expect(cpu.run(name, { modrm: memoryOperand(6) })).toBe("exit");
      expect(cpu.vmx.exitReason).toBe(reason);
    }
  });

  test("only VMCALL exits in real-address mode, the others are #UD", () => {
    cpu.state.cr0 &= ~CR0_PE;
    for (const name of ["vmlaunch", "vmxon", "vmread", "invept"]) {
      expect(cpu.run(name, { modrm: memoryOperand(0) })).toEqual(UD);
    }
    expect(cpu.run("vmcall")).toBe("exit");
  });

  test("VMREAD names both registers (SDM Vol. 3 table 28-14)", () => {
    cpu.run("vmread", { modrm: registerOperand(EDX, ECX) });
    expect(cpu.vmx.fields.instructionInformation).toBe((1 << 10) | (ECX << 3) | (EDX << 28));
    expect(cpu.run("vmclear", { modrm: registerOperand(6, 0) })).toEqual(UD);
  });
});

describe("HLT, PAUSE, CPUID, RSM", () => {
  test("HLT stops the processor or exits; it is privileged", () => {
    expect(cpu.run("hlt", { length: 1 })).toBeUndefined();
    expect([cpu.state.activity, cpu.boundaryChecks, cpu.state.eip]).toEqual([HLT, 1, 0x10_0001]);
    cpu.vmx.controls.hltExiting = true;
    expect(cpu.run("hlt")).toBe("exit");
    cpu.setLevel(3);
    expect(cpu.run("hlt")).toEqual(GP);
  });

  test("PAUSE exits when asked, CPUID always; RSM is #UD outside system-management mode", () => {
    expect(cpu.run("pause")).toBeUndefined();
    cpu.vmx.controls.pauseExiting = true;
    expect(cpu.run("pause")).toBe("exit");
    expect(cpu.run("cpuid")).toBe("exit");
    expect(cpu.vmx.exitReason).toBe(EXIT.CPUID);
    expect(cpu.run("rsm")).toEqual(UD);
  });
});

describe("SYSENTER and SYSEXIT", () => {
  beforeEach(() => {
    cpu.state.set(OFFSET.sysenterCs, 0x60);
    cpu.state.set(OFFSET.sysenterEsp, 0x9000);
    cpu.state.set(OFFSET.sysenterEip, 0x11_0000);
  });

  test("SYSENTER enters ring 0 with flat segments, IF and VM clear", () => {
    cpu.setLevel(3);
    cpu.state.eflags = IF | VM | 2;
    expect(cpu.run("sysenter")).toBeUndefined();
    const { state } = cpu;
    expect([state.cpl, state.eip, state.gpr(ESP), state.eflags]).toEqual([0, 0x11_0000, 0x9000, 2]);
    expect([state.selector(CS), state.accessRights(CS)]).toEqual([0x60, 0xc09b]);
    expect([state.selector(SS), state.accessRights(SS), state.limit(SS)]).toEqual([0x68, 0xc093, 0xffff_ffff]);
  });

  test("SYSEXIT returns to ring 3 at EDX with ECX as the stack", () => {
    cpu.state.setGpr(EDX, 0x12_0000);
    cpu.state.setGpr(ECX, 0x5000);
    expect(cpu.run("sysexit")).toBeUndefined();
    const { state } = cpu;
    expect([state.cpl, state.eip, state.gpr(ESP)]).toEqual([3, 0x12_0000, 0x5000]);
    expect([state.selector(CS), state.accessRights(CS)]).toEqual([0x73, 0xc0fb]);
    expect([state.selector(SS), state.accessRights(SS)]).toEqual([0x7b, 0xc0f3]);
    expect(cpu.run("sysexit")).toEqual(GP);
  });

  test("both are #GP in real mode and with a null IA32_SYSENTER_CS", () => {
    cpu.state.set(OFFSET.sysenterCs, 3);
    expect([cpu.run("sysenter"), cpu.run("sysexit")]).toEqual([GP, GP]);
    cpu.state.set(OFFSET.sysenterCs, 0x60);
    cpu.state.cr0 &= ~CR0_PE;
    expect(cpu.run("sysenter")).toEqual(GP);
  });
});

test("CPUID's table names its vendor, its highest leaves and zeros beyond them", () => {
  const [highest, b, c, d] = cpuid(0);
  const text = [b, d, c].map((word) => String.fromCharCode(...[0, 8, 16, 24].map((shift) => (word >>> shift) & 0xff)));
  expect([highest, text.join("")]).toEqual([1, "GenuineIntel"]);
  expect(cpuid(0x8000_0000)[0]).toBe(0x8000_0008);
  expect(cpuid(0x8000_0008)[0]).toBe(0x2024);
  expect(cpuid(2)).toEqual([0, 0, 0, 0]);
  expect(cpuid(0x4000_0000)).toEqual([0, 0, 0, 0]);
});
