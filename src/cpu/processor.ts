// Part: the processor: engine, system instructions, x87 unit and VMX operation put together.
// The guest always runs in VMX non-root operation; root mode is the hypervisor, which drives `vmx`. Before the first VM
// entry, `execute` runs with the state as it is set and without EPT, which is what tests of single instructions use.

import { InputError } from "../core/errors.ts";
import { GuestMemory, type LinearMemory, PAGE_SIZE } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import { Access, EXITED, type MmioHandler } from "./access.ts";
import { CodeCache } from "./code-cache.ts";
import type { Fault, Instruction, Platform } from "./context.ts";
import { type Backend, BOUNDARY, Engine, FAULT, type Stop, webAssembly } from "./engine.ts";
import { floatInstructions } from "./float.ts";
import { ARCHITECTURAL_STATE_SIZE, arenaSize, createArena, ENGINE, NO_TAG, RAM_BASE, STATE_BASE } from "./layout.ts";
import { resetState } from "./reset.ts";
import { USER_INSTRUCTIONS } from "./slow.ts";
import { BLOCKING_BY_MOV_SS, BLOCKING_BY_STI, CS, IF, ProcessorState } from "./state.ts";
import { SYSTEM_INSTRUCTIONS, walk } from "./system/index.ts";
import { Tlb, type TlbState } from "./tlb.ts";
import type { VmxCore } from "./vmx/core.ts";
import { VmxOperation, type VmxState } from "./vmx/operation.ts";
import { X87, type X87Snapshot } from "./x87/unit.ts";

/** What surrounds the processor, and its clock seen from the TSC. */
export interface ProcessorPlatform extends Platform {
  /** Smallest number of further instructions after which `readTsc()` is at least `tsc`; 0 when it is already. */
  instructionsUntilTsc(tsc: bigint): number;
}

export interface ProcessorOptions {
  /** Host-physical memory in bytes; whole pages. */
  ramBytes: number;
  platform: ProcessorPlatform;
  /** What runs the handlers; WebAssembly unless a test compares back ends. */
  backend?: Backend;
}

export interface ProcessorSnapshot {
  /** The architectural part of the state block. */
  state: Uint8Array;
  retired: number;
  /** Linear and host-physical address of the page that code is being fetched from, its first EIP and its modes. */
  codePage: number[];
  tlb: TlbState;
  x87: X87Snapshot;
  vmx: VmxState;
  dirty: Uint8Array;
}

/** How `emulate` ended. */
export type Emulation = "done" | "fault" | "unhandled";

/** The engine's words that say where code is being fetched from: the guest can tell whether the TLB is asked again. */
const CODE_PAGE = [
  ENGINE.codeLinear,
  ENGINE.codePhysical,
  ENGINE.codeBase,
  ENGINE.mode,
  ENGINE.baseMode,
  ENGINE.codeBaseEnd,
] as const;

/** DR7.L0–G3. */
const BREAKPOINTS_ENABLED = 0xff;

export class Processor implements VmxCore, Snapshotable<ProcessorSnapshot> {
  /** The one memory; host-physical address 0 is at RAM_BASE. */
  readonly arena: LinearMemory;
  /** Host-physical memory as the hypervisor and devices use it. */
  readonly memory: GuestMemory;
  readonly state: ProcessorState;
  readonly platform: ProcessorPlatform;
  readonly x87 = new X87();
  readonly vmx: VmxOperation;
  /** One byte for each host-physical page, not 0 when it was written since {@link cleanDirtyPages}. */
  readonly dirty: Uint8Array;
  /** What {@link fault} filled last. */
  readonly pendingFault: Fault = { vector: 0, errorCode: -1, address: 0 };
  readonly #tlb: Tlb;
  readonly #code: CodeCache;
  readonly #access: Access;
  readonly #engine: Engine;
  readonly #words: Int32Array;
  /** The debug registers that breakpoints were worked out from. */
  readonly #debug = new Uint32Array(5);

