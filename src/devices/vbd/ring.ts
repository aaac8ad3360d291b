// Part: the back end's side of one connected ring: slots in, responses out, notifications by the event thresholds (io/ring.h).
// Every index of the front end is fetched once a visit and checked before it is believed; every slot is copied once. What either side publishes is
// told to the trace: a request as the front end published it and as it was fetched, a response as it was published and as it was taken.

import type { Emit } from "../../trace/events.ts";
import type { DomainServices, GrantMapping } from "../../xen/backend-host.ts";
import { SRING, slotsBetween } from "../split/sring.ts";
import {
  decodeRequest,
  encodeResponse,
  LAYOUTS,
  type ProtocolName,
  type Request,
  RING_SIZE,
  slotOffset,
} from "./protocol.ts";

const FRONT = 0;
const BACK = 1;

interface Response {
  readonly operation: number;
  readonly id: bigint;
  readonly status: number;
}

export interface RingState {
  protocol: string;
  mapping: number;
  req_cons: number;
  rsp_prod: number;
  published: number;
  taken: number;
  recent: { operation: number; id: bigint; status: number }[];
}

export interface RingOptions {
  readonly host: DomainServices;
  readonly frontDomid: number;
  /** Virtual device number, for the trace. */
  readonly device: number;
  readonly protocol: ProtocolName;
  readonly page: GrantMapping;
  /** The back end's local port. */
  readonly port: number;
}

export class BackRing {
  readonly #options: RingOptions;
  readonly #emit: Emit;
  #consumed: number;
  /** Responses written, and responses that the front end can see (`rsp_prod`). */
  #produced: number;
  #published: number;
  /** Responses that the front end has taken, as told to the trace. */
  #taken: number;
  /** The last responses written, at most as many as there are slots, for the trace. */
  #recent: Response[] = [];

  constructor(options: RingOptions, state?: RingState) {
    this.#options = options;
    this.#emit = options.host.emit;
    const start = options.page.load32(SRING.rsp_prod);
    this.#consumed = state?.req_cons ?? start;
    this.#produced = state?.rsp_prod ?? start;
    this.#published = state?.published ?? start;
    this.#taken = state?.taken ?? start;
    this.#recent = state?.recent.map((response) => ({ ...response })) ?? [];
  }

  get protocol(): ProtocolName {
    return this.#options.protocol;
  }

  /** Requests taken that have no response yet. */
  get inFlight(): number {
    return slotsBetween(this.#produced, this.#consumed);
  }

  /**
   * Takes all requests that wait, and asks to be notified of the next one.
   * @returns false when the front end's index is nonsense: nothing may be believed any more
   */
  take(handle: (request: Request) => void): boolean {
    const { page } = this.#options;
    this.#noteTaken();
    const producer = this.#index("req_prod");
    // Requests and responses share the slots (RING_REQUEST_PROD_OVERFLOW); an index that went back is caught as well.
    if (slotsBetween(this.#consumed, producer) > RING_SIZE - this.inFlight) return false;
    this.#notePublished(producer);
    while (this.#consumed !== producer) handle(this.#fetch());
    // No guest runs meanwhile, so there is nothing to look for again (RING_FINAL_CHECK_FOR_REQUESTS).
    page.store32(SRING.req_event, this.#consumed + 1);
    return true;
  }

  /** Writes a response; the front end sees it after `push`. */
  respond(id: bigint, operation: number, status: number): void {
    const { page, protocol } = this.#options;
    page.write(slotOffset(this.#produced, protocol), encodeResponse(id, operation, status, protocol));
    this.#recent.push({ operation, id, status });
    if (this.#recent.length > RING_SIZE) this.#recent.shift();
    this.#trace(BACK, this.#produced, { operation, id, status });
    this.#produced = (this.#produced + 1) >>> 0;
  }

  /** Publishes the responses written and notifies the front end if it asked for one of them. */
  push(): void {
    const { page, host, port } = this.#options;
    const before = this.#published;
    if (this.#produced === before) return;
    this.#published = this.#produced;
    page.store32(SRING.rsp_prod, this.#published);
    this.#traceIndex("rsp_prod", true, this.#published);
    const event = this.#index("rsp_event");
    if (slotsBetween(event, this.#published) < slotsBetween(before, this.#published)) host.notify(port);
  }

  #fetch(): Request {
    const { page, protocol } = this.#options;
    const index = this.#consumed;
    const request = decodeRequest(page.read(slotOffset(index, protocol), LAYOUTS[protocol].slot), protocol);
    this.#consumed = (index + 1) >>> 0;
    this.#traceRequest(BACK, index, request);
    return request;
  }

  #index(name: "req_prod" | "rsp_event"): number {
    const value = this.#options.page.load32(SRING[name]);
    this.#traceIndex(name, false, value);
    return value;
  }

  #notePublished(producer: number): void {
    const { page, protocol } = this.#options;
    for (let index = this.#consumed; index !== producer; index = (index + 1) >>> 0) {
      const slot = page.read(slotOffset(index, protocol), LAYOUTS[protocol].slot);
      this.#traceRequest(FRONT, index, decodeRequest(slot, protocol));
    }
  }

  /** A front end that keeps `rsp_event` one ahead of what it has taken, as RING_FINAL_CHECK_FOR_RESPONSES does, tells us so. */
  #noteTaken(): void {
    const next = (this.#options.page.load32(SRING.rsp_event) - 1) >>> 0;
    if (slotsBetween(this.#taken, next) > slotsBetween(this.#taken, this.#published)) return;
    // Of one that has not said so for long, the last responses are told.
    if (slotsBetween(this.#taken, next) > RING_SIZE) this.#taken = (next - RING_SIZE) >>> 0;
    for (; this.#taken !== next; this.#taken = (this.#taken + 1) >>> 0) {
      const response = this.#recent[this.#recent.length - slotsBetween(this.#taken, this.#produced)];
      if (response !== undefined) this.#trace(FRONT, this.#taken, response);
    }
  }

  #traceRequest(side: number, index: number, request: Request): void {
    const { host, frontDomid, device } = this.#options;
    this.#emit({
      kind: "blkif-request",
      at: host.clock.now,
      domain: frontDomid,
      device,
      side,
      index,
      operation: request.operation,
      id: request.id,
      sector: request.sector,
      segments: request.segments.flatMap(({ ref, first, last }) => [ref, first, last]),
    });
  }

  #trace(side: number, index: number, { operation, id, status }: Response): void {
    const { host, frontDomid, device } = this.#options;
    this.#emit({
      kind: "blkif-response",
      at: host.clock.now,
      domain: frontDomid,
      device,
      side,
      index,
      operation,
      id,
      status,
    });
  }

  #traceIndex(index: string, update: boolean, value: number): void {
    const { host, frontDomid, device } = this.#options;
    this.#emit({
      kind: "ring-index",
      at: host.clock.now,
      domain: frontDomid,
      ring: `vbd/${device}`,
      index,
      update,
      value,
    });
  }

  save(): RingState {
    return {
      protocol: this.#options.protocol,
      mapping: this.#options.page.handle,
      req_cons: this.#consumed,
      rsp_prod: this.#produced,
      published: this.#published,
      taken: this.#taken,
      recent: Array.from(this.#recent, (response) => ({ ...response })),
    };
  }
}
