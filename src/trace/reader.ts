// Part: the trace reader. It checks every record's hash and the chain, names what is damaged and goes on behind it, and reads the
// rows of a chunk only when they are asked for.

import { Decoder } from "cbor-x";
import { ARRAY, CborWriter, itemEnd, SHORT } from "../core/cbor.ts";
import { Sha256, sha256Hex } from "../core/digest.ts";
import { InputError } from "../core/errors.ts";
import { decodePlain, type PlainData } from "../core/plain-data.ts";
import { FORMAT_VERSION, type TraceEvent } from "./events.ts";
import {
  type ChunkRecord,
  type Damage,
  equalBytes,
  HASH_BYTES,
  type ImageRecord,
  MAGIC,
  SEALED_BYTES,
  type TraceEnd,
  type TraceHeader,
} from "./format.ts";
import { readRows } from "./rows.ts";

const decoder = new Decoder({ useRecords: false, mapsAsObjects: true });

/** The value of one item that `itemEnd` has found well-formed. */
export function decodeItem(bytes: Uint8Array): unknown {
  return decoder.decode(bytes);
}
const ascii = new TextEncoder();

/** How the records behind the header begin: the head of their array, then their name. */
const BEGINNINGS = (
  [
    [0x8a, "chunk"],
    [0x84, "index"],
    [0x84, "end"],
  ] as const
).map(([array, name]) => Uint8Array.of(array, 0x60 | name.length, ...ascii.encode(name)));

/** Where the header's map begins: behind the heads of the array and of the name, and the name. */
const HEADER_MAP = 2 + MAGIC.length;

interface SealedRecord {
  readonly cells: readonly unknown[];
  readonly offset: number;
  readonly length: number;
  readonly hash: Uint8Array;
}

/** The cell of a chunk that holds its rows, which are most of it: it stays encoded until somebody asks for the events. */
const ROWS = 6;

/**
 * How much a search for readable records may read in all, in lengths of the file. One that was damaged by accident takes one or two: its
 * records do not overlap. Without the limit a file full of beginnings that share one end would be hashed once for each.
 */
const SEARCH_PASSES = 64;

const ENDS_INSIDE = "the file ends inside it";

/** A trace file, checked as a whole when it is opened. */
export class Trace {
  readonly header: TraceHeader;
  /** The chunks that can be trusted, in order. */
  readonly chunks: readonly ChunkRecord[];
  /** What cannot be trusted; empty for a whole file. */
  readonly damage: readonly Damage[];
  /** The end record; undefined when the recorder did not reach it. */
  readonly end: TraceEnd | undefined;
  readonly size: number;
  readonly #bytes: Uint8Array;

  /**
   * @param name what the file is called, for messages
   * @throws InputError on a file that is no trace, is empty, ends before its header does, or has another format
   */
  constructor(bytes: Uint8Array, name = "trace") {
    this.#bytes = bytes;
    this.size = bytes.length;
    const first = openHeader(bytes, name);
    checkFormat(first.cells[1], name);
    this.header = checkedHeader(decodePlain(bytes.subarray(HEADER_MAP, first.length - SEALED_BYTES), name), name);
    const found = scan(bytes, first);
    this.chunks = found.chunks;
    this.damage = found.damage;
    this.end = found.end;
  }

  /** A copy of the whole file. */
  bytes(): Uint8Array {
    return this.#bytes.slice();
  }

