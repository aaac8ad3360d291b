// What no guest and no frame can make the card do, for any sequence of port accesses and frames. Each invariant holds on the card as it is, and is broken
// by the card with the fault that broke it in another's: a property that cannot tell them apart says nothing. fast-check prints the seed to replay.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AccessWidth } from "../../src/core/bus.ts";
import { encodePlain } from "../../src/core/plain-data.ts";
import type { Ne2000Fault } from "../../src/devices/ne2000/faults.ts";
import type { Registers } from "../../src/devices/ne2000/registers.ts";
import { withCheckSequence } from "../../src/devices/net/ethernet.ts";
import { address, Bench, P0, PAGE1, START } from "../devices/ne2000/card.ts";

type Step =
  | { kind: "in"; offset: number; width: AccessWidth }
  | { kind: "out"; offset: number; width: AccessWidth; value: number }
  | { kind: "frame"; length: number; group: boolean; good: boolean; dribble: number }
  | { kind: "wait"; ns: number };

/** Accesses to the chip's registers while it takes one frame or one access: a few dozen. A walk of the ring that ends has 64 pages more. */
const MOST_WORK = 1000;

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

const forUs = (length: number): Uint8Array => frameOf({ length, group: false, good: true });

function apply(card: Bench, each: Step): void {
  if (each.kind === "in") card.in(each.offset, each.width);
  else if (each.kind === "out") card.out(each.offset, each.value, each.width);
  else if (each.kind === "wait") card.wait(each.ns);
  else card.chip.receive(frameOf(each), each.dribble);
}

type Ring = readonly [pstart: number, pstop: number, curr: number, bnry: number];

/** A started card whose ring registers hold what is given. */
function cardWith([pstart, pstop, curr, bnry]: Ring, faults: readonly Ne2000Fault[], dcr = 0x49): Bench {
  const card = new Bench(undefined, faults);
  card.initialise({ rcr: 0x1f, dcr });
  for (const [offset, value] of [
    [P0.PSTART, pstart],
    [P0.PSTOP, pstop],
    [P0.BNRY, bnry],
  ] as const)
    card.out(offset, value);
  card.out(P0.CR, PAGE1);
  card.out(7, curr);
  card.out(P0.CR, START);
  return card;
}

/** Has the chip's registers counted as they are used, and fails when one step uses too many. */
function limitWork(card: Bench): { readonly begin: () => void } {
  let used = 0;
  const state = card.chip.state as { registers: Registers };
  state.registers = new Proxy(state.registers, {
    get(registers, name) {
      if (++used > MOST_WORK) throw new Error("a step without an end");
      return registers[name as keyof Registers];
    },
  });
  return {
    begin: () => {
      used = 0;
    },
  };
}

/** A page, more often than not of packet memory. */
const page = fc.oneof(fc.integer({ min: 0x40, max: 0x80 }), fc.integer({ min: 0x40, max: 0x80 }), fc.nat(255));
const ring = fc.tuple(page, page, page, page);
const lengths = fc.nat(3000);
const size = fc.integer({ min: 60, max: 1514 });
const moves = fc.array(fc.oneof(fc.record({ arrive: size }), fc.record({ take: fc.integer({ min: 1, max: 4 }) })), {
  maxLength: 80,
});
type Faults = readonly Ne2000Fault[];

interface Invariant {
  /** Of the table of real faults. */
  readonly row: string;
  readonly what: string;
  readonly fault: Ne2000Fault;
  readonly runs: number;
  readonly property: (faults: Faults) => fc.IRawProperty<unknown, false>;
}

/** Stores a frame and gives what changed in packet memory, by its address on the card's bus. */
function stored(card: Bench, frame: Uint8Array): { readonly changed: readonly number[]; readonly curr: number } {
  const before = card.chip.save().memory;
  card.chip.receive(frame, 0);
  const { memory, registers } = card.chip.save();
  const changed: number[] = [];
  for (let index = 0; index < memory.length; index++) if (memory[index] !== before[index]) changed.push(index + 0x4000);
  return { changed, curr: registers.CURR };
}

/** Frames that arrive and are taken at any pace: which of them the card stored by its own account, and which the driver got. */
function exchange(
  all: readonly ({ readonly arrive: number } | { readonly take: number })[],
  [pstart, pages]: readonly [number, number],
  faults: Faults,
): {
  readonly card: Bench;
  readonly kept: Uint8Array[];
  readonly taken: Uint8Array[];
  readonly headersAreGood: boolean;
} {
  const card = new Bench(undefined, faults);
  card.initialise({ pstart, pstop: pstart + pages });
  const [kept, taken]: [Uint8Array[], Uint8Array[]] = [[], []];
  let number = 0;
  let headersAreGood = true;
  const take = (): boolean => {
    const boundary = card.in(P0.BNRY);
    const got = card.take();
    if (got === undefined) return false;
    const after = boundary + Math.ceil((4 + got.frame.length) / 256);
    const next = after >= pstart + pages ? after - pages : after;
    headersAreGood &&= got.status === 0x01 && got.next === next && got.frame.length === kept[taken.length]?.length;
    taken.push(got.frame);
    return true;
  };
  for (const move of all) {
    if ("take" in move) {
      for (let count = 0; count < move.take && headersAreGood; count++) take();
      continue;
    }
    const bytes = new Uint8Array(move.arrive).fill(number);
    bytes.set(address());
    bytes[12] = number++;
    const frame = withCheckSequence(bytes);
    card.out(P0.ISR, 0x7f);
    card.arrive(frame);
    if ((card.in(P0.ISR) & 0x01) !== 0) kept.push(frame);
  }
  // As many as were stored: a ring that lies has no end.
  for (let left = kept.length; left > 0 && headersAreGood && take(); left--);
  return { card, kept, taken, headersAreGood };
}

