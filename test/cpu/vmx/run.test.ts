/** Small guests on the real engine: what exits, when, and with which state (SDM chapters 26 to 28). */

import { describe, expect, test } from "vitest";
import { EAX, ECX } from "../../../src/cpu/state.ts";
import { controlWord, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "../../../src/cpu/vmx/controls.ts";
import { INTERRUPTION_VALID } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS } from "../../../src/cpu/vmx/fields.ts";
import { CODE, GuestMachine, HANDLER, STACK } from "./machine.ts";

const NOP = 0x90;
const HLT = 0xf4;
const CLI = 0xfa;
const STI = 0xfb;
const IRET = 0xcf;
const CPUID = [0x0f, 0xa2];
const VMCALL = [0x0f, 0x01, 0xc1];
const UD2 = [0x0f, 0x0b];
const JUMP_SELF = [0xeb, 0xfe];
const MOV_SS_AX = [0x8e, 0xd0];
const INT3 = 0xcc;

const primary = (...flags: Parameters<typeof controlWord>[1][]): number =>
  controlWord(PRIMARY, "hltExiting", "unconditionalIoExiting", "activateSecondaryControls", ...flags);
const event = (type: number, vector: number, error = false): number =>
  (INTERRUPTION_VALID | (error ? 1 << 11 : 0) | (type << 8) | vector) >>> 0;

describe("instructions that exit", () => {
  test("leave RIP at the instruction, tell its length and resume after it", () => {
    const guest = new GuestMachine([0xb8, 5, 0, 0, 0, ...CPUID, 0x40, ...VMCALL, 0x40, HLT]);
    expect(guest.run()).toBe("CPUID");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 5);
    expect(guest.read("EXIT_INSTRUCTION_LENGTH")).toBe(2);
    expect(guest.cpu.state.gpr(EAX)).toBe(5);
    expect(guest.skip().run()).toBe("VMCALL");
    expect(guest.cpu.state.gpr(EAX)).toBe(6);
    expect(guest.skip().run()).toBe("HLT");
    expect(guest.cpu.state.gpr(EAX)).toBe(7);
    expect(guest.read("GUEST_RIP")).toBe(CODE + 5 + 2 + 1 + 3 + 1);
    expect(guest.cpu.retired).toBe(3);
  });

  test("an instruction that exits and is not skipped exits again", () => {
    const guest = new GuestMachine([...CPUID]);
    expect([guest.run(), guest.run(), guest.run()]).toEqual(["CPUID", "CPUID", "CPUID"]);
    expect(guest.cpu.retired).toBe(0);
  });

  test("OUT and REP INS say port, width and form", () => {
    const guest = new GuestMachine([0xe6, 0x80, 0x66, 0xba, 0x10, 0x03, 0xf3, 0x66, 0x6d]);
    guest.cpu.state.setGpr(ECX, 3);
    expect(guest.run()).toBe("I/O instruction: OUT 0x80, 1 byte");
    expect(guest.skip().run()).toBe("I/O instruction: REP INS 0x310, 2 bytes");
    expect(guest.cpu.state.gpr(ECX)).toBe(3);
  });
});

