// Part: the kernel of a model domain: what a TypeScript program in a domain of its own sees of Xen. The domain has memory, grant table, event
// channels, console and store rings as any other, and no processor. What the kernel does takes the way of a guest's: each hypercall goes
// through the hypervisor's table with its structures in the domain's memory, each ring is a page. An upcall runs as an alarm, some virtual
// time after the port became pending, and calls the handlers of all pending, unmasked ports in the order of Linux's two-level loop.
//
// A program is `(kernel, parameters) => ModelProgram`: it is constructed with the machine, `start` is its first instruction, and from then on it
// lives in handlers (of ports, alarms, watches, console input). It keeps its state as plain data, which `save` gives and `load` takes;
// handlers are no data, so `load` gives each port, watch and mapping that it uses its handler again (`adoptPort`, `store.adoptWatch`,
// `adoptMapping`). A kernel serves a back end too: it is a BackendHost.
// Not modelled: more than one vCPU, time that the program's own work takes.

import type { Alarm, Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { Emit } from "../../trace/events.ts";
import { ERRNO_H as E, MEMORY_H, EVENT_CHANNEL_H as O, SCHED_H, XEN_H } from "../abi/constants.ts";
import { create } from "../abi/layout.ts";
import {
  EVTCHN_ALLOC_UNBOUND,
  EVTCHN_BIND_INTERDOMAIN,
  EVTCHN_BIND_IPI,
  EVTCHN_BIND_VIRQ,
  EVTCHN_STATUS,
  SCHED_SHUTDOWN,
  XEN_ADD_TO_PHYSMAP,
} from "../abi/structures.ts";
import type { BackendHost, GrantMapping } from "../backend-host.ts";
import type { Domain, ModelUpcall } from "../domain.ts";
import { MAX_GRANT_FRAMES } from "../grant-table.ts";
import { carryOut } from "../hypercalls/index.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import type { Message } from "../xenstore/wire.ts";
import { ModelConsole, type ModelConsoleState } from "./console.ts";
import { type GrantsState, ModelGrants } from "./grants.ts";
import { ModelMemory, Page } from "./memory.ts";
import { ModelStore, type ModelStoreState } from "./store.ts";

/** A program for a model domain; see the head of this file. */
export interface ModelProgram<State = unknown> extends Snapshotable<State> {
  start(): void;
  /**
   * Goes on in a new domain, after the program that was in another had suspended itself: `load` has given it that one's state. Ports, grants and
   * watches are gone, alarms are not set.
   */
  resume?(): void;
}

/** Makes a program. It must not act before `start`. @param parameters as the machine's configuration has them */
export type ModelFactory = (
  kernel: ModelKernel,
  parameters: Readonly<Record<string, string | number | boolean>>,
) => ModelProgram;

export interface ModelWires {
  readonly host: HypervisorServices;
  readonly domain: Domain;
  /** From a pending event to its handler, nanoseconds. */
  readonly latencyNs: number;
  /** Carries out a request to xenstore on the domain's behalf. */
  readonly store: (request: Message) => Message;
  /** A random stream of the domain's own. */
  readonly random: (name: string) => RandomStream;
}

export interface ModelKernelState {
  freePages: number[];
  nextPage: number;
  grants: GrantsState;
  console: ModelConsoleState;
  store: ModelStoreState;
}

/** Guest frames: the structures of hypercalls, what is copied by GNTTABOP_copy; the rings follow (see builder.ts). */
const ARGUMENTS_GFN = 0;
const BOUNCE_GFN = 1;
/** The first page that a program may have. */
export const MODEL_FIRST_PAGE = 4;

export class ModelKernel implements BackendHost, ModelUpcall, Snapshotable<ModelKernelState> {
  readonly domid: number;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly console: ModelConsole;
  readonly store: ModelStore;
  readonly #domain: Domain;
  readonly #vcpu: Vcpu;
  readonly #host: HypervisorServices;
  readonly #latencyNs: number;
  readonly #random: ModelWires["random"];
  readonly #memory: ModelMemory;
  readonly #arguments: Page;
  readonly #grants: ModelGrants;
  readonly #handlers: ((() => void) | undefined)[] = [];
  readonly #upcall: Alarm;
  #freePages: number[] = [];
  #nextPage = MODEL_FIRST_PAGE;

  constructor({ host, domain, latencyNs, store, random }: ModelWires) {
    const [vcpu] = domain.vcpus;
    if (vcpu === undefined) throw new InputError("has no vCPU", `domain ${domain.name}`);
    this.domid = domain.domid;
    this.clock = host.clock;
    this.emit = host.emit;
    this.#domain = domain;
    this.#vcpu = vcpu;
    this.#host = host;
    // An event that takes no time could cause the next at the same instant, for ever.
    this.#latencyNs = Math.max(1, latencyNs);
    this.#random = random;
    this.#memory = new ModelMemory(host.processor.memory, domain.p2m);
    this.#arguments = this.page(ARGUMENTS_GFN);
    this.#grants = new ModelGrants({
      domid: this.domid,
      memory: this.#memory,
      tableGfn: domain.maxPages,
      windowGfn: domain.maxPages + MAX_GRANT_FRAMES,
      bounce: this.page(BOUNCE_GFN),
      grantOp: (operation, structure) => {
        const result = this.#operation(XEN_H.__HYPERVISOR_grant_table_op, operation, structure, 1);
        return result < 0 ? undefined : this.#arguments.read(0, structure.length);
      },
      mapTableFrame: (index, gfn) => this.#mapTableFrame(index, gfn),
    });
    this.#upcall = this.alarm("upcall", () => this.#deliver());
    const { console: consoleRing, store: storeRing } = domain;
    this.console = new ModelConsole(this.page(consoleRing.gfn), () => this.notify(consoleRing.port));
    this.store = new ModelStore(store, this.page(storeRing.gfn), () => this.notify(storeRing.port));
    this.#handlers[consoleRing.port] = () => this.console.serve();
    this.#handlers[storeRing.port] = () => this.store.serve();
    domain.model = this;
  }

  /** The domain's client of xenstore, as a BackendHost names it. */
  get xenstore(): ModelStore {
    return this.store;
  }

  get name(): string {
    return this.#domain.name;
  }

  get running(): boolean {
    return this.#domain.status === "running";
  }

  // Memory.

  /** A page by its guest frame number; accesses fail where the domain has none. */
  page(gfn: number): Page {
    return new Page(this.#memory, gfn);
  }

  /** A page that the program does not use yet, with whatever is in it; undefined when all are in use. */
  allocatePage(): Page | undefined {
    const gfn = this.#freePages.pop() ?? (this.#nextPage < this.#domain.maxPages ? this.#nextPage++ : undefined);
    return gfn === undefined ? undefined : this.page(gfn);
  }

  freePage(page: Page): void {
    this.#freePages.push(page.gfn);
  }

  // Hypercalls.

  /** Any hypercall. Pointers among the arguments are guest-physical addresses. @returns 0 or more, or a negative errno */
  hypercall(number: number, a = 0, b = 0, c = 0, d = 0, e = 0): number {
    const { running } = this;
    if (!running) return -E.XEN_ESRCH;
    const call = { host: this.#host, vcpu: this.#vcpu, domain: this.#domain, arguments: [a, b, c, d, e] } as const;
    return carryOut(number, call, true);
  }

  /** A hypercall with a sub-operation and a structure, which stands at the beginning of the page of arguments. */
  #operation(number: number, operation: number, structure: Uint8Array, count = 0): number {
    this.#arguments.write(0, structure);
    return this.hypercall(number, operation, ARGUMENTS_GFN, count);
  }

  #mapTableFrame(index: number, gfn: number): boolean {
    const space = MEMORY_H.XENMAPSPACE_grant_table;
    const request = create(XEN_ADD_TO_PHYSMAP, { domid: XEN_H.DOMID_SELF, space, idx: index, gpfn: gfn });
    return this.#operation(XEN_H.__HYPERVISOR_memory_op, MEMORY_H.XENMEM_add_to_physmap, request) === 0;
  }

  /** Ends the domain; no handler of it runs any more. @param reason SHUTDOWN_ (sched.h) */
  shutdown(reason: number = SCHED_H.SHUTDOWN_poweroff): void {
    this.#operation(XEN_H.__HYPERVISOR_sched_op, SCHED_H.SCHEDOP_shutdown, create(SCHED_SHUTDOWN, { reason }));
  }

  /** Takes over from the kernel of a suspended domain, whose memory this domain has: nobody has grants of it or ports to it. */
  resume({ freePages, nextPage, console }: ModelKernelState): void {
    this.#memory.flush();
    this.#freePages = [...freePages];
    this.#nextPage = nextPage;
    this.console.load(console);
  }

  // Event channels.

  /** A port that `remoteDomain` may bind: the port, or a negative errno. */
  allocUnbound(remoteDomain: number, handler: () => void): number {
    const request = create(EVTCHN_ALLOC_UNBOUND, { dom: XEN_H.DOMID_SELF, remote_dom: remoteDomain });
    const status = this.#eventOp(O.EVTCHNOP_alloc_unbound, request);
    return status < 0 ? status : this.#bound(EVTCHN_ALLOC_UNBOUND.layouts.x86_32.offset.port, handler);
  }

  bindInterdomain(remoteDomain: number, remotePort: number, handler: () => void): number {
    const request = create(EVTCHN_BIND_INTERDOMAIN, { remote_dom: remoteDomain, remote_port: remotePort });
    const status = this.#eventOp(O.EVTCHNOP_bind_interdomain, request);
    return status < 0 ? status : this.#bound(EVTCHN_BIND_INTERDOMAIN.layouts.x86_32.offset.local_port, handler);
  }

  bindVirq(virq: number, handler: () => void): number {
    const status = this.#eventOp(O.EVTCHNOP_bind_virq, create(EVTCHN_BIND_VIRQ, { virq, vcpu: 0 }));
    return status < 0 ? status : this.#bound(EVTCHN_BIND_VIRQ.layouts.x86_32.offset.port, handler);
  }

  bindIpi(handler: () => void): number {
    const status = this.#eventOp(O.EVTCHNOP_bind_ipi, create(EVTCHN_BIND_IPI, { vcpu: 0 }));
    return status < 0 ? status : this.#bound(EVTCHN_BIND_IPI.layouts.x86_32.offset.port, handler);
  }

  /** The port that a hypercall has stored at `offset` of its structure. */
  #bound(offset: number, handler: () => void): number {
    const port = this.#arguments.load32(offset);
    this.#handlers[port] = handler;
    return port;
  }

  /** 0, or a negative errno: the port is not the domain's. */
  notify(port: number): number {
    return this.#portOp(O.EVTCHNOP_send, port);
  }

  /** Closes a port. */
  unbind(port: number): number {
    this.#handlers[port] = undefined;
    return this.#portOp(O.EVTCHNOP_close, port);
  }

  /** EVTCHNSTAT_ of a port, or a negative errno. */
  portStatus(port: number): number {
    const status = this.#eventOp(O.EVTCHNOP_status, create(EVTCHN_STATUS, { dom: XEN_H.DOMID_SELF, port }));
    return status < 0 ? status : this.#arguments.load32(EVTCHN_STATUS.layouts.x86_32.offset.status);
  }

  /** No upcall for the port until it is unmasked; events stay pending. */
  mask(port: number): void {
    this.#domain.shared.setMask(port);
  }

  /** As Linux's evtchn_2l_unmask: the hypervisor is asked only when an event is pending. */
  unmask(port: number): void {
    if (this.#domain.shared.pending(port)) this.#portOp(O.EVTCHNOP_unmask, port);
    else this.#domain.shared.clearMask(port);
  }

  adoptPort(port: number, handler: () => void): void {
    this.#handlers[port] = handler;
  }

  #eventOp(operation: number, structure: Uint8Array): number {
    return this.#operation(XEN_H.__HYPERVISOR_event_channel_op, operation, structure);
  }

  /** An operation whose structure is one port. */
  #portOp(operation: number, port: number): number {
    this.#arguments.store32(0, port);
    return this.hypercall(XEN_H.__HYPERVISOR_event_channel_op, operation, ARGUMENTS_GFN);
  }

  /** The hypervisor has raised the domain's upcall. */
  upcall(): void {
    this.#upcall.set(this.clock.now + this.#latencyNs);
  }

  #deliver(): void {
    const { shared } = this.#domain;
    shared.takeEvents(this.#vcpu.vcpuInfo, (port) => this.#handlers[port]?.());
  }

  // Grants.

  /** Lets another domain use a page: the grant's reference, −1 when the table is full. */
  grantAccess(domid: number, page: Page, readOnly = false): number {
    return this.#grants.grant(domid, page.gfn, readOnly);
  }

  /** Takes a grant back; false, and nothing done, while the other domain still uses it. */
  endAccess(ref: number): boolean {
    return this.#grants.end(ref);
  }

  mapGrant(owner: number, ref: number, readOnly: boolean): GrantMapping | number {
    return this.#grants.map(owner, ref, readOnly);
  }

  adoptMapping(handle: number): GrantMapping | undefined {
    return this.#grants.adopt(handle);
  }

  copyFromGrant(owner: number, ref: number, offset: number, length: number): Uint8Array | number {
    return this.#grants.copyFrom(owner, ref, offset, length);
  }

  copyToGrant(owner: number, ref: number, offset: number, bytes: Uint8Array): number {
    return this.#grants.copyTo(owner, ref, offset, bytes);
  }

  // Time and chance.

  /** An alarm of the domain's own; its handler runs only while the domain does. @throws InputError when the name is taken */
  alarm(name: string, handler: () => void): Alarm {
    return this.clock.alarm(`dom${this.domid} ${name}`, () => {
      if (this.running) handler();
    });
  }

  /** A random stream of the domain's own. @throws InputError when the name is taken */
  random(name: string): RandomStream {
    return this.#random(name);
  }

  save(): ModelKernelState {
    return {
      freePages: [...this.#freePages],
      nextPage: this.#nextPage,
      grants: this.#grants.save(),
      console: this.console.save(),
      store: this.store.save(),
    };
  }

  load(state: ModelKernelState): void {
    this.#memory.flush();
    this.#freePages = [...state.freePages];
    this.#nextPage = state.nextPage;
    this.#grants.load(state.grants);
    this.console.load(state.console);
    this.store.load(state.store);
  }
}
