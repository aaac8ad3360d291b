// Part: the hypervisor. It owns host-physical memory, the domains and their vCPUs, and drives the processor only by what VMX
// instructions do. The machine picks a runnable vCPU and calls `runVcpu`; everything else happens in exits and in alarms.

import type { Clock } from "../core/clock.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import type { Ratio } from "../core/units.ts";
import type { Emit } from "../trace/events.ts";
import type { BackendHost, DomainServices, GrantMapping, XenstoreClient } from "./backend-host.ts";
import type { Domain, DomainConfig, DomainState, HvmDomainConfig } from "./domain.ts";
import type { FrameAllocatorState } from "./frames.ts";
import type { HostProcessor } from "./host-processor.ts";
import type { SchedulerState } from "./scheduler.ts";
import type { ServiceDomainsState } from "./service-domains.ts";
import type { DeviceAccess } from "./services.ts";
import type { Vcpu } from "./vcpu.ts";

export interface HypervisorOptions {
  readonly processor: HostProcessor;
  readonly clock: Clock;
  readonly emit: Emit;
  /** Virtual nanoseconds that a retired instruction takes. */
  readonly nsPerInstruction: Ratio;
  /** Virtual time that a VM exit costs, nanoseconds. */
  readonly exitCostNs: number;
  /** How long a vCPU may run while another waits; a millisecond by default. */
  readonly quantumNs?: number;
  /** Frequency of the time-stamp counter, kHz; 1,000,000 makes it count nanoseconds. */
  readonly tscKhz: number;
  /** Wall-clock time at virtual time 0, seconds since 1970-01-01 00:00 UTC. */
  readonly startDateSeconds: number;
  /** From a notification to a service domain until its handler runs, nanoseconds. */
  readonly serviceDomainLatencyNs: number;
  /** Ports that the machine's devices own; without it every port reads all ones. */
  readonly ports?: DeviceAccess;
  /** Guest-physical addresses outside of memory that the machine's devices own; the same. */
  readonly mmio?: DeviceAccess;
}

export interface HypervisorState {
  frames: FrameAllocatorState;
  domains: DomainState[];
  services: ServiceDomainsState;
  scheduler: SchedulerState;
  /** Domid and vCPU id of the vCPU that has the processor; empty for none. */
  current: number[];
  nextDomid: number;
}

/** The xenstore daemon's end of a guest's store ring. */
export interface StoreRing {
  readonly page: GrantMapping;
  /** The daemon's own end of the channel. */
  readonly port: number;
  /** Signals the guest's store event channel. */
  notify(): void;
}

export type DomainListener = (domain: Domain, event: "created" | "shutdown" | "destroyed") => void;

export interface Hypervisor extends Snapshotable<HypervisorState> {
  readonly clock: Clock;
  readonly domains: ReadonlyMap<number, Domain>;
  /** Builds a PVH domain: memory, image, start info, console and store rings. @throws InputError on a bad image */
  createDomain(config: DomainConfig): Domain;
  destroyDomain(domid: number): void;
  /** Starts an HVM domain again that has shut down, with its memory as `config` builds it. Its devices are reset by whoever has them. */
  restartDomain(domid: number, config: HvmDomainConfig): void;
  /** Told of domains' births and ends in the order in which listeners were added. */
  watchDomains(listener: DomainListener): void;
  /** vCPUs that can run now, in the order of domid and vCPU id. */
  runnable(): readonly Vcpu[];
  /** Gives the vCPU whose turn it is the processor, as `runVcpu` does, until `untilNs` at most; false when no vCPU can run. */
  runTurn(untilNs: number): boolean;
  /**
   * Enters the guest and handles its exits until `budget` instructions have retired, an alarm is due, the vCPU blocks or yields, its domain
   * ends, or one wakes that goes before it. `clock.now` is brought up to date before each exit is handled, while no alarm runs, and at the end, when those run that
   * became due.
   */
  runVcpu(vcpu: Vcpu, budget: number): void;
  /** One line for each vCPU that cannot run: what it waits for. */
  waiting(): readonly string[];
  /** The time-stamp counter at the current instruction. */
  readTsc(): bigint;
  /** Smallest number of further instructions after which `readTsc()` is at least `tsc`; 0 when it is already. */
  instructionsUntilTsc(tsc: bigint): number;
  /** "running", or how the domain ended: "poweroff", "reboot", …, or why it crashed. */
  endOf(domid: number): string;
  /** Bytes typed on a domain's console; those that find no room wait until the guest has read. */
  consoleInput(domid: number, bytes: Uint8Array): void;
  /** Services of a service domain, which is created on first use. */
  serviceDomain(domid: number): DomainServices;
  backendHost(xenstore: XenstoreClient, domid?: number): BackendHost;
  /** Connects the xenstore daemon to a guest's ring; `handler` runs after each notification of the guest. */
  storeRing(domid: number, handler: () => void): StoreRing;
}