describe("the budget", () => {
  test("ends a run with an external interrupt after exactly so many instructions", () => {
    const guest = new GuestMachine(JUMP_SELF);
    for (const [budget, total] of [
      [1, 1],
      [2, 3],
      [1000, 1003],
    ] as const) {
      expect(guest.run(budget)).toBe("external interrupt");
      expect(guest.cpu.retired).toBe(total);
    }
    expect(guest.read("EXIT_INTERRUPTION_INFORMATION")).toBe(0);
  });

  test("the interrupt's vector is reported when it is acknowledged on exit", () => {
    const guest = new GuestMachine(JUMP_SELF, {
      EXIT_CONTROLS: controlWord(VM_EXIT, "acknowledgeInterruptOnExit"),
    });
    expect(guest.run(7)).toBe("external interrupt: vector 0xef");
  });

  test("a guest that halts without HLT exiting leaves at once and stays halted", () => {
    const guest = new GuestMachine([NOP, HLT, NOP], {
      PRIMARY_CONTROLS: controlWord(PRIMARY, "activateSecondaryControls"),
    });
    expect(guest.run()).toBe("external interrupt");
    expect(guest.read("GUEST_ACTIVITY")).toBe(1);
    expect(guest.read("GUEST_RIP")).toBe(CODE + 2);
    expect(guest.run()).toBe("external interrupt");
    expect(guest.cpu.retired).toBe(2);
  });

  test("an injected interrupt wakes it, behind the HLT", () => {
    const guest = new GuestMachine([STI, HLT, NOP], {
      PRIMARY_CONTROLS: controlWord(PRIMARY, "activateSecondaryControls"),
    });
    guest.gate(0x30).at(HANDLER, ...VMCALL);
    expect(guest.run()).toBe("external interrupt");
    expect(guest.write({ ENTRY_INTERRUPTION_INFORMATION: event(0, 0x30) }).run()).toBe("VMCALL");
    expect(guest.read("GUEST_ACTIVITY")).toBe(0);
    expect(guest.stack(3)).toEqual([CODE + 2, 8, 0x202]);
  });
});

describe("event injection", () => {
  test("delivers an interrupt through the IDT and clears the valid bit", () => {
    const guest = new GuestMachine([NOP], { GUEST_RFLAGS: 0x202, ENTRY_INTERRUPTION_INFORMATION: event(0, 0x41) });
    guest.gate(0x41).at(HANDLER, ...VMCALL);
    expect(guest.run()).toBe("VMCALL");
    expect(guest.read("GUEST_RIP")).toBe(HANDLER);
    expect(guest.read("GUEST_RFLAGS") & 0x200).toBe(0);
    expect(guest.stack(3)).toEqual([CODE, 8, 0x202]);
    expect(guest.read("ENTRY_INTERRUPTION_INFORMATION")).toBe(0x41);
  });

  test("pushes the error code of an exception and does not ask the exception bitmap", () => {
    const guest = new GuestMachine([NOP], {
      EXCEPTION_BITMAP: 0xffff_ffff,
      ENTRY_INTERRUPTION_INFORMATION: event(3, 13, true),
      ENTRY_EXCEPTION_ERROR_CODE: 0x28,
    });
    guest.gate(13).at(HANDLER, ...VMCALL);
    expect(guest.run()).toBe("VMCALL");
    // RF is set in the image that a fault leaves.
    expect(guest.stack(4)).toEqual([0x28, CODE, 8, 0x1_0002]);
  });

  test("INT n returns behind itself", () => {
    const guest = new GuestMachine([0xcd, 0x80, NOP], {
      ENTRY_INTERRUPTION_INFORMATION: event(4, 0x80),
      ENTRY_INSTRUCTION_LENGTH: 2,
    });
    guest.gate(0x80).at(HANDLER, ...VMCALL);
    expect(guest.run()).toBe("VMCALL");
    expect(guest.stack(1)).toEqual([CODE + 2]);
  });

  test("a fault during delivery is combined with the event, and an exit reports it as vectored", () => {
    const guest = new GuestMachine([NOP], {
      EXCEPTION_BITMAP: 1 << 11,
      ENTRY_INTERRUPTION_INFORMATION: event(3, 6),
    });
    guest.gate(6, HANDLER, 0x0e);
    expect(guest.run()).toBe("exception or NMI: hardware exception #NP: while delivering hardware exception #UD");
    expect(guest.read("EXIT_INTERRUPTION_ERROR_CODE")).toBe((6 << 3) | 2 | 1);
    expect(guest.read("GUEST_RIP")).toBe(CODE);
  });

  test("an NMI blocks further NMIs until IRET; the NMI window opens then", () => {
    const guest = new GuestMachine([NOP, HLT], { ENTRY_INTERRUPTION_INFORMATION: event(2, 2) });
    guest.gate(2).at(HANDLER, NOP, IRET);
    guest.write({ PRIMARY_CONTROLS: primary("nmiWindowExiting") });
    expect(guest.run()).toBe("NMI window");
    expect(guest.read("GUEST_RIP")).toBe(CODE);
    expect(guest.read("GUEST_INTERRUPTIBILITY")).toBe(0);
    expect(guest.cpu.retired).toBe(2);
  });

  test("a pending MTF exit comes before any instruction", () => {
    const guest = new GuestMachine([NOP], { ENTRY_INTERRUPTION_INFORMATION: event(7, 0) });
    expect(guest.run()).toBe("monitor trap flag");
    expect(guest.cpu.retired).toBe(0);
  });
});

