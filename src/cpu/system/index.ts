/** The system part of the processor: its instructions by the names of the opcode map, and what the engine and VMX call. */

import { CONTROL_INSTRUCTIONS } from "./control.ts";
import type { SystemInstruction } from "./cpu.ts";
import { FLAG_INSTRUCTIONS } from "./flags.ts";
import { INTERRUPT_INSTRUCTIONS } from "./interrupts.ts";
import { IO_INSTRUCTIONS } from "./io.ts";
import { iret } from "./iret.ts";
import { MISCELLANEOUS_INSTRUCTIONS } from "./miscellaneous.ts";
import { MSR_INSTRUCTIONS } from "./msr.ts";
import { PROTECTION_INSTRUCTIONS } from "./protection.ts";
import { SEGMENT_INSTRUCTIONS } from "./segment-instructions.ts";
import { SYSENTER_INSTRUCTIONS } from "./sysenter.ts";
import { TABLE_INSTRUCTIONS } from "./tables.ts";
import { TRANSFER_INSTRUCTIONS } from "./transfers.ts";
import { VMX_INSTRUCTIONS } from "./virtualization.ts";

export type { SystemCpu, SystemInstruction } from "./cpu.ts";
export { type CpuidResult, cpuid } from "./cpuid.ts";
export { combine, recordFault, TRIPLE_FAULT } from "./exceptions.ts";
export { deliverEvent, type GuestEvent } from "./interrupts.ts";
export { FETCH, loadPdptes, READ, type Translation, USER, WRITE, walk } from "./paging.ts";
export { switchTask } from "./tasks.ts";

/** By the names that src/cpu/opcodes.ts gives them. */
export const SYSTEM_INSTRUCTIONS: Readonly<Record<string, SystemInstruction>> = {
  ...CONTROL_INSTRUCTIONS,
  ...FLAG_INSTRUCTIONS,
  ...INTERRUPT_INSTRUCTIONS,
  ...IO_INSTRUCTIONS,
  ...MISCELLANEOUS_INSTRUCTIONS,
  ...MSR_INSTRUCTIONS,
  ...PROTECTION_INSTRUCTIONS,
  ...SEGMENT_INSTRUCTIONS,
  ...SYSENTER_INSTRUCTIONS,
  ...TABLE_INSTRUCTIONS,
  ...TRANSFER_INSTRUCTIONS,
  ...VMX_INSTRUCTIONS,
  iret,
};
