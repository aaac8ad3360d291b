// Part: a guest domain: its memory, its tables and its vCPUs, as plain data with few operations. What needs the processor or
// other domains is the hypervisor's.

import type { GuestMemory } from "../core/memory.ts";
import { PARAMS_H } from "./abi/constants.ts";
import { EventChannels, type EventChannelsState, type EventNetwork, type EventSink } from "./event-channels.ts";
import type { FrameAllocator } from "./frames.ts";
import {
  GrantMappings,
  type GrantMappingsState,
  type GrantOwner,
  GrantTable,
  type GrantTableState,
} from "./grant-table.ts";
import type { GuestAccess } from "./guest-access.ts";
import type { P2m, P2mState } from "./p2m.ts";
import { GSIS, type Platform, type PlatformState } from "./platform.ts";
import { PORTS_2L, SharedInfo } from "./shared-info.ts";
import type { MemoryMapEntry } from "./start-info.ts";
import type { Vcpu, VcpuState } from "./vcpu.ts";

export interface ModuleImage {
  readonly bytes: Uint8Array;
  readonly commandLine: string;
}

/** A kernel that is started by its PVH entry, and what it is given. */
export interface PvhKernel {
  /** ELF32 image with a PVH entry note. */
  readonly kernel: Uint8Array;
  readonly commandLine: string;
  readonly modules?: readonly ModuleImage[];
}

/** What a domain gets of the processor: Xen's defaults without it. */
export interface DomainShare {
  /** Beside others': 256 by default. */
  readonly weight?: number;
  /** Per cent of the processor, 0 (the default) for no bound. */
  readonly cap?: number;
}

/** A paravirtualised domain without devices, started by its kernel's PVH entry. */
export interface PvhDomainConfig extends PvhKernel, DomainShare {
  readonly kind?: "pvh";
  readonly name: string;
  /** Default: the lowest number from 1 on that was never used. */
  readonly domid?: number;
  /** Bytes; a whole number of pages. */
  readonly memorySize: number;
}

/** A domain with a PC around it. */
export interface HvmDomainConfig extends DomainShare {
  readonly kind: "hvm";
  readonly name: string;
  readonly domid?: number;
  /** Bytes; a whole number of pages. */
  readonly memorySize: number;
  /** Firmware, whose image ends at 4 GiB and which starts at the reset vector; or a kernel, without any firmware. */
  readonly boot: { readonly firmware: Uint8Array } | PvhKernel;
  /** The firmware's end is copied to RAM below 1 MiB, as boards without PAM registers have it; else it is seen there through the bus. */
  readonly shadowed: boolean;
  /** Whether the guest finds Xen: CPUID leaves, hypercall page, hypercalls. */
  readonly showsXen: boolean;
}

/** A domain whose kernel is a program of ringback's host; see model/kernel.ts. */
export interface ModelDomainConfig {
  readonly kind: "model";
  readonly name: string;
  readonly domid?: number;
  /** Pages of memory. */
  readonly pages: number;
}

export type DomainConfig = PvhDomainConfig | HvmDomainConfig | ModelDomainConfig;

/** What takes upcalls in place of a vCPU. */
export interface ModelUpcall {
  upcall(): void;
}

export type DomainStatus = "running" | "shutdown" | "crashed" | "destroyed";

/** How the domain asked to be told of events (HVM_PARAM_CALLBACK_IRQ, hvm/params.h). */
export type CallbackVia =
  | { readonly type: "none" }
  | { readonly type: "gsi"; readonly gsi: number }
  | { readonly type: "pci-intx"; readonly bus: number; readonly devfn: number; readonly intx: number }
  | { readonly type: "vector"; readonly vector: number };

/** Decodes the parameter's value: type in bits 63:56. Unknown types mean none, as in Xen. */
function callbackVia(value: bigint): CallbackVia {
  const low = Number(value & 0xffff_ffffn);
  switch (Number(value >> 56n)) {
    case PARAMS_H.HVM_PARAM_CALLBACK_TYPE_GSI:
      return (low & 0xff) === 0 || (low & 0xff) >= GSIS ? { type: "none" } : { type: "gsi", gsi: low & 0xff };
    case PARAMS_H.HVM_PARAM_CALLBACK_TYPE_PCI_INTX:
      return { type: "pci-intx", bus: (low >>> 16) & 0xffff, devfn: (low >>> 8) & 0xff, intx: low & 3 };
    case PARAMS_H.HVM_PARAM_CALLBACK_TYPE_VECTOR:
      return { type: "vector", vector: low & 0xff };
    default:
      return { type: "none" };
  }
}

/** A ring page that the domain builder gave to the guest, and the guest's end of its event channel. */
export interface BootRing {
  readonly gfn: number;
  readonly port: number;
}

export interface DomainState {
  domid: number;
  name: string;
  status: string;
  end: string;
  shutdownCode: number;
  callbackLine: boolean;
  params: bigint[];
  sharedInfoFrame: number;
  memoryMap: { address: number; size: number; type: number }[];
  maxPages: number;
  console: { gfn: number; port: number };
  store: { gfn: number; port: number };
  p2m: P2mState;
  events: EventChannelsState;
  grants: GrantTableState;
  mappings: GrantMappingsState;
  vcpus: VcpuState[];
  /** Of an HVM domain. */
  platform: PlatformState | null;
}

/** What raises upcalls and wakes vCPUs; the hypervisor. */
export interface UpcallSink extends EventNetwork {
  upcall(vcpu: Vcpu, port: number): void;
  /** The device model has notified a port that the hypervisor has. */
  ioreqEvent(domain: Domain, port: number): void;
}

