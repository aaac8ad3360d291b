// Part: the hypervisor itself: domains under one processor. See hypervisor.ts for what it offers.
// A run ends before an alarm is due, so that no alarm can fall into the handling of an exit.

import type { Clock } from "../core/clock.ts";
import { assert, InputError } from "../core/errors.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import { NS_PER_MS } from "../core/units.ts";
import { VM_SUCCEED } from "../cpu/vmx/operation.ts";
import type { Emit } from "../trace/events.ts";
import { ERRNO_H, PARAMS_H, SCHED_H, XEN_H } from "./abi/constants.ts";
import type { BackendHost, XenstoreClient } from "./backend-host.ts";
import { type BuilderHost, type BuiltDomain, buildDomain } from "./builder.ts";
import { DEFAULT_WEIGHT, NO_CAP } from "./credit.ts";
import { DeviceModelHost } from "./device-model-host.ts";
import { Domain, type DomainConfig, type DomainShare, type HvmDomainConfig } from "./domain.ts";
import type { EventChannels } from "./event-channels.ts";
import { Execution } from "./execution.ts";
import { FrameAllocator } from "./frames.ts";
import type { GrantOwner } from "./grant-table.ts";
import { GuestAccess, NO_PAGING } from "./guest-access.ts";
import type { HostProcessor } from "./host-processor.ts";
import { buildHvmDomain, rebuildHvmDomain } from "./hvm-builder.ts";
import type { DomainListener, Hypervisor, HypervisorOptions, HypervisorState, StoreRing } from "./hypervisor.ts";
import { IoreqServer } from "./ioreq.ts";
import { buildModelDomain } from "./model/builder.ts";
import { P2m } from "./p2m.ts";
import { Platform } from "./platform.ts";
import { releaseDomain } from "./release.ts";
import { Scheduler } from "./scheduler.ts";
import type { ServiceDomain } from "./service-domain.ts";
import { CONTROL_DOMAIN, ServiceDomains } from "./service-domains.ts";
import { type DeviceAccess, type HypervisorServices, OPEN_BUS } from "./services.ts";
import { defaultVcpuInfo } from "./shared-info.ts";
import { TscClock } from "./time.ts";
import { VcpuTimers } from "./timers.ts";
import { Vcpu } from "./vcpu.ts";
import { VirtualTime } from "./virtual-time.ts";
import { msrBitmap, prepareRegion, setUpVmcs } from "./vmcs-setup.ts";
import { Watchdogs } from "./watchdogs.ts";

/** As many as shared_info has vcpu_info for (XEN_LEGACY_MAX_VCPUS). Equal VPIDs would do no harm: EPT pointers tell domains apart. */
const VCPUS_PER_DOMAIN = 32;

/** SHUTDOWN_ values (sched.h) by name. */
const ENDS = ["poweroff", "reboot", "suspend", "crash", "watchdog", "soft reset"] as const;

export class XenHypervisor implements Hypervisor, HypervisorServices {
  readonly processor: HostProcessor;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly frames: FrameAllocator;
  readonly tsc: TscClock;
  readonly ports: DeviceAccess;
  readonly mmio: DeviceAccess;
  readonly domains = new Map<number, Domain>();
  readonly #options: HypervisorOptions;
  readonly #time: VirtualTime;
  readonly #execution: Execution;
  readonly #scheduler: Scheduler;
  readonly #msrBitmap: number;
  readonly #services: ServiceDomains;
  readonly #timers = new Map<Vcpu, VcpuTimers>();
  readonly #watchdogs = new Map<Domain, Watchdogs>();
  readonly #listeners: DomainListener[] = [];
  readonly #builder: BuilderHost;
  #nextDomid = CONTROL_DOMAIN + 1;

