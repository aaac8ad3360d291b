// Part: the toolstack, as xl is Xen's: it builds the domains with their devices, takes them away, and builds one anew that has reset itself.

import type { Alarm, Clock } from "../core/clock.ts";
import { assert, InputError } from "../core/errors.ts";
import type { RandomStreams } from "../core/random.ts";
import type { SnapshotRegistry } from "../core/snapshot.ts";
import { MIB } from "../core/units.ts";
import type { Network } from "../devices/net/network.ts";
import type { Emit } from "../trace/events.ts";
import type { Domain, DomainShare, HvmDomainConfig, PvhKernel } from "../xen/domain.ts";
import { type ModelFactory, ModelKernel } from "../xen/model/kernel.ts";
import type { XenHypervisor } from "../xen/xen.ts";
import { XenstoreDaemon } from "../xen/xenstore/daemon.ts";
import {
  type BoardConfig,
  DEFAULT_MODEL_PAGES,
  type DomainConfig,
  type FullMachineConfig,
  type ModelConfig,
} from "./config.ts";
import { isDiskAction, type MachineAction } from "./config-actions.ts";
import { Disks } from "./disks.ts";
import type { Images } from "./images.ts";
import { Lan } from "./lan.ts";
import { Pc } from "./pc.ts";

/** Xen's toolstack takes about so long to build a small domain anew: a guest that resets itself at once does not occupy the host. */
const REBUILD_NS = 100_000_000;

export interface ToolstackParts {
  readonly config: FullMachineConfig;
  readonly images: Images;
  /** Programs for the model domains. */
  readonly programs: Readonly<Record<string, ModelFactory>>;
  readonly hypervisor: XenHypervisor;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly random: RandomStreams;
  readonly snapshots: SnapshotRegistry;
}

export class Toolstack {
  readonly #parts: ToolstackParts;
  readonly #xenstore: XenstoreDaemon;
  readonly #lan: Lan;
  readonly #disks: Disks;
  readonly #domains = new Map<string, Domain>();
  readonly #pcs = new Map<string, Pc>();
  /** By domid; armed while the domain is built anew. */
  readonly #restarts = new Map<number, Alarm>();
  readonly #destroyed: string[] = [];

