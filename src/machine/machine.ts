// Part: the composition root: one processor, one hypervisor, the control domain's programs, the guests and their disks under one clock.
// A machine advances in steps. A step runs the alarms that are due and then one guest until the next alarm, an exit that blocks it, or its
// turn's end; when no guest can run, time jumps to the next alarm: idle time costs nothing. What comes from outside is taken in between steps.

import { Clock } from "../core/clock.ts";
import { digest64, PageDigest } from "../core/digest.ts";
import { InputError } from "../core/errors.ts";
import type { GuestMemoryState } from "../core/memory.ts";
import { RandomStreams } from "../core/random.ts";
import { encodeSnapshot, type Snapshot, type Snapshotable, SnapshotRegistry } from "../core/snapshot.ts";
import { MIB, ratio } from "../core/units.ts";
import type { Backend } from "../cpu/engine.ts";
import { Processor } from "../cpu/processor.ts";
import type { PingerState } from "../devices/net/pinger.ts";
import type { Emit, TraceEvent } from "../trace/events.ts";
import type { ModelFactory } from "../xen/model/kernel.ts";
import { XenHypervisor } from "../xen/xen.ts";
import { Actions } from "./actions.ts";
import { type FullMachineConfig, modelsMiB } from "./config.ts";
import type { Images } from "./images.ts";
import { type DomainChange, Toolstack } from "./toolstack.ts";
import { type MachineView, viewOf } from "./view.ts";

/** Host-physical memory besides the guests' own: the hypervisor's tables, shared pages, VMCS regions. */
const HYPERVISOR_MIB = 8;
/** More for each domain: its EPT (8 bytes a page and level) and its special pages. */
const PER_DOMAIN_MIB = 1;

const CONSOLE_CHANNEL = "console:";

export interface MachineState {
  memory: GuestMemoryState;
  parts: Snapshot;
  steps: number;
  reason: string;
  changes: DomainChange[];
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
  readonly #random: RandomStreams;
  readonly #snapshots = new SnapshotRegistry();
  readonly #pages: PageDigest;
  readonly #console = new Map<number, string>();
  readonly #toolstack: Toolstack;
  readonly #actions: Actions;
  /** No events: a snapshot is being loaded. */
  #muted = false;
  #steps = 0;
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
      quantumNs: config.quantumNs,
      tscKhz: config.tscKhz,
      startDateSeconds: config.startDateSeconds,
      serviceDomainLatencyNs: config.controlDomainLatencyNs,
    });
    this.#snapshots.register("clock", 1, this.clock);
    this.#snapshots.register("random", 1, this.#random);
    this.#snapshots.register("processor", 1, this.processor);
    this.#snapshots.register("hypervisor", 1, this.hypervisor);
    this.#toolstack = new Toolstack({
      config,
      images,
      programs,
      hypervisor: this.hypervisor,
      clock: this.clock,
      emit: this.#emit,
      random: this.#random,
      snapshots: this.#snapshots,
    });
    this.#actions = new Actions({
      clock: this.clock,
      actions: config.actions,
      terminal: (domain) => this.terminal(domain),
      perform: (action) => this.#toolstack.perform(action),
    });
    this.#snapshots.register("actions", 1, this.#actions);
    this.#toolstack.build();
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
    const lives = this.#toolstack.domids(domain);
    return lives.map((domid) => this.#console.get(domid) ?? "").join("");
  }

  /** Everything that a domain's board has sent out of a UART, 0 for COM1, as Latin-1 text; empty without a board. */
  serial(domain: string, port: 0 | 1 = 0): string {
    return this.#toolstack.pc(domain)?.serial(port) ?? "";
  }

  /** What a person at the domain's terminal has seen: a PC's is at its first serial port, another domain's at its console. */
  terminal(domain: string): string {
    return this.#toolstack.pc(domain) !== undefined ? this.serial(domain) : this.console(domain);
  }

  /** Everything that a domain's firmware has written to the debug console (port 402h). */
  debugConsole(domain: string): string {
    return this.#toolstack.pc(domain)?.debug ?? "";
  }

  /** The lines of a domain's text screen, as they are now; none in a graphics mode and without a board. */
  screen(domain: string): readonly string[] {
    return this.#toolstack.pc(domain)?.screen() ?? [];
  }

  /** What the pings of a network's host have come to; undefined when it sends none. */
  pings(host: string): PingerState | undefined {
    return this.#toolstack.network.pings(host);
  }

  /** "running", or how the domain ended. */
  ended(domain: string): string {
    return this.hypervisor.endOf(this.#toolstack.domain(domain).domid);
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
    const { domid, status } = this.#toolstack.domain(channel.slice(CONSOLE_CHANNEL.length));
    this.#emit({ kind: "input", at: this.clock.now, channel, step: this.#steps, data: bytes });
    // The console of a domain that was destroyed is gone: whoever still types there reaches nobody.
    if (status !== "destroyed") this.hypervisor.consoleInput(domid, bytes);
    this.#reason = "running";
  }

  /** Makes one step; false when there is nothing to do any more unless somebody types. */
  step(): boolean {
    this.#steps++;
    const { clock, hypervisor } = this;
    clock.advanceTo(clock.now);
    if (this.#over()) return false;
    const { timeLimitNs } = this.#config;
    if (hypervisor.runTurn(timeLimitNs)) return true;
    const deadline = clock.nextDeadline();
    if (deadline === undefined) return this.#stop("idle");
    clock.advanceTo(Math.min(deadline, timeLimitNs));
    return true;
  }

  #over(): boolean {
    if (this.clock.now >= this.#config.timeLimitNs) return !this.#stop("time limit");
    return this.#toolstack.allEnded && !this.#stop("domains ended");
  }

  #stop(reason: string): false {
    this.#reason = reason;
    return false;
  }

  #listen(event: TraceEvent): void {
    if (event.kind === "device-output") this.#actions.shown();
    if (event.kind !== "console-output") return;
    this.#actions.shown();
    let text = this.#console.get(event.domain) ?? "";
    for (const byte of event.data) text += String.fromCharCode(byte);
    this.#console.set(event.domain, text);
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
      reason: this.#reason,
      changes: this.#toolstack.changes.map((change) => ({ ...change })),
      consoles: Array.from(this.#console, ([domid, text]) => ({ domid, text })),
    };
  }

  /** @throws InputError when the state is of another machine; the machine must not be used then */
  load(state: MachineState): void {
    // What domains there are is no state of a part: the same happens to this machine's as did to the snapshot's.
    this.#muted = true;
    this.#toolstack.reenact(state.changes);
    this.#muted = false;
    this.processor.memory.load(state.memory);
    this.#snapshots.load(state.parts);
    this.#steps = state.steps;
    this.#reason = state.reason;
    this.#console.clear();
    for (const { domid, text } of state.consoles) this.#console.set(domid, text);
    this.#pages.updateAll();
  }

  view(): MachineView {
    return viewOf(this.processor);
  }
}
