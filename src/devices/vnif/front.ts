// Part: the network front end (netfront) as a model domain's driver (io/netif.h): life cycle, frames of up to 64 KiB in several slots,
// segmentation and checksums left to the back end, receive buffers posted and posted again, event thresholds on both rings. It believes nothing
// that the back end writes: an index, an id, an offset or a size that cannot be shuts the device, and is told to trace and xenstore.
// Not modelled: several queues, receiving of large segments (no feature-gso-tcpv4), multicast control.

import { InputError } from "../../core/errors.ts";
import { PAGE_SIZE } from "../../core/memory.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { ERRNO_H } from "../../xen/abi/constants.ts";
import type { ModelKernel } from "../../xen/model/kernel.ts";
import { FrontEnd, type FrontEndState } from "../split/front-end.ts";
import { FrontRing } from "../split/front-ring.ts";
import { XENBUS } from "../split/xenbus.ts";
import { type Buffer, lend, takeBack } from "./front-buffers.ts";
import { type Connection, type ConnectionState, HOLDS, loadConnection, saveConnection } from "./front-connection.ts";
import {
  decodeRxResponse,
  decodeTxResponse,
  EXTRA,
  encodeExtraInfo,
  encodeRxRequest,
  encodeTxRequest,
  GSO_TYPE,
  NR_SLOTS_MIN,
  RING_SIZE,
  RSP,
  RX_SLOT,
  RXF,
  TX_SLOT,
  TXF,
} from "./protocol.ts";

/** XEN_NETIF_MAX_TX_SIZE. */
const MAX_FRAME = 0xffff;
/** An Ethernet header. */
const MIN_FRAME = 14;
/** Frames that wait for slots; more at once are a program without flow control. */
const MAX_QUEUED = 1024;
/** Buffers of each direction, where the domain has the pages. */
const DEFAULT_BUFFERS = 64;

export interface NetfrontOptions {
  /** Handle: 0 for the domain's first interface. */
  readonly device: number;
  /** Pages for frames to the back end and from it: at most as many as a ring has slots. */
  readonly txBuffers?: number;
  readonly rxBuffers?: number;
  /** An event channel for each direction. */
  readonly split?: boolean;
  /** First index of both rings. */
  readonly start?: number;
}

export interface NetfrontHandlers {
  /** Connected: frames may be sent. */
  ready(): void;
  /** @param frame without check sequence */
  received(frame: Uint8Array): void;
  /** So many frames have left: there is room for more. */
  sent?(count: number): void;
  /** The device is gone; frames that waited are lost. `start` may connect it again. */
  closed(): void;
}

/** What the back end is to do to a frame. */
export interface SendOptions {
  /** Fill in the TCP or UDP checksum. */
  readonly blankChecksum?: boolean;
  /** Cut the TCP packet into segments with so many bytes of payload. */
  readonly segmentSize?: number;
}

interface Queued {
  readonly frame: Uint8Array;
  readonly flags: number;
  /** 0 for none. */
  readonly segmentSize: number;
}

export interface NetfrontState {
  front: FrontEndState;
  connection: ConnectionState | null;
  queue: { frame: Uint8Array; flags: number; segmentSize: number }[];
  leaving: boolean;
  shut: boolean;
}

export class Netfront implements Snapshotable<NetfrontState> {
  readonly #kernel: ModelKernel;
  readonly #options: NetfrontOptions;
  readonly #handlers: NetfrontHandlers;
  readonly #end: FrontEnd;
  #connection: Connection | undefined;
  #queue: Queued[] = [];
  #leaving = false;
  /** The back end broke the rules: nothing that it writes is looked at any more. */
  #shut = false;