  /** @throws InputError unless the size is a positive number of whole pages below what the arena can hold */
  constructor(options: ProcessorOptions) {
    const { ramBytes } = options;
    if (!(ramBytes > 0 && ramBytes % PAGE_SIZE === 0 && arenaSize(ramBytes) <= MAX_ARENA)) {
      throw new InputError(`${ramBytes} bytes are not whole pages, or too many`, "processor memory");
    }
    this.arena = createArena(ramBytes);
    this.#words = new Int32Array(this.arena.buffer);
    this.memory = new GuestMemory(this.arena, RAM_BASE, ramBytes);
    this.state = new ProcessorState(this.arena, STATE_BASE);
    this.platform = options.platform;
    this.dirty = new Uint8Array(ramBytes / PAGE_SIZE);
    this.#tlb = new Tlb(this.arena);
    this.#code = new CodeCache(this.arena, ramBytes, (page) => this.#tlb.forbidWrites(page));
    this.vmx = new VmxOperation(this);
    this.#access = new Access(this.arena, this.state, this.#tlb, ramBytes, this.#code.pages, this.dirty, {
      walk: (linear, access) => walk(this, linear, access),
      fault: (vector, errorCode, address) => this.fault(vector, errorCode, address),
      written: (physical, length) => this.#code.written(physical, length),
      checkBoundary: () => this.checkBoundary(),
      exitSignal: this.vmx.signal,
    });
    const host = {
      cpu: this,
      fault: this.pendingFault,
      slowFunctions: {
        ...USER_INSTRUCTIONS,
        ...this.#systemInstructions(),
        ...floatInstructions(this, this.x87),
      },
      exitSignal: this.vmx.signal,
      takeExit: () => this.vmx.takeExit(),
    };
    this.#engine = new Engine(
      this.arena,
      this.state,
      ramBytes,
      this.#code,
      this.#access,
      host,
      options.backend ?? webAssembly,
    );
    this.memory.writeObserver = (address, length) => this.#written(address, length);
    this.reset();
  }

  /** System instructions see the whole processor; the engine hands them its {@link Cpu} part, which is this object. */
  #systemInstructions(): Record<string, () => void> {
    return Object.fromEntries(
      Object.entries(SYSTEM_INSTRUCTIONS).map(([name, execute]) => [name, () => execute(this, this.insn)]),
    );
  }

  /** State after RESET (SDM Vol. 3 table 10-1). The time and the count of instructions go on. */
  reset(): void {
    resetState(this.state);
    this.x87.reset();
    this.#tlb.flush(true);
    this.modeChanged();
  }

  get insn(): Instruction {
    return this.#engine.insn;
  }

  get retired(): number {
    return this.#engine.retired;
  }

  execute(budget: number, awaitedFlags: number = IF): Stop {
    this.#followDebugRegisters();
    return this.#engine.execute(budget, awaitedFlags);
  }

  #followDebugRegisters(): void {
    const { state } = this;
    // Without breakpoints nothing depends on the addresses.
    const dr7 = state.dr(7);
    if (this.#debug[4] === dr7 && (dr7 & BREAKPOINTS_ENABLED) === 0) return;
    let changed = false;
    for (let index = 0; index < 5; index++) {
      const value = state.dr(index < 4 ? index : 7);
      if (this.#debug[index] === value) continue;
      this.#debug[index] = value;
      changed = true;
    }
    if (changed) this.#access.updateBreakpoints();
  }

  /**
   * Executes one instruction (of a repeated string instruction one iteration) for the hypervisor, outside of non-root
   * operation: data at guest-physical addresses that the EPT does not permit goes to `mmio`. "fault": {@link pendingFault}
   * is the exception for the guest. "unhandled": the instruction is none that can be emulated. It does not count as retired.
   */
  emulate(mmio: MmioHandler): Emulation {
    const { state } = this;
    const retired = this.#engine.retired;
    const shadows = state.interruptibility & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    this.vmx.emulating = true;
    this.#access.mmio = mmio;
    try {
      const stop = this.execute(1);
      if (stop === BOUNDARY) state.interruptibility &= ~shadows;
      return stop === BOUNDARY ? "done" : stop === FAULT ? "fault" : "unhandled";
    } finally {
      this.vmx.emulating = false;
      this.#access.mmio = undefined;
      this.#engine.setRetired(retired);
    }
  }

  /**
   * For a hypervisor that moves an instruction's data itself: whether `length` bytes from an offset in a segment on may be accessed; else
   * {@link pendingFault} is the fault. Guest-physical addresses that the EPT does not permit count as permitted.
   */
  probe(segment: number, offset: number, length: number, write: boolean): boolean {
    this.vmx.emulating = true;
    try {
      this.#access.probe(this.#linear(segment, offset, length, write), length, write, this.#user);
      return true;
    } catch (error) {
      if (error !== this.pendingFault) throw error;
      return false;
    } finally {
      this.vmx.emulating = false;
    }
  }

  instructionsUntilTsc(tsc: bigint): number {
    return this.platform.instructionsUntilTsc(tsc);
  }

  // Cpu: what slow functions use.

  effectiveOffset(): number {
    return this.#engine.effectiveOffset();
  }

  #linear(segment: number, offset: number, width: number, write: boolean): number {
    this.#access.checkSegment(segment, offset, width, write);
    return (this.state.segmentBase(segment) + offset) >>> 0;
  }

  /** The result of an access; an exit is thrown, since a slow function is under way. */
  #thrown(result: number): number {
    if (result === EXITED) throw this.vmx.signal;
    return result;
  }

  get #user(): boolean {
    return this.state.cpl === 3;
  }

  read(segment: number, offset: number, width: number): number {
    return this.#thrown(this.#access.read(this.#linear(segment, offset, width, false), width, this.#user));
  }

  write(segment: number, offset: number, width: number, value: number): void {
    this.#thrown(this.#access.write(this.#linear(segment, offset, width, true), width, value, this.#user));
  }

  readBytes(segment: number, offset: number, length: number): Uint8Array {
    return this.#access.readBytes(this.#linear(segment, offset, length, false), length, this.#user);
  }

  writeBytes(segment: number, offset: number, bytes: Uint8Array): void {
    this.#access.writeBytes(this.#linear(segment, offset, bytes.length, true), bytes, this.#user);
  }

  readLinear(linear: number, width: number, supervisor: boolean): number {
    return this.#thrown(this.#access.read(linear >>> 0, width, !supervisor && this.#user));
  }

  writeLinear(linear: number, width: number, value: number, supervisor: boolean): void {
    this.#thrown(this.#access.write(linear >>> 0, width, value, !supervisor && this.#user));
  }

  probeLinear(linear: number, length: number, write: boolean, supervisor: boolean): void {
    this.#access.probe(linear >>> 0, length, write, !supervisor && this.#user);
  }

  readPhysical(address: number): number {
    return address + 4 <= this.memory.size ? this.memory.load32(address) : 0xffff_ffff;
  }

  writePhysical(address: number, value: number): void {
    if (address + 4 <= this.memory.size) this.memory.store32(address, value);
  }

  fault(vector: number, errorCode = -1, address = 0): Fault {
    this.pendingFault.vector = vector;
    this.pendingFault.errorCode = errorCode;
    this.pendingFault.address = address;
    return this.pendingFault;
  }

  modeChanged(): void {
    this.#engine.forgetCodePage();
  }

  flushTlb(includingGlobal: boolean): void {
    this.#tlb.flush(includingGlobal);
    this.#engine.forgetCodePage();
  }

  invalidatePage(linear: number): void {
    this.#tlb.invalidate(linear);
    this.#engine.forgetCodePage();
  }

  flagsSet(flags: number): void {
    this.#engine.flagsSet(flags);
  }

  checkBoundary(): void {
    this.#engine.checkBoundary();
  }

  /** Up to `length` bytes of code from the instruction pointer on, as far as its page goes; none before it was ever fetched. */
  peekCode(length: number): Uint8Array {
    const linear = (this.state.segmentBase(CS) + this.state.eip) >>> 0;
    const offset = linear & (PAGE_SIZE - 1);
    if ((this.#words[ENGINE.codeLinear >> 2] as number) >>> 0 !== linear - offset) return new Uint8Array(0);
    const physical = ((this.#words[ENGINE.codePhysical >> 2] as number) >>> 0) + offset;
    return this.memory.bytes.slice(physical, physical + Math.min(length, PAGE_SIZE - offset));
  }

  // Host-physical memory.

  #written(address: number, length: number): void {
    if (length === 0) return;
    this.#code.written(address, length);
    const last = (address + length - 1) >>> 12;
    for (let page = address >>> 12; page <= last; page++) this.dirty[page] = 1;
  }

  /** From here on {@link dirty} tells which pages are written. */
  cleanDirtyPages(): void {
    this.dirty.fill(0);
    this.#tlb.forbidWrites();
  }

  save(): ProcessorSnapshot {
    return {
      state: new Uint8Array(this.arena.buffer, STATE_BASE, ARCHITECTURAL_STATE_SIZE).slice(),
      retired: this.retired,
      codePage: CODE_PAGE.map((address) => (this.#words[address >> 2] as number) >>> 0),
      tlb: this.#tlb.save(),
      x87: this.x87.save(),
      vmx: this.vmx.save(),
      dirty: this.dirty.slice(),
    };
  }

  /** Memory is loaded by its owner, before or after this. @throws InputError when the snapshot is of another machine */
  load(snapshot: ProcessorSnapshot): void {
    const { state, codePage, dirty } = snapshot;
    if (state.length !== ARCHITECTURAL_STATE_SIZE || codePage.length !== CODE_PAGE.length) {
      throw new InputError("not of this version", "snapshot of the processor");
    }
    if (dirty.length !== this.dirty.length) {
      throw new InputError(`${dirty.length} pages, this machine has ${this.dirty.length}`, "snapshot of the processor");
    }
    new Uint8Array(this.arena.buffer, STATE_BASE, ARCHITECTURAL_STATE_SIZE).set(state);
    this.x87.load(snapshot.x87);
    this.vmx.load(snapshot.vmx);
    this.#code.reset();
    this.#tlb.load(snapshot.tlb);
    this.dirty.set(dirty);
    this.#engine.setRetired(snapshot.retired);
    for (const [index, address] of CODE_PAGE.entries()) {
      this.#words[address >> 2] = codePage[index] as number;
    }
    const physical = (this.#words[ENGINE.codePhysical >> 2] as number) >>> 0;
    if (physical >= this.memory.size) this.#words[ENGINE.codeLinear >> 2] = NO_TAG;
    this.#access.updateBreakpoints();
  }
}

/** WebAssembly addresses are 32 bits, and its memory is made of pages of 64 KiB. */
const MAX_ARENA = 2 ** 32 - 0x1_0000;
