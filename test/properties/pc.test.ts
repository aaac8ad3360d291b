// Properties of the PC platform: whatever a guest does to its ports and memory, in whatever order and width, costs bounded work, never throws,
// gives values of the width that was asked for, and can be saved and carried on elsewhere with the same answers.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AccessWidth } from "../../src/core/bus.ts";
import { sha256Hex } from "../../src/core/digest.ts";
import { decodeSnapshot, encodeSnapshot } from "../../src/core/snapshot.ts";
import { BOARD, type BoardKind } from "../../src/devices/pc/board.ts";
import { Rig } from "../devices/pc/rig.ts";

type Action =
  | { kind: "in"; address: number; width: AccessWidth; memory: boolean }
  | { kind: "out"; address: number; width: AccessWidth; value: number; memory: boolean }
  | { kind: "pass"; nanoseconds: number }
  | { kind: "irq"; irq: number; level: boolean }
  | { kind: "intx"; device: number; intx: number; level: boolean }
  | { kind: "callback"; gsi: number; level: boolean }
  | { kind: "vector"; vector: number }
  | { kind: "acknowledge" }
  | { kind: "key"; codes: number[] }
  | { kind: "serial"; bytes: Uint8Array };

const within = (ranges: readonly (readonly [number, number])[]): fc.Arbitrary<number> =>
  fc.oneof(...ranges.map(([first, length]) => fc.integer({ min: first, max: first + Math.min(length, 0x1000) - 1 })));
const anyPort = fc.oneof(
  { weight: 8, arbitrary: within(BOARD.flatMap((row) => row.ports ?? [])) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }) },
);
const anyAddress = within(BOARD.flatMap((row) => row.addresses ?? []));
const width = fc.constantFrom<AccessWidth>(1, 2, 4);
const anyValue = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.nat(0xffff_ffff), fc.constant(0xffff_ffff));
/** Configuration accesses that reach a function are rare by chance alone. */
const configuration = fc
  .tuple(fc.constantFrom(0, 8, 9, 11, 24), fc.integer({ min: 0, max: 63 }))
  .map(([place, register]) => (0x8000_0000 | (place << 8) | (register << 2)) >>> 0);

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("out" as const),
      address: anyPort,
      width,
      value: anyValue,
      memory: fc.constant(false),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("in" as const), address: anyPort, width, memory: fc.constant(false) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("out" as const),
      address: anyAddress,
      width,
      value: anyValue,
      memory: fc.constant(true),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("in" as const), address: anyAddress, width, memory: fc.constant(true) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("out" as const),
      address: fc.constant(0xcf8),
      width: fc.constant<AccessWidth>(4),
      value: configuration,
      memory: fc.constant(false),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), nanoseconds: fc.integer({ min: 0, max: 2_000_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("irq" as const),
      irq: fc.integer({ min: 0, max: 15 }),
      level: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("intx" as const),
      device: fc.integer({ min: 0, max: 31 }),
      intx: fc.integer({ min: 0, max: 3 }),
      level: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("callback" as const),
      gsi: fc.integer({ min: 0, max: 255 }),
      level: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("vector" as const), vector: fc.integer({ min: 0, max: 255 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("acknowledge" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("key" as const),
      codes: fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("serial" as const), bytes: fc.uint8Array({ maxLength: 40 }) }),
  },
);

/** What the guest sees of an action. */
function perform(rig: Rig, step: Action): number {
  switch (step.kind) {
    case "in":
      return (step.memory ? rig.mmio : rig.ports).read(step.address, step.width);
    case "out":
      (step.memory ? rig.mmio : rig.ports).write(step.address, step.width, step.value);
      return 0;
    case "pass":
      rig.pass(step.nanoseconds);
      return 0;
    case "irq":
      rig.platform.setIsaIrqLevel(step.irq, step.level);
      return 0;
    case "intx":
      rig.platform.setPciIntxLevel(step.device, step.intx, step.level);
      return 0;
    case "callback":
      rig.platform.setCallbackLevel(step.gsi, step.level);
      return 0;
    case "vector":
      return rig.platform.requestVector(step.vector) ? 1 : 0;
    case "acknowledge":
      return rig.platform.interruptPending ? rig.platform.acknowledgeInterrupt() : -1;
    case "key":
      return rig.platform.keyboard.pressKey(step.codes) ? 1 : 0;
    case "serial":
      return rig.platform.com1.send(step.bytes);
  }
}

const digest = (rig: Rig): string => sha256Hex(encodeSnapshot(rig.snapshots.save()));

const rigOf = (kind: BoardKind): Rig => new Rig({ kind, xenPlatform: kind === "pc" });

/** Parts that a reset does not take back: time goes on. */
const KEPT: readonly string[] = ["clock", "pc rtc", "pc piix4 pm"];
const resettable = (rig: Rig): readonly (readonly [string, string])[] =>
  rig.snapshots
    .save()
    .parts.filter(({ name }) => !KEPT.includes(name))
    .map((part) => [part.name, sha256Hex(encodeSnapshot({ parts: [part] }))]);

const boards = fc.constantFrom("pc" as const, "isapc" as const);

describe("the PC platform", () => {
  test("answers any sequence of accesses with values of their width", () => {
    fc.assert(
      fc.property(boards, fc.array(action, { maxLength: 200 }), (kind, actions) => {
        const rig = rigOf(kind);
        for (const step of actions) {
          const value = perform(rig, step);
          if (step.kind === "in") {
            expect(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff >>> (32 - 8 * step.width)).toBe(true);
          }
          if (step.kind === "acknowledge") expect(value >= -1 && value <= 255).toBe(true);
        }
        rig.platform.vga.screen();
      }),
      { numRuns: 300 },
    );
  });

  test("is after a reset what it was at power-on, whatever happened before", () => {
    fc.assert(
      fc.property(boards, fc.array(action, { maxLength: 100 }), (kind, actions) => {
        const rig = rigOf(kind);
        const powerOn = resettable(rig);
        for (const step of actions) perform(rig, step);
        rig.platform.reset();
        expect(resettable(rig)).toEqual(powerOn);
        expect(rig.platform.interruptPending).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test("carries on from a snapshot with the same answers and the same state", () => {
    fc.assert(
      fc.property(
        boards,
        fc.array(action, { maxLength: 100 }),
        fc.array(action, { maxLength: 60 }),
        (kind, before, after) => {
          const rig = rigOf(kind);
          for (const step of before) perform(rig, step);
          const bytes = encodeSnapshot(rig.snapshots.save());
          const other = rigOf(kind);
          other.snapshots.load(decodeSnapshot(bytes, "snapshot"));
          // Memory is another part's state.
          other.memory.set(rig.memory);
          expect(digest(other)).toBe(sha256Hex(bytes));
          expect(after.map((step) => perform(other, step))).toEqual(after.map((step) => perform(rig, step)));
          expect(digest(other)).toBe(digest(rig));
        },
      ),
      { numRuns: 60 },
    );
  });
});
