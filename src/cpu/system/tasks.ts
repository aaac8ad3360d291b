/**
 * Task switching. SDM Vol. 3 chapter 7 and §26.4.2.
 *
 * In VMX non-root operation every task switch is a VM exit, after the checks that {@link taskSwitchExit} makes. The
 * switch itself, {@link switchTask}, is what the hypervisor then carries out for its guest.
 */

import { GP, NP, TS } from "../context.ts";
import { AR_UNUSABLE, CR0_PG, CR0_TS, CR4_PAE, CS, DS, ES, FS, GS, LDTR, NT, SS, TR, VM } from "../state.ts";
import {
  EXIT,
  TASK_SWITCH_CALL,
  TASK_SWITCH_IDT_GATE,
  TASK_SWITCH_IRET,
  taskSwitchQualification,
} from "../vmx/exit-reasons.ts";
import type { VmExitSignal } from "../vmx/intercepts.ts";
import { type SystemCpu, selectorFault } from "./cpu.ts";
import {
  baseOf,
  type Descriptor,
  descriptorAddress,
  dplOf,
  isCode,
  isConforming,
  isNull,
  isPresent,
  isSystem,
  LDT,
  limitOf,
  markAccessed,
  RPL,
  readDescriptor,
  setTypeBits,
  TABLE_INDICATOR,
  TSS_16_AVAILABLE,
  TSS_32_AVAILABLE,
  TSS_BUSY,
  typeOf,
} from "./descriptors.ts";
import { loadPdptes } from "./paging.ts";
import { checkDataSegment, checkStackSegment, setNullSegment, setSegment, setV86Segments } from "./segments.ts";
import { Stack } from "./stack.ts";

/** Lowest limits of a TSS (SDM Vol. 3 §7.2.2). */
const MINIMUM_LIMIT_32 = 0x67;
const MINIMUM_LIMIT_16 = 0x2b;

/** Where a TSS keeps things (SDM Vol. 3 figures 7-2 and 7-10). CR3, FS, GS and the T flag exist in the 32-bit one only. */
interface TaskLayout {
  readonly width: number;
  readonly minimumLimit: number;
  readonly eip: number;
  readonly eflags: number;
  /** Eight registers in encoding order. */
  readonly gpr: number;
  /** ES, CS, SS, DS and in the 32-bit TSS FS, GS. */
  readonly segments: number;
  readonly segmentCount: number;
  readonly ldt: number;
}

const LAYOUT_32: TaskLayout = {
  width: 4,
  minimumLimit: MINIMUM_LIMIT_32,
  eip: 32,
  eflags: 36,
  gpr: 40,
  segments: 72,
  segmentCount: 6,
  ldt: 96,
};
const LAYOUT_16: TaskLayout = {
  width: 2,
  minimumLimit: MINIMUM_LIMIT_16,
  eip: 14,
  eflags: 16,
  gpr: 18,
  segments: 34,
  segmentCount: 4,
  ldt: 42,
};
const BACK_LINK = 0;
const TSS_CR3 = 28;
const TSS_TRAP = 100;

/** Local breakpoint enables L0 to L3 and LE, cleared by a task switch (SDM Vol. 3 §17.2.4). */
const DR7_LOCAL = 0x155;

const layoutOf = (type: number): TaskLayout => ((type & 8) === 0 ? LAYOUT_16 : LAYOUT_32);

/** The checks on the TSS of a new task (SDM Vol. 3 §7.3, table 7-1, and §26.4.2). `source`: TASK_SWITCH_…. */
function readTask(cpu: SystemCpu, selector: number, source: number): Descriptor {
  const returning = source === TASK_SWITCH_IRET;
  const vector = returning ? TS : GP;
  if ((selector & TABLE_INDICATOR) !== 0 || isNull(selector)) throw selectorFault(cpu, vector, selector);
  const descriptor = readDescriptor(cpu, selector, vector);
  const available = typeOf(descriptor) & ~TSS_BUSY;
  const isTask = isSystem(descriptor) && (available === TSS_16_AVAILABLE || available === TSS_32_AVAILABLE);
  const busy = (typeOf(descriptor) & TSS_BUSY) !== 0;
  if (!isTask || busy !== returning) throw selectorFault(cpu, vector, selector);
  if (!isPresent(descriptor)) throw selectorFault(cpu, NP, selector);
  if (limitOf(descriptor) < layoutOf(available).minimumLimit) throw selectorFault(cpu, TS, selector);
  return descriptor;
}