describe("exceptions of the guest", () => {
  test("exit when the bitmap says so, with RF in the saved flags", () => {
    const guest = new GuestMachine(UD2, { EXCEPTION_BITMAP: 1 << 6 });
    expect(guest.run()).toBe("exception or NMI: hardware exception #UD");
    expect(guest.read("GUEST_RIP")).toBe(CODE);
    expect(guest.read("GUEST_RFLAGS")).toBe(0x1_0002);
  });

  test("are delivered otherwise", () => {
    const guest = new GuestMachine([NOP, ...UD2]).gate(6).at(HANDLER, ...VMCALL);
    expect(guest.run()).toBe("VMCALL");
    expect(guest.stack(3)).toEqual([CODE + 1, 8, 0x1_0002]);
  });

  test("INT3 exits as a software exception with its length", () => {
    const guest = new GuestMachine([NOP, INT3], { EXCEPTION_BITMAP: 1 << 3 });
    expect(guest.run()).toBe("exception or NMI: software exception #BP");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 1);
    expect(guest.read("EXIT_INSTRUCTION_LENGTH")).toBe(1);
  });

  test("#GP without a handler doubles, and the double fault can be intercepted", () => {
    const guest = new GuestMachine(UD2, { EXCEPTION_BITMAP: 1 << 8, GUEST_IDTR_LIMIT: 0 });
    // #UD is benign: its missing gate gives #GP, whose missing gate gives #DF.
    expect(guest.run()).toBe("exception or NMI: hardware exception #DF");
    expect(guest.read("EXIT_INTERRUPTION_ERROR_CODE")).toBe(0);
    expect(guest.read("GUEST_RIP")).toBe(CODE);
  });

  test("with nothing to deliver them to they end in a triple fault", () => {
    const guest = new GuestMachine([NOP, ...UD2], { GUEST_IDTR_LIMIT: 0 });
    expect(guest.run()).toBe("triple fault");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 1);
    expect(guest.cpu.retired).toBe(1);
  });

  test("INT n whose delivery faults names itself and its length", () => {
    const guest = new GuestMachine([0xcd, 0x42], { EXCEPTION_BITMAP: 1 << 13 });
    expect(guest.run()).toBe(
      "exception or NMI: hardware exception #GP: while delivering software interrupt vector 0x42",
    );
    expect(guest.read("EXIT_INTERRUPTION_ERROR_CODE")).toBe((0x42 << 3) | 2);
    expect(guest.read("EXIT_INSTRUCTION_LENGTH")).toBe(2);
    expect(guest.read("GUEST_RIP")).toBe(CODE);
  });
});

