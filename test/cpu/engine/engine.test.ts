/** The execution engine: budgets, code that changes, pages, faults. */
import { describe, expect, test } from "vitest";
import { PAGE_FAULT } from "../../../src/cpu/context.ts";
import { BOUNDARY, FAULT } from "../../../src/cpu/engine.ts";
import { EAX, EBX, ECX, EDX, ESI } from "../../../src/cpu/state.ts";
import {
  bareProcessor,
  CODE,
  enablePaging,
  load,
  mapPage,
  pageTableEntry,
  RAM_BYTES,
  STACK,
} from "../../support/bare-processor.ts";

/** INC EAX, EBX, ECX. */
const INC_EAX = 0x40;
const INC_EBX = 0x43;
const INC_ECX = 0x41;
const JMP_BACK = [0xeb, 0xfd];
const ACCESSED = 0x20;
const DIRTY = 0x40;

describe("a run", () => {
  test("stops at the exact instruction, wherever that is in a loop", () => {
    for (const budget of [1, 2, 3, 17, 1000, 1001]) {
      const processor = bareProcessor();
      load(processor, CODE, INC_EAX, ...JMP_BACK);
      expect(processor.execute(budget)).toBe(BOUNDARY);
      expect(processor.retired).toBe(budget);
      expect(processor.state.gpr(EAX)).toBe(Math.ceil(budget / 2));
      expect(processor.state.eip).toBe(CODE + (budget % 2));
    }
  });

  test("stops between a comparison and its jump, and goes on from there", () => {
    for (const piece of [1, 2, 3, 5, 60]) {
      const processor = bareProcessor();
      // L: CMP EAX, 3; JNE M; NOP; M: INC EAX; JMP L
      load(processor, CODE, 0x83, 0xf8, 0x03, 0x75, 0x01, 0x90, INC_EAX, 0xeb, 0xf7);
      const places = new Set<number>();
      while (processor.retired < 60) {
        processor.execute(piece);
        places.add(processor.state.eip - CODE);
      }
      // Four instructions a round, five where EAX is 3.
      expect(processor.state.gpr(EAX)).toBe(15);
      expect(processor.state.eip).toBe(CODE + 7);
      if (piece === 1) expect([...places].sort()).toEqual([0, 3, 5, 6, 7]);
    }
  });

  test("goes on from page to page in the middle of an instruction", () => {
    const processor = bareProcessor();
    // MOV EAX, 12345678h at the last two bytes of a page, then INC EAX.
    load(processor, CODE + 0xffe, 0xb8, 0x78, 0x56, 0x34, 0x12, INC_EAX);
    processor.state.eip = CODE + 0xffe;
    processor.execute(2);
    expect(processor.state.gpr(EAX)).toBe(0x1234_5679);
    expect(processor.state.eip).toBe(CODE + 0x1004);
  });

  test("counts each iteration of a repeated string instruction, and stops between any two", () => {
    const processor = bareProcessor();
    // REP STOSB
    load(processor, CODE, 0xf3, 0xaa, INC_EBX);
    processor.state.setGpr(EAX, 0x55);
    processor.state.setGpr(ECX, 5);
    processor.state.setGpr(7, 0x5000);
    processor.execute(3);
    expect(processor.state.eip).toBe(CODE);
    expect(processor.state.gpr(ECX)).toBe(2);
    expect([...processor.memory.read(0x5000, 5)]).toEqual([0x55, 0x55, 0x55, 0, 0]);
    processor.execute(3);
    expect(processor.state.gpr(EBX)).toBe(1);
    expect(processor.retired).toBe(6);
  });

  test("tells a device in the middle of a run how many instructions have retired", () => {
    const seen: number[] = [];
    const processor = bareProcessor({ portWrite: () => seen.push(processor.retired) });
    // INC EAX; OUT 80h, AL; INC EAX; OUT 80h, AL. Without a VMCS, whether I/O exits is not asked for.
    processor.vmx.controls.useIoBitmaps = false;
    processor.vmx.controls.unconditionalIoExiting = false;
    load(processor, CODE, INC_EAX, 0xe6, 0x80, INC_EAX, 0xe6, 0x80);
    processor.execute(4);
    expect(seen).toEqual([1, 3]);
  });
});

