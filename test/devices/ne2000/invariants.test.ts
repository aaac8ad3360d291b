// What no guest and no frame can make the card do, for any sequence of port accesses and frames (fast-check prints the seed to replay).

import fc from "fast-check";
import { expect, test } from "vitest";
import type { AccessWidth } from "../../../src/core/bus.ts";
import { encodePlain } from "../../../src/core/plain-data.ts";
import { withCheckSequence } from "../../../src/devices/net/ethernet.ts";
import { address, Bench, P0, PAGE1, START } from "./card.ts";

type Step =
  | { kind: "in"; offset: number; width: AccessWidth }
  | { kind: "out"; offset: number; width: AccessWidth; value: number }
  | { kind: "frame"; length: number; group: boolean; good: boolean; dribble: number }
  | { kind: "wait"; ns: number };

const width = fc.constantFrom<AccessWidth[]>(1, 2, 4);
/** Bytes that mean something to the chip more often than chance would have it. */
const byte = fc.oneof(
  fc.nat(255),
  fc.constantFrom(0x22, 0x26, 0x21, 0x0a, 0x12, 0x1a, 0x62, 0x40, 0x46, 0x80, 0x4f, 0x00),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("out" as const),
      offset: fc.nat(31),
      width: fc.constant(1 as const),
      value: byte,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("out" as const), offset: fc.nat(31), width, value: fc.nat(0xffff_ffff) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("in" as const), offset: fc.nat(31), width }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("frame" as const),
      length: fc.oneof(fc.nat(100), fc.nat(2000), fc.constantFrom(0, 5, 60, 1514, 20_000)),
      group: fc.boolean(),
      good: fc.boolean(),
      dribble: fc.nat(7),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ns: fc.nat(2_000_000) }) },
);

function frameOf({ length, group, good }: { length: number; group: boolean; good: boolean }): Uint8Array {
  const bytes = new Uint8Array(length).fill(0x5a);
  bytes.set((group ? new Uint8Array(6).fill(0xff) : address()).subarray(0, length));
  return good ? withCheckSequence(bytes) : bytes;
}

function apply(card: Bench, each: Step): void {
  if (each.kind === "in") card.in(each.offset, each.width);
  else if (each.kind === "out") card.out(each.offset, each.value, each.width);
  else if (each.kind === "wait") card.wait(each.ns);
  else card.chip.receive(frameOf(each), each.dribble);
}

test("N1, N4: a frame is written only within [PSTART, PSTOP) and packet memory, whatever the registers hold", () => {
  fc.assert(
    fc.property(byte, byte, byte, byte, fc.nat(3000), fc.nat(255), (pstart, pstop, curr, bnry, length, data) => {
      const card = new Bench();
      card.initialise({ rcr: 0x1f, dcr: 0x48 | (data & 0x03) });
      for (const [offset, value] of [
        [P0.PSTART, pstart],
        [P0.PSTOP, pstop],
        [P0.BNRY, bnry],
      ] as const)
        card.out(offset, value);
      card.out(P0.CR, PAGE1);
      card.out(7, curr);
      card.out(P0.CR, START);
      const before = card.chip.save();
      card.chip.receive(frameOf({ length, group: false, good: true }), 0);
      const after = card.chip.save();
      const changed = [...after.memory.keys()].filter((index) => after.memory[index] !== before.memory[index]);
      const inside = (index: number) => index + 0x4000 >= pstart * 256 && index + 0x4000 < pstop * 256;
      expect(changed.every(inside)).toBe(true);
      const stored = after.registers.CURR !== curr;
      if (!stored) expect(changed).toEqual([]);
      else expect(after.registers.CURR >= pstart && after.registers.CURR < pstop).toBe(true);
    }),
    { numRuns: 2000, seed: 20150915 },
  );
});

test("N2: any accesses in any order, at any width, with any frames: each step ends, with values of its width and a state that is whole", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const card = new Bench();
      card.initialise();
      for (const each of steps) {
        if (each.kind === "in") {
          const value = card.in(each.offset, each.width);
          expect(Number.isInteger(value) && value >= 0 && value < 2 ** (8 * each.width)).toBe(true);
        } else apply(card, each);
      }
      card.wait(1_000_000_000);
      const saved = card.chip.save();
      new Bench().chip.load(saved);
      expect(saved.registers.ISR & saved.registers.IMR & 0x7f ? 1 : 0).toBe(card.irq.level ? 1 : 0);
      encodePlain(saved);
    }),
    { numRuns: 500, seed: 20150914 },
  );
});

test("N6, N8, N9: with any frames and any pauses of the driver, each frame is taken once, whole and in order, or was counted as missed", () => {
  const size = fc.integer({ min: 60, max: 1514 });
  const moves = fc.array(fc.oneof(fc.record({ arrive: size }), fc.record({ take: fc.integer({ min: 1, max: 4 }) })), {
    maxLength: 80,
  });
  fc.assert(
    fc.property(moves, fc.integer({ min: 0x46, max: 0x70 }), fc.integer({ min: 2, max: 16 }), (all, pstart, pages) => {
      const card = new Bench();
      card.initialise({ pstart, pstop: pstart + pages });
      const stored: Uint8Array[] = [];
      const taken: Uint8Array[] = [];
      let number = 0;
      let refused = 0;
      const take = () => {
        const got = card.take();
        if (got === undefined) return false;
        expect(got.status).toBe(0x01);
        taken.push(got.frame);
        return true;
      };
      for (const move of all) {
        if ("take" in move) {
          for (let count = 0; count < move.take; count++) take();
          continue;
        }
        const bytes = new Uint8Array(move.arrive).fill(number);
        bytes.set(address());
        bytes[12] = number++;
        const frame = withCheckSequence(bytes);
        const before = card.chip.state.registers.CNTR2;
        card.arrive(frame);
        if (card.chip.state.registers.CNTR2 === before && before < 192) stored.push(frame);
        else refused++;
      }
      while (take());
      expect(taken).toEqual(stored);
      expect(stored.length + refused).toBe(number);
      // Drained: a frame that fits an empty ring is delivered.
      const last = withCheckSequence(Uint8Array.from([...address(), ...new Uint8Array(54)]));
      card.arrive(last);
      expect(card.take()?.frame).toEqual(last);
    }),
    { numRuns: 300, seed: 2008 },
  );
});

test("N11: a cause goes only when a one is written to it", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(255), (steps, acknowledged) => {
      const card = new Bench();
      card.initialise();
      for (const each of steps) apply(card, each);
      card.out(P0.CR, 0x20);
      const before = card.in(P0.ISR);
      card.out(P0.ISR, acknowledged);
      expect(card.in(P0.ISR)).toBe(before & ~(acknowledged & 0x7f));
    }),
    { numRuns: 300, seed: 11 },
  );
});

test("the same accesses at the same times give the same card", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const states = [0, 1].map(() => {
        const card = new Bench();
        card.initialise();
        for (const each of steps) apply(card, each);
        return encodePlain({ chip: card.chip.save(), seen: card.seen });
      });
      expect(states[0]).toEqual(states[1]);
    }),
    { numRuns: 50, seed: 1 },
  );
});
