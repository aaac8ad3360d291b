// The trace format as docs/trace-format.md describes it, held against traces of real runs, with a CBOR decoder that knows nothing of traces.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeMultiple } from "cbor-x";
import { describe, expect, it } from "vitest";
import { itemEnd } from "../../src/core/cbor.ts";
import type { Recording } from "../../src/replay/record.ts";
import { traceSchema } from "../../src/trace/cddl.ts";
import { EVENT_KINDS, FORMAT_VERSION } from "../../src/trace/events.ts";
import { Schema } from "../support/cddl.ts";
import { recordedConsole, recordedDisk } from "../support/recorded.ts";

const text = readFileSync(join(import.meta.dirname, "../../docs/trace-format.md"), "utf8");
const block = /```cddl\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
const schema = new Schema(block);

const recordsOf = ({ bytes }: Recording): unknown[][] => decodeMultiple(bytes) as unknown[][];
const RULES: Readonly<Record<string, string>> = {
  "ringback-trace": "header",
  chunk: "chunk",
  index: "index",
  end: "end",
};

describe("docs/trace-format.md", () => {
  it("holds the schema that the catalogue gives (npx jiti scripts/trace-schema.ts writes it)", () => {
    expect(block).toBe(traceSchema());
  });

  it("has a rule for every kind of event", () => {
    expect(schema.rules).toEqual(expect.arrayContaining(Object.keys(EVENT_KINDS).map((kind) => `${kind}-event`)));
  });
});

describe.each([
  ["console-input", recordedConsole],
  ["first-light", recordedDisk],
])("a trace of %s", (_, recorded) => {
  it("is a CBOR sequence of the records that the schema describes, in their order", () => {
    const records = recordsOf(recorded());
    const names = records.map(([name]) => String(name));
    expect(names.join(" ")).toMatch(/^ringback-trace (chunk )+index end$/);
    for (const record of records) {
      expect(schema.matches("record", record)).toBe(true);
      expect(schema.matches(RULES[String(record[0])]!, record)).toBe(true);
    }
  });

  it("has the hash chain that the document describes", () => {
    const { bytes } = recorded();
    let previous: Uint8Array | undefined;
    for (let start = 0, end = 0; start < bytes.length; start = end) {
      end = itemEnd(bytes, start);
      const record = bytes.subarray(start, end);
      const hash = createHash("sha256").update(record.subarray(0, -34)).digest();
      expect(record.subarray(-32)).toEqual(new Uint8Array(hash));
      if (previous !== undefined) expect(record.subarray(-66, -34)).toEqual(previous);
      previous = record.slice(-32);
    }
  });

  it("has an index that finds each chunk", () => {
    const { bytes, trace } = recorded();
    const [, entries] = recordsOf(recorded()).at(-2) as [string, [number, number, number][]];
    expect(entries).toEqual(trace.chunks.map(({ offset, first, fromNs }) => [offset, first, fromNs]));
    for (const [offset] of entries)
      expect([...bytes.subarray(offset, offset + 7)]).toEqual([0x8a, 0x65, ...Buffer.from("chunk")]);
  });
});

describe("the schema", () => {
  const chunk = () => structuredClone(recordsOf(recordedConsole())[1]!);
  const rows = (record: unknown[]) => record[6] as unknown[][];

  it.each<[string, (record: unknown[]) => void]>([
    ["without its hash", (record) => record.pop()],
    ["with something behind its hash", (record) => record.push(1)],
    ["with a hash that is too short", (record) => record.splice(9, 1, new Uint8Array(31))],
    ["with text for a number", (record) => record.splice(1, 1, "0")],
    ["with a negative time", (record) => rows(record)[3]!.splice(1, 1, -1)],
    ["with an event of a kind that there is not", (record) => rows(record)[3]!.splice(0, 1, 99)],
    ["with an event that lacks a field", (record) => rows(record)[3]!.splice(2)],
    ["with an event of too many fields", (record) => rows(record)[3]!.push(1, 2, 3, 4, 5, 6, 7, 8, 9)],
    ["with an event that is no array", (record) => rows(record).splice(3, 1, { 0: 1 } as unknown as unknown[])],
  ])("refuses a chunk %s", (_, spoil) => {
    const record = chunk();
    expect(schema.matches("chunk", record)).toBe(true);
    spoil(record);
    expect(schema.matches("chunk", record)).toBe(false);
    expect(schema.matches("record", record)).toBe(false);
  });

  it("refuses a header with another format, without a field or with one too many", () => {
    const header = () =>
      structuredClone(recordsOf(recordedConsole())[0]!) as [string, Record<string, unknown>, Uint8Array];
    expect(schema.matches("header", header())).toBe(true);
    for (const change of [
      { format: FORMAT_VERSION + 1 },
      { seed: undefined },
      { extra: 1 },
      { images: [{ name: "x" }] },
    ]) {
      const [name, map, hash] = header();
      const changed = Object.fromEntries(
        Object.entries({ ...map, ...change }).filter(([, value]) => value !== undefined),
      );
      expect(schema.matches("header", [name, changed, hash])).toBe(false);
    }
  });
});
