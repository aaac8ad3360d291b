/**
 * A processor without an engine: state, 2 MiB of RAM behind an identity EPT, and the slow path's memory access spelt out
 * with the real page walk. `run` calls a system instruction as the engine does.
 */

import { type Cpu, type Fault, GP, type Instruction, SS_FAULT } from "../../../src/cpu/context.ts";
import {
  AR_DB,
  AR_G,
  AR_P,
  AR_S,
  CR0_ET,
  CR0_NE,
  CR0_PE,
  CR4_VMXE,
  CS,
  DS,
  ES,
  FS,
  GS,
  IF,
  LDTR,
  OFFSET,
  ProcessorState,
  RF,
  SS,
  STATE_SIZE,
  TF,
  TR,
} from "../../../src/cpu/state.ts";
import { SYSTEM_INSTRUCTIONS, type SystemCpu, USER, WRITE, walk } from "../../../src/cpu/system/index.ts";
import { insideSegment } from "../../../src/cpu/system/segments.ts";
import { noControls, type VmxControls } from "../../../src/cpu/vmx/controls.ts";
import { INTERRUPTION_VALID } from "../../../src/cpu/vmx/exit-reasons.ts";
import { type ExitFields, VmExitSignal, type Vmx } from "../../../src/cpu/vmx/intercepts.ts";

export const RAM_SIZE = 2 << 20;
export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
export const STACK_0 = 0x8000;

/** Selectors of the tables that {@link FakeCpu.enterFlat} sets up. */
export const CODE_0 = 0x08;
export const DATA_0 = 0x10;
export const CODE_3 = 0x1b;
export const DATA_3 = 0x23;
export const TASK = 0x28;

export class FakeVmx implements Vmx {
  readonly controls: VmxControls = { ...noControls(), unrestrictedGuest: true };
  emulating = false;
  vectoring = 0;
  eptPermissions = 7;
  exitReason = -1;
  qualification = 0;
  fields: ExitFields = {};
  nmiUnblocked = 0;
  private exited = false;
  /** Guest-physical pages without the permission bits given. */
  readonly eptDenied = new Map<number, number>();
  readonly exitingPorts = new Set<number>();
  readonly exitingMsrs = new Set<number>();
  readonly intercepted = new Set<number>();

  beginDelivery(type: number, vector: number): void {
    this.vectoring = (INTERRUPTION_VALID | (type << 8) | vector) >>> 0;
  }

  endDelivery(): void {
    this.vectoring = 0;
  }

  exit(reason: number, qualification = 0, fields: ExitFields = {}): VmExitSignal {
    this.exitReason = reason;
    this.qualification = qualification;
    this.fields = fields;
    this.exited = true;
    return new VmExitSignal();
  }

  takeExit(): boolean {
    const { exited } = this;
    this.exited = false;
    return exited;
  }

  ioExits(port: number): boolean {
    return this.exitingPorts.has(port);
  }

  msrExits(index: number): boolean {
    return this.exitingMsrs.has(index);
  }

  interceptException(vector: number): void {
    if (this.intercepted.has(vector)) throw this.exit(0, vector);
  }

  unblockNmi(): void {
    this.nmiUnblocked++;
  }

  translate(guestPhysical: number, access: number): number {
    const page = guestPhysical - (guestPhysical % 4096);
    const denied = this.eptDenied.get(page) ?? 0;
    this.eptPermissions = 7 & ~denied;
    if ((denied & access) !== 0) throw this.exit(48, access, { guestPhysical });
    return page < RAM_SIZE ? page : -1;
  }
}

/** A fault as a test compares it. */
export interface Raised {
  vector: number;
  errorCode: number;
}

export class FakeCpu implements SystemCpu, Cpu {
  readonly memory = new WebAssembly.Memory({ initial: 1 });
  readonly state = new ProcessorState(this.memory, 0);
  readonly ram = new DataView(new ArrayBuffer(RAM_SIZE));
  readonly vmx = new FakeVmx();
  readonly ports: { port: number; width: number; value: number }[] = [];
  tsc = 0n;
  portValue = 0xffff_ffff;
  flushes: string[] = [];
  boundaryChecks = 0;
  insn: Instruction = instruction({});
  private offset = 0;
  private readonly pending: Fault = { vector: 0, errorCode: -1, address: 0 };

  readonly platform = {
    readTsc: () => this.tsc,
    portRead: (port: number, width: number) => {
      this.ports.push({ port, width, value: -1 });
      return this.portValue;
    },
    portWrite: (port: number, width: number, value: number) => {
      this.ports.push({ port, width, value });
    },
  };

