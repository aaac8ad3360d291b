// Part: the block back end (blkback): one virtual block device of one guest. It writes the toolstack's nodes, negotiates over xenstore
// (io/blkif.h, "Backend XenBus Nodes"), serves the ring, and lets time pass for each operation as its disk would.
// Offered: flush, discard. Not offered: barriers, persistent grants, indirect descriptors, multi-page rings; a request that needs one is
// answered with BLKIF_RSP_EOPNOTSUPP.

import type { Alarm } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { BackendHost, GrantMapping } from "../../xen/backend-host.ts";
import { type Disk, SECTOR_SIZE } from "../block/disk.ts";
import { type ServiceTime, serviceNs } from "../block/service.ts";
import { BackendEnd, type BackendEndOptions } from "../split/backend-end.ts";
import { XENBUS, type XenbusState } from "../split/xenbus.ts";
import { OP, type ProtocolName, type Request, RSP, VDISK_READONLY } from "./protocol.ts";
import { accept, carryOut, type Job, type JobState, loadJob, release, saveJob } from "./requests.ts";
import { BackRing, type RingState } from "./ring.ts";

/** Virtual device number of xvda: major 202, sixteen minors a disk (docs/man/xen-vbd-interface.7). */
const XVD_MAJOR = 202 << 8;
const MINORS = 16;

/** The catalogue's numbers for disk operations. */
const TRACE_OPERATION: Readonly<Record<number, number>> = {
  [OP.READ]: 0,
  [OP.WRITE]: 1,
  [OP.FLUSH_DISKCACHE]: 2,
  [OP.DISCARD]: 3,
};

export interface VbdOptions {
  readonly frontDomid: number;
  /** `xvda`, `xvdb`, … */
  readonly device: string;
  readonly disk: Disk;
  readonly readOnly: boolean;
  readonly service: ServiceTime;
  readonly random: RandomStream;
  readonly grant: BackendEndOptions["grant"];
}

interface Waiting {
  readonly dueNs: number;
  readonly serviceNs: number;
  readonly job: Job;
}

export interface VbdState {
  state: number;
  port: number;
  releasing: boolean;
  ring: RingState | null;
  waiting: { dueNs: number; serviceNs: number; job: JobState }[];
}

export class Vbd implements Snapshotable<VbdState> {
  readonly #host: BackendHost;
  readonly #options: VbdOptions;
  readonly #number: number;
  readonly #end: BackendEnd;
  readonly #alarm: Alarm;
  #ring: BackRing | undefined;
  #page: GrantMapping | undefined;
  #port = -1;
  /** In the order in which they will be done. */
  #waiting: Waiting[] = [];
  /** The front end is gone; what is in flight has to land first. */
  #releasing = false;

