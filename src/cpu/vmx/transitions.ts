/**
 * VM entries and VM exits (SDM chapters 27 and 28). Edition: see fields.ts.
 *
 * Root mode is TypeScript, not instructions, so loading host state at an exit has no effect to model beyond IA32_EFER and
 * IA32_PAT, which an entry that does not load them takes over. The guest's registers stay in the processor's state block
 * between an exit and the next entry. Checks are made again only when a field that they read was written.
 */

import { AR_DPL_SHIFT, CR0_ET, OFFSET, RF, SS } from "../state.ts";
import { CONTROL_CHECKS, INJECTION_CHECKS, WINDOW_CHECKS } from "./check-controls.ts";
import {
  FLAG_CHECKS,
  INJECTION_STATE_CHECKS,
  NON_REGISTER_CHECKS,
  PDPTE_CHECKS,
  REGISTER_CHECKS,
  TABLE_CHECKS,
} from "./check-guest.ts";
import { HOST_CHECKS } from "./check-host.ts";
import { SEGMENT_CHECKS } from "./check-segments.ts";
import { decodeGroup, PIN_BASED, PRIMARY, SECONDARY, VM_ENTRY, VM_EXIT } from "./controls.ts";
import type { VmxCore } from "./core.ts";
import { type EntryCheck, EntryView } from "./entry-view.ts";
import {
  ENTRY_FAILURE,
  EXIT,
  HARDWARE_EXCEPTION,
  INTERRUPTION_VALID,
  isInstructionExit,
  SOFTWARE_INTERRUPT,
} from "./exit-reasons.ts";
import { VMCS, wordOf } from "./fields.ts";
import { MsrAreas } from "./msr-areas.ts";
import { NonRoot } from "./non-root.ts";
import {
  INVALID_CONTROL_FIELDS,
  INVALID_HOST_STATE,
  VM_FAIL_INVALID,
  VM_FAIL_VALID,
  VM_SUCCEED,
  VMLAUNCH_NOT_CLEAR,
  VMRESUME_NOT_LAUNCHED,
  VMX_ABORT,
  type VmxResult,
} from "./results.ts";
import { BoundaryLoop } from "./run.ts";
import {
  ABORT_INDICATOR_OFFSET,
  ALL_GROUPS,
  CONTROLS,
  GUEST_FLAGS,
  GUEST_GROUPS,
  GUEST_NON_REGISTER,
  GUEST_PDPTES,
  GUEST_REGISTERS,
  GUEST_SEGMENTS,
  HOST_STATE,
  TRANSLATION,
  WINDOWS,
} from "./vmcs.ts";

/** VMX-abort indicators (SDM §28.7). */
const ABORT_STORING_MSRS = 1;
const ABORT_LOADING_MSRS = 4;

const INSTRUCTION_ERROR = wordOf(VMCS.INSTRUCTION_ERROR);
const EXIT_REASON = wordOf(VMCS.EXIT_REASON);
const EXIT_QUALIFICATION = wordOf(VMCS.EXIT_QUALIFICATION);
const INTERRUPTION = wordOf(VMCS.EXIT_INTERRUPTION_INFORMATION);
const VECTORING = wordOf(VMCS.IDT_VECTORING_INFORMATION);
const VECTORING_ERROR_CODE = wordOf(VMCS.IDT_VECTORING_ERROR_CODE);
const INSTRUCTION_LENGTH = wordOf(VMCS.EXIT_INSTRUCTION_LENGTH);
const ENTRY_INTERRUPTION = wordOf(VMCS.ENTRY_INTERRUPTION_INFORMATION);
const TIMER = wordOf(VMCS.PREEMPTION_TIMER);
const GUEST_DR7 = wordOf(VMCS.GUEST_DR7);
const GUEST_PAT = wordOf(VMCS.GUEST_PAT);
const GUEST_EFER = wordOf(VMCS.GUEST_EFER);
const HOST_PAT = wordOf(VMCS.HOST_PAT);
const HOST_EFER = wordOf(VMCS.HOST_EFER);
const EXIT_STORE_COUNT = wordOf(VMCS.EXIT_MSR_STORE_COUNT);
const EXIT_LOAD_COUNT = wordOf(VMCS.EXIT_MSR_LOAD_COUNT);
const ENTRY_LOAD_COUNT = wordOf(VMCS.ENTRY_MSR_LOAD_COUNT);

