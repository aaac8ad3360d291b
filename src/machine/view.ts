// Part: the processor as a person wants to see it: registers, and the code that comes next.

import type { Processor } from "../cpu/processor.ts";
import { CS } from "../cpu/state.ts";

/** Bytes of code shown from the instruction pointer on. */
const CODE_WINDOW = 32;
const GENERAL_REGISTERS = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"] as const;
/** Access rights, bit 14: D/B. */
const DEFAULT_32 = 0x4000;

export interface MachineView {
  /** Names of the SDM, in its order. */
  readonly registers: Readonly<Record<string, number>>;
  /** Linear address and bytes from the instruction pointer on; empty where nothing is mapped. */
  readonly code: { readonly address: number; readonly bytes: Uint8Array };
  /** Operand size of the code segment. */
  readonly bits: 16 | 32;
}

export function viewOf(processor: Processor): MachineView {
  const { state } = processor;
  const registers = Object.fromEntries(GENERAL_REGISTERS.map((name, index) => [name, state.gpr(index)]));
  const { eip, eflags, cr0, cr3, cr4 } = state;
  const address = (state.segmentBase(CS) + eip) >>> 0;
  return {
    registers: { ...registers, EIP: eip, EFLAGS: eflags, CS: state.selector(CS), CR0: cr0, CR3: cr3, CR4: cr4 },
    code: { address, bytes: processor.peekCode(CODE_WINDOW) },
    bits: (state.accessRights(CS) & DEFAULT_32) === 0 ? 16 : 32,
  };
}