const rings = fc.tuple(fc.integer({ min: 0x46, max: 0x70 }), fc.integer({ min: 2, max: 16 }));

const INVARIANTS: readonly Invariant[] = [
  {
    row: "N1",
    what: "a frame is written only within [PSTART, PSTOP), whatever the registers hold",
    fault: "ne2000.curr-unchecked",
    runs: 500,
    property: (faults) =>
      fc.property(ring, lengths, fc.nat(3), (registers, length, data) => {
        const [pstart, pstop, curr] = registers;
        const after = stored(cardWith(registers, faults, 0x48 | data), forUs(length));
        expect(after.changed.every((at) => at >= pstart * 256 && at < pstop * 256)).toBe(true);
        if (after.curr === curr) expect(after.changed).toEqual([]);
        else expect(after.curr >= pstart && after.curr < pstop).toBe(true);
      }),
  },
  {
    row: "N2",
    what: "a frame or an access takes a bounded number of steps, whatever the registers hold",
    fault: "ne2000.boundary-walked",
    runs: 500,
    property: (faults) =>
      fc.property(ring, fc.array(step, { maxLength: 20 }), (registers, steps) => {
        const card = cardWith(registers, faults);
        const work = limitWork(card);
        for (const each of [...steps, { kind: "frame", length: 60, group: true, good: true, dribble: 0 } as const]) {
          work.begin();
          apply(card, each);
        }
      }),
  },
  {
    row: "N4",
    what: "a ring that ends where or before it begins takes no frame, in whatever order it was written",
    fault: "ne2000.order-unchecked",
    runs: 500,
    property: (faults) =>
      fc.property(ring, lengths, ([a, b, curr, bnry], length) => {
        const [pstart, pstop] = [Math.max(a, b), Math.min(a, b)];
        const after = stored(cardWith([pstart, pstop, curr, bnry], faults), forUs(length));
        expect(after).toEqual({ changed: [], curr });
      }),
  },
  {
    row: "N6",
    what: "once the driver has drained the ring, the next frame that fits is delivered",
    fault: "ne2000.stalls-when-full",
    runs: 200,
    property: (faults) =>
      fc.property(moves, rings, (all, place) => {
        const { card } = exchange(all, place, faults);
        const last = forUs(60);
        card.arrive(last);
        expect(card.take()?.frame).toEqual(last);
      }),
  },
  {
    row: "N8",
    what: "a frame that the card says it stored is taken, whole, once and in order",
    fault: "ne2000.full-is-empty",
    runs: 200,
    property: (faults) =>
      fc.property(moves, rings, (all, place) => {
        const { kept, taken } = exchange(all, place, faults);
        expect(taken).toEqual(kept);
      }),
  },
  {
    row: "N9",
    what: "the four bytes before each frame tell its status, its length and the page behind it, at every place in the ring",
    fault: "ne2000.next-unwrapped",
    runs: 200,
    property: (faults) =>
      fc.property(moves, rings, (all, place) => {
        expect(exchange(all, place, faults).headersAreGood).toBe(true);
      }),
  },
  {
    row: "N11",
    what: "a cause goes only when a one is written to it",
    fault: "ne2000.acknowledge-drops",
    runs: 300,
    property: (faults) =>
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(255), (steps, acknowledged) => {
        const card = new Bench(undefined, faults);
        card.initialise();
        for (const each of steps) apply(card, each);
        card.out(P0.CR, 0x20);
        const before = card.in(P0.ISR);
        card.out(P0.ISR, acknowledged);
        expect(card.in(P0.ISR)).toBe(before & ~(acknowledged & 0x7f));
      }),
  },
];

describe.each(INVARIANTS)("$row: $what", ({ fault, runs, property }) => {
  test("holds on the card", () => {
    fc.assert(property([]), { numRuns: runs });
  });

  test(`is broken by ${fault}`, () => {
    expect(() => fc.assert(property([fault]), { numRuns: runs, seed: 20150915 })).toThrow("Property failed");
  });
});

test("any accesses in any order, at any width, with any frames: values of their width, a line that follows the causes, a state that is whole", () => {
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
    { numRuns: 500 },
  );
});

test("a transfer past packet memory reads all ones and changes nothing there", () => {
  fc.assert(
    fc.property(fc.nat(0xffff), fc.integer({ min: 1, max: 600 }), fc.boolean(), (from, count, isWide) => {
      const card = new Bench();
      card.initialise({ dcr: isWide ? 0x49 : 0x48 });
      const before = card.chip.save().memory;
      card.setRemote(from, count, 0x12);
      for (let moved = 0; moved < count; moved += isWide ? 2 : 1) card.out(0x10, 0x1234, isWide ? 2 : 1);
      const after = card.chip.save().memory;
      // The DMA goes from the ring's end to its start, else to the end of 64 KiB and on from 0.
      const length = Math.ceil(count / 2) * 2;
      const touched = new Set<number>();
      for (let at = isWide ? from & ~1 : from, left = isWide ? length : count; left > 0; left--) {
        touched.add(at);
        at = (at + 1) & 0xffff;
        if (at === 0x8000) at = 0x4600;
      }
      const changed = [...after.keys()].filter((index) => after[index] !== before[index]);
      expect(changed.every((index) => touched.has(index + 0x4000))).toBe(true);
      card.setRemote(0x9000, 2, 0x0a);
      expect(card.in(0x10, 2)).toBe(isWide ? 0xffff : 0xff);
    }),
    { numRuns: 300 },
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
    { numRuns: 50 },
  );
});
