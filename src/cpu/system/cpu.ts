/**
 * What system instructions, page walks and event delivery need beyond {@link Cpu}: the VMX intercepts, the platform and
 * physical memory.
 */

import type { Cpu, Fault, Instruction, Platform } from "../context.ts";
import { INTERRUPTION_VALID, SOFTWARE_EXCEPTION, SOFTWARE_INTERRUPT } from "../vmx/exit-reasons.ts";
import type { Vmx } from "../vmx/intercepts.ts";

export interface SystemCpu extends Cpu {
  readonly vmx: Vmx;
  readonly platform: Platform;
  /** An aligned 32-bit word at a host-physical address inside RAM, stored as the processor's own stores are. */
  readPhysical(address: number): number;
  writePhysical(address: number, value: number): void;
}

/**
 * A system instruction. On entry `state.eip` is the next instruction; writing it jumps. Throwing a fault or an exit
 * restores EIP; nothing else may have been committed by then.
 */
export type SystemInstruction = (cpu: SystemCpu, insn: Instruction) => void;

/**
 * Bit 0 (EXT) of the error codes of faults that arise here: 1 during the delivery of an event other than INT n, INT3 and
 * INTO (SDM Vol. 3 §6.13).
 */
export function externalBit(cpu: SystemCpu): number {
  const { vectoring } = cpu.vmx;
  if ((vectoring & INTERRUPTION_VALID) === 0) return 0;
  const type = (vectoring >>> 8) & 7;
  return type === SOFTWARE_INTERRUPT || type === SOFTWARE_EXCEPTION ? 0 : 1;
}

/** A fault whose error code names `selector` (0 for none), with EXT as the situation has it. */
export function selectorFault(cpu: SystemCpu, vector: number, selector: number): Fault {
  return cpu.fault(vector, (selector & 0xfffc) | externalBit(cpu));
}
