/** A VMCS that passes every check of VM entry, and a processor whose engine is a script, for tests of VMX alone. */

import { GuestMemory } from "../../../src/core/memory.ts";
import type { Fault, Instruction } from "../../../src/cpu/context.ts";
import { ProcessorState, STATE_SIZE } from "../../../src/cpu/state.ts";
import { VMCS_REVISION } from "../../../src/cpu/vmx/capabilities.ts";
import { controlWord, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "../../../src/cpu/vmx/controls.ts";
import { EXIT_SIGNAL, type VmxCore } from "../../../src/cpu/vmx/core.ts";
import { EXIT } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS, type VmcsFieldName } from "../../../src/cpu/vmx/fields.ts";
import { VM_SUCCEED, VmxOperation } from "../../../src/cpu/vmx/operation.ts";

export const RAM_SIZE = 1 << 20;
export const VMXON_REGION = 0x1000;
export const VMCS_REGION = 0x2000;
export const OTHER_VMCS_REGION = 0x3000;
/** An EPT that maps guest-physical 0 … 2 MiB to itself with one large page. */
export const EPT_PML4 = 0x4000;
const EPT_PDPT = 0x5000;
const EPT_PD = 0x6000;

/** The fields of {@link writeGuest}, in the order of SDM §25.4 to §25.8. */
export type Fields = Partial<Record<VmcsFieldName, number | bigint>>;

const SEGMENTS = ["ES", "SS", "DS", "FS", "GS"] as const;

export function flatGuest(): Fields {
  const fields: Fields = {
    PIN_BASED_CONTROLS: controlWord(PIN_BASED, "nmiExiting", "virtualNmis"),
    PRIMARY_CONTROLS: controlWord(PRIMARY, "hltExiting", "unconditionalIoExiting", "activateSecondaryControls"),
    SECONDARY_CONTROLS: controlWord(SECONDARY, "eptEnabled", "vpidEnabled", "unrestrictedGuest"),
    EXIT_CONTROLS: controlWord(VM_EXIT, "saveDebugControls", "saveEfer", "savePat"),
    ENTRY_CONTROLS: controlWord(VM_ENTRY, "loadDebugControls", "loadEfer", "loadPat"),
    EPT_POINTER: EPT_PML4 | (3 << 3) | 6,
    VPID: 1,
    VMCS_LINK_POINTER: 0xffff_ffff_ffff_ffffn,
    HOST_CR0: 0x8000_0021,
    HOST_CR4: 0x2000,
    HOST_CS_SELECTOR: 0x08,
    HOST_SS_SELECTOR: 0x10,
    HOST_TR_SELECTOR: 0x18,
    GUEST_CR0: 0x31,
    GUEST_CR4: 0x2000,
    GUEST_PAT: 0x0007_0406_0007_0406n,
    GUEST_DR7: 0x400,
    GUEST_RFLAGS: 2,
    GUEST_RIP: 0x1_0000,
    GUEST_RSP: 0x9000,
    GUEST_CS_SELECTOR: 0x08,
    GUEST_CS_LIMIT: 0xffff_ffff,
    GUEST_CS_ACCESS_RIGHTS: 0xc09b,
    GUEST_TR_SELECTOR: 0x18,
    GUEST_TR_LIMIT: 0x67,
    GUEST_TR_ACCESS_RIGHTS: 0x8b,
    GUEST_LDTR_ACCESS_RIGHTS: 0x1_0000,
    GUEST_GDTR_LIMIT: 0xffff,
    GUEST_IDTR_LIMIT: 0xffff,
  };
  for (const name of SEGMENTS) {
    fields[`GUEST_${name}_SELECTOR`] = 0x10;
    fields[`GUEST_${name}_LIMIT`] = 0xffff_ffff;
    fields[`GUEST_${name}_ACCESS_RIGHTS`] = 0xc093;
  }
  return fields;
}

/** What the hypervisor writes to make `vmx` hold the fields in a fresh current VMCS. */
export function writeGuest(vmx: VmxOperation, fields: Fields): void {
  for (const [name, value] of Object.entries(fields) as [VmcsFieldName, number | bigint][]) {
    if (vmx.vmwrite(VMCS[name], value) !== VM_SUCCEED) throw new Error(`VMWRITE ${name} failed`);
  }
}

