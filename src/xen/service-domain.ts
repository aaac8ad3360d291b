// Part: a service domain: programs without a processor of their own that use the hypervisor as a domain does. A notification makes
// a port pending and arms the domain's one upcall alarm; when it fires, the handlers of all pending ports run in port order.

import type { Clock } from "../core/clock.ts";
import { InvariantError, OutOfRange } from "../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import { shortCopy } from "../core/slab.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import type { Emit } from "../trace/events.ts";
import { GRANT_TABLE_H as G } from "./abi/constants.ts";
import type { BackendHost, DomainServices, GrantMapping, XenstoreClient } from "./backend-host.ts";
import { EventChannels, type EventChannelsState, type EventNetwork, type EventSink } from "./event-channels.ts";
import type { FrameAllocator } from "./frames.ts";
import { GrantMappings, type GrantMappingsState, type GrantOwner } from "./grant-table.ts";

/** Two-level ABI of a 64-bit domain (EVTCHN_2L_NR_CHANNELS): what a control domain has. */
const PORTS = 4096;

export interface ServiceDomainParts {
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly frames: FrameAllocator;
  readonly latencyNs: number;
  readonly network: EventNetwork;
  readonly ownerOf: (domid: number) => GrantOwner | undefined;
}

export interface ServiceDomainState {
  domid: number;
  pending: number[];
  events: EventChannelsState;
  mappings: GrantMappingsState;
}

export class ServiceDomain implements DomainServices, EventSink, Snapshotable<ServiceDomainState> {
  readonly domid: number;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly vcpuCount = 1;
  readonly events: EventChannels;
  readonly #parts: ServiceDomainParts;
  readonly #mappings: GrantMappings;
  readonly #handlers = new Map<number, () => void>();
  readonly #upcall: { set(deadlineNs: number): void };
  #pending: number[] = [];

  constructor(domid: number, parts: ServiceDomainParts) {
    this.domid = domid;
    this.clock = parts.clock;
    this.emit = parts.emit;
    this.#parts = parts;
    this.#mappings = new GrantMappings(parts.frames);
    this.events = new EventChannels(domid, PORTS, this, parts.network);
    this.#upcall = parts.clock.alarm(`dom${domid} upcall`, () => this.#deliver());
  }

  /** The services together with a client of xenstore: what a back-end driver receives. */
  withXenstore(xenstore: XenstoreClient): BackendHost {
    const { domid, clock, emit } = this;
    return {
      domid,
      clock,
      emit,
      xenstore,
      mapGrant: (owner, ref, readOnly) => this.mapGrant(owner, ref, readOnly),
      copyFromGrant: (owner, ref, offset, length) => this.copyFromGrant(owner, ref, offset, length),
      copyToGrant: (owner, ref, offset, bytes) => this.copyToGrant(owner, ref, offset, bytes),
      bindInterdomain: (domain, port, handler) => this.bindInterdomain(domain, port, handler),
      notify: (port) => this.notify(port),
      unbind: (port) => this.unbind(port),
      adoptPort: (port, handler) => this.adoptPort(port, handler),
      adoptMapping: (handle) => this.adoptMapping(handle),
    };
  }

  setPending(port: number): boolean {
    if (this.#pending.includes(port)) return false;
    if (this.#pending.length > 0) {
      this.#pending.push(port);
      return true;
    }
    this.#pending = [port];
    this.#upcall.set(this.clock.now + this.#parts.latencyNs);
    return true;
  }

  clearPending(port: number): void {
    this.#pending = this.#pending.filter((other) => other !== port);
  }

  /** No port of a service domain is Xen's. */
  consume(): void {}

  /** Ports of a service domain are never masked. */
  unmask(): void {}

  bindInterdomain(remoteDomain: number, remotePort: number, handler: () => void): number {
    const port = this.events.bindInterdomain(remoteDomain, remotePort);
    if (port > 0) this.#handlers.set(port, handler);
    return port;
  }

  notify(port: number): void {
    this.events.send(port);
  }

  unbind(port: number): void {
    this.events.close(port);
    this.#handlers.delete(port);
  }

  adoptPort(port: number, handler: () => void): void {
    if (this.events.channel(port) !== undefined) this.#handlers.set(port, handler);
  }

  mapGrant(owner: number, ref: number, readOnly: boolean): GrantMapping | number {
    const granter = this.#parts.ownerOf(owner);
    const handle = granter === undefined ? G.GNTST_bad_domain : this.#mappings.map(this.domid, granter, ref, readOnly);
    this.emit({
      kind: "grant-map",
      at: this.clock.now,
      domain: this.domid,
      owner,
      ref,
      readOnly,
      handle: Math.max(handle, 0),
      status: Math.min(handle, 0),
    });
    return handle < 0 ? handle : this.#mapping(handle, readOnly);
  }

  adoptMapping(handle: number): GrantMapping | undefined {
    const entry = this.#mappings.get(handle);
    return entry === undefined ? undefined : this.#mapping(handle, entry.readOnly);
  }

  copyFromGrant(owner: number, ref: number, offset: number, length: number): Uint8Array | number {
    const address = this.#acquire(owner, ref, offset, length, true);
    if (address < 0) {
      this.#copied(owner, ref, false, offset, length, address);
      return address;
    }
    const copied = this.#parts.memory.read(address, length);
    this.#parts.ownerOf(owner)?.grants.release(ref, true);
    this.#copied(owner, ref, false, offset, length, G.GNTST_okay);
    return copied;
  }

  copyToGrant(owner: number, ref: number, offset: number, bytes: Uint8Array): number {
    const address = this.#acquire(owner, ref, offset, bytes.length, false);
    const status = address < 0 ? address : G.GNTST_okay;
    if (address >= 0) {
      this.#parts.memory.write(address, bytes);
      this.#parts.ownerOf(owner)?.grants.release(ref, false);
    }
    this.#copied(owner, ref, true, offset, bytes.length, status);
    return status;
  }

  save(): ServiceDomainState {
    return {
      domid: this.domid,
      pending: [...this.#pending],
      events: this.events.save(),
      mappings: this.#mappings.save(),
    };
  }

  /** Handlers are the programs' to give back: see `adoptPort`. */
  load(state: ServiceDomainState): void {
    this.#pending = [...state.pending];
    this.events.load(state.events);
    this.#mappings.load(state.mappings);
    this.#handlers.clear();
  }

  #deliver(): void {
    const ports = this.#pending;
    if (ports.length > 1) ports.sort((a, b) => a - b);
    this.#pending = [];
    for (const port of ports) this.#handlers.get(port)?.();
  }

  /** Begins a use of a granted page for a copy: the host-physical address of the bytes, or a negative GNTST_ status. */
  #acquire(owner: number, ref: number, offset: number, length: number, readOnly: boolean): number {
    const granter = this.#parts.ownerOf(owner);
    if (granter === undefined) return G.GNTST_bad_domain;
    if (offset + length > PAGE_SIZE) return G.GNTST_bad_copy_arg;
    const frame = granter.grants.acquire(ref, this.domid, readOnly);
    return frame < 0 ? frame : frame * PAGE_SIZE + offset;
  }

