// Part: what the block front end is told, what it tells, and its state as plain data.

import type { FrontEndState } from "../split/front-end.ts";
import type { FrontRingState } from "../split/front-ring.ts";
import type { FrontPagesState, Lent } from "./front-pages.ts";
import type { ProtocolName } from "./protocol.ts";

export type BlockOperation = "read" | "write" | "flush" | "discard";

export interface BlkfrontOptions {
  /** Virtual device number: 51712 for xvda. */
  readonly device: number;
  readonly protocol?: ProtocolName;
  /** Uses persistent grants where the back end offers them. */
  readonly persistent?: boolean;
  /** First index of the ring. */
  readonly start?: number;
}

export interface BlkfrontHandlers {
  /** Connected: requests may be submitted. */
  ready(): void;
  /** @param status BLKIF_RSP_; @param data of a read that succeeded, else empty */
  done(tag: number, status: number, data: Uint8Array): void;
  /** The device is gone; requests that were in flight have failed before. `start` may connect it again. */
  closed(): void;
  /** The disk has another size. */
  resized?(): void;
}

export interface Queued {
  readonly tag: number;
  readonly operation: number;
  readonly sector: number;
  readonly count: number;
  /** Of a write. */
  readonly data: Uint8Array;
  /** Sector of the first page at which the data lie. */
  readonly first: number;
}

/** A request in the ring; its id is the number of its place. */
export interface InFlight {
  readonly tag: number;
  readonly operation: number;
  readonly count: number;
  readonly first: number;
  readonly pages: readonly Lent[];
}

export interface BlkfrontState {
  front: FrontEndState;
  ring: (FrontRingState & { gfn: number; ref: number; port: number; persistent: boolean }) | null;
  pages: FrontPagesState | null;
  slots: ((Omit<InFlight, "pages"> & { pages: { gfn: number; ref: number }[] }) | null)[];
  queue: Queued[];
  sectors: number;
  info: number;
  flush: boolean;
  discard: boolean;
  leaving: boolean;
  shut: boolean;
}
