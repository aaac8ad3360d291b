/** SYSENTER and SYSEXIT. SDM Vol. 2, those instructions; Vol. 3 §5.8.7. */

import { GP } from "../context.ts";
import {
  AR_DB,
  AR_DPL_SHIFT,
  AR_G,
  AR_P,
  AR_S,
  CS,
  ECX,
  EDX,
  ESP,
  IF,
  OFFSET,
  type ProcessorState,
  SS,
  VM,
} from "../state.ts";
import { requirePrivilege } from "./control.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import { TYPE_ACCESSED, TYPE_CODE, TYPE_READABLE, TYPE_WRITABLE } from "./descriptors.ts";
import { isProtected } from "./segments.ts";

const FLAT = AR_P | AR_S | AR_DB | AR_G;
const CODE = FLAT | TYPE_CODE | TYPE_READABLE | TYPE_ACCESSED;
const STACK = FLAT | TYPE_WRITABLE | TYPE_ACCESSED;

/** Both instructions load flat segments without reading a descriptor. */
function setFlat(state: ProcessorState, segment: number, selector: number, rights: number, dpl: number): void {
  state.setSelector(segment, selector);
  state.setAccessRights(segment, rights | (dpl << AR_DPL_SHIFT));
  state.setLimit(segment, 0xffff_ffff);
  state.setSegmentBase(segment, 0);
}

/** Protected mode and a non-null IA32_SYSENTER_CS, or #GP(0). Returns its 16 bits. */
function requireSysenter(cpu: SystemCpu): number {
  const selector = cpu.state.get(OFFSET.sysenterCs) & 0xffff;
  if (!isProtected(cpu.state) || (selector & 0xfffc) === 0) throw cpu.fault(GP, 0);
  return selector;
}

function sysenter(cpu: SystemCpu): void {
  const { state } = cpu;
  const selector = requireSysenter(cpu) & 0xfffc;
  state.flagsRest &= ~(VM | IF);
  setFlat(state, CS, selector, CODE, 0);
  setFlat(state, SS, selector + 8, STACK, 0);
  state.cpl = 0;
  state.setGpr(ESP, state.get(OFFSET.sysenterEsp));
  state.eip = state.get(OFFSET.sysenterEip);
  cpu.modeChanged();
}

function sysexit(cpu: SystemCpu): void {
  const { state } = cpu;
  const selector = requireSysenter(cpu);
  requirePrivilege(cpu);
  setFlat(state, CS, (selector + 16) | 3, CODE, 3);
  setFlat(state, SS, (selector + 24) | 3, STACK, 3);
  state.cpl = 3;
  state.setGpr(ESP, state.gpr(ECX));
  state.eip = state.gpr(EDX);
  cpu.modeChanged();
}

export const SYSENTER_INSTRUCTIONS = { sysenter, sysexit } satisfies Record<string, SystemInstruction>;