/** CR0 bits that VM entry loads; ET is always 1 (SDM §27.3.2.1). */
const CR0_LOADED = 0xe005_003f;
/** DR7 bits 15:14 and 12:11 are always 0, bit 10 always 1 (SDM §27.3.2.1). */
const DR7_LOADED = 0xffff_23ff;
const DR7_FIXED = 0x400;
/** Power-up value of IA32_PAT (SDM §12.12.4), low and high word. */
const PAT_RESET = 0x0007_0406;

const DB = 1;
const DOUBLE_FAULT = 8;
const MACHINE_CHECK = 18;
/** Hardware exceptions whose image of EFLAGS has RF as it was: they are no faults. */
const NOT_FAULTS: ReadonlySet<number> = new Set([DB, DOUBLE_FAULT, MACHINE_CHECK]);

export class Transitions extends NonRoot {
  /** The rule that the last failed VM entry broke, for reports. */
  failedCheck: EntryCheck | undefined = undefined;
  protected readonly view: EntryView;
  protected readonly loop: BoundaryLoop;
  /** IA32_EFER and IA32_PAT as root mode has them. */
  protected rootEfer = 0;
  protected readonly rootPat: [number, number] = [PAT_RESET, PAT_RESET];
  /** What the TLB's translations were made with: 0 and −1 for nothing to keep. */
  protected tlbVpid = 0;
  protected tlbRoot = -1;
  private readonly msrAreas: MsrAreas;

  constructor(core: VmxCore) {
    super(core);
    this.view = new EntryView(this.vmcs, this.controls, core.memory);
    this.loop = new BoundaryLoop(core, this);
    this.msrAreas = new MsrAreas(core);
  }

  protected enter(budget: number, launch: boolean): VmxResult {
    const { vmcs, controls } = this;
    if (vmcs.pointer < 0) return VM_FAIL_INVALID;
    if (vmcs.launched === launch) return this.fail(launch ? VMLAUNCH_NOT_CLEAR : VMRESUME_NOT_LAUNCHED);
    const injects = (vmcs.word(ENTRY_INTERRUPTION) & INTERRUPTION_VALID) !== 0;
    if (vmcs.due !== 0 || injects) {
      const error = this.checkControlsAndHost(injects);
      if (error !== 0) return this.fail(error);
      const broken = this.firstBrokenGuestRule(injects);
      if (broken !== undefined) {
        this.failedCheck = broken;
        return this.failEntry(EXIT.ENTRY_FAILURE_GUEST_STATE, broken.qualification ?? 0);
      }
      this.loadGuestState();
    }
    this.loadControlledRegisters();
    this.tagTranslations();
    if (vmcs.word(ENTRY_LOAD_COUNT) !== 0) {
      const entry = this.msrAreas.load(this.view.address(VMCS.ENTRY_MSR_LOAD_ADDRESS), vmcs.word(ENTRY_LOAD_COUNT));
      if (entry !== 0) return this.failEntry(EXIT.ENTRY_FAILURE_MSR_LOADING, entry);
      // IA32_EFER may be among them.
      this.core.flushTlb(true);
    }
    vmcs.launched = true;
    this.loop.run(budget);
    this.completeExit();
    if (controls.savePreemptionTimer) vmcs.words[TIMER] = this.loop.remainingTimer();
    return this.leave();
  }