/** The VM exit of a task switch to the TSS `selector`; throws the fault if the selector or its TSS is not fit. */
export function taskSwitchExit(cpu: SystemCpu, selector: number, source: number): VmExitSignal {
  readTask(cpu, selector, source);
  return cpu.vmx.exit(EXIT.TASK_SWITCH, taskSwitchQualification(selector, source));
}

/**
 * Switches to the task of TSS `selector` for the hypervisor. `source`: TASK_SWITCH_… as in the exit qualification;
 * `returnEip`: where the old task will go on; `errorCode`: pushed on the new task's stack, −1 for none.
 *
 * Returns whether the new TSS has its T flag set: then the guest is owed a #DB with DR6.BT (SDM Vol. 3 §17.3.1.5).
 *
 * Throws a fault of the guest. One thrown before the registers changed belongs to the old task, one thrown while the new
 * task's segments are loaded to the new task (SDM Vol. 3 §7.3, step 13): inject it in either case with the state as it is.
 */
export function switchTask(
  cpu: SystemCpu,
  selector: number,
  source: number,
  returnEip: number,
  errorCode = -1,
): boolean {
  const { state } = cpu;
  const descriptor = readTask(cpu, selector, source);
  const nested = source === TASK_SWITCH_CALL || source === TASK_SWITCH_IDT_GATE;
  const layout = layoutOf(typeOf(descriptor));
  const task = readTaskState(cpu, descriptor, layout);
  saveTask(cpu, returnEip, source === TASK_SWITCH_IRET);

  if (nested) cpu.writeLinear((baseOf(descriptor) + BACK_LINK) >>> 0, 2, state.selector(TR), true);
  if (!nested) clearBusy(cpu, state.selector(TR));
  if (source !== TASK_SWITCH_IRET) setTypeBits(cpu, descriptor, TSS_BUSY);
  setSegment(state, TR, selector, descriptor);
  state.setAccessRights(TR, state.accessRights(TR) | TSS_BUSY);
  state.cr0 |= CR0_TS;
  state.setDr(7, state.dr(7) & ~DR7_LOCAL);
  enterTask(cpu, task, layout, nested, errorCode);
  return task.trap;
}

interface TaskState {
  cr3: number;
  eip: number;
  eflags: number;
  gpr: number[];
  selectors: number[];
  ldt: number;
  trap: boolean;
}

function readTaskState(cpu: SystemCpu, descriptor: Descriptor, layout: TaskLayout): TaskState {
  const base = baseOf(descriptor);
  const at = (offset: number, width = layout.width) => cpu.readLinear((base + offset) >>> 0, width, true);
  const wide = layout.width === 4;
  return {
    cr3: wide ? at(TSS_CR3) : cpu.state.cr3,
    eip: at(layout.eip),
    eflags: at(layout.eflags),
    // A 16-bit TSS leaves the upper halves of the registers undefined; processors set them to ones.
    gpr: REGISTERS.map((index) => at(layout.gpr + index * layout.width) | (wide ? 0 : 0xffff_0000)),
    selectors: REGISTERS.slice(0, layout.segmentCount).map((index) => at(layout.segments + index * layout.width, 2)),
    ldt: at(layout.ldt, 2),
    trap: wide && (at(TSS_TRAP, 2) & 1) !== 0,
  };
}

const REGISTERS = [0, 1, 2, 3, 4, 5, 6, 7] as const;

/** Stores the running task's registers in its TSS, or page-faults before the first store. */
function saveTask(cpu: SystemCpu, returnEip: number, returning: boolean): void {
  const { state } = cpu;
  const base = state.segmentBase(TR);
  const layout = layoutOf(state.accessRights(TR));
  const length = layout.segments + layout.segmentCount * layout.width - layout.eip;
  cpu.probeLinear((base + layout.eip) >>> 0, length, true, true);
  const put = (offset: number, value: number, width = layout.width) => {
    cpu.writeLinear((base + offset) >>> 0, width, value, true);
  };
  put(layout.eip, returnEip);
  put(layout.eflags, returning ? state.eflags & ~NT : state.eflags);
  for (const index of REGISTERS) put(layout.gpr + index * layout.width, state.gpr(index));
  for (let segment = ES; segment < layout.segmentCount; segment++) {
    put(layout.segments + segment * layout.width, state.selector(segment), 2);
  }
}

