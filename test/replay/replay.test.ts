// What a replay notices: everything.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { divergenceReport } from "../../src/debug/report.ts";
import { record } from "../../src/replay/record.ts";
import { type Divergence, replay } from "../../src/replay/replayer.ts";
import type { TraceEvent } from "../../src/trace/events.ts";
import { Trace } from "../../src/trace/reader.ts";
import { fieldsOf } from "../../src/trace/rows.ts";
import { consoleInput, firstLight, load, recordedConsole, recordedDisk } from "../support/recorded.ts";
import { rewritten } from "../support/rewrite.ts";

function divergenceOf(bytes: Uint8Array, scenario = consoleInput): Divergence {
  const { divergence } = replay(bytes, scenario, load);
  expect(divergence).toBeDefined();
  return divergence!;
}

/** The event with one field another, and still one that the catalogue allows. */
function tampered(event: TraceEvent, fieldIndex: number): { event: TraceEvent; field: string } | undefined {
  const fields = fieldsOf(event.kind).filter(
    ({ name }) => (event as unknown as Record<string, unknown>)[name] !== undefined,
  );
  const field = fields[fieldIndex % Math.max(1, fields.length)];
  if (field === undefined) return undefined;
  const value = (event as unknown as Record<string, unknown>)[field.name];
  return { event: { ...event, [field.name]: another(value) } as TraceEvent, field: field.name };
}

function another(value: unknown): unknown {
  if (typeof value === "number") return value === 0 ? 1 : value - 1;
  if (typeof value === "bigint") return value ^ 1n;
  if (typeof value === "boolean") return !value;
  if (typeof value === "string") return `${value}!`;
  if (value instanceof Uint8Array)
    return value.length === 0 ? Uint8Array.of(1) : value.map((byte, index) => (index === 0 ? byte ^ 1 : byte));
  if (Array.isArray(value)) return [...value, 7];
  throw new Error(`no other value for ${String(value)}`);
}

