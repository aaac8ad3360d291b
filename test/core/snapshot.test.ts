import { expect, test } from "vitest";
import { Clock } from "../../src/core/clock.ts";
import { sha256Hex } from "../../src/core/digest.ts";
import { InputError } from "../../src/core/errors.ts";
import { IrqLine } from "../../src/core/irq.ts";
import { GuestMemory } from "../../src/core/memory.ts";
import { encodePlain } from "../../src/core/plain-data.ts";
import { RandomStreams } from "../../src/core/random.ts";
import { decodeSnapshot, encodeSnapshot, SnapshotRegistry } from "../../src/core/snapshot.ts";

/** A small machine: a timer that draws a random delay, stores it and pulses a line. */
function machine() {
  const clock = new Clock();
  const random = new RandomStreams(1);
  const memory = new GuestMemory(new WebAssembly.Memory({ initial: 1, maximum: 1 }), 0, 0x10000);
  const edges: string[] = [];
  const line = new IrqLine("irq0", (level) => edges.push(`${level}@${clock.now}`));
  const timer = line.source("timer");
  const delays = random.stream("delays");
  const alarm = clock.alarm("timer", () => {
    timer.set(!timer.level);
    memory.store32(delays.below(0x3fff) * 4, delays.uint32());
    alarm.set(clock.now + delays.between(1, 100));
  });
  alarm.set(10);
  const registry = new SnapshotRegistry();
  registry.register("clock", 1, clock);
  registry.register("random", 1, random);
  registry.register("memory", 1, memory);
  registry.register("irq0", 1, line);
  return { clock, memory, edges, registry };
}

test("a restored machine goes on exactly as the one that was saved", () => {
  const original = machine();
  original.clock.advanceTo(5_000);
  const bytes = encodeSnapshot(original.registry.save());
  const edgesBefore = original.edges.length;
  original.clock.advanceTo(20_000);

  const restored = machine();
  restored.clock.advanceTo(333);
  restored.edges.length = 0;
  restored.registry.load(decodeSnapshot(bytes, "checkpoint"));
  expect(restored.edges).toEqual([]);
  expect(sha256Hex(encodeSnapshot(restored.registry.save()))).toBe(sha256Hex(bytes));
  restored.clock.advanceTo(20_000);
  expect(restored.edges).toEqual(original.edges.slice(edgesBefore));
  expect(sha256Hex(encodeSnapshot(restored.registry.save()))).toBe(sha256Hex(encodeSnapshot(original.registry.save())));
});

test("a snapshot with other parts, another order or another version is bad input and nothing is loaded", () => {
  const { registry, clock } = machine();
  const snapshot = registry.save();
  clock.advanceTo(5);
  for (const parts of [
    snapshot.parts.slice(1),
    snapshot.parts.toReversed(),
    snapshot.parts.map((part) => (part.name === "irq0" ? { ...part, version: 2 } : part)),
    [...snapshot.parts, { name: "stranger", version: 1, state: null }],
  ]) {
    expect(() => registry.load({ parts })).toThrow(InputError);
    expect(clock.now).toBe(5);
  }
  registry.load(snapshot);
  expect(clock.now).toBe(0);
});

test("two parts cannot share a name", () => {
  expect(() => machine().registry.register("clock", 1, new Clock())).toThrow(InputError);
});

test("bytes that are no snapshot are bad input", () => {
  for (const value of [1, null, [], {}, { parts: 1 }, { parts: [1] }, { parts: [{ name: "clock", version: 1 }] }]) {
    expect(() => decodeSnapshot(encodePlain(value), "checkpoint")).toThrow(/^checkpoint: not a/);
  }
});

test("a summary holds the digest of a part that keeps one, and the state of every other", () => {
  const registry = new SnapshotRegistry();
  const part = (state: number) => ({ save: () => state, load: () => {} });
  registry.register("small", 1, part(7));
  registry.register("large", 2, part(8), () => 99n);
  expect(registry.summary()).toEqual({
    parts: [
      { name: "small", version: 1, state: 7 },
      { name: "large", version: 2, state: 99n },
    ],
  });
  expect(registry.save().parts[1]).toEqual({ name: "large", version: 2, state: 8 });
});
