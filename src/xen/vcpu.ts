// Part: a virtual processor: what the hypervisor keeps of it beside its VMCS. Whether it runs, what it waits for, the registers
// that the VMCS has no fields for, and the events to inject.

import type { X87Snapshot } from "../cpu/x87/unit.ts";
import { VCPU_H } from "./abi/constants.ts";
import type { Domain } from "./domain.ts";
import { Runstate, type RunstateState } from "./runstate.ts";

/** Registers that VM exits leave in the processor, saved while another vCPU has it. */
export interface SavedRegisters {
  gpr: number[];
  cr2: number;
  dr: number[];
  x87: X87Snapshot;
}

/** An event for the next VM entry, in the VM-entry interruption-information format (SDM Vol. 3 table 25-17). */
export interface Injection {
  information: number;
  errorCode: number;
  instructionLength: number;
}

export type RunState = "running" | "blocked" | "down";

/** An instruction whose I/O the device model carries out (Xen's hvm_vcpu_io). */
export interface VcpuIo {
  /** What the next VM entry has to complete before: an IN or OUT, an INS or OUTS, an instruction with memory operands. */
  instruction: "none" | "port" | "string" | "memory";
  /** The request is with the device model: no event wakes the vCPU before its answer (Xen: _VPF_blocked_in_xen). */
  waiting: boolean;
  /** The device model's answer, valid with `answered`. */
  answer: number;
  answered: boolean;
  /** Iterations of INS or OUTS that the request stands for, and whether it names the data's address. */
  count: number;
  pointer: boolean;
  /** The results of the memory accesses that the instruction has made so far: it is executed again after each answer. */
  accesses: number[];
}

const noIo = (): VcpuIo => ({
  instruction: "none",
  waiting: false,
  answer: 0,
  answered: false,
  count: 0,
  pointer: false,
  accesses: [],
});

export interface VcpuState {
  id: number;
  run: string;
  waitsFor: string;
  vmcs: number;
  launched: boolean;
  vcpuInfo: number;
  vcpuInfoMoved: boolean;
  tscOffset: bigint;
  upcallVector: number;
  requested: number[];
  injection: Injection | null;
  windowOpen: boolean;
  polling: number[] | null;
  registers: SavedRegisters | null;
  periodNs: number;
  io: VcpuIo;
  runstate: RunstateState;
}

export class Vcpu {
  readonly domain: Domain;
  readonly id: number;
  /** Host-physical address of its VMCS region; 0 for a model domain's. */
  readonly vmcs: number;
  readonly runstate: Runstate;
  launched = false;
  run: RunState = "running";
  /** For the deadlock report: what a vCPU that does not run waits for. */
  waitsFor = "";
  /** Host-physical address of its vcpu_info. */
  vcpuInfo: number;
  /** The guest moved it by VCPUOP_register_vcpu_info. */
  vcpuInfoMoved = false;
  /** Guest's time-stamp counter minus the machine's, modulo 2^64. */
  tscOffset = 0n;
  /** HVMOP_set_evtchn_upcall_vector; 0 for none. */
  upcallVector = 0;
  /** Vectors requested of the (edge-triggered) local interrupt controller, ascending. */
  requested: number[] = [];
  injection: Injection | undefined = undefined;
  /** Interrupt-window exiting is set in the VMCS. */
  windowOpen = false;
  /** Ports that SCHEDOP_poll waits for, besides its timeout; undefined outside of a poll. */
  polling: number[] | undefined = undefined;
  registers: SavedRegisters | undefined = undefined;
  /** Its domain has had what its cap allows: it waits for the next period. */
  parked = false;
  /** Who decides what runs hears of it. */
  onWake: () => void = () => {};
  /** Period of the periodic timer, 0 when it is stopped. */
  periodNs = 0;
  readonly io: VcpuIo = noIo();

