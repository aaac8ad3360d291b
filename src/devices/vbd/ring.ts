// Part: the block interface's ring as the back end has it: slots in, responses out. Each slot is copied once, and only the copy is looked at.

import type { DomainServices, GrantMapping } from "../../xen/backend-host.ts";
import { ObservedRing, type ObservedRingState } from "../split/observed-ring.ts";
import type { VbdFault } from "./faults.ts";
import {
  decodeRequest,
  decodeResponse,
  encodeResponse,
  LAYOUTS,
  type ProtocolName,
  RESPONSE_END,
  type Request,
  type Response,
  type Segment,
} from "./protocol.ts";

export interface BlockRingOptions {
  readonly host: DomainServices;
  readonly frontDomid: number;
  /** Virtual device number, for the trace. */
  readonly device: number;
  readonly protocol: ProtocolName;
  readonly pages: readonly GrantMapping[];
  /** The back end's local port. */
  readonly port: number;
  readonly faults: ReadonlySet<VbdFault>;
}

/** A slot's request, and its segments as the catalogue lists them. */
interface Decoded {
  readonly request: Request;
  readonly segments: readonly number[];
}

export interface BlockRingState {
  protocol: string;
  /** Handles of the ring's pages. */
  mappings: number[];
  ring: ObservedRingState;
}

export class BlockRing {
  readonly #options: BlockRingOptions;
  readonly #ring: ObservedRing;
  /** By slot, what was decoded in this visit. No guest runs meanwhile: what the observer saw is what is fetched. */
  readonly #decoded: (Decoded | undefined)[];

  constructor(options: BlockRingOptions, state?: ObservedRingState) {
    this.#options = options;
    const { host, frontDomid, device, protocol, pages, port } = options;
    const shared = { host, frontDomid, name: `vbd/${device}`, pages, slotSize: LAYOUTS[protocol].slot, port };
    const request = (side: number, index: number, slot: Uint8Array) => this.#tellRequest(side, index, slot);
    const response = (side: number, index: number, bytes: Uint8Array) => this.#tellResponse(side, index, bytes);
    this.#ring = new ObservedRing({ ...shared, request, response }, state);
    this.#decoded = Array.from({ length: this.#ring.size }, () => undefined);
  }

  /**
   * Takes all requests that wait, and asks to be notified of the next one.
   * @returns false when the front end's index is nonsense: nothing may be believed any more
   */
  take(handle: (request: Request, index: number) => void): boolean {
    const { faults } = this.#options;
    const count = this.#ring.waiting();
    if (count < 0) return false;
    for (let taken = 0; taken < count; taken++) {
      const index = this.#ring.consumed;
      const slot = this.#ring.fetch(index);
      if (faults.has("vbd.double-fetch")) this.#ring.fetch(index);
      this.#ring.consume();
      const { request } = this.#decode(index, slot);
      this.#decoded[index & (this.#ring.size - 1)] = undefined;
      handle(request, index);
    }
    this.#ring.listen();
    return true;
  }

  /** Writes a response; the front end sees it after `push`. */
  respond(response: Response): void {
    const { protocol, faults } = this.#options;
    const bytes = encodeResponse(response, protocol);
    this.#ring.respond(faults.has("vbd.unwritten-padding") ? bytes.subarray(0, RESPONSE_END) : bytes);
  }

  /** Publishes the responses written and notifies the front end if it asked for one of them. */
  push(): void {
    this.#ring.push();
  }

  /** Lets go of the ring's pages. */
  close(): void {
    for (const page of this.#options.pages) page.unmap();
  }

  /** Tells that segments of the request at `index` were fetched out of a page of their own. */
  tellSegments(index: number, ref: number, segments: readonly Segment[]): void {
    const { host, frontDomid, device } = this.#options;
    const event = { kind: "blkif-segments", at: host.clock.now, domain: frontDomid, device, index, ref } as const;
    host.emit({ ...event, segments: words(segments) });
  }

  #decode(index: number, slot: Uint8Array): Decoded {
    const place = index & (this.#ring.size - 1);
    let decoded = this.#decoded[place];
    if (decoded === undefined) {
      const request = decodeRequest(slot, this.#options.protocol);
      decoded = { request, segments: words(request.segments) };
      this.#decoded[place] = decoded;
    }
    return decoded;
  }

  #tellRequest(side: number, index: number, slot: Uint8Array): void {
    const { host, frontDomid, device } = this.#options;
    const { request, segments: refs } = this.#decode(index, slot);
    const { operation, id, sector, segments, segmentCount, discardSectors, indirect } = request;
    const [at, domain] = [host.clock.now, frontDomid];
    // Nearly all requests have this shape; spreading what the others have besides costs more than the rest of the event.
    if (segmentCount === segments.length && discardSectors === 0n && indirect === undefined) {
      host.emit({ kind: "blkif-request", at, domain, device, side, index, operation, id, sector, segments: refs });
      return;
    }
    host.emit({
      kind: "blkif-request",
      at,
      domain,
      device,
      side,
      index,
      operation,
      id,
      sector,
      segments: refs,
      ...(segmentCount === segments.length ? {} : { count: segmentCount }),
      ...(discardSectors === 0n ? {} : { discard: discardSectors }),
      ...(indirect === undefined ? {} : { indirect: [indirect.operation, ...indirect.refs] }),
    });
  }

  #tellResponse(side: number, index: number, bytes: Uint8Array): void {
    // Of a slot that had no response yet when the front end says that it took one, there is nothing to tell.
    if (bytes.length === 0) return;
    const { host, frontDomid, device } = this.#options;
    const at = host.clock.now;
    const { id, operation, status } = decodeResponse(bytes);
    host.emit({ kind: "blkif-response", at, domain: frontDomid, device, side, index, operation, id, status });
  }

  save(): BlockRingState {
    const { protocol, pages } = this.#options;
    return { protocol, mappings: pages.map(({ handle }) => handle), ring: this.#ring.save() };
  }
}

function words(segments: readonly Segment[]): number[] {
  const list: number[] = [];
  for (const { ref, first, last } of segments) list.push(ref, first, last);
  return list;
}