function clearBusy(cpu: SystemCpu, selector: number): void {
  const linear = descriptorAddress(cpu, selector);
  if (linear < 0) return;
  const rights = cpu.readLinear((linear + 5) >>> 0, 1, true);
  cpu.writeLinear((linear + 5) >>> 0, 1, rights & ~TSS_BUSY, true);
}

/** Steps 11 to 13 of SDM Vol. 3 §7.3: the new task's registers, then its segments. */
function enterTask(cpu: SystemCpu, task: TaskState, layout: TaskLayout, nested: boolean, errorCode: number): void {
  const { state } = cpu;
  if (layout.width === 4 && (state.cr0 & CR0_PG) !== 0) {
    if ((state.cr4 & CR4_PAE) !== 0) loadPdptes(cpu, task.cr3);
    state.cr3 = task.cr3;
    cpu.flushTlb(false);
  }
  state.eip = task.eip;
  state.eflags = nested ? task.eflags | NT : task.eflags;
  task.gpr.forEach((value, index) => {
    state.setGpr(index, value);
  });
  // Until they are loaded, the segments are unusable but have the new task's selectors.
  for (const segment of [ES, CS, SS, DS, FS, GS]) {
    state.setSelector(segment, task.selectors[segment] ?? 0);
    state.setAccessRights(segment, state.accessRights(segment) | AR_UNUSABLE);
  }
  cpu.modeChanged();
  loadLdt(cpu, task.ldt);
  if ((state.eflags & VM) !== 0) {
    setV86Segments(
      state,
      [0, 1, 2, 3, 4, 5].map((segment) => state.selector(segment)),
    );
    state.cpl = 3;
  } else {
    loadTaskSegments(cpu, task);
  }
  cpu.modeChanged();
  if (errorCode >= 0) {
    const stack = Stack.current(cpu);
    stack.push(layout.width, errorCode);
    stack.store();
    stack.commitPointer();
  }
  if (task.eip > state.limit(CS)) throw cpu.fault(GP, 0);
  cpu.checkBoundary();
}

function loadLdt(cpu: SystemCpu, selector: number): void {
  const { state } = cpu;
  setNullSegment(state, LDTR, selector);
  if (isNull(selector)) return;
  if ((selector & TABLE_INDICATOR) !== 0) throw selectorFault(cpu, TS, selector);
  const descriptor = readDescriptor(cpu, selector, TS);
  const valid = isSystem(descriptor) && typeOf(descriptor) === LDT && isPresent(descriptor);
  if (!valid) throw selectorFault(cpu, TS, selector);
  setSegment(state, LDTR, selector, descriptor);
}

/** The new task runs at the RPL of its CS; every check that fails is #TS, but for absent segments. */
function loadTaskSegments(cpu: SystemCpu, task: TaskState): void {
  const { state } = cpu;
  const selector = task.selectors[CS] ?? 0;
  const cpl = selector & RPL;
  if (isNull(selector)) throw selectorFault(cpu, TS, selector);
  const code = readDescriptor(cpu, selector, TS);
  const privileged = isConforming(code) ? dplOf(code) <= cpl : dplOf(code) === cpl;
  if (!isCode(code) || !privileged) throw selectorFault(cpu, TS, selector);
  if (!isPresent(code)) throw selectorFault(cpu, NP, selector);
  state.cpl = cpl;
  markAccessed(cpu, code);
  setSegment(state, CS, selector, code);

  const stackSelector = task.selectors[SS] ?? 0;
  const stack = checkStackSegment(cpu, stackSelector, cpl, TS);
  markAccessed(cpu, stack);
  setSegment(state, SS, stackSelector, stack);

  for (const segment of [DS, ES, FS, GS]) {
    const data = task.selectors[segment] ?? 0;
    if (isNull(data)) {
      setNullSegment(state, segment, data);
    } else {
      const descriptor = checkDataSegment(cpu, data, TS);
      markAccessed(cpu, descriptor);
      setSegment(state, segment, data, descriptor);
    }
  }
}
