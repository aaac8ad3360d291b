// Part: shared_info and vcpu_info (xen.h) as the hypervisor reads and writes them, with the two-level event bits.
// Two-level events: a set bit in evtchn_pending that is clear in evtchn_mask raises its word's bit in the vCPU's
// evtchn_pending_sel and the vCPU's evtchn_upcall_pending. The guest clears them; each step here acts on 0 → 1 only.

import { type GuestMemory, PAGE_SHIFT } from "../core/memory.ts";
import { SHARED_INFO, VCPU_INFO, VCPU_TIME_INFO } from "./abi/structures.ts";

const SHARED = SHARED_INFO.layouts.x86_32;
const VCPU = VCPU_INFO.layouts.x86_32;
const TIME = VCPU_TIME_INFO.layouts.x86_32;
const WORD_BITS = 32;

/** Event channels of the two-level ABI for a 32-bit guest (EVTCHN_2L_NR_CHANNELS). */
export const PORTS_2L = WORD_BITS * WORD_BITS;

/** Host-physical address of a vCPU's vcpu_info in its default place. */
export function defaultVcpuInfo(sharedInfoFrame: number, vcpu: number): number {
  return (sharedInfoFrame << PAGE_SHIFT) + SHARED.offset.vcpu_info + vcpu * VCPU.size;
}

export const VCPU_INFO_SIZE: number = VCPU.size;

export class SharedInfo {
  readonly #memory: GuestMemory;
  readonly #base: number;

  constructor(memory: GuestMemory, frame: number) {
    this.#memory = memory;
    this.#base = frame << PAGE_SHIFT;
  }

  pending(port: number): boolean {
    return this.#test(SHARED.offset.evtchn_pending, port);
  }

  masked(port: number): boolean {
    return this.#test(SHARED.offset.evtchn_mask, port);
  }

  /** True when the bit was clear before. */
  setPending(port: number): boolean {
    return this.#change(SHARED.offset.evtchn_pending, port, true);
  }

  clearPending(port: number): void {
    this.#change(SHARED.offset.evtchn_pending, port, false);
  }

  setMask(port: number): void {
    this.#change(SHARED.offset.evtchn_mask, port, true);
  }

  /** True when the bit was set before. */
  clearMask(port: number): boolean {
    return this.#change(SHARED.offset.evtchn_mask, port, false);
  }

  /** Raises a port's selector bit; true when it was clear before. `vcpuInfo` is a host-physical address. */
  select(vcpuInfo: number, port: number): boolean {
    const address = vcpuInfo + VCPU.offset.evtchn_pending_sel;
    const word = this.#memory.load32(address);
    const bit = 1 << (port >>> 5);
    if ((word & bit) !== 0) return false;
    this.#memory.store32(address, (word | bit) >>> 0);
    return true;
  }

  /** Everything pending: what Xen leaves in a vcpu_info that has moved, so that no event is lost. */
  selectAll(vcpuInfo: number): void {
    this.#memory.store32(vcpuInfo + VCPU.offset.evtchn_pending_sel, 0xffff_ffff);
  }

  upcallPending(vcpuInfo: number): boolean {
    return this.#memory.load8(vcpuInfo + VCPU.offset.evtchn_upcall_pending) !== 0;
  }

  /** True when it was clear before. */
  raiseUpcall(vcpuInfo: number): boolean {
    if (this.upcallPending(vcpuInfo)) return false;
    this.#memory.store8(vcpuInfo + VCPU.offset.evtchn_upcall_pending, 1);
    return true;
  }

  clearUpcallMask(vcpuInfo: number): void {
    this.#memory.store8(vcpuInfo + VCPU.offset.evtchn_upcall_mask, 0);
  }

  /** What a guest does at an upcall: acknowledges every pending port that is not masked, and calls back for it (Linux's evtchn_2l_handle_events). */
  takeEvents(vcpuInfo: number, handle: (port: number) => void): void {
    this.#memory.store8(vcpuInfo + VCPU.offset.evtchn_upcall_pending, 0);
    const selector = this.#memory.load32(vcpuInfo + VCPU.offset.evtchn_pending_sel);
    this.#memory.store32(vcpuInfo + VCPU.offset.evtchn_pending_sel, 0);
    for (let words = selector; words !== 0; words &= words - 1) {
      const word = 31 - Math.clz32(words & -words);
      const base = this.#base + 4 * word;
      const pending = this.#memory.load32(base + SHARED.offset.evtchn_pending);
      const open = pending & ~this.#memory.load32(base + SHARED.offset.evtchn_mask);
      for (let bits = open; bits !== 0; bits &= bits - 1) {
        const port = word * WORD_BITS + 31 - Math.clz32(bits & -bits);
        this.clearPending(port);
        handle(port);
      }
    }
  }

  /** Writes vcpu_time_info by its version protocol: odd while the values change. */
  setTime(
    vcpuInfo: number,
    tsc: bigint,
    systemTimeNs: number,
    scale: { readonly mul: number; readonly shift: number },
  ): void {
    const base = vcpuInfo + VCPU.offset.time;
    const version = this.#memory.load32(base + TIME.offset.version);
    this.#memory.store32(base + TIME.offset.version, (version | 1) >>> 0);
    this.#store64(base + TIME.offset.tsc_timestamp, tsc);
    this.#store64(base + TIME.offset.system_time, BigInt(systemTimeNs));
    this.#memory.store32(base + TIME.offset.tsc_to_system_mul, scale.mul);
    this.#memory.store8(base + TIME.offset.tsc_shift, scale.shift & 0xff);
    this.#memory.store32(base + TIME.offset.version, ((version | 1) + 1) >>> 0);
  }

  /** Wall clock at system time 0. */
  setWallClock(seconds: number, nanoseconds: number): void {
    const version = this.#memory.load32(this.#base + SHARED.offset.wc_version);
    this.#memory.store32(this.#base + SHARED.offset.wc_version, (version | 1) >>> 0);
    this.#memory.store32(this.#base + SHARED.offset.wc_sec, seconds % 2 ** 32);
    this.#memory.store32(this.#base + SHARED.offset.wc_nsec, nanoseconds);
    // i386: wc_sec_hi is the last word of arch_shared_info.
    this.#memory.store32(this.#base + SHARED.offset.arch + 6 * 4, Math.floor(seconds / 2 ** 32));
    this.#memory.store32(this.#base + SHARED.offset.wc_version, ((version | 1) + 1) >>> 0);
  }

  #test(array: number, port: number): boolean {
    return ((this.#memory.load32(this.#base + array + (port >>> 5) * 4) >>> (port & 31)) & 1) === 1;
  }

  /** True when the bit changed. */
  #change(array: number, port: number, value: boolean): boolean {
    const address = this.#base + array + (port >>> 5) * 4;
    const word = this.#memory.load32(address);
    const bit = 1 << (port & 31);
    const changed = ((word & bit) === 0) === value;
    if (changed) this.#memory.store32(address, (word ^ bit) >>> 0);
    return changed;
  }

  #store64(address: number, value: bigint): void {
    this.#memory.store32(address, Number(value & 0xffff_ffffn));
    this.#memory.store32(address + 4, Number((value >> 32n) & 0xffff_ffffn));
  }
}
