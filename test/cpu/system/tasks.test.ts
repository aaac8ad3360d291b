import { beforeEach, describe, expect, test } from "vitest";
import { CR0_PG, CR0_TS, CS, DS, EAX, ES, ESP, FS, IF, LDTR, NT, SS, TR, VM } from "../../../src/cpu/state.ts";
import { switchTask } from "../../../src/cpu/system/index.ts";
import { TASK_SWITCH_CALL, TASK_SWITCH_IRET, TASK_SWITCH_JMP } from "../../../src/cpu/vmx/exit-reasons.ts";
import { CODE_0, CODE_3, DATA_0, DATA_3, FakeCpu, GDT, TASK, TSS } from "./fake-cpu.ts";

const OTHER = 0x30;
const OTHER_TSS = 0x4000;
const RETURN = 0x10_0007;

let cpu: FakeCpu;

const busy = (selector: number) => (cpu.get32(GDT + selector + 4) & 0x200) !== 0;
const go = (source: number, errorCode?: number) => {
  cpu.insn = { ...cpu.insn, length: 0 };
  return cpu.attempt(() => switchTask(cpu, OTHER, source, RETURN, errorCode));
};

/** A 32-bit TSS with the flat segments of ring 0. */
function fillTask(base: number): void {
  cpu.set32(base + 28, 0x7_7000);
  cpu.set32(base + 32, 0x11_0000);
  cpu.set32(base + 36, IF | 2);
  for (let index = 0; index < 8; index++) cpu.set32(base + 40 + 4 * index, 0x1000 * (index + 1));
  [DATA_0, CODE_0, DATA_0, DATA_0, 0, DATA_3].forEach((selector, index) => {
    cpu.set32(base + 72 + 4 * index, selector);
  });
  cpu.set32(base + 96, 0);
  cpu.set32(base + 100, 0);
}

beforeEach(() => {
  cpu = new FakeCpu().enterFlat();
  cpu.describe(OTHER, OTHER_TSS, 0x67, 0x89);
  fillTask(OTHER_TSS);
});

