// Part: the trace file: a CBOR sequence (RFC 8742) of records, each an array that begins with its name and ends with its hash.
//
//   ["ringback-trace", header, hash]
//   ["chunk", number, first event, events, from ns, to ns, rows, state digest, previous hash, hash]   any number of times
//   ["index", [[offset, first event, from ns] for each chunk], previous hash, hash]
//   ["end", {...}, previous hash, hash]
//
// A record's hash is the SHA-256 of the record's bytes before it (without the hash's own two-byte head), and every record but the
// first carries the hash of the record before it: a chain, and yet each record can be checked by itself. A recorder that
// dies leaves a sequence without its last records, which is still a trace.

export const MAGIC = "ringback-trace";
export const HASH_BYTES = 32;
/** The hash and its CBOR head (0x58 0x20). */
export const SEALED_BYTES = HASH_BYTES + 2;

/** What the header says of one image that the machine was given. */
export interface ImageRecord {
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** SHA-256, 64 hexadecimal digits. */
  readonly sha256: string;
}

export interface TraceHeader {
  /** Of the file format, see FORMAT_VERSION. */
  readonly format: number;
  /** What an event's time means. */
  readonly time: string;
  /** The program that recorded, with its version. */
  readonly product: string;
  /** The scenario's name, and the module it came from when it is not a bundled one. */
  readonly scenario: { readonly name: string; readonly module?: string };
  readonly seed: string;
  /** The machine's configuration, plain data without its images' bytes. */
  readonly machine: object;
  readonly images: readonly ImageRecord[];
  /** Events after which the recorder closes a chunk at the next instruction boundary it stops at. */
  readonly chunkEvents: number;
}

export interface TraceEnd {
  readonly reason: string;
  readonly events: number;
  readonly chunks: number;
  /** Virtual time at the end. */
  readonly durationNs: number;
  /** Instructions that the processor retired. */
  readonly retired: number;
}

export interface ChunkRecord {
  readonly number: number;
  /** Number of its first event in the trace. */
  readonly first: number;
  readonly events: number;
  readonly fromNs: number;
  readonly toNs: number;
  /** Digest of the machine's whole state behind its last event. */
  readonly stateDigest: Uint8Array;
  /** The array of its rows as it is encoded: a view of the file. */
  readonly rows: Uint8Array;
  /** Where the record lies in the file. */
  readonly offset: number;
  readonly length: number;
}

/** A record that cannot be trusted. */
export interface Damage {
  /** "chunk 7", "index", "bytes" (which chunk cannot be told), … */
  readonly what: string;
  readonly offset: number;
  readonly problem: string;
  /** It is the file's last record, and the file ends inside it: what a recorder leaves that was killed while it wrote. */
  readonly cutOff: boolean;
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
