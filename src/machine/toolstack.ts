// Part: the toolstack, as xl is Xen's: it builds the domains with their devices, takes them away, and builds one anew that has reset itself.

import type { Alarm, Clock } from "../core/clock.ts";
import { assert, InputError } from "../core/errors.ts";
import { PAGE_SIZE } from "../core/memory.ts";
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
import { type Life, livesOf, NS_PER_BYTE, restoreDomain, saveDomain } from "./migration.ts";
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

/** What has become of a domain that was built. */
export interface DomainChange {
  change: "destroyed" | "migrated";
  domain: string;
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
  /** Model domains, and when each that suspends itself to migrate has arrived. */
  readonly #lives = new Map<string, Life>();
  readonly #arrivals = new Map<string, Alarm>();
  /** Numbers that a domain has had. */
  readonly #domids = new Map<string, number[]>();
  readonly #changes: DomainChange[] = [];

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
    for (const model of models) {
      const { kernel, program } = this.#buildModel(model, "");
      kernel.alarm("start", () => program.start()).set(this.#parts.clock.now);
    }
    this.#prepareMigrations();
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
    for (const { domid, name, status } of this.#domains.values()) {
      const waits = this.#restarts.get(domid)?.deadline ?? this.#arrivals.get(name)?.deadline;
      if (status === "running" || waits !== undefined) return false;
    }
    return true;
  }

  /** The numbers that a domain has had, the last one last: it gets another when it migrates. */
  domids(name: string): readonly number[] {
    return this.#domids.get(name) ?? [this.domain(name).domid];
  }

  /** What has become of the domains, in order. */
  get changes(): readonly DomainChange[] {
    return this.#changes;
  }

  /** Does the same to the domains once more, without what they had in them: before a snapshot is loaded. */
  reenact(changes: readonly DomainChange[]): void {
    for (const { change, domain } of changes.slice(this.#changes.length)) {
      if (change === "destroyed") this.#destroy(domain);
      else this.#moveIn(domain);
    }
  }

  perform(action: MachineAction): void {
    if (isDiskAction(action)) this.#disks.perform(action);
    else if (action.action === "destroy") this.#destroy(action.domain);
    else this.#askToSuspend(action.domain);
  }

  /** As xl destroy does; nothing when the domain is gone already. Its devices go when they see that their guest has. */
  #destroy(name: string): void {
    const { domid, status } = this.domain(name);
    if (status === "destroyed") return;
    this.#restarts.get(domid)?.cancel();
    this.#arrivals.get(name)?.cancel();
    this.#parts.hypervisor.destroyDomain(domid);
    this.#changes.push({ change: "destroyed", domain: name });
  }

  /** The guest finds it by its watch, and suspends itself when it has let go of its devices. */
  #askToSuspend(name: string): void {
    const { domid, status } = this.domain(name);
    if (status === "running") this.#xenstore.client().write(`/local/domain/${domid}/control/shutdown`, "suspend");
  }

  /** A domain that is to migrate and has suspended itself arrives when its memory has crossed. */
  #prepareMigrations(): void {
    const { clock, config, hypervisor } = this.#parts;
    for (const { name } of config.models) {
      if (livesOf(config, name).length === 1) continue;
      this.#arrivals.set(
        name,
        clock.alarm(`${name} arrives`, () => this.#migrate(name)),
      );
    }
    hypervisor.watchDomains(({ name, end, maxPages }, event) => {
      if (event !== "shutdown" || end !== "suspend" || this.#nextLife(name) === undefined) return;
      this.#arrivals.get(name)?.set(clock.now + maxPages * PAGE_SIZE * NS_PER_BYTE);
    });
  }

  /** Of a domain that migrates once more; undefined when the configuration has no further host for it. */
  #nextLife(name: string): string | undefined {
    return livesOf(this.#parts.config, name)[this.domids(name).length];
  }

  #migrate(name: string): void {
    const { memory } = this.#parts.hypervisor.processor;
    const life = this.#lives.get(name);
    assert(life !== undefined, () => `${name} is no model domain`);
    const bytes = saveDomain(life, memory);
    restoreDomain(this.#moveIn(name), memory, bytes);
  }

  /** The domain that was is gone, and there is an empty one in its place, with its devices: its program resumes at once. */
  #moveIn(name: string): Life {
    const { clock, config, hypervisor } = this.#parts;
    const model = config.models.find((other) => other.name === name);
    const suffix = this.#nextLife(name);
    if (model === undefined || suffix === undefined) throw new InputError("has nowhere to go", `domain ${name}`);
    hypervisor.destroyDomain(this.domain(name).domid);
    this.#changes.push({ change: "migrated", domain: name });
    const life = this.#buildModel(model, suffix);
    life.kernel.alarm("resume", () => life.program.resume?.()).set(clock.now);
    return life;
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

  /** @param life tells what the domain has after a migration from what it had before: empty at first */
  #buildModel(config: ModelConfig, life: string): Life {
    const { hypervisor, programs, random, snapshots } = this.#parts;
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
      random: (stream) => random.stream(`${name} ${stream}${life}`),
    });
    snapshots.register(`kernel ${name}${life}`, 1, kernel);
    this.#plug(domain, config, life);
    const running = factory(kernel, parameters);
    snapshots.register(`program ${name}${life}`, 1, running);
    const made = { domain, kernel, program: running };
    this.#lives.set(name, made);
    this.#domids.set(name, [...(this.#domids.get(name) ?? []), domain.domid]);
    return made;
  }

  /** The domain's disks and virtual interfaces. */
  #plug({ domid }: Domain, config: DomainConfig | ModelConfig, life = ""): void {
    for (const disk of config.disks ?? []) this.#disks.add(config.name, domid, disk);
    this.#lan.plug(domid, config, life);
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
