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
  readonly indirect: { readonly operation: number; readonly refs: readonly number[] } | undefined;
}

/** Decodes a copy of a slot. Byte by byte: a view for each slot would cost more than all that is read through it. */
export function decodeRequest(slot: Uint8Array, protocol: ProtocolName): Request {
  const layout = LAYOUTS[protocol];
  const operation = slot[0]!;
  const id = load64(slot, layout.id);
  const sector = load64(slot, layout.sector);
  switch (operation) {
    case OP.INDIRECT: {
      const segmentCount = slot[INDIRECT.segmentCount]! | (slot[INDIRECT.segmentCount + 1]! << 8);
      const pages = Math.min(Math.ceil(segmentCount / SEGMENTS_PER_PAGE), MAX_INDIRECT_PAGES);
      const refs = Array.from({ length: pages }, (_, page) => load32(slot, layout.indirectRefs + 4 * page));
      const indirect = { operation: slot[INDIRECT.operation]!, refs };
      return { operation, id, sector, segmentCount, segments: NO_SEGMENTS, discardSectors: 0n, indirect };
    }
    case OP.DISCARD: {
      const discardSectors = load64(slot, layout.discardSectors);
      return { operation, id, sector, segmentCount: 0, segments: NO_SEGMENTS, discardSectors, indirect: undefined };
    }
    default: {
      const segmentCount = slot[1]!;
      const segments = decodeSegments(slot, Math.min(segmentCount, MAX_SEGMENTS), layout.segments);
      return { operation, id, sector, segmentCount, segments, discardSectors: 0n, indirect: undefined };
    }
  }
}

const NO_SEGMENTS: readonly Segment[] = [];

/** Decodes a copy of segments, which begin at an offset. */
export function decodeSegments(bytes: Uint8Array, count: number, offset = 0): Segment[] {
  const segments: Segment[] = [];
  for (let at = offset; at < offset + count * SEGMENT_SIZE; at += SEGMENT_SIZE) {
    segments.push({ ref: load32(bytes, at), first: bytes[at + 4]!, last: bytes[at + 5]! });
  }
  return segments;
}

function load32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function load64(bytes: Uint8Array, at: number): bigint {
  const high = load32(bytes, at + 4);
  const low = BigInt(load32(bytes, at));
  return high === 0 ? low : (BigInt(high) << 32n) | low;
}

function store32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
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

/** By layout. */
const RESPONSES: Readonly<Record<ProtocolName, Uint8Array>> = {
  "x86_32-abi": new Uint8Array(LAYOUTS["x86_32-abi"].response),
  "x86_64-abi": new Uint8Array(LAYOUTS["x86_64-abi"].response),
};

/** A whole response, padding included: no byte of it is left to what stood in the slot before. The next call overwrites it. */
export function encodeResponse({ id, operation, status }: Response, protocol: ProtocolName): Uint8Array {
  const bytes = RESPONSES[protocol];
  const small = id <= 0xffff_ffffn;
  store32(bytes, RESPONSE.id, Number(small ? id : id & 0xffff_ffffn));
  store32(bytes, RESPONSE.id + 4, small ? 0 : Number(id >> 32n));
  bytes[RESPONSE.operation] = operation;
  bytes[RESPONSE.status] = status;
  bytes[RESPONSE.status + 1] = status >> 8;
  return bytes;
}

export function decodeResponse(bytes: Uint8Array): Response {
  const status = ((bytes[RESPONSE.status]! | (bytes[RESPONSE.status + 1]! << 8)) << 16) >> 16;
  return { id: load64(bytes, RESPONSE.id), operation: bytes[RESPONSE.operation]!, status };
}

export function isProtocol(text: string): text is ProtocolName {
  return Object.hasOwn(LAYOUTS, text);
}
