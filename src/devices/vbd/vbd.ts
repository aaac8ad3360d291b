// Part: the block back end (blkback): one virtual block device of one guest. It negotiates over xenstore (io/blkif.h, "Backend XenBus Nodes"),
// serves the ring, and lets time pass for each operation as its disk would. The reference for what io/blkif.h leaves open is Linux's
// xen-blkback; docs/split-drivers.md says what of it is modelled and what is not.

import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { ERRNO_H as E } from "../../xen/abi/constants.ts";
import type { BackendHost } from "../../xen/backend-host.ts";
import type { Disk } from "../block/disk.ts";
import type { ServiceTime } from "../block/service.ts";
import { BackendEnd, type BackendEndOptions } from "../split/backend-end.ts";
import { XENBUS, type XenbusState } from "../split/xenbus.ts";
import { virtualDeviceNumber } from "./device-number.ts";
import type { VbdFault } from "./faults.ts";
import { adoptedMapping, FrontGrants, type FrontGrantsState } from "./grants.ts";
import { attachRing, readOffer } from "./negotiation.ts";
import { backNodes, frontNodes, sizeNodes, type VbdFeatures } from "./options.ts";
import { isProtocol, OP, type ProtocolName, type Request, RSP } from "./protocol.ts";
import { JobQueue, type JobQueueState, type Waiting } from "./queue.ts";
import { accept, carryOut, type Refusal, type RequestContext } from "./requests.ts";
import { BlockRing, type BlockRingOptions, type BlockRingState } from "./ring.ts";

/** The catalogue's numbers for disk operations; what stands behind a flush is a write. */
const TRACE_OPERATION: Readonly<Record<number, number>> = {
  [OP.READ]: 0,
  [OP.WRITE]: 1,
  [OP.WRITE_BARRIER]: 2,
  [OP.FLUSH_DISKCACHE]: 2,
  [OP.DISCARD]: 3,
};

export interface VbdOptions {
  readonly frontDomid: number;
  /** `xvda`, `xvdb`, … */
  readonly device: string;
  readonly disk: Disk;
  readonly features: VbdFeatures;
  readonly service: ServiceTime;
  readonly random: RandomStream;
  readonly grant: BackendEndOptions["grant"];
  readonly faults?: ReadonlySet<VbdFault>;
}

/** A connected front end. */
interface Connection {
  readonly ring: BlockRing;
  readonly grants: FrontGrants;
}

export interface VbdState {
  state: number;
  /** −1 without an event channel. */
  port: number;
  releasing: boolean;
  connection: { ring: BlockRingState; grants: FrontGrantsState } | null;
  queue: JobQueueState;
}

export class Vbd implements Snapshotable<VbdState> {
  readonly #host: BackendHost;
  readonly #options: VbdOptions;
  readonly #faults: ReadonlySet<VbdFault>;
  readonly #number: number;
  /** What the trace calls the disk: `1/xvda`. */
  readonly #diskName: string;
  readonly #end: BackendEnd;
  readonly #queue: JobQueue;
  #connection: Connection | undefined;
  #port = -1;
  /** The front end is gone; what is in flight has to land first. */
  #releasing = false;

