import { beforeEach, describe, expect, test } from "vitest";
import { CS, DS, ES, ESP, FS, GS, IF, IOPL, NT, OF, OFFSET, RF, SS, TF, TR, VM } from "../../../src/cpu/state.ts";
import { deliverEvent, type GuestEvent } from "../../../src/cpu/system/index.ts";
import { setV86Segments } from "../../../src/cpu/system/segments.ts";
import { CODE_0, CODE_3, DATA_0, DATA_3, FakeCpu, IDT, STACK_0, TASK, TSS } from "./fake-cpu.ts";

const INTERRUPT_32 = 0x8e;
const TRAP_32 = 0x8f;
const INTERRUPT_16 = 0x86;
const HANDLER = 0x11_2233;

let cpu: FakeCpu;

const external = (vector: number): GuestEvent => ({ type: 0, vector, errorCode: -1, instructionLength: 0 });
const exception = (vector: number, errorCode = -1): GuestEvent => ({
  type: 3,
  vector,
  errorCode,
  instructionLength: 0,
});

function deliver(event: GuestEvent) {
  cpu.insn = { ...cpu.insn, length: 0 };
  return cpu.attempt(() => deliverEvent(cpu, event));
}

/** Words of `width` bytes from the top of the stack. */
function frame(count: number, width = 4): number[] {
  const top = cpu.state.segmentBase(SS) + cpu.state.gpr(ESP);
  return Array.from({ length: count }, (_, index) =>
    width === 4 ? cpu.get32(top + 4 * index) : cpu.get16(top + 2 * index),
  );
}

describe("in real-address mode", () => {
  beforeEach(() => {
    cpu = new FakeCpu();
    cpu.state.setSelector(CS, 0x1000);
    cpu.state.setSegmentBase(CS, 0x1_0000);
    cpu.state.setGpr(ESP, 0x7000);
    cpu.state.eip = 0x1234;
    cpu.set32(8 * 4, 0x2000_0100);
  });

  test("an interrupt pushes FLAGS, CS and IP and clears IF and TF (SDM Vol. 3 §20.1.4)", () => {
    cpu.state.eflags = IF | TF | OF | 2;
    expect(deliver(external(8))).toBeUndefined();
    expect(frame(3, 2)).toEqual([0x1234, 0x1000, IF | TF | OF | 2]);
    expect([cpu.state.selector(CS), cpu.state.segmentBase(CS), cpu.state.eip]).toEqual([0x2000, 0x2_0000, 0x100]);
    expect(cpu.state.eflags & (IF | TF | OF)).toBe(OF);
  });

  test("an exception pushes no error code, and RF does not reach a 16-bit image", () => {
    deliver(exception(8, 0));
    expect(frame(3, 2)).toEqual([0x1234, 0x1000, 2]);
  });

  test("a vector beyond the IDT's limit is #GP, and its delivery is on record", () => {
    cpu.state.set(OFFSET.idtrLimit, 0x22);
    expect(deliver(external(8))).toEqual({ vector: 13, errorCode: 0 });
    expect(cpu.vmx.vectoring).toBe(0x8000_0008);
    expect(cpu.state.gpr(ESP)).toBe(0x7000);
  });

  test("a stack pointer of 1 is #SS with nothing stored", () => {
    cpu.state.setGpr(ESP, 1);
    expect(deliver(external(8))).toMatchObject({ vector: 12 });
    expect(cpu.state.gpr(ESP)).toBe(1);
    expect(cpu.state.eip).toBe(0x1234);
  });

  test("SP wraps from 0 within its 64 KiB", () => {
    cpu.state.setGpr(ESP, 0x5_0000);
    deliver(external(8));
    expect(cpu.state.gpr(ESP)).toBe(0x5_fffa);
    expect(cpu.get16(0xfffa)).toBe(0x1234);
  });
});

