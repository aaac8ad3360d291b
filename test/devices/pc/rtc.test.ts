import { describe, expect, test } from "vitest";
import { Rig } from "./rig.ts";

const MS = 1_000_000;
const SECOND = 1_000 * MS;

const read = (rig: Rig, register: number): number => {
  rig.out(0x70, register);
  return rig.in(0x71);
};
const write = (rig: Rig, register: number, value: number): void => {
  rig.out(0x70, register);
  rig.out(0x71, value);
};
/** Century to seconds, as the registers hold them. */
const time = (rig: Rig): string =>
  [0x32, 9, 8, 7, 4, 2, 0].map((register) => read(rig, register).toString(16).padStart(2, "0")).join(" ");

describe("the real-time clock", () => {
  test("shows the machine's start date in BCD, and the day of the week", () => {
    const rig = new Rig({ startDateSeconds: Date.UTC(2024, 1, 29, 23, 59, 58) / 1000 });
    expect(time(rig)).toBe("20 24 02 29 23 59 58");
    expect(read(rig, 6)).toBe(5);
    rig.pass(2 * SECOND);
    expect(time(rig)).toBe("20 24 03 01 00 00 00");
    expect(read(rig, 6)).toBe(6);
  });

  test.each([
    [0, "19 70 01 01 00 00 00"],
    [Date.UTC(1999, 11, 31, 12, 0, 0) / 1000, "19 99 12 31 12 00 00"],
    [Date.UTC(2100, 2, 1) / 1000, "21 00 03 01 00 00 00"],
  ])("second %i is %s", (startDateSeconds, expected) => {
    expect(time(new Rig({ startDateSeconds }))).toBe(expected);
  });

  test("wraps year 99 to 00 and leaves the century to software", () => {
    const rig = new Rig({ startDateSeconds: Date.UTC(1999, 11, 31, 23, 59, 59) / 1000 });
    rig.pass(SECOND);
    expect(time(rig)).toBe("19 00 01 01 00 00 00");
  });

  test("12-hour format goes from 11 AM over 12 PM to 1 PM, and from 11 PM to 12 AM of the next day", () => {
    const rig = new Rig();
    write(rig, 0x0b, 0x80);
    const to = (hour: number): void => {
      write(rig, 0x0b, 0x80);
      for (const [register, value] of [
        [0, 0x59],
        [2, 0x59],
        [4, hour],
      ] as const) {
        write(rig, register, value);
      }
      write(rig, 0x0b, 0);
    };
    const next = (hour: number): number => {
      to(hour);
      rig.pass(SECOND);
      return read(rig, 4);
    };
    expect(next(0x11)).toBe(0x92);
    expect(next(0x92)).toBe(0x81);
    const day = read(rig, 7);
    expect(next(0x91)).toBe(0x12);
    expect(read(rig, 7)).toBe(day + 1);
    expect(next(0x12)).toBe(0x01);
  });

  test("update in progress shows in the last 2.2 ms of each second and not while SET is on", () => {
    const rig = new Rig();
    rig.pass(SECOND - 3 * MS);
    expect(read(rig, 0x0a)).toBe(0x26);
    rig.pass(1 * MS);
    expect(read(rig, 0x0a)).toBe(0xa6);
    write(rig, 0x0b, 0x82);
    expect(read(rig, 0x0a)).toBe(0x26);
    rig.pass(10 * SECOND);
    expect(read(rig, 0)).toBe(0);
    write(rig, 0x0b, 0x02);
    rig.pass(SECOND);
    expect(read(rig, 0)).toBe(1);
  });

  test("the periodic interrupt comes 1,024 times a second until it is no longer acknowledged", () => {
    const rig = new Rig();
    rig.initializePics();
    write(rig, 0x0b, 0x42);
    const vectors: number[] = [];
    for (let count = 0; count < 100; count++) {
      rig.pass(10 * MS);
      for (const vector of rig.interrupts()) vectors.push(vector);
      expect(read(rig, 0x0c)).toBe(0xc0 | (rig.clock.now % SECOND === 0 ? 0x10 : 0));
    }
    expect(vectors.length).toBe(100);
    expect(new Set(vectors)).toEqual(new Set([0x70]));
  });

  test("PF is set at its rate without an interrupt, too", () => {
    const rig = new Rig();
    read(rig, 0x0c);
    expect(read(rig, 0x0c)).toBe(0);
    rig.pass(MS);
    expect(read(rig, 0x0c)).toBe(0x40);
    expect(read(rig, 0x0c)).toBe(0);
  });

  test("alarm and update-ended interrupts", () => {
    const rig = new Rig();
    rig.initializePics();
    write(rig, 1, 0x03);
    write(rig, 3, 0xff);
    write(rig, 5, 0xc0);
    write(rig, 0x0b, 0x22);
    rig.pass(2 * SECOND + MS);
    expect(rig.interrupts()).toEqual([]);
    read(rig, 0x0c);
    rig.pass(SECOND);
    expect(rig.interrupts()).toEqual([0x70]);
    expect(read(rig, 0x0c)).toBe(0xf0);
    write(rig, 0x0b, 0x12);
    rig.pass(SECOND);
    expect(rig.interrupts()).toEqual([0x70]);
  });

  test("a divider that is held in reset stops time, and the first update comes 500 ms after its release", () => {
    const rig = new Rig();
    write(rig, 0x0a, 0x66);
    rig.pass(5 * SECOND);
    expect(read(rig, 0)).toBe(0);
    write(rig, 0x0a, 0x26);
    rig.pass(500 * MS);
    expect(read(rig, 0)).toBe(1);
  });

  test("CMOS tells the firmware the size of memory, and keeps what is written", () => {
    const rig = new Rig();
    expect(read(rig, 0x15) | (read(rig, 0x16) << 8)).toBe(640);
    expect(read(rig, 0x3d)).toBe(0x12);
    write(rig, 0x50, 0xa5);
    expect(read(rig, 0x50)).toBe(0xa5);
    expect(read(rig, 0x50 | 0x80)).toBe(0xa5);
    expect(read(rig, 0x0d)).toBe(0x80);
  });
});
