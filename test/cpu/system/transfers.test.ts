import { beforeEach, describe, expect, test } from "vitest";
import { CS, DS, ES, ESP, FS, GS, IF, IOPL, NT, RF, SS, TF, VIF, VM, ZF } from "../../../src/cpu/state.ts";
import { setV86Segments } from "../../../src/cpu/system/segments.ts";
import { CODE_0, CODE_3, DATA_0, DATA_3, FakeCpu, GDT, memoryOperand, STACK_0, TASK, TSS } from "./fake-cpu.ts";

const GATE = 0x30;
const CONFORMING = 0x38;
const TASK_GATE = 0x40;
const TARGET = 0x12_3456;

let cpu: FakeCpu;

const push = (...values: number[]) => {
  for (const value of values.reverse()) {
    cpu.state.setGpr(ESP, cpu.state.gpr(ESP) - 4);
    cpu.set32(cpu.state.gpr(ESP), value);
  }
};
const stackWords = (count: number) =>
  Array.from({ length: count }, (_, index) => cpu.get32(cpu.state.gpr(ESP) + 4 * index));

beforeEach(() => {
  cpu = new FakeCpu().enterFlat();
  cpu.gate(GDT + GATE, CODE_0, TARGET, 0xec);
  cpu.describe(CONFORMING, 0, 0xf_ffff, 0xc09e);
  cpu.gate(GDT + TASK_GATE, TASK, 0, 0xe5);
});

describe("far JMP", () => {
  test("loads CS with the CPL as its RPL and sets the accessed bit", () => {
    expect(cpu.run("jmp_far", { immediate: TARGET, immediate2: CONFORMING | 3, length: 7 })).toBeUndefined();
    expect([cpu.state.selector(CS), cpu.state.eip, cpu.state.accessRights(CS)]).toEqual([CONFORMING, TARGET, 0xc09f]);
    expect(cpu.get32(GDT + CONFORMING + 4) & 0x100).toBe(0x100);
  });

  test("keeps privilege: an outer segment, a null selector, data or an offset out of limit are #GP", () => {
    expect(cpu.run("jmp_far", { immediate2: CODE_3 })).toEqual({ vector: 13, errorCode: CODE_3 & ~3 });
    expect(cpu.run("jmp_far", { immediate2: 3 })).toEqual({ vector: 13, errorCode: 0 });
    expect(cpu.run("jmp_far", { immediate2: DATA_0 })).toEqual({ vector: 13, errorCode: DATA_0 });
    expect(cpu.run("jmp_far", { immediate2: 0x100 })).toEqual({ vector: 13, errorCode: 0x100 });
    cpu.describe(CODE_0, 0, 0xff, 0x409b);
    expect(cpu.run("jmp_far", { immediate: 0x100, immediate2: CODE_0 })).toEqual({ vector: 13, errorCode: 0 });
    expect(cpu.state.eip).toBe(0x10_0000);
  });

  test("an absent segment is #NP", () => {
    cpu.describe(CODE_0, 0, 0xff, 0x401b);
    expect(cpu.run("jmp_far", { immediate2: CODE_0 })).toEqual({ vector: 11, errorCode: CODE_0 });
  });

  test("through a call gate goes to the gate's offset at the same level", () => {
    cpu.run("jmp_far", { immediate: 0xdead, immediate2: GATE });
    expect([cpu.state.selector(CS), cpu.state.eip]).toEqual([CODE_0, TARGET]);
    cpu.setLevel(3);
    expect(cpu.run("jmp_far", { immediate2: GATE })).toEqual({ vector: 13, errorCode: CODE_0 });
  });

  test("to a TSS or task gate is a VM exit that says so (SDM Vol. 3 table 28-2)", () => {
    expect(cpu.run("jmp_far", { immediate2: TASK })).toEqual({ vector: 13, errorCode: TASK });
    cpu.describe(TASK, TSS, 0x67, 0x89);
    expect(cpu.run("jmp_far", { immediate2: TASK })).toBe("exit");
    expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([9, (TASK | (2 << 30)) >>> 0]);
    expect(cpu.run("call_far", { immediate2: TASK_GATE })).toBe("exit");
    expect(cpu.vmx.qualification).toBe(TASK);
    cpu.describe(TASK, TSS, 0x66, 0x89);
    expect(cpu.run("jmp_far", { immediate2: TASK })).toEqual({ vector: 10, errorCode: TASK });
  });

  test("in real-address mode sets base = selector × 16 and keeps the limit", () => {
    cpu = new FakeCpu();
    cpu.state.setLimit(CS, 0xffff_ffff);
    cpu.run("jmp_far", { immediate: 0x5, immediate2: 0xf000, operandSize: 16 });
    expect([cpu.state.segmentBase(CS), cpu.state.eip, cpu.state.limit(CS)]).toEqual([0xf_0000, 5, 0xffff_ffff]);
  });

  test("through memory reads offset and selector", () => {
    cpu.set32(0x4000, TARGET);
    cpu.set16(0x4004, CODE_0);
    cpu.run("jmp_far_memory", { modrm: memoryOperand(5) }, 0x4000);
    expect(cpu.state.eip).toBe(TARGET);
    expect(cpu.run("jmp_far_memory", { modrm: 0xe8 })).toEqual({ vector: 6, errorCode: -1 });
  });
});

