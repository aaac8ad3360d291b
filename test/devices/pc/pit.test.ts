import { beforeEach, describe, expect, test } from "vitest";
import { Clock } from "../../../src/core/clock.ts";
import { IrqLine } from "../../../src/core/irq.ts";
import { Pit } from "../../../src/devices/pc/pit.ts";

/** The smallest time at which so many ticks of 838.095 ns have passed. */
const ticks = (count: number): number => Math.ceil((count * 88_000) / 105);

describe("the 8254", () => {
  let clock: Clock;
  let pit: Pit;
  let line: IrqLine;
  let edges: [number, boolean][];
  let tick: number;

  beforeEach(() => {
    clock = new Clock();
    edges = [];
    tick = 0;
    line = new IrqLine("irq 0", (level) => edges.push([Math.floor((clock.now * 105) / 88_000), level]));
    pit = new Pit({ clock, irq0: line.source("8254") });
  });

  const at = (to: number): void => {
    tick = to;
    clock.advanceTo(ticks(to));
  };
  const program = (counter: number, mode: number, count: number): void => {
    pit.writeByte(3, (counter << 6) | 0x30 | (mode << 1));
    pit.writeByte(counter, count & 0xff);
    pit.writeByte(counter, count >>> 8);
  };
  const latch = (counter: number): number => {
    pit.writeByte(3, counter << 6);
    return pit.readByte(counter) | (pit.readByte(counter) << 8);
  };
  const out2 = (): boolean => (pit.port61.readByte(0) & 0x20) !== 0;
  const gate2 = (level: boolean): void => pit.port61.writeByte(0, level ? 1 : 0);

  test("mode 2 gives one low tick at the end of each period, IRQ 0 on its end", () => {
    program(0, 2, 1000);
    at(2001);
    // The count is loaded by the first tick after the write.
    expect(edges).toEqual([
      [0, true],
      [1000, false],
      [1001, true],
      [2000, false],
      [2001, true],
    ]);
  });

  test("mode 3 is high for half of the period, longer by one tick when it is odd", () => {
    program(0, 3, 5);
    at(11);
    expect(edges).toEqual([
      [0, true],
      [4, false],
      [6, true],
      [9, false],
      [11, true],
    ]);
  });

  test("mode 0 raises OUT once, count and one tick after the write, and counts on below zero", () => {
    program(0, 0, 100);
    at(100);
    expect(edges.at(-1)).toEqual(undefined);
    at(101);
    expect(edges).toEqual([[101, true]]);
    at(111);
    expect(latch(0)).toBe(0xfff6);
    expect(clock.nextDeadline()).toBeUndefined();
  });

  test("a count of zero is 65,536", () => {
    program(0, 2, 0);
    at(65_536);
    expect(edges.at(-1)).toEqual([65_536, false]);
  });

  test("counter 2 counts while its gate in port 61h is high, and its output shows in bit 5", () => {
    gate2(false);
    program(2, 0, 10);
    at(50);
    expect(out2()).toBe(false);
    expect(latch(2)).toBe(10);
    gate2(true);
    at(55);
    expect(latch(2)).toBe(5);
    gate2(false);
    at(70);
    expect(latch(2)).toBe(5);
    gate2(true);
    at(75);
    expect(out2()).toBe(true);
  });

  test("mode 1 is started by its gate and started anew by another edge of it", () => {
    gate2(false);
    program(2, 1, 10);
    expect(out2()).toBe(true);
    at(5);
    gate2(true);
    at(6);
    expect(out2()).toBe(false);
    at(10);
    gate2(false);
    gate2(true);
    at(16);
    expect(out2()).toBe(false);
    at(21);
    expect(out2()).toBe(true);
  });

  test("mode 4 strobes for one tick", () => {
    gate2(true);
    program(2, 4, 3);
    const levels = [1, 2, 3, 4, 5].map((time) => {
      at(time);
      return out2();
    });
    expect(levels).toEqual([true, true, true, false, true]);
  });

  test("mode 5 strobes after its gate's edge", () => {
    gate2(false);
    program(2, 5, 3);
    at(100);
    expect(out2()).toBe(true);
    gate2(true);
    at(104);
    expect(out2()).toBe(false);
    at(105);
    expect(out2()).toBe(true);
  });

  test("a low gate keeps OUT of modes 2 and 3 high, its edge begins a period", () => {
    gate2(true);
    program(2, 2, 4);
    at(4);
    expect(out2()).toBe(false);
    gate2(false);
    expect(out2()).toBe(true);
    at(20);
    gate2(true);
    at(24);
    expect(out2()).toBe(false);
  });

  test("modes 2 and 3 take a new count over at the end of the period and of the half period", () => {
    program(0, 2, 100);
    at(50);
    pit.writeByte(0, 10);
    pit.writeByte(0, 0);
    at(122);
    expect(edges.map(([time]) => time)).toEqual([0, 100, 101, 110, 111, 120, 121]);
    edges.length = 0;
    program(0, 3, 100);
    at(tick + 10);
    pit.writeByte(0, 20);
    pit.writeByte(0, 0);
    const start = tick - 10;
    at(tick + 100);
    expect(edges.map(([time]) => time - start).slice(0, 4)).toEqual([51, 61, 71, 81]);
  });

  test("a latched count stays until it is read, and a second latch is ignored", () => {
    program(0, 2, 1000);
    at(101);
    pit.writeByte(3, 0);
    at(201);
    pit.writeByte(3, 0);
    expect(pit.readByte(0) | (pit.readByte(0) << 8)).toBe(900);
    expect(pit.readByte(0) | (pit.readByte(0) << 8)).toBe(800);
  });

  test("the read-back command gives status before count", () => {
    program(0, 3, 1000);
    at(1);
    pit.writeByte(3, 0xc2);
    expect(pit.readByte(0)).toBe(0x80 | 0x36);
    expect(pit.readByte(0) | (pit.readByte(0) << 8)).toBe(1000);
    // Null count: written and not yet loaded.
    program(0, 2, 50);
    pit.writeByte(3, 0xe2);
    expect(pit.readByte(0) & 0x40).toBe(0x40);
  });

  test("single-byte counts and BCD", () => {
    pit.writeByte(3, 0x90);
    gate2(true);
    pit.writeByte(2, 0x40);
    at(1);
    expect(pit.readByte(2)).toBe(0x40);
    pit.writeByte(3, 0xb1);
    pit.writeByte(2, 0x00);
    pit.writeByte(2, 0x10);
    at(1 + 1 + 1);
    expect(latch(2)).toBe(0x0999);
  });

  test("a restored timer ticks on where it stood", () => {
    program(0, 2, 1000);
    at(500);
    const state = pit.save();
    const [clockState, lineState] = [clock.save(), line.save()];
    at(5000);
    const after = [...edges];
    pit.load(state);
    clock.load(clockState);
    line.load(lineState);
    edges.length = 1;
    at(5000);
    expect(edges).toEqual(after);
  });

  test("a state that no counter can be in is refused", () => {
    const state = pit.save();
    const broken = { ...state, counters: state.counters.map((counter) => ({ ...counter, initial: -1 })) };
    expect(() => pit.load(broken)).toThrow("snapshot of 8254 PIT: not a counter");
  });
});
