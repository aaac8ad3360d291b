// Part: VM entries and exits of the vCPU that has the processor: what is injected at an entry, and how an exit finds its handler.

import { assert } from "../core/errors.ts";
import {
  BLOCKING_BY_MOV_SS,
  BLOCKING_BY_STI,
  CR0_PE,
  EAX,
  EBX,
  ECX,
  EDI,
  EDX,
  ESI,
  ESP,
  IF,
  OFFSET,
  TF,
} from "../cpu/state.ts";
import {
  ENTRY_FAILURE,
  EXIT,
  EXTERNAL_INTERRUPT,
  exitReason,
  HARDWARE_EXCEPTION,
  INTERRUPTION_ERROR_CODE,
  INTERRUPTION_VALID,
} from "../cpu/vmx/exit-reasons.ts";
import { VMCS } from "../cpu/vmx/fields.ts";
import { VM_SUCCEED } from "../cpu/vmx/operation.ts";
import { PARAMS_H } from "./abi/constants.ts";
import type { Domain } from "./domain.ts";
import type { Exit } from "./exits/exit.ts";
import { EXIT_HANDLERS } from "./exits/index.ts";
import { carryOut } from "./hypercalls/index.ts";
import type { HypervisorServices } from "./services.ts";
import type { SavedRegisters, Vcpu } from "./vcpu.ts";
import { INTERRUPT_WINDOW, PRIMARY_BASE } from "./vmcs-setup.ts";

const SHADOWS = BLOCKING_BY_STI | BLOCKING_BY_MOV_SS;
/** Pending debug exceptions, bit 14: single step (SDM Vol. 3 table 25-4). */
const PENDING_BS = 1 << 14;
const ALL_REGISTERS = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const DEBUG_REGISTERS = [0, 1, 2, 3, 6] as const;
const DR6_RESET = 0xffff_0ff0;
/** Error codes that VM entry takes for exceptions (SDM Vol. 3 §27.2.1.3): all others have none. */
const INJECTABLE_ERROR = 0x7fff;

export class Execution {
  readonly #host: HypervisorServices;
  readonly #exit: Exit = { reason: 0, qualification: 0, guestPhysical: 0, vectoring: 0 };

  constructor(host: HypervisorServices) {
    this.#host = host;
  }

  /**
   * Enters the guest for at most `limit` instructions and handles the exit. `followTime` brings the clock up to date before. False when
   * the exit was the end of the run, which the guest never notices and the trace does not record.
   */
  enter(vcpu: Vcpu, limit: number, followTime: () => void): boolean {
    const { vmx } = this.#host.processor;
    this.#prepare(vcpu);
    const result = vcpu.launched ? vmx.vmresume(limit) : vmx.vmlaunch(limit);
    assert(result === VM_SUCCEED, () => `VM entry failed: ${result}, error ${vmx.vmread(VMCS.INSTRUCTION_ERROR)}`);
    vcpu.launched = true;
    const exit = this.#exit;
    exit.reason = vmx.vmread(VMCS.EXIT_REASON);
    exit.vectoring = vmx.vmread(VMCS.IDT_VECTORING_INFORMATION);
    if (exit.vectoring >>> 31 === 1) this.#deliverAgain(vcpu, exit.vectoring);
    if (exit.reason === EXIT.EXTERNAL_INTERRUPT) return false;
    exit.qualification = vmx.vmread(VMCS.EXIT_QUALIFICATION);
    followTime();
    // The guest may have taken its events: the line has to be down when it ends the interrupt (Xen's hvm_maybe_deassert_evtchn_irq).
    if (vcpu.domain.callbackLine) this.followCallbackLine(vcpu);
    if (exit.reason >= ENTRY_FAILURE) this.#entryFailed(vcpu);
    else this.#dispatch(vcpu);
    return true;
  }

