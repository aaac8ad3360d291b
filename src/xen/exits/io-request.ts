// Part: what the handlers of I/O share: the exit qualification of I/O instructions, the request to the device model, the result of IN.

import type { AccessWidth } from "../../core/bus.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../../core/memory.ts";
import { EAX } from "../../cpu/state.ts";
import type { IoRequest } from "../ioreq.ts";
import type { Platform } from "../platform.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";

/** Exit qualification of I/O instructions (SDM Vol. 3 table 28-5). */
export const INPUT: number = 1 << 3;
export const STRING: number = 1 << 4;
export const REP: number = 1 << 5;
export const widthOf = (qualification: number): AccessWidth => ((qualification & 7) + 1) as AccessWidth;
export const portOf = (qualification: number): number => qualification >>> 16;

/** Host-physical address of a guest-physical one in the domain's own pages; −1 where none is, or none that may be written. */
export function hostAddress({ domain }: Vcpu, guestPhysical: number, write: boolean): number {
  if (guestPhysical < 0) return -1;
  const gfn = Math.floor(guestPhysical / PAGE_SIZE);
  const frame = domain.p2m.frameOf(gfn);
  if (frame < 0 || (write && !domain.p2m.writable(gfn))) return -1;
  return (frame << PAGE_SHIFT) + (guestPhysical % PAGE_SIZE);
}

/** Hands a request to the device model; a slot that the device model has left in disorder ends the domain, as in Xen. */
export function request(host: HypervisorServices, vcpu: Vcpu, platform: Platform, wanted: IoRequest): void {
  if (platform.ioreqs.send(vcpu, wanted)) return;
  host.crash(vcpu.domain, "the device model has left an I/O request in a wrong state");
}

/** EAX after IN: of 8 and 16 bits the upper ones stay, 32 bits replace all (SDM Vol. 2, IN). */
export function mergeInput(host: HypervisorServices, width: AccessWidth, value: number): void {
  const { state } = host.processor;
  if (width === 1) state.setGpr8(EAX, value & 0xff);
  else if (width === 2) state.setGpr16(EAX, value & 0xffff);
  else state.setGpr(EAX, value);
}
