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
import { OP, type ProtocolName, type Request, RSP, VDISK_READONLY } from "./protocol.ts";
import { accept, carryOut, type Job, type JobState, loadJob, release, saveJob } from "./requests.ts";
import { BackRing, type RingState } from "./ring.ts";
import { type Action, transition, XENBUS, type XenbusState } from "./xenbus.ts";

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
  /** Gives the front end's or back end's directory to its owner and lets the other end read it. */
  readonly grant: (path: string, owner: number, reader: number) => void;
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
  readonly #front: string;
  readonly #back: string;
  readonly #alarm: Alarm;
  #state: XenbusState = XENBUS.Initialising;
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
    this.#front = `/local/domain/${frontDomid}/device/vbd/${this.#number}`;
    this.#back = `/local/domain/${host.domid}/backend/vbd/${frontDomid}/${this.#number}`;
    this.#alarm = host.clock.alarm(`vbd ${frontDomid}/${device}`, () => this.#complete());
  }

  /** Writes the nodes of both ends, as a toolstack does for a new device, and offers the device. */
  plug(): void {
    const { xenstore } = this.#host;
    const { frontDomid, device, disk, readOnly, grant } = this.#options;
    const front = {
      backend: this.#back,
      "backend-id": this.#host.domid,
      state: XENBUS.Initialising,
      "virtual-device": this.#number,
      "device-type": "disk",
    };
    const back = {
      frontend: this.#front,
      "frontend-id": frontDomid,
      online: 1,
      removable: 0,
      bootable: 1,
      state: XENBUS.Initialising,
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
    for (const [home, owner, reader, nodes] of [
      [this.#front, frontDomid, this.#host.domid, front],
      [this.#back, this.#host.domid, frontDomid, back],
    ] as const) {
      xenstore.write(home, "");
      grant(home, owner, reader);
      for (const [name, value] of Object.entries(nodes)) xenstore.write(`${home}/${name}`, String(value));
    }
    this.#switchTo(XENBUS.InitWait);
    this.#watch();
  }

  #watch(): void {
    this.#host.xenstore.watch(`${this.#front}/state`, `vbd ${this.#number}`, () => this.#frontChanged());
  }

  #frontChanged(): void {
    const state = this.#frontState();
    this.#host.emit({
      kind: "xenbus-state",
      at: this.#host.clock.now,
      domain: this.#options.frontDomid,
      device: `vbd/${this.#number}`,
      side: 0,
      state: Math.max(state, 0),
    });
    this.#act(transition(this.#state, state));
  }

  #act(action: Action): void {
    switch (action) {
      case "stay":
        break;
      case "offer":
        this.#switchTo(XENBUS.InitWait);
        break;
      case "connect":
        this.#connect();
        break;
      case "close":
        this.#switchTo(XENBUS.Closing);
        break;
      case "release":
        this.#releasing = true;
        this.#releaseWhenIdle();
        break;
      default:
        action satisfies never;
    }
  }

  /** Takes the ring that the front end names; nodes that are nonsense or grants that do not map close the device. */
  #connect(): void {
    const { frontDomid } = this.#options;
    const reference = this.#frontNumber("ring-ref");
    const remotePort = this.#frontNumber("event-channel");
    const protocol = this.#host.xenstore.read(`${this.#front}/protocol`) ?? "x86_32-abi";
    if (reference === undefined || remotePort === undefined || !isProtocol(protocol)) {
      this.#switchTo(XENBUS.Closing);
      return;
    }
    const page = this.#host.mapGrant(frontDomid, reference, false);
    if (typeof page === "number") {
      this.#switchTo(XENBUS.Closing);
      return;
    }
    const port = this.#host.bindInterdomain(frontDomid, remotePort, () => this.#serve());
    if (port < 0) {
      page.unmap();
      this.#switchTo(XENBUS.Closing);
      return;
    }
    this.#port = port;
    this.#adoptRing(page, protocol);
    this.#switchTo(XENBUS.Connected);
    this.#serve();
  }

  #adoptRing(page: GrantMapping, protocol: ProtocolName, state?: RingState): void {
    this.#page = page;
    const { frontDomid } = this.#options;
    const options = { host: this.#host, frontDomid, device: this.#number, protocol, page, port: this.#port };
    this.#ring = new BackRing(options, state);
  }

  #frontNumber(name: string): number | undefined {
    const text = this.#host.xenstore.read(`${this.#front}/${name}`);
    return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= 0xffff_ffff ? Number(text) : undefined;
  }

  #serve(): void {
    if (this.#ring === undefined || this.#state !== XENBUS.Connected || this.#releasing) return;
    const ring = this.#ring;
    if (!ring.take((request) => this.#start(ring, request))) {
      // The indices are nonsense: this device is shut, and only this device.
      this.#host.unbind(this.#port);
      this.#port = -1;
      this.#switchTo(XENBUS.Closing);
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
    this.#switchTo(XENBUS.Closed);
    // The front end may have asked for a new connection while the last operations were landing.
    this.#act(transition(this.#state, this.#frontState()));
  }

  /** −1 when it is nonsense. */
  #frontState(): number {
    const text = this.#host.xenstore.read(`${this.#front}/state`);
    return text === undefined ? XENBUS.Unknown : /^\d{1,2}$/.test(text) ? Number(text) : -1;
  }

  #switchTo(state: XenbusState): void {
    this.#state = state;
    this.#host.xenstore.write(`${this.#back}/state`, String(state));
    this.#host.emit({
      kind: "xenbus-state",
      at: this.#host.clock.now,
      domain: this.#options.frontDomid,
      device: `vbd/${this.#number}`,
      side: 1,
      state,
    });
  }

  save(): VbdState {
    return {
      state: this.#state,
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
    this.#state = state.state as XenbusState;
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
