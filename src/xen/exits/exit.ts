// Part: what a handler of VM exits is: a row of the table in index.ts.

import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";

/** The exit at hand, read from the VMCS once. One object is reused for all exits. */
export interface Exit {
  reason: number;
  qualification: number;
  /** Guest-physical address of an EPT violation. */
  guestPhysical: number;
  /** IDT-vectoring information; bit 31 set: the exit came during the delivery of an event. */
  vectoring: number;
}

export interface ExitHandler {
  /**
   * The value that an I/O, MSR or CR access carries, for the trace. It runs before the event is emitted, so an input
   * reads its port here and `handle` only delivers the value.
   */
  readonly value?: (host: HypervisorServices, vcpu: Vcpu, exit: Exit) => number | undefined;
  readonly handle: (host: HypervisorServices, vcpu: Vcpu, exit: Exit, value: number | undefined) => void;
}
