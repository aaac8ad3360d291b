// Part: the block front end (blkfront) as a model domain's driver (io/blkif.h): life cycle, a queue of requests, the ring with event thresholds,
// data copied through granted pages. It believes nothing that the back end writes: an index, an id or a size that cannot be shuts the device,
// fails what is in flight, and is told to trace and xenstore. Requests of up to eleven segments of a page; persistent grants where the back
// end offers them. Not modelled: splitting and merging of requests, barriers.

import { InputError } from "../../core/errors.ts";
import { PAGE_SIZE } from "../../core/memory.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { ERRNO_H } from "../../xen/abi/constants.ts";
import type { ModelKernel } from "../../xen/model/kernel.ts";
import { SECTOR_SIZE } from "../block/disk.ts";
import { FrontEnd } from "../split/front-end.ts";
import { FrontRing } from "../split/front-ring.ts";
import { XENBUS } from "../split/xenbus.ts";
import type {
  BlkfrontHandlers,
  BlkfrontOptions,
  BlkfrontState,
  BlockOperation,
  InFlight,
  Queued,
} from "./front-options.ts";
import { dataOf, FrontPages, type Lent, loadLent, putData, saveLent } from "./front-pages.ts";
import { encodeDiscard, encodeTransfer } from "./front-requests.ts";
import { decodeResponse, LAYOUTS, MAX_SEGMENTS, OP, type ProtocolName, RSP, SECTORS_PER_PAGE } from "./protocol.ts";

const OPERATIONS: Readonly<Record<BlockOperation, number>> = {
  read: OP.READ,
  write: OP.WRITE,
  flush: OP.FLUSH_DISKCACHE,
  discard: OP.DISCARD,
};

/** Sectors of one transfer: eleven pages. */
export const MAX_SECTORS = MAX_SEGMENTS * SECTORS_PER_PAGE;
/** Requests that wait for a slot; more at once are a program without flow control. */
const MAX_QUEUED = 4096;
/** VDISK_READONLY, a bit of the `info` node. */
const READ_ONLY = 4;
/** Ids are places in the ring: there are fewer. */
const MAX_ID = 4096n;
/** A disk beyond 2^40 sectors is no disk, as in the machine's configuration. */
const MAX_DISK_SECTORS = 2 ** 40;

interface Connection {
  readonly lent: Lent;
  readonly port: number;
  readonly persistent: boolean;
  readonly ring: FrontRing;
  readonly pages: FrontPages;
}

const NOTHING = new Uint8Array(0);

export class Blkfront implements Snapshotable<BlkfrontState> {
  readonly #kernel: ModelKernel;
  readonly #options: BlkfrontOptions;
  readonly #handlers: BlkfrontHandlers;
  readonly #protocol: ProtocolName;
  readonly #end: FrontEnd;
  #connection: Connection | undefined;
  #slots: (InFlight | undefined)[] = [];
  #queue: Queued[] = [];
  #sectors = 0;
  #info = 0;
  #flush = false;
  #discard = false;
  /** No more requests: the device is let go of when nothing is in flight. */
  #leaving = false;
  /** The back end broke the rules: nothing that it writes is looked at any more. */
  #shut = false;

