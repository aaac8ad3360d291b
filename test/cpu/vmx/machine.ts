/** The real processor with a small guest in it, for stories about entries and exits. */

import { Processor } from "../../../src/cpu/processor.ts";
import { ESP } from "../../../src/cpu/state.ts";
import { describeExit, type ExitRecord } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS, type VmcsFieldName } from "../../../src/cpu/vmx/fields.ts";
import { VM_SUCCEED } from "../../../src/cpu/vmx/operation.ts";
import { type Fields, flatGuest, prepareMemory, VMCS_REGION, VMXON_REGION, writeGuest } from "./guest.ts";

export const CODE = 0x1_0000;
export const GDT = 0x8000;
export const IDT = 0x9000;
export const HANDLER = 0x1_8000;
export const STACK = 0x7_0000;
const RAM_BYTES = 4 << 20;

export class GuestMachine {
  /** One tick of the TSC for each instruction. */
  readonly cpu: Processor;
  private launched = false;

  constructor(code: readonly number[], changes: Fields = {}) {
    this.cpu = new Processor({
      ramBytes: RAM_BYTES,
      platform: {
        readTsc: () => BigInt(this.cpu.retired),
        instructionsUntilTsc: (tsc) => Math.max(0, Number(tsc) - this.cpu.retired),
        portRead: () => 0xffff_ffff,
        portWrite: () => {},
      },
    });
    const { memory, vmx } = this.cpu;
    prepareMemory(memory);
    memory.write(CODE, Uint8Array.from(code));
    this.describe(0x08, 0xffff, 0x00cf_9b00);
    this.describe(0x10, 0xffff, 0x00cf_9300);
    vmx.vmxon(VMXON_REGION);
    vmx.vmclear(VMCS_REGION);
    vmx.vmptrld(VMCS_REGION);
    writeGuest(vmx, {
      ...flatGuest(),
      GUEST_RIP: CODE,
      GUEST_RSP: STACK,
      GUEST_GDTR_BASE: GDT,
      GUEST_GDTR_LIMIT: 0xff,
      GUEST_IDTR_BASE: IDT,
      GUEST_IDTR_LIMIT: 0x7ff,
      ...changes,
    });
  }

  /** Puts code at an address. */
  at(address: number, ...code: number[]): this {
    this.cpu.memory.write(address, Uint8Array.from(code));
    return this;
  }

  /** An interrupt gate (or with 0x8f a trap gate) at `vector`. */
  gate(vector: number, offset = HANDLER, rights = 0x8e): this {
    this.cpu.memory.store32(IDT + 8 * vector, 0x0008_0000 | (offset & 0xffff));
    this.cpu.memory.store32(IDT + 8 * vector + 4, (offset & 0xffff_0000) | (rights << 8));
    return this;
  }

  describe(selector: number, low: number, high: number): void {
    this.cpu.memory.store32(GDT + selector, low);
    this.cpu.memory.store32(GDT + selector + 4, high);
  }

  write(fields: Fields): this {
    writeGuest(this.cpu.vmx, fields);
    return this;
  }

  read(name: VmcsFieldName): number {
    return this.cpu.vmx.vmread(VMCS[name]);
  }

  /** Enters until the next exit and answers it in words. */
  run(budget = 1000): string {
    const result = this.launched ? this.cpu.vmx.vmresume(budget) : this.cpu.vmx.vmlaunch(budget);
    if (result !== VM_SUCCEED) return `VMfail ${result} ${this.cpu.vmx.failedCheck?.rule ?? ""}`;
    this.launched = true;
    const record: ExitRecord = {
      reason: this.read("EXIT_REASON"),
      qualification: this.read("EXIT_QUALIFICATION"),
      interruption: this.read("EXIT_INTERRUPTION_INFORMATION"),
      vectoring: this.read("IDT_VECTORING_INFORMATION"),
    };
    return describeExit(record);
  }

  /** As the hypervisor does after emulating the instruction that exited. */
  skip(): this {
    this.write({ GUEST_RIP: this.read("GUEST_RIP") + this.read("EXIT_INSTRUCTION_LENGTH") });
    const shadows = this.read("GUEST_INTERRUPTIBILITY") & 3;
    if (shadows !== 0) this.write({ GUEST_INTERRUPTIBILITY: this.read("GUEST_INTERRUPTIBILITY") & ~3 });
    return this;
  }

  /** Words of the guest's stack from its top. */
  stack(count: number): number[] {
    const top = this.cpu.state.gpr(ESP);
    return Array.from({ length: count }, (_, index) => this.cpu.memory.load32(top + 4 * index));
  }
}