  /** @throws InputError when an image or a station of the network cannot be used */
  constructor(parts: ToolstackParts) {
    this.#parts = parts;
    this.#xenstore = new XenstoreDaemon(parts.hypervisor);
    parts.snapshots.register("xenstore", 1, this.#xenstore);
    const shared = { ...parts, xenstore: this.#xenstore };
    this.#lan = new Lan(shared);
    this.#disks = new Disks({ ...shared, faults: parts.config.faults });
  }

  /** Builds all domains. @throws InputError when an image makes no domain, or there is no such program */
  build(): void {
    const { domains, models } = this.#parts.config;
    for (const domain of domains) {
      const { board } = domain;
      if (board === undefined) this.#buildPvh(domain);
      else this.#buildPc(domain, board);
    }
    for (const model of models) this.#buildModel(model);
  }

  get network(): Network {
    return this.#lan.network;
  }

  /** @throws InputError when there is none of this name; one that was destroyed is still known */
  domain(name: string): Domain {
    const domain = this.#domains.get(name);
    if (domain === undefined) throw new InputError("the machine has no such domain", `domain ${name}`);
    return domain;
  }

  /** The board of a domain that has one. */
  pc(name: string): Pc | undefined {
    return this.#pcs.get(name);
  }

  /** No domain runs or will run again. */
  get allEnded(): boolean {
    for (const { domid, status } of this.#domains.values()) {
      if (status === "running" || this.#restarts.get(domid)?.deadline !== undefined) return false;
    }
    return true;
  }

  /** Domains that were destroyed, in this order. */
  get destroyed(): readonly string[] {
    return this.#destroyed;
  }

  perform(action: MachineAction): void {
    if (isDiskAction(action)) this.#disks.perform(action);
    else this.destroy(action.domain);
  }

  /** As xl destroy does; nothing when the domain is gone already. Its devices go when they see that their guest has. */
  destroy(name: string): void {
    const { domid, status } = this.domain(name);
    if (status === "destroyed") return;
    this.#restarts.get(domid)?.cancel();
    this.#parts.hypervisor.destroyDomain(domid);
    this.#destroyed.push(name);
  }

  #buildPvh(config: DomainConfig): void {
    const { hypervisor, images } = this.#parts;
    const { memoryMiB, name } = config;
    const domain = hypervisor.createDomain({
      name,
      memorySize: memoryMiB * MIB,
      ...shareOf(config),
      ...pvhKernel(config, images),
    });
    this.#domains.set(name, domain);
    this.#plug(domain, config);
  }

  #buildPc(config: DomainConfig, board: BoardConfig): void {
    const { hypervisor, images, snapshots } = this.#parts;
    const { name } = config;
    const { faults, startDateSeconds } = this.#parts.config;
    const built = {
      kind: "hvm",
      name,
      memorySize: config.memoryMiB * MIB,
      boot: board.firmware === undefined ? pvhKernel(config, images) : { firmware: images.bytes(board.firmware) },
      // A board without PCI has no PAM registers.
      shadowed: board.kind === "isapc",
      showsXen: board.showsXen ?? false,
      ...shareOf(config),
    } as const;
    const domain = hypervisor.createDomain(built);
    this.#domains.set(name, domain);
    const pc = new Pc(domain, board, config, { ...this.#parts, startDateSeconds, network: this.network, faults });
    pc.register(name, snapshots);
    this.#pcs.set(name, pc);
    if (config.onReboot === "restart") this.#restartOnReboot(domain, pc, built);
    this.#plug(domain, config);
  }

  /** As xl does: the domain that has reset itself is built anew, here in its place. */
  #restartOnReboot(domain: Domain, pc: Pc, config: HvmDomainConfig): void {
    const { clock, hypervisor } = this.#parts;
    const restart = clock.alarm(`${config.name} restart`, () => {
      pc.reset();
      hypervisor.restartDomain(domain.domid, config);
    });
    hypervisor.watchDomains((other, event) => {
      if (other === domain && event === "shutdown" && domain.end === "reboot") restart.set(clock.now + REBUILD_NS);
    });
    this.#restarts.set(domain.domid, restart);
  }

  #buildModel(config: ModelConfig): void {
    const { clock, hypervisor, programs, random, snapshots } = this.#parts;
    const { name, program, parameters = {}, pages = DEFAULT_MODEL_PAGES } = config;
    const factory = Object.hasOwn(programs, program) ? programs[program] : undefined;
    if (factory === undefined) throw new InputError(`there is no program ${program}`, `domain ${name}`);
    const domain = hypervisor.createDomain({ kind: "model", name, pages });
    this.#domains.set(name, domain);
    const kernel = new ModelKernel({
      host: hypervisor,
      domain,
      latencyNs: this.#parts.config.controlDomainLatencyNs,
      store: (request) => this.#xenstore.call(domain.domid, request),
      random: (stream) => random.stream(`${name} ${stream}`),
    });
    snapshots.register(`kernel ${name}`, 1, kernel);
    this.#plug(domain, config);
    const running = factory(kernel, parameters);
    snapshots.register(`program ${name}`, 1, running);
    kernel.alarm("start", () => running.start()).set(clock.now);
  }

  /** The domain's disks and virtual interfaces. */
  #plug({ domid }: Domain, config: DomainConfig | ModelConfig): void {
    for (const disk of config.disks ?? []) this.#disks.add(config.name, domid, disk);
    this.#lan.plug(domid, config);
  }
}

function shareOf({ weight, cap }: DomainConfig): DomainShare {
  return { ...(weight === undefined ? {} : { weight }), ...(cap === undefined ? {} : { cap }) };
}

function pvhKernel({ kernel, commandLine = "", modules = [] }: DomainConfig, images: Images): PvhKernel {
  assert(kernel !== undefined, "a domain without firmware has a kernel");
  const placed = modules.map((name) => ({ bytes: images.bytes(name), commandLine: "" }));
  return { kernel: images.bytes(kernel), commandLine, modules: placed };
}
