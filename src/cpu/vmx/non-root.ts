/**
 * VMX non-root operation: which instructions, exceptions and accesses exit, and what an exit leaves in the VMCS
 * (SDM chapter 26 and §28.2). Edition: see fields.ts.
 */

import { BLOCKING_BY_NMI } from "../state.ts";
import { noControls, type VmxControls } from "./controls.ts";
import type { VmxCore } from "./core.ts";
import { EPT_MISCONFIGURED, Ept } from "./ept.ts";
import {
  EPT_FINAL_TRANSLATION,
  EPT_LINEAR_VALID,
  EPT_PERMISSIONS_SHIFT,
  EXIT,
  HARDWARE_EXCEPTION,
  INTERRUPTION_ERROR_CODE,
  INTERRUPTION_VALID,
  NMI_UNBLOCKING_BY_IRET,
} from "./exit-reasons.ts";
import { VMCS, wordOf } from "./fields.ts";
import { ACCESS_WRITE, EMULATED, EXITED, type ExitFields, OPEN_BUS, VmExitSignal, type Vmx } from "./intercepts.ts";
import { Vmcs } from "./vmcs.ts";

const REASON = wordOf(VMCS.EXIT_REASON);
const QUALIFICATION = wordOf(VMCS.EXIT_QUALIFICATION);
const INTERRUPTION = wordOf(VMCS.EXIT_INTERRUPTION_INFORMATION);
const INTERRUPTION_ERROR = wordOf(VMCS.EXIT_INTERRUPTION_ERROR_CODE);
const INSTRUCTION_INFORMATION = wordOf(VMCS.EXIT_INSTRUCTION_INFORMATION);
const LINEAR = wordOf(VMCS.GUEST_LINEAR_ADDRESS);
const PHYSICAL = wordOf(VMCS.GUEST_PHYSICAL_ADDRESS);

const PAGE_FAULT = 14;
const DB = 1;
/** The I/O bitmaps: ports 0 to 7FFFH in A, the rest in B (SDM §25.6.4). */
const IO_BITMAP_B_FIRST = 0x8000;
const LAST_PORT = 0xffff;
/** The MSR bitmap's quarters: reads of low and high MSRs, writes of low and high MSRs (SDM §25.6.9). */
const MSR_BITMAP_RANGE = 0x2000;
const MSR_BITMAP_HIGH_FIRST = 0xc000_0000;
const MSR_BITMAP_HIGH_OFFSET = 1024;
const MSR_BITMAP_WRITE_OFFSET = 2048;

export class NonRoot implements Vmx {
  readonly controls: VmxControls = noControls();
  readonly vmcs: Vmcs;
  emulating = false;
  eptPermissions = 0;
  vectoring = 0;
  vectoringErrorCode = 0;
  vectoringLength = 0;
  /** Bytes of the instruction that an exit due to a software exception reports; else 0. */
  softwareLength = 0;
  private exitTaken = true;
  readonly signal: VmExitSignal = new VmExitSignal();
  protected readonly core: VmxCore;
  private readonly ept: Ept;
  /** `core.retired` when an IRET last removed NMI blocking: exits of that very IRET say so. */
  private nmiUnblockedAt = -1;

  constructor(core: VmxCore) {
    this.core = core;
    this.vmcs = new Vmcs(core.state);
    this.ept = new Ept(core.memory);
  }

  beginDelivery(type: number, vector: number, errorCode: number, instructionLength: number): void {
    const error = errorCode >= 0 ? INTERRUPTION_ERROR_CODE : 0;
    this.vectoring = (INTERRUPTION_VALID | error | (type << 8) | vector) >>> 0;
    this.vectoringErrorCode = errorCode >= 0 ? errorCode : 0;
    this.vectoringLength = instructionLength;
  }

  endDelivery(): void {
    this.vectoring = 0;
  }

  exit(reason: number, qualification = 0, fields?: ExitFields): VmExitSignal {
    this.exitTaken = false;
    // An instruction that the hypervisor emulates is not in non-root operation: it stays unhandled, the last exit stands.
    if (this.emulating) return this.signal;
    const { words } = this.vmcs;
    words[REASON] = reason;
    words[QUALIFICATION] = qualification;
    words[INTERRUPTION] = 0;
    words[INSTRUCTION_INFORMATION] = fields?.instructionInformation ?? 0;
    words[LINEAR] = fields?.guestLinear ?? 0;
    this.setGuestPhysical(fields?.guestPhysical ?? 0);
    this.softwareLength = 0;
    return this.signal;
  }

  takeExit(): boolean {
    if (this.exitTaken) return false;
    this.exitTaken = true;
    return true;
  }

  ioExits(port: number, width: number): boolean {
    const { controls } = this;
    if (!controls.useIoBitmaps) return controls.unconditionalIoExiting;
    for (let accessed = port; accessed < port + width; accessed++) {
      // An access that wraps around the I/O address space always exits.
      if (accessed > LAST_PORT) return true;
      const bitmap = accessed < IO_BITMAP_B_FIRST ? controls.ioBitmapA : controls.ioBitmapB;
      if (this.bitmapBit(bitmap, accessed & (IO_BITMAP_B_FIRST - 1))) return true;
    }
    return false;
  }