  /** SDM §27.2; 0 or the VM-instruction error. */
  private checkControlsAndHost(injects: boolean): number {
    const { vmcs } = this;
    if ((vmcs.due & CONTROLS) !== 0) {
      this.decodeControls();
      if (!this.holds(CONTROL_CHECKS)) return INVALID_CONTROL_FIELDS;
    } else if ((vmcs.due & WINDOWS) !== 0) {
      decodeGroup(this.controls, PRIMARY, this.view.low(VMCS.PRIMARY_CONTROLS));
      if (!this.holds(WINDOW_CHECKS)) return INVALID_CONTROL_FIELDS;
    }
    if (injects && !this.holds(INJECTION_CHECKS)) return INVALID_CONTROL_FIELDS;
    if ((vmcs.due & HOST_STATE) !== 0 && !this.holds(HOST_CHECKS)) return INVALID_HOST_STATE;
    return 0;
  }

  private holds(checks: readonly EntryCheck[]): boolean {
    const broken = this.firstBroken(checks);
    if (broken === undefined) return true;
    this.failedCheck = broken;
    // What was decoded or checked may be changed by then: all of it again at the next attempt.
    this.vmcs.due = ALL_GROUPS;
    return false;
  }

  private firstBroken(checks: readonly EntryCheck[]): EntryCheck | undefined {
    for (const check of checks) if (!check.holds(this.view)) return check;
    return undefined;
  }

  /** SDM §27.3.1. */
  private firstBrokenGuestRule(injects: boolean): EntryCheck | undefined {
    const { due } = this.vmcs;
    return (
      ((due & GUEST_REGISTERS) !== 0 ? this.firstBroken(REGISTER_CHECKS) : undefined) ??
      ((due & GUEST_SEGMENTS) !== 0 ? this.firstBroken(SEGMENT_CHECKS) : undefined) ??
      ((due & GUEST_SEGMENTS) !== 0 ? this.firstBroken(TABLE_CHECKS) : undefined) ??
      ((due & GUEST_FLAGS) !== 0 ? this.firstBroken(FLAG_CHECKS) : undefined) ??
      ((due & GUEST_NON_REGISTER) !== 0 ? this.firstBroken(NON_REGISTER_CHECKS) : undefined) ??
      (injects ? this.firstBroken(INJECTION_STATE_CHECKS) : undefined) ??
      ((due & GUEST_PDPTES) !== 0 ? this.firstBroken(PDPTE_CHECKS) : undefined)
    );
  }

  /** SDM §27.3.2, as far as the state block does not have it already: what follows from the fields written. */
  private loadGuestState(): void {
    const { core, vmcs } = this;
    const { state } = core;
    const { due } = vmcs;
    vmcs.due = 0;
    if ((due & GUEST_REGISTERS) !== 0) state.cr0 = ((state.cr0 & CR0_LOADED) | CR0_ET) >>> 0;
    if ((due & GUEST_SEGMENTS) !== 0) state.cpl = (state.accessRights(SS) >>> AR_DPL_SHIFT) & 3;
    if ((due & TRANSLATION) !== 0) core.flushTlb(true);
    if ((due & (GUEST_REGISTERS | GUEST_SEGMENTS)) !== 0) core.modeChanged();
  }

  /** Registers that entry controls decide about (SDM §27.3.2.1). */
  private loadControlledRegisters(): void {
    const { core, vmcs, controls } = this;
    const { state } = core;
    const dr7 = ((controls.loadDebugControls ? vmcs.word(GUEST_DR7) : 0) & DR7_LOADED) | DR7_FIXED;
    if (state.dr(7) !== dr7 >>> 0) {
      state.setDr(7, dr7);
      // Pages with data breakpoints have no fast path.
      core.flushTlb(true);
    }
    const efer = controls.loadEfer ? vmcs.word(GUEST_EFER) : this.rootEfer;
    if (state.get(OFFSET.efer) !== efer) {
      state.set(OFFSET.efer, efer);
      core.flushTlb(true);
    }
    state.set(OFFSET.pat, controls.loadPat ? vmcs.word(GUEST_PAT) : this.rootPat[0]);
    state.set(OFFSET.pat + 4, controls.loadPat ? vmcs.word(GUEST_PAT + 1) : this.rootPat[1]);
  }