/** Writes the regions' revision identifiers and the identity EPT. */
export function prepareMemory(memory: GuestMemory): void {
  for (const region of [VMXON_REGION, VMCS_REGION, OTHER_VMCS_REGION]) memory.store32(region, VMCS_REVISION);
  memory.store32(EPT_PML4, EPT_PDPT | 7);
  memory.store32(EPT_PDPT, EPT_PD | 7);
  memory.store32(EPT_PD, 0x80 | (6 << 3) | 7);
}

/** A processor that runs `script` for every call of its engine; by default an instruction that exits with HLT. */
export class ScriptedProcessor implements VmxCore {
  readonly arena = new WebAssembly.Memory({ initial: 17, maximum: 17 });
  readonly state = new ProcessorState(this.arena, 0);
  readonly memory = new GuestMemory(this.arena, 0x1_0000, RAM_SIZE);
  readonly insn: Instruction = {
    eip: 0,
    length: 1,
    opcode: 0xf4,
    modrm: -1,
    operandSize: 32,
    addressSize: 32,
    segment: 3,
    rep: 0,
    lock: false,
    immediate: 0,
    immediate2: 0,
  };
  readonly pendingFault: Fault = { vector: 0, errorCode: -1, address: 0 };
  readonly x87 = { exceptionPending: false };
  readonly flushes: string[] = [];
  retired = 0;
  tsc = 0n;
  modeChanges = 0;
  readonly platform = { readTsc: () => this.tsc, portRead: () => 0xffff_ffff, portWrite: () => {} };
  readonly vmx: VmxOperation;
  script: (budget: number) => number = () => {
    this.vmx.exit(EXIT.HLT);
    return EXIT_SIGNAL;
  };

  constructor() {
    this.state.words.fill(0, 0, STATE_SIZE / 4);
    this.vmx = new VmxOperation(this);
    prepareMemory(this.memory);
  }

  /** In VMX operation with {@link flatGuest} in the current VMCS. */
  static withGuest(changes: Fields = {}): ScriptedProcessor {
    const cpu = new ScriptedProcessor();
    cpu.vmx.vmxon(VMXON_REGION);
    cpu.vmx.vmclear(VMCS_REGION);
    cpu.vmx.vmptrld(VMCS_REGION);
    writeGuest(cpu.vmx, { ...flatGuest(), ...changes });
    return cpu;
  }

  execute(budget: number): number {
    return this.script(budget);
  }

  instructionsUntilTsc(tsc: bigint): number {
    return tsc > this.tsc ? Number(tsc - this.tsc) : 0;
  }

  fault(vector: number, errorCode = -1, address = 0): Fault {
    return Object.assign(this.pendingFault, { vector, errorCode, address });
  }

  readPhysical(address: number): number {
    return this.memory.load32(address);
  }

  writePhysical(address: number, value: number): void {
    this.memory.store32(address, value);
  }

  modeChanged(): void {
    this.modeChanges++;
  }

  flushTlb(includingGlobal: boolean): void {
    this.flushes.push(includingGlobal ? "all" : "non-global");
  }

  invalidatePage(linear: number): void {
    this.flushes.push(`page ${linear.toString(16)}`);
  }

  flagsSet(): void {}

  checkBoundary(): void {}

  effectiveOffset(): number {
    throw new Error("the script has no operands");
  }

  // Segmented and linear accesses of event delivery: flat and unpaged, as the guests of these tests are.
  read(_segment: number, offset: number, width: number): number {
    return this.readLinear(offset, width);
  }

  write(_segment: number, offset: number, width: number, value: number): void {
    this.writeLinear(offset, width, value);
  }

  readBytes(_segment: number, offset: number, length: number): Uint8Array {
    return this.memory.read(offset, length);
  }

  writeBytes(_segment: number, offset: number, bytes: Uint8Array): void {
    this.memory.write(this.physical(offset, 2), bytes);
  }

  readLinear(linear: number, width: number): number {
    const address = this.physical(linear, 1);
    return width === 4
      ? this.memory.load32(address)
      : width === 2
        ? this.memory.load16(address)
        : this.memory.load8(address);
  }

  writeLinear(linear: number, width: number, value: number): void {
    const address = this.physical(linear, 2);
    if (width === 4) this.memory.store32(address, value);
    else if (width === 2) this.memory.store16(address, value);
    else this.memory.store8(address, value);
  }

  probeLinear(linear: number): void {
    this.physical(linear, 2);
  }

  private physical(linear: number, access: number): number {
    return this.vmx.translate(linear, access, linear, false) + (linear & 0xfff);
  }
}
