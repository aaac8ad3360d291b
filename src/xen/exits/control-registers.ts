// Part: accesses to CR0 and CR4 that touch bits the hypervisor owns (SDM Vol. 3 table 28-3, §25.6.6). It owns what VMX operation
// fixes to one: CR0.NE and CR4.VMXE. The guest sees them as it wrote them, through the read shadows.

import { GP } from "../../cpu/context.ts";
import { CR0_NE, CR0_PE, CR0_PG, CR4_VMXE } from "../../cpu/state.ts";
import { CR4_FIXED1 } from "../../cpu/vmx/capabilities.ts";
import { CR_CLTS, CR_LMSW, CR_MOV_FROM, CR_MOV_TO } from "../../cpu/vmx/exit-reasons.ts";
import { VMCS } from "../../cpu/vmx/fields.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import type { ExitHandler } from "./exit.ts";

const CR0_RESERVED = 0x1ffa_ffc0;
const CR0_TS_BIT = 1 << 3;
const CR0_CACHE = (1 << 30) | (1 << 29);

/** Sets CR0 as MOV to CR0 does; false for a value that is #GP(0). */
function setCr0({ processor }: HypervisorServices, value: number): boolean {
  if ((value & CR0_PG) !== 0 && (value & CR0_PE) === 0) return false;
  // NW without CD.
  if ((value & CR0_CACHE) === 1 << 29) return false;
  const seen = (value & ~CR0_RESERVED) >>> 0;
  processor.vmx.vmwrite(VMCS.CR0_READ_SHADOW, seen);
  processor.vmx.vmwrite(VMCS.GUEST_CR0, (seen | CR0_NE) >>> 0);
  return true;
}

/** Sets CR4; VMX is not offered to guests. */
function setCr4({ processor }: HypervisorServices, value: number): boolean {
  if ((value & ~(CR4_FIXED1 & ~CR4_VMXE)) !== 0) return false;
  processor.vmx.vmwrite(VMCS.CR4_READ_SHADOW, value);
  processor.vmx.vmwrite(VMCS.GUEST_CR4, (value | CR4_VMXE) >>> 0);
  return true;
}

function finish(host: HypervisorServices, vcpu: Vcpu, done: boolean): void {
  if (done) host.skip(vcpu);
  else host.inject(vcpu, GP, 0);
}

export const CONTROL_REGISTER_ACCESS: ExitHandler = {
  value: (host, _vcpu, { qualification }) =>
    ((qualification >>> 4) & 3) === CR_MOV_TO ? host.processor.state.gpr((qualification >>> 8) & 7) : undefined,
  handle(host, vcpu, { qualification }) {
    const { state, vmx } = host.processor;
    const register = qualification & 15;
    const gpr = (qualification >>> 8) & 7;
    const seenCr0 = (state.cr0 & ~CR0_NE) | (vmx.vmread(VMCS.CR0_READ_SHADOW) & CR0_NE);
    switch ((qualification >>> 4) & 3) {
      case CR_MOV_TO:
        return finish(host, vcpu, register === 0 ? setCr0(host, state.gpr(gpr)) : setCr4(host, state.gpr(gpr)));
      case CR_MOV_FROM:
        state.setGpr(gpr, vmx.vmread(VMCS.GUEST_CR3));
        return host.skip(vcpu);
      case CR_CLTS:
        return finish(host, vcpu, setCr0(host, seenCr0 & ~CR0_TS_BIT));
      case CR_LMSW: {
        // LMSW loads bits 3:0 and cannot clear PE (SDM Vol. 2).
        const word = qualification >>> 16;
        return finish(host, vcpu, setCr0(host, (seenCr0 & ~0xe) | (word & 0xf)));
      }
    }
  },
};
