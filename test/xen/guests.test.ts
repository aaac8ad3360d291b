// Guests on the real processor: what they print, how they end, and that splitting a run or saving it changes nothing.

import { describe, expect, test } from "vitest";
import { encodePlain } from "../../src/core/plain-data.ts";
import type { XenHypervisor } from "../../src/xen/xen.ts";
import { XenstoreDaemon } from "../../src/xen/xenstore/daemon.ts";
import { guestImage, pvhKernel, startMachine, type TestMachine, type TestOptions } from "./support.ts";

function start(options: TestOptions): TestMachine {
  return startMachine({ memoryMib: 8, ...options });
}

describe("small guests", () => {
  test("CPUID announces Xen and hides VMX", () => {
    const cpuid = (leaf: number) => {
      // mov eax, leaf; xor ecx, ecx; cpuid; hlt
      const bytes = [leaf & 255, (leaf >>> 8) & 255, (leaf >>> 16) & 255, leaf >>> 24];
      const { run, processor, domain } = start({ kernel: pvhKernel([0xb8, ...bytes, 0x31, 0xc9, 0x0f, 0xa2, 0xf4]) });
      run();
      expect(domain.end).toBe("poweroff");
      return [0, 3, 1, 2].map((register) => processor.state.gpr(register));
    };
    expect(cpuid(0x4000_0000)).toEqual([0x4000_0004, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e]);
    expect(cpuid(0x4000_0001)[0]).toBe((4 << 16) | 17);
    expect(cpuid(0x4000_0002).slice(0, 2)).toEqual([1, 0x4000_0000]);
    expect(cpuid(0x4000_0004)).toEqual([8 | 16, 0, 1, 0]);
    const [, , ecx] = cpuid(1);
    expect([(ecx! >>> 5) & 1, ecx! >>> 31]).toEqual([0, 1]);
  });

  test("memory that is not there reads all ones, swallows writes, and the guest goes on", () => {
    // mov eax, [0xfffffffc]; mov [0xfffffff8], eax; mov ebx, [0xfffffff8]; inc ebx; hlt
    const code = [
      0xa1, 0xfc, 0xff, 0xff, 0xff, 0xa3, 0xf8, 0xff, 0xff, 0xff, 0x8b, 0x1d, 0xf8, 0xff, 0xff, 0xff, 0x43, 0xf4,
    ];
    const machine = start({ kernel: pvhKernel(code) });
    machine.run();
    expect([machine.processor.state.gpr(0), machine.processor.state.gpr(3)]).toEqual([0xffff_ffff, 0]);
    expect(
      machine
        .of("vm-exit")
        .filter(({ reason }) => reason === 48)
        .map(({ gpa }) => gpa),
    ).toEqual([0xffff_fffc, 0xffff_fff8, 0xffff_fff8]);
    expect(machine.domain.end).toBe("poweroff");
  });

  test("ports that nobody owns read all ones in each width and keep the rest of EAX", () => {
    // mov eax, 0x11223344; mov dx, 0x60; in al, dx; mov ebx, eax; mov eax, 0x11223344; in ax, dx; mov ecx, eax; in eax, dx; hlt
    const load = [0xb8, 0x44, 0x33, 0x22, 0x11];
    const code = [...load, 0x66, 0xba, 0x60, 0, 0xec, 0x89, 0xc3, ...load, 0x66, 0xed, 0x89, 0xc1, 0xed, 0xf4];
    const machine = start({ kernel: pvhKernel(code) });
    machine.run();
    const { state } = machine.processor;
    expect([3, 1, 0].map((register) => state.gpr(register))).toEqual([0x1122_33ff, 0x1122_ffff, 0xffff_ffff]);
    expect(
      machine
        .of("vm-exit")
        .map(({ reason, value }) => [reason, value])
        .slice(0, 3),
    ).toEqual([
      [30, 0xff],
      [30, 0xffff],
      [30, 0xffff_ffff],
    ]);
  });

  test("the guest owns CR0.NE and cannot have CR4.VMXE", () => {
    // mov eax, cr0; or eax, 0x20; mov cr0, eax; mov ebx, cr0; and eax, ~0x20; mov cr0, eax; mov ecx, cr0; hlt
    const code = [
      0x0f, 0x20, 0xc0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xc3, 0x83, 0xe0, 0xdf, 0x0f, 0x22, 0xc0,
    ];
    const machine = start({ kernel: pvhKernel([...code, 0x0f, 0x20, 0xc1, 0xf4]) });
    machine.run();
    expect([3, 1].map((register) => machine.processor.state.gpr(register) & 0x3f)).toEqual([0x31, 0x11]);
    // mov eax, 0x2000; mov cr4, eax: #GP without an IDT.
    const second = start({ kernel: pvhKernel([0xb8, 0, 0x20, 0, 0, 0x0f, 0x22, 0xe0, 0xf4]) });
    second.run();
    expect(second.domain).toMatchObject({ status: "crashed", end: "triple fault" });
    expect(second.of("vm-entry")[0]).toMatchObject({ interruption: 0x8000_0b0d, errorCode: 0 });
  });

  test("PAE paging can be turned on together with CR0.NE, as Linux does", () => {
    const PDPT = 0x30_0000;
    const machine = start({
      kernel: pvhKernel([
        // mov dword [PDPT], PD | P; mov dword [PD], 0x83: 2 MiB at 0
        ...[0xc7, 0x05, 0x00, 0x00, 0x30, 0x00, 0x01, 0x10, 0x30, 0x00],
        ...[0xc7, 0x05, 0x00, 0x10, 0x30, 0x00, 0x83, 0x00, 0x00, 0x00],
        // mov eax, 0x20; mov cr4, eax; mov eax, PDPT; mov cr3, eax
        ...[0xb8, 0x20, 0, 0, 0, 0x0f, 0x22, 0xe0, 0xb8, 0, 0, 0x30, 0, 0x0f, 0x22, 0xd8],
        // mov eax, 0x80050033; mov cr0, eax; mov ebx, [0x100000]; hlt
        ...[0xb8, 0x33, 0x00, 0x05, 0x80, 0x0f, 0x22, 0xc0, 0x8b, 0x1d, 0x00, 0x00, 0x10, 0x00, 0xf4],
      ]),
    });
    machine.run();
    expect(machine.domain.end).toBe("poweroff");
    expect(machine.processor.state.gpr(3)).toBe(0x0000_05c7);
    expect(machine.processor.state.cr3).toBe(PDPT);
  });

  test("an exception that the hypervisor injects in real mode has no error code", () => {
    // mov eax, cr0; and al, 0xfe; mov cr0, eax; mov ecx, 0x12345; rdmsr
    const code = [0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0, 0xb9, 0x45, 0x23, 0x01, 0, 0x0f, 0x32, 0xf4];
    const machine = start({ kernel: pvhKernel(code) });
    machine.run();
    expect(machine.of("vm-entry")[0]).toMatchObject({ interruption: 0x8000_030d });
    expect(machine.domain.end).toBe("triple fault");
  });

  test("the time-stamp counter can be set, and an MSR that does not exist is #GP", () => {
    // mov ecx, 0x10; xor eax, eax; xor edx, edx; inc edx; wrmsr; rdtsc; hlt
    const machine = start({
      kernel: pvhKernel([0xb9, 0x10, 0, 0, 0, 0x31, 0xc0, 0x31, 0xd2, 0x42, 0x0f, 0x30, 0x0f, 0x31, 0xf4]),
    });
    machine.run();
    const { state } = machine.processor;
    expect(state.gpr(2)).toBe(1);
    expect(state.gpr(0)).toBeLessThan(2_000);
    // mov ecx, 0x12345; rdmsr
    const second = start({ kernel: pvhKernel([0xb9, 0x45, 0x23, 0x01, 0, 0x0f, 0x32, 0xf4]) });
    second.run();
    expect(second.domain.end).toBe("triple fault");
  });

  test("HLT with interrupts on waits for ever when nothing can come, and says so", () => {
    const machine = start({ kernel: pvhKernel([0xfb, 0xf4]) });
    machine.run();
    expect(machine.domain.status).toBe("running");
    expect(machine.xen.waiting()).toEqual(["guest vcpu 0 waits for an interrupt, in HLT"]);
  });

  test("a jump to where no memory is crashes the domain, and the others go on", () => {
    // mov eax, 0x80000000; jmp eax
    const machine = start({ kernel: pvhKernel([0xb8, 0, 0, 0, 0x80, 0xff, 0xe0]) });
    machine.run();
    expect(machine.domain).toMatchObject({ status: "crashed", end: "triple fault" });
    expect(machine.of("domain-state").at(-1)).toMatchObject({ state: "crashed", reason: "triple fault" });
  });

  test("a spinning guest takes exactly the virtual time that its instructions take", () => {
    for (const rate of [
      [1, 1],
      [10, 3],
      [1, 7],
    ] as const) {
      const { clock, processor, xen } = start({ nsPerInstruction: rate });
      let seen: number[] = [];
      clock
        .alarm("test", () => {
          seen = [clock.now, processor.retired];
        })
        .set(1_010_000);
      // By then the control domain has seen the new domain's rings.
      clock.advanceTo(10_000);
      const [vcpu] = xen.runnable();
      xen.runVcpu(vcpu!, 1_001);
      expect([processor.retired, clock.now]).toEqual([1_001, 10_000 + Math.floor((1_001 * rate[0]) / rate[1])]);
      while (seen.length === 0) xen.runVcpu(vcpu!, 12_345_678);
      expect(seen).toEqual([1_010_000, Math.ceil((1_000_000 * rate[1]) / rate[0])]);
    }
  });

  test("timers at the end of time disturb nobody", () => {
    const { xen, domain, clock } = start({ nsPerInstruction: [1, 7] });
    const [vcpu] = domain.vcpus;
    xen.setSingleshotTimer(vcpu!, Number.MAX_SAFE_INTEGER);
    xen.setPeriodicTimer(vcpu!, 2 ** 52);
    for (let turn = 0; turn < 3; turn++) xen.runVcpu(vcpu!, 700_000);
    expect(clock.now).toBeGreaterThanOrEqual(200_000);
    expect(domain.status).toBe("running");
  });

  test("two domains take turns with registers of their own", () => {
    // mov ebx, N; 1: inc ecx; jmp 1b
    const counter = (value: number) => pvhKernel([0xbb, value, 0, 0, 0, 0x41, 0xeb, 0xfd]);
    const { xen, processor } = start({ kernel: counter(7) });
    xen.createDomain({ name: "second", memorySize: 2 * 1024 * 1024, kernel: counter(9), commandLine: "" });
    const [first, second] = xen.runnable();
    for (const [vcpu, value, loops] of [
      [first!, 7, 50],
      [second!, 9, 50],
      [first!, 7, 100],
    ] as const) {
      xen.runVcpu(vcpu, loops === 50 ? 101 : 100);
      expect([processor.state.gpr(3), processor.state.gpr(1)]).toEqual([value, loops]);
    }
  });
});

