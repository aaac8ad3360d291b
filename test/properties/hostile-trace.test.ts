// A trace whose hashes are right and whose contents are nonsense: another tool's bug, or somebody's intent. Each is an InputError or is read.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { itemEnd } from "../../src/core/cbor.ts";
import { Sha256 } from "../../src/core/digest.ts";
import { InputError } from "../../src/core/errors.ts";
import { describeEvent, eventJson } from "../../src/debug/describe.ts";
import { completeConfig, type MachineConfig } from "../../src/machine/config.ts";
import { FORMAT_VERSION } from "../../src/trace/events.ts";
import { Trace } from "../../src/trace/reader.ts";
import { TraceWriter } from "../../src/trace/writer.ts";
import { joined } from "../support/rewrite.ts";
import { traceEvents } from "../support/trace-events.ts";

const HASH = 34;

function pieces(events: Parameters<TraceWriter["write"]>[0][]): Uint8Array[] {
  const records: Uint8Array[] = [];
  const machine = { domains: [{ name: "a", kernel: "k", memoryMiB: 16 }], nsPerInstruction: [1, 1] };
  const header = {
    format: FORMAT_VERSION,
    time: "ns",
    product: "p",
    scenario: { name: "s" },
    seed: "1",
    machine,
    images: [],
  };
  const writer = new TraceWriter({ ...header, chunkEvents: 8 }, (record) => records.push(record.slice()));
  for (const event of events) {
    writer.write(event);
    if (writer.full) writer.closeChunk(new Uint8Array(16));
  }
  writer.close(new Uint8Array(16), { reason: "end", durationNs: events.at(-1)?.at ?? 0, retired: 1 });
  return records;
}

/** The record with one byte another and its hash right again; the chain behind it is repaired too. */
function resealed(records: readonly Uint8Array[], target: number, place: number, value: number): Uint8Array {
  const copies = records.map((record) => record.slice());
  const changed = copies[target]!;
  changed[place % (changed.length - HASH)] = value;
  for (const [index, record] of copies.entries()) {
    if (index > target) record.set(copies[index - 1]!.subarray(-32), record.length - 2 * HASH + 2);
    if (index >= target) record.set(new Sha256().update(record.subarray(0, -HASH)).digest(), record.length - 32);
  }
  return joined(copies);
}

/** Everything that a reader does with a file. */
function readAll(bytes: Uint8Array): void {
  const trace = new Trace(bytes);
  for (const event of trace.events()) {
    describeEvent(event);
    eventJson(event);
  }
  completeConfig(trace.header.machine as MachineConfig);
}

function isReadOrRefused(bytes: Uint8Array): void {
  try {
    readAll(bytes);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    expect(error.message).not.toBe("");
  }
}

describe("a trace with right hashes around wrong contents", () => {
  it("is read or refused as bad input, whatever byte of whatever record is wrong", () => {
    fc.assert(
      fc.property(traceEvents, fc.nat(), fc.nat(), fc.nat(255), (events, target, place, value) => {
        const records = pieces(events);
        isReadOrRefused(resealed(records, target % records.length, place, value));
      }),
      { numRuns: 3000 },
    );
  });

  it("is read or refused when it is any bytes at all behind a trace's beginning", () => {
    const [header] = pieces([]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        isReadOrRefused(bytes);
        isReadOrRefused(joined([header!, bytes]));
      }),
    );
  });
});

describe("a file full of beginnings that share one end", () => {
  it("is told to be damaged without hashing it once for each", () => {
    const [header] = pieces([]);
    const count = 50_000;
    // ["chunk", <bytes up to the tail>, 0, 0, 0, 0, 0, 0, 0, hash]
    const head = Uint8Array.of(0x8a, 0x65, ...Buffer.from("chunk"), 0x5a, 0, 0, 0, 0);
    const tail = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x58, 32, ...new Uint8Array(32));
    const body = new Uint8Array(count * head.length + tail.length);
    for (let index = 0; index < count; index++) {
      const at = index * head.length;
      body.set(head, at);
      new DataView(body.buffer).setUint32(at + head.length - 4, (count - 1 - index) * head.length);
    }
    body.set(tail, count * head.length);
    const file = new Uint8Array([...header!, ...body]);
    const { chunks, damage } = new Trace(file);
    expect(chunks).toEqual([]);
    expect(damage[0]).toMatchObject({ offset: header!.length, problem: "its hash does not match" });
  });
});

describe("the end of an item", () => {
  it("is found without an allocation or a loop that the bytes' own lengths could stretch", () => {
    for (const hex of ["9bffffffffffffffff", "5bffffffffffffffff", "bbffffffffffffffff00", "8181818181818181"]) {
      expect(itemEnd(Uint8Array.from(Buffer.from(hex, "hex")), 0)).toBe(-1);
    }
    expect(() => itemEnd(new Uint8Array(100).fill(0x81), 0)).toThrow("nested too deeply");
  });

  it("is not found in a map whose keys are not text: the decoder cannot take them", () => {
    expect(itemEnd(Uint8Array.from(Buffer.from("a261610161620200", "hex")), 0)).toBe(7);
    for (const hex of ["a10001", "a141610100", "a16161a1810001"]) {
      expect(() => itemEnd(Uint8Array.from(Buffer.from(hex, "hex")), 0)).toThrow("a map key that is not text");
    }
  });
});
