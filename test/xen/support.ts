// A machine of processor, hypervisor and control domain for the tests of src/xen, and small PVH kernels to run in it.

import { readFileSync } from "node:fs";
import { Clock } from "../../src/core/clock.ts";
import { ratio } from "../../src/core/units.ts";
import { Processor } from "../../src/cpu/processor.ts";
import type { EventOf, TraceEvent } from "../../src/trace/events.ts";
import type { Domain } from "../../src/xen/domain.ts";
import { XenHypervisor } from "../../src/xen/xen.ts";

export const MIB = 1024 * 1024;
export const KERNEL_BASE = 0x10_0000;

export function guestImage(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../../guests/images/${name}.elf`, import.meta.url)));
}

export interface KernelOptions {
  readonly entry?: number;
  readonly memorySize?: number;
  /** Type of the note; 18 is the PVH entry. */
  readonly note?: number;
  /** Address of a second segment with the same code. */
  readonly second?: number;
}

/** An ELF32 file with one segment (or two) of machine code at 1 MiB and the PVH note. */
export function pvhKernel(code: readonly number[], options: KernelOptions = {}): Uint8Array {
  const codeOffset = 52 + 3 * 32 + 20;
  const noteOffset = 52 + 3 * 32;
  const file = new Uint8Array(codeOffset + code.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  view.setUint32(28, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, 3, true);
  const header = (at: number, type: number, offset: number, address: number, size: number, memory: number) => {
    for (const [index, value] of [type, offset, address, address, size, memory].entries()) {
      view.setUint32(at + 4 * index, value, true);
    }
  };
  const memorySize = options.memorySize ?? Math.max(code.length, 4096);
  header(52, 1, codeOffset, KERNEL_BASE, code.length, memorySize);
  header(84, 4, noteOffset, 0, 20, 0);
  if (options.second !== undefined) header(116, 1, codeOffset, options.second, code.length, memorySize);
  for (const [index, value] of [4, 4, options.note ?? 18].entries())
    view.setUint32(noteOffset + 4 * index, value, true);
  file.set([0x58, 0x65, 0x6e, 0], noteOffset + 12);
  view.setUint32(noteOffset + 16, options.entry ?? KERNEL_BASE, true);
  file.set(code, codeOffset);
  return file;
}

export interface TestMachine {
  readonly clock: Clock;
  readonly processor: Processor;
  readonly xen: XenHypervisor;
  readonly domain: Domain;
  readonly events: TraceEvent[];
  /** The domain's console output so far. */
  console(): string;
  of<K extends TraceEvent["kind"]>(kind: K): EventOf<K>[];
  /** Runs until the domain has ended, nothing can run any more, or the time is up. */
  run(untilNs?: number, budget?: number): void;
}

export interface TestOptions {
  readonly kernel?: Uint8Array;
  readonly commandLine?: string;
  readonly memoryMib?: number;
  readonly nsPerInstruction?: readonly [number, number];
  /** Called with the hypervisor before the domain is built: programs of the control domain that want to hear of it. */
  readonly prepare?: (xen: XenHypervisor) => void;
}

/** The default kernel is `jmp .`, for tests that call the hypervisor themselves. */
export function startMachine(options: TestOptions = {}): TestMachine {
  const clock = new Clock();
  const events: TraceEvent[] = [];
  const memorySize = (options.memoryMib ?? 8) * MIB;
  const processor: Processor = new Processor({
    ramBytes: memorySize + 8 * MIB,
    platform: {
      readTsc: () => xen.readTsc(),
      instructionsUntilTsc: (tsc) => xen.instructionsUntilTsc(tsc),
      portRead: () => 0xffff_ffff,
      portWrite: () => undefined,
    },
  });
  const xen: XenHypervisor = new XenHypervisor({
    processor,
    clock,
    emit: (event) => events.push(event),
    nsPerInstruction: ratio(...(options.nsPerInstruction ?? ([1, 1] as const))),
    exitCostNs: 500,
    tscKhz: 1_000_000,
    startDateSeconds: 1_700_000_000,
    serviceDomainLatencyNs: 2_000,
  });
  options.prepare?.(xen);
  const domain = xen.createDomain({
    name: "guest",
    memorySize,
    kernel: options.kernel ?? pvhKernel([0xeb, 0xfe]),
    commandLine: options.commandLine ?? "",
  });
  const of = <K extends TraceEvent["kind"]>(kind: K): EventOf<K>[] =>
    events.filter((event): event is EventOf<K> => event.kind === kind);
  return {
    clock,
    processor,
    xen,
    domain,
    events,
    of,
    console: () =>
      of("console-output")
        .map(({ data }) => new TextDecoder().decode(data))
        .join(""),
    run(untilNs = 1e9, budget = 10_000_000) {
      while (clock.now < untilNs && domain.status === "running") {
        const [vcpu] = xen.runnable();
        const deadline = clock.nextDeadline();
        if (vcpu !== undefined) xen.runVcpu(vcpu, Math.min(budget, untilNs - clock.now));
        else if (deadline === undefined) return;
        else clock.advanceTo(Math.min(deadline, untilNs));
      }
    },
  };
}

/** Lets a domain of a fresh machine make a hypercall: paging is off, so pointers are guest-physical addresses. */
export function hypercall(machine: TestMachine, number: number, ...values: number[]): number {
  const { state } = machine.processor;
  state.setGpr(0, number);
  for (const [index, register] of [3, 1, 2, 6, 7].entries()) state.setGpr(register, values[index] ?? 0);
  machine.xen.hypercall(machine.domain.vcpus[0]!);
  return state.gpr(0) | 0;
}

/** Guest-physical memory of the domain; an access stays inside one page. */
export function guestRead(machine: TestMachine, address: number, length: number): Uint8Array {
  const { domain, processor } = machine;
  return processor.memory.read(domain.p2m.frameOf(address >>> 12) * 4096 + (address & 4095), length);
}

export function guestWrite(machine: TestMachine, address: number, bytes: Uint8Array): void {
  const { domain, processor } = machine;
  processor.memory.write(domain.p2m.frameOf(address >>> 12) * 4096 + (address & 4095), bytes);
}
