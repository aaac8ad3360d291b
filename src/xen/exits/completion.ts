// Part: completing the instruction whose I/O the device model has carried out, before the vCPU's next VM entry (Xen: handle_hvm_io_completion).

import { VMCS } from "../../cpu/vmx/fields.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import { INPUT, mergeInput, widthOf } from "./io-request.ts";
import { emulateMemory } from "./memory-io.ts";
import { completeString } from "./string-io.ts";

/** Completes the instruction; it may make a further request. The VMCS still holds the exit. */
export function completeIo(host: HypervisorServices, vcpu: Vcpu): void {
  const { io } = vcpu;
  const { instruction, answer } = io;
  io.instruction = "none";
  io.answered = false;
  if (instruction === "memory") {
    io.accesses.push(answer);
    emulateMemory(host, vcpu);
    return;
  }
  const qualification = host.processor.vmx.vmread(VMCS.EXIT_QUALIFICATION);
  if (instruction === "string") {
    completeString(host, vcpu, qualification, answer);
    return;
  }
  if ((qualification & INPUT) !== 0) mergeInput(host, widthOf(qualification), answer);
  host.skip(vcpu);
  if (vcpu.domain.platform?.faults.has("xen.io-retired-twice") === true) host.skip(vcpu);
}
