// Part: block requests as the front end writes them into a slot (io/blkif.h). Only the members that the operation has are written, as a C front
// end writes them; what stood in the rest of the slot stays.

import type { Lent } from "./front-pages.ts";
import { LAYOUTS, OP, type ProtocolName, SECTORS_PER_PAGE } from "./protocol.ts";

/** `struct blkif_request_segment`. */
const SEGMENT_SIZE = 8;
const NR_SEGMENTS = 1;
/** blkif_vdev_t handle: behind nr_segments; of a discard in the same place. */
const HANDLE = 2;

export interface Transfer {
  /** BLKIF_OP_ */
  readonly operation: number;
  readonly id: number;
  /** Virtual device number. */
  readonly device: number;
  readonly sector: number;
  /** Sectors. */
  readonly count: number;
  /** Sector of the first page at which the data begin; the other pages are filled from their beginning. */
  readonly first: number;
  readonly lent: readonly Lent[];
}

/** The bytes are overwritten by the next call. */
export function encodeTransfer(protocol: ProtocolName, request: Transfer): Uint8Array {
  const { id, sector, segments } = LAYOUTS[protocol];
  const { count, lent } = request;
  VIEW.setUint8(0, request.operation);
  VIEW.setUint8(NR_SEGMENTS, lent.length);
  VIEW.setUint16(HANDLE, request.device & 0xffff, true);
  store64(id, request.id);
  store64(sector, request.sector);
  let first = request.first;
  for (let index = 0, end = first + count, at = segments; index < lent.length; index++, at += SEGMENT_SIZE) {
    VIEW.setUint32(at, lent[index]!.ref, true);
    // first_sect, last_sect, padding
    VIEW.setUint32(at + 4, first | ((Math.min(end, SECTORS_PER_PAGE) - 1) << 8), true);
    first = 0;
    end -= SECTORS_PER_PAGE;
  }
  return BYTES.subarray(0, segments + SEGMENT_SIZE * lent.length);
}

/** The bytes are overwritten by the next call. */
export function encodeDiscard(
  protocol: ProtocolName,
  request: { readonly id: number; readonly device: number; readonly sector: number; readonly count: number },
): Uint8Array {
  const { id, sector, discardSectors } = LAYOUTS[protocol];
  VIEW.setUint8(0, OP.DISCARD);
  VIEW.setUint8(NR_SEGMENTS, 0);
  VIEW.setUint16(HANDLE, request.device & 0xffff, true);
  store64(id, request.id);
  store64(sector, request.sector);
  store64(discardSectors, request.count);
  return BYTES.subarray(0, discardSectors + 8);
}

/** Room for a slot of either layout. */
const BYTES = new Uint8Array(LAYOUTS["x86_64-abi"].slot);
const VIEW = new DataView(BYTES.buffer);

function store64(at: number, value: number): void {
  VIEW.setUint32(at, value % 2 ** 32, true);
  VIEW.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