describe("far CALL and RET", () => {
  test("a call at the same level and its return", () => {
    cpu.run("call_far", { immediate: TARGET, immediate2: CODE_0, length: 7 });
    expect(stackWords(2)).toEqual([0x10_0007, CODE_0]);
    expect(cpu.state.eip).toBe(TARGET);
    cpu.run("ret_far", { opcode: 0xcb });
    expect([cpu.state.eip, cpu.state.gpr(ESP)]).toEqual([0x10_0007, 0x7000]);
  });

  test("a call gate to ring 0 switches the stack and copies parameters; RETF n releases them on both", () => {
    cpu.gate(GDT + GATE, CODE_0, TARGET, 0xec, 2);
    cpu.setLevel(3);
    cpu.state.setGpr(ESP, 0x5000);
    push(0x1111, 0x2222);
    expect(cpu.run("call_far", { immediate2: GATE | 3, length: 7 })).toBeUndefined();
    expect([cpu.state.cpl, cpu.state.selector(CS), cpu.state.selector(SS)]).toEqual([0, CODE_0, DATA_0]);
    expect(cpu.state.gpr(ESP)).toBe(STACK_0 - 24);
    expect(stackWords(6)).toEqual([0x10_0007, CODE_3, 0x1111, 0x2222, 0x4ff8, DATA_3]);

    cpu.state.setAccessRights(DS, 0xc093);
    expect(cpu.run("ret_far", { opcode: 0xca, immediate: 8 })).toBeUndefined();
    expect([cpu.state.cpl, cpu.state.selector(CS), cpu.state.selector(SS)]).toEqual([3, CODE_3, DATA_3]);
    expect([cpu.state.eip, cpu.state.gpr(ESP)]).toEqual([0x10_0007, 0x5000]);
    expect([cpu.state.selector(DS), cpu.state.selector(ES)]).toEqual([0, DATA_3]);
  });

  test("a return to an inner level, or to a stack of another level, is #GP", () => {
    cpu.setLevel(3);
    push(TARGET, CODE_0);
    expect(cpu.run("ret_far")).toEqual({ vector: 13, errorCode: CODE_0 });
    cpu.setLevel(0);
    cpu.state.setGpr(ESP, 0x7000);
    push(TARGET, CODE_3, 0x5000, DATA_0);
    expect(cpu.run("ret_far")).toEqual({ vector: 13, errorCode: DATA_0 });
    expect(cpu.state.gpr(ESP)).toBe(0x7000 - 16);
    expect(cpu.state.cpl).toBe(0);
  });

  test("a fault while the frame is pushed leaves the stack as it was", () => {
    cpu.state.setLimit(SS, 0x6ffb);
    cpu.state.setGpr(ESP, 0x7000);
    expect(cpu.run("call_far", { immediate: TARGET, immediate2: CODE_0 })).toEqual({ vector: 12, errorCode: 0 });
    expect([cpu.state.gpr(ESP), cpu.state.eip]).toEqual([0x7000, 0x10_0000]);
  });
});

