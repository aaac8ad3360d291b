/** VMCS fields as the VM-entry checks read them, and the form of a check. */

import { BEYOND_WIDTH_HIGH } from "./capabilities.ts";
import type { VmxControls } from "./controls.ts";
import type { HostMemory } from "./core.ts";
import { INTERRUPTION_VALID } from "./exit-reasons.ts";
import { VMCS, vmcsField } from "./fields.ts";
import type { Vmcs } from "./vmcs.ts";

/** A rule of SDM §27.2 or §27.3. */
export interface EntryCheck {
  /** Section of the SDM. */
  readonly section: string;
  /** What must hold, in the manual's terms. */
  readonly rule: string;
  readonly holds: (view: EntryView) => boolean;
  /** Exit qualification when a guest-state check fails; 0 unless given. */
  readonly qualification?: number;
}

export class EntryView {
  readonly vmcs: Vmcs;
  readonly controls: VmxControls;
  readonly memory: HostMemory;

  constructor(vmcs: Vmcs, controls: VmxControls, memory: HostMemory) {
    this.vmcs = vmcs;
    this.controls = controls;
    this.memory = memory;
  }

  /** Bits 31:0 of the field with this encoding. */
  low(encoding: number): number {
    const field = vmcsField(encoding);
    return field === undefined ? 0 : this.vmcs.low(field);
  }

  /** Bits 63:32 of the field with this encoding. */
  high(encoding: number): number {
    const field = vmcsField(encoding);
    return field === undefined ? 0 : this.vmcs.high(field);
  }

  /** A physical address as a number; exact, since widths above 53 bits fail {@link withinWidth} first. */
  address(encoding: number): number {
    return this.high(encoding) * 0x1_0000_0000 + this.low(encoding);
  }

  withinWidth(encoding: number): boolean {
    return (this.high(encoding) & BEYOND_WIDTH_HIGH) === 0;
  }

  /** A physical address whose bits below `alignment` and beyond the physical-address width are 0. */
  isAddress(encoding: number, alignment: number): boolean {
    return (this.low(encoding) & (alignment - 1)) === 0 && this.withinWidth(encoding);
  }

  /** The event to inject, or 0. */
  get injection(): number {
    const information = this.low(VMCS.ENTRY_INTERRUPTION_INFORMATION);
    return (information & INTERRUPTION_VALID) !== 0 ? information : 0;
  }

  get injectionType(): number {
    return (this.low(VMCS.ENTRY_INTERRUPTION_INFORMATION) >>> 8) & 7;
  }

  get injectionVector(): number {
    return this.low(VMCS.ENTRY_INTERRUPTION_INFORMATION) & 0xff;
  }

  readHost32(address: number): number {
    return address + 4 <= this.memory.size ? this.memory.load32(address) : 0xffff_ffff;
  }
}

/** PAT memory types: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB, 7 UC− (SDM §12.12.2). */
const PAT_TYPES = 0b1111_0011;

/** All four PAT entries of a word are memory types. */
export function isPatWord(word: number): boolean {
  for (let shift = 0; shift < 32; shift += 8) {
    const type = (word >>> shift) & 0xff;
    if (type > 7 || ((PAT_TYPES >>> type) & 1) === 0) return false;
  }
  return true;
}
