// Our card and QEMU's side by side: driven alike, compared after each step. What would meet a listed deviation is left out of random runs.

import fc from "fast-check";
import { expect } from "vitest";
import type { AccessWidth } from "../../../src/core/bus.ts";
import { withCheckSequence } from "../../../src/devices/net/ethernet.ts";
import { ADDRESS, address, BASE, Bench, P0, READ, START, TRANSMIT, WRITE } from "./card.ts";
import { QemuCard } from "./qtest.ts";

const ENOUGH_NS = 60_000_000;

/** Both cards, driven alike. Each access gives ours and QEMU's answer. */
export class Both {
  readonly ours = new Bench();
  readonly qemu: QemuCard;

  constructor(qemu: QemuCard) {
    this.qemu = qemu;
  }

  async in(offset: number, width: AccessWidth = 1): Promise<[number, number]> {
    return [this.ours.in(offset, width), await this.qemu.in(offset, width)];
  }

  async out(offset: number, value: number, width: AccessWidth = 1): Promise<void> {
    this.ours.out(offset, value, width);
    await this.qemu.out(offset, value, width);
  }

  async arrive(frame: Uint8Array): Promise<void> {
    this.ours.arrive(withCheckSequence(frame));
    await this.qemu.arrive(frame);
  }

  /** Registers as a driver initialises them, on page 0 and started. */
  async initialise(dcr = 0x49): Promise<void> {
    const steps: [number, number][] = [
      [P0.CR, 0x21],
      [P0.DCR, dcr],
      [P0.RBCR0, 0],
      [P0.RBCR1, 0],
      [P0.RCR, 0x0c],
      [P0.TCR, 0],
      [P0.BNRY, 0x46],
      [P0.PSTART, 0x46],
      [P0.PSTOP, 0x80],
      [P0.ISR, 0xff],
      [P0.IMR, 0x7f],
      [P0.CR, 0x61],
      ...Array.from(address(), (byte, index): [number, number] => [1 + index, byte]),
      [7, 0x46],
      [P0.CR, START],
    ];
    for (const [offset, value] of steps) await this.out(offset, value);
  }

  async remote(start: number, count: number, command: number): Promise<void> {
    await this.out(P0.RSAR0, start & 0xff);
    await this.out(P0.RSAR1, start >> 8);
    await this.out(P0.RBCR0, count & 0xff);
    await this.out(P0.RBCR1, count >> 8);
    await this.out(P0.CR, command);
  }

  /** The interrupt pins. */
  async irq(): Promise<[boolean, boolean]> {
    return [this.ours.irq.level, await this.qemu.irq()];
  }
}

export async function withBoth(run: (both: Both) => Promise<void>): Promise<void> {
  const qemu = await QemuCard.start(ADDRESS, BASE);
  try {
    await run(new Both(qemu));
  } finally {
    await qemu.stop();
  }
}

export type Step =
  | { do: "command"; page: number; stop: boolean; remote: number }
  | { do: "write"; page: number; offset: number; value: number }
  | { do: "read"; page: number; offset: number }
  | { do: "remote"; start: number; count: number; isWrite: boolean }
  | { do: "data"; width: AccessWidth; value: number; times: number }
  | { do: "transmit"; page: number; count: number }
  | { do: "frame"; length: number; to: "card" | "all" | "group" | "other"; fill: number }
  | { do: "drain" };

/** Registers that can be written at random without leaving what both cards do alike, with the values that may be written. */
const WRITABLE: readonly { page: number; offset: number; values: fc.Arbitrary<number> }[] = [
  { page: 0, offset: P0.PSTART, values: fc.integer({ min: 0x40, max: 0x50 }) },
  { page: 0, offset: P0.PSTOP, values: fc.integer({ min: 0x58, max: 0x80 }) },
  { page: 0, offset: P0.BNRY, values: fc.integer({ min: 0x40, max: 0x7f }) },
  { page: 0, offset: P0.ISR, values: fc.nat(0x7f) },
  { page: 0, offset: P0.RSAR0, values: fc.nat(255) },
  { page: 0, offset: P0.RSAR1, values: fc.nat(0x7f) },
  { page: 0, offset: P0.RBCR0, values: fc.nat(255) },
  { page: 0, offset: P0.RBCR1, values: fc.nat(3) },
  { page: 0, offset: P0.RCR, values: fc.constantFrom(0x00, 0x04, 0x08, 0x0c, 0x10, 0x1c) },
  { page: 0, offset: P0.TCR, values: fc.constantFrom(0x00, 0x10) },
  { page: 0, offset: P0.DCR, values: fc.constantFrom(0x48, 0x49, 0x58, 0x59, 0x08, 0x09) },
  { page: 0, offset: P0.IMR, values: fc.nat(0x7f) },
  ...[1, 2, 3, 4, 5, 6].map((offset) => ({
    page: 1,
    offset,
    values: fc.oneof(fc.nat(255), fc.constant(address()[offset - 1]!)),
  })),
  { page: 1, offset: 7, values: fc.integer({ min: 0x40, max: 0x7f }) },
  ...[8, 9, 10, 11, 12, 13, 14, 15].map((offset) => ({ page: 1, offset, values: fc.nat(255) })),
];

