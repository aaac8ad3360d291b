/** Guests that change modes, levels and tasks under VMX, and what the hypervisor sees of it. */

import { describe, expect, test } from "vitest";
import { EAX, EDX } from "../../../src/cpu/state.ts";
import { controlWord, PIN_BASED, PRIMARY } from "../../../src/cpu/vmx/controls.ts";
import { INTERRUPTION_VALID } from "../../../src/cpu/vmx/exit-reasons.ts";
import type { Fields } from "./guest.ts";
import { CODE, GuestMachine, HANDLER, IDT, STACK } from "./machine.ts";

const NOP = 0x90;
const HLT = 0xf4;
const IRET = 0xcf;
const VMCALL = [0x0f, 0x01, 0xc1];
const event = (type: number, vector: number): number => (INTERRUPTION_VALID | (type << 8) | vector) >>> 0;

const real: Fields = { GUEST_CR0: 0x30, GUEST_RIP: 0, GUEST_RSP: 0x1000 };
for (const name of ["ES", "CS", "SS", "DS", "FS", "GS"] as const) {
  real[`GUEST_${name}_SELECTOR`] = CODE >> 4;
  real[`GUEST_${name}_BASE`] = CODE;
  real[`GUEST_${name}_LIMIT`] = 0xffff;
  real[`GUEST_${name}_ACCESS_RIGHTS`] = 0x93;
}

describe("real-address mode", () => {
  test("runs 16-bit code at its segment base and delivers through the IVT", () => {
    const guest = new GuestMachine([0xb8, 0x34, 0x12, 0xcd, 0x21, HLT], {
      ...real,
      GUEST_IDTR_BASE: 0,
      GUEST_IDTR_LIMIT: 0x3ff,
    });
    guest.cpu.memory.store32(0x21 * 4, ((CODE >> 4) << 16) | 0x80);
    guest.at(CODE + 0x80, 0x40, IRET);
    expect(guest.run()).toBe("HLT");
    expect(guest.cpu.state.gpr(EAX)).toBe(0x1235);
    expect(guest.read("GUEST_RIP")).toBe(5);
    expect(guest.cpu.retired).toBe(4);
  });

  test("the hypervisor sees the switch to protected mode when it owns CR0.PE", () => {
    // MOV EAX, CR0; OR AL, 1; MOV CR0, EAX
    const guest = new GuestMachine([0x0f, 0x20, 0xc0, 0x0c, 1, 0x0f, 0x22, 0xc0, HLT], {
      ...real,
      CR0_MASK: 1,
      CR0_READ_SHADOW: 0,
    });
    expect(guest.run()).toBe("control-register access: MOV CR0, EAX");
    guest.write({ GUEST_CR0: 0x31, CR0_READ_SHADOW: 1 }).skip();
    expect(guest.run()).toBe("HLT");
    expect(guest.read("GUEST_CR0")).toBe(0x31);
  });

  test("an injected interrupt goes through the IVT, too", () => {
    const guest = new GuestMachine([NOP], {
      ...real,
      GUEST_IDTR_BASE: 0,
      GUEST_IDTR_LIMIT: 0x3ff,
      GUEST_RFLAGS: 0x202,
      ENTRY_INTERRUPTION_INFORMATION: event(0, 8),
    });
    guest.cpu.memory.store32(8 * 4, ((CODE >> 4) << 16) | 0x80);
    guest.at(CODE + 0x80, ...VMCALL);
    expect(guest.run()).toBe("VMCALL");
    expect(guest.read("GUEST_RIP")).toBe(0x80);
    expect(guest.read("GUEST_RSP")).toBe(0xffa);
  });
});

