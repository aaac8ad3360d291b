// Part: model-specific registers that are not the processor's own. Those pass by the MSR bitmaps (see vmcs-setup.ts); all others
// come here. As in Xen, a register that does not exist is #GP(0).

import { PAGE_SHIFT } from "../../core/memory.ts";
import { GP } from "../../cpu/context.ts";
import { EAX, ECX, EDX } from "../../cpu/state.ts";
import { VMCS } from "../../cpu/vmx/fields.ts";
import { HYPERCALL_MSR } from "../cpuid.ts";
import { hypercallPage } from "../hypercall-page.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import type { ExitHandler } from "./exit.ts";

interface Msr {
  /** Undefined: reading is #GP(0). */
  readonly read?: (host: HypervisorServices, vcpu: Vcpu) => bigint;
  /** False, or no function: writing is #GP(0). */
  readonly write?: (host: HypervisorServices, vcpu: Vcpu, value: bigint) => boolean;
}

const U64 = 0xffff_ffff_ffff_ffffn;
const zero = (): bigint => 0n;
const ignore = (): boolean => true;
/** APIC global enable, the boot processor, base FEE00000 (SDM Vol. 3 figure 11-5). */
const APIC_ENABLED = 1n << 11n;
const BOOT_PROCESSOR = 1n << 8n;

/** WRMSR that installs the hypercall page (arch-x86/cpuid.h, leaf base + 2). */
function installHypercallPage({ processor }: HypervisorServices, { domain }: Vcpu, value: bigint): boolean {
  if (!domain.showsXen) return false;
  const address = Number(value);
  // Xen ignores indexes other than 0, and raises #GP when there is no page to write to.
  if (address % 2 ** PAGE_SHIFT !== 0) return true;
  const gfn = address / 2 ** PAGE_SHIFT;
  const frame = domain.p2m.frameOf(gfn);
  if (frame < 0 || !domain.p2m.writable(gfn)) return false;
  processor.memory.write(frame * 2 ** PAGE_SHIFT, hypercallPage());
  return true;
}

/** IA32_TIME_STAMP_COUNTER may be written: the difference to the machine's counter is kept as the TSC offset. */
function writeTsc(host: HypervisorServices, vcpu: Vcpu, value: bigint): boolean {
  vcpu.tscOffset = (value - host.tsc.now) & U64;
  const { vmx } = host.processor;
  vmx.vmwrite(VMCS.TSC_OFFSET, Number(vcpu.tscOffset & 0xffff_ffffn));
  vmx.vmwrite(VMCS.TSC_OFFSET + 1, Number(vcpu.tscOffset >> 32n));
  host.updateTime(vcpu);
  return true;
}

/** SDM Vol. 4 tables 2-2 and 2-5, and Xen's. */
const MSRS: ReadonlyMap<number, Msr> = new Map<number, Msr>([
  [0x10, { write: writeTsc }],
  // IA32_PLATFORM_ID, IA32_BIOS_SIGN_ID: no microcode has been loaded.
  [0x17, { read: zero }],
  [0x8b, { read: zero, write: ignore }],
  [0x1b, { read: (_host, vcpu) => 0xfee0_0000n | APIC_ENABLED | (vcpu.id === 0 ? BOOT_PROCESSOR : 0n), write: ignore }],
  // IA32_MISC_ENABLE: fast strings.
  [0x1a0, { read: () => 1n, write: ignore }],
  [HYPERCALL_MSR, { write: installHypercallPage }],
]);

export const RDMSR: ExitHandler = {
  value: (host) => host.processor.state.gpr(ECX),
  handle(host, vcpu) {
    const { state } = host.processor;
    const read = MSRS.get(state.gpr(ECX))?.read;
    if (read === undefined) return host.inject(vcpu, GP, 0);
    const value = read(host, vcpu);
    state.setGpr(EAX, Number(value & 0xffff_ffffn));
    state.setGpr(EDX, Number(value >> 32n));
    host.skip(vcpu);
  },
};

export const WRMSR: ExitHandler = {
  value: (host) => host.processor.state.gpr(ECX),
  handle(host, vcpu) {
    const { state } = host.processor;
    const value = (BigInt(state.gpr(EDX)) << 32n) | BigInt(state.gpr(EAX));
    const write = MSRS.get(state.gpr(ECX))?.write;
    if (write === undefined || !write(host, vcpu, value)) return host.inject(vcpu, GP, 0);
    host.skip(vcpu);
  },
};
