import { beforeEach, describe, expect, test } from "vitest";
import {
  CR0_PE,
  CS,
  DS,
  EAX,
  ECX,
  ES,
  ESP,
  FS,
  GS,
  IF,
  IOPL,
  LDTR,
  OFFSET,
  RF,
  SS,
  TF,
  TR,
  VIF,
  VM,
  ZF,
} from "../../../src/cpu/state.ts";
import { CODE_0, CODE_3, DATA_0, DATA_3, FakeCpu, GDT, memoryOperand, registerOperand, TASK, TSS } from "./fake-cpu.ts";

const UD = { vector: 6, errorCode: -1 };
const GP = { vector: 13, errorCode: 0 };
const SLOT = 0x30;

let cpu: FakeCpu;

const load = (segment: number, selector: number) => {
  cpu.state.setGpr(EAX, 0xffff_0000 | selector);
  return cpu.run("mov_to_segment", { modrm: registerOperand(segment, EAX) });
};
const gp = (selector: number) => ({ vector: 13, errorCode: selector & 0xfffc });

beforeEach(() => {
  cpu = new FakeCpu().enterFlat();
});

describe("MOV to a segment register in protected mode", () => {
  test("takes base, limit and rights out of the descriptor and sets its accessed bit", () => {
    cpu.describe(SLOT, 0x1234_5678, 0x8_9abc, 0x4092);
    expect(load(DS, SLOT)).toBeUndefined();
    const { state } = cpu;
    expect([state.selector(DS), state.segmentBase(DS), state.limit(DS)]).toEqual([SLOT, 0x1234_5678, 0x8_9abc]);
    expect(state.accessRights(DS)).toBe(0x4093);
    expect(cpu.get32(GDT + SLOT + 4) & 0x100).toBe(0x100);
  });

  test("a limit in 4-KByte units covers the last page whole", () => {
    cpu.describe(SLOT, 0, 0x1, 0xc093);
    load(ES, SLOT);
    expect(cpu.state.limit(ES)).toBe(0x1fff);
  });

  test("a null selector makes a data segment unusable and is #GP for SS", () => {
    expect(load(GS, 3)).toBeUndefined();
    expect([cpu.state.selector(GS), cpu.state.accessRights(GS)]).toEqual([3, 0x1_0000]);
    expect(load(SS, 0)).toEqual(GP);
  });

  test("SS wants writable data with DPL = RPL = CPL; an absent one is #SS", () => {
    expect(load(SS, DATA_3)).toEqual(gp(DATA_3));
    expect(load(SS, DATA_0 | 1)).toEqual(gp(DATA_0));
    expect(load(SS, CODE_0)).toEqual(gp(CODE_0));
    cpu.describe(SLOT, 0, 0xfffff, 0xc013);
    expect(load(SS, SLOT)).toEqual({ vector: 12, errorCode: SLOT });
    expect(load(SS, DATA_0)).toBeUndefined();
  });

  test("loading SS holds events off for one instruction (SDM Vol. 3 §6.8.3); LSS does not", () => {
    load(SS, DATA_0);
    expect([cpu.state.interruptibility, cpu.boundaryChecks]).toEqual([2, 1]);
    cpu.state.interruptibility = 0;
    cpu.set32(0x4000, 0x6000);
    cpu.set16(0x4004, DATA_0);
    expect(cpu.run("lss", { modrm: memoryOperand(ESP) }, 0x4000)).toBeUndefined();
    expect([cpu.state.interruptibility, cpu.state.gpr(ESP)]).toEqual([0, 0x6000]);
  });

  test("data segments need DPL ≥ CPL and RPL, unless they are conforming code; execute-only code never", () => {
    expect(load(DS, DATA_0 | 3)).toEqual(gp(DATA_0));
    cpu.describe(SLOT, 0, 0xfffff, 0xc09f);
    expect(load(DS, SLOT | 3)).toBeUndefined();
    cpu.describe(SLOT, 0, 0xfffff, 0xc099);
    expect(load(DS, SLOT)).toEqual(gp(SLOT));
    cpu.setLevel(3);
    expect(load(DS, DATA_0)).toEqual(gp(DATA_0));
    expect(load(DS, DATA_3)).toBeUndefined();
  });

  test("system descriptors, selectors beyond the table and absent segments are told apart", () => {
    expect(load(FS, TASK)).toEqual(gp(TASK));
    expect(load(FS, 0x108)).toEqual(gp(0x108));
    expect(load(FS, SLOT | 4)).toEqual(gp(SLOT | 4));
    cpu.describe(SLOT, 0, 0xfffff, 0xc013);
    expect(load(FS, SLOT)).toEqual({ vector: 11, errorCode: SLOT });
  });

  test("selectors with TI name the LDT", () => {
    cpu.describe(SLOT, 0x4000, 0xff, 0x0082);
    cpu.state.setGpr(EAX, SLOT);
    expect(cpu.run("lldt", { modrm: registerOperand(2, EAX) })).toBeUndefined();
    cpu.set32(0x4008, 0x0000_ffff);
    cpu.set32(0x400c, 0x0000_9300);
    expect(load(ES, 0xc)).toBeUndefined();
    expect(cpu.state.limit(ES)).toBe(0xffff);
  });

  test("there is no MOV CS and no seventh segment register", () => {
    expect(load(CS, DATA_0)).toEqual(UD);
    expect(load(6, DATA_0)).toEqual(UD);
    expect(cpu.run("mov_from_segment", { modrm: registerOperand(7, 0) })).toEqual(UD);
  });
});