  constructor(options: HypervisorOptions) {
    this.#options = options;
    this.processor = options.processor;
    this.clock = options.clock;
    this.emit = options.emit;
    this.ports = options.ports ?? OPEN_BUS;
    this.mmio = options.mmio ?? OPEN_BUS;
    this.frames = new FrameAllocator(this.processor.memory);
    this.tsc = new TscClock(options.clock, options.tscKhz);
    this.#time = new VirtualTime(options.clock, this.tsc, options.processor, options.nsPerInstruction);
    this.#execution = new Execution(this);
    this.#scheduler = new Scheduler(this, this.#execution, this.#time, {
      exitCostNs: options.exitCostNs,
      quantumNs: options.quantumNs ?? NS_PER_MS,
    });
    this.#builder = { memory: this.processor.memory, frames: this.frames, controlDomain: CONTROL_DOMAIN };
    this.#services = new ServiceDomains({
      memory: this.processor.memory,
      clock: this.clock,
      emit: this.emit,
      frames: this.frames,
      latencyNs: options.serviceDomainLatencyNs,
      network: this,
      ownerOf: (owner) => this.domains.get(owner),
    });
    const vmxon = prepareRegion(this.processor.memory, this.#frame());
    assert(this.processor.vmx.vmxon(vmxon) === VM_SUCCEED, "VMXON failed");
    this.#msrBitmap = this.#frame() << PAGE_SHIFT;
    this.processor.memory.write(this.#msrBitmap, msrBitmap());
  }

  // Domains.

  createDomain(config: DomainConfig): Domain {
    const domid = config.domid ?? this.#nextDomid;
    if (!Number.isInteger(domid) || domid < this.#nextDomid || domid >= XEN_H.DOMID_FIRST_RESERVED) {
      throw new InputError(`domain number ${domid} is taken or none`, `domain ${config.name}`);
    }
    const { memory, state } = this.processor;
    const p2m = P2m.create(memory, this.frames);
    if (p2m === undefined) throw new InputError("the host's memory is used up", `domain ${config.name}`);
    const sharedInfoFrame = this.frames.allocate();
    if (sharedInfoFrame === undefined) {
      p2m.destroy();
      throw new InputError("the host's memory is used up", `domain ${config.name}`);
    }
    const access = new GuestAccess(memory, config.kind === "model" ? NO_PAGING : state, p2m);
    const parts = { memory, frames: this.frames, p2m, sharedInfoFrame, sink: this, access };
    const domain = new Domain(domid, config.name, parts);
    this.domains.set(domid, domain);
    try {
      if (config.kind === "model") {
        buildModelDomain(domain, config, this.#builder);
        domain.vcpus.push(new Vcpu(domain, 0, 0, defaultVcpuInfo(sharedInfoFrame, 0), this.clock));
      } else if (config.kind === "hvm") {
        this.#addPlatform(domain, config);
        this.#addVcpu(domain, config, buildHvmDomain(domain, config, this.#builder));
      } else this.#addVcpu(domain, config, buildDomain(domain, config, this.#builder));
    } catch (error) {
      this.#release(domain);
      throw error;
    }
    this.#nextDomid = domid + 1;
    const expired = () => this.shutdown(domain, SCHED_H.SHUTDOWN_watchdog);
    this.#watchdogs.set(domain, new Watchdogs(`dom${domid}`, this.clock, expired));
    domain.shared.setWallClock(this.#options.startDateSeconds, 0);
    this.#state(domain, "created");
    this.#services.openConsole(domain);
    for (const listener of this.#listeners) listener(domain, "created");
    this.#state(domain, "running");
    return domain;
  }

  #addPlatform(domain: Domain, config: HvmDomainConfig): void {
    const { domid, events } = domain;
    const { clock, emit } = this;
    const parts = { domid, memory: this.processor.memory, clock, emit, events };
    const ioreqs = new IoreqServer(parts, this.#frame(), this.#frame(), CONTROL_DOMAIN);
    domain.platform = new Platform(ioreqs, config.showsXen);
    domain.setParam(PARAMS_H.HVM_PARAM_BUFIOREQ_EVTCHN, BigInt(ioreqs.bufferedPort));
  }

  #addVcpu(domain: Domain, { weight = DEFAULT_WEIGHT, cap = NO_CAP }: DomainShare, pvh: BuiltDomain | undefined): void {
    const { processor } = this;
    const id = domain.vcpus.length;
    const region = prepareRegion(processor.memory, this.#frame());
    const vcpu = new Vcpu(domain, id, region, defaultVcpuInfo(domain.sharedInfoFrame, id), this.clock);
    domain.vcpus.push(vcpu);
    this.#scheduler.add(vcpu, { weight, cap });
    this.#timers.set(vcpu, new VcpuTimers(this.clock, vcpu));
    processor.vmx.vmclear(region);
    this.#startVcpu(vcpu, pvh);
    domain.platform?.ioreqs.addVcpu(id, CONTROL_DOMAIN);
    this.updateTime(vcpu);
  }

  #startVcpu(vcpu: Vcpu, pvh: BuiltDomain | undefined): void {
    const { domain, id } = vcpu;
    this.#scheduler.switchTo(vcpu);
    const { eptPointer } = domain.p2m;
    const vpid = 1 + ((domain.domid * VCPUS_PER_DOMAIN + id) % 0xffff);
    setUpVmcs(this.processor, { pvh, eptPointer, vpid, msrBitmap: this.#msrBitmap });
  }

  restartDomain(domid: number, config: HvmDomainConfig): void {
    const domain = this.domains.get(domid);
    assert(domain?.status === "shutdown" && !domain.showsXen, () => `domain ${domid} cannot be started again`);
    const { memory, vmx } = this.processor;
    const pvh = rebuildHvmDomain(domain, config, memory);
    for (const vcpu of domain.vcpus) {
      this.#scheduler.forget(vcpu);
      vmx.vmclear(vcpu.vmcs);
      memory.write(vcpu.vmcs, new Uint8Array(PAGE_SIZE));
      prepareRegion(memory, vcpu.vmcs >>> PAGE_SHIFT);
      vcpu.reset();
      this.#startVcpu(vcpu, pvh);
    }
    domain.p2m.stale = true;
    domain.status = "running";
    domain.end = "";
    domain.shutdownCode = -1;
    this.#state(domain, "running");
  }

  destroyDomain(domid: number): void {
    const domain = this.domains.get(domid);
    if (domain === undefined) throw new InputError("there is no such domain", `domain ${domid}`);
    if (domain.status === "running") this.#end(domain, "destroyed", "destroyed");
    this.#services.closeConsole(domid);
    this.#release(domain);
    domain.status = "destroyed";
    for (const listener of this.#listeners) listener(domain, "destroyed");
  }

  #release(domain: Domain): void {
    this.#scheduler.remove(domain);
    releaseDomain(domain, this.frames, this.processor.vmx, (owner) => this.grantOwner(owner));
    this.domains.delete(domain.domid);
    this.#watchdogs.delete(domain);
  }

  shutdown(domain: Domain, reason: number): void {
    const code = domain.shutdownCode < 0 ? reason : domain.shutdownCode;
    const name = ENDS[code] ?? String(code);
    this.#end(domain, code === SCHED_H.SHUTDOWN_crash ? "crashed" : "shutdown", name);
  }

  setWatchdog(domain: Domain, id: number, seconds: number): number {
    return this.#watchdogs.get(domain)?.set(id, seconds) ?? -ERRNO_H.XEN_ESRCH;
  }

  crash(domain: Domain, why: string): void {
    if (domain.shutdownCode < 0) this.#end(domain, "crashed", why);
    else this.shutdown(domain, SCHED_H.SHUTDOWN_crash);
  }

  #end(domain: Domain, status: Domain["status"], end: string): void {
    if (domain.status !== "running") return;
    this.#services.drainConsole(domain.domid);
    domain.status = status;
    domain.end = end;
    for (const vcpu of domain.vcpus) this.#timers.get(vcpu)?.cancel();
    this.#watchdogs.get(domain)?.cancel();
    this.#state(domain, status, end);
    for (const listener of this.#listeners) listener(domain, "shutdown");
  }

  #state(domain: Domain, state: string, reason?: string): void {
    const event = { kind: "domain-state", at: this.clock.now, domain: domain.domid, state } as const;
    this.emit(reason === undefined ? event : { ...event, reason });
  }

  endOf(domid: number): string {
    const domain = this.domains.get(domid);
    return domain === undefined ? "destroyed" : domain.status === "running" ? "running" : domain.end;
  }

  watchDomains(listener: DomainListener): void {
    this.#listeners.push(listener);
  }

  exists(domid: number): boolean {
    return this.eventsOf(domid) !== undefined;
  }

  grantOwner(domid: number): GrantOwner | undefined {
    return this.domains.get(domid);
  }

  // The control domain and its programs.

  serviceDomain(domid: number): ServiceDomain {
    return this.#services.domain(domid);
  }

  backendHost(xenstore: XenstoreClient, domid = CONTROL_DOMAIN): BackendHost {
    return this.serviceDomain(domid).withXenstore(xenstore);
  }

  storeRing(domid: number, handler: () => void): StoreRing {
    const domain = this.domains.get(domid);
    if (domain === undefined) throw new InputError("there is no such domain", `domain ${domid}`);
    return this.#services.openStoreRing(domain, handler);
  }

  consoleInput(domid: number, bytes: Uint8Array): void {
    this.#services.consoleInput(domid, bytes);
  }

  eventsOf(domid: number): EventChannels | undefined {
    return this.domains.get(domid)?.events ?? this.#services.eventsOf(domid);
  }

  sent(from: EventChannels, port: number, to: EventChannels, remotePort: number, pending: boolean): void {
    const at = this.clock.now;
    this.emit({ kind: "evtchn-send", at, domain: from.domid, port, remoteDomain: to.domid, remotePort, pending });
  }

  // Events and timers of vCPUs.

  upcall(vcpu: Vcpu, port: number): void {
    this.emit({ kind: "evtchn-delivery", at: this.clock.now, domain: vcpu.domid, vcpu: vcpu.id, port });
    this.assertUpcall(vcpu);
  }

  /** Xen's hvm_assert_evtchn_irq. */
  assertUpcall(vcpu: Vcpu): void {
    if (vcpu.domain.model !== undefined) {
      vcpu.domain.model.upcall();
      return;
    }
    const { platform } = vcpu.domain;
    if (vcpu.upcallVector !== 0 && platform?.controllers.requestVector(vcpu.upcallVector) !== true) {
      vcpu.requestVector(vcpu.upcallVector);
    }
    if (vcpu.upcallVector !== 0 || vcpu.domain.callback.type === "vector") vcpu.wake();
    else if (vcpu.id === 0) this.#execution.followCallbackLine(vcpu);
  }

  setCallback(domain: Domain, value: bigint): void {
    this.#execution.setCallback(domain, value);
  }

  ioreqEvent(domain: Domain, port: number): void {
    const id = domain.platform?.ioreqs.vcpuOf(port);
    const vcpu = id === undefined ? undefined : domain.vcpus[id];
    if (vcpu === undefined || domain.platform?.ioreqs.receive(vcpu) !== "nonsense") return;
    this.crash(domain, "the device model's answer to an I/O request is in a wrong state");
  }

  deviceModelHost(domid: number): DeviceModelHost {
    const domain = this.domains.get(domid);
    if (domain?.platform === undefined) throw new InputError("has no device model", `domain ${domid}`);
    return new DeviceModelHost(domain, domain.platform, this.serviceDomain(CONTROL_DOMAIN), this);
  }

  eventDeliverable(vcpu: Vcpu): boolean {
    return this.#execution.eventDeliverable(vcpu);
  }

  inject(vcpu: Vcpu, vector: number, errorCode = -1): void {
    this.#execution.inject(vcpu, vector, errorCode);
  }

  skip(): void {
    this.#execution.skip();
  }

  hypercall(vcpu: Vcpu): void {
    this.#execution.hypercall(vcpu);
  }

  yield(): void {
    this.#scheduler.yield();
  }

  updateTime(vcpu: Vcpu): void {
    const tsc = (this.tsc.now + vcpu.tscOffset) & 0xffff_ffff_ffff_ffffn;
    vcpu.domain.shared.setTime(vcpu.vcpuInfo, tsc, this.clock.now, this.tsc.scale);
  }

  setSingleshotTimer(vcpu: Vcpu, timeNs: number | undefined): void {
    this.#timers.get(vcpu)?.setSingleshot(timeNs);
  }

  setPeriodicTimer(vcpu: Vcpu, periodNs: number): void {
    this.#timers.get(vcpu)?.setPeriodic(periodNs);
  }

  setPollTimer(vcpu: Vcpu, timeNs: number | undefined): void {
    this.#timers.get(vcpu)?.setPoll(timeNs);
  }

  // Running.

  runnable(): readonly Vcpu[] {
    return this.#scheduler.runnable();
  }

  waiting(): readonly string[] {
    return Array.from(this.domains.values())
      .filter((domain) => domain.status === "running")
      .flatMap((domain) => domain.vcpus.filter((vcpu) => domain.model !== undefined || !vcpu.runnable))
      .map((vcpu) => vcpu.waitText);
  }

  runTurn(untilNs: number): boolean {
    return this.#scheduler.runTurn(untilNs);
  }

  runVcpu(vcpu: Vcpu, budget: number): void {
    this.#scheduler.run(vcpu, budget);
  }

  readTsc(): bigint {
    return this.#time.readTsc();
  }

  instructionsUntilTsc(tsc: bigint): number {
    return this.#time.instructionsUntilTsc(tsc);
  }

  #frame(): number {
    const frame = this.frames.allocate();
    if (frame === undefined) throw new InputError("the host's memory is used up", "hypervisor");
    return frame;
  }

  save(): HypervisorState {
    const { current } = this.#scheduler;
    return {
      frames: this.frames.save(),
      domains: [...this.domains.values()].map((domain) => domain.save()),
      services: this.#services.save(),
      scheduler: this.#scheduler.save(),
      current: current === undefined ? [] : [current.domid, current.id],
      nextDomid: this.#nextDomid,
    };
  }

  /** @throws InputError unless this machine has the snapshot's domains */
  load(state: HypervisorState): void {
    const names = (list: Iterable<{ domid: number; name: string }>) =>
      Array.from(list, ({ domid, name }) => `${domid} ${name}`).join(", ");
    if (names(state.domains) !== names(this.domains.values())) {
      throw new InputError(
        `domains [${names(state.domains)}], this machine has [${names(this.domains.values())}]`,
        "snapshot of the hypervisor",
      );
    }
    this.frames.load(state.frames);
    for (const saved of state.domains) this.domains.get(saved.domid)?.load(saved);
    this.#services.load(state.services);
    this.#scheduler.load(state.scheduler);
    const [domid = -1, id = -1] = state.current;
    this.#scheduler.adopt(this.domains.get(domid)?.vcpus[id]);
    this.#nextDomid = state.nextDomid;
  }
}
