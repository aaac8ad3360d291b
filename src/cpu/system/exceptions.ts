/**
 * Exception classes: what becomes of a fault that arises while another event is being delivered, and what a fault
 * leaves in CR2 and DR6. SDM Vol. 3 §6.15, tables 6-4 and 6-5.
 */

import { DB, DE, DOUBLE_FAULT, type Fault, GP, NP, PAGE_FAULT, SS_FAULT, TS } from "../context.ts";
import { OFFSET, type ProcessorState } from "../state.ts";

/** The third fault in a row: no vector, the processor shuts down (in non-root operation a VM exit, reason 2). */
export const TRIPLE_FAULT = -1;

const CONTRIBUTORY: ReadonlySet<number> = new Set([DE, TS, NP, SS_FAULT, GP]);

/** DR6 after a debug exception: the bits that are always 1 (SDM Vol. 3 §17.2.3). */
export const DR6_FIXED = 0xffff_0ff0;
/** General detect enable: the next MOV to or from a debug register raises #DB. */
export const DR7_GD = 1 << 13;

/**
 * The vector to deliver when the exception `second` is raised during the delivery of `first`, whose interruption type is
 * that of a hardware exception; {@link DOUBLE_FAULT} pushes the error code 0. A first event that is no hardware
 * exception (an interrupt, INT n) is benign: pass −1.
 */
export function combine(first: number, second: number): number {
  if (first === DOUBLE_FAULT) return CONTRIBUTORY.has(second) || second === PAGE_FAULT ? TRIPLE_FAULT : second;
  if (CONTRIBUTORY.has(first) && CONTRIBUTORY.has(second)) return DOUBLE_FAULT;
  if (first === PAGE_FAULT && (CONTRIBUTORY.has(second) || second === PAGE_FAULT)) return DOUBLE_FAULT;
  return second;
}

/**
 * Commits what a fault changes before its handler starts: CR2 of a page fault, DR6 and DR7.GD of a debug exception. To
 * be called after the exception bitmap was asked, since an exit leaves them alone (SDM Vol. 3 §28.1).
 */
export function recordFault(state: ProcessorState, fault: Fault): void {
  if (fault.vector === PAGE_FAULT) state.set(OFFSET.cr2, fault.address);
  if (fault.vector === DB) {
    state.setDr(6, (state.dr(6) & ~0xf) | DR6_FIXED | fault.address);
    state.setDr(7, state.dr(7) & ~DR7_GD);
  }
}
