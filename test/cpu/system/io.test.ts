import { beforeEach, describe, expect, test } from "vitest";
import { CR4_DE, DF, DS, EAX, ECX, EDI, EDX, ES, ESI, IOPL, SS, TR, VM } from "../../../src/cpu/state.ts";
import { FakeCpu, TSS } from "./fake-cpu.ts";

const GP = { vector: 13, errorCode: 0 };

let cpu: FakeCpu;

beforeEach(() => {
  cpu = new FakeCpu().enterFlat();
  cpu.state.setGpr(EDX, 0x1_03f8);
});

test("IN and OUT are a byte, a word or a doubleword wide by opcode and operand size", () => {
  cpu.portValue = 0x1122_3344;
  cpu.state.setGpr(EAX, 0xaabb_ccdd);
  cpu.run("in", { opcode: 0xec });
  expect(cpu.state.gpr(EAX)).toBe(0xaabb_cc44);
  cpu.run("in", { opcode: 0xe5, immediate: 0x60, operandSize: 16 });
  expect(cpu.state.gpr(EAX)).toBe(0xaabb_3344);
  cpu.run("out", { opcode: 0xef });
  cpu.run("out", { opcode: 0xe6, immediate: -128 });
  expect(cpu.ports).toEqual([
    { port: 0x3f8, width: 1, value: -1 },
    { port: 0x60, width: 2, value: -1 },
    { port: 0x3f8, width: 4, value: 0xaabb_3344 },
    { port: 0x80, width: 1, value: 0x44 },
  ]);
});

test("an access that exits says so in the qualification (SDM Vol. 3 table 28-5) and touches nothing", () => {
  cpu.vmx.exitingPorts.add(0x3f8).add(0x80);
  expect(cpu.run("out", { opcode: 0xee })).toBe("exit");
  expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([30, 0x03f8_0000]);
  expect(cpu.run("in", { opcode: 0xe5, immediate: 0x80 })).toBe("exit");
  expect(cpu.vmx.qualification).toBe(0x0080_004b);
  expect(cpu.ports).toEqual([]);
});

describe("the I/O permission map", () => {
  beforeEach(() => {
    cpu.setLevel(3);
    cpu.set16(TSS + 102, 0x68);
    cpu.state.setLimit(TR, 0x68 + 0x80);
  });

  const permitted = (fields = {}) => cpu.run("in", { opcode: 0xec, ...fields }) === undefined;

  test("decides for each byte of an access when CPL > IOPL", () => {
    expect(permitted()).toBe(true);
    cpu.ram.setUint8(TSS + 0x68 + 0x7f, 0x08);
    expect(permitted({ opcode: 0xed })).toBe(false);
    expect(permitted({ opcode: 0xed, operandSize: 16 })).toBe(true);
  });

  test("is not asked when CPL ≤ IOPL, but always in virtual-8086 mode", () => {
    cpu.ram.setUint8(TSS + 0x68 + 0x7f, 0xff);
    cpu.state.flagsRest |= IOPL;
    expect(permitted()).toBe(true);
    cpu.state.flagsRest |= VM;
    expect(permitted()).toBe(false);
  });

  test("forbids what lies beyond the limit of the TSS, and everything with a 16-bit TSS", () => {
    cpu.state.setLimit(TR, 0x68 + 0x7f);
    expect(permitted()).toBe(false);
    cpu.state.setLimit(TR, 0xffff);
    cpu.state.setAccessRights(TR, 0x83);
    expect(cpu.run("in", { opcode: 0xec })).toEqual(GP);
  });

  test("comes before the exit", () => {
    cpu.vmx.exitingPorts.add(0x3f8);
    expect(permitted()).toBe(false);
    expect(cpu.vmx.exitReason).toBe(30);
    cpu.vmx.exitReason = -1;
    cpu.ram.setUint8(TSS + 0x68 + 0x7f, 0x01);
    expect(cpu.run("in", { opcode: 0xec })).toEqual(GP);
    expect(cpu.vmx.exitReason).toBe(-1);
  });
});

