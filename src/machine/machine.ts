// Part: the composition root: one processor, one hypervisor, the control domain's programs, the guests and their disks under one clock.
// A machine advances in steps. A step runs the alarms that are due and then one guest until the next alarm, an exit that blocks it, or its
// turn's end; when no guest can run, time jumps to the next alarm: idle time costs nothing. What comes from outside is taken in between steps.

import { type Alarm, Clock } from "../core/clock.ts";
import { digest64, PageDigest } from "../core/digest.ts";
import { assert, InputError } from "../core/errors.ts";
import type { GuestMemoryState } from "../core/memory.ts";
import { RandomStreams } from "../core/random.ts";
import { encodeSnapshot, type Snapshot, type Snapshotable, SnapshotRegistry } from "../core/snapshot.ts";
import { inverse, MIB, type Ratio, ratio, scaleCeil } from "../core/units.ts";
import type { Backend } from "../cpu/engine.ts";
import { Processor } from "../cpu/processor.ts";
import { CS } from "../cpu/state.ts";
import type { LinkOptions } from "../devices/net/link.ts";
import { Network } from "../devices/net/network.ts";
import { readPcap } from "../devices/net/pcap.ts";
import type { PingerState } from "../devices/net/pinger.ts";
import type { VnifFault } from "../devices/vnif/faults.ts";
import { Vif } from "../devices/vnif/vif.ts";
import type { Emit, TraceEvent } from "../trace/events.ts";
import type { Domain, HvmDomainConfig, PvhKernel } from "../xen/domain.ts";
import { type ModelFactory, ModelKernel } from "../xen/model/kernel.ts";
import { XenHypervisor } from "../xen/xen.ts";
import { XenstoreDaemon } from "../xen/xenstore/daemon.ts";
import { Actions } from "./actions.ts";
import {
  type BoardConfig,
  DEFAULT_MODEL_PAGES,
  type DomainConfig,
  type FullMachineConfig,
  type ModelConfig,
  modelsMiB,
  type NetworkConfig,
} from "./config.ts";
import { isDiskAction } from "./config-actions.ts";
import { Disks } from "./disks.ts";
import type { Images } from "./images.ts";
import { cardName, Pc } from "./pc.ts";

/** Host-physical memory besides the guests' own: the hypervisor's tables, shared pages, VMCS regions. */
const HYPERVISOR_MIB = 8;
/** More for each domain: its EPT (8 bytes a page and level) and its special pages. */
const PER_DOMAIN_MIB = 1;

/** A guest that runs while no alarm is armed is interrupted this often all the same, so that a caller can look in. */
const LONGEST_TURN_NS = 10_000_000;

/** Xen's toolstack takes about so long to build a small domain anew: a guest that resets itself at once does not occupy the host. */
const REBUILD_NS = 100_000_000;

/** Bytes of code shown around the instruction pointer. */
const CODE_WINDOW = 32;

/** A back end's cable to the switch: the bridge of a control domain is not what limits its guests. */
const VIF_LINK: LinkOptions = { bitsPerSecond: 1_000_000_000, latencyNs: 500, fullDuplex: true };

/** What an interface is called: its random stream and its station have this name. */
function vifName({ name }: { readonly name: string }, device: number): string {
  return `${name} vif${device}`;
}

const CONSOLE_CHANNEL = "console:";

const GENERAL_REGISTERS = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"] as const;

/** The processor as a person wants to see it. */
export interface MachineView {
  /** Names of the SDM, in its order. */
  readonly registers: Readonly<Record<string, number>>;
  /** Linear address and bytes from the instruction pointer on; empty where nothing is mapped. */
  readonly code: { readonly address: number; readonly bytes: Uint8Array };
  /** Operand size of the code segment. */
  readonly bits: 16 | 32;
}

export interface MachineState {
  memory: GuestMemoryState;
  parts: Snapshot;
  steps: number;
  turn: number;
  reason: string;
  destroyed: string[];
  consoles: { domid: number; text: string }[];
}

export interface MachineOptions {
  /** What runs the processor's handlers; nothing that the machine does may depend on it. */
  readonly backend?: Backend;
  /** Programs for the model domains. */
  readonly programs?: Readonly<Record<string, ModelFactory>> | undefined;
}

