import { beforeEach, describe, expect, test } from "vitest";
import { bytewise } from "../../../src/devices/pc/isa.ts";
import { PicPair } from "../../../src/devices/pc/pic.ts";

describe("the 8259A pair", () => {
  let pic: PicPair;
  let edges: boolean[];
  const ports = (): Record<"master" | "slave" | "elcr", ReturnType<typeof bytewise>> => ({
    master: bytewise(pic.command(0)),
    slave: bytewise(pic.command(1)),
    elcr: bytewise(pic.elcr),
  });

  /** @param icw4 of both chips */
  function initialize(icw4 = 0x01, icw1 = 0x11): void {
    const { master, slave } = ports();
    for (const [chip, base, wiring] of [
      [master, 0x20, 4],
      [slave, 0x28, 2],
    ] as const) {
      chip.write(0, 1, icw1);
      chip.write(1, 1, base);
      chip.write(1, 1, wiring);
      chip.write(1, 1, icw4);
    }
  }

  beforeEach(() => {
    edges = [];
    pic = new PicPair((level) => edges.push(level));
    initialize();
  });

  test("an uninitialized pair asks for nothing", () => {
    const other = new PicPair(() => expect.unreachable());
    other.setLine(0, true);
    expect(other.intr).toBe(false);
  });

  test("an edge requests, the acknowledge gives the vector and moves the request into service", () => {
    pic.setLine(4, true);
    expect(edges).toEqual([true]);
    expect(pic.acknowledge()).toBe(0x24);
    expect(edges).toEqual([true, false]);
    ports().master.write(0, 1, 0x0b);
    expect(ports().master.read(0, 1)).toBe(1 << 4);
    // Still high, but an edge is asked for.
    ports().master.write(0, 1, 0x20);
    expect(pic.intr).toBe(false);
  });

  test("a request that vanishes before its acknowledge becomes the default IR7, without service", () => {
    pic.setLine(3, true);
    pic.setLine(3, false);
    expect(edges).toEqual([true, false]);
    expect(pic.acknowledge()).toBe(0x27);
    ports().master.write(0, 1, 0x0b);
    expect(ports().master.read(0, 1)).toBe(0);
  });

  test("the slave's requests come through the master's IR2, with the slave's vector", () => {
    pic.setLine(12, true);
    expect(pic.acknowledge()).toBe(0x2c);
    // A second one of the slave, of higher priority, waits for the master's end of interrupt unless it is specially nested.
    pic.setLine(8, true);
    expect(pic.intr).toBe(false);
    ports().master.write(0, 1, 0x20);
    expect(pic.acknowledge()).toBe(0x28);
  });

  test("in special fully nested mode the slave may interrupt itself through the master", () => {
    initialize(0x11);
    pic.setLine(12, true);
    expect(pic.acknowledge()).toBe(0x2c);
    pic.setLine(8, true);
    expect(pic.acknowledge()).toBe(0x28);
  });

  test("what is in service holds back lower levels and lets higher ones pass", () => {
    pic.setLine(5, true);
    pic.acknowledge();
    pic.setLine(6, true);
    expect(pic.intr).toBe(false);
    pic.setLine(1, true);
    expect(pic.acknowledge()).toBe(0x21);
    ports().master.write(0, 1, 0x20);
    ports().master.write(0, 1, 0x20);
    expect(pic.acknowledge()).toBe(0x26);
  });

  test("masked levels ask for nothing; unmasking lets a waiting edge through", () => {
    ports().master.write(1, 1, 1 << 6);
    pic.setLine(6, true);
    expect(pic.intr).toBe(false);
    ports().master.write(1, 1, 0);
    expect(pic.acknowledge()).toBe(0x26);
  });

  test("special mask mode opens every level that is not masked", () => {
    pic.setLine(2 + 1, true);
    pic.acknowledge();
    pic.setLine(7, true);
    expect(pic.intr).toBe(false);
    ports().master.write(1, 1, 1 << 3);
    ports().master.write(0, 1, 0x68);
    expect(pic.acknowledge()).toBe(0x27);
  });

  test("a level-triggered input asks again for as long as it is high", () => {
    ports().elcr.write(1, 1, 0xff);
    expect(ports().elcr.read(1, 1)).toBe(0xde);
    pic.setLine(11, true);
    expect(pic.acknowledge()).toBe(0x2b);
    ports().slave.write(0, 1, 0x20);
    ports().master.write(0, 1, 0x20);
    expect(pic.acknowledge()).toBe(0x2b);
    pic.setLine(11, false);
    ports().slave.write(0, 1, 0x20);
    ports().master.write(0, 1, 0x20);
    expect(pic.intr).toBe(false);
  });

  test("rotation on EOI makes the served level the lowest", () => {
    pic.setLine(0, true);
    pic.acknowledge();
    ports().master.write(0, 1, 0xa0);
    pic.setLine(0, false);
    pic.setLine(0, true);
    pic.setLine(7, true);
    expect(pic.acknowledge()).toBe(0x27);
  });

  test("automatic EOI leaves nothing in service", () => {
    initialize(0x03);
    pic.setLine(1, true);
    pic.acknowledge();
    pic.setLine(6, true);
    expect(pic.acknowledge()).toBe(0x26);
  });

  test("a poll acknowledges and tells the level", () => {
    pic.setLine(5, true);
    ports().master.write(0, 1, 0x0c);
    expect(ports().master.read(0, 1)).toBe(0x85);
    expect(pic.intr).toBe(false);
    ports().master.write(0, 1, 0x0c);
    expect(ports().master.read(0, 1)).toBe(0);
  });

  test("a specific EOI ends the level that it names", () => {
    pic.setLine(4, true);
    pic.acknowledge();
    pic.setLine(1, true);
    pic.acknowledge();
    ports().master.write(0, 1, 0x64);
    ports().master.write(0, 1, 0x0b);
    expect(ports().master.read(0, 1)).toBe(1 << 1);
  });

  test("without ICW4 the initialization ends after ICW3", () => {
    const { master } = ports();
    master.write(0, 1, 0x10);
    master.write(1, 1, 0x40);
    master.write(1, 1, 0x04);
    master.write(1, 1, 0xfe);
    expect(master.read(1, 1)).toBe(0xfe);
    pic.setLine(0, true);
    expect(pic.acknowledge()).toBe(0x40);
  });

  test("a state of another shape is refused", () => {
    const state = pic.save();
    expect(() => pic.load({ ...state, chips: [state.chips[0]!] })).toThrow("snapshot of the 8259A pair");
  });
});
