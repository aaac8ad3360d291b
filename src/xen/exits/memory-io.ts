// Part: instructions of HVM domains with operands in devices' memory (Xen: hvmemul_do_mmio, hvm/emulate.c). A device in the hypervisor answers
// at once. For the device model's the instruction stops at the access; after the answer it is executed again, with the results so far at hand,
// until none is missing: so each access is made once. Writes to the VGA window are buffered.

import type { AccessWidth } from "../../core/bus.ts";
import { PAGE_SIZE } from "../../core/memory.ts";
import { GP, PAGE_FAULT } from "../../cpu/context.ts";
import { OFFSET } from "../../cpu/state.ts";
import { IOREQ_H as R } from "../abi/constants.ts";
import { P2M_NONE, P2M_ROM_OVER_RAM } from "../p2m.ts";
import type { Platform } from "../platform.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import { request } from "./io-request.ts";

/** The frame buffer's window: Xen buffers its writes (arch/x86/hvm/stdvga.c). */
const VGA_START = 0xa_0000;
const VGA_END = 0xc_0000;

/** Ends an emulation whose answer is still missing. One object, so that no stack is collected. */
const MISSING = { reason: "an answer of the device model is missing" };

/** Executes the current instruction with its memory operands in devices. */
export function emulateMemory(host: HypervisorServices, vcpu: Vcpu): void {
  const { platform } = vcpu.domain;
  if (platform === undefined) return;
  const { pendingFault, state } = host.processor;
  const { io } = vcpu;
  const accesses = new MemoryAccesses(host, vcpu, platform);
  try {
    const result = host.processor.emulate(accesses);
    // What cannot be emulated is #GP(0), as in Xen.
    if (result === "unhandled") host.inject(vcpu, GP, 0);
    else if (result === "fault") {
      // An injected page fault does not set CR2 by itself (SDM Vol. 3 §27.6.1).
      if (pendingFault.vector === PAGE_FAULT) state.set(OFFSET.cr2, pendingFault.address);
      host.inject(vcpu, pendingFault.vector, pendingFault.errorCode);
    }
  } catch (error) {
    if (error !== MISSING) throw error;
    io.instruction = "memory";
    return;
  }
  io.accesses.length = 0;
}

/** The accesses of one execution of an instruction: those that have been made before answer as they did then. */
class MemoryAccesses {
  readonly #host: HypervisorServices;
  readonly #vcpu: Vcpu;
  readonly #platform: Platform;
  #made = 0;

  constructor(host: HypervisorServices, vcpu: Vcpu, platform: Platform) {
    this.#host = host;
    this.#vcpu = vcpu;
    this.#platform = platform;
  }

  read(address: number, width: number): number {
    const { accesses } = this.#vcpu.io;
    const index = this.#made++;
    const known = accesses[index];
    if (known !== undefined) return known;
    const value = this.#readNow(address, width as AccessWidth);
    accesses.push(value);
    return value;
  }

  write(address: number, width: number, value: number): void {
    const { accesses } = this.#vcpu.io;
    if (accesses[this.#made++] !== undefined) return;
    this.#writeNow(address, width as AccessWidth, value);
    accesses.push(0);
  }

  #readNow(address: number, width: AccessWidth): number {
    const { domain } = this.#vcpu;
    const gfn = Math.floor(address / PAGE_SIZE);
    // Of a page that may only be read, read in order to be written.
    if (domain.p2m.typeOf(gfn) !== P2M_NONE) return this.#readMemory(domain.p2m.frameOf(gfn), address, width);
    if (this.#platform.mmio.owns(address, width)) return this.#platform.mmio.read(address, width);
    return this.#ask(address, width, true, 0);
  }

  #readMemory(frame: number, address: number, width: AccessWidth): number {
    const { memory } = this.#host.processor;
    const at = frame * PAGE_SIZE + (address % PAGE_SIZE);
    return width === 1 ? memory.load8(at) : width === 2 ? memory.load16(at) : memory.load32(at);
  }

  #writeNow(address: number, width: AccessWidth, value: number): void {
    const vcpu = this.#vcpu;
    const type = vcpu.domain.p2m.typeOf(Math.floor(address / PAGE_SIZE));
    if (type === P2M_ROM_OVER_RAM) this.#writeBehind(address, width, value);
    // Other writes to read-only memory vanish.
    if (type !== P2M_NONE) return;
    if (this.#platform.mmio.owns(address, width)) {
      this.#platform.mmio.write(address, width, value);
      return;
    }
    const isVga = address >= VGA_START && address + width <= VGA_END;
    if (isVga && this.#platform.ioreqs.sendBuffered(vcpu, R.IOREQ_TYPE_COPY, address, width, value)) return;
    this.#ask(address, width, false, value);
  }

  #writeBehind(address: number, width: AccessWidth, value: number): void {
    const { memory } = this.#host.processor;
    const at = this.#platform.biosArea?.ramAt(address);
    if (at === undefined) return;
    if (width === 1) memory.store8(at, value);
    else if (width === 2) memory.store16(at, value);
    else memory.store32(at, value);
  }

  #ask(address: number, size: AccessWidth, read: boolean, data: number): never {
    const wanted = { type: R.IOREQ_TYPE_COPY, read, address, size, count: 1, data, pointer: false, down: false };
    request(this.#host, this.#vcpu, this.#platform, wanted);
    throw MISSING;
  }
}
