/** IRET in all its directions. SDM Vol. 2 "IRET/IRETD"; Vol. 3 §6.12.1, §7.4, §20.2, §26.3. */

import { GP, type Instruction, TS } from "../context.ts";
import { ESP, NT, type ProcessorState, RF, TR, VIF, VIP, VM } from "../state.ts";
import { TASK_SWITCH_IRET } from "../vmx/exit-reasons.ts";
import type { VmExitSignal } from "../vmx/intercepts.ts";
import { type SystemCpu, selectorFault } from "./cpu.ts";
import { RPL } from "./descriptors.ts";
import { permittedFlags, replaceFlags, requireV86Iopl, WRITABLE_FLAGS } from "./flags.ts";
import { enterCode, enterRealCode, isProtected, isV86, setV86Segments } from "./segments.ts";
import { Stack } from "./stack.ts";
import { taskSwitchExit } from "./tasks.ts";
import { checkReturnTarget, returnOuter } from "./transfers.ts";

/** NMIs are unblocked first of all: a fault of the IRET does not block them again. */
export function iret(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  requireV86Iopl(cpu);
  const { flagsRest, interruptibility } = state;
  cpu.vmx.unblockNmi();
  if (!isProtected(state) || isV86(state)) returnReal(cpu, insn);
  else if ((state.flagsRest & NT) !== 0) throw returnTask(cpu);
  else returnProtected(cpu, insn);
  cpu.flagsSet(state.flagsRest & ~flagsRest);
  if (state.interruptibility !== interruptibility) cpu.checkBoundary();
}

/** The flags an IRET at the current privilege level may change; 32-bit forms restore RF, too. */
function returnedFlags(state: ProcessorState, operandSize: number): number {
  return permittedFlags(state, operandSize) | (operandSize === 32 ? RF : 0);
}

/** In real-address mode, and in virtual-8086 mode with IOPL 3, where IOPL stays. */
function returnReal(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  const width = insn.operandSize >>> 3;
  const stack = Stack.current(cpu);
  const offset = stack.pop(width);
  const selector = stack.pop(width) & 0xffff;
  const flags = stack.pop(width);
  enterRealCode(cpu, selector, offset);
  stack.commitPointer();
  replaceFlags(state, flags, returnedFlags(state, insn.operandSize));
}

/** NT is set: back to the task in the back link. */
function returnTask(cpu: SystemCpu): VmExitSignal {
  const { state } = cpu;
  if (state.limit(TR) < 1) throw selectorFault(cpu, TS, state.selector(TR));
  return taskSwitchExit(cpu, cpu.readLinear(state.segmentBase(TR), 2, true), TASK_SWITCH_IRET);
}

function returnProtected(cpu: SystemCpu, insn: Instruction): void {
  const { state } = cpu;
  const width = insn.operandSize >>> 3;
  const stack = Stack.current(cpu);
  const offset = stack.pop(width);
  const selector = stack.pop(width) & 0xffff;
  const flags = stack.pop(width);
  const mask = returnedFlags(state, insn.operandSize) | (state.cpl === 0 && width === 4 ? VIF | VIP : 0);
  if (width === 4 && (flags & VM) !== 0 && state.cpl === 0) {
    returnToV86(cpu, stack, selector, offset, flags);
    return;
  }
  const code = checkReturnTarget(cpu, selector);
  if ((selector & RPL) === state.cpl) {
    enterCode(cpu, code, state.cpl, offset);
    stack.commitPointer();
  } else {
    returnOuter(cpu, stack, code, offset, width, 0);
  }
  replaceFlags(state, flags, mask);
}

/** ESP, SS, ES, DS, FS and GS come off the stack, too. */
function returnToV86(cpu: SystemCpu, stack: Stack, code: number, offset: number, flags: number): void {
  const { state } = cpu;
  const pointer = stack.pop(4);
  const [ss, es, ds, fs, gs] = [0, 1, 2, 3, 4].map(() => stack.pop(4) & 0xffff) as [
    number,
    number,
    number,
    number,
    number,
  ];
  if (offset > 0xffff) throw cpu.fault(GP, 0);
  state.eflags = flags & (WRITABLE_FLAGS | RF | VM | VIF | VIP);
  setV86Segments(state, [es, code, ss, ds, fs, gs]);
  state.setGpr(ESP, pointer);
  state.cpl = 3;
  state.eip = offset;
  cpu.modeChanged();
}
