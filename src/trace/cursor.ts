// Part: the rows of a chunk, walked in order by whoever expects them. An event is encoded and compared with the row's bytes, which costs a
// third of decoding the row and comparing fields; rows are decoded only when somebody asks for one.

import { itemEnd } from "../core/cbor.ts";
import { sameEvent } from "./compare.ts";
import type { EventKindName, TraceEvent } from "./events.ts";
import type { ChunkRecord } from "./format.ts";
import { decodeItem, type Trace } from "./reader.ts";
import { RowWriter } from "./row-writer.ts";
import { fieldsOf, kindNumbered, readRows } from "./rows.ts";

/** The heads of arrays of 0 to 23 items and of a number of one byte (RFC 8949 section 3). */
const ARRAY = 0x80;
const LONGEST_SHORT_ARRAY = 0x97;
const ONE_BYTE = 0x18;

export class RowCursor {
  readonly #trace: Pick<Trace, "rowsOf" | "eventsOf">;
  readonly #chunk: ChunkRecord;
  readonly #rows: Uint8Array;
  readonly #writer = new RowWriter();
  #events: readonly TraceEvent[] | undefined;
  #position = 0;
  /** Offset of the next row in the rows' bytes. */
  #at = 0;
  /** Of the row before. */
  #time: number;

  /** @throws InputError when the chunk does not hold the number of rows that it names */
  constructor(trace: Pick<Trace, "rowsOf" | "eventsOf">, chunk: ChunkRecord) {
    this.#trace = trace;
    this.#chunk = chunk;
    this.#rows = trace.rowsOf(chunk);
    this.#writer.begin(chunk.fromNs);
    this.#time = chunk.fromNs;
  }

  get atEnd(): boolean {
    return this.#position === this.#chunk.events;
  }

  /** The next row's event; undefined at the end. @throws InputError when the catalogue does not describe one of the chunk's rows */
  next(): TraceEvent | undefined {
    if (this.atEnd) return undefined;
    const kind = this.#numberedKind();
    if (kind === undefined || fieldsOf(kind).some(({ type }) => type === "delta")) return this.#decoded();
    // A row without differences can be read without those before it.
    const row = decodeItem(this.#rows.subarray(this.#at, itemEnd(this.#rows, this.#at)));
    return readRows([row], this.#time)[0];
  }

  /** Of which kind the next row is; undefined at the end. */
  nextKind(): EventKindName | undefined {
    return this.atEnd ? undefined : (this.#numberedKind() ?? this.#decoded()?.kind);
  }

  /** The next row's kind where its bytes say so in the usual way. */
  #numberedKind(): EventKindName | undefined {
    const array = this.#rows[this.#at]!;
    const number = this.#rows[this.#at + 1]!;
    if (array < ARRAY || array > LONGEST_SHORT_ARRAY) return undefined;
    if (number < ONE_BYTE) return kindNumbered(number);
    return number === ONE_BYTE ? kindNumbered(this.#rows[this.#at + 2]!) : undefined;
  }

  #decoded(): TraceEvent | undefined {
    this.#events ??= this.#trace.eventsOf(this.#chunk);
    return this.#events[this.#position];
  }

  /** Goes on behind the next row if it holds this very event; false when it holds another, or there is none. */
  take(event: TraceEvent): boolean {
    // Rows are in the order of time, so none of them is earlier.
    if (this.atEnd || event.at < this.#time) return false;
    this.#writer.clear();
    this.#writer.write(event);
    if (this.#isWritten()) this.#at += this.#writer.length;
    else {
      // A row may be encoded at more length than ours and say the same.
      const recorded = this.next();
      if (recorded === undefined || !sameEvent(recorded, event)) return false;
      this.#at = itemEnd(this.#rows, this.#at);
    }
    this.#time = event.at;
    this.#position++;
    return true;
  }

  /** Whether the next row is the one just written, byte for byte. */
  #isWritten(): boolean {
    const { bytes, length } = this.#writer;
    const rows = this.#rows;
    const at = this.#at;
    for (let index = 0; index < length; index++) if (rows[at + index] !== bytes[index]) return false;
    return true;
  }
}