describe("MOV from, PUSH and POP", () => {
  test("a 32-bit register is zero-extended, memory always gets 16 bits", () => {
    cpu.state.setGpr(ECX, 0xffff_ffff);
    cpu.run("mov_from_segment", { modrm: registerOperand(CS, ECX) });
    expect(cpu.state.gpr(ECX)).toBe(CODE_0);
    cpu.set32(0x4000, 0xaaaa_aaaa);
    cpu.run("mov_from_segment", { modrm: memoryOperand(DS) }, 0x4000);
    expect(cpu.get32(0x4000)).toBe(0xaaaa_0010);
  });

  test("POP DS moves a selector by the operand size", () => {
    cpu.state.setGpr(ESP, 0x6ffc);
    cpu.set32(0x6ffc, DATA_3);
    cpu.run("pop_segment", { opcode: 0x1f });
    expect([cpu.state.gpr(ESP), cpu.state.selector(DS)]).toEqual([0x7000, DATA_3]);
  });

  test("POP SS uses the old stack and then shadows", () => {
    cpu.state.setGpr(ESP, 0x6ffc);
    cpu.set32(0x6ffc, DATA_0);
    cpu.run("pop_segment", { opcode: 0x17 });
    expect([cpu.state.gpr(ESP), cpu.state.interruptibility]).toEqual([0x7000, 2]);
  });

  test("a POP that faults keeps ESP", () => {
    cpu.set32(0x6ffc, 0x100);
    cpu.state.setGpr(ESP, 0x6ffc);
    expect(cpu.run("pop_segment", { opcode: 0x07 })).toEqual(gp(0x100));
    expect(cpu.state.gpr(ESP)).toBe(0x6ffc);
  });
});

describe("in real-address and virtual-8086 mode", () => {
  test("a load in real mode sets the base and keeps the limit: flat real mode works", () => {
    cpu.state.cr0 &= ~CR0_PE;
    load(DS, 0xb800);
    expect([cpu.state.segmentBase(DS), cpu.state.limit(DS)]).toEqual([0xb_8000, 0xffff_ffff]);
    expect(cpu.state.accessRights(DS) & 0xff).toBe(0x93);
  });

  test("a load in virtual-8086 mode is 64 KiB of DPL 3", () => {
    cpu.state.flagsRest |= VM;
    cpu.state.cpl = 3;
    load(DS, 0xb800);
    expect([cpu.state.segmentBase(DS), cpu.state.limit(DS), cpu.state.accessRights(DS)]).toEqual([
      0xb_8000, 0xffff, 0xf3,
    ]);
  });

  test("LDTR and TR instructions, LAR and ARPL do not exist", () => {
    cpu.state.cr0 &= ~CR0_PE;
    for (const name of ["sldt", "str", "lldt", "ltr", "lar", "lsl", "verr", "verw", "arpl"]) {
      expect(cpu.run(name)).toEqual(UD);
    }
  });
});