describe("code that is written to", () => {
  test("is executed as written, also when the next instruction is what changed", () => {
    const processor = bareProcessor();
    // MOV BYTE [CODE + 7], INC ECX; INC EAX (becomes INC ECX)
    load(processor, CODE, 0xc6, 0x05, 0x07, 0x10, 0x00, 0x00, INC_ECX, INC_EAX);
    // Decode it all first, with the store elsewhere.
    processor.state.eip = CODE + 6;
    processor.execute(2);
    processor.state.eip = CODE;
    processor.execute(2);
    expect(processor.state.gpr(EAX)).toBe(1);
    expect(processor.state.gpr(ECX)).toBe(2);
  });

  test("is executed as written when the store is the instruction before, in the same handler", () => {
    const processor = bareProcessor();
    // MOV [EBX], EAX; ADD ECX, 1; INC EAX three times
    load(processor, CODE, 0x89, 0x03, 0x83, 0xc1, 0x01, INC_EAX, INC_EAX, INC_EAX);
    processor.state.setGpr(EBX, 0x5000);
    processor.execute(5);
    expect(processor.state.gpr(ECX)).toBe(1);
    processor.state.eip = CODE;
    processor.state.setGpr(EBX, CODE + 4);
    // ADD ECX, 7; INC ECX three times
    processor.state.setGpr(EAX, 0x4141_4107);
    processor.execute(5);
    expect(processor.state.gpr(ECX)).toBe(1 + 7 + 3);
    expect(processor.state.gpr(EAX)).toBe(0x4141_4107);
  });

  test("is executed as written when a page walk for the instruction before changes it", () => {
    const processor = bareProcessor();
    enablePaging(processor);
    // MOV EAX, [EBX]; ADD EAX, 900h. The second one lies in the page table entry of what the first one reads.
    const code = pageTableEntry(0x9_0000) - 2;
    load(processor, code, 0x8b, 0x03, 0x05, 0x00, 0x09, 0x00, 0x00);
    processor.state.eip = code;
    processor.state.setGpr(EBX, 0x9_0000);
    processor.memory.store32(0x9_0000, 0x1000_0000);
    processor.execute(2);
    // With the accessed flag, 20h, its opcode is that of AND EAX, 900h.
    expect(processor.memory.load8(code + 2)).toBe(0x25);
    expect(processor.state.gpr(EAX)).toBe(0);
  });

  test("is a comparison whose jump changes under it", () => {
    const processor = bareProcessor();
    // L: CMP EAX, ECX; JE M; INC EBX; M: JMP L
    load(processor, CODE, 0x39, 0xc8, 0x74, 0x01, INC_EBX, 0xeb, 0xf9);
    processor.execute(30);
    expect(processor.state.gpr(EBX)).toBe(0);
    // JNE M
    load(processor, CODE + 2, 0x75);
    processor.execute(40);
    expect(processor.state.gpr(EBX)).toBe(10);
    // CMP EAX, EDX: with EDX not 0 the jump is taken.
    load(processor, CODE + 1, 0xd0);
    processor.state.setGpr(EDX, 1);
    processor.execute(30);
    expect(processor.state.gpr(EBX)).toBe(10);
  });

  test("may have data between its instructions", () => {
    const processor = bareProcessor();
    // L: INC DWORD [CODE + 8]; JMP M; (data); M: INC EAX; JMP L
    load(processor, CODE, 0xff, 0x05, 0x08, 0x10, 0, 0, 0xeb, 0x04, 0, 0, 0, 0, INC_EAX, 0xeb, 0xf1);
    processor.execute(4 * 0x123);
    expect(processor.state.gpr(EAX)).toBe(0x123);
    expect(processor.memory.load32(CODE + 8)).toBe(0x123);
    expect(processor.dirty[CODE >> 12]).toBe(1);
  });

  test("is found again after a store from outside of the processor", () => {
    const processor = bareProcessor();
    load(processor, CODE, INC_EAX, ...JMP_BACK);
    processor.execute(10);
    load(processor, CODE, INC_EBX);
    processor.execute(10);
    expect(processor.state.gpr(EAX)).toBe(5);
    expect(processor.state.gpr(EBX)).toBe(5);
  });

  test("may end a loop that runs inside it", () => {
    const processor = bareProcessor();
    // L: INC EAX; CMP EAX, 3; JNE M; MOV BYTE [CODE], 43h (INC EBX at L); M: JMP L
    load(processor, CODE, INC_EAX, 0x83, 0xf8, 0x03, 0x75, 0x07, 0xc6, 0x05, 0x00, 0x10, 0, 0, INC_EBX, 0xeb, 0xf1);
    processor.execute(4 * 2 + 5 + 4 * 3);
    expect(processor.state.gpr(EAX)).toBe(3);
    expect(processor.state.gpr(EBX)).toBe(3);
  });
});

