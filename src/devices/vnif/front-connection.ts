// Part: what a connected network front end has: its rings, the buffers that it lends, and what is in them.

import type { ModelKernel } from "../../xen/model/kernel.ts";
import { FrontRing, type FrontRingState } from "../split/front-ring.ts";
import { type Buffer, type BufferState, loadBuffers, saveBuffers } from "./front-buffers.ts";
import { RX_SLOT, TX_SLOT } from "./protocol.ts";

/** What a sending buffer holds: nothing, the beginning of a frame, or a further part of one. */
export const HOLDS = { nothing: 0, beginning: 1, part: 2 } as const;

export interface Connection {
  readonly ports: readonly number[];
  /** The pages of the rings: transmit, receive. */
  readonly rings: readonly Buffer[];
  readonly tx: FrontRing;
  readonly rx: FrontRing;
  readonly sending: readonly Buffer[];
  /** Numbers of the sending buffers that are not in the ring. */
  readonly free: number[];
  /** What each sending buffer holds: nothing, the beginning of a frame, or a further part of one. */
  readonly holds: number[];
  /** Extra-info slots in the ring. */
  extras: number;
  readonly posting: readonly Buffer[];
  /** Numbers of the posted buffers, in the ring's order. */
  readonly posted: number[];
  /** Of a frame whose last slot has not come. */
  parts: Uint8Array[];
  /** One of its slots had an error. */
  damaged: boolean;
}

export interface ConnectionState {
  ports: number[];
  rings: BufferState[];
  tx: FrontRingState;
  rx: FrontRingState;
  sending: BufferState[];
  free: number[];
  holds: number[];
  extras: number;
  posting: BufferState[];
  posted: number[];
  parts: Uint8Array[];
  damaged: boolean;
}

export function saveConnection(connection: Connection): ConnectionState {
  return {
    ports: [...connection.ports],
    rings: saveBuffers(connection.rings),
    tx: connection.tx.save(),
    rx: connection.rx.save(),
    sending: saveBuffers(connection.sending),
    free: [...connection.free],
    holds: [...connection.holds],
    extras: connection.extras,
    posting: saveBuffers(connection.posting),
    posted: [...connection.posted],
    parts: connection.parts.map((part) => part.slice()),
    damaged: connection.damaged,
  };
}

export function loadConnection(kernel: ModelKernel, state: ConnectionState): Connection {
  const rings = loadBuffers(kernel, state.rings);
  return {
    ports: [...state.ports],
    rings,
    tx: new FrontRing([rings[0]!.page], TX_SLOT, 0, state.tx),
    rx: new FrontRing([rings[1]!.page], RX_SLOT, 0, state.rx),
    sending: loadBuffers(kernel, state.sending),
    free: [...state.free],
    holds: [...state.holds],
    extras: state.extras,
    posting: loadBuffers(kernel, state.posting),
    posted: [...state.posted],
    parts: state.parts.map((part) => part.slice()),
    damaged: state.damaged,
  };
}