describe("EPT violations", () => {
  /** MOV EAX, [0x200000] and MOV [0x200000], EAX: the page behind the identity map's 2 MiB. */
  const READ = [0xa1, 0, 0, 0x20, 0];
  const WRITE = [0xa3, 0, 0, 0x20, 0];

  test("leave the instruction to be restarted", () => {
    const guest = new GuestMachine([NOP, ...WRITE]);
    expect(guest.run()).toMatch(/^EPT violation: write \(data\), not present/);
    expect(guest.read("GUEST_PHYSICAL_ADDRESS")).toBe(0x20_0000);
    expect(guest.read("GUEST_LINEAR_ADDRESS")).toBe(0x20_0000);
    expect(guest.read("GUEST_RIP")).toBe(CODE + 1);
    expect(guest.read("GUEST_RFLAGS")).toBe(0x1_0002);
    guest.cpu.memory.store32(0x6008, 0x20_0000 | 0x80 | (6 << 3) | 7);
    guest.cpu.vmx.invept(1, 0x4000 | (3 << 3) | 6);
    guest.at(CODE + 6, HLT);
    expect(guest.run()).toBe("HLT");
    expect(guest.read("GUEST_RFLAGS")).toBe(2);
  });

  test("can be completed by emulating the instruction", () => {
    const guest = new GuestMachine([...READ, ...WRITE, HLT]);
    const writes: number[][] = [];
    const mmio = {
      read: (gpa: number, width: number) => gpa + width,
      write: (gpa: number, width: number, value: number) => {
        writes.push([gpa, width, value]);
      },
    };
    expect(guest.run()).toMatch(/^EPT violation: read/);
    expect(guest.cpu.emulate(mmio)).toBe("done");
    expect(guest.run()).toMatch(/^EPT violation: write/);
    expect(guest.cpu.emulate(mmio)).toBe("done");
    expect(guest.run()).toBe("HLT");
    expect(writes).toEqual([[0x20_0000, 4, 0x20_0004]]);
    expect(guest.cpu.retired).toBe(0);
  });

  test("in the delivery of an interrupt report that interrupt", () => {
    const guest = new GuestMachine([NOP], {
      GUEST_RFLAGS: 0x202,
      ENTRY_INTERRUPTION_INFORMATION: event(0, 0x41),
      GUEST_RSP: 0x20_1000,
    });
    guest.gate(0x41);
    expect(guest.run()).toMatch(/^EPT violation: write .*while delivering external interrupt vector 0x41$/);
    expect(guest.read("GUEST_RIP")).toBe(CODE);
    expect(guest.read("GUEST_RSP")).toBe(0x20_1000);
    expect(guest.read("IDT_VECTORING_INFORMATION")).toBe(event(0, 0x41));
  });

  test("a fetch is told from a read", () => {
    const guest = new GuestMachine([0xe9, 0xfb, 0xff, 0x1e, 0]);
    expect(guest.run()).toMatch(/^EPT violation: fetch \(data\), not present/);
    expect(guest.read("GUEST_RIP")).toBe(0x20_0000);
  });
});

describe("windows and shadows", () => {
  test("the interrupt window opens one instruction after STI", () => {
    const guest = new GuestMachine([NOP, STI, NOP, NOP], { PRIMARY_CONTROLS: primary("interruptWindowExiting") });
    expect(guest.run()).toBe("interrupt window");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 3);
    guest.write({ PRIMARY_CONTROLS: primary() });
    expect(guest.run(1)).toBe("external interrupt");
  });

  test("STI; HLT exits inside the shadow", () => {
    const guest = new GuestMachine([STI, HLT], { PRIMARY_CONTROLS: primary("interruptWindowExiting") });
    expect(guest.run()).toBe("HLT");
    expect(guest.read("GUEST_INTERRUPTIBILITY")).toBe(1);
  });

  test("MOV SS holds the window for one instruction", () => {
    const guest = new GuestMachine([0xb8, 0x10, 0, 0, 0, STI, ...MOV_SS_AX, NOP, NOP], {
      PRIMARY_CONTROLS: primary("interruptWindowExiting"),
    });
    expect(guest.run()).toBe("interrupt window");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 5 + 1 + 2 + 1);
  });

  test("an open window exits before the first instruction", () => {
    const guest = new GuestMachine([NOP], {
      PRIMARY_CONTROLS: primary("interruptWindowExiting"),
      GUEST_RFLAGS: 0x202,
    });
    expect(guest.run()).toBe("interrupt window");
    expect(guest.cpu.retired).toBe(0);
  });

  test("a physical NMI exits, and is not held back by CLI", () => {
    const guest = new GuestMachine([CLI, ...JUMP_SELF]);
    guest.run(3);
    guest.cpu.vmx.signalNmi();
    expect(guest.run()).toBe("exception or NMI: NMI");
    expect(guest.run(1)).toBe("external interrupt");
  });
});

