// Arbitrary event lists, made from the catalogue, so that a new kind is covered as soon as it has a row there.

import fc from "fast-check";
import { EVENT_KINDS, type EventKindName, type TraceEvent } from "../../src/trace/events.ts";
import { fieldsOf } from "../../src/trace/rows.ts";

const uint = fc.oneof(fc.nat(255), fc.nat(), fc.maxSafeNat());

const VALUES = {
  uint,
  delta: uint,
  int: fc.oneof(fc.integer(), fc.maxSafeInteger()),
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  text: fc.string({ unit: "grapheme", maxLength: 20 }),
  bytes: fc.uint8Array({ maxLength: 40 }),
  bool: fc.boolean(),
  uints: fc.array(uint, { maxLength: 12 }),
} as const;

const anyEvent = fc.constantFrom(...(Object.keys(EVENT_KINDS) as EventKindName[])).chain((kind) => {
  const fields = fieldsOf(kind);
  const shape = Object.fromEntries(fields.map(({ name, type }) => [name, VALUES[type] as fc.Arbitrary<unknown>]));
  return fc
    .record(shape, { requiredKeys: fields.filter(({ optional }) => !optional).map(({ name }) => name) })
    .map((values) => ({ kind, ...values }));
});

/** Up to thirty events in the order of time. */
export const traceEvents: fc.Arbitrary<TraceEvent[]> = fc
  .array(fc.tuple(fc.nat(1_000_000_000), anyEvent), { maxLength: 30 })
  .map((pairs) => {
    let at = 0;
    return pairs.map(([step, event]) => {
      at += step;
      return { at, ...event } as unknown as TraceEvent;
    });
  });
