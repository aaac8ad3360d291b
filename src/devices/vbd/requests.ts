// Part: one block request, from the checked copy of its slot to its completion. Its grants are mapped when it is taken and unmapped when it is done;
// a write's data are copied when it is taken, so the guest cannot change them afterwards.

import { digest64 } from "../../core/digest.ts";
import type { DomainServices, GrantMapping } from "../../xen/backend-host.ts";
import { type Disk, SECTOR_SIZE } from "../block/disk.ts";
import { MAX_SEGMENTS, OP, type Request, RSP, SECTORS_PER_PAGE } from "./protocol.ts";

/** A part of a granted page. */
interface Piece {
  readonly mapping: GrantMapping;
  readonly offset: number;
  readonly length: number;
}

/** A request that was accepted. */
export interface Job {
  readonly id: bigint;
  readonly operation: number;
  readonly sector: number;
  readonly count: number;
  /** Where a read's data go. */
  readonly pieces: readonly Piece[];
  /** A write's data. */
  readonly data: Uint8Array;
}

export interface JobState {
  id: bigint;
  operation: number;
  sector: number;
  count: number;
  pieces: { handle: number; offset: number; length: number }[];
  data: Uint8Array;
}

const NOTHING = new Uint8Array(0);
const NO_PIECES: readonly Piece[] = [];

/** Checks a request and maps its grants: the job, or the status that refuses it. */
export function accept(
  request: Request,
  disk: Disk,
  readOnly: boolean,
  host: DomainServices,
  owner: number,
): Job | number {
  const { operation, id } = request;
  switch (operation) {
    case OP.READ:
      return acceptTransfer(request, disk, host, owner);
    case OP.WRITE:
      return readOnly ? RSP.ERROR : acceptTransfer(request, disk, host, owner);
    case OP.FLUSH_DISKCACHE:
      // With segments it is a write behind a flush, as in Linux and QEMU.
      if (request.segmentCount > 0) return readOnly ? RSP.ERROR : acceptTransfer(request, disk, host, owner);
      return { id, operation, sector: 0, count: 0, pieces: NO_PIECES, data: NOTHING };
    case OP.DISCARD: {
      const range = checkedRange(request.sector, request.discardSectors, disk);
      if (range === undefined || readOnly) return RSP.ERROR;
      return { id, operation, ...range, pieces: NO_PIECES, data: NOTHING };
    }
    default:
      return RSP.EOPNOTSUPP;
  }
}

function acceptTransfer(request: Request, disk: Disk, host: DomainServices, owner: number): Job | number {
  const { operation, id, segments, segmentCount } = request;
  if (segmentCount < 1 || segmentCount > MAX_SEGMENTS) return RSP.ERROR;
  if (segments.some(({ first, last }) => first > last || last >= SECTORS_PER_PAGE)) return RSP.ERROR;
  const count = segments.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  const range = checkedRange(request.sector, BigInt(count), disk);
  if (range === undefined) return RSP.ERROR;
  const pieces: Piece[] = [];
  for (const { ref, first, last } of segments) {
    // A write reads the guest's pages.
    const mapping = host.mapGrant(owner, ref, operation !== OP.READ);
    if (typeof mapping === "number") {
      release(pieces);
      return RSP.ERROR;
    }
    pieces.push({ mapping, offset: first * SECTOR_SIZE, length: (last - first + 1) * SECTOR_SIZE });
  }
  if (operation === OP.READ) return { id, operation, ...range, pieces, data: NOTHING };
  const data = new Uint8Array(count * SECTOR_SIZE);
  let at = 0;
  for (const { mapping, offset, length } of pieces) {
    data.set(mapping.read(offset, length), at);
    at += length;
  }
  return { id, operation, ...range, pieces, data };
}

/** The range as numbers if all of it is on the disk. */
function checkedRange(sector: bigint, count: bigint, disk: Disk): { sector: number; count: number } | undefined {
  if (sector + count > BigInt(disk.sectorCount)) return undefined;
  return { sector: Number(sector), count: Number(count) };
}

/** What a disk operation did: a negative errno or 0, and the low half of the digest of the data moved. */
export interface Done {
  readonly status: number;
  readonly digest?: number;
}

/** Carries the job out on the disk; a read's data go to the guest's pages. */
export function carryOut(job: Job, disk: Disk): Done {
  switch (job.operation) {
    case OP.READ: {
      const data = disk.read(job.sector, job.count);
      if (typeof data === "number") return { status: data };
      let at = 0;
      for (const { mapping, offset, length } of job.pieces) {
        mapping.write(offset, data.subarray(at, at + length));
        at += length;
      }
      return { status: 0, digest: digestOf(data) };
    }
    case OP.WRITE:
      return { status: disk.write(job.sector, job.data), digest: digestOf(job.data) };
    case OP.FLUSH_DISKCACHE: {
      const status = disk.flush();
      if (status !== 0 || job.count === 0) return { status };
      return { status: disk.write(job.sector, job.data), digest: digestOf(job.data) };
    }
    default:
      return { status: disk.discard(job.sector, job.count) };
  }
}

function digestOf(data: Uint8Array): number {
  return Number(digest64(data) & 0xffff_ffffn);
}

export function release(pieces: readonly Piece[]): void {
  for (const { mapping } of pieces) mapping.unmap();
}

export function saveJob(job: Job): JobState {
  return {
    ...job,
    pieces: job.pieces.map(({ mapping, offset, length }) => ({ handle: mapping.handle, offset, length })),
    data: job.data.slice(),
  };
}

/** @param adopt finds a mapping by its handle */
export function loadJob(state: JobState, adopt: (handle: number) => GrantMapping): Job {
  return {
    ...state,
    pieces: state.pieces.map(({ handle, offset, length }) => ({ mapping: adopt(handle), offset, length })),
    data: state.data.slice(),
  };
}