describe("the VMX-preemption timer", () => {
  const timer = {
    PIN_BASED_CONTROLS: controlWord(PIN_BASED, "nmiExiting", "virtualNmis", "preemptionTimer"),
    EXIT_CONTROLS: controlWord(VM_EXIT, "savePreemptionTimer", "saveDebugControls"),
  };

  test("counts the TSC by 32 and exits to the instruction", () => {
    const guest = new GuestMachine(JUMP_SELF, { ...timer, PREEMPTION_TIMER: 10 });
    expect(guest.run(100_000)).toBe("VMX-preemption timer expired");
    expect(guest.cpu.retired).toBe(320);
    expect(guest.read("PREEMPTION_TIMER")).toBe(0);
    expect(guest.run()).toBe("VMX-preemption timer expired");
    expect(guest.cpu.retired).toBe(320);
  });

  test("keeps what is left when something else exits", () => {
    const guest = new GuestMachine(JUMP_SELF, { ...timer, PREEMPTION_TIMER: 10 });
    expect(guest.run(100)).toBe("external interrupt");
    expect(guest.read("PREEMPTION_TIMER")).toBe(7);
  });
});

describe("debug exceptions", () => {
  test("TF traps after each instruction with DR6.BS", () => {
    const guest = new GuestMachine([NOP, NOP], { GUEST_RFLAGS: 0x102, EXCEPTION_BITMAP: 2 });
    expect(guest.run()).toBe("exception or NMI: hardware exception #DB: DR6 BS");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 1);
    expect(guest.read("GUEST_RFLAGS")).toBe(0x102);
    expect(guest.read("GUEST_PENDING_DEBUG_EXCEPTIONS")).toBe(0);
    expect(guest.run()).toBe("exception or NMI: hardware exception #DB: DR6 BS");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 2);
  });

  test("the handler of a single step sees the next instruction and DR6", () => {
    const guest = new GuestMachine([NOP, NOP], { GUEST_RFLAGS: 0x102 }).gate(1).at(HANDLER, ...VMCALL);
    expect(guest.run()).toBe("VMCALL");
    expect(guest.stack(3)).toEqual([CODE + 1, 8, 0x102]);
    expect(guest.cpu.state.dr(6)).toBe(0xffff_4ff0);
  });

  test("MOV SS delays the trap to the next instruction", () => {
    const guest = new GuestMachine([...MOV_SS_AX, NOP, NOP], { GUEST_RFLAGS: 0x102, EXCEPTION_BITMAP: 2 });
    guest.cpu.state.setGpr(EAX, 0x10);
    expect(guest.run()).toBe("exception or NMI: hardware exception #DB: DR6 BS");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 3);
  });

  test("an instruction breakpoint faults before the instruction, once", () => {
    const guest = new GuestMachine([NOP, NOP, HLT], { GUEST_DR7: 0x402, EXCEPTION_BITMAP: 2 });
    guest.cpu.state.setDr(0, CODE + 1);
    expect(guest.run()).toBe("exception or NMI: hardware exception #DB: DR6 B0");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 1);
    expect(guest.cpu.retired).toBe(1);
    guest.write({ GUEST_RFLAGS: 0x1_0002 });
    expect(guest.run()).toBe("HLT");
    expect(guest.read("GUEST_RFLAGS")).toBe(2);
  });

  test("the monitor trap flag exits after each instruction, delivered events included", () => {
    const guest = new GuestMachine([NOP, ...UD2], { PRIMARY_CONTROLS: primary("monitorTrapFlag") });
    guest.gate(6);
    expect(guest.run()).toBe("monitor trap flag");
    expect(guest.read("GUEST_RIP")).toBe(CODE + 1);
    expect(guest.run()).toBe("monitor trap flag");
    expect(guest.read("GUEST_RIP")).toBe(HANDLER);
  });

  test("REP strings are stepped an iteration at a time", () => {
    const guest = new GuestMachine([0xf3, 0xaa, HLT], { PRIMARY_CONTROLS: primary("monitorTrapFlag") });
    guest.cpu.state.setGpr(ECX, 3);
    guest.cpu.state.setGpr(7, STACK);
    expect([guest.run(), guest.run()]).toEqual(["monitor trap flag", "monitor trap flag"]);
    expect(guest.cpu.state.gpr(ECX)).toBe(1);
    expect(guest.read("GUEST_RIP")).toBe(CODE);
  });
});

