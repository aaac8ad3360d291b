/**
 * VMX operation: what the VMX instructions do when the hypervisor, the root mode, executes them (SDM chapter 31), and the
 * snapshot of it all. Edition: see fields.ts.
 */

import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { PHYSICAL_ADDRESS_END, VMCS_REVISION } from "./capabilities.ts";
import { isEptPointer } from "./check-controls.ts";
import { TYPE_EXIT_INFORMATION, VMCS, VMCS_WORDS, type VmcsField, vmcsField, WIDTH_64 } from "./fields.ts";
import {
  INVALID_INVALIDATION,
  READ_ONLY_COMPONENT,
  UNSUPPORTED_COMPONENT,
  VM_FAIL_INVALID,
  VM_FAIL_VALID,
  VM_SUCCEED,
  VMCLEAR_INVALID_ADDRESS,
  VMCLEAR_VMXON_POINTER,
  VMPTRLD_INVALID_ADDRESS,
  VMPTRLD_VMXON_POINTER,
  VMPTRLD_WRONG_REVISION,
  VMXON_IN_ROOT,
  type VmxResult,
} from "./results.ts";
import { Transitions } from "./transitions.ts";
import { LAUNCH_STATE_OFFSET } from "./vmcs.ts";

export * from "./results.ts";

/** By encoding, the word that VMREAD returns as it is; −1 for live and 64-bit fields, for RFLAGS and for what is no field. */
const PLAIN_WORDS = Int16Array.from({ length: 1 << 15 }, (_, encoding) => {
  const field = vmcsField(encoding);
  const plain = field !== undefined && field.live < 0 && field.width !== WIDTH_64 && encoding !== VMCS.GUEST_RFLAGS;
  return plain ? field.word : -1;
});

export interface VmxState {
  readonly version: 1;
  /** −1: not in VMX operation. */
  vmxonPointer: number;
  pointer: number;
  launched: boolean;
  due: number;
  rflagsReservedWrong: boolean;
  /** The current VMCS's data, 32-bit words in little-endian bytes. */
  words: Uint8Array;
  rootEfer: number;
  rootPat: number[];
  nmiPending: boolean;
  tlbVpid: number;
  tlbRoot: number;
}

export class VmxOperation extends Transitions implements Snapshotable<VmxState> {
  private vmxonPointer = -1;

  /** Enters VMX operation; `region` is the physical address of a page that begins with the revision identifier. */
  vmxon(region: number): VmxResult {
    if (this.vmxonPointer >= 0) return this.fail(VMXON_IN_ROOT);
    if (!isRegionAddress(region) || this.view.readHost32(region) !== VMCS_REVISION) return VM_FAIL_INVALID;
    this.vmxonPointer = region;
    return VM_SUCCEED;
  }

  vmxoff(): VmxResult {
    if (this.vmxonPointer < 0) return VM_FAIL_INVALID;
    this.storeCurrent();
    this.vmcs.pointer = -1;
    this.vmxonPointer = -1;
    return VM_SUCCEED;
  }

  /** Writes the VMCS back to its region, in the clear launch state; it is current no longer. */
  vmclear(region: number): VmxResult {
    if (this.vmxonPointer < 0) return VM_FAIL_INVALID;
    if (!isRegionAddress(region)) return this.fail(VMCLEAR_INVALID_ADDRESS);
    if (region === this.vmxonPointer) return this.fail(VMCLEAR_VMXON_POINTER);
    if (region === this.vmcs.pointer) {
      this.storeCurrent();
      this.vmcs.pointer = -1;
    }
    this.writeRegion(region + LAUNCH_STATE_OFFSET, 0);
    return VM_SUCCEED;
  }