  constructor(domain: Domain, id: number, vmcs: number, vcpuInfo: number, clock: { readonly now: number }) {
    this.domain = domain;
    this.id = id;
    this.vmcs = vmcs;
    this.vcpuInfo = vcpuInfo;
    this.runstate = new Runstate(clock);
  }

  /** A processor after RESET: what it was doing is forgotten. */
  reset(): void {
    this.wake();
    this.run = "running";
    this.waitsFor = "";
    this.launched = false;
    this.tscOffset = 0n;
    this.upcallVector = 0;
    this.requested = [];
    this.injection = undefined;
    this.windowOpen = false;
    this.registers = undefined;
    Object.assign(this.io, noIo());
  }

  get domid(): number {
    return this.domain.domid;
  }

  get runnable(): boolean {
    return this.run === "running" && !this.io.waiting && !this.parked && this.domain.status === "running";
  }

  /** A line of the deadlock report. */
  get waitText(): string {
    const { domain, id, io } = this;
    if (domain.model !== undefined) return `${domain.name}, a model, waits for an event`;
    return `${domain.name} vcpu ${id} waits for ${io.waiting ? "the device model" : this.parked ? "its share" : this.waitsFor}`;
  }

  block(waitsFor: string): void {
    this.run = "blocked";
    this.waitsFor = waitsFor;
    this.runstate.change(VCPU_H.RUNSTATE_blocked);
  }

  /** Xen's vcpu_unblock: whatever it waited for, it runs again. */
  wake(): void {
    if (this.run !== "blocked") return;
    this.run = "running";
    this.waitsFor = "";
    this.polling = undefined;
    this.runstate.change(this.parked ? VCPU_H.RUNSTATE_offline : VCPU_H.RUNSTATE_runnable);
    this.onWake();
  }

  /** Its budget is used up, or there is a new one. Xen counts the time in between as offline. */
  park(parked: boolean): void {
    this.parked = parked;
    if (this.run !== "running") return;
    this.runstate.change(parked ? VCPU_H.RUNSTATE_offline : VCPU_H.RUNSTATE_runnable);
  }

  /** A port became pending: ends a poll that names it, masked or not. */
  polled(port: number): void {
    if (this.polling?.includes(port) === true) this.wake();
  }

  requestVector(vector: number): void {
    if (this.requested.includes(vector)) return;
    this.requested.push(vector);
    this.requested.sort((a, b) => a - b);
  }

  save(): VcpuState {
    return {
      id: this.id,
      run: this.run,
      waitsFor: this.waitsFor,
      vmcs: this.vmcs,
      launched: this.launched,
      vcpuInfo: this.vcpuInfo,
      vcpuInfoMoved: this.vcpuInfoMoved,
      tscOffset: this.tscOffset,
      upcallVector: this.upcallVector,
      requested: [...this.requested],
      injection: this.injection === undefined ? null : { ...this.injection },
      windowOpen: this.windowOpen,
      polling: this.polling === undefined ? null : [...this.polling],
      registers: this.registers ?? null,
      periodNs: this.periodNs,
      io: { ...this.io, accesses: [...this.io.accesses] },
      runstate: this.runstate.save(),
    };
  }

  load(state: VcpuState): void {
    this.launched = state.launched;
    this.run = state.run as RunState;
    this.waitsFor = state.waitsFor;
    this.vcpuInfo = state.vcpuInfo;
    this.vcpuInfoMoved = state.vcpuInfoMoved;
    this.tscOffset = state.tscOffset;
    this.upcallVector = state.upcallVector;
    this.requested = [...state.requested];
    this.injection = state.injection === null ? undefined : { ...state.injection };
    this.windowOpen = state.windowOpen;
    this.polling = state.polling === null ? undefined : [...state.polling];
    this.registers = state.registers ?? undefined;
    this.periodNs = state.periodNs;
    this.runstate.load(state.runstate);
    Object.assign(this.io, state.io, { accesses: [...state.io.accesses] });
  }
}
