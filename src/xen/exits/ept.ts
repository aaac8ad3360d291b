// Part: EPT violations (SDM Vol. 3 table 28-7): guest-physical addresses without memory. The instruction emulator carries out the
// access against the machine's devices; where nobody answers, reads give all ones and writes vanish.

import { GP, PAGE_FAULT } from "../../cpu/context.ts";
import { OFFSET } from "../../cpu/state.ts";
import { EPT_WRITE } from "../../cpu/vmx/exit-reasons.ts";
import { P2M_GRANT_READ_ONLY } from "../p2m.ts";
import type { DeviceAccess, HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import type { ExitHandler } from "./exit.ts";
import { emulateMemory } from "./memory-io.ts";

type Width = 1 | 2 | 4;

const asMmio = (mmio: DeviceAccess) => ({
  read: (address: number, width: number): number => mmio.read(address, width as Width),
  write: (address: number, width: number, value: number): void => mmio.write(address, width as Width, value),
});

/** Carries out the current instruction in the hypervisor; what it cannot emulate is #GP(0), as in Xen. */
export function emulateInstruction(host: HypervisorServices, vcpu: Vcpu): void {
  const { pendingFault, state } = host.processor;
  const result = host.processor.emulate(asMmio(host.mmio));
  if (result === "done") return;
  if (result === "unhandled") {
    host.inject(vcpu, GP, 0);
    return;
  }
  // An injected page fault does not set CR2 by itself (SDM Vol. 3 §27.6.1).
  if (pendingFault.vector === PAGE_FAULT) state.set(OFFSET.cr2, pendingFault.address);
  host.inject(vcpu, pendingFault.vector, pendingFault.errorCode);
}

export const EPT_VIOLATION: ExitHandler = {
  handle(host, vcpu, exit) {
    const { domain } = vcpu;
    const address = `0x${exit.guestPhysical.toString(16)}`;
    // Delivering an event to where no memory is would repeat for ever.
    if (exit.vectoring >>> 31 === 1) return host.crash(domain, `event delivery touched ${address}, where no memory is`);
    const gfn = Math.floor(exit.guestPhysical / 4096);
    if ((exit.qualification & EPT_WRITE) !== 0 && domain.p2m.typeOf(gfn) === P2M_GRANT_READ_ONLY) {
      return host.inject(vcpu, GP, 0);
    }
    if (domain.platform === undefined) emulateInstruction(host, vcpu);
    else emulateMemory(host, vcpu);
  },
};