describe("replaying", () => {
  it("a whole trace finds it identical", () => {
    const { bytes, trace } = recordedConsole();
    const events = [...trace.events()].length;
    expect(replay(bytes, consoleInput, load)).toEqual({ divergence: undefined, events, complete: true });
  });

  it("diverges at any event that was changed, whatever field of it", () => {
    const { bytes, trace } = recordedConsole();
    const events = [...trace.events()];
    fc.assert(
      fc.property(fc.nat(events.length - 1), fc.nat(20), (index, fieldIndex) => {
        const change = tampered(events[index]!, fieldIndex);
        // Input is what replay takes from the trace: see the test below.
        fc.pre(change !== undefined && events[index]!.kind !== "input");
        const divergence = divergenceOf(
          rewritten(bytes, { event: (event, at) => [at === index ? change!.event : event] }),
        );
        expect(divergence).toMatchObject({ kind: "event", event: index, fields: [change!.field] });
        expect(divergence.recorded).toEqual(change!.event);
        expect(divergence.replayed).toEqual(events[index]);
        expect(divergence.agreed).toEqual(events[index - 1]);
      }),
      { numRuns: 25 },
    );
  });

  it("diverges at an event whose time was changed", () => {
    const { bytes, trace } = recordedConsole();
    const events = [...trace.events()];
    const index = events.findIndex(({ at }, place) => place > 10 && at > events[place - 1]!.at);
    const divergence = divergenceOf(
      rewritten(bytes, { event: (event, at) => [at === index ? { ...event, at: event.at - 1 } : event] }),
    );
    expect(divergence).toMatchObject({ event: index, fields: ["at"] });
  });

  it("diverges where an event was taken out", () => {
    const { bytes, trace } = recordedConsole();
    const events = [...trace.events()];
    const divergence = divergenceOf(rewritten(bytes, { event: (event, at) => (at === 20 ? [] : [event]) }));
    expect(divergence.event).toBe(20);
    expect(divergence.replayed).toEqual(events[20]);
  });

  it("diverges where an event was put in, at the end of a chunk too", () => {
    const { bytes, trace } = recordedConsole();
    for (const index of [20, 49]) {
      const extra: TraceEvent = { kind: "irq-line", at: [...trace.events()][index]!.at, line: "none", level: true };
      const divergence = divergenceOf(
        rewritten(bytes, { event: (event, at) => (at === index ? [event, extra] : [event]) }),
      );
      expect(divergence).toMatchObject({ event: index + 1, recorded: extra });
    }
  });

  it("with other input goes another way", () => {
    const { bytes, trace } = recordedConsole();
    const index = [...trace.events()].findIndex(({ kind }) => kind === "input");
    const divergence = divergenceOf(
      rewritten(bytes, {
        event: (event, at) => [
          at === index && event.kind === "input"
            ? { ...event, data: new TextEncoder().encode("echo bello, ringback\n") }
            : event,
        ],
      }),
    );
    expect(divergence.event).toBeGreaterThan(index);
  });

  it("with another seed goes another way", () => {
    const { bytes } = recordedDisk();
    const divergence = divergenceOf(rewritten(bytes, { header: (header) => ({ ...header, seed: "2" }) }), firstLight);
    expect(divergence.chunk).toBe(0);
    expect(divergenceReport(divergence)).toMatch(/diverged (at|behind) event \d+/);
  });

  it("with a slower machine goes another way", () => {
    const { bytes } = recordedConsole();
    const changed = rewritten(bytes, {
      header: (header) => ({ ...header, machine: { ...header.machine, exitCostNs: 999 } }),
    });
    expect(divergenceOf(changed).fields).toEqual(["at"]);
  });

  it("names the chunk whose state digest breaks when all its events agree", () => {
    const { bytes, trace } = recordedConsole();
    const divergence = divergenceOf(
      rewritten(bytes, { digest: (digest, number) => (number === 2 ? new Uint8Array(16) : digest) }),
    );
    expect(divergence).toMatchObject({ kind: "digest", chunk: 2, event: trace.chunks[3]!.first });
    expect(divergenceReport(divergence)).toContain("first broken digest: chunk 2");
  });

  it("shows registers and the code at the instruction pointer beside a divergence", () => {
    const { bytes, trace } = recordedConsole();
    const index = [...trace.events()].findIndex(
      ({ kind, ...event }) => kind === "vm-exit" && "reason" in event && event.reason === 10,
    );
    const report = divergenceReport(
      divergenceOf(
        rewritten(bytes, {
          event: (event, at) => [at === index && event.kind === "vm-exit" ? { ...event, qualification: 1 } : event],
        }),
      ),
    );
    expect(report).toMatch(/qualification: recorded 1, replayed 0/);
    expect(report).toMatch(/EIP {4}[0-9a-f]{8}/);
    expect(report).toMatch(/^> [0-9a-f]{8} {2}0fa2 +cpuid$/m);
  });

  it("of what a killed recorder left ends at its last whole chunk", () => {
    const { bytes, trace } = recordedConsole();
    for (const kept of [0, 1, 3]) {
      const end =
        kept === 0 ? trace.chunks[0]!.offset : trace.chunks[kept - 1]!.offset + trace.chunks[kept - 1]!.length;
      // Cut between records, and in the middle of the next one.
      for (const cut of [end, end + 40]) {
        const events = trace.chunks.slice(0, kept).reduce((sum, chunk) => sum + chunk.events, 0);
        const result = replay(bytes.slice(0, cut), consoleInput, load);
        expect(result).toEqual({ divergence: undefined, events, complete: false });
      }
    }
  });

  it("refuses a trace with a hole in it", () => {
    const { bytes, trace } = recordedConsole();
    const { offset, length } = trace.chunks[1]!;
    const holed = new Uint8Array([...bytes.subarray(0, offset), ...bytes.subarray(offset + length)]);
    expect(() => replay(holed, consoleInput, load)).toThrow(/^chunk 1: missing/);
  });

  it("refuses an image that is not what it was, and one that is gone", () => {
    const { bytes } = recordedConsole();
    const changed = rewritten(bytes, {
      header: (header) => ({ ...header, images: header.images.map((image) => ({ ...image, sha256: "0".repeat(64) })) }),
    });
    expect(() => replay(changed, consoleInput, load)).toThrow(
      /^image guest: differs from the one the trace was recorded with/,
    );
    expect(() => replay(bytes, { ...consoleInput, images: {} }, load)).toThrow(/^image guest: the trace needs it/);
  });

  it("refuses a header whose machine is none", () => {
    const { bytes } = recordedConsole();
    for (const machine of [{}, { domains: 3 }, { domains: [{ name: 1 }], nsPerInstruction: [1, 1] }]) {
      const changed = rewritten(bytes, { header: (header) => ({ ...header, machine }) });
      expect(() => replay(changed, consoleInput, load)).toThrow(/^machine configuration, domains/);
    }
  });
});

describe("recording", () => {
  it("in chunks of another size gives the same events and the same end", () => {
    const { trace } = recordedConsole();
    for (const chunkEvents of [1, 7, 100_000]) {
      const other = record(consoleInput, { load, chunkEvents });
      expect([...other.trace.events()]).toEqual([...trace.events()]);
      expect(other.trace.end).toEqual({ ...trace.end, chunks: other.trace.chunks.length });
      expect(replay(other.bytes, consoleInput, load).divergence).toBeUndefined();
    }
  });

  it("twice gives the same bytes, and its SHA-256 is the file's", () => {
    const first = recordedConsole();
    const second = record(consoleInput, { load, chunkEvents: 50 });
    expect(second.bytes).toEqual(first.bytes);
    expect(second.sha256).toBe(new Trace(first.bytes).sha256());
  });

  it("says of an expectation whose code throws that it did not hold, and why", () => {
    const { outcomes } = record(
      {
        ...consoleInput,
        expect: {
          "is wrong": () => {
            throw new TypeError("no such thing");
          },
          holds: () => true,
        },
      },
      { load },
    );
    expect(outcomes).toEqual([
      { expectation: "is wrong", held: false, problem: "TypeError: no such thing" },
      { expectation: "holds", held: true },
    ]);
  });
});
