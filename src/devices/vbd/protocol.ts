// Part: the block interface's ring protocol (xen/include/public/io/blkif.h, io/ring.h) as tables: requests and responses in the x86_32 and
// the x86_64 layout. A slot is copied once and decoded from the copy. Not modelled: indirect descriptors and multi-page rings, which the back
// end does not offer.

import { SRING } from "../split/sring.ts";

/** BLKIF_OP_*. */
export const OP = {
  READ: 0,
  WRITE: 1,
  WRITE_BARRIER: 2,
  FLUSH_DISKCACHE: 3,
  DISCARD: 5,
  INDIRECT: 6,
} as const;

/** BLKIF_RSP_*. */
export const RSP = { OKAY: 0, ERROR: -1, EOPNOTSUPP: -2 } as const;

/** BLKIF_MAX_SEGMENTS_PER_REQUEST. */
export const MAX_SEGMENTS = 11;
/** `struct blkif_request_segment`: gref, first_sect, last_sect, padding. */
const SEGMENT_SIZE = 8;
/** Sectors of 512 bytes in a granted page, whatever the disk's sector size. */
export const SECTORS_PER_PAGE = 8;

/** VDISK_*, the bits of the `info` node. */
export const VDISK_READONLY = 4;

/** __CONST_RING_SIZE(blkif, 4096), the same for both layouts. */
export const RING_SIZE = 32;

export type ProtocolName = "x86_32-abi" | "x86_64-abi";

interface Layout {
  /** Bytes of a slot: of the union of request and response. */
  readonly slot: number;
  readonly id: number;
  readonly sector: number;
  readonly segments: number;
  /** blkif_request_discard.nr_sectors. */
  readonly discardSectors: number;
  readonly response: number;
}

export const LAYOUTS: Readonly<Record<ProtocolName, Layout>> = {
  "x86_32-abi": { slot: 108, id: 4, sector: 12, segments: 20, discardSectors: 20, response: 12 },
  "x86_64-abi": { slot: 112, id: 8, sector: 16, segments: 24, discardSectors: 24, response: 16 },
};

/** `struct blkif_response`: the same in both layouts but for the padding at its end. */
const RESPONSE = { id: 0, operation: 8, status: 10 } as const;

export interface Segment {
  readonly ref: number;
  /** First and last sector in the page, both inclusive. Not checked. */
  readonly first: number;
  readonly last: number;
}

/** What a front end asked for, as it stood in the slot. Nothing is checked but that there is room for the segments. */
export interface Request {
  readonly operation: number;
  readonly id: bigint;
  readonly sector: bigint;
  /** As the slot says; more than MAX_SEGMENTS are not among `segments`. */
  readonly segmentCount: number;
  readonly segments: readonly Segment[];
  /** Of a discard. */
  readonly discardSectors: bigint;
}

/** Decodes a copy of a slot. */
export function decodeRequest(slot: Uint8Array, protocol: ProtocolName): Request {
  const layout = LAYOUTS[protocol];
  const view = new DataView(slot.buffer, slot.byteOffset, slot.length);
  const operation = view.getUint8(0);
  const segmentCount = operation === OP.DISCARD ? 0 : view.getUint8(1);
  const segments: Segment[] = [];
  for (let index = 0; index < Math.min(segmentCount, MAX_SEGMENTS); index++) {
    const at = layout.segments + SEGMENT_SIZE * index;
    segments.push({ ref: view.getUint32(at, true), first: view.getUint8(at + 4), last: view.getUint8(at + 5) });
  }
  return {
    operation,
    id: view.getBigUint64(layout.id, true),
    sector: view.getBigUint64(layout.sector, true),
    segmentCount,
    segments,
    discardSectors: operation === OP.DISCARD ? view.getBigUint64(layout.discardSectors, true) : 0n,
  };
}

/** A whole response, padding included: no byte of it is left to what stood in the slot before. */
export function encodeResponse(id: bigint, operation: number, status: number, protocol: ProtocolName): Uint8Array {
  const bytes = new Uint8Array(LAYOUTS[protocol].response);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(RESPONSE.id, id, true);
  view.setUint8(RESPONSE.operation, operation);
  view.setInt16(RESPONSE.status, status, true);
  return bytes;
}

/** Byte offset of a slot in the ring's page. */
export function slotOffset(index: number, protocol: ProtocolName): number {
  return SRING.slots + (index & (RING_SIZE - 1)) * LAYOUTS[protocol].slot;
}