describe("registers that controls load and save", () => {
  test("EFER and PAT of the guest are saved and come back", () => {
    const guest = new GuestMachine([HLT], {
      EXIT_CONTROLS: controlWord(VM_EXIT, "savePat", "saveEfer", "saveDebugControls"),
      ENTRY_CONTROLS: controlWord(VM_ENTRY, "loadPat", "loadEfer", "loadDebugControls"),
      GUEST_EFER: 0x800,
      GUEST_PAT: 0x0606_0606_0606_0606n,
    });
    guest.run();
    expect(guest.cpu.vmx.vmread64(VMCS.GUEST_PAT)).toBe(0x0606_0606_0606_0606n);
    expect(guest.read("GUEST_EFER")).toBe(0x800);
  });

  test("the MSR areas load the guest's registers and store them", () => {
    const guest = new GuestMachine([HLT], {
      ENTRY_MSR_LOAD_ADDRESS: 0xa000,
      ENTRY_MSR_LOAD_COUNT: 2,
      EXIT_MSR_STORE_ADDRESS: 0xb000,
      EXIT_MSR_STORE_COUNT: 2,
    });
    const entry = (address: number, index: number, low: number) => {
      guest.cpu.memory.store32(address, index);
      guest.cpu.memory.store32(address + 8, low);
    };
    entry(0xa000, 0x174, 0x1234);
    entry(0xa010, 0x176, 0xc000_0000);
    entry(0xb000, 0x176, 0);
    entry(0xb010, 0x10, 0);
    expect(guest.run()).toBe("HLT");
    expect(guest.read("GUEST_SYSENTER_CS")).toBe(0x1234);
    expect(guest.cpu.memory.load32(0xb008)).toBe(0xc000_0000);
    entry(0xa010, 0xc000_0100, 0);
    expect(guest.run()).toBe("VM-entry failure: MSR loading: entry 2");
    entry(0xa010, 0x176, 0);
    entry(0xb010, 0x9e, 0);
    expect(guest.run()).toMatch(/^VMfail 3/);
    expect(guest.cpu.memory.load32(0x2004)).toBe(1);
  });
});

test("without VPIDs every entry drops the translations, with them only another VPID does", () => {
  const code = [0xa1, 0, 0, 5, 0, ...CPUID];
  for (const vpid of [true, false]) {
    const guest = new GuestMachine(code, {
      SECONDARY_CONTROLS: vpid
        ? controlWord(SECONDARY, "eptEnabled", "vpidEnabled", "unrestrictedGuest")
        : controlWord(SECONDARY, "eptEnabled", "unrestrictedGuest"),
    });
    guest.run();
    // The page leaves the EPT without INVEPT: only a kept translation still reads it.
    guest.cpu.memory.store32(0x6000, 0x7000 | 7);
    for (let page = 0; page < 512; page++) {
      if (page !== 0x50) guest.cpu.memory.store32(0x7000 + 8 * page, (page << 12) | (6 << 3) | 7);
    }
    guest.write({ GUEST_RIP: CODE });
    expect(guest.run()).toMatch(vpid ? /^CPUID$/ : /^EPT violation: read/);
    guest.cpu.vmx.invvpid(1, 1, 0);
    guest.write({ GUEST_RIP: CODE });
    expect(guest.run()).toMatch(/^EPT violation: read/);
  }
});
