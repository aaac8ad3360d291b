// Part: CPUID as guests see it: the processor's leaves, with VMX hidden and a hypervisor announced, and Xen's own leaves
// (arch-x86/cpuid.h) at their base.

import { type CpuidResult, cpuid as processorCpuid } from "../cpu/system/cpuid.ts";
import { CPUID_H } from "./abi/constants.ts";
import type { TimeScale } from "./time.ts";

/** MSR that takes the address of the hypercall page: leaf base + 2, EBX. */
export const HYPERCALL_MSR = 0x4000_0000;

export const XEN_MAJOR = 4;
export const XEN_MINOR = 17;

/** Highest leaf: base + 4, the HVM features. */
const MAX_LEAF = CPUID_H.XEN_CPUID_FIRST_LEAF + 4;

/** Leaf 1, ECX bits. */
const ECX_VMX = 1 << 5;
const ECX_HYPERVISOR = 1 << 31;
/** Leaf 1, EBX: initial APIC id. Xen gives vCPU n the id 2n. */
const APIC_ID_SHIFT = 24;
/** Leaf base + 3, EAX bit 1: the host's TSC is reliable. */
const TSC_RELIABLE = 1 << 1;

export interface CpuidSubject {
  readonly domid: number;
  readonly vcpu: number;
  readonly tscKhz: number;
  readonly scale: TimeScale;
  /** Whether the guest finds a hypervisor, and that it is Xen. */
  readonly showsXen: boolean;
}

/** The answer to CPUID with EAX = `leaf`, ECX = `subleaf`. */
export function guestCpuid(leaf: number, subleaf: number, subject: CpuidSubject): CpuidResult {
  if (subject.showsXen && leaf >= CPUID_H.XEN_CPUID_FIRST_LEAF && leaf <= MAX_LEAF)
    return xenLeaf(leaf, subleaf, subject);
  const [eax, ebx, ecx, edx] = processorCpuid(leaf);
  if (leaf !== 1) return [eax, ebx, ecx, edx];
  const id = (2 * subject.vcpu) << APIC_ID_SHIFT;
  return [eax, ((ebx & 0xff_ffff) | id) >>> 0, ((ecx & ~ECX_VMX) | (subject.showsXen ? ECX_HYPERVISOR : 0)) >>> 0, edx];
}

function xenLeaf(leaf: number, subleaf: number, subject: CpuidSubject): CpuidResult {
  switch (leaf - CPUID_H.XEN_CPUID_FIRST_LEAF) {
    case 0:
      return [
        MAX_LEAF,
        CPUID_H.XEN_CPUID_SIGNATURE_EBX,
        CPUID_H.XEN_CPUID_SIGNATURE_ECX,
        CPUID_H.XEN_CPUID_SIGNATURE_EDX,
      ];
    case 1:
      return [(XEN_MAJOR << 16) | XEN_MINOR, 0, 0, 0];
    case 2:
      return [1, HYPERCALL_MSR, 0, 0];
    case 3:
      if (subleaf === 0) return [TSC_RELIABLE, 0, subject.tscKhz, 0];
      if (subleaf === 1) return [0, 0, subject.scale.mul, subject.scale.shift & 0xff];
      return subleaf === 2 ? [subject.tscKhz, 0, 0, 0] : [0, 0, 0, 0];
    default:
      return subleaf === 0
        ? [CPUID_H.XEN_HVM_CPUID_VCPU_ID_PRESENT | CPUID_H.XEN_HVM_CPUID_DOMID_PRESENT, subject.vcpu, subject.domid, 0]
        : [0, 0, 0, 0];
  }
}
