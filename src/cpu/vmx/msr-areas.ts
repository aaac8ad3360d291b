/**
 * The MSR areas: lists of registers that VM entries load and VM exits store and load (SDM §25.7.2, §25.8.2, §27.4, §28.4,
 * §28.6). 16 bytes an entry: index, reserved word, value. Edition: see fields.ts.
 */

import { IA32_TIME_STAMP_COUNTER, MSRS } from "../system/msr.ts";
import type { VmxCore } from "./core.ts";

const ENTRY_SIZE = 16;
/** Registers that the lists may not name: x2APIC registers, SMM monitor control, SMBASE, microcode update (SDM §27.4). */
const X2APIC = 0x8;
const FORBIDDEN: ReadonlySet<number> = new Set([0x79, 0x8b, 0x9b, 0x9e, 0xc000_0100, 0xc000_0101]);

export class MsrAreas {
  private readonly core: VmxCore;

  constructor(core: VmxCore) {
    this.core = core;
  }

  /** Loads `count` registers; 0, or the number (from 1) of the entry that failed. */
  load(address: number, count: number): number {
    const { state } = this.core;
    for (let number = 1; number <= count; number++) {
      const entry = address + (number - 1) * ENTRY_SIZE;
      const msr = this.register(entry);
      const value = (BigInt(this.read(entry + 12)) << 32n) | BigInt(this.read(entry + 8));
      if (msr === undefined || !msr.valid(value)) return number;
      state.set64(msr.slot, value);
    }
    return 0;
  }

  /** As {@link load}, for registers of the root mode: their values are checked, and nothing in root mode reads them. */
  check(address: number, count: number): number {
    for (let number = 1; number <= count; number++) {
      const entry = address + (number - 1) * ENTRY_SIZE;
      const value = (BigInt(this.read(entry + 12)) << 32n) | BigInt(this.read(entry + 8));
      if (this.register(entry)?.valid(value) !== true) return number;
    }
    return 0;
  }

  /** Stores `count` registers; 0, or the number of the entry that failed. */
  store(address: number, count: number): number {
    const { state, platform } = this.core;
    for (let number = 1; number <= count; number++) {
      const entry = address + (number - 1) * ENTRY_SIZE;
      const msr = this.register(entry);
      const timeStamp = this.read(entry) === IA32_TIME_STAMP_COUNTER && this.read(entry + 4) === 0;
      if (msr === undefined && !timeStamp) return number;
      const value = msr === undefined ? platform.readTsc() : state.get64(msr.slot);
      this.write(entry + 8, Number(value & 0xffff_ffffn));
      this.write(entry + 12, Number((value >> 32n) & 0xffff_ffffn));
    }
    return 0;
  }

  /** The register that an entry names, unless the manual forbids it or there is none. */
  private register(entry: number) {
    const index = this.read(entry);
    if (index >>> 8 === X2APIC || FORBIDDEN.has(index) || this.read(entry + 4) !== 0) return undefined;
    return MSRS.find((msr) => msr.index === index);
  }

  private read(address: number): number {
    return address + 4 <= this.core.memory.size ? this.core.memory.load32(address) : 0xffff_ffff;
  }

  private write(address: number, value: number): void {
    if (address + 4 <= this.core.memory.size) this.core.memory.store32(address, value);
  }
}
