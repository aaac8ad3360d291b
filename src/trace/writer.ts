// Part: the trace writer. Every record reaches the sink in one piece, so a recorder that is killed leaves whole records.

import { CborWriter } from "../core/cbor.ts";
import { Sha256 } from "../core/digest.ts";
import { assert } from "../core/errors.ts";
import { encodePlain } from "../core/plain-data.ts";
import type { TraceEvent } from "./events.ts";
import { MAGIC, type TraceEnd, type TraceHeader } from "./format.ts";
import { RowWriter } from "./row-writer.ts";

/** SHA-256 of bytes: 32 bytes. */
export type HashFunction = (bytes: Uint8Array) => Uint8Array;

const ownSha256: HashFunction = (bytes) => new Sha256().update(bytes).digest();

export class TraceWriter {
  readonly #sink: (record: Uint8Array) => void;
  readonly #sha256: HashFunction;
  readonly #chunkEvents: number;
  readonly #record = new CborWriter();
  readonly #rows = new RowWriter();
  readonly #index: number[][] = [];
  #previous: Uint8Array = new Uint8Array(0);
  #offset = 0;
  #events = 0;
  #chunkFirst = 0;
  #fromNs = 0;

  /**
   * @param sink takes one whole record at a time; it must not keep the array
   * @param sha256 the host's, where it has one that is quicker
   */
  constructor(header: TraceHeader, sink: (record: Uint8Array) => void, sha256 = ownSha256) {
    this.#sink = sink;
    this.#sha256 = sha256;
    this.#chunkEvents = header.chunkEvents;
    this.#record.array(3);
    this.#record.text(MAGIC);
    this.#record.raw(encodePlain(header));
    this.#seal();
  }

  /** Events written so far. */
  get events(): number {
    return this.#events;
  }

  write(event: TraceEvent): void {
    this.#rows.write(event);
    this.#events++;
  }

  /** True when the chunk is full: close it at the next point where the machine's state has a digest. */
  get full(): boolean {
    return this.#events - this.#chunkFirst >= this.#chunkEvents;
  }

  /** Closes the chunk. @param stateDigest the machine's state behind the last event */
  closeChunk(stateDigest: Uint8Array): void {
    const events = this.#events - this.#chunkFirst;
    if (events === 0) return;
    this.#index.push([this.#offset, this.#chunkFirst, this.#fromNs]);
    const record = this.#record;
    record.array(10);
    record.text("chunk");
    record.uint(this.#index.length - 1);
    record.uint(this.#chunkFirst);
    record.uint(events);
    record.uint(this.#fromNs);
    record.uint(this.#rows.time);
    record.array(events);
    record.raw(this.#rows.view());
    record.bytes(stateDigest);
    record.bytes(this.#previous);
    this.#seal();
    this.#chunkFirst = this.#events;
    this.#fromNs = this.#rows.time;
    this.#rows.begin(this.#fromNs);
  }

  /** Closes the last chunk and writes index and end record; nothing may be written after it. */
  close(stateDigest: Uint8Array, end: Pick<TraceEnd, "reason" | "durationNs" | "retired">): void {
    this.closeChunk(stateDigest);
    const record = this.#record;
    record.array(4);
    record.text("index");
    record.raw(encodePlain(this.#index));
    record.bytes(this.#previous);
    this.#seal();
    record.array(4);
    record.text("end");
    record.raw(encodePlain({ ...end, events: this.#events, chunks: this.#index.length }));
    record.bytes(this.#previous);
    this.#seal();
  }

  #seal(): void {
    const record = this.#record;
    const hash = this.#sha256(record.view());
    assert(hash.length === 32, "a record's hash is SHA-256");
    record.bytes(hash);
    this.#previous = hash;
    this.#offset += record.length;
    this.#sink(record.view());
    record.clear();
  }
}
