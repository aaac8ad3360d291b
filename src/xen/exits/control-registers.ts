// Part: accesses to CR0 and CR4 that touch bits the hypervisor owns (SDM Vol. 3 table 28-3, §25.6.6). It owns what VMX operation
// fixes to one: CR0.NE and CR4.VMXE. The guest sees them as it wrote them, through the read shadows. CLTS and LMSW reach neither bit,
// and CR3 is the guest's own, so only MOV to CR0 and CR4 come here.

import { GP } from "../../cpu/context.ts";
import { CR0_CD, CR0_ET, CR0_NE, CR0_NW, CR0_PE, CR0_PG, CR4_PAE } from "../../cpu/state.ts";
import { VMCS } from "../../cpu/vmx/fields.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import type { ExitHandler } from "./exit.ts";

/** Bits of CR0 that no processor defines (SDM Vol. 3 §2.5): writing them has no effect. */
const CR0_RESERVED = 0x1ffa_ffc0;
/** Reserved bits of a present PDPTE, low word: 2:1 and 8:5 (SDM Vol. 3 table 4-8). */
const PDPTE_RESERVED = 0x1e6;
const PDPTE_FIELDS = [VMCS.GUEST_PDPTE0, VMCS.GUEST_PDPTE1, VMCS.GUEST_PDPTE2, VMCS.GUEST_PDPTE3] as const;

/** Sets CR0 as MOV to CR0 does; false for what is #GP(0). */
function setCr0({ processor }: HypervisorServices, vcpu: Vcpu, value: number): boolean {
  const { state, vmx } = processor;
  if ((value & CR0_PG) !== 0 && (value & CR0_PE) === 0) return false;
  if ((value & CR0_NW) !== 0 && (value & CR0_CD) === 0) return false;
  const seen = ((value & ~CR0_RESERVED) | CR0_ET) >>> 0;
  const enablesPaging = (seen & ~state.cr0 & CR0_PG) !== 0;
  if (enablesPaging && (state.cr4 & CR4_PAE) !== 0 && !loadPdptes({ processor }, vcpu)) return false;
  vmx.vmwrite(VMCS.CR0_READ_SHADOW, seen);
  vmx.vmwrite(VMCS.GUEST_CR0, (seen | CR0_NE) >>> 0);
  return true;
}

/** Enabling PAE paging loads the four PDPTE registers from memory (SDM Vol. 3 §4.4.1); false when one is not valid. */
function loadPdptes({ processor }: Pick<HypervisorServices, "processor">, { domain }: Vcpu): boolean {
  const { memory, state, vmx } = processor;
  const frame = domain.p2m.frameOf(state.cr3 >>> 12);
  if (frame < 0) return false;
  const table = frame * 4096 + (state.cr3 & 0xfe0);
  const entries = PDPTE_FIELDS.map((_field, index) => [
    memory.load32(table + 8 * index),
    memory.load32(table + 8 * index + 4),
  ]);
  // Bits 63:36 are beyond the physical-address width.
  if (entries.some(([low, high]) => (low! & 1) !== 0 && ((low! & PDPTE_RESERVED) !== 0 || high! > 15))) return false;
  for (const [index, field] of PDPTE_FIELDS.entries()) {
    const [low, high] = entries[index]!;
    vmx.vmwrite(field, (BigInt(high!) << 32n) | BigInt(low!));
  }
  return true;
}

export const CONTROL_REGISTER_ACCESS: ExitHandler = {
  value: (host, _vcpu, { qualification }) => host.processor.state.gpr((qualification >>> 8) & 7),
  handle(host, vcpu, { qualification }, value) {
    // A write to CR4 comes here only to set VMXE, and VMX is not offered to guests.
    const done = (qualification & 15) === 0 && value !== undefined && setCr0(host, vcpu, value);
    if (done) host.skip(vcpu);
    else host.inject(vcpu, GP, 0);
  },
};