  vmptrld(region: number): VmxResult {
    if (this.vmxonPointer < 0) return VM_FAIL_INVALID;
    if (!isRegionAddress(region)) return this.fail(VMPTRLD_INVALID_ADDRESS);
    if (region === this.vmxonPointer) return this.fail(VMPTRLD_VMXON_POINTER);
    if (this.view.readHost32(region) !== VMCS_REVISION) return this.fail(VMPTRLD_WRONG_REVISION);
    if (region === this.vmcs.pointer) return VM_SUCCEED;
    this.storeCurrent();
    this.vmcs.load(this.core.memory, region);
    return VM_SUCCEED;
  }

  /** The current-VMCS pointer, −1 for none. */
  vmptrst(): number {
    return this.vmcs.pointer;
  }

  /**
   * A field by its encoding (fields.ts), high halves of 64-bit fields included; −1 on failure. Values of 64-bit fields are exact
   * below 2^53; {@link vmread64} has all bits.
   */
  vmread(encoding: number): number {
    const { vmcs } = this;
    const word = PLAIN_WORDS[encoding] ?? -1;
    if (word >= 0 && vmcs.pointer >= 0) return vmcs.word(word);
    const field = vmcsField(encoding);
    if (field !== undefined && vmcs.pointer >= 0) {
      const low = vmcs.low(field);
      return field.width === WIDTH_64 ? vmcs.high(field) * 0x1_0000_0000 + low : low;
    }
    const full = this.halfOf(encoding);
    return full === undefined ? -1 : vmcs.high(full);
  }

  /** As {@link vmread}, as an unsigned 64-bit BigInt; −1n on failure. */
  vmread64(encoding: number): bigint {
    const field = vmcsField(encoding);
    if (field === undefined || this.vmcs.pointer < 0) return BigInt(this.vmread(encoding));
    return (BigInt(this.vmcs.high(field)) << 32n) | BigInt(this.vmcs.low(field));
  }

  /** Bits of `value` beyond the field's width are ignored. 64-bit values above 2^53 and negative ones come as BigInt. */
  vmwrite(encoding: number, value: number | bigint): VmxResult {
    const { vmcs } = this;
    if (vmcs.pointer < 0) return VM_FAIL_INVALID;
    const field = vmcsField(encoding);
    if (field === undefined) return this.writeHalf(encoding, value);
    if (field.type === TYPE_EXIT_INFORMATION) return this.fail(READ_ONLY_COMPONENT);
    if (typeof value === "number") {
      vmcs.setLow(field, value % 0x1_0000_0000);
      if (field.width === WIDTH_64) vmcs.setHigh(field, Math.floor(value / 0x1_0000_0000));
    } else {
      vmcs.setLow(field, Number(value & 0xffff_ffffn));
      if (field.width === WIDTH_64) vmcs.setHigh(field, Number((value >> 32n) & 0xffff_ffffn));
    }
    return VM_SUCCEED;
  }

  /** Enters non-root operation for the first time since VMCLEAR; otherwise as {@link vmresume}. */
  vmlaunch(budget: number): VmxResult {
    return this.enter(budget, true);
  }

  /**
   * Enters non-root operation and runs the guest until a VM exit, which comes as an external interrupt when `budget` (≥ 1)
   * instructions have retired. VM_SUCCEED: the exit-information fields tell of the exit, or with bit 31 of the exit reason of a
   * failed entry. VM_FAIL_VALID: controls or host state are invalid. {@link failedCheck} names the broken rule.
   */
  vmresume(budget: number): VmxResult {
    return this.enter(budget, false);
  }

  /** Type 1: translations of the EPT pointer `eptp`; type 2: of all. */
  invept(type: number, eptp: number): VmxResult {
    if (this.vmxonPointer < 0) return VM_FAIL_INVALID;
    const valid =
      type === 2 || (type === 1 && eptp < 2 ** 53 && isEptPointer(eptp >>> 0, Math.floor(eptp / 0x1_0000_0000)));
    if (!valid) return this.fail(INVALID_INVALIDATION);
    this.core.flushTlb(true);
    return VM_SUCCEED;
  }

