/**
 * VMX non-root operation as instructions, page walks and event delivery see it (SDM chapter 26).
 *
 * An instruction asks `vmx.controls` whether it exits, after the faults that take priority and before it does anything
 * (SDM §26.1.1), and if so throws `vmx.exit(…)`. Edition: see fields.ts.
 */

import type { VmxControls } from "./controls.ts";

export type { VmxControls } from "./controls.ts";

/**
 * Thrown through the instruction that exits; {@link Vmx} has the exit's fields. One object exists per processor, so that an
 * exit allocates nothing; it is no Error, so that throwing it takes no stack trace.
 */
export class VmExitSignal {
  readonly what = "VM exit";
}

/** VM-exit information that only some reasons have; absent fields become zero. */
export interface ExitFields {
  /** VM-exit instruction information (SDM §28.2.5). */
  readonly instructionInformation?: number;
  readonly guestLinear?: number;
  readonly guestPhysical?: number;
}

/** Result of {@link Vmx.translate} for an address that is outside host-physical memory: reads all ones. */
export const OPEN_BUS = -1;
/** Result of {@link Vmx.translate} for an address that the hypervisor emulates at this moment. */
export const EMULATED = -2;

/** Result of {@link Vmx.translate} when the access exits. */
export const EXITED = -3;

/** Access bits of {@link Vmx.translate} and {@link Vmx.eptPermissions}. */
export const ACCESS_READ = 1;
export const ACCESS_WRITE = 2;
export const ACCESS_FETCH = 4;

export interface Vmx {
  /** Decoded at VM entry; valid in non-root operation and, unchanged, until the next entry. */
  readonly controls: Readonly<VmxControls>;

  /** True while the hypervisor emulates one instruction: EPT answers {@link EMULATED} instead of exiting. */
  emulating: boolean;

  /**
   * The event whose delivery is under way in the IDT-vectoring-information format (SDM table 25-19), else 0. Event delivery sets
   * these three by {@link beginDelivery} before its first access and clears them by {@link endDelivery} when the event is
   * delivered; a fault or an exit in between leaves them for the exit.
   */
  readonly vectoring: number;

  /**
   * `type`: interruption type (EXTERNAL_INTERRUPT … SOFTWARE_EXCEPTION of exit-reasons.ts). `errorCode`: −1 for none.
   * `instructionLength`: bytes of the INT n, INT1, INT3 or INTO, else 0.
   */
  beginDelivery(type: number, vector: number, errorCode: number, instructionLength: number): void;
  endDelivery(): void;

  /**
   * `throw vmx.exit(…)` ends the instruction with a VM exit. Nothing of the instruction is committed. A slow function that has come to its
   * end may return instead of throwing: the engine asks {@link takeExit}, and is spared an exception, which costs more than all the rest
   * of an exit.
   * `reason`: basic exit reason (exit-reasons.ts). `qualification`: unsigned 32 bits.
   */
  exit(reason: number, qualification?: number, fields?: ExitFields): VmExitSignal;

  /** Whether an exit was recorded since this was last asked: the instruction has not completed. */
  takeExit(): boolean;

  /** Whether an access to I/O ports `port` … `port + width − 1` exits (SDM §26.1.3, §25.6.4). */
  ioExits(port: number, width: number): boolean;

  /** Whether RDMSR or WRMSR of `index` exits (SDM §26.1.3, §25.6.9). */
  msrExits(index: number, write: boolean): boolean;

  /**
   * Called with every exception (INT3 and INTO included, INT n not) before its delivery: throws the exit that the exception bitmap asks for
   * (SDM §26.2). `errorCode`: −1 for none. `address`: linear address of #PF, DR6-like conditions of #DB.
   * `type`: HARDWARE_EXCEPTION unless it is a software exception. `instructionLength` of INT1, INT3, INTO.
   */
  interceptException(
    vector: number,
    errorCode: number,
    address: number,
    type?: number,
    instructionLength?: number,
  ): void;

  /** IRET begins: removes blocking by NMI, or virtual-NMI blocking, if the controls let IRET do so (SDM §26.3). */
  unblockNmi(): void;

  /**
   * EPT translation of a guest-physical address (SDM §29.3). `access`: ACCESS bits. `linear`: the linear address that is being
   * translated, −1 when there is none (PDPTE loads). `duringWalk`: the access is to a guest paging-structure entry.
   *
   * Returns the host-physical address of the 4-KiB page, {@link OPEN_BUS} or {@link EMULATED}, and leaves in {@link eptPermissions} the ACCESS bits that
   * may be used without asking again. An EPT violation or misconfiguration is recorded: during a walk the exit is thrown, else the result
   * is {@link EXITED}.
   */
  translate(guestPhysical: number, access: number, linear: number, duringWalk: boolean): number;
  readonly eptPermissions: number;
}