describe("an instruction in two pages", () => {
  /** MOV EAX, imm32 with the immediate in the second page; JMP back. */
  const LAST = CODE + 0xfff;
  const LOOP = [0xb8, 0x78, 0x56, 0x34, 0x12, 0xeb, 0xf9];

  test("is executed as written, whichever page a store changes", () => {
    const processor = bareProcessor();
    load(processor, LAST, ...LOOP);
    processor.state.eip = LAST;
    processor.execute(10);
    expect(processor.state.gpr(EAX)).toBe(0x1234_5678);
    load(processor, LAST + 1, 0x99);
    processor.execute(10);
    expect(processor.state.gpr(EAX)).toBe(0x1234_5699);
    load(processor, LAST, 0xbb);
    processor.execute(10);
    expect(processor.state.gpr(EBX)).toBe(0x1234_5699);
  });

  test("continues in the page that the second address is mapped to when it is executed", () => {
    const processor = bareProcessor();
    enablePaging(processor);
    load(processor, LAST, ...LOOP);
    load(processor, 0x9000, 0xef, 0xbe, 0xad, 0xde, 0xeb, 0xf9);
    processor.state.eip = LAST;
    processor.execute(10);
    mapPage(processor, 0x2000, 0x9000, 7);
    processor.execute(10);
    expect(processor.state.gpr(EAX)).toBe(0x1234_5678);
    processor.invalidatePage(0x2000);
    processor.execute(10);
    expect(processor.state.gpr(EAX)).toBe(0xdead_beef);
    mapPage(processor, 0x2000, 0, 0);
    processor.invalidatePage(0x2000);
    expect(processor.execute(10)).toBe(FAULT);
    expect(processor.pendingFault.address).toBe(0x2000);
    expect(processor.state.eip).toBe(LAST);
  });
});