describe("first-light without disks", () => {
  function bootWithStore(commandLine: string): { machine: TestMachine; store: XenstoreDaemon } {
    let store: XenstoreDaemon | undefined;
    const prepare = (xen: XenHypervisor) => {
      store = new XenstoreDaemon(xen);
    };
    const machine = start({ kernel: guestImage("first-light"), commandLine, prepare });
    return { machine, store: store! };
  }

  test("finds Xen, takes interrupts and shuts down", () => {
    const { machine } = bootWithStore("");
    machine.run();
    expect(machine.console()).toContain("Xen 4.17 found at cpuid 0x40000000");
    expect(machine.domain.end).toBe("poweroff");
    expect(machine.of("irq-delivery").every(({ vector }) => vector === 0xf3)).toBe(true);
    expect(machine.of("irq-delivery").length).toBeGreaterThan(0);
  });

  test("reads what is typed, also more than the ring holds", () => {
    const { machine } = bootWithStore("mode=console");
    machine.run();
    expect(machine.xen.waiting()).toHaveLength(1);
    const type = (text: string) => machine.xen.consoleInput(1, new TextEncoder().encode(text));
    type("sum 1 2 3\n".repeat(200));
    machine.run();
    type("exit\n");
    machine.run();
    expect(machine.console().match(/\b6\b/g)?.length).toBeGreaterThanOrEqual(200);
    expect(machine.domain.end).toBe("poweroff");
  });

  test("a triple fault crashes the domain", () => {
    const { machine } = bootWithStore("mode=triple-fault");
    machine.run();
    expect(machine.domain).toMatchObject({ status: "crashed", end: "triple fault" });
  });

  test("happens alike in turns of 97 and of a million instructions", () => {
    const [small, large] = [97, 1_000_000].map((budget) => {
      const { machine } = bootWithStore("");
      machine.run(1e9, budget);
      return machine;
    });
    expect(small!.events).toEqual(large!.events);
    expect(small!.processor.retired).toBe(large!.processor.retired);
  });

  test("goes on alike from a snapshot", () => {
    const whole = bootWithStore("");
    whole.machine.run(40_000);
    const { machine, store } = bootWithStore("");
    const { clock, processor, xen } = machine;
    // Memory before the processor, whose dirty pages a store into memory would change.
    const parts = [clock, processor.memory, processor, xen, store];
    const source = [
      whole.machine.clock,
      whole.machine.processor.memory,
      whole.machine.processor,
      whole.machine.xen,
      whole.store,
    ];
    const saved = source.map((part) => part.save());
    for (const [index, part] of parts.entries()) (part as { load(state: unknown): void }).load(saved[index]);
    expect(parts.map((part) => encodePlain(part.save() as never))).toEqual(
      saved.map((state) => encodePlain(state as never)),
    );
    const before = whole.machine.events.length;
    machine.events.length = 0;
    whole.machine.run();
    machine.run();
    expect(machine.events).toEqual(whole.machine.events.slice(before));
    expect(machine.domain.end).toBe("poweroff");
  });
});
