/** What VMX operation needs of the processor that it is a part of. */

import type { Fault } from "../context.ts";
import type { SystemCpu } from "../system/cpu.ts";

/** Results of {@link VmxCore.execute}: why the engine stopped. */
export const BOUNDARY = 0;
export const FAULT = 1;
export const EXIT_SIGNAL = 2;

/** Host-physical memory: the part of it that VMX touches. Addresses are below `size`. */
export interface HostMemory {
  readonly size: number;
  load8(address: number): number;
  load32(address: number): number;
  store32(address: number, value: number): void;
}

export interface VmxCore extends SystemCpu {
  readonly memory: HostMemory;
  /** Instructions completed since the processor was created. */
  readonly retired: number;
  /** The one fault object: what `Cpu.fault` filled last. */
  readonly pendingFault: Fault;

  /**
   * Runs at most `budget` (≥ 1) instructions; BOUNDARY, FAULT or EXIT_SIGNAL. It returns at the boundary after an instruction
   * that sets one of the flags in `awaitedFlags`, which is IF unless it is given.
   */
  execute(budget: number, awaitedFlags?: number): number;
  /** Smallest number of further instructions after which `platform.readTsc()` is at least `tsc`; 0 when it is already. */
  instructionsUntilTsc(tsc: bigint): number;
}