describe("descriptor-table registers", () => {
  test("LGDT and SGDT move limit and base; a 16-bit operand size loads 24 bits of base", () => {
    cpu.set32(0x4000, 0x5678_1fff);
    cpu.set16(0x4004, 0x1234);
    cpu.run("lgdt", { modrm: memoryOperand(2) }, 0x4000);
    expect([cpu.state.get(OFFSET.gdtrBase), cpu.state.get(OFFSET.gdtrLimit)]).toEqual([0x1234_5678, 0x1fff]);
    cpu.run("sgdt", { modrm: memoryOperand(0), operandSize: 16 }, 0x4010);
    expect([cpu.get32(0x4010), cpu.get16(0x4014)]).toEqual([0x5678_1fff, 0x1234]);
    cpu.run("lidt", { modrm: memoryOperand(3), operandSize: 16 }, 0x4000);
    expect(cpu.state.get(OFFSET.idtrBase)).toBe(0x34_5678);
    cpu.setLevel(3);
    expect(cpu.run("lidt", { modrm: memoryOperand(3) }, 0x4000)).toEqual(GP);
    expect(cpu.run("sidt", { modrm: memoryOperand(1) }, 0x4020)).toBeUndefined();
  });

  test("LTR marks the TSS busy and refuses one that is", () => {
    cpu.describe(SLOT, TSS, 0x67, 0x89);
    cpu.state.setGpr(EAX, SLOT);
    const modrm = registerOperand(3, EAX);
    expect(cpu.run("ltr", { modrm })).toBeUndefined();
    expect([cpu.state.selector(TR), cpu.state.accessRights(TR)]).toEqual([SLOT, 0x8b]);
    expect(cpu.get32(GDT + SLOT + 4) & 0x200).toBe(0x200);
    expect(cpu.run("ltr", { modrm })).toEqual(gp(SLOT));
    cpu.state.setGpr(EAX, 0);
    expect(cpu.run("ltr", { modrm })).toEqual(GP);
    expect(cpu.run("lldt", { modrm })).toBeUndefined();
    expect(cpu.state.accessRights(LDTR)).toBe(0x1_0000);
  });

  test("descriptor-table exiting reports operand and displacement (SDM Vol. 3 tables 28-9 and 28-10)", () => {
    cpu.vmx.controls.descriptorTableExiting = true;
    // CS:LGDT [ebx + esi*4 - 8] as 2e 0f 01 54 b3 f8
    [0x2e, 0x0f, 0x01, 0x54, 0xb3, 0xf8].forEach((byte, index) => {
      cpu.ram.setUint8(0x10_0000 + index, byte);
    });
    expect(cpu.run("lgdt", { modrm: 0x54, length: 6, segment: CS })).toBe("exit");
    expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([46, 0xffff_fff8]);
    const expected = 2 | (1 << 7) | (1 << 11) | (CS << 15) | (6 << 18) | (3 << 23) | (2 << 28);
    expect(cpu.vmx.fields.instructionInformation).toBe(expected);
    // SLDT [0x1234] with 16-bit addresses as 67 0f 00 06 34 12
    [0x67, 0x0f, 0x00, 0x06, 0x34, 0x12].forEach((byte, index) => {
      cpu.ram.setUint8(0x10_0000 + index, byte);
    });
    expect(cpu.run("sldt", { modrm: 0x06, length: 6, addressSize: 16 })).toBe("exit");
    expect([cpu.vmx.exitReason, cpu.vmx.qualification]).toEqual([47, 0x1234]);
    expect(cpu.vmx.fields.instructionInformation).toBe((DS << 15) | (1 << 22) | (1 << 27));
    expect(cpu.run("str", { modrm: registerOperand(1, ECX) })).toBe("exit");
    expect(cpu.vmx.fields.instructionInformation).toBe((1 << 10) | (ECX << 3) | (1 << 28));
  });
});

