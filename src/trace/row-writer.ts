// Part: events to rows (see rows.ts). Every event of a machine passes through here, so each kind has an encoder of its own, a JavaScript function
// that is generated from the catalogue: it reads the event's fields by name and puts short numbers into the buffer on the spot.

import {
  ARRAY,
  FALSE,
  HEAD_BYTES,
  NULL,
  putBytes,
  putInt,
  putText,
  putUint,
  putUint64,
  SHORT,
  TRUE,
  UTF8_BYTES,
} from "../core/cbor.ts";
import { assert, InvariantError } from "../core/errors.ts";
import type { TraceEvent } from "./events.ts";
import { type BaseType, type Field, KINDS, type Kind, SLOTS } from "./rows.ts";

type Encoder = (rows: RowWriter, event: TraceEvent) => void;

/** Writes the rows of one chunk after another. */
export class RowWriter {
  // Public for the encoders, which are no methods.
  bytes = new Uint8Array(65_536);
  length = 0;
  /** Of the last row. */
  time = 0;
  /** The last value of each delta field. */
  readonly previous = new Float64Array(SLOTS);

  /** Begins a chunk whose first row is relative to `time`. */
  begin(time: number): void {
    this.length = 0;
    this.time = time;
    this.previous.fill(0);
  }

  /** Forgets the rows' bytes; the next row is relative to them all the same. */
  clear(): void {
    this.length = 0;
  }

  /** The rows so far, one behind the other: a view that the next write may overwrite. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  /** @param event not before the last one */
  write(event: TraceEvent): void {
    const encode = ENCODERS.get(event.kind);
    if (encode === undefined) throw new InvariantError(`no event kind ${event.kind}`);
    encode(this, event);
  }

  /** Makes room for `length` bytes behind the rows. */
  grow(length: number): void {
    const grown = new Uint8Array(Math.max(this.length + length, 2 * this.bytes.length));
    grown.set(this.view());
    this.bytes = grown;
  }
}

function putBool(bytes: Uint8Array, place: number, value: boolean): number {
  assert(typeof value === "boolean", () => `${String(value)} is neither true nor false`);
  bytes[place] = value ? TRUE : FALSE;
  return place + 1;
}

function putUints(bytes: Uint8Array, place: number, values: readonly number[]): number {
  // An array's head differs from that of a number in its upper bits.
  let at = putUint(bytes, place, values.length);
  bytes[place]! |= ARRAY;
  for (let index = 0; index < values.length; index++) at = putUint(bytes, at, values[index]!);
  return at;
}

/** What the encoders call. */
const CALLED = { putBool, putBytes, putInt, putText, putUint, putUint64, putUints };

const shortOr = (put: string, value: string): string =>
  `if (${value} >= 0 && ${value} < ${SHORT}) bytes[at++] = ${value}; else at = ${put}(bytes, at, ${value});`;

/** The statements that put a field's value `v` into `bytes` at `at`. */
const STATEMENTS: Readonly<Record<BaseType, (slot: number) => string>> = {
  uint: () => shortOr("putUint", "v"),
  int: () => shortOr("putInt", "v"),
  delta: (slot) => `const d = v - previous[${slot}]; previous[${slot}] = v; ${shortOr("putInt", "d")}`,
  u64: () => "at = putUint64(bytes, at, v);",
  text: () => "at = putText(bytes, at, v);",
  bytes: () => "at = putBytes(bytes, at, v);",
  bool: () => "at = putBool(bytes, at, v);",
  uints: () => "at = putUints(bytes, at, v);",
};

/** The most bytes that one element of a field of variable length takes. */
const ELEMENT_BYTES: Readonly<Partial<Record<BaseType, number>>> = { text: UTF8_BYTES, bytes: 1, uints: HEAD_BYTES };

/** The encoder's text. Absent fields at a row's end are left out: `end` and `count` are what the last one that is there leaves. */
function printEncoder({ name, id, fields }: Kind): string {
  assert(2 + fields.length < SHORT, () => `${name} has more fields than a short head counts`);
  const variable = fields.flatMap(({ name, type, optional }) => {
    const size = ELEMENT_BYTES[type];
    return size === undefined
      ? []
      : [` + ${size} * ${optional ? `(event.${name}?.length ?? 0)` : `event.${name}.length`}`];
  });
  const lastRequired = fields.findLastIndex(({ optional }) => !optional);
  return `(rows, event) => {
  const room = ${HEAD_BYTES * (3 + fields.length)}${variable.join("")};
  if (rows.length + room > rows.bytes.length) rows.grow(room);
  const { bytes, previous, length } = rows;
  const since = event.at - rows.time;
  let at = length + 1;
  ${shortOr("putUint", String(id))}
  ${shortOr("putUint", "since")}
  let end = at, count = 2;
${fields.map((field, index) => printField(field, index, index >= lastRequired)).join("")}  bytes[length] = ${ARRAY} | count;
  rows.length = end;
  rows.time = event.at;
}`;
}

function printField({ name, type, optional, slot }: Field, index: number, mayBeLast: boolean): string {
  const put = `${STATEMENTS[type](slot)}${mayBeLast ? ` end = at; count = ${3 + index};` : ""}`;
  const absent = optional ? `if (v === undefined) bytes[at++] = ${NULL}; else ` : "";
  return `  { const v = event.${name}; ${absent}{ ${put} } }\n`;
}

const ENCODERS: ReadonlyMap<string, Encoder> = new Map(
  KINDS.map((kind): [string, Encoder] => {
    const create = new Function(...Object.keys(CALLED), `"use strict"; return ${printEncoder(kind)};`);
    return [kind.name, create(...Object.values(CALLED)) as Encoder];
  }),
);