  constructor() {
    this.state.words.fill(0, 0, STATE_SIZE / 4);
    this.state.cr0 = CR0_ET | CR0_NE;
    this.state.cr4 = CR4_VMXE;
    this.state.eflags = 2;
    this.state.set(OFFSET.idtrLimit, 0x3ff);
    for (const segment of [ES, CS, SS, DS, FS, GS]) {
      this.state.setAccessRights(segment, 0x93);
      this.state.setLimit(segment, 0xffff);
    }
  }

  /** Flat 32-bit protected mode at CPL 0 with GDT, IDT and TSS; segments as {@link CODE_0} and so on. */
  enterFlat(): this {
    const { state } = this;
    state.cr0 = CR0_PE | CR0_ET | CR0_NE;
    state.set(OFFSET.gdtrBase, GDT);
    state.set(OFFSET.gdtrLimit, 0xff);
    state.set(OFFSET.idtrBase, IDT);
    state.set(OFFSET.idtrLimit, 0x7ff);
    this.describe(CODE_0, 0, 0xf_ffff, 0xc09b);
    this.describe(DATA_0, 0, 0xf_ffff, 0xc093);
    this.describe(CODE_3, 0, 0xf_ffff, 0xc0fb);
    this.describe(DATA_3, 0, 0xf_ffff, 0xc0f3);
    this.describe(TASK, TSS, 0x67, 0x008b);
    this.set32(TSS + 4, STACK_0);
    this.set32(TSS + 8, DATA_0);
    state.setSelector(TR, TASK);
    state.setSegmentBase(TR, TSS);
    state.setLimit(TR, 0x67);
    state.setAccessRights(TR, 0x8b);
    state.setAccessRights(LDTR, 0x1_0000);
    this.setLevel(0);
    state.setGpr(4, 0x7000);
    state.eip = 0x10_0000;
    return this;
  }

  /** CS, SS and the data segments of privilege level 0 or 3. */
  setLevel(cpl: 0 | 3): void {
    const { state } = this;
    const flat = AR_P | AR_S | AR_DB | AR_G | (cpl << 5);
    for (const segment of [ES, CS, SS, DS, FS, GS]) {
      state.setSelector(segment, segment === CS ? (cpl === 0 ? CODE_0 : CODE_3) : cpl === 0 ? DATA_0 : DATA_3);
      state.setAccessRights(segment, flat | (segment === CS ? 0xb : 3));
      state.setLimit(segment, 0xffff_ffff);
      state.setSegmentBase(segment, 0);
    }
    state.cpl = cpl;
  }

  /** Writes a descriptor; `rights` in VMX format, `limit` in 20 bits. */
  describe(selector: number, base: number, limit: number, rights: number): void {
    const at = GDT + (selector & 0xfff8);
    this.set32(at, ((base << 16) | (limit & 0xffff)) >>> 0);
    this.set32(at + 4, rightsWord(base, limit, rights));
  }

  /** Writes a gate into the IDT (or at `at`); `rights` is its access byte. */
  gate(at: number, selector: number, offset: number, rights: number, parameters = 0): void {
    this.set32(at, ((selector << 16) | (offset & 0xffff)) >>> 0);
    this.set32(at + 4, ((offset & 0xffff_0000) | (rights << 8) | parameters) >>> 0);
  }

  get32(address: number): number {
    return this.ram.getUint32(address, true);
  }

  set32(address: number, value: number): void {
    this.ram.setUint32(address, value, true);
  }

  get16(address: number): number {
    return this.ram.getUint16(address, true);
  }

  set16(address: number, value: number): void {
    this.ram.setUint16(address, value, true);
  }

  /**
   * Executes the system instruction `name` as the engine does. `memory` is the offset of its memory operand. Answers the
   * fault it raised, "exit" for a VM exit, and undefined when it completed.
   */
  run(name: string, fields: Partial<Instruction> = {}, memory = 0): Raised | "exit" | undefined {
    const execute = SYSTEM_INSTRUCTIONS[name];
    if (execute === undefined) throw new Error(`no instruction ${name}`);
    this.insn = instruction({ eip: this.state.eip, ...fields });
    this.offset = memory;
    this.state.eip += this.insn.length;
    return this.attempt(() => execute(this, this.insn));
  }

