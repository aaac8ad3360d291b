// Part: the block interface's ring protocol (xen/include/public/io/blkif.h) as tables: requests and responses in the x86_32 and the x86_64
// layout. A slot is copied once and decoded from the copy.

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
/** BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST. */
export const MAX_INDIRECT_PAGES = 8;
/** `struct blkif_request_segment`: gref, first_sect, last_sect, padding; the same in both layouts. */
const SEGMENT_SIZE = 8;
/** Segments in a page of an indirect request. */
export const SEGMENTS_PER_PAGE = 4096 / SEGMENT_SIZE;
/** Sectors of 512 bytes in a granted page, whatever the disk's sector size. */
export const SECTORS_PER_PAGE = 8;

/** VDISK_*, the bits of the `info` node. */
export const VDISK = { CDROM: 1, REMOVABLE: 2, READONLY: 4 } as const;

export type ProtocolName = "x86_32-abi" | "x86_64-abi";

interface Layout {
  /** Bytes of a slot: of the union of request and response. */
  readonly slot: number;
  readonly id: number;
  readonly sector: number;
  readonly segments: number;
  /** blkif_request_discard.nr_sectors. */
  readonly discardSectors: number;
  /** blkif_request_indirect.indirect_grefs. */
  readonly indirectRefs: number;
  readonly response: number;
}

export const LAYOUTS: Readonly<Record<ProtocolName, Layout>> = {
  "x86_32-abi": { slot: 108, id: 4, sector: 12, segments: 20, discardSectors: 20, indirectRefs: 24, response: 12 },
  "x86_64-abi": { slot: 112, id: 8, sector: 16, segments: 24, discardSectors: 24, indirectRefs: 28, response: 16 },
};

/** Of blkif_request_indirect: the same in both layouts. */
const INDIRECT = { operation: 1, segmentCount: 2 } as const;

/** `struct blkif_response`: the same in both layouts but for the padding at its end. */
const RESPONSE = { id: 0, operation: 8, status: 10 } as const;
/** Where a response's padding at its end begins. */
export const RESPONSE_END = 12;

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
  /** As the slot says; more than MAX_SEGMENTS are not among `segments`, and an indirect request's are in pages of their own. */
  readonly segmentCount: number;
  readonly segments: readonly Segment[];
  /** Of a discard. */
  readonly discardSectors: bigint;
  /** Of an indirect request: what it does, and the pages that hold its segments. */
  readonly indirect?: { readonly operation: number; readonly refs: readonly number[] };
}

/** Decodes a copy of a slot. */
export function decodeRequest(slot: Uint8Array, protocol: ProtocolName): Request {
  const layout = LAYOUTS[protocol];
  const view = new DataView(slot.buffer, slot.byteOffset, slot.length);
  const operation = view.getUint8(0);
  const common = {
    operation,
    id: view.getBigUint64(layout.id, true),
    sector: view.getBigUint64(layout.sector, true),
    discardSectors: operation === OP.DISCARD ? view.getBigUint64(layout.discardSectors, true) : 0n,
  };
  if (operation === OP.INDIRECT) {
    const segmentCount = view.getUint16(INDIRECT.segmentCount, true);
    const pages = Math.min(Math.ceil(segmentCount / SEGMENTS_PER_PAGE), MAX_INDIRECT_PAGES);
    const refs = Array.from({ length: pages }, (_, page) => view.getUint32(layout.indirectRefs + 4 * page, true));
    const indirect = { operation: view.getUint8(INDIRECT.operation), refs };
    return { ...common, segmentCount, segments: [], indirect };
  }
  const segmentCount = operation === OP.DISCARD ? 0 : view.getUint8(1);
  const segments = decodeSegments(slot.subarray(layout.segments), Math.min(segmentCount, MAX_SEGMENTS));
  return { ...common, segmentCount, segments };
}

/** Decodes a copy of segments. */
export function decodeSegments(bytes: Uint8Array, count: number): Segment[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const segments: Segment[] = [];
  for (let at = 0; at < count * SEGMENT_SIZE; at += SEGMENT_SIZE) {
    segments.push({ ref: view.getUint32(at, true), first: view.getUint8(at + 4), last: view.getUint8(at + 5) });
  }
  return segments;
}

/** Bytes that so many segments take. */
export function segmentBytes(count: number): number {
  return count * SEGMENT_SIZE;
}

export interface Response {
  readonly id: bigint;
  readonly operation: number;
  readonly status: number;
}

/** A whole response, padding included: no byte of it is left to what stood in the slot before. */
export function encodeResponse({ id, operation, status }: Response, protocol: ProtocolName): Uint8Array {
  const bytes = new Uint8Array(LAYOUTS[protocol].response);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(RESPONSE.id, id, true);
  view.setUint8(RESPONSE.operation, operation);
  view.setInt16(RESPONSE.status, status, true);
  return bytes;
}

export function decodeResponse(bytes: Uint8Array): Response {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    id: view.getBigUint64(RESPONSE.id, true),
    operation: view.getUint8(RESPONSE.operation),
    status: view.getInt16(RESPONSE.status, true),
  };
}

export function isProtocol(text: string): text is ProtocolName {
  return Object.hasOwn(LAYOUTS, text);
}