  msrExits(index: number, write: boolean): boolean {
    if (!this.controls.useMsrBitmaps) return true;
    const high = index >= MSR_BITMAP_HIGH_FIRST;
    const bit = high ? index - MSR_BITMAP_HIGH_FIRST : index;
    if (bit >= MSR_BITMAP_RANGE) return true;
    const quarter = (high ? MSR_BITMAP_HIGH_OFFSET : 0) + (write ? MSR_BITMAP_WRITE_OFFSET : 0);
    return this.bitmapBit(this.controls.msrBitmap + quarter, bit);
  }

  interceptException(
    vector: number,
    errorCode: number,
    address: number,
    type: number = HARDWARE_EXCEPTION,
    instructionLength = 0,
  ): void {
    if (this.exceptionExits(vector, errorCode)) {
      throw this.exceptionExit(vector, errorCode, address, type, instructionLength);
    }
  }

  /** Whether the exception bitmap, for #PF with the error-code mask and match, asks for an exit (SDM §26.2, §25.6.3). */
  exceptionExits(vector: number, errorCode: number): boolean {
    const { controls } = this;
    const bit = ((controls.exceptionBitmap >>> vector) & 1) === 1;
    if (vector !== PAGE_FAULT) return bit;
    const matches = (errorCode & controls.pageFaultErrorMask) === controls.pageFaultErrorMatch;
    return matches === bit;
  }

  /** The exit of an exception or NMI: interruption information with the event as it would have been delivered. */
  exceptionExit(
    vector: number,
    errorCode: number,
    address: number,
    type: number,
    instructionLength: number,
  ): VmExitSignal {
    const signal = this.exit(EXIT.EXCEPTION_OR_NMI, vector === PAGE_FAULT || vector === DB ? address : 0);
    if (this.emulating) return signal;
    const { words } = this.vmcs;
    const error = errorCode >= 0 ? INTERRUPTION_ERROR_CODE : 0;
    const unblocking = this.nmiUnblocking();
    words[INTERRUPTION] = INTERRUPTION_VALID | error | unblocking | (type << 8) | vector;
    words[INTERRUPTION_ERROR] = errorCode >= 0 ? errorCode : 0;
    this.softwareLength = instructionLength;
    return signal;
  }

  /** Sets the interruption information of an exit that is no exception (an acknowledged external interrupt). */
  setInterruption(information: number): void {
    this.vmcs.words[INTERRUPTION] = information;
  }

  unblockNmi(): void {
    if (this.controls.nmiExiting && !this.controls.virtualNmis) return;
    const { state } = this.core;
    if ((state.interruptibility & BLOCKING_BY_NMI) === 0) return;
    state.interruptibility &= ~BLOCKING_BY_NMI;
    this.nmiUnblockedAt = this.core.retired;
  }

  translate(guestPhysical: number, access: number, linear: number, duringWalk: boolean): number {
    const { controls } = this;
    if (!controls.eptEnabled) {
      this.eptPermissions = 7;
      return this.pageOrOpenBus(guestPhysical);
    }
    const flags = controls.eptAccessedDirty;
    // With accessed and dirty flags the walk's accesses count as writes (SDM §29.3.3.2).
    const wanted = duringWalk && flags ? access | ACCESS_WRITE : access;
    const address = this.ept.translate(controls.eptRoot, flags, guestPhysical, wanted);
    if (address >= 0) {
      this.eptPermissions = this.ept.permissions;
      return this.pageOrOpenBus(address);
    }
    this.eptPermissions = 0;
    if (this.emulating) return EMULATED;
    const signal =
      address === EPT_MISCONFIGURED
        ? this.eptExit(EXIT.EPT_MISCONFIGURATION, 0, guestPhysical, linear)
        : this.eptViolation(guestPhysical, wanted, linear, duringWalk);
    if (duringWalk) throw signal;
    return EXITED;
  }

  /** Whether the exit being recorded happened in an IRET that removed NMI blocking, as bit 12 (SDM §28.2.3). */
  private nmiUnblocking(): number {
    return this.nmiUnblockedAt === this.core.retired && this.vectoring === 0 ? NMI_UNBLOCKING_BY_IRET : 0;
  }

  private eptViolation(guestPhysical: number, access: number, linear: number, duringWalk: boolean): VmExitSignal {
    const valid = linear >= 0 ? EPT_LINEAR_VALID | (duringWalk ? 0 : EPT_FINAL_TRANSLATION) : 0;
    const qualification = access | (this.ept.permissions << EPT_PERMISSIONS_SHIFT) | valid | this.nmiUnblocking();
    return this.eptExit(EXIT.EPT_VIOLATION, qualification, guestPhysical, linear);
  }

  private eptExit(reason: number, qualification: number, guestPhysical: number, linear: number): VmExitSignal {
    const signal = this.exit(reason, qualification);
    this.vmcs.words[LINEAR] = linear >= 0 ? linear : 0;
    this.setGuestPhysical(guestPhysical);
    return signal;
  }

  private setGuestPhysical(address: number): void {
    // Words take a number modulo 2^32.
    this.vmcs.words[PHYSICAL] = address;
    this.vmcs.words[PHYSICAL + 1] = Math.floor(address / 0x1_0000_0000);
  }

  private pageOrOpenBus(address: number): number {
    const page = address - (address % 4096);
    return page < this.core.memory.size ? page : OPEN_BUS;
  }

  private bitmapBit(bitmap: number, bit: number): boolean {
    const address = bitmap + (bit >>> 3);
    const byte = address < this.core.memory.size ? this.core.memory.load8(address) : 0xff;
    return ((byte >>> (bit & 7)) & 1) === 1;
  }
}
