/**
 * Far JMP, CALL and RET. SDM Vol. 2 "JMP", "CALL", "RET"; Vol. 3 §5.8, §7.3, §20.1.
 */

import { GP, type Instruction, NP } from "../context.ts";
import { CS, DS, ES, ESP, FS, GS, SS } from "../state.ts";
import { TASK_SWITCH_CALL, TASK_SWITCH_JMP } from "../vmx/exit-reasons.ts";
import { type SystemCpu, type SystemInstruction, selectorFault } from "./cpu.ts";
import {
  CALL_GATE_16,
  CALL_GATE_32,
  type Descriptor,
  dplOf,
  gateOffset,
  gateSelector,
  isCode,
  isConforming,
  isNull,
  isPresent,
  isSystem,
  limitOf,
  markAccessed,
  RPL,
  readDescriptor,
  TASK_GATE,
  TSS_16_AVAILABLE,
  TSS_32_AVAILABLE,
  typeOf,
} from "./descriptors.ts";
import { readInnerStack } from "./interrupts.ts";
import { readFarPointer } from "./segment-instructions.ts";
import {
  checkStackSegment,
  enterCode,
  enterRealCode,
  setCode,
  setNullSegment,
  setSegment,
  usesDescriptors,
} from "./segments.ts";
import { Stack } from "./stack.ts";
import { taskSwitchExit } from "./tasks.ts";

/** A far pointer operand: out of the instruction or out of memory. */
interface FarPointer {
  selector: number;
  offset: number;
}

const directPointer = (insn: Instruction): FarPointer => ({
  selector: insn.immediate2 & 0xffff,
  offset: insn.operandSize === 32 ? insn.immediate >>> 0 : insn.immediate & 0xffff,
});

/** A code segment as the target of a direct far JMP or CALL: no change of privilege (SDM Vol. 3 §5.8.1). */
function checkDirectTarget(cpu: SystemCpu, code: Descriptor): void {
  const { cpl } = cpu.state;
  const { selector } = code;
  const permitted = isConforming(code) ? dplOf(code) <= cpl : (selector & RPL) <= cpl && dplOf(code) === cpl;
  if (!permitted) throw selectorFault(cpu, GP, selector);
  if (!isPresent(code)) throw selectorFault(cpu, NP, selector);
}

/** The checks on a gate or TSS that a JMP or CALL names: DPL ≥ CPL and RPL; call gates are present. */
function checkSystemTarget(cpu: SystemCpu, target: Descriptor): void {
  const dpl = dplOf(target);
  if (dpl < cpu.state.cpl || dpl < (target.selector & RPL)) throw selectorFault(cpu, GP, target.selector);
  if (!isPresent(target)) throw selectorFault(cpu, NP, target.selector);
}

/** The code segment behind a call gate. `inner`: a call may enter an inner level, a jump may not. */
function readGateTarget(cpu: SystemCpu, gate: Descriptor, inner: boolean): Descriptor {
  const selector = gateSelector(gate);
  if (isNull(selector)) throw selectorFault(cpu, GP, 0);
  const code = readDescriptor(cpu, selector);
  const { cpl } = cpu.state;
  const permitted = inner || isConforming(code) ? dplOf(code) <= cpl : dplOf(code) === cpl;
  if (!isCode(code) || !permitted) throw selectorFault(cpu, GP, selector);
  if (!isPresent(code)) throw selectorFault(cpu, NP, selector);
  return code;
}

/** Throws the exit of a task switch if `target` is a task gate or an available TSS. */
function switchIfTask(cpu: SystemCpu, target: Descriptor, source: number): void {
  const type = typeOf(target);
  if (type !== TASK_GATE && type !== TSS_16_AVAILABLE && type !== TSS_32_AVAILABLE) return;
  checkSystemTarget(cpu, target);
  throw taskSwitchExit(cpu, type === TASK_GATE ? gateSelector(target) : target.selector, source);
}

const isCallGate = (target: Descriptor): boolean => typeOf(target) === CALL_GATE_16 || typeOf(target) === CALL_GATE_32;

function jumpFar(cpu: SystemCpu, { selector, offset }: FarPointer): void {
  if (!usesDescriptors(cpu.state)) {
    enterRealCode(cpu, selector, offset);
    return;
  }
  const target = readTarget(cpu, selector, TASK_SWITCH_JMP);
  if (isCode(target)) enterCode(cpu, target, cpu.state.cpl, offset);
  else enterCode(cpu, readGateTarget(cpu, target, false), cpu.state.cpl, gateOffset(target));
}

function callFar(cpu: SystemCpu, insn: Instruction, { selector, offset }: FarPointer): void {
  const { state } = cpu;
  const width = insn.operandSize >>> 3;
  if (!usesDescriptors(state)) {
    const stack = pushReturn(cpu, Stack.current(cpu), width);
    enterRealCode(cpu, selector, offset);
    stack.store();
    stack.commitPointer();
    return;
  }
  const target = readTarget(cpu, selector, TASK_SWITCH_CALL);
  if (isCode(target)) {
    callSame(cpu, target, offset, width);
    return;
  }
  const code = readGateTarget(cpu, target, true);
  if (!isConforming(code) && dplOf(code) < state.cpl) callInner(cpu, target, code);
  else callSame(cpu, code, gateOffset(target), gateWidth(target));
}

/** What a far JMP or CALL names: a checked code segment or call gate. A task gate or a TSS ends in the VM exit. */
function readTarget(cpu: SystemCpu, selector: number, source: number): Descriptor {
  if (isNull(selector)) throw selectorFault(cpu, GP, 0);
  const target = readDescriptor(cpu, selector);
  if (isCode(target)) {
    checkDirectTarget(cpu, target);
    return target;
  }
  if (!isSystem(target)) throw selectorFault(cpu, GP, selector);
  switchIfTask(cpu, target, source);
  if (!isCallGate(target)) throw selectorFault(cpu, GP, selector);
  checkSystemTarget(cpu, target);
  return target;
}