export class Domain implements GrantOwner, EventSink {
  readonly domid: number;
  readonly name: string;
  readonly p2m: P2m;
  readonly sharedInfoFrame: number;
  readonly shared: SharedInfo;
  readonly events: EventChannels;
  readonly grants: GrantTable;
  readonly mappings: GrantMappings;
  /** The current vCPU's memory by linear address; only while one of this domain has the processor. */
  readonly access: GuestAccess;
  readonly vcpus: Vcpu[] = [];
  readonly params: bigint[] = Array.from({ length: PARAMS_H.HVM_NR_PARAMS }, () => 0n);
  status: DomainStatus = "running";
  /** How it ended: the name of a SHUTDOWN_ value (sched.h) or why it crashed; empty while it runs. */
  end = "";
  /** SCHEDOP_shutdown_code: the reason of its end, whatever ends it; −1 for none. */
  shutdownCode = -1;
  /** Level of the GSI or INTx line that tells of events. */
  callbackLine = false;
  memoryMap: readonly MemoryMapEntry[] = [];
  /** Pages of its own that the domain may have. */
  maxPages = 0;
  console: BootRing = { gfn: 0, port: 0 };
  store: BootRing = { gfn: 0, port: 0 };
  /** Of an HVM domain. */
  platform: Platform | undefined = undefined;
  /** Of a model domain. */
  model: ModelUpcall | undefined = undefined;
  #callback: CallbackVia = { type: "none" };
  readonly #sink: UpcallSink;

  constructor(
    domid: number,
    name: string,
    parts: {
      readonly memory: GuestMemory;
      readonly frames: FrameAllocator;
      readonly p2m: P2m;
      readonly sharedInfoFrame: number;
      readonly sink: UpcallSink;
      readonly access: GuestAccess;
    },
  ) {
    this.domid = domid;
    this.name = name;
    this.p2m = parts.p2m;
    this.sharedInfoFrame = parts.sharedInfoFrame;
    this.shared = new SharedInfo(parts.memory, parts.sharedInfoFrame);
    this.grants = new GrantTable(parts.memory, parts.frames, (gfn) => this.ownFrame(gfn));
    this.mappings = new GrantMappings(parts.frames);
    this.events = new EventChannels(domid, PORTS_2L, this, parts.sink);
    this.access = parts.access;
    this.#sink = parts.sink;
  }

  get vcpuCount(): number {
    return this.vcpus.length;
  }

  /** The guest may find Xen and make hypercalls. */
  get showsXen(): boolean {
    return this.platform?.showsXen ?? true;
  }

  get callback(): CallbackVia {
    return this.#callback;
  }

  setParam(index: number, value: bigint): void {
    this.params[index] = value;
    if (index === PARAMS_H.HVM_PARAM_CALLBACK_IRQ) this.#callback = callbackVia(value);
  }

  ownFrame(gfn: number): number {
    return this.p2m.ramFrameOf(gfn);
  }

  /** Xen's evtchn_2l_set_pending. */
  setPending(port: number, vcpuId: number): boolean {
    if (!this.shared.setPending(port)) return false;
    const vcpu = this.vcpus[vcpuId] ?? this.vcpus[0];
    if (vcpu !== undefined && !this.shared.masked(port)) this.#select(vcpu, port);
    for (const poller of this.vcpus) poller.polled(port);
    return true;
  }

  clearPending(port: number): void {
    this.shared.clearPending(port);
  }

  consume(port: number): void {
    this.#sink.ioreqEvent(this, port);
  }

  /** Xen's evtchn_2l_unmask. */
  unmask(port: number, vcpuId: number): void {
    const vcpu = this.vcpus[vcpuId] ?? this.vcpus[0];
    if (this.shared.clearMask(port) && this.shared.pending(port) && vcpu !== undefined) this.#select(vcpu, port);
  }

  #select(vcpu: Vcpu, port: number): void {
    if (!this.shared.select(vcpu.vcpuInfo, port)) return;
    if (this.shared.raiseUpcall(vcpu.vcpuInfo)) this.#sink.upcall(vcpu, port);
  }

  save(): DomainState {
    return {
      domid: this.domid,
      name: this.name,
      status: this.status,
      end: this.end,
      shutdownCode: this.shutdownCode,
      callbackLine: this.callbackLine,
      params: [...this.params],
      sharedInfoFrame: this.sharedInfoFrame,
      memoryMap: this.memoryMap.map((entry) => ({ ...entry })),
      maxPages: this.maxPages,
      console: { ...this.console },
      store: { ...this.store },
      p2m: this.p2m.save(),
      events: this.events.save(),
      grants: this.grants.save(),
      mappings: this.mappings.save(),
      vcpus: this.vcpus.map((vcpu) => vcpu.save()),
      platform: this.platform?.save() ?? null,
    };
  }

  /** Takes over everything but what the constructor fixed. */
  load(state: DomainState): void {
    this.status = state.status as DomainStatus;
    this.end = state.end;
    this.shutdownCode = state.shutdownCode;
    this.callbackLine = state.callbackLine;
    for (const [index, value] of state.params.entries()) this.setParam(index, value);
    this.memoryMap = state.memoryMap.map((entry) => ({ ...entry }));
    this.maxPages = state.maxPages;
    this.console = { ...state.console };
    this.store = { ...state.store };
    this.p2m.load(state.p2m);
    this.events.load(state.events);
    this.grants.load(state.grants);
    this.mappings.load(state.mappings);
    if (state.platform !== null) this.platform?.load(state.platform);
    for (const [index, vcpu] of this.vcpus.entries()) {
      const saved = state.vcpus[index];
      if (saved !== undefined) vcpu.load(saved);
    }
  }
}