  /** Answers what `action` throws, with EIP put back. */
  attempt(action: () => void): Raised | "exit" | undefined {
    const { eip } = this.insn;
    try {
      action();
      if (!this.vmx.takeExit()) return undefined;
      if (this.insn.length > 0) this.state.eip = eip;
      return "exit";
    } catch (thrown) {
      if (this.insn.length > 0) this.state.eip = eip;
      this.vmx.takeExit();
      if (thrown instanceof VmExitSignal) return "exit";
      if (thrown !== this.pending) throw thrown;
      return { vector: this.pending.vector, errorCode: this.pending.errorCode };
    }
  }

  get faultAddress(): number {
    return this.pending.address;
  }

  effectiveOffset(): number {
    return this.offset;
  }

  read(segment: number, offset: number, width: number): number {
    return this.readLinear(this.check(segment, offset, width, false), width, this.state.cpl !== 3);
  }

  write(segment: number, offset: number, width: number, value: number): void {
    this.writeLinear(this.check(segment, offset, width, true), width, value, this.state.cpl !== 3);
  }

  readBytes(segment: number, offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, index) => this.read(segment, offset + index, 1));
  }

  writeBytes(segment: number, offset: number, bytes: Uint8Array): void {
    const linear = this.check(segment, offset, bytes.length, true);
    this.probeLinear(linear, bytes.length, true, this.state.cpl !== 3);
    bytes.forEach((byte, index) => {
      this.writeLinear(linear + index, 1, byte, this.state.cpl !== 3);
    });
  }

  readLinear(linear: number, width: number, supervisor: boolean): number {
    let value = 0;
    for (let index = 0; index < width; index++) {
      const { physical } = walk(this, (linear + index) >>> 0, supervisor ? 0 : USER);
      value |= (physical < 0 ? 0xff : this.ram.getUint8(physical)) << (8 * index);
    }
    return value >>> 0;
  }

  writeLinear(linear: number, width: number, value: number, supervisor: boolean): void {
    for (let index = 0; index < width; index++) {
      const { physical } = walk(this, (linear + index) >>> 0, WRITE | (supervisor ? 0 : USER));
      if (physical >= 0) this.ram.setUint8(physical, (value >>> (8 * index)) & 0xff);
    }
  }

  probeLinear(linear: number, length: number, write: boolean, supervisor: boolean): void {
    for (let index = 0; index < length; index++) {
      walk(this, (linear + index) >>> 0, (write ? WRITE : 0) | (supervisor ? 0 : USER));
    }
  }

  readPhysical(address: number): number {
    return this.get32(address);
  }

  writePhysical(address: number, value: number): void {
    this.set32(address, value);
  }

  fault(vector: number, errorCode = -1, address = 0): Fault {
    Object.assign(this.pending, { vector, errorCode, address });
    return this.pending;
  }

  modeChanged(): void {}

  flushTlb(includingGlobal: boolean): void {
    this.flushes.push(includingGlobal ? "all" : "non-global");
  }

  invalidatePage(linear: number): void {
    this.flushes.push(`page ${linear.toString(16)}`);
  }

  flagsSet(flags: number): void {
    if ((flags & (IF | TF | RF)) !== 0) this.checkBoundary();
  }

  checkBoundary(): void {
    this.boundaryChecks++;
  }

  private check(segment: number, offset: number, width: number, write: boolean): number {
    const { state } = this;
    const rights = state.accessRights(segment);
    const inside = insideSegment(rights, state.limit(segment), offset, width);
    if (!inside || (write && (rights & 0xa) !== 2)) throw this.fault(segment === SS ? SS_FAULT : GP, 0);
    return (state.segmentBase(segment) + offset) >>> 0;
  }
}

function rightsWord(base: number, limit: number, rights: number): number {
  return ((base & 0xff00_0000) | (limit & 0xf_0000) | ((rights & 0xf0ff) << 8) | ((base >>> 16) & 0xff)) >>> 0;
}

export function instruction(fields: Partial<Instruction>): Instruction {
  return {
    eip: 0,
    length: 2,
    opcode: 0x90,
    modrm: 0xc0,
    operandSize: 32,
    addressSize: 32,
    segment: DS,
    rep: 0,
    lock: false,
    immediate: 0,
    immediate2: 0,
    ...fields,
  };
}

/** A ModRM byte with a memory operand (mod 0, r/m 3) or a register. */
export const memoryOperand = (reg: number): number => (reg << 3) | 3;
export const registerOperand = (reg: number, rm: number): number => 0xc0 | (reg << 3) | rm;