describe("in protected mode", () => {
  beforeEach(() => {
    cpu = new FakeCpu().enterFlat();
    cpu.gate(IDT + 8 * 32, CODE_0, HANDLER, INTERRUPT_32);
    cpu.gate(IDT + 8 * 33, CODE_0, HANDLER, TRAP_32);
    cpu.gate(IDT + 8 * 14, CODE_0, HANDLER, INTERRUPT_32);
    cpu.gate(IDT + 8 * 13, CODE_0, HANDLER, TRAP_32);
    cpu.gate(IDT + 8 * 1, CODE_0, HANDLER, TRAP_32);
  });

  test("an interrupt gate at the same level pushes three words and clears IF", () => {
    cpu.state.eflags = IF | NT | 2;
    expect(deliver(external(32))).toBeUndefined();
    expect(frame(3)).toEqual([0x10_0000, CODE_0, IF | NT | 2]);
    expect(cpu.state.gpr(ESP)).toBe(0x7000 - 12);
    expect(cpu.state.eip).toBe(HANDLER);
    expect(cpu.state.eflags & (IF | NT)).toBe(0);
    expect(cpu.vmx.vectoring).toBe(0);
  });

  test("a trap gate leaves IF alone", () => {
    cpu.state.eflags = IF | TF | 2;
    deliver(external(33));
    expect(cpu.state.eflags & (IF | TF)).toBe(IF);
  });

  test("a fault pushes its error code, and EFLAGS with RF; a trap does not set RF (SDM Vol. 3 §17.3.1.1)", () => {
    deliver(exception(14, 0x1f));
    expect(frame(4)).toEqual([0x1f, 0x10_0000, CODE_0, RF | 2]);
    expect(cpu.state.eflags & RF).toBe(0);
    deliver(exception(1));
    expect(frame(3)).toEqual([HANDLER, CODE_0, 2]);
  });

  test("from CPL 3 the stack comes out of the TSS and the old one is pushed on it", () => {
    cpu.setLevel(3);
    cpu.state.setGpr(ESP, 0x5000);
    deliver(exception(13, 0));
    expect(cpu.state.gpr(ESP)).toBe(STACK_0 - 24);
    expect(frame(6)).toEqual([0, 0x10_0000, CODE_3, RF | 2, 0x5000, DATA_3]);
    expect([cpu.state.cpl, cpu.state.selector(CS), cpu.state.selector(SS)]).toEqual([0, CODE_0, DATA_0]);
    expect(cpu.state.selector(DS)).toBe(DATA_3);
  });

  test("a 16-bit gate pushes words and jumps to a 16-bit offset", () => {
    cpu.gate(IDT + 8 * 40, CODE_0, 0x4_5678, INTERRUPT_16);
    cpu.state.eip = 0x12_3456;
    deliver(external(40));
    expect(frame(3, 2)).toEqual([0x3456, CODE_0, 2]);
    expect(cpu.state.eip).toBe(0x5678);
  });

  test("a handler at an outer level, a data segment or an absent gate are faults with EXT set", () => {
    cpu.gate(IDT + 8 * 41, CODE_3, HANDLER, INTERRUPT_32);
    cpu.gate(IDT + 8 * 42, DATA_0, HANDLER, INTERRUPT_32);
    cpu.gate(IDT + 8 * 43, CODE_0, HANDLER, INTERRUPT_32 & 0x7f);
    cpu.gate(IDT + 8 * 44, 0, HANDLER, INTERRUPT_32);
    cpu.gate(IDT + 8 * 45, 0x100, HANDLER, INTERRUPT_32);
    expect(deliver(external(41))).toEqual({ vector: 13, errorCode: 0x18 | 1 });
    expect(deliver(external(42))).toEqual({ vector: 13, errorCode: DATA_0 | 1 });
    expect(deliver(external(43))).toEqual({ vector: 11, errorCode: 43 * 8 + 3 });
    expect(deliver(external(44))).toEqual({ vector: 13, errorCode: 1 });
    expect(deliver(external(45))).toEqual({ vector: 13, errorCode: 0x101 });
    expect(deliver(external(46))).toEqual({ vector: 13, errorCode: 46 * 8 + 3 });
    cpu.state.set(OFFSET.idtrLimit, 8 * 32 + 6);
    expect(deliver(external(32))).toEqual({ vector: 13, errorCode: 32 * 8 + 3 });
  });

  test("an absent code segment is #NP with its selector", () => {
    cpu.describe(CODE_0, 0, 0xf_ffff, 0xc01b);
    expect(deliver(external(32))).toEqual({ vector: 11, errorCode: CODE_0 | 1 });
  });

  test("a bad stack in the TSS is #TS, an absent one #SS, a TSS that ends before it #TS with its own selector", () => {
    cpu.setLevel(3);
    cpu.set32(TSS + 8, DATA_3);
    expect(deliver(external(32))).toEqual({ vector: 10, errorCode: (DATA_3 & ~3) | 1 });
    cpu.set32(TSS + 8, 0);
    expect(deliver(external(32))).toEqual({ vector: 10, errorCode: 1 });
    cpu.set32(TSS + 8, DATA_0);
    cpu.describe(DATA_0, 0, 0xf_ffff, 0xc013);
    expect(deliver(external(32))).toEqual({ vector: 12, errorCode: DATA_0 | 1 });
    cpu.state.setLimit(TR, 8);
    expect(deliver(external(32))).toEqual({ vector: 10, errorCode: TASK | 1 });
    expect([cpu.state.cpl, cpu.state.selector(SS), cpu.state.gpr(ESP)]).toEqual([3, DATA_3, 0x7000]);
  });

  test("no room on the inner stack is #SS with its selector; registers stay", () => {
    cpu.setLevel(3);
    cpu.set32(TSS + 4, 0x10);
    cpu.describe(DATA_0, 0, 0xffff, 0x4093);
    expect(deliver(external(32))).toEqual({ vector: 12, errorCode: DATA_0 | 1 });
    expect(cpu.state.selector(SS)).toBe(DATA_3);
  });

  test("a handler offset beyond its segment is #GP(EXT) with nothing pushed", () => {
    cpu.describe(CODE_0, 0, 0xfff, 0x409b);
    cpu.set32(0x7000 - 4, 0xaaaa_aaaa);
    expect(deliver(external(32))).toEqual({ vector: 13, errorCode: 1 });
    expect(cpu.get32(0x7000 - 4)).toBe(0xaaaa_aaaa);
  });

  test("accessed bits of the code and stack segments are set in memory", () => {
    cpu.setLevel(3);
    cpu.describe(CODE_0, 0, 0xf_ffff, 0xc09a);
    cpu.describe(DATA_0, 0, 0xf_ffff, 0xc092);
    deliver(external(32));
    expect(cpu.get32(0x1000 + CODE_0 + 4) & 0x100).toBe(0x100);
    expect(cpu.get32(0x1000 + DATA_0 + 4) & 0x100).toBe(0x100);
    expect(cpu.state.accessRights(SS) & 0xff).toBe(0x93);
  });

  test("a task gate ends in the VM exit, once its TSS has passed the checks (SDM Vol. 3 §26.4.2)", () => {
    cpu.gate(IDT + 8 * 8, TASK, 0, 0x85);
    expect(deliver(exception(8, 0))).toEqual({ vector: 13, errorCode: TASK | 1 });
    cpu.describe(TASK, TSS, 0x67, 0x89);
    expect(deliver(exception(8, 0))).toBe("exit");
    expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([9, (TASK | (3 << 30)) >>> 0]);
    expect(cpu.vmx.vectoring).toBe(0x8000_0308);
  });

  test("an NMI blocks further ones", () => {
    cpu.gate(IDT + 8 * 2, CODE_0, HANDLER, INTERRUPT_32);
    deliver({ type: 2, vector: 2, errorCode: -1, instructionLength: 0 });
    expect(cpu.state.interruptibility).toBe(8);
  });

  test("INT n needs a gate with DPL ≥ CPL and has no EXT; a hardware interrupt goes through the same gate", () => {
    cpu.setLevel(3);
    expect(cpu.run("int", { immediate: 32 })).toEqual({ vector: 13, errorCode: 32 * 8 + 2 });
    expect(cpu.state.eip).toBe(0x10_0000);
    cpu.gate(IDT + 8 * 0x80, CODE_0, HANDLER, 0xef);
    expect(cpu.run("int", { immediate: -128 })).toBeUndefined();
    expect(frame(3)).toEqual([0x10_0002, CODE_3, 2]);
  });

  test("INT3 and INTO are the exception bitmap's business, INT1 needs no DPL", () => {
    cpu.setLevel(3);
    cpu.gate(IDT + 8 * 3, CODE_0, HANDLER, 0xee);
    cpu.vmx.intercepted.add(3);
    expect(cpu.run("int3", { length: 1 })).toBe("exit");
    cpu.vmx.intercepted.clear();
    expect(cpu.run("into", { length: 1 })).toBeUndefined();
    expect(cpu.state.eip).toBe(0x10_0001);
    cpu.state.eflags = OF | 2;
    expect(cpu.run("into", { length: 1 })).toEqual({ vector: 13, errorCode: 4 * 8 + 2 });
    expect(cpu.run("int1", { length: 1 })).toBeUndefined();
    expect(frame(3)).toEqual([0x10_0002, CODE_3, OF | 2]);
    cpu.setLevel(3);
    expect(cpu.run("int3", { length: 1 })).toBeUndefined();
  });
});

