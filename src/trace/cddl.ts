// Part: the trace file's schema in CDDL (RFC 8610), made from the catalogue so that it cannot fall behind it.

import { EVENT_KINDS, type EventKindName, FORMAT_VERSION } from "./events.ts";
import { fieldsOf } from "./rows.ts";

const PREAMBLE = `; A trace is a CBOR sequence (RFC 8742) of these records, in this order:
;   header, any number of chunks, index, end
; A recorder that was killed leaves out the last ones.
record = header / chunk / index / end

header = ["ringback-trace", header-map, hash: digest]
header-map = {
  format: ${FORMAT_VERSION},
  time: tstr,
  product: tstr,
  scenario: { name: tstr, ? module: tstr },
  seed: tstr,
  machine: { * tstr => any },
  images: [* { name: tstr, size: uint, sha256: tstr }],
  chunkEvents: uint,
}

chunk = [
  "chunk",
  number: uint,
  first: uint,           ; number of its first event in the trace
  events: uint,          ; how many there are
  from: uint,            ; ns; the first row's time is relative to it
  to: uint,              ; ns
  rows: [* event],
  state: bstr,           ; digest of the machine's whole state behind the last event
  previous: digest,      ; hash of the record before
  hash: digest,          ; SHA-256 of this record's bytes before the hash's head
]

index = ["index", [* [offset: uint, first: uint, from: uint]], previous: digest, hash: digest]
end = ["end", end-map, previous: digest, hash: digest]
end-map = { reason: tstr, events: uint, chunks: uint, durationNs: uint, retired: uint }

digest = bstr .size 32
since = uint             ; ns since the row before, for the first one since the chunk's "from"
delta = int              ; difference to the field of the kind's row before it in the chunk
`;

const TYPES = {
  uint: "uint",
  int: "int",
  delta: "delta",
  u64: "uint",
  text: "tstr",
  bytes: "bstr",
  bool: "bool",
  uints: "[* uint]",
} as const;

/** The whole schema as text. */
export function traceSchema(): string {
  const kinds = Object.keys(EVENT_KINDS) as EventKindName[];
  const union = `event = ${kinds.map((kind) => `${kind}-event`).join(" /\n  ")}\n`;
  return [PREAMBLE, union, ...kinds.map(rule)].join("\n");
}

function rule(kind: EventKindName): string {
  const { id, what } = EVENT_KINDS[kind];
  const fields = fieldsOf(kind).map(({ name, type, optional }) =>
    optional ? `  ? ${name}: ${TYPES[type]} / nil,` : `  ${name}: ${TYPES[type]},`,
  );
  return [`; ${what}`, `${kind}-event = [`, `  ${id},`, "  since,", ...fields, "]", ""].join("\n");
}
