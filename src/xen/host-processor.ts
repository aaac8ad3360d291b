// Part: the processor as the hypervisor, its root-mode software, drives it: by what VMX instructions do, and by looking at and
// changing the register state that a VM exit leaves in the processor (general registers, CR2, debug registers).

import type { GuestMemory } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import type { Fault } from "../cpu/context.ts";
import type { SystemCpu } from "../cpu/system/cpu.ts";
import type { Vmx } from "../cpu/vmx/intercepts.ts";
import type { X87Snapshot } from "../cpu/x87/unit.ts";

/** Where an emulated access goes that the EPT does not permit. Guest-physical addresses; widths 1, 2 and 4 bytes. */
export interface MmioAccess {
  read(address: number, width: number): number;
  write(address: number, width: number, value: number): void;
}

/** The VMX instructions (SDM Vol. 3 ch. 31). Results are VmxResult values; addresses are host-physical. */
export interface VmxInstructions {
  vmxon(address: number): number;
  vmclear(address: number): number;
  vmptrld(address: number): number;
  vmread(field: number): number;
  vmwrite(field: number, value: number | bigint): number;
  /** Enters the guest and runs until a VM exit; after `budget` instructions the platform's timer interrupts. */
  vmlaunch(budget: number): number;
  vmresume(budget: number): number;
  invept(type: number, eptPointer: number): number;
}

export interface HostProcessor extends SystemCpu {
  /** Host-physical memory. */
  readonly memory: GuestMemory;
  readonly x87: Snapshotable<X87Snapshot> & { reset(): void };
  /** Instructions completed since the processor was created, exact. */
  readonly retired: number;
  readonly vmx: Vmx & VmxInstructions;
  readonly pendingFault: Fault;
  /**
   * Whether the current instruction may access `length` bytes, at most a page, from an offset in a segment on; else `pendingFault` is its
   * fault. What is no memory may be accessed.
   */
  probe(segment: number, offset: number, length: number, write: boolean): boolean;
  /** Carries out one guest instruction outside of non-root operation, as an instruction emulator in the hypervisor would. */
  emulate(mmio: MmioAccess): "done" | "fault" | "unhandled";
}