  /** SHA-256 of the file, in hexadecimal. */
  sha256(): string {
    return sha256Hex(this.#bytes);
  }

  /** All events of the chunks that can be trusted, in order. */
  *events(): Generator<TraceEvent> {
    for (const chunk of this.chunks) yield* this.eventsOf(chunk);
  }

  /** @throws InputError on rows that the catalogue does not describe */
  eventsOf(chunk: ChunkRecord): TraceEvent[] {
    this.rowsOf(chunk);
    return readRows(decoder.decode(chunk.rows) as unknown[], chunk.fromNs);
  }

  /**
   * The rows of a chunk as they are encoded, one behind the other.
   * @throws InputError when there are not as many as the chunk says
   */
  rowsOf({ number, events, rows }: ChunkRecord): Uint8Array {
    const head = new CborWriter();
    head.array(events);
    const isSo = head.view().every((byte, index) => rows[index] === byte);
    if (!isSo) throw new InputError(`holds no ${events} rows`, `chunk ${number}`);
    return rows.subarray(head.length);
  }
}

function openHeader(bytes: Uint8Array, name: string): SealedRecord {
  if (bytes.length === 0) throw new InputError("the file is empty", name);
  const beginning = Uint8Array.of(0x83, 0x60 | MAGIC.length, ...ascii.encode(MAGIC));
  if (!equalBytes(bytes.subarray(0, beginning.length), beginning.subarray(0, bytes.length))) {
    throw new InputError("not a ringback trace", name);
  }
  const record = readRecord(bytes, 0);
  if (typeof record === "string") {
    throw new InputError(`the header is damaged or incomplete (${record})`, name);
  }
  return record;
}

function checkFormat(value: unknown, name: string): void {
  const header = value as Partial<TraceHeader> | null;
  if (typeof header !== "object" || header === null) throw new InputError("the header is not a map", name);
  if (header.format === FORMAT_VERSION) return;
  throw new InputError(
    `trace format ${String(header.format)}; this ringback reads format ${FORMAT_VERSION}` +
      (typeof header.product === "string" ? ` (it was recorded by ${header.product})` : ""),
    name,
  );
}

function checkedHeader(value: PlainData, name: string): TraceHeader {
  const header = value as unknown as Partial<TraceHeader>;
  const { scenario, images } = header;
  const isImage = (image: Partial<ImageRecord> | null): boolean =>
    typeof image?.name === "string" && typeof image.sha256 === "string" && typeof image.size === "number";
  const complete =
    typeof header.time === "string" &&
    typeof header.product === "string" &&
    typeof scenario?.name === "string" &&
    (scenario.module === undefined || typeof scenario.module === "string") &&
    typeof header.seed === "string" &&
    typeof header.machine === "object" &&
    header.machine !== null &&
    Array.isArray(images) &&
    images.every(isImage) &&
    typeof header.chunkEvents === "number";
  if (!complete) throw new InputError("the header lacks a field", name);
  return header as TraceHeader;
}

/** The record at `offset` with its hash checked, or what is wrong with it. */
function readRecord(bytes: Uint8Array, offset: number): SealedRecord | string {
  let ends: readonly number[] | undefined;
  try {
    ends = cellEnds(bytes, offset);
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  if (ends === undefined) return "it is not an array";
  const end = ends.at(-1) ?? offset + 1;
  if (end < 0) return ENDS_INSIDE;
  const sealed = end - SEALED_BYTES;
  if (sealed <= offset || bytes[sealed] !== 0x58 || bytes[sealed + 1] !== HASH_BYTES) return "it has no hash";
  const hash = bytes.slice(end - HASH_BYTES, end);
  if (!equalBytes(new Sha256().update(bytes.subarray(offset, sealed)).digest(), hash)) return "its hash does not match";
  const cells = ends.map((cellEnd, cell) => {
    const encoded = bytes.subarray(ends[cell - 1] ?? offset + 1, cellEnd);
    return cell === ROWS ? encoded : decodeItem(encoded);
  });
  return { cells, offset, length: end - offset, hash };
}

/**
 * Where each cell of a record ends; the last one at −1 when the file ends inside it. Undefined when there is no array, or a longer one than any
 * record is.
 * @throws InputError on a cell that is not well-formed
 */
function cellEnds(bytes: Uint8Array, offset: number): number[] | undefined {
  const count = bytes[offset]! - ARRAY;
  if (!(count >= 0 && count < SHORT)) return undefined;
  const ends: number[] = [];
  for (let at = offset + 1; ends.length < count && at >= 0; ) {
    at = itemEnd(bytes, at);
    ends.push(at);
  }
  return ends;
}

function scan(bytes: Uint8Array, header: SealedRecord) {
  const chunks: ChunkRecord[] = [];
  const damage: Damage[] = [];
  let end: TraceEnd | undefined;
  let previous: Uint8Array | undefined = header.hash;
  let nextChunk = 0;
  let offset = header.length;
  const search = { bytesLeft: SEARCH_PASSES * bytes.length };
  while (offset < bytes.length) {
    const record = readRecord(bytes, offset);
    if (typeof record === "string") {
      const next = nextBeginning(bytes, offset + 1, search);
      const cutOff = record === ENDS_INSIDE && next === bytes.length;
      damage.push({ what: nameAt(bytes, offset, nextChunk), offset, problem: record, cutOff });
      if (bytes[offset] === 0x8a || next < bytes.length) nextChunk++;
      // The chain takes up again at the next record that is whole.
      previous = undefined;
      offset = next;
      continue;
    }
    const tell = (what: string, problem: string) => damage.push({ what, offset, problem, cutOff: false });
    const [name] = record.cells;
    const chunk = name === "chunk" ? checkedChunk(record) : undefined;
    const linked = record.cells[record.cells.length - 2];
    if (chunk !== undefined && chunk.number > nextChunk) tell(missing(nextChunk, chunk.number - 1), "missing");
    else if (previous !== undefined && !(linked instanceof Uint8Array && equalBytes(linked, previous))) {
      tell(nameAt(bytes, offset, nextChunk), "it does not follow the record before it");
    }
    previous = record.hash;
    if (name === "chunk") {
      if (chunk === undefined) tell(`chunk ${nextChunk}`, "its fields are not a chunk's");
      else {
        chunks.push(chunk);
        nextChunk = chunk.number;
      }
      nextChunk++;
    } else if (name === "end") {
      end = checkedEnd(record.cells[1]);
      if (end === undefined) tell("end record", "lacks a field");
    }
    offset += record.length;
  }
  return { chunks, damage: onePerPlace(damage), end };
}

function missing(from: number, to: number): string {
  return from === to ? `chunk ${from}` : `chunks ${from} to ${to}`;
}

/** A damaged record is told once, not again as missing. */
function onePerPlace(damage: Damage[]): Damage[] {
  const told = new Set<string>();
  return damage.filter(({ what }) => !told.has(what) && told.add(what));
}

function checkedChunk({ cells, offset, length }: SealedRecord): ChunkRecord | undefined {
  const [, number, first, events, fromNs, toNs, rows, stateDigest] = cells.map((cell) =>
    typeof cell === "bigint" ? Number(cell) : cell,
  );
  const counts = [number, first, events, fromNs, toNs];
  const whole = counts.every((value) => Number.isSafeInteger(value)) && cells.length === 10;
  if (!whole || !(stateDigest instanceof Uint8Array) || !(rows instanceof Uint8Array)) return undefined;
  if ((rows[0]! & 0xe0) !== ARRAY) return undefined;
  const [n, f, e, from, to] = counts as [number, number, number, number, number];
  return {
    number: n,
    first: f,
    events: e,
    fromNs: from,
    toNs: to,
    stateDigest: new Uint8Array(stateDigest),
    rows,
    offset,
    length,
  };
}

function checkedEnd(value: unknown): TraceEnd | undefined {
  const end = value as Partial<TraceEnd> | null;
  if (typeof end !== "object" || end === null || typeof end.reason !== "string") return undefined;
  const { reason } = end;
  const [events, chunks, durationNs, retired] = [end.events, end.chunks, end.durationNs, end.retired].map(asInteger);
  if (events === undefined || chunks === undefined || durationNs === undefined || retired === undefined)
    return undefined;
  return { reason, events, chunks, durationNs, retired };
}

/** cbor-x gives integers from 2^32 on as BigInt or number, as their encoding is; undefined for what is no count. */
function asInteger(value: unknown): number | undefined {
  const number = typeof value === "bigint" ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) && number >= 0 ? number : undefined;
}

function nameAt(bytes: Uint8Array, offset: number, nextChunk: number): string {
  const beginning = BEGINNINGS.findIndex((known) => beginsWith(bytes, offset, known));
  return beginning === 1 ? "index" : beginning === 2 ? "end record" : `chunk ${nextChunk}`;
}

function beginsWith(bytes: Uint8Array, offset: number, known: Uint8Array): boolean {
  return known.every((byte, index) => bytes[offset + index] === byte);
}

/** Where the next readable record begins, at `from` or behind; the file's end when none does, or when the search has read too much. */
function nextBeginning(bytes: Uint8Array, from: number, search: { bytesLeft: number }): number {
  for (let offset = from; offset < bytes.length && search.bytesLeft > 0; offset++) {
    const byte = bytes[offset];
    if (byte !== 0x8a && byte !== 0x84) continue;
    if (!BEGINNINGS.some((known) => beginsWith(bytes, offset, known))) continue;
    const record = readRecord(bytes, offset);
    if (typeof record !== "string") return offset;
    search.bytesLeft -= readSize(bytes, offset);
  }
  return bytes.length;
}

/** How much of the file was looked at for a record that cannot be read: at most what is left. */
function readSize(bytes: Uint8Array, offset: number): number {
  try {
    const end = itemEnd(bytes, offset);
    return (end < 0 ? bytes.length : end) - offset;
  } catch {
    return bytes.length - offset;
  }
}
