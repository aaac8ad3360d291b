/** The processor as a whole: snapshots, emulation for the hypervisor, breakpoints, alignment checks. */
import { describe, expect, test } from "vitest";
import { AC_FAULT, PAGE_FAULT } from "../../../src/cpu/context.ts";
import { BOUNDARY, FAULT } from "../../../src/cpu/engine.ts";
import type { Processor } from "../../../src/cpu/processor.ts";
import { AC, BLOCKING_BY_STI, CR0_AM, CS, EAX, EBX, ECX, EDI, ESI, SS } from "../../../src/cpu/state.ts";
import { bareProcessor, CODE, enablePaging, load, mapPage, pageTableEntry } from "../../support/bare-processor.ts";
import { createMachine, type EptGuest } from "./ept-guest.ts";

/** L: INC EAX; MOV [ESI+EAX*4], EAX; AND EAX, 0FFFh; PUSH EAX; POP EBX; JMP L */
const BUSY_LOOP = [0x40, 0x89, 0x04, 0x86, 0x25, 0xff, 0x0f, 0, 0, 0x50, 0x5b, 0xeb, 0xf3];

function busy(): Processor {
  const processor = bareProcessor();
  enablePaging(processor);
  load(processor, CODE, ...BUSY_LOOP);
  processor.state.setGpr(ESI, 0x1_0000);
  return processor;
}

describe("a snapshot", () => {
  test("continues as the original does, translations included", () => {
    const original = busy();
    original.execute(1001);
    // The translation in the TLB is stale; the copy has to go on using it as well.
    mapPage(original, 0x1_0000, 0x2_0000, 7);
    const snapshot = original.save();
    const memory = original.memory.save();
    const copy = bareProcessor();
    copy.memory.load(memory);
    copy.load(snapshot);
    expect(copy.save()).toEqual(snapshot);
    original.execute(20_000);
    copy.execute(20_000);
    expect(copy.save()).toEqual(original.save());
    expect(copy.memory.save()).toEqual(original.memory.save());
  });

  test("of another machine's size is refused", () => {
    const snapshot = busy().save();
    expect(() => bareProcessor().load({ ...snapshot, dirty: new Uint8Array(1) })).toThrow("this machine has");
  });
});

describe("a data breakpoint", () => {
  /** DR7: breakpoint 0 enabled, 4 bytes, on writes (1) or on reads and writes (3). */
  const enable = (processor: Processor, address: number, condition: 1 | 3) => {
    processor.state.setDr(0, address);
    processor.state.setDr(7, 0x400 | 1 | (condition << 16) | (3 << 18));
  };

  test("ends the run after the store that meets it and is pending", () => {
    const processor = busy();
    processor.execute(100);
    enable(processor, 0x1_0000 + 4 * 100, 1);
    expect(processor.execute(10_000)).toBe(BOUNDARY);
    expect(processor.state.gpr(EAX)).toBe(100);
    expect(processor.state.eip).toBe(CODE + 4);
    expect(processor.state.pendingDebug).toBe(0x1001);
  });

  test("on writes lets loads pass", () => {
    const processor = bareProcessor();
    // MOV EAX, [9000h]; INC EBX
    load(processor, CODE, 0xa1, 0, 0x90, 0, 0, 0x43);
    enable(processor, 0x9000, 1);
    processor.execute(2);
    expect(processor.retired).toBe(2);
    expect(processor.state.pendingDebug).toBe(0);
  });
});

test("an access that is not aligned faults at CPL 3 with CR0.AM and EFLAGS.AC", () => {
  const processor = bareProcessor();
  enablePaging(processor);
  const { state } = processor;
  state.cpl = 3;
  state.setAccessRights(CS, 0xc0fb);
  state.setAccessRights(SS, 0xc0f3);
  state.cr0 |= CR0_AM;
  state.flagsRest |= AC;
  processor.modeChanged();
  // MOV EAX, [9000h]; MOV EAX, [9001h]
  load(processor, CODE, 0xa1, 0, 0x90, 0, 0, 0xa1, 1, 0x90, 0, 0);
  expect(processor.execute(2)).toBe(FAULT);
  expect(processor.pendingFault).toMatchObject({ vector: AC_FAULT, errorCode: 0 });
  expect(processor.retired).toBe(1);
});

describe("emulation of one instruction for the hypervisor", () => {
  const reads: string[] = [];
  const mmio = {
    read: (address: number, width: number) => {
      reads.push(`${address.toString(16)}/${width}`);
      return 0x1234_5678;
    },
    write: (address: number, width: number, value: number) => {
      reads.push(`${address.toString(16)}/${width}=${value.toString(16)}`);
    },
  };

  function guest(...code: number[]): EptGuest {
    reads.length = 0;
    const machine = createMachine();
    machine.processor.memory.write(CODE, Uint8Array.from(code));
    return machine;
  }

  test("sends loads and stores that the EPT does not permit to the device, at their width", () => {
    // MOV EAX, [ESI]; MOV BYTE [ESI], CL; MOVZX EBX, WORD [ESI]
    const { processor } = guest(0x8b, 0x06, 0x88, 0x0e, 0x0f, 0xb7, 0x1e);
    const { state } = processor;
    state.setGpr(ESI, 0xf0_0000);
    state.setGpr(ECX, 0xab);
    state.interruptibility = BLOCKING_BY_STI;
    for (let count = 0; count < 3; count++) expect(processor.emulate(mmio)).toBe("done");
    expect(reads).toEqual(["f00000/4", "f00000/1=ab", "f00000/2"]);
    expect(state.gpr(EAX)).toBe(0x1234_5678);
    expect(state.gpr(EBX)).toBe(0x5678);
    expect(state.eip).toBe(CODE + 7);
    expect(state.interruptibility).toBe(0);
    expect(processor.retired).toBe(0);
  });

  test("runs one iteration of a repeated string instruction", () => {
    const { processor } = guest(0xf3, 0xaa);
    processor.state.setGpr(EDI, 0xf0_0000);
    processor.state.setGpr(ECX, 3);
    expect(processor.emulate(mmio)).toBe("done");
    expect(processor.state.gpr(ECX)).toBe(2);
    expect(processor.state.eip).toBe(CODE);
    expect(reads).toEqual(["f00000/1=0"]);
  });

  test("reports the guest's exception and changes nothing", () => {
    const { processor } = guest(0x8b, 0x06);
    processor.state.setGpr(ESI, 0x9000);
    enablePaging(processor);
    mapPage(processor, 0x9000, 0, 0);
    expect(processor.emulate(mmio)).toBe("fault");
    expect(processor.pendingFault).toEqual({ vector: PAGE_FAULT, errorCode: 0, address: 0x9000 });
    expect(processor.state.eip).toBe(CODE);
    expect(processor.memory.load32(pageTableEntry(0x9000))).toBe(0);
  });
});