  #copied(owner: number, ref: number, toGrant: boolean, offset: number, length: number, status: number): void {
    const at = this.clock.now;
    this.emit({ kind: "grant-copy", at, domain: this.domid, owner, ref, toGrant, offset, length, status });
  }

  #unmap(handle: number): number {
    const entry = this.#mappings.get(handle);
    const owner = entry === undefined ? undefined : this.#parts.ownerOf(entry.owner);
    const status = this.#mappings.unmap(handle, owner);
    this.emit({ kind: "grant-unmap", at: this.clock.now, domain: this.domid, handle, status });
    return status;
  }

  #mapping(handle: number, readOnly: boolean): GrantMapping {
    return new MappedGrant(this.#parts.memory, this.#mappings, handle, readOnly, (ended) => this.#unmap(ended));
  }
}

/** A granted page in a domain that has no memory of its own to map it to. */
class MappedGrant implements GrantMapping {
  readonly handle: number;
  readonly readOnly: boolean;
  readonly #memory: GuestMemory;
  readonly #mappings: GrantMappings;
  readonly #unmap: (handle: number) => number;

  constructor(
    memory: GuestMemory,
    mappings: GrantMappings,
    handle: number,
    readOnly: boolean,
    unmap: (handle: number) => number,
  ) {
    this.handle = handle;
    this.readOnly = readOnly;
    this.#memory = memory;
    this.#mappings = mappings;
    this.#unmap = unmap;
  }

  /** Host-physical address of bytes to be read. */
  #at(offset: number, width: number): number {
    const entry = this.#mappings.get(this.handle);
    if (entry === undefined) throw new InvariantError(`grant mapping ${this.handle} is used after its end`);
    if (!(offset >= 0 && offset + width <= PAGE_SIZE)) throw new OutOfRange(offset, width, "granted page");
    return (entry.frame << PAGE_SHIFT) + offset;
  }

  /** The same, to be written. */
  #into(offset: number, width: number): number {
    if (this.readOnly) throw new InvariantError(`grant mapping ${this.handle} is read-only`);
    return this.#at(offset, width);
  }

  load8(offset: number): number {
    return this.#memory.load8(this.#at(offset, 1));
  }

  load16(offset: number): number {
    return this.#memory.load16(this.#at(offset, 2));
  }

  load32(offset: number): number {
    return this.#memory.load32(this.#at(offset, 4));
  }

  load64(offset: number): bigint {
    const address = this.#at(offset, 8);
    return (BigInt(this.#memory.load32(address + 4)) << 32n) | BigInt(this.#memory.load32(address));
  }

  store8(offset: number, value: number): void {
    this.#memory.store8(this.#into(offset, 1), value);
  }

  store16(offset: number, value: number): void {
    this.#memory.store16(this.#into(offset, 2), value);
  }

  store32(offset: number, value: number): void {
    this.#memory.store32(this.#into(offset, 4), value);
  }

  store64(offset: number, value: bigint): void {
    const address = this.#into(offset, 8);
    this.#memory.store32(address, Number(value & 0xffff_ffffn));
    this.#memory.store32(address + 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  loadWords(offset: number, target: Uint32Array, from: number, count: number): void {
    this.#memory.loadWords(this.#at(offset, 4 * count), target, from, count);
  }

  read(offset: number, length: number): Uint8Array {
    const address = this.#at(offset, length);
    return shortCopy(this.#memory.bytes, address, address + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#memory.write(this.#into(offset, bytes.length), bytes);
  }

  unmap(): number {
    return this.#unmap(this.handle);
  }
}