  constructor(kernel: ModelKernel, options: NetfrontOptions, handlers: NetfrontHandlers) {
    this.#kernel = kernel;
    this.#options = options;
    this.#handlers = handlers;
    this.#end = new FrontEnd(kernel, {
      kind: "vif",
      device: options.device,
      publish: () => this.#publish(),
      connect: () => this.#connect(),
      look: () => {},
      drain: () => this.#end.close(),
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

  /** Its station address; undefined when the toolstack has given none. */
  get address(): string | undefined {
    return this.#kernel.store.read(`${this.#end.front}/mac`);
  }

  /**
   * Takes a frame without check sequence. Frames go out with `push`, at the latest when earlier ones have left.
   * @returns false when the device is not connected, too many wait, or the frame needs more buffers than there are
   * @throws InputError on a frame that there cannot be
   */
  send(frame: Uint8Array, { blankChecksum = false, segmentSize = 0 }: SendOptions = {}): boolean {
    if (frame.length < MIN_FRAME || frame.length > MAX_FRAME) {
      throw new InputError(`a frame of ${frame.length} bytes, must be ${MIN_FRAME} to ${MAX_FRAME}`, this.#end.name);
    }
    const buffers = this.#connection?.sending.length ?? 0;
    if (!this.connected || this.#leaving || this.#queue.length >= MAX_QUEUED) return false;
    if (frame.length > buffers * PAGE_SIZE) return false;
    const flags = blankChecksum || segmentSize > 0 ? TXF.csum_blank | TXF.data_validated : 0;
    this.#queue.push({ frame, flags, segmentSize });
    return true;
  }

  /** Moves waiting frames into the ring and tells the back end if it asked for that. */
  push(): void {
    const connection = this.#connection;
    if (connection === undefined || !this.connected) return;
    let moved = 0;
    while (moved < this.#queue.length && this.#write(connection, this.#queue[moved]!)) moved++;
    if (moved === 0) return;
    this.#queue.splice(0, moved);
    if (connection.tx.push()) this.#kernel.notify(connection.ports[0]!);
  }

  /** Lets go of the device once every frame has left. */
  disconnect(): void {
    this.#leaving = true;
    this.push();
    if (this.#queue.length === 0 && (this.#connection?.tx.inFlight ?? 0) === 0) this.#end.disconnect();
  }

  /** Writes one frame's slots; false when there is no room for all of them now. */
  #write(connection: Connection, { frame, flags, segmentSize }: Queued): boolean {
    const { tx, free, holds, sending } = connection;
    const count = Math.ceil(frame.length / PAGE_SIZE);
    const extra = segmentSize > 0 ? 1 : 0;
    if (free.length < count || tx.size - tx.inFlight < count + extra) return false;
    for (let index = 0; index < count; index++) {
      const id = free.pop()!;
      holds[id] = index === 0 ? HOLDS.beginning : HOLDS.part;
      const { page, ref } = sending[id]!;
      const part = frame.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
      page.write(0, part);
      const more = index < count - 1 ? TXF.more_data : 0;
      const own = index === 0 ? flags | (extra === 0 ? 0 : TXF.extra_info) : 0;
      tx.request(
        encodeTxRequest({ ref, offset: 0, flags: own | more, id, size: index === 0 ? frame.length : part.length }),
      );
      if (index > 0 || extra === 0) continue;
      const data = Uint8Array.of(segmentSize, segmentSize >> 8, GSO_TYPE.TCPV4, 0, 0, 0);
      tx.request(encodeExtraInfo({ type: EXTRA.GSO, flags: 0, data }));
      connection.extras++;
    }
    return true;
  }

  /** The back end's notification. */
  #serve(): void {
    const connection = this.#connection;
    if (connection === undefined || this.#shut) return;
    if (!this.#takeSent(connection) || !this.#takeReceived(connection)) return;
    this.push();
    if (this.#leaving) this.disconnect();
  }

  /** Takes the transmit ring's responses; false when the device is shut. */
  #takeSent(connection: Connection): boolean {
    const { tx, free, holds } = connection;
    const waiting = tx.responses();
    if (waiting < 0) return this.#fatal("answered more transmit requests than there were");
    let frames = 0;
    for (let left = waiting; left > 0; left--) {
      const { id, status } = decodeTxResponse(tx.take(4));
      if (status === RSP.NULL) {
        if (connection.extras === 0) return this.#fatal("answered extra info that was not sent");
        connection.extras--;
      } else if ((holds[id] ?? HOLDS.nothing) === HOLDS.nothing) {
        return this.#fatal(`answered transmit request ${id}, which is not in flight`);
      } else {
        if (holds[id] === HOLDS.beginning) frames++;
        holds[id] = HOLDS.nothing;
        free.push(id);
      }
    }
    tx.listen();
    if (frames > 0) this.#handlers.sent?.(frames);
    return this.#connection === connection && !this.#shut;
  }

  /** Takes the receive ring's responses and posts their buffers again; false when the device is shut. */
  #takeReceived(connection: Connection): boolean {
    const { rx } = connection;
    const waiting = rx.responses();
    if (waiting < 0) return this.#fatal("answered more receive requests than there were");
    for (let left = waiting; left > 0; left--) {
      const response = decodeRxResponse(rx.take(RX_SLOT));
      const problem = this.#keep(connection, response);
      if (problem !== undefined) return this.#fatal(problem);
      if ((response.flags & RXF.more_data) !== 0) continue;
      const { parts, damaged } = connection;
      connection.parts = [];
      connection.damaged = false;
      if (!damaged && parts.length > 0) this.#handlers.received(joined(parts));
      if (this.#connection !== connection || this.#shut) return false;
    }
    rx.listen();
    if (waiting > 0) this.#announce(connection);
    return true;
  }

  /** Copies a slot's bytes out and posts its buffer again; what is wrong with the response, undefined when nothing is. */
  #keep(
    connection: Connection,
    { id, offset, flags, status }: ReturnType<typeof decodeRxResponse>,
  ): string | undefined {
    const { posted, posting, parts } = connection;
    const number = posted.shift();
    if (number === undefined || id !== number) return `answered receive request ${id} in the place of ${number}`;
    if ((flags & RXF.extra_info) !== 0) return "sent extra info that was not asked for";
    if (status > PAGE_SIZE || offset + Math.max(status, 0) > PAGE_SIZE) {
      return `received ${status} bytes at ${offset} of a page`;
    }
    if (parts.length > NR_SLOTS_MIN) return `received a frame in more than ${NR_SLOTS_MIN + 1} slots`;
    if (status < 0) connection.damaged = true;
    else parts.push(posting[number]!.page.read(offset, status));
    this.#post(connection, number);
    return undefined;
  }

  #post({ rx, posting, posted }: Connection, number: number): void {
    rx.request(encodeRxRequest({ id: number, ref: posting[number]!.ref }));
    posted.push(number);
  }

  /** Shows the back end the buffers that were posted. */
  #announce({ rx, ports }: Connection): void {
    if (rx.push()) this.#kernel.notify(ports.at(-1)!);
  }

  #publish(): Readonly<Record<string, string | number>> | undefined {
    const { txBuffers = DEFAULT_BUFFERS, rxBuffers = DEFAULT_BUFFERS, split = false, start = 0 } = this.#options;
    const kernel = this.#kernel;
    const { backDomid } = this.#end;
    this.#leaving = false;
    this.#shut = false;
    const take = (buffers: Buffer[], readOnly: boolean) => {
      const buffer = lend(kernel, backDomid, readOnly);
      if (buffer !== undefined) buffers.push(buffer);
    };
    const rings: Buffer[] = [];
    for (let count = 0; count < 2; count++) take(rings, false);
    const ports = Array.from({ length: split ? 2 : 1 }, () => kernel.allocUnbound(backDomid, () => this.#serve()));
    const sending: Buffer[] = [];
    const posting: Buffer[] = [];
    // Alternately, so that what there is of pages is shared out evenly.
    for (let number = 0; number < RING_SIZE; number++) {
      if (number < rxBuffers) take(posting, false);
      if (number < txBuffers) take(sending, true);
    }
    const isWhole = rings.length === 2 && posting.length > 0 && sending.length > 0 && ports.every((port) => port >= 0);
    if (!isWhole) {
      for (const port of ports) if (port >= 0) kernel.unbind(port);
      for (const buffers of [rings, posting, sending]) takeBack(kernel, buffers);
      return undefined;
    }
    for (const { page } of rings) page.write(0, new Uint8Array(PAGE_SIZE));
    const connection: Connection = {
      ports,
      rings,
      tx: new FrontRing([rings[0]!.page], TX_SLOT, start),
      rx: new FrontRing([rings[1]!.page], RX_SLOT, start),
      sending,
      free: sending.map((_, id) => id),
      holds: sending.map(() => HOLDS.nothing),
      extras: 0,
      posting,
      posted: [],
      parts: [],
      damaged: false,
    };
    this.#connection = connection;
    for (const number of posting.keys()) this.#post(connection, number);
    connection.rx.push();
    const channels = split
      ? { "event-channel-tx": ports[0]!, "event-channel-rx": ports[1]! }
      : { "event-channel": ports[0]! };
    return {
      "tx-ring-ref": rings[0]!.ref,
      "rx-ring-ref": rings[1]!.ref,
      ...channels,
      "request-rx-copy": 1,
      "feature-rx-notify": 1,
      "feature-sg": 1,
    };
  }

  #connect(): boolean {
    if (this.#end.backNumber("feature-rx-copy") !== 1) {
      this.#fatal("does not offer to receive by copy");
      return false;
    }
    // The state is Connected before the program acts on it.
    this.#end.switchTo(XENBUS.Connected);
    this.#handlers.ready();
    return false;
  }

  #fatal(message: string): false {
    this.#shut = true;
    this.#end.fatal(ERRNO_H.XEN_EINVAL, `the back end ${message}`);
    return false;
  }

  #closed(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#queue = [];
    if (connection !== undefined) {
      const { ports, rings, sending, posting } = connection;
      for (const port of ports) this.#kernel.unbind(port);
      for (const buffers of [rings, sending, posting]) takeBack(this.#kernel, buffers);
    }
    this.#handlers.closed();
  }

  save(): NetfrontState {
    const connection = this.#connection;
    return {
      front: this.#end.save(),
      connection: connection === undefined ? null : saveConnection(connection),
      queue: this.#queue.map((queued) => ({ ...queued, frame: queued.frame.slice() })),
      leaving: this.#leaving,
      shut: this.#shut,
    };
  }

  load({ front, connection, queue, leaving, shut }: NetfrontState): void {
    const kernel = this.#kernel;
    this.#end.load(front);
    this.#queue = queue.map((queued) => ({ ...queued, frame: queued.frame.slice() }));
    this.#leaving = leaving;
    this.#shut = shut;
    this.#connection = undefined;
    if (connection === null) return;
    this.#connection = loadConnection(kernel, connection);
    for (const port of connection.ports) kernel.adoptPort(port, () => this.#serve());
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const frame = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}
