/**
 * Delivery of interrupts and exceptions through the IVT or the IDT. SDM Vol. 2 "INT n/INTO/INT3/INT1"; Vol. 3 §6.10 to
 * §6.14, §20.1.4, §20.3.
 *
 * Interrupts through the VME redirection bitmap are not modelled, since CPUID does not announce VME.
 */

import { BP, DB, DOUBLE_FAULT, GP, type Instruction, MC, NP, OF_TRAP, TS } from "../context.ts";
import {
  AC,
  BLOCKING_BY_NMI,
  CS,
  DS,
  ES,
  ESP,
  FS,
  GS,
  IF,
  IOPL,
  NT,
  OF,
  OFFSET,
  RF,
  SS,
  TF,
  TR,
  VM,
} from "../state.ts";
import {
  HARDWARE_EXCEPTION,
  NON_MASKABLE_INTERRUPT,
  PRIVILEGED_SOFTWARE_EXCEPTION,
  SOFTWARE_EXCEPTION,
  SOFTWARE_INTERRUPT,
  TASK_SWITCH_IDT_GATE,
} from "../vmx/exit-reasons.ts";
import { externalBit, type SystemCpu, type SystemInstruction, selectorFault } from "./cpu.ts";
import {
  type Descriptor,
  dplOf,
  gateOffset,
  gateSelector,
  INTERRUPT_GATE_16,
  INTERRUPT_GATE_32,
  isCode,
  isConforming,
  isNull,
  isPresent,
  isSystem,
  limitOf,
  markAccessed,
  readDescriptor,
  TASK_GATE,
  TRAP_GATE_16,
  TRAP_GATE_32,
  typeOf,
} from "./descriptors.ts";
import {
  checkStackSegment,
  enterRealCode,
  isProtected,
  isV86,
  setCode,
  setNullSegment,
  setSegment,
} from "./segments.ts";
import { Stack } from "./stack.ts";
import { taskSwitchExit } from "./tasks.ts";

/** An event to deliver. */
export interface GuestEvent {
  /** Interruption type, as in the VM-entry interruption-information field (SDM Vol. 3 table 25-17). */
  type: number;
  vector: number;
  /** −1 when it pushes none. */
  errorCode: number;
  /** Bytes of the INT n, INT1, INT3 or INTO that caused it; else 0. */
  instructionLength: number;
}

/** Exceptions of the fault class push an image of EFLAGS with RF set (SDM Vol. 3 §17.3.1.1); these are none. */
const NOT_FAULTS: ReadonlySet<number> = new Set([DB, DOUBLE_FAULT, MC]);

/**
 * Delivers `event`: afterwards CS:EIP is the handler's first instruction. The return address pushed is `state.eip`. Throws
 * a fault or a VM exit with nothing committed and `vmx.vectoring` telling which event it was; see exceptions.ts for what
 * follows a fault.
 */
export function deliverEvent(cpu: SystemCpu, event: Readonly<GuestEvent>): void {
  const { state, vmx } = cpu;
  vmx.beginDelivery(event.type, event.vector, event.errorCode, event.instructionLength);
  const fault = event.type === HARDWARE_EXCEPTION && !NOT_FAULTS.has(event.vector);
  const flags = state.eflags | (fault ? RF : 0);
  if (isProtected(state)) deliverProtected(cpu, event, flags);
  else deliverReal(cpu, event.vector, flags);
  if (event.type === NON_MASKABLE_INTERRUPT) state.interruptibility |= BLOCKING_BY_NMI;
  vmx.endDelivery();
}

/** Real-address mode: a four-byte vector, FLAGS, CS and IP on the stack, no error code (SDM Vol. 3 §20.1.4). */
function deliverReal(cpu: SystemCpu, vector: number, flags: number): void {
  const { state } = cpu;
  if (vector * 4 + 3 > state.get(OFFSET.idtrLimit)) throw cpu.fault(GP, 0);
  const pointer = cpu.readLinear((state.get(OFFSET.idtrBase) + vector * 4) >>> 0, 4, true);
  if ((pointer & 0xffff) > state.limit(CS)) throw cpu.fault(GP, 0);
  const stack = Stack.current(cpu);
  stack.push(2, flags);
  stack.push(2, state.selector(CS));
  stack.push(2, state.eip);
  stack.store();
  stack.commitPointer();
  state.eflags = flags & ~(IF | TF | AC | RF);
  enterRealCode(cpu, pointer >>> 16, pointer & 0xffff);
}