describe("a task switch", () => {
  test("saves the old task's registers and loads the new one's (SDM Vol. 3 §7.3)", () => {
    cpu.state.eflags = NT | 2;
    cpu.state.setGpr(EAX, 0xabcd);
    expect(go(TASK_SWITCH_JMP)).toBeUndefined();
    expect([cpu.get32(TSS + 32), cpu.get32(TSS + 36), cpu.get32(TSS + 40)]).toEqual([RETURN, NT | 2, 0xabcd]);
    expect([cpu.get32(TSS + 56), cpu.get16(TSS + 76), cpu.get16(TSS + 80)]).toEqual([0x7000, CODE_0, DATA_0]);
    const { state } = cpu;
    expect([state.eip, state.eflags, state.gpr(EAX), state.gpr(ESP)]).toEqual([0x11_0000, IF | 2, 0x1000, 0x5000]);
    expect([CS, SS, DS, FS].map((segment) => state.selector(segment))).toEqual([CODE_0, DATA_0, DATA_0, 0]);
    expect([state.selector(TR), state.accessRights(TR), state.segmentBase(TR)]).toEqual([OTHER, 0x8b, OTHER_TSS]);
    expect([state.accessRights(FS), state.accessRights(LDTR)]).toEqual([0x1_0000, 0x1_0000]);
    expect(state.cr0 & CR0_TS).toBe(CR0_TS);
  });

  test("by JMP moves the busy bit; by CALL nests: both busy, NT and a back link (SDM Vol. 3 table 7-2)", () => {
    go(TASK_SWITCH_JMP);
    expect([busy(TASK), busy(OTHER), cpu.state.flagsRest & NT]).toEqual([false, true, 0]);

    cpu = new FakeCpu().enterFlat();
    cpu.describe(OTHER, OTHER_TSS, 0x67, 0x89);
    fillTask(OTHER_TSS);
    expect(go(TASK_SWITCH_CALL)).toBeUndefined();
    expect([busy(TASK), busy(OTHER), cpu.state.flagsRest & NT]).toEqual([true, true, NT]);
    expect(cpu.get16(OTHER_TSS)).toBe(TASK);
  });

  test("by IRET wants a busy task, frees the old one and clears NT in its image", () => {
    cpu.state.eflags = NT | 2;
    expect(go(TASK_SWITCH_IRET)).toEqual({ vector: 10, errorCode: OTHER });
    cpu.describe(OTHER, OTHER_TSS, 0x67, 0x8b);
    expect(go(TASK_SWITCH_IRET)).toBeUndefined();
    expect([busy(TASK), busy(OTHER), cpu.get32(TSS + 36)]).toEqual([false, true, 2]);
  });

  test("loads CR3 only with paging", () => {
    go(TASK_SWITCH_JMP);
    expect([cpu.state.cr3, cpu.flushes]).toEqual([0, []]);
    expect(cpu.state.cr0 & CR0_PG).toBe(0);
  });

  test("tells when the new task is to be trapped (SDM Vol. 3 §17.3.1.5)", () => {
    expect(switchTask(cpu, OTHER, TASK_SWITCH_JMP, RETURN)).toBe(false);
    fillTask(TSS);
    cpu.set16(TSS + 100, 1);
    expect(switchTask(cpu, TASK, TASK_SWITCH_JMP, RETURN)).toBe(true);
  });

  test("pushes an error code on the new task's stack", () => {
    go(TASK_SWITCH_CALL, 0x55);
    expect([cpu.state.gpr(ESP), cpu.get32(0x4ffc)]).toEqual([0x4ffc, 0x55]);
  });

  test("runs at the RPL of the new CS", () => {
    [DATA_3, CODE_3, DATA_3, DATA_3].forEach((selector, index) => {
      cpu.set32(OTHER_TSS + 72 + 4 * index, selector);
    });
    expect(go(TASK_SWITCH_JMP)).toBeUndefined();
    expect([cpu.state.cpl, cpu.state.selector(SS)]).toEqual([3, DATA_3]);
  });

  test("enters virtual-8086 mode when the new EFLAGS say so", () => {
    cpu.set32(OTHER_TSS + 36, VM | 2);
    cpu.set32(OTHER_TSS + 32, 0x100);
    expect(go(TASK_SWITCH_JMP)).toBeUndefined();
    expect([cpu.state.cpl, cpu.state.segmentBase(ES), cpu.state.accessRights(CS)]).toEqual([3, DATA_0 << 4, 0xf3]);
  });

  test("a bad segment in the new TSS is #TS in the new task", () => {
    cpu.set32(OTHER_TSS + 72 + 4 * SS, DATA_3);
    expect(go(TASK_SWITCH_JMP)).toEqual({ vector: 10, errorCode: DATA_3 & ~3 });
    expect([cpu.state.selector(TR), cpu.state.eip, cpu.state.selector(SS)]).toEqual([OTHER, 0x11_0000, DATA_3]);
  });

  test("a TSS that is too short, absent or no TSS leaves the old task running", () => {
    cpu.describe(OTHER, OTHER_TSS, 0x66, 0x89);
    expect(go(TASK_SWITCH_JMP)).toEqual({ vector: 10, errorCode: OTHER });
    cpu.describe(OTHER, OTHER_TSS, 0x67, 0x09);
    expect(go(TASK_SWITCH_JMP)).toEqual({ vector: 11, errorCode: OTHER });
    cpu.describe(OTHER, OTHER_TSS, 0x67, 0x82);
    expect(go(TASK_SWITCH_JMP)).toEqual({ vector: 13, errorCode: OTHER });
    expect([cpu.state.selector(TR), busy(TASK)]).toEqual([TASK, true]);
  });
});

test("a 16-bit TSS holds words, and fills the upper halves of registers with ones", () => {
  cpu.describe(OTHER, OTHER_TSS, 0x2b, 0x81);
  for (let at = 0; at < 44; at += 4) cpu.set32(OTHER_TSS + at, 0);
  cpu.set16(OTHER_TSS + 14, 0x1234);
  cpu.set16(OTHER_TSS + 16, 2);
  cpu.set16(OTHER_TSS + 18, 0xabcd);
  [DATA_0, CODE_0, DATA_0, DATA_0].forEach((selector, index) => {
    cpu.set16(OTHER_TSS + 34 + 2 * index, selector);
  });
  expect(go(TASK_SWITCH_JMP)).toBeUndefined();
  expect([cpu.state.eip, cpu.state.gpr(EAX), cpu.state.selector(DS)]).toEqual([0x1234, 0xffff_abcd, DATA_0]);
});
