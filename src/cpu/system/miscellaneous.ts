/** HLT PAUSE CPUID RSM. SDM Vol. 2, those instructions; Vol. 3 §26.1. */

import { UD } from "../context.ts";
import { HLT } from "../state.ts";
import { EXIT } from "../vmx/exit-reasons.ts";
import { requirePrivilege } from "./control.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";

function hlt(cpu: SystemCpu): void {
  requirePrivilege(cpu);
  if (cpu.vmx.controls.hltExiting) {
    cpu.vmx.exit(EXIT.HLT);
    return;
  }
  cpu.state.activity = HLT;
  cpu.checkBoundary();
}

function pause(cpu: SystemCpu): void {
  if (cpu.vmx.controls.pauseExiting) throw cpu.vmx.exit(EXIT.PAUSE);
}

function cpuid(cpu: SystemCpu): void {
  cpu.vmx.exit(EXIT.CPUID);
}

/** System-management mode is not modelled, and outside it RSM does not exist. */
function rsm(cpu: SystemCpu): void {
  throw cpu.fault(UD);
}

export const MISCELLANEOUS_INSTRUCTIONS = {
  hlt,
  pause,
  cpuid,
  rsm,
} satisfies Record<string, SystemInstruction>;