  /** Entries without VPID drop all translations; with it, those of another VPID or EPT pointer (SDM §29.4.3). */
  private tagTranslations(): void {
    const { controls } = this;
    const root = controls.eptEnabled ? controls.eptRoot : -1;
    if (controls.vpidEnabled && controls.vpid === this.tlbVpid && root === this.tlbRoot) return;
    this.core.flushTlb(true);
    this.tlbVpid = controls.vpidEnabled ? controls.vpid : 0;
    this.tlbRoot = root;
  }

  protected decodeControls(): void {
    const { vmcs, controls, view } = this;
    decodeGroup(controls, PIN_BASED, view.low(VMCS.PIN_BASED_CONTROLS));
    decodeGroup(controls, PRIMARY, view.low(VMCS.PRIMARY_CONTROLS));
    decodeGroup(controls, SECONDARY, controls.activateSecondaryControls ? view.low(VMCS.SECONDARY_CONTROLS) : 0);
    decodeGroup(controls, VM_EXIT, view.low(VMCS.EXIT_CONTROLS));
    decodeGroup(controls, VM_ENTRY, view.low(VMCS.ENTRY_CONTROLS));
    controls.exceptionBitmap = view.low(VMCS.EXCEPTION_BITMAP);
    controls.pageFaultErrorMask = view.low(VMCS.PAGE_FAULT_ERROR_CODE_MASK);
    controls.pageFaultErrorMatch = view.low(VMCS.PAGE_FAULT_ERROR_CODE_MATCH);
    controls.cr0Mask = view.low(VMCS.CR0_MASK);
    controls.cr0Shadow = view.low(VMCS.CR0_READ_SHADOW);
    controls.cr4Mask = view.low(VMCS.CR4_MASK);
    controls.cr4Shadow = view.low(VMCS.CR4_READ_SHADOW);
    const targets = [VMCS.CR3_TARGET_0, VMCS.CR3_TARGET_1, VMCS.CR3_TARGET_2, VMCS.CR3_TARGET_3];
    controls.cr3Targets = targets.slice(0, view.low(VMCS.CR3_TARGET_COUNT)).map((target) => view.low(target));
    controls.tscOffset = (BigInt(view.high(VMCS.TSC_OFFSET)) << 32n) | BigInt(view.low(VMCS.TSC_OFFSET));
    controls.ioBitmapA = view.address(VMCS.IO_BITMAP_A);
    controls.ioBitmapB = view.address(VMCS.IO_BITMAP_B);
    controls.msrBitmap = view.address(VMCS.MSR_BITMAP);
    const eptp = view.address(VMCS.EPT_POINTER);
    controls.eptRoot = eptp - (eptp % 4096);
    controls.eptAccessedDirty = (view.low(VMCS.EPT_POINTER) & (1 << 6)) !== 0;
    controls.vpid = vmcs.word(wordOf(VMCS.VPID));
  }

  /** What is left to record once an exit is known: SDM §28.2.4, §28.2.5, §28.3. */
  private completeExit(): void {
    const { vmcs, controls, core } = this;
    const { words } = vmcs;
    const { state } = core;
    words[ENTRY_INTERRUPTION] = (words[ENTRY_INTERRUPTION] as number) & ~INTERRUPTION_VALID;
    const { vectoring } = this;
    words[VECTORING] = vectoring;
    words[VECTORING_ERROR_CODE] = vectoring === 0 ? 0 : this.vectoringErrorCode;
    const byInstruction = isInstructionExit(vmcs.word(EXIT_REASON));
    words[INSTRUCTION_LENGTH] = this.instructionLength(vectoring, byInstruction);
    this.saveResumeFlag(vectoring, byInstruction);
    this.endDelivery();
    this.takeExit();
    if (controls.saveDebugControls) words[GUEST_DR7] = state.dr(7);
    if (controls.savePat) {
      words[GUEST_PAT] = state.get(OFFSET.pat);
      words[GUEST_PAT + 1] = state.get(OFFSET.pat + 4);
    }
    if (controls.saveEfer) words[GUEST_EFER] = state.get(OFFSET.efer);
    this.rootEfer = controls.loadHostEfer ? vmcs.word(HOST_EFER) : state.get(OFFSET.efer);
    this.rootPat[0] = controls.loadHostPat ? vmcs.word(HOST_PAT) : state.get(OFFSET.pat);
    this.rootPat[1] = controls.loadHostPat ? vmcs.word(HOST_PAT + 1) : state.get(OFFSET.pat + 4);
  }