describe("IRET", () => {
  const returnTo = (selector: number, flags: number, ...more: number[]) => {
    push(TARGET, selector, flags, ...more);
    return cpu.run("iret", { length: 1 });
  };

  test("at CPL 0 restores every flag but VM, and unblocks NMIs", () => {
    expect(returnTo(CODE_0, IF | IOPL | NT | RF | ZF | TF | 2)).toBeUndefined();
    expect(cpu.state.eflags).toBe(IF | IOPL | NT | RF | ZF | TF | 2);
    expect([cpu.state.eip, cpu.state.gpr(ESP), cpu.vmx.nmiUnblocked]).toEqual([TARGET, 0x7000, 1]);
  });

  test("at CPL 3 keeps IOPL, IF and the virtual-8086 flags", () => {
    cpu.setLevel(3);
    cpu.state.eflags = IF | 2;
    returnTo(CODE_3, IOPL | ZF | VM | VIF | 2);
    expect(cpu.state.eflags).toBe(IF | ZF | 2);
  });

  test("to CPL 3 loads SS:ESP and drops segments of the kernel", () => {
    cpu.state.setSelector(FS, 0);
    cpu.state.setAccessRights(FS, 0x1_0000);
    expect(returnTo(CODE_3, IF | IOPL | 2, 0x5000, DATA_3)).toBeUndefined();
    expect([cpu.state.cpl, cpu.state.gpr(ESP), cpu.state.selector(SS)]).toEqual([3, 0x5000, DATA_3]);
    expect(cpu.state.eflags).toBe(IF | IOPL | 2);
    expect([DS, ES, FS, GS].map((segment) => cpu.state.selector(segment))).toEqual([0, 0, 0, 0]);
  });

  test("a 16-bit IRET leaves the upper half of EFLAGS", () => {
    cpu.state.eflags = RF | 2;
    const esp = 0x7000 - 6;
    cpu.state.setGpr(ESP, esp);
    cpu.set16(esp, 0x4321);
    cpu.set16(esp + 2, CODE_0);
    cpu.set16(esp + 4, ZF | 2);
    cpu.run("iret", { operandSize: 16 });
    expect([cpu.state.eip, cpu.state.eflags]).toEqual([0x4321, RF | ZF | 2]);
  });

  test("with VM in the popped flags enters virtual-8086 mode (SDM Vol. 3 §20.2.1)", () => {
    expect(returnTo(0x1000, VM | IF | 2, 0xfffe, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000)).toMatchObject({ vector: 13 });
    cpu.state.setGpr(ESP, 0x7000);
    push(0x3456, 0x1000, VM | IF | 2, 0xfffe, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000);
    expect(cpu.run("iret")).toBeUndefined();
    expect([ES, CS, SS, DS, FS, GS].map((segment) => cpu.state.selector(segment))).toEqual([
      0x3000, 0x1000, 0x2000, 0x4000, 0x5000, 0x6000,
    ]);
    expect([cpu.state.segmentBase(CS), cpu.state.limit(CS), cpu.state.accessRights(CS)]).toEqual([
      0x1_0000, 0xffff, 0xf3,
    ]);
    expect([cpu.state.eip, cpu.state.gpr(ESP), cpu.state.cpl, cpu.state.eflags]).toEqual([
      0x3456,
      0xfffe,
      3,
      VM | IF | 2,
    ]);
  });

  test("in virtual-8086 mode needs IOPL 3 and keeps it", () => {
    cpu.state.eflags = VM | 2;
    cpu.state.cpl = 3;
    setV86Segments(cpu.state, [0, 0, 0, 0, 0, 0]);
    cpu.state.setGpr(ESP, 0x6000);
    cpu.set16(0x6000, 0x100);
    cpu.set16(0x6002, 0x200);
    cpu.set16(0x6004, IF | ZF | 2);
    expect(cpu.run("iret", { operandSize: 16 })).toEqual({ vector: 13, errorCode: 0 });
    cpu.state.flagsRest |= IOPL;
    expect(cpu.run("iret", { operandSize: 16 })).toBeUndefined();
    expect([cpu.state.eip, cpu.state.segmentBase(CS), cpu.state.eflags]).toEqual([
      0x100,
      0x2000,
      VM | IOPL | IF | ZF | 2,
    ]);
  });

  test("with NT goes back to the task in the back link: a VM exit", () => {
    cpu.state.flagsRest |= NT;
    cpu.set16(TSS, TASK);
    expect(cpu.run("iret")).toBe("exit");
    expect(cpu.vmx.qualification).toBe((TASK | (1 << 30)) >>> 0);
    cpu.describe(TASK, TSS, 0x67, 0x89);
    expect(cpu.run("iret")).toEqual({ vector: 10, errorCode: TASK });
  });

  test("to a 16-bit stack loads SP and keeps the upper half of ESP", () => {
    cpu.describe(DATA_3, 0, 0xffff, 0x00f3);
    expect(returnTo(CODE_3, 2, 0x1_5000, DATA_3)).toBeUndefined();
    expect(cpu.state.gpr(ESP)).toBe(0x5000);
  });
});
