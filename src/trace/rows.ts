// Part: events as rows. A row is a CBOR array: the kind's number, the time since the row before it, then the kind's fields in
// the order of the catalogue. Optional fields that are absent are null, and left out at the row's end. `delta` fields are stored as the
// difference to the same field of the kind's row before it in the chunk, so a chunk can be read without the ones before it.

import { assert, InputError } from "../core/errors.ts";
import { EVENT_KINDS, type EventKindName, type FieldTable, type FieldType, type TraceEvent } from "./events.ts";

export type BaseType = "uint" | "int" | "delta" | "u64" | "text" | "bytes" | "bool" | "uints";

export interface Field {
  readonly name: string;
  readonly type: BaseType;
  readonly optional: boolean;
  /** Index of the field's value before in an array of `SLOTS`; −1 for fields that are not deltas. */
  readonly slot: number;
}

export interface Kind {
  readonly name: EventKindName;
  readonly id: number;
  readonly fields: readonly Field[];
}

let slots = 0;

function fieldOf(name: string, type: FieldType): Field {
  const optional = type.endsWith("?");
  const base = (optional ? type.slice(0, -1) : type) as BaseType;
  return { name, type: base, optional, slot: base === "delta" ? slots++ : -1 };
}

export const KINDS: readonly Kind[] = Object.entries(EVENT_KINDS).map(
  ([name, { id, fields }]): Kind => ({
    name: name as EventKindName,
    id,
    fields: Object.entries(fields as FieldTable).map(([field, type]) => fieldOf(field, type)),
  }),
);
/** How many fields of the catalogue are deltas. */
export const SLOTS = slots;
const BY_NAME = new Map(KINDS.map((kind) => [kind.name, kind]));
const BY_ID: (Kind | undefined)[] = [];
for (const kind of KINDS) BY_ID[kind.id] = kind;

/** The kind's field names and base types, for text and schema. */
export function fieldsOf(kind: EventKindName): readonly Field[] {
  return kindOf(kind).fields;
}

function kindOf(name: EventKindName): Kind {
  const kind = BY_NAME.get(name);
  assert(kind !== undefined, () => `no event kind ${name}`);
  return kind;
}

/** The kind of a number in the file; undefined when there is none. */
export function kindNumbered(id: number): EventKindName | undefined {
  return BY_ID[id]?.name;
}

/**
 * The events of one chunk from its decoded rows.
 * @throws InputError on a row that the catalogue does not describe
 */
export function readRows(rows: readonly unknown[], from: number): TraceEvent[] {
  const previous = new Float64Array(SLOTS);
  let time = from;
  return rows.map((row, index) => {
    const context = `row ${index}`;
    if (!Array.isArray(row)) throw new InputError("not an array", context);
    const cells: readonly unknown[] = row;
    const kind = BY_ID[unsigned(cells[0], context)];
    if (kind === undefined) throw new InputError(`unknown event kind ${String(cells[0])}`, context);
    if (cells.length > kind.fields.length + 2) throw new InputError(`too many fields for ${kind.name}`, context);
    time += unsigned(cells[1], context);
    const event: Record<string, unknown> = { kind: kind.name, at: time };
    for (const [position, field] of kind.fields.entries()) {
      const cell = cells[position + 2] ?? null;
      if (cell !== null) event[field.name] = readField(field, cell, previous, `${context}, ${kind.name}.${field.name}`);
      else if (!field.optional) throw new InputError(`without ${field.name}`, `${context}, ${kind.name}`);
    }
    return event as unknown as TraceEvent;
  });
}

function readField(field: Field, cell: unknown, previous: Float64Array, context: string): unknown {
  switch (field.type) {
    case "uint":
      return unsigned(cell, context);
    case "int":
      return integer(cell, context);
    case "delta": {
      const value = unsigned(integer(cell, context) + previous[field.slot]!, context);
      previous[field.slot] = value;
      return value;
    }
    case "u64":
      if (typeof cell === "bigint" && cell >= 0n) return cell;
      return BigInt(unsigned(cell, context));
    case "text":
      if (typeof cell === "string") return cell;
      break;
    case "bytes":
      if (cell instanceof Uint8Array) return new Uint8Array(cell);
      break;
    case "bool":
      if (typeof cell === "boolean") return cell;
      break;
    case "uints":
      if (Array.isArray(cell)) return cell.map((element) => unsigned(element, context));
      break;
    default:
      field.type satisfies never;
  }
  throw new InputError(`not of type ${field.type}`, context);
}

function integer(value: unknown, context: string): number {
  // cbor-x gives integers with an 8-byte argument as BigInt.
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number)) return number;
  throw new InputError("not an integer below 2^53", context);
}

function unsigned(value: unknown, context: string): number {
  const number = integer(value, context);
  if (number < 0) throw new InputError("negative", context);
  return number;
}