  constructor(kernel: ModelKernel, options: BlkfrontOptions, handlers: BlkfrontHandlers) {
    this.#kernel = kernel;
    this.#options = options;
    this.#handlers = handlers;
    this.#protocol = options.protocol ?? "x86_32-abi";
    this.#end = new FrontEnd(kernel, {
      kind: "vbd",
      device: options.device,
      publish: () => this.#publish(),
      connect: () => this.#connect(),
      look: () => this.#look(),
      drain: () => this.#leave(),
      closed: () => this.#closed(),
    });
  }

  /** Connects the device. False when the toolstack has given no such device. */
  start(): boolean {
    return this.#end.start();
  }

  get connected(): boolean {
    return this.#end.state === XENBUS.Connected;
  }

  /** Of 512 bytes. */
  get sectors(): number {
    return this.#sectors;
  }

  get readOnly(): boolean {
    return (this.#info & READ_ONLY) !== 0;
  }

  get canFlush(): boolean {
    return this.#flush;
  }

  get canDiscard(): boolean {
    return this.#discard;
  }

  /** Requests submitted that are not done. */
  get pending(): number {
    return this.#queue.length + (this.#connection?.ring.inFlight ?? 0);
  }

  /**
   * Takes a request; `done` is called with its tag. Requests go out with `push`, at the latest when earlier ones are answered.
   * @param data of a write: `count` sectors
   * @param first sector of the first page at which the data lie, as those of a buffer that begins within a page
   * @returns false when the device is not connected or too many wait
   * @throws InputError on a request that there cannot be
   */
  submit(
    tag: number,
    operation: BlockOperation,
    sector = 0,
    count = 0,
    data: Uint8Array = NOTHING,
    first = 0,
  ): boolean {
    const number = OPERATIONS[operation];
    const transfers = number === OP.READ || number === OP.WRITE;
    const fits = Number.isInteger(count) && count >= 1 && first + count <= MAX_SECTORS;
    if (transfers && !(fits && Number.isInteger(first) && first >= 0 && first < SECTORS_PER_PAGE)) {
      throw new InputError(
        `a transfer of ${count} sectors, must be 1 to ${MAX_SECTORS} in eleven pages`,
        this.#end.name,
      );
    }
    if (number === OP.WRITE && data.length !== count * SECTOR_SIZE) {
      throw new InputError(`${data.length} bytes for ${count} sectors`, this.#end.name);
    }
    if (!this.connected || this.#leaving || this.#queue.length >= MAX_QUEUED) return false;
    this.#queue.push({ tag, operation: number, sector, count, data, first });
    return true;
  }

  /** Moves waiting requests into the ring and tells the back end if it asked for that. */
  push(): void {
    const connection = this.#connection;
    if (connection === undefined || !this.connected) return;
    const { ring, port } = connection;
    let moved = 0;
    while (moved < this.#queue.length && !ring.full && this.#send(connection, this.#queue[moved]!)) moved++;
    const [first] = this.#queue;
    if (moved > 0) {
      this.#queue.splice(0, moved);
      if (ring.push()) this.#kernel.notify(port);
    } else if (first !== undefined && ring.inFlight === 0) {
      // Nothing that could give pages back is under way.
      this.#queue.shift();
      this.#handlers.done(first.tag, RSP.ERROR, NOTHING);
      this.push();
    }
  }

  /** Lets go of the device once everything submitted is done. */
  disconnect(): void {
    this.#leave();
  }

  /** Writes one request; false when there are no pages for it now. */
  #send({ ring, pages }: Connection, request: Queued): boolean {
    const { operation, sector, count, data, first } = request;
    const { device } = this.#options;
    const transfers = operation === OP.READ || operation === OP.WRITE;
    const lent = pages.take(transfers ? Math.ceil((first + count) / SECTORS_PER_PAGE) : 0, operation === OP.WRITE);
    if (lent === undefined) return false;
    let id = 0;
    while (this.#slots[id] !== undefined) id++;
    this.#slots[id] = { tag: request.tag, operation, count, first, pages: lent };
    if (operation === OP.WRITE) putData(lent, first * SECTOR_SIZE, data);
    const bytes =
      operation === OP.DISCARD
        ? encodeDiscard(this.#protocol, { id, device, sector, count })
        : encodeTransfer(this.#protocol, { operation, id, device, sector, count: transfers ? count : 0, first, lent });
    ring.request(bytes);
    return true;
  }

  /** The back end's notification: takes all responses. */
  #serve(): void {
    const { ring } = this.#connection ?? {};
    if (ring === undefined || this.#shut) return;
    const waiting = ring.responses();
    if (waiting < 0) {
      this.#fatal("answered more requests than there were");
      return;
    }
    for (let left = waiting; left > 0; left--) if (!this.#take(ring)) return;
    ring.listen();
    this.push();
    if (this.#leaving) this.#leave();
  }

  /** False when the response was nonsense, or its program ended the device. */
  #take(ring: FrontRing): boolean {
    const bytes = ring.take(LAYOUTS[this.#protocol].response);
    const { id, operation, status } = decodeResponse(bytes);
    const slot = id < MAX_ID ? this.#slots[Number(id)] : undefined;
    if (slot === undefined) {
      this.#fatal(`answered request ${id}, which is not in flight`);
      return false;
    }
    if (operation !== slot.operation) {
      this.#fatal(`answered request ${id} as another operation`);
      return false;
    }
    this.#finish(Number(id), slot, status);
    return !this.#shut && this.#connection?.ring === ring;
  }

  #finish(id: number, { tag, operation, count, first, pages }: InFlight, status: number): void {
    this.#slots[id] = undefined;
    let data: Uint8Array = NOTHING;
    if (operation === OP.READ && status === RSP.OKAY) data = dataOf(pages, first * SECTOR_SIZE, count * SECTOR_SIZE);
    const held = this.#connection?.pages.give(pages) ?? 0;
    if (held > 0) this.#fatal(`answered request ${id} and still holds ${held} of its pages`);
    this.#handlers.done(tag, status, data);
  }

  #publish(): Readonly<Record<string, string | number>> | undefined {
    const kernel = this.#kernel;
    const { backDomid } = this.#end;
    this.#leaving = false;
    this.#shut = false;
    const page = kernel.allocatePage();
    if (page === undefined) return undefined;
    page.write(0, new Uint8Array(PAGE_SIZE));
    const ring = new FrontRing([page], LAYOUTS[this.#protocol].slot, this.#options.start);
    const lent = { page, ref: kernel.grantAccess(backDomid, page) };
    const port = lent.ref < 0 ? -1 : kernel.allocUnbound(backDomid, () => this.#serve());
    if (port < 0) {
      this.#giveRing(lent);
      return undefined;
    }
    const persistent = this.#options.persistent === true && this.#end.backNumber("feature-persistent") === 1;
    this.#connection = { lent, port, persistent, ring, pages: new FrontPages(kernel, backDomid, persistent) };
    const nodes = { "ring-ref": lent.ref, "event-channel": port, protocol: this.#protocol };
    return persistent ? { ...nodes, "feature-persistent": 1 } : nodes;
  }

  #connect(): boolean {
    const end = this.#end;
    if (!this.#readSize()) return false;
    if ((end.backNumber("sector-size") ?? SECTOR_SIZE) !== SECTOR_SIZE) {
      this.#fatal(`has sectors of ${end.backText("sector-size")} bytes, which were not asked for`);
      return false;
    }
    this.#info = end.backNumber("info") ?? 0;
    this.#flush = end.backNumber("feature-flush-cache") === 1;
    this.#discard = end.backNumber("feature-discard") === 1;
    // The state is Connected before the program acts on it.
    end.switchTo(XENBUS.Connected);
    this.#handlers.ready();
    return false;
  }

  #readSize(): boolean {
    const sectors = this.#end.backNumber("sectors");
    if (sectors === undefined || sectors < 1 || sectors > MAX_DISK_SECTORS) {
      this.#fatal("says no size that a disk can have");
      return false;
    }
    this.#sectors = sectors;
    return true;
  }

  #look(): void {
    const before = this.#sectors;
    if (this.#readSize() && this.#sectors !== before) this.#handlers.resized?.();
  }

  #leave(): void {
    this.#leaving = true;
    if (this.pending > 0) {
      this.push();
      return;
    }
    if (this.#end.state === XENBUS.Connected) this.#end.disconnect();
    else this.#end.drained();
  }

  #fatal(message: string): void {
    this.#shut = true;
    this.#failAll();
    this.#end.fatal(ERRNO_H.XEN_EINVAL, `the back end ${message}`);
  }

  /** What is in flight and what waits has failed. */
  #failAll(): void {
    const slots = this.#slots;
    const queue = this.#queue;
    this.#slots = [];
    this.#queue = [];
    for (const slot of slots) {
      if (slot === undefined) continue;
      this.#connection?.pages.give(slot.pages);
      this.#handlers.done(slot.tag, RSP.ERROR, NOTHING);
    }
    for (const { tag } of queue) this.#handlers.done(tag, RSP.ERROR, NOTHING);
  }

  #closed(): void {
    const connection = this.#connection;
    this.#failAll();
    this.#connection = undefined;
    if (connection !== undefined) {
      this.#kernel.unbind(connection.port);
      connection.pages.release();
      this.#giveRing(connection.lent);
    }
    this.#handlers.closed();
  }

  /** A page that the back end still holds stays lost: it may write to it at any time. */
  #giveRing({ page, ref }: Lent): void {
    if (ref < 0 || this.#kernel.endAccess(ref)) this.#kernel.freePage(page);
  }

  save(): BlkfrontState {
    const connection = this.#connection;
    return {
      front: this.#end.save(),
      ring: connection
        ? {
            ...connection.ring.save(),
            ...saveLent(connection.lent),
            port: connection.port,
            persistent: connection.persistent,
          }
        : null,
      pages: connection?.pages.save() ?? null,
      slots: Array.from(this.#slots, (slot) => (slot ? { ...slot, pages: slot.pages.map(saveLent) } : null)),
      queue: this.#queue.map((request) => ({ ...request, data: request.data.slice() })),
      sectors: this.#sectors,
      info: this.#info,
      flush: this.#flush,
      discard: this.#discard,
      leaving: this.#leaving,
      shut: this.#shut,
    };
  }

  load(state: BlkfrontState): void {
    const kernel = this.#kernel;
    const { ring } = state;
    this.#end.load(state.front);
    this.#connection = undefined;
    if (ring !== null) {
      const lent = loadLent(kernel, ring);
      const pages = new FrontPages(kernel, this.#end.backDomid, ring.persistent);
      if (state.pages !== null) pages.load(state.pages);
      this.#connection = {
        lent,
        port: ring.port,
        persistent: ring.persistent,
        ring: new FrontRing([lent.page], LAYOUTS[this.#protocol].slot, 0, ring),
        pages,
      };
      kernel.adoptPort(ring.port, () => this.#serve());
    }
    this.#slots = state.slots.map((slot) =>
      slot ? { ...slot, pages: slot.pages.map((entry) => loadLent(kernel, entry)) } : undefined,
    );
    this.#queue = state.queue.map((request) => ({ ...request, data: request.data.slice() }));
    this.#sectors = state.sectors;
    this.#info = state.info;
    this.#flush = state.flush;
    this.#discard = state.discard;
    this.#leaving = state.leaving;
    this.#shut = state.shut;
  }
}
