// Part: one block request, from the checked copy of its slot to its completion. Its grants are mapped when it is taken and unmapped when it is done;
// a write's data are copied when it is taken, so the guest cannot change them afterwards. What is refused is as in Linux's xen-blkback.

import { digest32 } from "../../core/digest.ts";
import type { DomainServices } from "../../xen/backend-host.ts";
import { type Disk, SECTOR_SIZE } from "../block/disk.ts";
import { adoptedMapping, type FrontGrants, type GrantUse } from "./grants.ts";
import type { VbdFeatures } from "./options.ts";
import {
  decodeSegments,
  MAX_SEGMENTS,
  OP,
  type Request,
  RSP,
  SECTORS_PER_PAGE,
  SEGMENTS_PER_PAGE,
  type Segment,
  segmentBytes,
} from "./protocol.ts";

/** A part of a granted page. */
interface Piece {
  readonly use: GrantUse;
  readonly offset: number;
  readonly length: number;
}

/** A request that was accepted. */
export interface Job {
  readonly id: bigint;
  /** An indirect request's is what it does. */
  readonly operation: number;
  readonly sector: number;
  readonly count: number;
  /** Where a read's data go. A write keeps its pages, too, until it is done. */
  readonly pieces: readonly Piece[];
  /** A write's data. */
  readonly data: Uint8Array;
}

export interface JobState {
  id: bigint;
  operation: number;
  sector: number;
  count: number;
  pieces: { handle: number; kept: number; offset: number; length: number }[];
  data: Uint8Array;
}

export interface Refusal {
  readonly id: bigint;
  readonly operation: number;
  /** RSP.ERROR or RSP.EOPNOTSUPP. */
  readonly status: number;
  readonly reason: string;
}

/** What requests are checked against and carried out with. */
export interface RequestContext {
  readonly disk: Disk;
  readonly features: VbdFeatures;
  readonly grants: FrontGrants;
  /** Tells that segments were fetched out of a page of an indirect request. */
  readonly fetched: (ref: number, segments: readonly Segment[]) => void;
}

const NOTHING = new Uint8Array(0);
const NO_PIECES: readonly Piece[] = [];
/** ENOSPC would tell more, but a block layer answers a request beyond the end with EIO. */
const EIO = 5;

/** Checks a request and maps its grants. */
export function accept(request: Request, context: RequestContext): Job | Refusal {
  const { features } = context;
  const { id } = request;
  // Linux answers an indirect request with what it was to do.
  const operation = request.indirect === undefined ? request.operation : request.indirect.operation;
  if (request.indirect !== undefined) {
    if (features.indirectSegments === 0) return notOffered(id, request.operation);
    if (operation !== OP.READ && operation !== OP.WRITE) {
      return refusal(id, operation, `indirect operation ${operation}`);
    }
  }
  switch (operation) {
    case OP.READ:
      return transfer(request, context, operation);
    case OP.WRITE:
      return features.readOnly ? refusal(id, operation, "read-only") : transfer(request, context, operation);
    case OP.WRITE_BARRIER:
    case OP.FLUSH_DISKCACHE:
      if (!(operation === OP.WRITE_BARRIER ? features.barrier : features.flush)) return notOffered(id, operation);
      // With segments it is a write behind a flush, as in Linux and QEMU.
      if (request.segmentCount === 0) return { id, operation, sector: 0, count: 0, pieces: NO_PIECES, data: NOTHING };
      return features.readOnly ? refusal(id, operation, "read-only") : transfer(request, context, operation);
    case OP.DISCARD: {
      if (features.readOnly) return refusal(id, operation, "read-only");
      if (!features.discard) return notOffered(id, operation);
      const sector = Number(request.sector);
      const count = Number(request.discardSectors);
      if (isBeyond(sector, count, context.disk)) return refusal(id, operation, "beyond the end");
      return { id, operation, sector, count, pieces: NO_PIECES, data: NOTHING };
    }
    default:
      return refusal(id, operation, "unknown operation", RSP.EOPNOTSUPP);
  }
}

function refusal(id: bigint, operation: number, reason: string, status: number = RSP.ERROR): Refusal {
  return { id, operation, status, reason };
}

function notOffered(id: bigint, operation: number): Refusal {
  return refusal(id, operation, "not offered", RSP.EOPNOTSUPP);
}