  /** SDM §28.2.5: of the instruction that exited, or that raised the software event whose delivery exited; else 0. */
  private instructionLength(vectoring: number, byInstruction: boolean): number {
    const type = (vectoring >>> 8) & 7;
    if (vectoring !== 0) return type >= SOFTWARE_INTERRUPT ? this.vectoringLength : 0;
    return byInstruction ? this.core.insn.length : this.softwareLength;
  }

  /** RF in the saved RFLAGS (SDM §28.3.3). */
  private saveResumeFlag(vectoring: number, byInstruction: boolean): void {
    const { state } = this.core;
    if (vectoring === 0 && byInstruction) {
      if ((state.flagsRest & RF) !== 0) state.flagsRest &= ~RF;
      return;
    }
    const reason = this.vmcs.word(EXIT_REASON);
    const ept = reason === EXIT.EPT_VIOLATION || reason === EXIT.EPT_MISCONFIGURATION;
    const event = reason === EXIT.EXCEPTION_OR_NMI ? this.vmcs.word(INTERRUPTION) : vectoring;
    const faulted = ((event >>> 8) & 7) === HARDWARE_EXCEPTION && event !== 0 && !NOT_FAULTS.has(event & 0xff);
    if (faulted || (ept && vectoring === 0)) state.flagsRest |= RF;
  }

  /** MSR areas of the exit (SDM §28.4, §28.6). */
  private leave(): VmxResult {
    const { vmcs, view } = this;
    const stores = vmcs.word(EXIT_STORE_COUNT);
    if (stores !== 0 && this.msrAreas.store(view.address(VMCS.EXIT_MSR_STORE_ADDRESS), stores) !== 0) {
      return this.abort(ABORT_STORING_MSRS);
    }
    return this.loadHostMsrs();
  }

  private loadHostMsrs(): VmxResult {
    const loads = this.vmcs.word(EXIT_LOAD_COUNT);
    if (loads !== 0 && this.msrAreas.check(this.view.address(VMCS.EXIT_MSR_LOAD_ADDRESS), loads) !== 0) {
      return this.abort(ABORT_LOADING_MSRS);
    }
    return VM_SUCCEED;
  }

  /** A VM-entry failure during or after loading guest state (SDM §27.8): only reason and qualification are written. */
  private failEntry(reason: number, qualification: number): VmxResult {
    const { words } = this.vmcs;
    words[EXIT_REASON] = reason | ENTRY_FAILURE;
    words[EXIT_QUALIFICATION] = qualification;
    this.vmcs.due |= GUEST_GROUPS | TRANSLATION;
    return this.loadHostMsrs();
  }

  private abort(indicator: number): VmxResult {
    this.writeRegion(this.vmcs.pointer + ABORT_INDICATOR_OFFSET, indicator);
    return VMX_ABORT;
  }

  protected fail(error: number): VmxResult {
    if (this.vmcs.pointer < 0) return VM_FAIL_INVALID;
    this.vmcs.words[INSTRUCTION_ERROR] = error;
    return VM_FAIL_VALID;
  }

  protected writeRegion(address: number, value: number): void {
    if (address + 4 <= this.core.memory.size) this.core.memory.store32(address, value);
  }
}
