/**
 * The guest between VM entry and VM exit: event injection, then instructions, and at each instruction boundary the events
 * that are due, in the manual's order. SDM §6.9 (table 6-2), §26.2, §26.5, §27.6, §27.7, §28.2. Edition: see fields.ts.
 */

import { DB, DOUBLE_FAULT, NMI } from "../context.ts";
import {
  ACTIVE,
  BLOCKING_BY_MOV_SS,
  BLOCKING_BY_NMI,
  BLOCKING_BY_STI,
  CS,
  ECX,
  HLT,
  IF,
  type ProcessorState,
  RF,
  TF,
} from "../state.ts";
import { combine, recordFault, TRIPLE_FAULT } from "../system/exceptions.ts";
import { deliverEvent, type GuestEvent } from "../system/interrupts.ts";
import { PREEMPTION_TIMER_TSC_BIT } from "./capabilities.ts";
import { BOUNDARY, FAULT, type VmxCore } from "./core.ts";
import {
  EXIT,
  HARDWARE_EXCEPTION,
  INTERRUPTION_ERROR_CODE,
  INTERRUPTION_VALID,
  NON_MASKABLE_INTERRUPT,
  OTHER_EVENT,
  SOFTWARE_EXCEPTION,
  SOFTWARE_INTERRUPT,
} from "./exit-reasons.ts";
import { VMCS, wordOf } from "./fields.ts";
import type { NonRoot } from "./non-root.ts";

const ENTRY_INTERRUPTION = wordOf(VMCS.ENTRY_INTERRUPTION_INFORMATION);
const ENTRY_ERROR_CODE = wordOf(VMCS.ENTRY_EXCEPTION_ERROR_CODE);
const ENTRY_LENGTH = wordOf(VMCS.ENTRY_INSTRUCTION_LENGTH);
const TIMER = wordOf(VMCS.PREEMPTION_TIMER);

const SHADOWS = BLOCKING_BY_STI | BLOCKING_BY_MOV_SS;
const PENDING_BREAKPOINT = 1 << 12;
const PENDING_BS = 1 << 14;
/** What of the pending debug exceptions shows in DR6 and the exit qualification: BS and B3–B0. */
const DEBUG_CONDITIONS = PENDING_BS | 0xf;
/** DR7.L0–G3. */
const BREAKPOINTS_ENABLED = 0xff;

/** INT3, INT n, INTO and INT1 clear TF before a single-step trap could follow them. */
const CLEARS_TF: ReadonlySet<number> = new Set([0xcc, 0xcd, 0xce, 0xf1]);

/**
 * The vector that "acknowledge interrupt on exit" reports: the platform's timer, which ends every run. Linux's and Xen's local
 * APIC timers are near it, so that no exception or legacy interrupt can be mistaken for it.
 */
export const PLATFORM_INTERRUPT_VECTOR = 0xef;

export class BoundaryLoop {
  /** A physical NMI has been signalled and not yet taken. */
  nmiPending = false;
  private readonly core: VmxCore;
  private readonly state: ProcessorState;
  private readonly nonRoot: NonRoot;
  /** A monitor-trap-flag exit is pending on the next boundary. */
  private trapPending = false;
  private timerDeadline = 0n;
  /** What the failed delivery of {@link tryDelivery} ended in: a VM exit, else a fault. */
  private deliveryExited = false;
  private readonly event: GuestEvent = { type: 0, vector: 0, errorCode: -1, instructionLength: 0 };

  constructor(core: VmxCore, nonRoot: NonRoot) {
    this.core = core;
    this.state = core.state;
    this.nonRoot = nonRoot;
  }

  /** Runs until a VM exit, at the latest when `budget` instructions have retired: the VMCS then has reason and details. */
  run(budget: number): void {
    const { core, state } = this;
    const { controls, vmcs } = this.nonRoot;
    const deadline = core.retired + budget;
    this.trapPending = false;
    // An emulated INT n may have faulted in its delivery.
    this.nonRoot.endDelivery();
    if (controls.preemptionTimer) this.startTimer();
    const injection = vmcs.word(ENTRY_INTERRUPTION);
    if ((injection & INTERRUPTION_VALID) !== 0 && this.inject(injection)) return;
    for (;;) {
      if (this.boundaryExits()) return;
      if (core.retired >= deadline || state.activity === HLT) {
        this.externalInterrupt();
        return;
      }
      let count = deadline - core.retired;
      if (controls.preemptionTimer) count = Math.min(count, core.instructionsUntilTsc(this.timerDeadline));
      const awaited = controls.interruptWindowExiting ? IF : 0;
      const stop = this.needsStepping() ? this.step() : core.execute(count, awaited);
      if (stop === FAULT) {
        if (this.deliverFault()) return;
      } else if (stop !== BOUNDARY) {
        return;
      }
    }
  }

