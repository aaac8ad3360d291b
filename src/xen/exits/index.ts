// Part: the table of VM-exit handlers by basic exit reason (SDM appendix C). A reason without a row cannot come with the controls
// that vmcs-setup.ts sets; if it comes, the domain is crashed with the reason's name.

import { UD } from "../../cpu/context.ts";
import { EAX, EBX, ECX, EDX, IF } from "../../cpu/state.ts";
import { EXIT } from "../../cpu/vmx/exit-reasons.ts";
import { SCHED_H } from "../abi/constants.ts";
import { guestCpuid } from "../cpuid.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import { CONTROL_REGISTER_ACCESS } from "./control-registers.ts";
import { EPT_VIOLATION } from "./ept.ts";
import type { ExitHandler } from "./exit.ts";
import { IO_INSTRUCTION } from "./io.ts";
import { RDMSR, WRMSR } from "./msr.ts";
import { TASK_SWITCH } from "./task-switch.ts";

const SKIP: ExitHandler = { handle: (host, vcpu) => host.skip(vcpu) };
/** Instructions that guests do not have: VMX, MONITOR, MWAIT, XSETBV. */
const UNDEFINED: ExitHandler = { handle: (host, vcpu) => host.inject(vcpu, UD) };

const CPUID: ExitHandler = {
  handle(host, vcpu) {
    const { state } = host.processor;
    const { khz, scale } = host.tsc;
    const subject = { domid: vcpu.domid, vcpu: vcpu.id, tscKhz: khz, scale, showsXen: vcpu.domain.showsXen };
    const [eax, ebx, ecx, edx] = guestCpuid(state.gpr(EAX), state.gpr(ECX), subject);
    state.setGpr(EAX, eax);
    state.setGpr(EBX, ebx);
    state.setGpr(ECX, ecx);
    state.setGpr(EDX, edx);
    host.skip(vcpu);
  },
};

/** Xen's hvm_hlt: with interrupts off nothing can end it, so the vCPU goes down, and with the last one the domain. */
const HLT: ExitHandler = {
  handle(host, vcpu) {
    host.skip(vcpu);
    if (host.eventDeliverable(vcpu)) return;
    if ((host.processor.state.flagsRest & IF) !== 0) return vcpu.block("an interrupt, in HLT");
    vcpu.run = "down";
    vcpu.waitsFor = "nothing: HLT with interrupts off";
    if (vcpu.domain.vcpus.every((other) => other.run === "down")) {
      host.shutdown(vcpu.domain, SCHED_H.SHUTDOWN_poweroff);
    }
  },
};

/** A PC is reset by it (Xen: HVM_PARAM_TRIPLE_FAULT_REASON); elsewhere it is a mistake that somebody wants to see. */
const TRIPLE_FAULT: ExitHandler = {
  handle(host, { domain }) {
    if (domain.platform === undefined) host.crash(domain, "triple fault");
    else host.shutdown(domain, SCHED_H.SHUTDOWN_reboot);
  },
};

/** The window is open: the event is injected at the next entry, which also closes the window. */
const INTERRUPT_WINDOW: ExitHandler = { handle: () => undefined };

const VMCALL: ExitHandler = {
  handle(host: HypervisorServices, vcpu: Vcpu) {
    if (!vcpu.domain.showsXen) return host.inject(vcpu, UD);
    // The hypercall may end or block the vCPU; it returns after the instruction in any case.
    host.skip(vcpu);
    host.hypercall(vcpu);
  },
};

const HANDLERS: readonly (readonly [reason: number, handler: ExitHandler])[] = [
  [EXIT.TRIPLE_FAULT, TRIPLE_FAULT],
  [EXIT.INTERRUPT_WINDOW, INTERRUPT_WINDOW],
  [EXIT.TASK_SWITCH, TASK_SWITCH],
  [EXIT.CPUID, CPUID],
  [EXIT.HLT, HLT],
  [EXIT.INVD, SKIP],
  [EXIT.RDPMC, UNDEFINED],
  [EXIT.RSM, UNDEFINED],
  [EXIT.VMCALL, VMCALL],
  [EXIT.VMCLEAR, UNDEFINED],
  [EXIT.VMLAUNCH, UNDEFINED],
  [EXIT.VMPTRLD, UNDEFINED],
  [EXIT.VMPTRST, UNDEFINED],
  [EXIT.VMREAD, UNDEFINED],
  [EXIT.VMRESUME, UNDEFINED],
  [EXIT.VMWRITE, UNDEFINED],
  [EXIT.VMXOFF, UNDEFINED],
  [EXIT.VMXON, UNDEFINED],
  [EXIT.CONTROL_REGISTER_ACCESS, CONTROL_REGISTER_ACCESS],
  [EXIT.IO_INSTRUCTION, IO_INSTRUCTION],
  [EXIT.RDMSR, RDMSR],
  [EXIT.WRMSR, WRMSR],
  [EXIT.MWAIT, UNDEFINED],
  [EXIT.MONITOR, UNDEFINED],
  [EXIT.EPT_VIOLATION, EPT_VIOLATION],
  [EXIT.INVEPT, UNDEFINED],
  [EXIT.INVVPID, UNDEFINED],
  [EXIT.WBINVD, SKIP],
  [EXIT.XSETBV, UNDEFINED],
];

/** The handlers by basic exit reason. */
export const EXIT_HANDLERS: readonly (ExitHandler | undefined)[] = Array.from(
  { length: 1 + Math.max(...HANDLERS.map(([reason]) => reason)) },
  (_, reason) => HANDLERS.find(([handled]) => handled === reason)?.[1],
);
