import { describe, expect, test } from "vitest";
import { Rig } from "./rig.ts";

const DATA = 0x60;
const STATUS = 0x64;
const IRQ1 = 0x09;
const IRQ12 = 0x74;

/** Everything in the output buffer and behind it. */
function drain(rig: Rig): number[] {
  const bytes: number[] = [];
  while ((rig.in(STATUS) & 1) !== 0 && bytes.length < 64) bytes.push(rig.in(DATA));
  return bytes;
}
const command = (rig: Rig, value: number): void => rig.out(STATUS, value);

describe("the keyboard controller", () => {
  test("passes its self-test and reads its command byte back", () => {
    const rig = new Rig();
    command(rig, 0xaa);
    expect(drain(rig)).toEqual([0x55]);
    command(rig, 0xab);
    expect(drain(rig)).toEqual([0x00]);
    command(rig, 0x60);
    rig.out(DATA, 0x61);
    command(rig, 0x20);
    expect(drain(rig)).toEqual([0x61]);
  });

  test("the keyboard answers reset, identification and scan code set", () => {
    const rig = new Rig();
    rig.out(DATA, 0xff);
    expect(drain(rig)).toEqual([0xfa, 0xaa]);
    rig.out(DATA, 0xf2);
    expect(drain(rig)).toEqual([0xfa, 0xab, 0x83]);
    rig.out(DATA, 0xf0);
    rig.out(DATA, 0x00);
    expect(drain(rig)).toEqual([0xfa, 0xfa, 0x02]);
    rig.out(DATA, 0xf0);
    rig.out(DATA, 0x09);
    expect(drain(rig)).toEqual([0xfa, 0xfe]);
    rig.out(DATA, 0xee);
    expect(drain(rig)).toEqual([0xee]);
    rig.out(DATA, 0x77);
    expect(drain(rig)).toEqual([0xfe]);
  });

  test("keys interrupt one at a time, translated into set 1, releases with bit 7", () => {
    const rig = new Rig();
    rig.initializePics();
    expect(rig.platform.keyboard.pressKey([0x1c, 0xf0, 0x1c])).toBe(true);
    expect(rig.interrupts()).toEqual([IRQ1]);
    expect(rig.in(DATA)).toBe(0x1e);
    expect(rig.interrupts()).toEqual([IRQ1]);
    expect(rig.in(DATA)).toBe(0x9e);
    expect(rig.interrupts()).toEqual([]);
  });

  test("without translation set 2 comes through as it is", () => {
    const rig = new Rig();
    command(rig, 0x60);
    rig.out(DATA, 0x01);
    rig.platform.keyboard.pressKey([0x1c, 0xf0, 0x1c]);
    expect(drain(rig)).toEqual([0x1c, 0xf0, 0x1c]);
  });

  test("a disabled interface holds keys back, a full buffer refuses them", () => {
    const rig = new Rig();
    command(rig, 0xad);
    for (let key = 0; key < 16; key++) expect(rig.platform.keyboard.pressKey([0x1c])).toBe(true);
    expect(rig.platform.keyboard.pressKey([0x1c])).toBe(false);
    expect(drain(rig)).toEqual([]);
    command(rig, 0xae);
    expect(drain(rig)).toEqual(new Array(16).fill(0x1e));
  });

  test("a keyboard that does not scan sends no keys", () => {
    const rig = new Rig();
    rig.out(DATA, 0xf5);
    drain(rig);
    rig.platform.keyboard.pressKey([0x1c]);
    expect(drain(rig)).toEqual([]);
  });

  test("nothing answers on the auxiliary port but the time-out; what is written to its output buffer comes from it", () => {
    const rig = new Rig();
    rig.initializePics();
    command(rig, 0x60);
    rig.out(DATA, 0x03);
    command(rig, 0xd4);
    rig.out(DATA, 0xff);
    expect(rig.in(STATUS) & 0x61).toBe(0x61);
    expect(rig.interrupts()).toEqual([IRQ12]);
    expect(drain(rig)).toEqual([0xfe]);
    command(rig, 0xd3);
    rig.out(DATA, 0x5a);
    expect(rig.in(STATUS) & 0x61).toBe(0x21);
    expect(drain(rig)).toEqual([0x5a]);
  });

  test("the A20 gate reads back through the output port and port 92h", () => {
    const rig = new Rig();
    command(rig, 0xd1);
    rig.out(DATA, 0xdd);
    expect(rig.in(0x92)).toBe(0);
    rig.out(0x92, 0x02);
    command(rig, 0xd0);
    expect(drain(rig)[0]! & 0x02).toBe(0x02);
    expect(rig.happened).toEqual([]);
  });

  test("four ways to reset the processor", () => {
    const rig = new Rig();
    command(rig, 0xfe);
    rig.out(0x92, 0x01);
    command(rig, 0xd1);
    rig.out(DATA, 0xde);
    expect(rig.happened).toEqual(["processor reset", "processor reset", "processor reset"]);
    rig.out(0xcf9, 0x02);
    rig.out(0xcf9, 0x06);
    expect(rig.happened.at(-1)).toBe("machine reset");
  });
});