describe("NMIs", () => {
  const injected: Fields = { ENTRY_INTERRUPTION_INFORMATION: event(2, 2) };

  test("IRET removes virtual-NMI blocking", () => {
    const guest = new GuestMachine([NOP, HLT], injected).gate(2).at(HANDLER, NOP, IRET);
    expect(guest.run(1)).toBe("external interrupt");
    expect(guest.read("GUEST_INTERRUPTIBILITY")).toBe(8);
    expect(guest.run(1)).toBe("external interrupt");
    expect(guest.read("GUEST_INTERRUPTIBILITY")).toBe(0);
  });

  test("IRET leaves physical blocking alone when NMIs exit", () => {
    const guest = new GuestMachine([NOP, HLT], {
      ...injected,
      PIN_BASED_CONTROLS: controlWord(PIN_BASED, "nmiExiting"),
    });
    guest.gate(2).at(HANDLER, NOP, IRET);
    expect(guest.run()).toBe("HLT");
    expect(guest.read("GUEST_INTERRUPTIBILITY")).toBe(8);
  });

  test("an IRET that faults after it unblocked NMIs says so", () => {
    const guest = new GuestMachine([NOP], { ...injected, EXCEPTION_BITMAP: 1 << 13 });
    // The handler ruins the return selector: POP EAX; POP ECX; PUSH 0x7f8; PUSH EAX; IRET.
    guest.gate(2).at(HANDLER, 0x58, 0x59, 0x68, 0xf8, 7, 0, 0, 0x50, IRET);
    expect(guest.run()).toBe("exception or NMI: hardware exception #GP");
    expect(guest.read("EXIT_INTERRUPTION_INFORMATION")).toBe((event(3, 13) | (1 << 11) | (1 << 12)) >>> 0);
    expect(guest.read("GUEST_INTERRUPTIBILITY")).toBe(0);
  });

  test("without NMI exiting a physical NMI is delivered once, and blocks the next until IRET", () => {
    const guest = new GuestMachine([NOP, NOP, NOP, HLT], { PIN_BASED_CONTROLS: controlWord(PIN_BASED) });
    guest.gate(2).at(HANDLER, 0x40, IRET);
    guest.cpu.vmx.signalNmi();
    expect(guest.run(1)).toBe("external interrupt");
    guest.cpu.vmx.signalNmi();
    expect(guest.run()).toBe("HLT");
    expect(guest.cpu.state.gpr(EAX)).toBe(2);
    expect(guest.cpu.retired).toBe(7);
  });
});

describe("task gates", () => {
  const TASK_GATE = 0x85;

  test("exit as a task switch that was being delivered", () => {
    const guest = new GuestMachine([0xcd, 0x50, HLT]);
    guest.cpu.memory.store32(IDT + 8 * 0x50, 0x0028_0000);
    guest.cpu.memory.store32(IDT + 8 * 0x50 + 4, TASK_GATE << 8);
    guest.describe(0x28, 0x3000_0067, 0x0000_8900);
    expect(guest.run()).toBe(
      "task switch: to TSS selector 0x28 by task gate in the IDT: while delivering software interrupt vector 0x50",
    );
    expect(guest.read("EXIT_INSTRUCTION_LENGTH")).toBe(2);
    expect(guest.read("GUEST_RIP")).toBe(CODE);
  });

  test("a far jump to a TSS exits with its length", () => {
    const guest = new GuestMachine([0xea, 0, 0, 0, 0, 0x28, 0]);
    guest.describe(0x28, 0x3000_0067, 0x0000_8900);
    expect(guest.run()).toBe("task switch: to TSS selector 0x28 by JMP");
    expect(guest.read("EXIT_INSTRUCTION_LENGTH")).toBe(7);
    expect(guest.read("IDT_VECTORING_INFORMATION")).toBe(0);
  });
});

test("a delivery that failed while the hypervisor emulated is not reported by the next exit", () => {
  const guest = new GuestMachine([NOP, 0xcd, 0x42, 0x0f, 0xa2]);
  expect(guest.run(1)).toBe("external interrupt");
  const mmio = { read: () => 0, write: () => {} };
  expect(guest.cpu.emulate(mmio)).toBe("fault");
  expect(guest.write({ GUEST_RIP: CODE + 3 }).run()).toBe("CPUID");
});

