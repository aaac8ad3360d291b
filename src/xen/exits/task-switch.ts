// Part: hardware task switches, which always exit from VMX non-root operation (SDM Vol. 3 §26.2, table 28-2). The hypervisor
// carries them out with the routine of src/cpu/system.

import { switchTask } from "../../cpu/system/tasks.ts";
import { HARDWARE_EXCEPTION, INTERRUPTION_ERROR_CODE, TASK_SWITCH_IDT_GATE } from "../../cpu/vmx/exit-reasons.ts";
import { VMCS } from "../../cpu/vmx/fields.ts";
import { VmExitSignal } from "../../cpu/vmx/intercepts.ts";
import type { ExitHandler } from "./exit.ts";

export const TASK_SWITCH: ExitHandler = {
  handle(host, vcpu, exit) {
    const { processor } = host;
    const { vmx, state } = processor;
    const source = (exit.qualification >>> 30) & 3;
    const vectored = exit.vectoring >>> 31 === 1;
    // Through a task gate in the IDT the old task goes on where it was for faults and interrupts, else after the instruction.
    const type = (exit.vectoring >>> 8) & 7;
    const length = vmx.vmread(VMCS.EXIT_INSTRUCTION_LENGTH);
    const asIs = source === TASK_SWITCH_IDT_GATE && vectored && type <= HARDWARE_EXCEPTION;
    const returnEip = asIs ? state.eip : (state.eip + length) >>> 0;
    const hasError = vectored && (exit.vectoring & INTERRUPTION_ERROR_CODE) !== 0;
    const errorCode = hasError ? vmx.vmread(VMCS.IDT_VECTORING_ERROR_CODE) : -1;
    // The event is delivered by the switch itself.
    vcpu.injection = undefined;
    try {
      switchTask(processor, exit.qualification & 0xffff, source, returnEip, errorCode);
    } catch (error) {
      const { pendingFault } = processor;
      if (error === pendingFault) return host.inject(vcpu, pendingFault.vector, pendingFault.errorCode);
      if (!(error instanceof VmExitSignal)) throw error;
      // Xen gives up on it as well: the task's state lies where no memory is.
      host.crash(vcpu.domain, "a task switch through memory that does not exist");
    }
  },
};
