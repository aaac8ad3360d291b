// A trace with something changed in it and all its hashes right: what only a replay or a comparison can find.

import type { TraceEvent } from "../../src/trace/events.ts";
import type { TraceHeader } from "../../src/trace/format.ts";
import { Trace } from "../../src/trace/reader.ts";
import { TraceWriter } from "../../src/trace/writer.ts";

export interface Changes {
  readonly header?: (header: TraceHeader) => TraceHeader;
  /** @returns the events to write instead of event `index`: none, one or more */
  readonly event?: (event: TraceEvent, index: number) => readonly TraceEvent[];
  /** @returns the digest to write for chunk `number` */
  readonly digest?: (digest: Uint8Array, number: number) => Uint8Array;
}

export function rewritten(bytes: Uint8Array, { header, event, digest }: Changes): Uint8Array {
  const trace = new Trace(bytes);
  const pieces: Uint8Array[] = [];
  const writer = new TraceWriter(header?.(trace.header) ?? trace.header, (piece) => pieces.push(piece.slice()));
  let index = 0;
  let lastDigest: Uint8Array = new Uint8Array(16);
  for (const chunk of trace.chunks) {
    for (const original of trace.eventsOf(chunk)) {
      for (const changed of event?.(original, index) ?? [original]) writer.write(changed);
      index++;
    }
    lastDigest = digest?.(chunk.stateDigest, chunk.number) ?? chunk.stateDigest;
    writer.closeChunk(lastDigest);
  }
  if (trace.end !== undefined) writer.close(lastDigest, trace.end);
  return joined(pieces);
}

export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(pieces.flatMap((piece) => Array.from(piece)));
}