function deliverProtected(cpu: SystemCpu, event: Readonly<GuestEvent>, flags: number): void {
  const gate = readGate(cpu, event);
  if (typeOf(gate) === TASK_GATE) throw taskSwitchExit(cpu, gateSelector(gate), TASK_SWITCH_IDT_GATE);

  const selector = gateSelector(gate);
  if (isNull(selector)) throw selectorFault(cpu, GP, 0);
  const code = readDescriptor(cpu, selector);
  const dpl = dplOf(code);
  if (!isCode(code) || dpl > cpu.state.cpl) throw selectorFault(cpu, GP, selector);
  if (!isPresent(code)) throw selectorFault(cpu, NP, selector);

  const conforming = isConforming(code);
  const inner = !conforming && dpl < cpu.state.cpl;
  if (isV86(cpu.state) && (conforming || dpl !== 0)) throw selectorFault(cpu, GP, selector);
  if (inner) deliverInner(cpu, event, gate, code, flags);
  else deliverSame(cpu, event, gate, code, flags);
}

/** The gate in the IDT, with the checks of SDM Vol. 3 §6.12.1.2 made on it. */
function readGate(cpu: SystemCpu, { type, vector }: Readonly<GuestEvent>): Descriptor {
  const { state } = cpu;
  const error = (vector << 3) | 2 | externalBit(cpu);
  if (vector * 8 + 7 > state.get(OFFSET.idtrLimit)) throw cpu.fault(GP, error);
  const linear = (state.get(OFFSET.idtrBase) + vector * 8) >>> 0;
  const low = cpu.readLinear(linear, 4, true);
  const gate = { selector: 0, linear, low, high: cpu.readLinear((linear + 4) >>> 0, 4, true) };
  if (!isSystem(gate) || !GATE_TYPES.has(typeOf(gate))) throw cpu.fault(GP, error);
  const software = type === SOFTWARE_INTERRUPT || type === SOFTWARE_EXCEPTION;
  if (software && dplOf(gate) < state.cpl) throw cpu.fault(GP, error);
  if (!isPresent(gate)) throw cpu.fault(NP, error);
  return gate;
}

const GATE_TYPES: ReadonlySet<number> = new Set([
  TASK_GATE,
  INTERRUPT_GATE_16,
  TRAP_GATE_16,
  INTERRUPT_GATE_32,
  TRAP_GATE_32,
]);

/** A handler at the privilege level that was interrupted: the frame goes on the current stack. */
function deliverSame(
  cpu: SystemCpu,
  event: Readonly<GuestEvent>,
  gate: Descriptor,
  code: Descriptor,
  flags: number,
): void {
  const { state } = cpu;
  const stack = Stack.current(cpu);
  pushReturn(cpu, stack, event, gate, flags);
  checkOffset(cpu, gate, code);
  markAccessed(cpu, code);
  stack.store();
  stack.commitPointer();
  enterHandler(cpu, gate, code, state.cpl, flags);
}

/** A handler at an inner level: a new stack out of the TSS, which also receives SS:ESP and, from V86, the data segments. */
function deliverInner(
  cpu: SystemCpu,
  event: Readonly<GuestEvent>,
  gate: Descriptor,
  code: Descriptor,
  flags: number,
): void {
  const { state } = cpu;
  const dpl = dplOf(code);
  const width = gateWidth(gate);
  const inner = readInnerStack(cpu, dpl);
  const fromV86 = isV86(state);

  const stack = Stack.of(cpu, inner.descriptor, inner.pointer, dpl);
  if (fromV86) for (const segment of [GS, FS, DS, ES]) stack.push(width, state.selector(segment));
  stack.push(width, state.selector(SS));
  stack.push(width, state.gpr(ESP));
  pushReturn(cpu, stack, event, gate, flags);
  checkOffset(cpu, gate, code);
  markAccessed(cpu, inner.descriptor);
  markAccessed(cpu, code);
  stack.store();

  if (fromV86) for (const segment of [GS, FS, DS, ES]) setNullSegment(state, segment, 0);
  setSegment(state, SS, inner.descriptor.selector, inner.descriptor);
  stack.commitPointer();
  enterHandler(cpu, gate, code, dpl, flags);
}