  /** @throws InputError when the device's name is none */
  constructor(host: BackendHost, options: VbdOptions) {
    this.#host = host;
    this.#options = options;
    this.#faults = options.faults ?? new Set();
    const { frontDomid, device, service, random } = options;
    const number = virtualDeviceNumber(device);
    if (number === undefined) throw new InputError("is no disk's name", `virtual block device ${device}`);
    this.#number = number;
    this.#diskName = `${frontDomid}/${device}`;
    this.#end = new BackendEnd(host, {
      kind: "vbd",
      frontDomid,
      device: number,
      grant: options.grant,
      connect: () => this.#connect(),
      release: () => {
        this.#releasing = true;
        this.#releaseWhenIdle();
      },
    });
    const alarm = `vbd ${frontDomid}/${device}`;
    this.#queue = new JobQueue({ host, alarm, service, random, complete: (due) => this.#complete(due) });
  }

  get isPlugged(): boolean {
    return this.#end.isPlugged;
  }

  /** Writes the nodes of both ends, as a toolstack does for a new device, and offers the device. */
  plug(): void {
    const { device, disk, features } = this.#options;
    this.#end.plug(frontNodes(this.#number, features), backNodes(device, features, disk));
  }

  /** Asks the guest to let go of the device. */
  unplug(): void {
    this.#end.unplug();
  }

  /** Takes the device away. */
  remove(): void {
    this.#end.remove();
  }

  /** The disk has another size now: says so, and writes the state once more, which is what makes a connected front end look (xen_vbd_resize). */
  resized(): void {
    if (!this.isPlugged) return;
    this.#end.tellChange(`${this.#options.disk.sectorCount} sectors`);
    for (const [name, value] of Object.entries(sizeNodes(this.#options.disk))) this.#end.write(name, value);
    if (this.#end.state === XENBUS.Connected) this.#end.switchTo(XENBUS.Connected);
  }

  /** Takes the ring that the front end names; nodes that are nonsense and grants that do not map close the device. */
  #connect(): void {
    const { frontDomid, features } = this.#options;
    const offer = readOffer(this.#end, features);
    if ("errno" in offer) {
      this.#end.fatal(offer.errno, offer.message);
      return;
    }
    const parts = attachRing(this.#host, frontDomid, offer, () => this.#serve());
    if ("errno" in parts) {
      this.#end.fatal(parts.errno, parts.message);
      return;
    }
    this.#port = parts.port;
    this.#connection ??= {
      ring: new BlockRing(this.#ringOptions(offer.protocol, parts.pages)),
      grants: new FrontGrants(this.#host, frontDomid, offer.persistent, this.#faults),
    };
    this.#end.switchTo(XENBUS.Connected);
    this.#serve();
  }

  #ringOptions(protocol: ProtocolName, pages: BlockRingOptions["pages"]): BlockRingOptions {
    const { frontDomid } = this.#options;
    const [host, device, port, faults] = [this.#host, this.#number, this.#port, this.#faults];
    return { host, frontDomid, device, protocol, pages, port, faults };
  }

  #serve(): void {
    const connection = this.#connection;
    if (connection === undefined || this.#end.state !== XENBUS.Connected || this.#releasing) return;
    connection.grants.purge();
    if (!connection.ring.take((request, index) => this.#start(connection, request, index))) {
      // This device is shut, and only this device.
      this.#host.unbind(this.#port);
      this.#port = -1;
      this.#end.fatal(E.XEN_EACCES, "Frontend provided bogus ring requests");
      return;
    }
    connection.ring.push();
  }

  #start({ ring, grants }: Connection, request: Request, index: number): void {
    const { disk, features } = this.#options;
    const fetched: RequestContext["fetched"] = (ref, segments) => ring.tellSegments(index, ref, segments);
    const job = accept(request, { disk, features, grants, fetched });
    if ("reason" in job) this.#refuse(ring, job);
    else this.#queue.add(job);
  }

  #refuse(ring: BlockRing, refusal: Refusal): void {
    const { id, reason } = refusal;
    const { frontDomid } = this.#options;
    const at = this.#host.clock.now;
    this.#host.emit({ kind: "blkif-refusal", at, domain: frontDomid, device: this.#number, id, reason });
    ring.respond(refusal);
  }

  /** Finishes operations, then publishes their responses together. */
  #complete(due: readonly Waiting[]): void {
    for (const waiting of due) this.#finish(waiting);
    if (this.#port >= 0) this.#connection?.ring.push();
    if (this.#releasing) this.#releaseWhenIdle();
  }

  #finish({ job, serviceNs }: Waiting): void {
    const done = carryOut(job, this.#options.disk);
    const { sector, count } = job;
    const { status, digest } = done;
    for (const { use } of job.pieces) this.#connection?.grants.release(use);
    const operation = TRACE_OPERATION[job.operation] ?? 0;
    const [at, name] = [this.#host.clock.now, this.#diskName];
    if (digest === undefined) {
      this.#host.emit({ kind: "disk-operation", at, disk: name, operation, sector, count, status, serviceNs });
    } else {
      this.#host.emit({ kind: "disk-operation", at, disk: name, operation, sector, count, status, serviceNs, digest });
    }
    // A front end that is gone may use its ring's pages for something else already.
    if (this.#releasing) return;
    this.#connection?.ring.respond({
      id: job.id,
      operation: job.operation,
      status: status === 0 ? RSP.OKAY : RSP.ERROR,
    });
  }

  /** Lets go of ring, grants and event channel once nothing is in flight. */
  #releaseWhenIdle(): void {
    if (!this.#queue.isIdle && !this.#faults.has("vbd.hasty-teardown")) return;
    this.#releasing = false;
    if (this.#port >= 0) this.#host.unbind(this.#port);
    this.#port = -1;
    this.#connection?.grants.close();
    this.#connection?.ring.close();
    if (!this.#faults.has("vbd.stale-ring")) this.#connection = undefined;
    this.#end.released();
  }

  save(): VbdState {
    const connection = this.#connection;
    return {
      state: this.#end.state,
      port: this.#port,
      releasing: this.#releasing,
      connection: connection === undefined ? null : { ring: connection.ring.save(), grants: connection.grants.save() },
      queue: this.#queue.save(),
    };
  }

  /** @throws InputError when a mapping of the snapshot is not the hypervisor's */
  load(state: VbdState): void {
    this.#end.load(state.state as XenbusState);
    this.#port = state.port;
    this.#releasing = state.releasing;
    this.#queue.load(state.queue);
    this.#connection = state.connection === null ? undefined : this.#loadConnection(state.connection);
    if (this.#port >= 0) this.#host.adoptPort(this.#port, () => this.#serve());
  }

  #loadConnection(state: NonNullable<VbdState["connection"]>): Connection {
    const { protocol, mappings, ring } = state.ring;
    if (!isProtocol(protocol)) throw new InputError(`protocol ${protocol}`, "snapshot of a block device");
    const pages = mappings.map((handle) => adoptedMapping(this.#host, handle));
    const grants = new FrontGrants(this.#host, this.#options.frontDomid, state.grants.persistent, this.#faults);
    grants.load(state.grants);
    return { ring: new BlockRing(this.#ringOptions(protocol, pages), ring), grants };
  }
}