  /** Type 0: one address; 1: one VPID; 2: all VPIDs; 3: one VPID but for its global pages. The TLB holds one VPID at a time. */
  invvpid(type: number, vpid: number, linear: number): VmxResult {
    if (this.vmxonPointer < 0) return VM_FAIL_INVALID;
    const valid = type >= 0 && type <= 3 && vpid >= 0 && vpid <= 0xffff && (type === 2 || vpid !== 0);
    if (!valid) return this.fail(INVALID_INVALIDATION);
    if (type !== 2 && vpid !== this.tlbVpid) return VM_SUCCEED;
    if (type === 0) this.core.invalidatePage(linear);
    else this.core.flushTlb(type !== 3);
    return VM_SUCCEED;
  }

  /** A physical NMI arrives. It is taken at an instruction boundary in non-root operation. */
  signalNmi(): void {
    this.loop.nmiPending = true;
  }

  save(): VmxState {
    const { vmcs } = this;
    const words = new Uint8Array(4 * VMCS_WORDS);
    const bytes = new DataView(words.buffer);
    for (let word = 0; word < VMCS_WORDS; word++) bytes.setUint32(4 * word, vmcs.word(word), true);
    return {
      version: 1,
      vmxonPointer: this.vmxonPointer,
      pointer: vmcs.pointer,
      launched: vmcs.launched,
      due: vmcs.due,
      rflagsReservedWrong: vmcs.rflagsReservedWrong,
      words,
      rootEfer: this.rootEfer,
      rootPat: [...this.rootPat],
      nmiPending: this.loop.nmiPending,
      tlbVpid: this.tlbVpid,
      tlbRoot: this.tlbRoot,
    };
  }

  load(state: VmxState): void {
    const { vmcs } = this;
    if (state.words.length !== 4 * VMCS_WORDS || state.rootPat.length !== 2) {
      throw new InputError(`VMCS data of ${state.words.length} bytes`, "snapshot of VMX");
    }
    const bytes = new DataView(state.words.buffer, state.words.byteOffset, state.words.length);
    for (let word = 0; word < VMCS_WORDS; word++) vmcs.words[word] = bytes.getUint32(4 * word, true);
    this.vmxonPointer = state.vmxonPointer;
    vmcs.pointer = state.pointer;
    vmcs.launched = state.launched;
    vmcs.rflagsReservedWrong = state.rflagsReservedWrong;
    // The decoded controls are no state: they follow from the fields.
    this.decodeControls();
    vmcs.due = state.due;
    this.rootEfer = state.rootEfer;
    this.rootPat[0] = state.rootPat[0] ?? 0;
    this.rootPat[1] = state.rootPat[1] ?? 0;
    this.loop.nmiPending = state.nmiPending;
    this.tlbVpid = state.tlbVpid;
    this.tlbRoot = state.tlbRoot;
  }

  /** The 64-bit field whose high half `encoding` names; without it the failure is recorded. */
  private halfOf(encoding: number): VmcsField | undefined {
    const field = (encoding & 1) === 1 ? vmcsField(encoding - 1) : undefined;
    if (field?.width === WIDTH_64 && this.vmcs.pointer >= 0) return field;
    this.fail(UNSUPPORTED_COMPONENT);
    return undefined;
  }

  private writeHalf(encoding: number, value: number | bigint): VmxResult {
    const field = this.halfOf(encoding);
    if (field === undefined) return VM_FAIL_VALID;
    if (field.type === TYPE_EXIT_INFORMATION) return this.fail(READ_ONLY_COMPONENT);
    this.vmcs.setHigh(field, Number(BigInt(value) & 0xffff_ffffn));
    return VM_SUCCEED;
  }

  private storeCurrent(): void {
    if (this.vmcs.pointer >= 0) this.vmcs.store(this.core.memory);
  }
}

/** Page-aligned and within the physical-address width (SDM §31.3, VMPTRLD). */
function isRegionAddress(address: number): boolean {
  return address >= 0 && address < PHYSICAL_ADDRESS_END && address % 4096 === 0;
}