  /** The timer's value now (SDM §26.5.1), for saving it at the exit. */
  remainingTimer(): number {
    const now = this.core.platform.readTsc();
    const shift = BigInt(PREEMPTION_TIMER_TSC_BIT);
    const remaining = (this.timerDeadline >> shift) - (now >> shift);
    return remaining > 0n ? Number(remaining) : 0;
  }

  private startTimer(): void {
    const shift = BigInt(PREEMPTION_TIMER_TSC_BIT);
    const value = BigInt(this.nonRoot.vmcs.word(TIMER));
    this.timerDeadline = ((this.core.platform.readTsc() >> shift) + value) << shift;
  }

  /** Event injection (SDM §27.6). Returns whether it ended in a VM exit. */
  private inject(information: number): boolean {
    const { state, event } = this;
    const { vmcs, controls } = this.nonRoot;
    const type = (information >>> 8) & 7;
    if (type === OTHER_EVENT) {
      this.nonRoot.exit(EXIT.MONITOR_TRAP_FLAG);
      return true;
    }
    event.type = type;
    event.vector = information & 0xff;
    event.errorCode = (information & INTERRUPTION_ERROR_CODE) !== 0 ? vmcs.word(ENTRY_ERROR_CODE) : -1;
    const software = type >= SOFTWARE_INTERRUPT && type <= SOFTWARE_EXCEPTION;
    event.instructionLength = software ? vmcs.word(ENTRY_LENGTH) : 0;
    // What is pending is lost unless INT n, INT3 or INTO came under MOV SS (SDM §27.7.3).
    const keepsPending =
      (type === SOFTWARE_INTERRUPT || type === SOFTWARE_EXCEPTION) &&
      (state.interruptibility & BLOCKING_BY_MOV_SS) !== 0;
    if (!keepsPending) state.pendingDebug = 0;
    // The return address of a software event is the instruction after it; a fault or an exit leaves RIP at it.
    const eip = state.eip;
    state.eip = (eip + event.instructionLength) >>> 0;
    const delivered = this.tryDelivery();
    if (delivered) {
      this.trapPending = controls.monitorTrapFlag;
      return false;
    }
    state.eip = eip;
    return this.deliveryExited || this.deliverFault();
  }

  /** Delivers `event`; false when a fault (in `pendingFault`) or a VM exit prevented it. */
  private tryDelivery(): boolean {
    const { core, state } = this;
    const activity = state.activity;
    state.activity = ACTIVE;
    try {
      deliverEvent(core, this.event);
    } catch (thrown) {
      this.deliveryExited = thrown === this.nonRoot.signal;
      if (!this.deliveryExited && thrown !== core.pendingFault) throw thrown;
      if (this.deliveryExited) state.activity = activity;
      return false;
    }
    state.interruptibility &= ~SHADOWS;
    return true;
  }

  /**
   * The exception in `pendingFault`: intercepted, or delivered, with what arises during its delivery (SDM §6.15). Returns
   * whether it ended in a VM exit. The loop ends because every further fault is of a higher class, up to the triple fault.
   */
  private deliverFault(): boolean {
    const { core, state, nonRoot, event } = this;
    for (;;) {
      const fault = core.pendingFault;
      const nested = nonRoot.vectoring !== 0;
      const firstType = (nonRoot.vectoring >>> 8) & 7;
      const first = nested && firstType === HARDWARE_EXCEPTION ? nonRoot.vectoring & 0xff : -1;
      const vector = nested ? combine(first, fault.vector) : fault.vector;
      if (vector === TRIPLE_FAULT) {
        nonRoot.endDelivery();
        nonRoot.exit(EXIT.TRIPLE_FAULT);
        return true;
      }
      const doubled = vector === DOUBLE_FAULT && fault.vector !== DOUBLE_FAULT;
      const errorCode = doubled ? 0 : fault.errorCode;
      if (nonRoot.exceptionExits(vector, errorCode)) {
        // A double fault that exits directly is not an exit during event delivery (SDM §28.2.4).
        if (doubled) nonRoot.endDelivery();
        nonRoot.exceptionExit(vector, errorCode, fault.address, HARDWARE_EXCEPTION, 0);
        return true;
      }
      recordFault(state, fault);
      event.type = HARDWARE_EXCEPTION;
      event.vector = vector;
      event.errorCode = errorCode;
      event.instructionLength = 0;
      if (this.tryDelivery()) {
        this.trapPending = nonRoot.controls.monitorTrapFlag;
        return false;
      }
      if (this.deliveryExited) return true;
    }
  }