  constructor(host: BackendHost, options: VbdOptions) {
    this.#host = host;
    this.#options = options;
    const { frontDomid, device } = options;
    this.#number = XVD_MAJOR + MINORS * (device.charCodeAt(3) - "a".charCodeAt(0));
    this.#end = new BackendEnd(host, {
      kind: "vbd",
      frontDomid,
      device: this.#number,
      grant: options.grant,
      connect: () => this.#connect(),
      release: () => {
        this.#releasing = true;
        this.#releaseWhenIdle();
      },
    });
    this.#alarm = host.clock.alarm(`vbd ${frontDomid}/${device}`, () => this.#complete());
  }

  /** Writes the nodes of both ends, as a toolstack does for a new device, and offers the device. */
  plug(): void {
    const { device, disk, readOnly } = this.#options;
    const front = {
      "virtual-device": this.#number,
      "device-type": "disk",
    };
    const back = {
      online: 1,
      removable: 0,
      bootable: 1,
      dev: device,
      type: "phy",
      mode: readOnly ? "r" : "w",
      "device-type": "disk",
      "feature-flush-cache": 1,
      "feature-barrier": 0,
      "feature-discard": readOnly ? 0 : 1,
      "discard-granularity": SECTOR_SIZE,
      "discard-alignment": 0,
      "discard-secure": 0,
      sectors: disk.sectorCount,
      "sector-size": SECTOR_SIZE,
      "physical-sector-size": SECTOR_SIZE,
      info: readOnly ? VDISK_READONLY : 0,
    };
    this.#end.plug(front, back);
  }

  /** Takes the ring that the front end names; nodes that are nonsense or grants that do not map close the device. */
  #connect(): void {
    const { frontDomid } = this.#options;
    const reference = this.#end.frontNumber("ring-ref");
    const remotePort = this.#end.frontNumber("event-channel");
    const protocol = this.#end.frontText("protocol") ?? "x86_32-abi";
    if (reference === undefined || remotePort === undefined || !isProtocol(protocol)) {
      this.#end.switchTo(XENBUS.Closing);
      return;
    }
    const page = this.#host.mapGrant(frontDomid, reference, false);
    if (typeof page === "number") {
      this.#end.switchTo(XENBUS.Closing);
      return;
    }
    const port = this.#host.bindInterdomain(frontDomid, remotePort, () => this.#serve());
    if (port < 0) {
      page.unmap();
      this.#end.switchTo(XENBUS.Closing);
      return;
    }
    this.#port = port;
    this.#adoptRing(page, protocol);
    this.#end.switchTo(XENBUS.Connected);
    this.#serve();
  }

  #adoptRing(page: GrantMapping, protocol: ProtocolName, state?: RingState): void {
    this.#page = page;
    const { frontDomid } = this.#options;
    const options = { host: this.#host, frontDomid, device: this.#number, protocol, page, port: this.#port };
    this.#ring = new BackRing(options, state);
  }

  #serve(): void {
    if (this.#ring === undefined || this.#end.state !== XENBUS.Connected || this.#releasing) return;
    const ring = this.#ring;
    if (!ring.take((request) => this.#start(ring, request))) {
      // The indices are nonsense: this device is shut, and only this device.
      this.#host.unbind(this.#port);
      this.#port = -1;
      this.#end.switchTo(XENBUS.Closing);
      return;
    }
    ring.push();
  }

  #start(ring: BackRing, request: Request): void {
    const { disk, readOnly, frontDomid, service, random } = this.#options;
    const job = accept(request, disk, readOnly, this.#host, frontDomid);
    if (typeof job === "number") {
      ring.respond(request.id, request.operation, job);
      return;
    }
    // A discard moves no data.
    const time = serviceNs(service, job.operation === OP.DISCARD ? 0 : job.count, random);
    // A flush is done when everything before it is.
    const before = job.operation === OP.FLUSH_DISKCACHE ? (this.#waiting.at(-1)?.dueNs ?? 0) : 0;
    const dueNs = Math.max(this.#host.clock.now, before) + time;
    let place = this.#waiting.length;
    while (place > 0 && (this.#waiting[place - 1] as Waiting).dueNs > dueNs) place--;
    this.#waiting.splice(place, 0, { dueNs, serviceNs: time, job });
    this.#arm();
  }

  #arm(): void {
    const next = this.#waiting[0];
    if (next === undefined) this.#alarm.cancel();
    else this.#alarm.set(next.dueNs);
  }

  /** Finishes every operation that is due, then publishes their responses together. */
  #complete(): void {
    const { now } = this.#host.clock;
    for (let next = this.#waiting[0]; next !== undefined && next.dueNs <= now; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#finish(next);
    }
    if (this.#port >= 0) this.#ring?.push();
    this.#arm();
    if (this.#releasing) this.#releaseWhenIdle();
  }

  #finish({ job, serviceNs: time }: Waiting): void {
    const { frontDomid, device, disk } = this.#options;
    const done = carryOut(job, disk);
    release(job.pieces);
    this.#host.emit({
      kind: "disk-operation",
      at: this.#host.clock.now,
      disk: `${frontDomid}/${device}`,
      operation: TRACE_OPERATION[job.operation] ?? 0,
      sector: job.sector,
      count: job.count,
      status: done.status,
      serviceNs: time,
      ...(done.digest === undefined ? {} : { digest: done.digest }),
    });
    // A front end that is gone may use its ring's page for something else already.
    if (!this.#releasing) this.#ring?.respond(job.id, job.operation, done.status === 0 ? RSP.OKAY : RSP.ERROR);
  }

  /** Lets go of ring and event channel once nothing is in flight. */
  #releaseWhenIdle(): void {
    if (this.#waiting.length > 0) return;
    this.#releasing = false;
    this.#ring = undefined;
    if (this.#port >= 0) this.#host.unbind(this.#port);
    this.#port = -1;
    this.#page?.unmap();
    this.#page = undefined;
    this.#end.released();
  }

  save(): VbdState {
    return {
      state: this.#end.state,
      port: this.#port,
      releasing: this.#releasing,
      ring: this.#ring?.save() ?? null,
      waiting: this.#waiting.map(({ dueNs, serviceNs: time, job }) => ({ dueNs, serviceNs: time, job: saveJob(job) })),
    };
  }

  /** @throws InputError when a mapping of the snapshot is not the hypervisor's */
  load(state: VbdState): void {
    const adopt = (handle: number): GrantMapping => {
      const mapping = this.#host.adoptMapping(handle);
      if (mapping === undefined)
        throw new InputError(`grant handle ${handle} is not mapped`, "snapshot of a block device");
      return mapping;
    };
    this.#end.load(state.state as XenbusState);
    this.#waiting = state.waiting.map(({ dueNs, serviceNs: time, job }) => ({
      dueNs,
      serviceNs: time,
      job: loadJob(job, adopt),
    }));
    this.#ring = undefined;
    this.#page = undefined;
    this.#port = state.port;
    this.#releasing = state.releasing;
    if (state.ring !== null && isProtocol(state.ring.protocol)) {
      this.#adoptRing(adopt(state.ring.mapping), state.ring.protocol, state.ring);
    }
    if (this.#port >= 0) this.#host.adoptPort(this.#port, () => this.#serve());
  }
}

function isProtocol(text: string): text is ProtocolName {
  return text === "x86_32-abi" || text === "x86_64-abi";
}
