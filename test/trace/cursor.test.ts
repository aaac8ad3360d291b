import { expect, test } from "vitest";
import { RowCursor } from "../../src/trace/cursor.ts";
import type { TraceEvent } from "../../src/trace/events.ts";
import type { ChunkRecord } from "../../src/trace/format.ts";
import { RowWriter } from "../../src/trace/row-writer.ts";

const FROM_NS = 100;
const EVENTS: readonly TraceEvent[] = [
  { kind: "irq-line", at: 100, line: "timer", level: true },
  { kind: "ring-index", at: 130, domain: 1, ring: "vbd", index: "req_prod", update: false, value: 70_000 },
  { kind: "ring-index", at: 130, domain: 1, ring: "vbd", index: "req_prod", update: false, value: 70_001 },
  { kind: "input", at: 131, channel: "console:guest", step: 4, data: Uint8Array.of(13) },
  { kind: "frame-arrival", at: 140, link: "lan", end: 1, number: 9 },
];

function encoded(events: readonly TraceEvent[]): Uint8Array {
  const writer = new RowWriter();
  writer.begin(FROM_NS);
  for (const event of events) writer.write(event);
  return writer.view().slice();
}

function cursor(rows = encoded(EVENTS), events = EVENTS): RowCursor {
  const chunk: ChunkRecord = {
    ...{ number: 0, first: 0, events: events.length, fromNs: FROM_NS, toNs: 140 },
    ...{ stateDigest: new Uint8Array(16), rows, offset: 0, length: rows.length },
  };
  return new RowCursor({ rowsOf: () => rows, eventsOf: () => [...events] }, chunk);
}

test("a cursor takes the rows' own events one after the other", () => {
  const rows = cursor();
  for (const event of EVENTS) {
    expect(rows.atEnd).toBe(false);
    expect(rows.nextKind()).toBe(event.kind);
    expect(rows.next()).toEqual(event);
    expect(rows.take(structuredClone(event))).toBe(true);
  }
  expect(rows.atEnd).toBe(true);
  expect(rows.nextKind()).toBeUndefined();
  expect(rows.next()).toBeUndefined();
  expect(rows.take(EVENTS[4]!)).toBe(false);
});

test.each<[string, number, TraceEvent]>([
  ["another kind", 0, { kind: "irq-delivery", at: 100, domain: 1, vcpu: 0, vector: 3 }],
  ["another time", 0, { kind: "irq-line", at: 101, line: "timer", level: true }],
  ["a time before the chunk's", 0, { kind: "irq-line", at: 99, line: "timer", level: true }],
  ["another text", 0, { kind: "irq-line", at: 100, line: "timeR", level: true }],
  ["another difference", 2, { ...EVENTS[2]!, value: 70_002 } as TraceEvent],
  ["a field too many", 4, { ...EVENTS[4]!, data: Uint8Array.of(1) } as TraceEvent],
])("an event that differs in %s is not taken, and the row stays the next one", (_what, index, other) => {
  const rows = cursor();
  for (const event of EVENTS.slice(0, index)) rows.take(event);
  expect(rows.take(other)).toBe(false);
  expect(rows.next()).toEqual(EVENTS[index]);
});

test("rows that are encoded at more length than needed say the same", () => {
  // The first row as array of two-byte head, kind and time as two-byte numbers.
  const first = encoded(EVENTS.slice(0, 1));
  const text = first.subarray(3);
  const long = Uint8Array.of(0x98, 4, 0x18, 4, 0x18, 0, ...text);
  const rows = cursor(Uint8Array.of(...long, ...encoded(EVENTS).subarray(first.length)));
  expect(rows.nextKind()).toBe("irq-line");
  for (const event of EVENTS) expect(rows.take(event)).toBe(true);
  expect(rows.atEnd).toBe(true);
});