/** @param operation an indirect request's is what it does */
function transfer(request: Request, context: RequestContext, operation: number): Job | Refusal {
  const { id, segmentCount, indirect } = request;
  const { grants, features, disk } = context;
  const most = indirect === undefined ? MAX_SEGMENTS : features.indirectSegments;
  if (segmentCount < 1 || segmentCount > most) return refusal(id, operation, `${segmentCount} segments`);
  const segments = indirect === undefined ? request.segments : indirectSegments(request, indirect.refs, context);
  if ("status" in segments) {
    return refusal(id, operation, `segments' grant ${segments.ref}: status ${segments.status}`);
  }
  let count = 0;
  for (const { first, last } of segments) {
    if (first > last || last >= SECTORS_PER_PAGE) {
      return refusal(id, operation, `sectors ${first} to ${last} of a page`);
    }
    count += last - first + 1;
  }
  const sector = Number(request.sector);
  if (isBeyond(sector, count, disk)) return refusal(id, operation, "beyond the end");
  // A write reads the guest's pages.
  const uses = grants.useAll(segments, operation !== OP.READ);
  if ("status" in uses) return refusal(id, operation, `grant ${uses.ref}: status ${uses.status}`);
  const pieces: Piece[] = [];
  for (let index = 0; index < segments.length; index++) {
    const { first, last } = segments[index]!;
    pieces.push({ use: uses[index]!, offset: first * SECTOR_SIZE, length: (last - first + 1) * SECTOR_SIZE });
  }
  if (operation === OP.READ) return { id, operation, sector, count, pieces, data: NOTHING };
  return { id, operation, sector, count, pieces, data: dataOf(pieces, count) };
}

/** A copy of a write's data. */
function dataOf(pieces: readonly Piece[], count: number): Uint8Array {
  const [only] = pieces;
  if (pieces.length === 1 && only !== undefined) return only.use.mapping.read(only.offset, only.length);
  const data = new Uint8Array(count * SECTOR_SIZE);
  let at = 0;
  for (const { use, offset, length } of pieces) {
    data.set(use.mapping.read(offset, length), at);
    at += length;
  }
  return data;
}

/** The segments of an indirect request: each of its pages is copied once and let go of. */
function indirectSegments(
  { segmentCount }: Request,
  refs: readonly number[],
  { grants, fetched }: RequestContext,
): Segment[] | { ref: number; status: number } {
  const uses = grants.useAll(
    refs.map((ref) => ({ ref })),
    true,
  );
  if ("status" in uses) return uses;
  const segments: Segment[] = [];
  for (const [page, { mapping }] of uses.entries()) {
    const count = Math.min(segmentCount - page * SEGMENTS_PER_PAGE, SEGMENTS_PER_PAGE);
    const part = decodeSegments(mapping.read(0, segmentBytes(count)), count);
    fetched(refs[page]!, part);
    segments.push(...part);
  }
  for (const use of uses) grants.release(use);
  return segments;
}

/** Numbers of 64 bits may have been rounded, but none that is on a disk: disks have far fewer than 2^53 sectors. */
function isBeyond(sector: number, count: number, disk: Disk): boolean {
  return sector + count > disk.sectorCount;
}

/** What a disk operation did: a negative errno or 0, and the low half of the digest of the data moved. */
export interface Done {
  readonly status: number;
  readonly digest?: number;
}

/** Carries the job out on the disk; a read's data go to the guest's pages. */
export function carryOut(job: Job, disk: Disk): Done {
  // The disk may have shrunk since.
  if (job.sector + job.count > disk.sectorCount) return { status: -EIO };
  switch (job.operation) {
    case OP.READ: {
      const data = disk.read(job.sector, job.count);
      if (typeof data === "number") return { status: data };
      let at = 0;
      for (const { use, offset, length } of job.pieces) {
        use.mapping.write(offset, length === data.length ? data : data.subarray(at, at + length));
        at += length;
      }
      return { status: 0, digest: digest32(data) };
    }
    case OP.WRITE:
      return { status: disk.write(job.sector, job.data), digest: digest32(job.data) };
    case OP.DISCARD:
      return { status: disk.discard(job.sector, job.count) };
    default: {
      const status = disk.flush();
      if (status !== 0 || job.count === 0) return { status };
      return { status: disk.write(job.sector, job.data), digest: digest32(job.data) };
    }
  }
}

export function saveJob(job: Job): JobState {
  return {
    ...job,
    pieces: job.pieces.map(({ use, offset, length }) => {
      return { handle: use.mapping.handle, kept: use.kept, offset, length };
    }),
    data: job.data.slice(),
  };
}

/** @throws InputError when a mapping of the snapshot is not the hypervisor's */
export function loadJob(state: JobState, host: DomainServices): Job {
  return {
    ...state,
    pieces: state.pieces.map(({ handle, kept, offset, length }) => {
      return { use: { mapping: adoptedMapping(host, handle), kept }, offset, length };
    }),
    data: state.data.slice(),
  };
}