export class Machine implements Snapshotable<MachineState> {
  readonly clock = new Clock();
  readonly processor: Processor;
  readonly hypervisor: XenHypervisor;
  readonly #config: FullMachineConfig;
  readonly #emit: Emit;
  readonly #instructionsPerNs: Ratio;
  readonly #random: RandomStreams;
  readonly #snapshots = new SnapshotRegistry();
  readonly #pages: PageDigest;
  readonly #domains = new Map<string, Domain>();
  readonly #console = new Map<number, string>();
  readonly #pcs = new Map<string, Pc>();
  /** By domid; armed while the toolstack builds the domain anew. */
  readonly #restarts = new Map<number, Alarm>();
  /** Domains that were destroyed, in this order. */
  #destroyed: string[] = [];
  readonly #network: Network;
  readonly #disks: Disks;
  readonly #actions: Actions;
  /** Does nothing: a guest whose time passes in VM exits rather than instructions is stopped by it all the same. */
  readonly #turnEnd = this.clock.alarm("end of turn", () => {});
  /** No events: a snapshot is being loaded. */
  #muted = false;
  #steps = 0;
  #turn = 0;
  #reason = "running";

  /**
   * @param emit takes every event as it happens
   * @throws InputError when an image makes no domain, or there is no such program
   */
  constructor(config: FullMachineConfig, images: Images, seed: string, emit: Emit, options: MachineOptions = {}) {
    const { backend, programs = {} } = options;
    this.#config = config;
    this.#emit = (event) => {
      if (this.#muted) return;
      this.#listen(event);
      emit(event);
    };
    const nsPerInstruction = ratio(...config.nsPerInstruction);
    this.#instructionsPerNs = inverse(nsPerInstruction);
    this.#random = new RandomStreams(seed);
    const base = HYPERVISOR_MIB + modelsMiB(config);
    const memoryMiB = config.domains.reduce((sum, domain) => sum + domain.memoryMiB + PER_DOMAIN_MIB, base);
    this.processor = new Processor({
      ramBytes: memoryMiB * MIB,
      ...(backend === undefined ? {} : { backend }),
      platform: {
        readTsc: () => this.hypervisor.readTsc(),
        instructionsUntilTsc: (tsc) => this.hypervisor.instructionsUntilTsc(tsc),
        portRead: () => 0xffff_ffff,
        portWrite: () => {},
      },
    });
    this.#pages = new PageDigest(this.processor.memory.bytes);
    this.hypervisor = new XenHypervisor({
      processor: this.processor,
      clock: this.clock,
      emit: this.#emit,
      nsPerInstruction,
      exitCostNs: config.exitCostNs,
      tscKhz: config.tscKhz,
      startDateSeconds: config.startDateSeconds,
      serviceDomainLatencyNs: config.controlDomainLatencyNs,
    });
    const xenstore = new XenstoreDaemon(this.hypervisor);
    this.#snapshots.register("clock", 1, this.clock);
    this.#snapshots.register("random", 1, this.#random);
    this.#snapshots.register("processor", 1, this.processor);
    this.#snapshots.register("hypervisor", 1, this.hypervisor);
    this.#snapshots.register("xenstore", 1, xenstore);
    this.#network = this.#connect(config.network, images);
    this.#disks = new Disks({
      hypervisor: this.hypervisor,
      xenstore,
      clock: this.clock,
      emit: this.#emit,
      random: this.#random,
      snapshots: this.#snapshots,
      images,
      faults: config.faults,
    });
    this.#actions = new Actions({
      clock: this.clock,
      actions: config.actions,
      terminal: (domain) => this.terminal(domain),
      perform: (action) => {
        if (isDiskAction(action)) this.#disks.perform(action);
        else this.#destroy(action.domain);
      },
    });
    this.#snapshots.register("actions", 1, this.#actions);
    for (const domain of config.domains) this.#build(domain, images, xenstore);
    for (const model of config.models) this.#buildModel(model, programs, xenstore);
  }

  /** Steps made so far. */
  get steps(): number {
    return this.#steps;
  }

  get now(): number {
    return this.clock.now;
  }

  get retired(): number {
    return this.processor.retired;
  }

  /** Why the machine stopped: "domains ended", "idle", "time limit"; "running" before that. */
  get reason(): string {
    return this.#reason;
  }

  /** Everything that a domain has written on its console, as Latin-1 text. */
  console(domain: string): string {
    return this.#console.get(this.#domain(domain).domid) ?? "";
  }

  /** Everything that a domain's board has sent out of a UART, 0 for COM1, as Latin-1 text; empty without a board. */
  serial(domain: string, port: 0 | 1 = 0): string {
    return this.#pcs.get(domain)?.serial(port) ?? "";
  }

  /** What a person at the domain's terminal has seen: a PC's is at its first serial port, another domain's at its console. */
  terminal(domain: string): string {
    return this.#pcs.has(domain) ? this.serial(domain) : this.console(domain);
  }

  /** Everything that a domain's firmware has written to the debug console (port 402h). */
  debugConsole(domain: string): string {
    return this.#pcs.get(domain)?.debug ?? "";
  }

  /** The lines of a domain's text screen, as they are now; none in a graphics mode and without a board. */
  screen(domain: string): readonly string[] {
    return this.#pcs.get(domain)?.screen() ?? [];
  }

  /** What the pings of a network's host have come to; undefined when it sends none. */
  pings(host: string): PingerState | undefined {
    return this.#network.pings(host);
  }

  /** "running", or how the domain ended. */
  ended(domain: string): string {
    return this.hypervisor.endOf(this.#domain(domain).domid);
  }

  /** One line for each vCPU that waits: for what. */
  waiting(): readonly string[] {
    return this.hypervisor.waiting();
  }

  /** Types at a domain's console. */
  type(domain: string, bytes: Uint8Array): void {
    this.input(CONSOLE_CHANNEL + domain, bytes);
  }

  /** Takes in bytes from outside, between two steps; all that the machine does not determine itself comes this way. */
  input(channel: string, bytes: Uint8Array): void {
    if (!channel.startsWith(CONSOLE_CHANNEL)) throw new InputError("there is no such input", `channel ${channel}`);
    const { domid } = this.#domain(channel.slice(CONSOLE_CHANNEL.length));
    this.#emit({ kind: "input", at: this.clock.now, channel, step: this.#steps, data: bytes });
    this.hypervisor.consoleInput(domid, bytes);
    this.#reason = "running";
  }

  /** Makes one step; false when there is nothing to do any more unless somebody types. */
  step(): boolean {
    this.#steps++;
    const { clock, hypervisor } = this;
    clock.advanceTo(clock.now);
    if (this.#over()) return false;
    const runnable = hypervisor.runnable();
    const { timeLimitNs } = this.#config;
    if (runnable.length > 0) {
      const vcpu = runnable[this.#turn++ % runnable.length]!;
      this.#turnEnd.set(Math.min(clock.now + LONGEST_TURN_NS, timeLimitNs));
      const turnNs = clock.nextDeadline()! - clock.now;
      hypervisor.runVcpu(vcpu, Math.max(1, scaleCeil(turnNs, this.#instructionsPerNs)));
      this.#turnEnd.cancel();
      return true;
    }
    const deadline = clock.nextDeadline();
    if (deadline === undefined) return this.#stop("idle");
    clock.advanceTo(Math.min(deadline, timeLimitNs));
    return true;
  }

  #over(): boolean {
    if (this.clock.now >= this.#config.timeLimitNs) return !this.#stop("time limit");
    for (const { domid, status } of this.#domains.values()) {
      if (status === "running" || this.#restarts.get(domid)?.deadline !== undefined) return false;
    }
    return !this.#stop("domains ended");
  }

  #stop(reason: string): false {
    this.#reason = reason;
    return false;
  }

  #domain(name: string): Domain {
    const domain = this.#domains.get(name);
    if (domain === undefined) throw new InputError("the machine has no such domain", `domain ${name}`);
    return domain;
  }

  #listen(event: TraceEvent): void {
    if (event.kind === "device-output") this.#actions.shown();
    if (event.kind !== "console-output") return;
    this.#actions.shown();
    let text = this.#console.get(event.domain) ?? "";
    for (const byte of event.data) text += String.fromCharCode(byte);
    this.#console.set(event.domain, text);
  }

  #connect({ hosts = [], peers = [] }: NetworkConfig, images: Images): Network {
    const { domains, models } = this.#config;
    const cards = domains.flatMap((domain) =>
      (domain.board?.nics ?? []).map((nic, index) => [cardName(domain, index), nic.link ?? {}] as const),
    );
    const vifs = [...domains, ...models].flatMap((domain) =>
      (domain.vifs ?? []).map(({ link }, index) => [vifName(domain, index), { ...VIF_LINK, ...link }] as const),
    );
    const wires = { clock: this.clock, random: (name: string) => this.#random.stream(`net ${name}`), emit: this.#emit };
    const network = new Network(wires, {
      cards: Object.fromEntries([...cards, ...vifs]),
      hosts: hosts.map(({ tftp, ...host }) => {
        const files = Object.entries(tftp ?? {}).map(([file, image]) => [file, images.bytes(image)] as const);
        return tftp === undefined ? host : { ...host, tftp: Object.fromEntries(files) };
      }),
      peers: peers.map(({ capture, ...peer }) => ({
        ...peer,
        script: readPcap(images.bytes(capture), `image ${capture}`),
      })),
    });
    this.#snapshots.register("network", 1, network);
    return network;
  }

  #build(config: DomainConfig, images: Images, xenstore: XenstoreDaemon): void {
    const { board } = config;
    if (board !== undefined) {
      this.#buildPc(config, board, images, xenstore);
      return;
    }
    const domain = this.hypervisor.createDomain({
      name: config.name,
      memorySize: config.memoryMiB * MIB,
      ...pvhKernel(config, images),
    });
    this.#domains.set(config.name, domain);
    for (const disk of config.disks ?? []) this.#disks.add(config.name, domain.domid, disk);
    this.#plugVifs(domain, config, xenstore);
  }

  #buildPc(config: DomainConfig, board: BoardConfig, images: Images, xenstore: XenstoreDaemon): void {
    const { name } = config;
    const { clock, hypervisor } = this;
    const { faults, startDateSeconds } = this.#config;
    const built = {
      kind: "hvm",
      name,
      memorySize: config.memoryMiB * MIB,
      boot: board.firmware === undefined ? pvhKernel(config, images) : { firmware: images.bytes(board.firmware) },
      // A board without PCI has no PAM registers.
      shadowed: board.kind === "isapc",
      showsXen: board.showsXen ?? false,
    } as const;
    const domain = hypervisor.createDomain(built);
    this.#domains.set(name, domain);
    const pc = new Pc(domain, board, config, {
      hypervisor,
      clock,
      emit: this.#emit,
      images,
      startDateSeconds,
      random: this.#random,
      network: this.#network,
      faults,
    });
    pc.register(name, this.#snapshots);
    this.#pcs.set(name, pc);
    if (config.onReboot === "restart") this.#restartOnReboot(domain, pc, built);
    for (const disk of config.disks ?? []) this.#disks.add(config.name, domain.domid, disk);
    this.#plugVifs(domain, config, xenstore);
  }

  /** As xl does: the domain that has reset itself is built anew, here in its place. */
  #restartOnReboot(domain: Domain, pc: Pc, config: HvmDomainConfig): void {
    const { clock, hypervisor } = this;
    const restart = clock.alarm(`${config.name} restart`, () => {
      pc.reset();
      hypervisor.restartDomain(domain.domid, config);
    });
    hypervisor.watchDomains((other, event) => {
      if (other === domain && event === "shutdown" && domain.end === "reboot") restart.set(clock.now + REBUILD_NS);
    });
    this.#restarts.set(domain.domid, restart);
  }

  #buildModel(config: ModelConfig, programs: Readonly<Record<string, ModelFactory>>, xenstore: XenstoreDaemon): void {
    const { name, program, parameters = {}, pages = DEFAULT_MODEL_PAGES, disks = [] } = config;
    const factory = Object.hasOwn(programs, program) ? programs[program] : undefined;
    if (factory === undefined) throw new InputError(`there is no program ${program}`, `domain ${name}`);
    const domain = this.hypervisor.createDomain({ kind: "model", name, pages });
    this.#domains.set(name, domain);
    const kernel = new ModelKernel({
      host: this.hypervisor,
      domain,
      latencyNs: this.#config.controlDomainLatencyNs,
      store: (request) => xenstore.call(domain.domid, request),
      random: (stream) => this.#random.stream(`${name} ${stream}`),
    });
    this.#snapshots.register(`kernel ${name}`, 1, kernel);
    for (const disk of disks) this.#disks.add(name, domain.domid, disk);
    this.#plugVifs(domain, config, xenstore);
    const running = factory(kernel, parameters);
    this.#snapshots.register(`program ${name}`, 1, running);
    kernel.alarm("start", () => running.start()).set(this.clock.now);
  }

  /** As xl destroy does; nothing when the domain is gone already. Its devices go when they see that their guest has. */
  #destroy(name: string): void {
    const { domid, status } = this.#domain(name);
    if (status === "destroyed") return;
    this.#restarts.get(domid)?.cancel();
    this.hypervisor.destroyDomain(domid);
    this.#destroyed.push(name);
  }

  #plugVifs({ domid }: Domain, config: DomainConfig | ModelConfig, xenstore: XenstoreDaemon): void {
    for (const [device, { address, rate }] of (config.vifs ?? []).entries()) {
      const name = vifName(config, device);
      const vif = new Vif(this.hypervisor.backendHost(xenstore.client()), {
        frontDomid: domid,
        device,
        address,
        rate,
        medium: this.#network.card(name),
        random: this.#random.stream(name),
        grant: (path, owner, reader) => xenstore.grant(path, owner, reader),
        faults: new Set(this.#config.faults as readonly VnifFault[]),
      });
      this.#snapshots.register(`vif ${domid}/${device}`, 1, vif);
      vif.plug();
    }
  }

  /**
   * Digest of the whole state, 16 bytes: that of host-physical memory, then that of everything else. Only what was written to memory and
   * disks since the last digest is read again.
   */
  stateDigest(): Uint8Array {
    const { dirty } = this.processor;
    for (let page = 0; page < dirty.length; page++) if (dirty[page] !== 0) this.#pages.update(page);
    this.processor.cleanDirtyPages();
    const digest = new DataView(new ArrayBuffer(16));
    digest.setBigUint64(0, this.#pages.value());
    digest.setBigUint64(8, digest64(encodeSnapshot(this.#snapshots.summary())));
    return new Uint8Array(digest.buffer);
  }

  /** The whole machine as plain data: a machine of the same configuration and images goes on from it as this one would have. */
  save(): MachineState {
    return {
      memory: this.processor.memory.save(),
      parts: this.#snapshots.save(),
      steps: this.#steps,
      turn: this.#turn,
      reason: this.#reason,
      destroyed: [...this.#destroyed],
      consoles: Array.from(this.#console, ([domid, text]) => ({ domid, text })),
    };
  }

  /** @throws InputError when the state is of another machine; the machine must not be used then */
  load(state: MachineState): void {
    // What the domains are is no state of a part: this machine becomes one that has lost the same ones.
    this.#muted = true;
    for (const name of state.destroyed) this.#destroy(name);
    this.#muted = false;
    this.processor.memory.load(state.memory);
    this.#snapshots.load(state.parts);
    this.#steps = state.steps;
    this.#turn = state.turn;
    this.#reason = state.reason;
    this.#console.clear();
    for (const { domid, text } of state.consoles) this.#console.set(domid, text);
    this.#pages.updateAll();
  }

  view(): MachineView {
    const { state } = this.processor;
    const registers = Object.fromEntries(GENERAL_REGISTERS.map((name, index) => [name, state.gpr(index)]));
    const { eip, eflags, cr0, cr3, cr4 } = state;
    const address = (state.segmentBase(CS) + eip) >>> 0;
    return {
      registers: { ...registers, EIP: eip, EFLAGS: eflags, CS: state.selector(CS), CR0: cr0, CR3: cr3, CR4: cr4 },
      code: { address, bytes: this.processor.peekCode(CODE_WINDOW) },
      bits: (state.accessRights(CS) & 0x4000) === 0 ? 16 : 32,
    };
  }
}

function pvhKernel({ kernel, commandLine = "", modules = [] }: DomainConfig, images: Images): PvhKernel {
  assert(kernel !== undefined, "a domain without firmware has a kernel");
  const placed = modules.map((name) => ({ bytes: images.bytes(name), commandLine: "" }));
  return { kernel: images.bytes(kernel), commandLine, modules: placed };
}