describe("from virtual-8086 mode", () => {
  beforeEach(() => {
    cpu = new FakeCpu().enterFlat();
    cpu.gate(IDT + 8 * 32, CODE_0, HANDLER, 0xee);
    cpu.state.eflags = VM | IF | 2;
    cpu.state.cpl = 3;
    setV86Segments(cpu.state, [0xe, 0xc, 0x5, 0xd, 0xf, 0x6]);
    cpu.state.setGpr(ESP, 0x400);
    cpu.state.eip = 0x123;
  });

  test("the data segments are saved on the ring 0 stack and become null (SDM Vol. 3 §20.3.1)", () => {
    expect(deliver(external(32))).toBeUndefined();
    expect(frame(9)).toEqual([0x123, 0xc, VM | IF | 2, 0x400, 0x5, 0xe, 0xd, 0xf, 0x6]);
    expect([ES, DS, FS, GS].map((segment) => cpu.state.selector(segment))).toEqual([0, 0, 0, 0]);
    expect(cpu.state.accessRights(DS)).toBe(0x1_0000);
    expect(cpu.state.flagsRest & VM).toBe(0);
    expect(cpu.state.cpl).toBe(0);
  });

  test("a handler that is not at level 0 is #GP with its selector", () => {
    cpu.gate(IDT + 8 * 32, CODE_3 & ~3, HANDLER, 0xee);
    expect(deliver(external(32))).toEqual({ vector: 13, errorCode: 0x18 | 1 });
  });

  test("INT n needs IOPL 3, INT3 does not", () => {
    expect(cpu.run("int", { immediate: 32 })).toEqual({ vector: 13, errorCode: 0 });
    cpu.state.flagsRest |= IOPL;
    expect(cpu.run("int", { immediate: 32 })).toBeUndefined();
    expect(frame(1)).toEqual([0x125]);
  });
});