describe("string I/O", () => {
  beforeEach(() => {
    cpu.state.setGpr(ESI, 0x4000);
    cpu.state.setGpr(EDI, 0x5000);
    cpu.state.setGpr(ECX, 2);
  });

  test("REP OUTS makes one iteration at a time and returns to itself until the count is 0", () => {
    cpu.set32(0x4000, 0x2211);
    const at = cpu.state.eip;
    cpu.run("outs", { opcode: 0x6e, rep: 0xf3 });
    expect([cpu.state.eip, cpu.state.gpr(ECX), cpu.state.gpr(ESI)]).toEqual([at, 1, 0x4001]);
    cpu.run("outs", { opcode: 0x6e, rep: 0xf3 });
    expect([cpu.state.eip, cpu.state.gpr(ECX), cpu.state.gpr(ESI)]).toEqual([at + 2, 0, 0x4002]);
    cpu.run("outs", { opcode: 0x6e, rep: 0xf3 });
    expect(cpu.ports.map(({ value }) => value)).toEqual([0x11, 0x22]);
    expect(cpu.state.eip).toBe(at + 4);
  });

  test("INS stores at ES:EDI, downwards with DF, and counts in CX with 16-bit addresses", () => {
    cpu.portValue = 0xbeef;
    cpu.state.flagsRest |= DF;
    cpu.state.setGpr(ECX, 0xffff_0001);
    cpu.state.setGpr(EDI, 0x1_5000);
    const at = cpu.state.eip;
    cpu.run("ins", { opcode: 0x6d, operandSize: 16, addressSize: 16, rep: 0xf3 });
    expect(cpu.get16(0x5000)).toBe(0xbeef);
    expect([cpu.state.gpr(EDI), cpu.state.gpr(ECX), cpu.state.eip]).toEqual([0x1_4ffe, 0xffff_0000, at + 2]);
  });

  test("a destination that cannot be written faults before the port is read", () => {
    cpu.state.setAccessRights(ES, 0xc091);
    expect(cpu.run("ins", { opcode: 0x6c })).toEqual(GP);
    cpu.state.setAccessRights(ES, 0xc093);
    cpu.state.setLimit(ES, 0x5000);
    expect(cpu.run("ins", { opcode: 0x6d })).toEqual(GP);
    expect(cpu.ports).toEqual([]);
  });

  test("an exit comes before memory and carries address and instruction information (SDM Vol. 3 table 28-8)", () => {
    cpu.vmx.exitingPorts.add(0x3f8);
    cpu.state.setSegmentBase(SS, 0x10_0000);
    expect(cpu.run("outs", { opcode: 0x6f, rep: 0xf3, segment: SS, operandSize: 16 })).toBe("exit");
    expect(cpu.vmx.qualification).toBe(0x03f8_0031);
    expect(cpu.vmx.fields).toEqual({ instructionInformation: (1 << 7) | (SS << 15), guestLinear: 0x10_4000 });
    cpu.state.setLimit(ES, 0);
    expect(cpu.run("ins", { opcode: 0x6c, segment: DS })).toBe("exit");
    expect(cpu.vmx.qualification).toBe(0x03f8_0018);
  });
});

test("an I/O breakpoint is a pending debug trap after the instruction, with CR4.DE (SDM Vol. 3 §17.2.4)", () => {
  cpu.state.setDr(1, 0x3f8);
  cpu.state.setDr(7, (1 << 2) | (2 << 20) | (3 << 22));
  cpu.run("in", { opcode: 0xec });
  expect(cpu.state.pendingDebug).toBe(0);
  cpu.state.cr4 |= CR4_DE;
  cpu.run("in", { opcode: 0xe4, immediate: 0x80 });
  expect(cpu.state.pendingDebug).toBe(0);
  cpu.state.setGpr(EDX, 0x3fb);
  cpu.run("in", { opcode: 0xec });
  expect(cpu.state.pendingDebug).toBe((1 << 12) | 2);
});
