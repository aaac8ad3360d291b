import { expect, test } from "vitest";
import { Clock } from "../../../src/core/clock.ts";
import { InputError } from "../../../src/core/errors.ts";
import { IrqLine } from "../../../src/core/irq.ts";
import { RandomStreams } from "../../../src/core/random.ts";
import { Rtl8029Card } from "../../../src/devices/ne2000/pci.ts";
import { Link, TEN_MEGABIT } from "../../../src/devices/net/link.ts";

function plug() {
  const clock = new Clock();
  const random = new RandomStreams(1);
  const link = new Link("cable", { clock, random: random.stream("link"), emit: () => {} }, TEN_MEGABIT);
  const inta = new IrqLine("PIRQA", () => {});
  const wires = { clock, inta, medium: link.ends[0], random: random.stream("card") };
  return { inta, card: new Rtl8029Card("rtl8029", wires, "52:54:00:12:34:56") };
}

test("configuration space says RTL8029, Ethernet, INTA#", () => {
  const { card } = plug();
  expect(card.readConfig(0x00, 4)).toBe(0x8029_10ec);
  expect(card.readConfig(0x08, 4)).toBe(0x0200_0000);
  expect(card.readConfig(0x0e, 1)).toBe(0);
  expect(card.readConfig(0x3d, 1)).toBe(1);
  card.writeConfig(0x00, 4, 0xffff_ffff);
  expect(card.readConfig(0x00, 4)).toBe(0x8029_10ec);
});

test("BAR 0 sizes as 32 ports, and the ports answer once I/O space is enabled", () => {
  const { card } = plug();
  card.writeConfig(0x10, 4, 0xffff_ffff);
  expect(card.readConfig(0x10, 4)).toBe(0xffff_ffe1);
  card.writeConfig(0x10, 4, 0xc100);
  expect(card.ioRange()).toBeUndefined();
  card.writeConfig(0x04, 2, 0xffff);
  expect(card.readConfig(0x04, 2)).toBe(0x0001);
  expect(card.ioRange()).toEqual({ first: 0xc100, length: 32 });
  card.writeConfig(0x10, 4, 0xffff_ffe0);
  expect(card.ioRange()).toBeUndefined();
  card.writeConfig(0x10, 4, 0);
  expect(card.ioRange()).toBeUndefined();
});

test("identification, page 3 and its write enable", () => {
  const { card } = plug();
  expect([card.io.read(10, 1), card.io.read(11, 1)]).toEqual([0x50, 0x43]);
  card.io.write(0, 1, 0xe1);
  expect([card.io.read(14, 1), card.io.read(15, 1)]).toEqual([0x29, 0x80]);
  card.io.write(6, 1, 0x40);
  expect(card.io.read(6, 1)).toBe(0);
  card.io.write(1, 1, 0xc0);
  card.io.write(6, 1, 0x40);
  expect(card.io.read(6, 1)).toBe(0x40);
  expect(card.io.read(4, 1)).toBe(0xff);
});

test("the interrupt goes to INTA#", () => {
  const { card, inta } = plug();
  card.io.write(15, 1, 0x40);
  card.io.write(0, 1, 0x0a);
  expect(inta.level).toBe(true);
});

test("a snapshot holds configuration and chip, and fits this card only", () => {
  const { card } = plug();
  card.writeConfig(0x10, 4, 0xc100);
  card.io.write(3, 1, 0x55);
  const saved = card.save();
  const { card: other } = plug();
  other.load(saved);
  expect(other.readConfig(0x10, 4)).toBe(0xc101);
  expect(other.io.read(3, 1)).toBe(0x55);
  expect(other.save()).toEqual(saved);
  expect(() => other.load({ ...saved, config: new Uint8Array(256) })).toThrow(InputError);
});