describe("asking about selectors", () => {
  const ask = (name: string, selector: number) => {
    cpu.state.eflags = 2;
    cpu.state.setGpr(EAX, selector);
    expect(cpu.run(name, { modrm: registerOperand(ECX, EAX) })).toBeUndefined();
    return (cpu.state.eflags & ZF) !== 0;
  };

  test("LAR and LSL answer for visible descriptors of the kinds they know", () => {
    expect(ask("lar", CODE_3)).toBe(true);
    expect(cpu.state.gpr(ECX)).toBe(0x00c0_fb00);
    expect(ask("lsl", DATA_0)).toBe(true);
    expect(cpu.state.gpr(ECX)).toBe(0xffff_ffff);
    cpu.gate(GDT + SLOT, CODE_0, 0, 0xec);
    expect([ask("lar", SLOT), ask("lsl", SLOT)]).toEqual([true, false]);
    cpu.gate(GDT + SLOT, CODE_0, 0, 0xee);
    expect(ask("lar", SLOT)).toBe(false);
    expect([ask("lar", 0), ask("lar", 0x108), ask("lar", DATA_0 | 3)]).toEqual([false, false, false]);
  });

  test("VERR and VERW tell what an access would find", () => {
    expect([ask("verr", CODE_0), ask("verw", CODE_0), ask("verw", DATA_0)]).toEqual([true, false, true]);
    cpu.describe(SLOT, 0, 0xfffff, 0xc099);
    expect(ask("verr", SLOT)).toBe(false);
    cpu.describe(SLOT, 0, 0xfffff, 0xc091);
    expect([ask("verr", SLOT), ask("verw", SLOT), ask("verr", TASK)]).toEqual([true, false, false]);
  });

  test("ARPL raises an RPL and keeps the upper half of a register", () => {
    cpu.state.setGpr(EAX, 0xaaaa_0010);
    cpu.state.setGpr(ECX, 3);
    expect(cpu.run("arpl", { modrm: registerOperand(ECX, EAX) })).toBeUndefined();
    expect([cpu.state.gpr(EAX), cpu.state.eflags & ZF]).toEqual([0xaaaa_0013, ZF]);
    cpu.run("arpl", { modrm: registerOperand(ECX, EAX) });
    expect(cpu.state.eflags & ZF).toBe(0);
  });
});

describe("EFLAGS instructions", () => {
  const popf = (value: number, operandSize: 16 | 32 = 32) => {
    cpu.state.setGpr(ESP, 0x6000);
    cpu.set32(0x6000, value);
    const raised = cpu.run("popf", { operandSize });
    return raised ?? cpu.state.eflags;
  };

  test("POPF at CPL 0 changes IOPL and IF but not VM, and clears RF", () => {
    cpu.state.eflags = RF | 2;
    expect(popf(IOPL | IF | VM | VIF | RF | ZF | 2)).toBe(IOPL | IF | ZF | 2);
    expect(cpu.boundaryChecks).toBe(1);
  });

  test("POPF at CPL 3 leaves IOPL, and IF unless IOPL is 3", () => {
    cpu.setLevel(3);
    expect(popf(IOPL | IF | ZF | 2)).toBe(ZF | 2);
    cpu.state.eflags = IOPL | 2;
    expect(popf(IF | TF | 2)).toBe(IOPL | IF | TF | 2);
  });

  test("a 16-bit POPF leaves the upper half", () => {
    cpu.state.eflags = (1 << 21) | 2;
    expect(popf(ZF | 2, 16)).toBe((1 << 21) | ZF | 2);
    expect(cpu.state.gpr(ESP)).toBe(0x6002);
  });

  test("PUSHF shows neither VM nor RF; in virtual-8086 mode both need IOPL 3", () => {
    cpu.state.eflags = RF | IF | 2;
    cpu.run("pushf");
    expect(cpu.get32(0x6ffc)).toBe(IF | 2);
    cpu.state.eflags = VM | 2;
    cpu.state.cpl = 3;
    expect([cpu.run("pushf"), cpu.run("popf")]).toEqual([GP, GP]);
    cpu.state.eflags = VM | IOPL | 2;
    expect(cpu.run("pushf")).toBeUndefined();
  });

  test("CLI and STI need CPL ≤ IOPL; an STI that sets IF shadows the next instruction", () => {
    expect(cpu.run("sti")).toBeUndefined();
    expect([cpu.state.eflags & IF, cpu.state.interruptibility, cpu.boundaryChecks]).toEqual([IF, 1, 1]);
    cpu.state.interruptibility = 0;
    cpu.run("sti");
    expect(cpu.state.interruptibility).toBe(0);
    cpu.run("cli");
    expect(cpu.state.eflags & IF).toBe(0);
    cpu.setLevel(3);
    expect([cpu.run("cli"), cpu.run("sti")]).toEqual([GP, GP]);
    cpu.state.flagsRest |= IOPL;
    expect(cpu.run("sti")).toBeUndefined();
  });
});