const gateWidth = (gate: Descriptor): number => ((typeOf(gate) & 8) === 0 ? 2 : 4);

function pushReturn(cpu: SystemCpu, stack: Stack, event: Readonly<GuestEvent>, gate: Descriptor, flags: number): void {
  const width = gateWidth(gate);
  stack.push(width, flags);
  stack.push(width, cpu.state.selector(CS));
  stack.push(width, cpu.state.eip);
  if (event.errorCode >= 0) stack.push(width, event.errorCode);
}

function checkOffset(cpu: SystemCpu, gate: Descriptor, code: Descriptor): void {
  if (gateOffset(gate) > limitOf(code)) throw selectorFault(cpu, GP, 0);
}

/** The last step: nothing here can fault. */
function enterHandler(cpu: SystemCpu, gate: Descriptor, code: Descriptor, cpl: number, flags: number): void {
  const type = typeOf(gate);
  const interruptGate = type === INTERRUPT_GATE_16 || type === INTERRUPT_GATE_32;
  cpu.state.eflags = flags & ~(TF | VM | RF | NT | (interruptGate ? IF : 0));
  setCode(cpu, code, cpl, gateOffset(gate));
}

/** The stack segment and pointer that the TSS holds for privilege level `dpl`, checked (SDM Vol. 3 §6.12.1, §5.8.5). */
export function readInnerStack(cpu: SystemCpu, dpl: number): { descriptor: Descriptor; pointer: number } {
  const { state } = cpu;
  const wide = (state.accessRights(TR) & 8) !== 0;
  const offset = wide ? 4 + dpl * 8 : 2 + dpl * 4;
  const last = offset + (wide ? 5 : 3);
  if (last > state.limit(TR)) throw selectorFault(cpu, TS, state.selector(TR));
  const linear = (state.segmentBase(TR) + offset) >>> 0;
  const pointer = cpu.readLinear(linear, wide ? 4 : 2, true);
  const selector = cpu.readLinear((linear + (wide ? 4 : 2)) >>> 0, 2, true);
  return { descriptor: checkStackSegment(cpu, selector, dpl, TS), pointer };
}

/** INT n (CD): in virtual-8086 mode only with IOPL 3 (SDM Vol. 3 §20.3.3, method of CR4.VME = 0). */
function int(cpu: SystemCpu, insn: Instruction): void {
  const { flagsRest } = cpu.state;
  if (isV86(cpu.state) && (flagsRest & IOPL) !== IOPL) throw cpu.fault(GP, 0);
  deliverSoftware(cpu, insn, SOFTWARE_INTERRUPT, insn.immediate & 0xff);
}

/** INT3 (CC): a trap that the exception bitmap may intercept, and no IOPL check. */
function int3(cpu: SystemCpu, insn: Instruction): void {
  cpu.vmx.interceptException(BP, -1, 0, SOFTWARE_EXCEPTION, insn.length);
  deliverSoftware(cpu, insn, SOFTWARE_EXCEPTION, BP);
}

function into(cpu: SystemCpu, insn: Instruction): void {
  if ((cpu.state.eflags & OF) === 0) return;
  cpu.vmx.interceptException(OF_TRAP, -1, 0, SOFTWARE_EXCEPTION, insn.length);
  deliverSoftware(cpu, insn, SOFTWARE_EXCEPTION, OF_TRAP);
}

/** INT1 (F1): #DB as a privileged software exception; the gate's DPL is not checked and DR6 does not change. */
function int1(cpu: SystemCpu, insn: Instruction): void {
  cpu.vmx.interceptException(DB, -1, 0, PRIVILEGED_SOFTWARE_EXCEPTION, insn.length);
  deliverSoftware(cpu, insn, PRIVILEGED_SOFTWARE_EXCEPTION, DB);
}

function deliverSoftware(cpu: SystemCpu, insn: Instruction, type: number, vector: number): void {
  deliverEvent(cpu, { type, vector, errorCode: -1, instructionLength: insn.length });
}

export const INTERRUPT_INSTRUCTIONS = {
  int,
  int3,
  into,
  int1,
} satisfies Record<string, SystemInstruction>;