describe("data breakpoints", () => {
  test("trap after the write, with the condition in the qualification", () => {
    // MOV [STACK - 16], EAX; NOP
    const at = STACK - 16;
    const guest = new GuestMachine([0xa3, at & 0xff, (at >> 8) & 0xff, at >>> 16, 0, NOP, HLT], {
      GUEST_DR7: 0x400 | 2 | (0xd << 16),
      EXCEPTION_BITMAP: 2,
    });
    guest.cpu.state.setDr(0, at);
    expect(guest.run()).toBe("exception or NMI: hardware exception #DB: DR6 B0");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 5);
    expect(guest.cpu.retired).toBe(1);
  });
});

describe("time and MSRs", () => {
  test("RDTSC adds the offset without an exit", () => {
    const guest = new GuestMachine([NOP, 0x0f, 0x31, HLT], {
      PRIMARY_CONTROLS: controlWord(PRIMARY, "hltExiting", "activateSecondaryControls", "useTscOffsetting"),
      TSC_OFFSET: 0x1_0000_0000n - 1n,
    });
    expect(guest.run()).toBe("HLT");
    expect([guest.cpu.state.gpr(EAX), guest.cpu.state.gpr(EDX)]).toEqual([0, 1]);
  });

  test("RDTSC, PAUSE, INVLPG, MOV DR and MOV CR3 exit when their controls say so", () => {
    const code = [0x0f, 0x31, 0xf3, 0x90, 0x0f, 0x01, 0x38, 0x0f, 0x23, 0xc0, 0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xda];
    const guest = new GuestMachine([...code, 0x0f, 0x32], {
      PRIMARY_CONTROLS: controlWord(
        PRIMARY,
        "rdtscExiting",
        "pauseExiting",
        "invlpgExiting",
        "movDrExiting",
        "cr3LoadExiting",
        "cr3StoreExiting",
        "activateSecondaryControls",
      ),
    });
    const seen = Array.from({ length: 7 }, () => {
      const text = guest.run();
      guest.skip();
      return text;
    });
    expect(seen).toEqual([
      "RDTSC",
      "PAUSE",
      "INVLPG: 0x0",
      "MOV DR: MOV DR0, EAX",
      "control-register access: MOV CR3, EAX",
      "control-register access: MOV EDX, CR3",
      "RDMSR",
    ]);
    expect(guest.cpu.retired).toBe(0);
  });
});

describe("paging in the guest", () => {
  test("a page fault is the guest's own, with CR2; an intercepted one leaves CR2 alone", () => {
    for (const bitmap of [0, 1 << 14]) {
      // MOV EAX, [0x12345678] with paging on and an empty directory entry for it.
      const guest = new GuestMachine([0xa1, 0x78, 0x56, 0x34, 0x12, HLT], {
        GUEST_CR0: 0x8000_0031,
        GUEST_CR3: 0xc000,
        GUEST_CR4: 0x2010,
        EXCEPTION_BITMAP: bitmap,
      });
      guest.cpu.memory.store32(0xc000, 0x83);
      guest.gate(14).at(HANDLER, ...VMCALL);
      if (bitmap === 0) {
        expect(guest.run()).toBe("VMCALL");
        expect(guest.stack(2)).toEqual([0, CODE]);
        expect(guest.cpu.state.get(520)).toBe(0x1234_5678);
      } else {
        expect(guest.run()).toBe("exception or NMI: hardware exception #PF: address 0x12345678");
        expect(guest.cpu.state.get(520)).toBe(0);
      }
    }
  });

  test("a page table that the EPT does not map is told from data", () => {
    const guest = new GuestMachine([0xa1, 0, 0, 0x40, 0, HLT], {
      GUEST_CR0: 0x8000_0031,
      GUEST_CR3: 0xc000,
      GUEST_CR4: 0x2010,
    });
    guest.cpu.memory.store32(0xc000, 0x83);
    guest.cpu.memory.store32(0xc004, 0x30_0003);
    expect(guest.run()).toMatch(/^EPT violation: read \(page walk\), not present/);
    expect(guest.read("GUEST_PHYSICAL_ADDRESS")).toBe(0x30_0000);
    expect(guest.read("GUEST_LINEAR_ADDRESS")).toBe(0x40_0000);
  });
});
