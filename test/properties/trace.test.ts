// What must hold for every trace: it reads back as written, any flipped bit is found and located, any cut leaves its whole chunks.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TraceEvent } from "../../src/trace/events.ts";
import { FORMAT_VERSION } from "../../src/trace/events.ts";
import type { TraceHeader } from "../../src/trace/format.ts";
import { Trace } from "../../src/trace/reader.ts";
import { TraceWriter } from "../../src/trace/writer.ts";
import { traceEvents } from "../support/trace-events.ts";

const header: TraceHeader = {
  format: FORMAT_VERSION,
  time: "virtual nanoseconds since power-on",
  product: "ringback test",
  scenario: { name: "none" },
  seed: "1",
  machine: { ramBytes: 1 },
  images: [],
  chunkEvents: 5,
};

function record(events: readonly TraceEvent[], closed = true): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  const writer = new TraceWriter(header, (piece) => pieces.push(piece.slice()));
  const digest = new Uint8Array(8);
  for (const event of events) {
    writer.write(event);
    if (writer.full) writer.closeChunk(digest);
  }
  if (closed) writer.close(digest, { reason: "done", durationNs: events.at(-1)?.at ?? 0, retired: 7 });
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

describe("a trace", () => {
  it("reads back as it was written, whatever the events are", () => {
    fc.assert(
      fc.property(traceEvents, (events) => {
        const trace = new Trace(record(events));
        expect(trace.damage).toEqual([]);
        expect([...trace.events()]).toEqual(events);
        expect(trace.end).toMatchObject({ reason: "done", events: events.length, retired: 7 });
      }),
    );
  });

  it("names the damaged record after any single flipped bit, and still reads the others", () => {
    fc.assert(
      fc.property(traceEvents, fc.nat(), (events, position) => {
        const bytes = record(events);
        const whole = new Trace(bytes);
        const bit = position % (8 * bytes.length);
        const place = bit >>> 3;
        bytes[place]! ^= 1 << (bit & 7);
        const hit = whole.chunks.findIndex(({ offset, length }) => place >= offset && place < offset + length);
        const headerEnd = whole.chunks[0]?.offset ?? bytes.length;
        if (place < headerEnd && (hit === 0 || whole.chunks.length > 0)) {
          expect(() => new Trace(bytes)).toThrow();
          return;
        }
        if (whole.chunks.length === 0) return;
        const damaged = new Trace(bytes);
        expect(damaged.damage.length).toBeGreaterThan(0);
        if (hit >= 0) expect(damaged.damage[0]?.what).toBe(`chunk ${hit}`);
        const kept = whole.chunks.filter((_, index) => index !== hit).map(({ number }) => number);
        expect(damaged.chunks.map(({ number }) => number)).toEqual(kept);
      }),
    );
  });

  it("cut anywhere behind its header is readable up to its last whole chunk", () => {
    fc.assert(
      fc.property(traceEvents, fc.nat(), (events, at) => {
        const bytes = record(events);
        const whole = new Trace(bytes);
        const first = whole.chunks[0];
        if (first === undefined) return;
        const cut = first.offset + (at % (bytes.length - first.offset));
        const trace = new Trace(bytes.slice(0, cut));
        const kept = whole.chunks.filter(({ offset, length }) => offset + length <= cut);
        expect(trace.chunks).toEqual(kept);
        expect(trace.end).toBeUndefined();
      }),
    );
  });
});