describe("a fault", () => {
  test("leaves registers, memory and EIP as they were", () => {
    const processor = bareProcessor();
    enablePaging(processor);
    mapPage(processor, 0x9000, 0, 0);
    // PUSH EAX with the stack at the end of a page that is there, then below one that is not.
    load(processor, CODE, INC_EAX, 0x50, INC_EBX);
    processor.state.setGpr(4, 0xa000);
    expect(processor.execute(5)).toBe(FAULT);
    expect(processor.pendingFault).toEqual({ vector: PAGE_FAULT, errorCode: 2, address: 0x9ffc });
    expect(processor.state.eip).toBe(CODE + 1);
    expect(processor.state.gpr(4)).toBe(0xa000);
    expect(processor.retired).toBe(1);
  });

  test("in the second page of an access stores nothing in the first", () => {
    const processor = bareProcessor();
    enablePaging(processor);
    mapPage(processor, 0x9000, 0, 0);
    // MOV [8FFEh], EAX
    load(processor, CODE, 0xa3, 0xfe, 0x8f, 0, 0);
    processor.state.setGpr(EAX, 0xffff_ffff);
    expect(processor.execute(1)).toBe(FAULT);
    expect(processor.pendingFault.address).toBe(0x9000);
    expect(processor.memory.load16(0x8ffe)).toBe(0);
  });

  test("of a fetch is reported at the target of the jump", () => {
    const processor = bareProcessor();
    enablePaging(processor);
    mapPage(processor, 0x9000, 0, 0);
    // JMP 9000h
    load(processor, CODE, 0xe9, 0xfb, 0x7f, 0, 0);
    expect(processor.execute(2)).toBe(FAULT);
    expect(processor.pendingFault).toEqual({ vector: PAGE_FAULT, errorCode: 0, address: 0x9000 });
    expect(processor.state.eip).toBe(0x9000);
    expect(processor.retired).toBe(1);
  });
});

describe("the translation of addresses", () => {
  test("is kept until the guest flushes it, whatever the page tables say", () => {
    const processor = bareProcessor();
    enablePaging(processor);
    processor.memory.store32(0x9000, 0x1111);
    processor.memory.store32(0xa000, 0x2222);
    // L: MOV EAX, [9000h]; JMP L
    load(processor, CODE, 0xa1, 0, 0x90, 0, 0, 0xeb, 0xf9);
    processor.execute(2);
    mapPage(processor, 0x9000, 0xa000, 7);
    processor.execute(2);
    expect(processor.state.gpr(EAX)).toBe(0x1111);
    processor.invalidatePage(0x9000);
    processor.execute(2);
    expect(processor.state.gpr(EAX)).toBe(0x2222);
  });

  test("walks again for the first store after loads, to set the dirty flag, and not again because a page was cleaned", () => {
    const processor = bareProcessor();
    enablePaging(processor);
    const flags = () => processor.memory.load32(pageTableEntry(0x9000)) & (ACCESSED | DIRTY);
    // MOV EAX, [9000h]; MOV [9000h], EAX; JMP back to the store
    load(processor, CODE, 0xa1, 0, 0x90, 0, 0, 0xa3, 0, 0x90, 0, 0, 0xeb, 0xf9);
    processor.execute(1);
    expect(flags()).toBe(ACCESSED);
    processor.execute(2);
    expect(flags()).toBe(ACCESSED | DIRTY);
    // A walk would set the flags again.
    mapPage(processor, 0x9000, 0x9000, 7);
    processor.cleanDirtyPages();
    processor.execute(2);
    expect(processor.dirty[9]).toBe(1);
    expect(flags()).toBe(0);
  });

  test("reads all ones and forgets stores where there is no memory", () => {
    const processor = bareProcessor();
    // MOV [ESI], EAX; MOV EBX, [ESI]
    load(processor, CODE, 0x89, 0x06, 0x8b, 0x1e);
    processor.state.setGpr(ESI, RAM_BYTES + 0x1000);
    processor.execute(2);
    expect(processor.state.gpr(EBX)).toBe(0xffff_ffff);
  });
});

describe("dirty pages", () => {
  test("are those written by the guest and by others since they were last cleaned, and no others", () => {
    const processor = bareProcessor();
    // L: MOV [9000h], EAX; PUSH EAX; JMP L
    load(processor, CODE, 0xa3, 0, 0x90, 0, 0, 0x50, 0xeb, 0xf8);
    processor.execute(30);
    processor.cleanDirtyPages();
    processor.execute(2);
    processor.memory.store8(0x1_2345, 1);
    const written = [...processor.dirty.keys()].filter((page) => processor.dirty[page] !== 0);
    expect(written).toEqual([(STACK >> 12) - 1, 9, 0x12]);
  });
});