const gateWidth = (gate: Descriptor): number => (typeOf(gate) === CALL_GATE_32 ? 4 : 2);

function pushReturn(cpu: SystemCpu, stack: Stack, width: number): Stack {
  stack.push(width, cpu.state.selector(CS));
  stack.push(width, cpu.state.eip);
  return stack;
}

function callSame(cpu: SystemCpu, code: Descriptor, offset: number, width: number): void {
  const stack = pushReturn(cpu, Stack.current(cpu), width);
  if (offset > limitOf(code)) throw selectorFault(cpu, GP, 0);
  markAccessed(cpu, code);
  stack.store();
  stack.commitPointer();
  setCode(cpu, code, cpu.state.cpl, offset);
}

/** Through a call gate to an inner level: new stack, the parameters copied over (SDM Vol. 3 §5.8.5). */
function callInner(cpu: SystemCpu, gate: Descriptor, code: Descriptor): void {
  const { state } = cpu;
  const dpl = dplOf(code);
  const width = gateWidth(gate);
  const inner = readInnerStack(cpu, dpl);
  const stack = Stack.of(cpu, inner.descriptor, inner.pointer, dpl);
  stack.push(width, state.selector(SS));
  stack.push(width, state.gpr(ESP));
  const parameters: number[] = [];
  const outer = Stack.current(cpu);
  for (let count = gate.high & 0x1f; count > 0; count--) parameters.push(outer.pop(width));
  for (const parameter of parameters.reverse()) stack.push(width, parameter);
  pushReturn(cpu, stack, width);
  if (gateOffset(gate) > limitOf(code)) throw selectorFault(cpu, GP, 0);
  markAccessed(cpu, inner.descriptor);
  markAccessed(cpu, code);
  stack.store();
  setSegment(state, SS, inner.descriptor.selector, inner.descriptor);
  stack.commitPointer();
  setCode(cpu, code, dpl, gateOffset(gate));
}

/** RETF, with `bytes` of parameters released on both stacks. */
function returnFar(cpu: SystemCpu, insn: Instruction, bytes: number): void {
  const { state } = cpu;
  const width = insn.operandSize >>> 3;
  const stack = Stack.current(cpu);
  const offset = stack.pop(width);
  const selector = stack.pop(width) & 0xffff;
  stack.skip(bytes);
  if (!usesDescriptors(state)) {
    enterRealCode(cpu, selector, offset);
    stack.commitPointer();
    return;
  }
  const code = checkReturnTarget(cpu, selector);
  if ((selector & RPL) === state.cpl) {
    enterCode(cpu, code, state.cpl, offset);
    stack.commitPointer();
    return;
  }
  returnOuter(cpu, stack, code, offset, width, bytes);
}

/** The code segment that RETF and IRET return to (SDM Vol. 2 "RET", "IRET"): never an inner level. */
export function checkReturnTarget(cpu: SystemCpu, selector: number): Descriptor {
  if (isNull(selector)) throw selectorFault(cpu, GP, 0);
  const code = readDescriptor(cpu, selector);
  const rpl = selector & RPL;
  const permitted = rpl >= cpu.state.cpl && (isConforming(code) ? dplOf(code) <= rpl : dplOf(code) === rpl);
  if (!isCode(code) || !permitted) throw selectorFault(cpu, GP, selector);
  if (!isPresent(code)) throw selectorFault(cpu, NP, selector);
  return code;
}

/** The second half of RETF and IRET to an outer level: SS:ESP come off `stack`, data segments may become null. */
export function returnOuter(
  cpu: SystemCpu,
  stack: Stack,
  code: Descriptor,
  offset: number,
  width: number,
  bytes: number,
): void {
  const { state } = cpu;
  const cpl = code.selector & RPL;
  const pointer = stack.pop(width);
  const selector = stack.pop(width) & 0xffff;
  const descriptor = checkStackSegment(cpu, selector, cpl, GP);
  if (offset > limitOf(code)) throw selectorFault(cpu, GP, 0);
  markAccessed(cpu, descriptor);
  markAccessed(cpu, code);
  setSegment(state, SS, selector, descriptor);
  const outer = Stack.of(cpu, descriptor, pointer, cpl);
  outer.skip(bytes);
  outer.commitPointer();
  setCode(cpu, code, cpl, offset);
  dropInnerSegments(cpu);
}

/** Data segments that the outer level may not use become null (SDM Vol. 3 §5.8.6). */
export function dropInnerSegments(cpu: SystemCpu): void {
  const { state } = cpu;
  for (const segment of [ES, DS, FS, GS]) {
    const rights = state.accessRights(segment);
    const conforming = (rights & 0xc) === 0xc;
    if (!conforming && ((rights >>> 5) & 3) < state.cpl) setNullSegment(state, segment, 0);
  }
}

/** CB releases no parameters, CA the number of bytes in its immediate. */
function retFar(cpu: SystemCpu, insn: Instruction): void {
  returnFar(cpu, insn, insn.opcode === 0xca ? insn.immediate & 0xffff : 0);
}

export const TRANSFER_INSTRUCTIONS = {
  jmp_far: (cpu, insn) => jumpFar(cpu, directPointer(insn)),
  jmp_far_memory: (cpu, insn) => jumpFar(cpu, readFarPointer(cpu, insn)),
  call_far: (cpu, insn) => callFar(cpu, insn, directPointer(insn)),
  call_far_memory: (cpu, insn) => callFar(cpu, insn, readFarPointer(cpu, insn)),
  ret_far: retFar,
} satisfies Record<string, SystemInstruction>;
