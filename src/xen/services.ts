// Part: what the handlers of VM exits and hypercalls use of the hypervisor.

import type { Clock } from "../core/clock.ts";
import type { Emit } from "../trace/events.ts";
import type { Domain } from "./domain.ts";
import type { FrameAllocator } from "./frames.ts";
import type { GrantOwner } from "./grant-table.ts";
import type { HostProcessor } from "./host-processor.ts";
import type { TscClock } from "./time.ts";
import type { Vcpu } from "./vcpu.ts";

/** Ports or guest-physical addresses that the machine's devices own. */
export interface DeviceAccess {
  read(address: number, width: 1 | 2 | 4): number;
  write(address: number, width: 1 | 2 | 4, value: number): void;
}

/** Nobody answers: reads give all ones, writes vanish. */
export const OPEN_BUS: DeviceAccess = {
  read: (_address, width) => (width === 4 ? 0xffff_ffff : 2 ** (8 * width) - 1),
  write: () => undefined,
};

export interface HypervisorServices {
  readonly processor: HostProcessor;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly frames: FrameAllocator;
  readonly tsc: TscClock;
  readonly ports: DeviceAccess;
  readonly mmio: DeviceAccess;
  /** Whether there is such a domain, a guest or a service domain. */
  exists(domid: number): boolean;
  /** A guest by number; DOMID_SELF is the caller's to resolve. */
  grantOwner(domid: number): GrantOwner | undefined;
  /** Ends a domain; `reason` is a SHUTDOWN_ value. */
  shutdown(domain: Domain, reason: number): void;
  /** SCHEDOP_watchdog: as Xen's domain_watchdog, the result of the hypercall. */
  setWatchdog(domain: Domain, id: number, seconds: number): number;
  /** Ends a domain that cannot go on. */
  crash(domain: Domain, why: string): void;
  /** An exception for the next VM entry; −1 for no error code. */
  inject(vcpu: Vcpu, vector: number, errorCode?: number): void;
  /** Moves past the instruction that exited (SDM Vol. 3 §26.1.2): RIP, shadows, single-step trap. */
  skip(vcpu: Vcpu): void;
  /** Lets others run first. */
  yield(vcpu: Vcpu): void;
  /** An upcall or a requested vector could be delivered at once. */
  eventDeliverable(vcpu: Vcpu): boolean;
  /** Writes the vCPU's vcpu_time_info. */
  updateTime(vcpu: Vcpu): void;
  /** Raises VIRQ_TIMER at a system time in nanoseconds; undefined stops the timer. */
  setSingleshotTimer(vcpu: Vcpu, timeNs: number | undefined): void;
  setPeriodicTimer(vcpu: Vcpu, periodNs: number): void;
  /** Wakes a polling vCPU at a system time; undefined: never. */
  setPollTimer(vcpu: Vcpu, timeNs: number | undefined): void;
  /** HVM_PARAM_CALLBACK_IRQ: by what the domain is told of events. */
  setCallback(domain: Domain, value: bigint): void;
  /** Raises the upcall of a vCPU whose evtchn_upcall_pending was just set. */
  assertUpcall(vcpu: Vcpu): void;
  /** Carries out the hypercall that the registers name; the result goes to EAX. */
  hypercall(vcpu: Vcpu): void;
}