  /** Events due at this boundary, the most important first; returns whether one ended in a VM exit. */
  private boundaryExits(): boolean {
    const { state, nonRoot } = this;
    const { controls } = nonRoot;
    if (this.trapPending) {
      nonRoot.exit(EXIT.MONITOR_TRAP_FLAG);
      return true;
    }
    const blocked = state.interruptibility;
    if ((state.pendingDebug & (PENDING_BREAKPOINT | PENDING_BS)) !== 0 && (blocked & BLOCKING_BY_MOV_SS) === 0) {
      if (this.debugTrap()) return true;
      if (this.trapPending) return this.boundaryExits();
    }
    if (controls.preemptionTimer && this.core.instructionsUntilTsc(this.timerDeadline) === 0) {
      nonRoot.exit(EXIT.PREEMPTION_TIMER);
      return true;
    }
    if (controls.nmiWindowExiting && (state.interruptibility & (BLOCKING_BY_NMI | SHADOWS)) === 0) {
      nonRoot.exit(EXIT.NMI_WINDOW);
      return true;
    }
    if (this.nmiPending && this.nmi()) return true;
    if (controls.interruptWindowExiting && (state.flagsRest & IF) !== 0 && (state.interruptibility & SHADOWS) === 0) {
      nonRoot.exit(EXIT.INTERRUPT_WINDOW);
      return true;
    }
    return false;
  }

  /** A debug trap of the instruction before this boundary, or one that VM entry found pending. */
  private debugTrap(): boolean {
    const { core, state } = this;
    const conditions = state.pendingDebug & DEBUG_CONDITIONS;
    core.fault(DB, -1, conditions);
    if (this.nonRoot.exceptionExits(DB, -1)) {
      this.nonRoot.exceptionExit(DB, -1, conditions, HARDWARE_EXCEPTION, 0);
      state.pendingDebug = 0;
      return true;
    }
    state.pendingDebug = 0;
    return this.deliverFault();
  }

  /** A physical NMI (SDM §26.2, §26.3): exits, or is delivered, unless it is blocked. */
  private nmi(): boolean {
    const { state, nonRoot, event } = this;
    const { controls } = nonRoot;
    // With virtual NMIs the blocking bit is about virtual ones.
    const blocking = controls.virtualNmis ? 0 : BLOCKING_BY_NMI | SHADOWS;
    if ((state.interruptibility & blocking) !== 0) return false;
    this.nmiPending = false;
    if (controls.nmiExiting) {
      nonRoot.exceptionExit(NMI, -1, 0, NON_MASKABLE_INTERRUPT, 0);
      return true;
    }
    event.type = NON_MASKABLE_INTERRUPT;
    event.vector = NMI;
    event.errorCode = -1;
    event.instructionLength = 0;
    if (this.tryDelivery()) return false;
    return this.deliveryExited || this.deliverFault();
  }

  private externalInterrupt(): void {
    this.nonRoot.exit(EXIT.EXTERNAL_INTERRUPT);
    if (this.nonRoot.controls.acknowledgeInterruptOnExit) {
      this.nonRoot.setInterruption(INTERRUPTION_VALID | PLATFORM_INTERRUPT_VECTOR);
    }
  }

  /** Whether the next instruction must be executed alone: something changes right after it or is checked before it. */
  private needsStepping(): boolean {
    const { state } = this;
    return (
      (state.interruptibility & SHADOWS) !== 0 ||
      (state.flagsRest & (TF | RF)) !== 0 ||
      (state.dr(7) & BREAKPOINTS_ENABLED) !== 0 ||
      this.nonRoot.controls.monitorTrapFlag
    );
  }

  private step(): number {
    const { core, state } = this;
    const eip = state.eip;
    const ecx = state.gpr(ECX);
    const flags = state.flagsRest;
    const shadows = state.interruptibility & SHADOWS;
    const matched = (flags & RF) === 0 ? instructionBreakpoints(state) : 0;
    if (matched !== 0) {
      core.fault(DB, -1, matched);
      return FAULT;
    }
    const stop = core.execute(1);
    if (stop !== BOUNDARY) return stop;

    state.interruptibility &= ~shadows;
    const opcode = core.insn.eip === eip ? core.insn.opcode : -1;
    if ((flags & RF) !== 0 && opcode !== 0xcf) state.flagsRest &= ~RF;
    // Between the iterations of a REP string instruction RF is set, so that a breakpoint on it does not fire again.
    if (state.eip === eip && state.gpr(ECX) !== ecx) state.flagsRest |= RF;
    if ((flags & TF) !== 0 && !(CLEARS_TF.has(opcode) && (state.flagsRest & TF) === 0))
      state.pendingDebug |= PENDING_BS;
    this.trapPending = this.nonRoot.controls.monitorTrapFlag;
    return stop;
  }
}

/** Conditions B3–B0 of the enabled instruction breakpoints (DR7.R/W = 0) that EIP is at (SDM §17.2.4). */
function instructionBreakpoints(state: ProcessorState): number {
  const dr7 = state.dr(7);
  if ((dr7 & BREAKPOINTS_ENABLED) === 0) return 0;
  const linear = (state.segmentBase(CS) + state.eip) >>> 0;
  let matched = 0;
  for (let index = 0; index < 4; index++) {
    const enabled = ((dr7 >>> (2 * index)) & 3) !== 0;
    const onExecution = ((dr7 >>> (16 + 4 * index)) & 3) === 0;
    if (enabled && onExecution && state.dr(index) === linear) matched |= 1 << index;
  }
  return matched;
}
