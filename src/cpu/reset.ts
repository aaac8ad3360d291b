// Part: the state after RESET (SDM Vol. 3 table 10-1).

import { CS, DS, ES, FS, GS, LDTR, OFFSET, type ProcessorState, SS, TR } from "./state.ts";

/** CPUID's signature, which is in EDX: a P6, model 8. */
const SIGNATURE = 0x0000_0683;
/** CD, NW and ET. */
const CR0_RESET = 0x6000_0010;
const LIMIT = 0xffff;
/** Access rights of the segments. */
const DATA = 0x93;
const CODE = 0x9b;
const LDT = 0x82;
const TSS = 0x8b;

export function resetState(state: ProcessorState): void {
  state.words.fill(0);
  state.eflags = 2;
  state.set(OFFSET.cr0, CR0_RESET);
  state.setGpr(2, SIGNATURE);
  for (const segment of [ES, SS, DS, FS, GS]) setSegment(state, segment, 0, 0, DATA);
  setSegment(state, CS, 0xf000, 0xffff_0000, CODE);
  setSegment(state, LDTR, 0, 0, LDT);
  setSegment(state, TR, 0, 0, TSS);
  state.eip = 0xfff0;
  state.set(OFFSET.gdtrLimit, LIMIT);
  state.set(OFFSET.idtrLimit, LIMIT);
  state.setDr(6, 0xffff_0ff0);
  state.setDr(7, 0x400);
  state.set64(OFFSET.pat, 0x0007_0406_0007_0406n);
}

function setSegment(state: ProcessorState, segment: number, selector: number, base: number, rights: number): void {
  state.setSelector(segment, selector);
  state.setSegmentBase(segment, base);
  state.setLimit(segment, LIMIT);
  state.setAccessRights(segment, rights);
}