/** Registers that QEMU keeps: the others read as zeros there. */
const READABLE: readonly [number, number][] = [
  ...[P0.CR, P0.BNRY, P0.TSR, P0.NCR, P0.ISR, P0.RSAR0, P0.RSAR1, P0.RSR].map((offset): [number, number] => [
    0,
    offset,
  ]),
  ...Array.from({ length: 16 }, (_, offset): [number, number] => [1, offset]),
  ...[P0.CR, P0.PSTART, P0.PSTOP].map((offset): [number, number] => [2, offset]),
];

const always = <T>(value: T) => fc.constant(value);
export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      do: always("command" as const),
      page: fc.nat(2),
      stop: fc.boolean(),
      remote: fc.constantFrom(1, 2, 4, 4, 4),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.oneof(
      ...WRITABLE.map(({ page, offset, values }) =>
        fc.record({ do: always("write" as const), page: always(page), offset: always(offset), value: values }),
      ),
    ),
  },
  { weight: 4, arbitrary: fc.constantFrom(...READABLE).map(([page, offset]): Step => ({ do: "read", page, offset })) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: always("remote" as const),
      start: fc.oneof(fc.integer({ min: 0x4000, max: 0x7fff }), fc.nat(0x40), always(0x7ff0)),
      count: fc.nat(60),
      isWrite: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: always("data" as const),
      width: fc.constantFrom<AccessWidth[]>(1, 2, 2, 4),
      value: fc.nat(0xffff_ffff),
      times: fc.integer({ min: 1, max: 24 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: always("transmit" as const),
      page: fc.integer({ min: 0x40, max: 0x7f }),
      count: fc.integer({ min: 1, max: 1514 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: always("frame" as const),
      length: fc.integer({ min: 60, max: 1514 }),
      to: fc.constantFrom("card" as const, "all" as const, "group" as const, "other" as const),
      fill: fc.nat(255),
    }),
  },
  { weight: 2, arbitrary: always({ do: "drain" as const }) },
);

export const TO = {
  card: address(),
  all: new Uint8Array(6).fill(0xff),
  group: Uint8Array.of(0x01, 0x00, 0x5e, 0x12, 0x34, 0x56),
  other: Uint8Array.of(0x02, 0, 0, 0, 0, 9),
};

/** Carries steps out on both and compares; what would meet a deviation is left out, judged by our card's state. */
export class Comparison {
  readonly #both: Both;
  /** Addresses that hold a frame's check sequence in our memory only. */
  readonly #checkSequences = new Set<number>();
  /** What was compared, so that the test can tell that it did something. */
  readonly compared = { reads: 0, data: 0, sent: 0, stored: 0 };

  constructor(both: Both) {
    this.#both = both;
  }

  get #state() {
    return this.#both.ours.chip.state;
  }

  async #page(page: number): Promise<void> {
    const { CR } = this.#state.registers;
    if (CR >> 6 !== page) await this.#both.out(P0.CR, (CR & 0x03) | 0x20 | (page << 6));
  }

  async apply(each: Step): Promise<void> {
    const both = this.#both;
    switch (each.do) {
      case "command":
        await both.out(P0.CR, (each.page << 6) | (each.remote << 3) | (each.stop ? 0x03 : 0x02));
        break;
      case "write":
        await this.#page(each.page);
        await both.out(each.offset, each.value);
        break;
      case "read": {
        await this.#page(each.page);
        const [ours, qemus] = await both.in(each.offset);
        const mask = each.page === 0 && each.offset === P0.ISR ? 0x7f : 0xff;
        expect(ours & mask).toBe(qemus & mask);
        this.compared.reads++;
        break;
      }
      case "remote":
        await this.#page(0);
        await both.remote(each.start, each.count, each.isWrite ? WRITE : READ);
        break;
      case "data":
        for (let time = 0; time < each.times; time++) await this.#data(each.width, each.value + time * 0x0101_0101);
        break;
      case "transmit":
        await this.#transmit(each.page, each.count);
        break;
      case "frame":
        await this.#frame(TO[each.to], each.length, each.fill);
        break;
      case "drain":
        await this.#page(0);
        await both.out(P0.BNRY, this.#state.registers.CURR);
        break;
      default:
        each satisfies never;
    }
    const [ours, qemus] = await both.irq();
    expect(ours).toBe(qemus);
  }

  async #data(width: AccessWidth, value: number): Promise<void> {
    const { registers, remote } = this.#state;
    const { CRDA, RBCR, PSTOP, DCR } = registers;
    const wide = (DCR & 1) !== 0;
    const bytes = width === 4 ? 4 : wide ? 2 : 1;
    const first = wide ? CRDA & ~1 : CRDA;
    const isAlike =
      RBCR > 0 && first + bytes <= 0x8000 && (width < 4 || (wide && RBCR >= 4 && CRDA + 2 !== PSTOP << 8));
    // A double word is one access to QEMU's memory: at the edges of its ranges it is not two words.
    const isInside = width < 4 || first >= 0x4000 || first + 4 <= 0x20;
    if (!isAlike || !isInside || (remote === "write" && first < 0x20)) return;
    if (remote === "write") {
      await this.#both.out(0x10, (value & (2 ** (8 * width) - 1)) >>> 0, width);
      for (let index = 0; index < bytes; index++) this.#checkSequences.delete(first + index);
    } else if (remote === "read") {
      const [ours, qemus] = await this.#both.in(0x10, width);
      let mask = 2 ** (8 * width) - 1;
      for (let index = 0; index < bytes; index++) {
        if (this.#checkSequences.has(first + index)) mask &= ~(0xff << (8 * index));
      }
      expect((ours & mask) >>> 0).toBe((qemus & mask) >>> 0);
    } else return;
    this.compared.data++;
  }

  async #transmit(page: number, count: number): Promise<void> {
    const both = this.#both;
    const first = page << 8;
    // A frame that holds a received check sequence differs, as does one that leaves our packet memory.
    const holdsCheckSequence = [...this.#checkSequences].some((at) => at >= first && at < first + count);
    if (!this.#state.started || first + count > 0x8000 || holdsCheckSequence) return;
    await this.#page(0);
    await both.out(P0.TPSR, page);
    await both.out(P0.TBCR0, count & 0xff);
    await both.out(P0.TBCR1, count >> 8);
    await both.out(P0.CR, TRANSMIT);
    both.ours.wait(ENOUGH_NS);
    await both.qemu.sent(both.ours.seen.length);
    expect(both.ours.seen.at(-1)!.subarray(0, -4)).toEqual(both.qemu.seen.at(-1));
    this.compared.sent++;
  }

  async #frame(to: Uint8Array, length: number, fill: number): Promise<void> {
    const { registers, started } = this.#state;
    const { PSTART, PSTOP, BNRY, CURR, PAR } = registers;
    const pages = PSTOP - PSTART;
    const isIn = (page: number) => page >= PSTART && page < PSTOP;
    const room = CURR === BNRY ? pages : (BNRY - CURR + pages) % pages;
    // Rings that both find valid and roomy for the largest frame, and the station address that QEMU looks at.
    if (!isIn(BNRY) || !isIn(CURR) || room < 8 || PAR.some((byte, index) => byte !== address()[index])) return;
    const frame = new Uint8Array(length).fill(fill);
    frame.set(to);
    await this.#both.arrive(frame);
    if (!started || registers.CURR === CURR) return;
    this.compared.stored++;
    const place = (offset: number) => PSTART * 256 + (((CURR - PSTART) * 256 + offset) % (pages * 256));
    for (let offset = 0; offset < 4 + length; offset++) this.#checkSequences.delete(place(offset));
    for (let offset = 4 + length; offset < 8 + length; offset++) this.#checkSequences.add(place(offset));
  }
}