  #dispatch(vcpu: Vcpu): void {
    const host = this.#host;
    const exit = this.#exit;
    const isViolation = exit.reason === EXIT.EPT_VIOLATION;
    if (isViolation) exit.guestPhysical = host.processor.vmx.vmread(VMCS.GUEST_PHYSICAL_ADDRESS);
    const handler = EXIT_HANDLERS[exit.reason];
    const value = handler?.value?.(host, vcpu, exit);
    this.#emitExit(vcpu, isViolation, value);
    if (handler === undefined) {
      host.crash(vcpu.domain, `unexpected VM exit: ${exitReason(exit.reason)?.name ?? exit.reason}`);
    } else {
      handler.handle(host, vcpu, exit, value);
    }
  }

  /** Most exits are of three shapes, which are written out: spreading an object costs more than the rest of the event. */
  #emitExit(vcpu: Vcpu, isViolation: boolean, value: number | undefined): void {
    const { clock, emit, processor } = this.#host;
    const { guestPhysical: gpa, qualification, reason, vectoring } = this.#exit;
    const { domid: domain, id } = vcpu;
    const at = clock.now;
    const rip = processor.state.eip;
    const { retired } = processor;
    if (vectoring >>> 31 === 1) {
      const event = { kind: "vm-exit", at, domain, vcpu: id, reason, qualification, rip, retired, vectoring } as const;
      emit(isViolation ? { ...event, gpa } : event);
    } else if (isViolation) emit({ kind: "vm-exit", at, domain, vcpu: id, reason, qualification, rip, retired, gpa });
    else if (value === undefined) emit({ kind: "vm-exit", at, domain, vcpu: id, reason, qualification, rip, retired });
    else emit({ kind: "vm-exit", at, domain, vcpu: id, reason, qualification, rip, retired, value });
  }

  #entryFailed(vcpu: Vcpu): void {
    const { clock, emit } = this.#host;
    const { reason, qualification } = this.#exit;
    emit({ kind: "vm-entry-failed", at: clock.now, domain: vcpu.domid, vcpu: vcpu.id, reason, qualification });
    this.#host.crash(vcpu.domain, `VM entry failed: reason ${reason - ENTRY_FAILURE}, qualification ${qualification}`);
  }

  /** The exit came during the delivery of an event: it is delivered again at the next entry (SDM Vol. 3 §28.2.4). */
  #deliverAgain(vcpu: Vcpu, vectoring: number): void {
    const { vmx } = this.#host.processor;
    vcpu.injection = {
      information: (vectoring & ~(1 << 12)) >>> 0,
      errorCode: vmx.vmread(VMCS.IDT_VECTORING_ERROR_CODE),
      instructionLength: vmx.vmread(VMCS.EXIT_INSTRUCTION_LENGTH),
    };
  }

  /** Xen's vmx_intr_assist: what the entry injects, and whether the next open window must exit. */
  #prepare(vcpu: Vcpu): void {
    const { processor } = this.#host;
    const { p2m } = vcpu.domain;
    if (p2m.stale) {
      processor.vmx.invept(1, p2m.eptPointer);
      p2m.stale = false;
    }
    this.followCallbackLine(vcpu);
    const controllers = vcpu.domain.platform?.controllers;
    let vector = this.#pendingVector(vcpu);
    if (
      vcpu.injection === undefined &&
      (vector >= 0 || controllers?.interruptPending === true) &&
      this.#interruptsOpen()
    ) {
      // The acknowledge gives the vector: the request may have become another one meanwhile.
      this.#accept(vcpu, vector >= 0 || controllers === undefined ? vector : controllers.acknowledgeInterrupt());
      vector = this.#pendingVector(vcpu);
    }
    this.#injectAtEntry(vcpu);
    this.#setWindow(vcpu, vector >= 0 || controllers?.interruptPending === true);
  }

  #accept(vcpu: Vcpu, vector: number): void {
    const { clock, emit } = this.#host;
    emit({ kind: "irq-delivery", at: clock.now, domain: vcpu.domid, vcpu: vcpu.id, vector });
    vcpu.requested = vcpu.requested.filter((other) => other !== vector);
    const information = (INTERRUPTION_VALID | (EXTERNAL_INTERRUPT << 8) | vector) >>> 0;
    vcpu.injection = { information, errorCode: 0, instructionLength: 0 };
  }

  #injectAtEntry(vcpu: Vcpu): void {
    const { injection } = vcpu;
    if (injection === undefined) return;
    const { clock, emit, processor } = this.#host;
    const { information, errorCode, instructionLength } = injection;
    const hasError = (information & INTERRUPTION_ERROR_CODE) !== 0;
    processor.vmx.vmwrite(VMCS.ENTRY_INTERRUPTION_INFORMATION, information);
    if (hasError) processor.vmx.vmwrite(VMCS.ENTRY_EXCEPTION_ERROR_CODE, errorCode & INJECTABLE_ERROR);
    processor.vmx.vmwrite(VMCS.ENTRY_INSTRUCTION_LENGTH, instructionLength);
    vcpu.injection = undefined;
    emit({
      kind: "vm-entry",
      at: clock.now,
      domain: vcpu.domid,
      vcpu: vcpu.id,
      interruption: information,
      ...(hasError ? { errorCode } : {}),
      retired: processor.retired,
    });
  }

  #setWindow(vcpu: Vcpu, open: boolean): void {
    if (vcpu.windowOpen === open) return;
    vcpu.windowOpen = open;
    const controls = open ? (PRIMARY_BASE | INTERRUPT_WINDOW) >>> 0 : PRIMARY_BASE;
    this.#host.processor.vmx.vmwrite(VMCS.PRIMARY_CONTROLS, controls);
  }

  /** The vector that waits for the vCPU, −1 for none: requested ones by priority, then the level-triggered callback. */
  #pendingVector(vcpu: Vcpu): number {
    const requested = vcpu.requested.at(-1);
    if (requested !== undefined) return requested;
    const { callback, shared } = vcpu.domain;
    return callback.type === "vector" && shared.upcallPending(vcpu.vcpuInfo) ? callback.vector : -1;
  }

  #interruptsOpen(): boolean {
    const { state } = this.#host.processor;
    return (state.flagsRest & IF) !== 0 && (state.interruptibility & SHADOWS) === 0;
  }

  eventDeliverable(vcpu: Vcpu): boolean {
    if (vcpu.injection !== undefined) return true;
    const requested = vcpu.domain.platform?.controllers.interruptPending === true;
    return (requested || this.#pendingVector(vcpu) >= 0) && this.#interruptsOpen();
  }

  /** A GSI or INTx callback line is high while the boot vCPU has an upcall pending (Xen's hvm_set_callback_irq_level). */
  followCallbackLine(vcpu: Vcpu): void {
    const { domain } = vcpu;
    const via = domain.callback;
    const level =
      (via.type === "gsi" || via.type === "pci-intx") && domain.shared.upcallPending(domain.vcpus[0]!.vcpuInfo);
    if (level !== domain.callbackLine) this.#driveCallback(domain, level);
  }

  /** Xen's hvm_set_callback_via: the line that told the guest of events goes down, and the new one up if an upcall is pending. */
  setCallback(domain: Domain, value: bigint): void {
    if (domain.callbackLine) this.#driveCallback(domain, false);
    domain.setParam(PARAMS_H.HVM_PARAM_CALLBACK_IRQ, value);
    const [boot] = domain.vcpus;
    if (boot !== undefined) this.followCallbackLine(boot);
  }

  #driveCallback(domain: Domain, level: boolean): void {
    const { callback: via, domid, platform } = domain;
    const { clock, emit } = this.#host;
    domain.callbackLine = level;
    emit({ kind: "irq-line", at: clock.now, line: `dom${domid} callback`, level });
    if (via.type === "gsi") platform?.controllers.setCallbackLevel(via.gsi, level);
    else if (via.type === "pci-intx") platform?.controllers.setPciIntxLevel(via.devfn >>> 3, via.intx, level);
  }

  inject(vcpu: Vcpu, vector: number, errorCode: number): void {
    // In real mode exceptions push no error code, and VM entry refuses one (SDM Vol. 3 §27.2.1.3).
    const hasError = errorCode >= 0 && (this.#host.processor.state.cr0 & CR0_PE) !== 0;
    const type = (HARDWARE_EXCEPTION << 8) | (hasError ? INTERRUPTION_ERROR_CODE : 0);
    vcpu.injection = {
      information: (INTERRUPTION_VALID | type | vector) >>> 0,
      errorCode: Math.max(errorCode, 0),
      instructionLength: 0,
    };
  }

  skip(): void {
    const { state, vmx } = this.#host.processor;
    state.eip = (state.eip + vmx.vmread(VMCS.EXIT_INSTRUCTION_LENGTH)) >>> 0;
    if ((state.interruptibility & SHADOWS) !== 0) state.interruptibility &= ~SHADOWS;
    if ((state.flagsRest & TF) !== 0) {
      vmx.vmwrite(VMCS.GUEST_PENDING_DEBUG_EXCEPTIONS, state.pendingDebug | PENDING_BS);
    }
  }

  hypercall(vcpu: Vcpu): void {
    const host = this.#host;
    const { state } = host.processor;
    const values = [state.gpr(EBX), state.gpr(ECX), state.gpr(EDX), state.gpr(ESI), state.gpr(EDI)] as const;
    const call = { host, vcpu, domain: vcpu.domain, arguments: values };
    state.setGpr(EAX, carryOut(state.gpr(EAX), call, state.cpl === 0) >>> 0);
  }

  saveRegisters(): SavedRegisters {
    const { state, x87 } = this.#host.processor;
    return {
      gpr: ALL_REGISTERS.map((index) => state.gpr(index)),
      cr2: state.get(OFFSET.cr2),
      dr: DEBUG_REGISTERS.map((index) => state.dr(index)),
      x87: x87.save(),
    };
  }

  /** Undefined: the registers of a vCPU that starts. */
  loadRegisters(saved: SavedRegisters | undefined): void {
    const { state, x87 } = this.#host.processor;
    for (const index of ALL_REGISTERS) {
      // ESP is in the VMCS.
      if (index !== ESP) state.setGpr(index, saved?.gpr[index] ?? 0);
    }
    state.set(OFFSET.cr2, saved?.cr2 ?? 0);
    for (const [position, index] of DEBUG_REGISTERS.entries()) {
      state.setDr(index, saved?.dr[position] ?? (index === 6 ? DR6_RESET : 0));
    }
    if (saved !== undefined) x87.load(saved.x87);
    else x87.reset();
  }
}
