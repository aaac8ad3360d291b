// The Xen platform device as a guest's drivers meet it, on the PCI bus and at its fixed ports; the host bridge's memory attributes.

import { describe, expect, test } from "vitest";
import { RandomStreams } from "../../../src/core/random.ts";
import { Rtl8029Card } from "../../../src/devices/ne2000/pci.ts";
import { Link, TEN_MEGABIT } from "../../../src/devices/net/link.ts";
import { Rig, readConfig, writeConfig } from "./rig.ts";

const SLOT = 2;
const CARD_SLOT = 3;
const RTL8029 = 0x8029_10ec;
const PAM0 = 0x59;

function withCard(): { rig: Rig; card: Rtl8029Card } {
  const rig = new Rig({ xenPlatform: true });
  const { clock } = rig;
  const random = new RandomStreams(1);
  const link = new Link("cable", { clock, random: random.stream("link"), emit: () => {} }, TEN_MEGABIT);
  const wires = { clock, medium: link.ends[0], random: random.stream("card") };
  const card = rig.platform.plugPciCard(
    CARD_SLOT,
    (inta) => new Rtl8029Card("card", { ...wires, inta }, "52:54:00:12:34:56"),
  );
  return { rig, card };
}

describe("the Xen platform device", () => {
  test("is 5853:0001 of an unassigned class, with 256 ports, 16 MiB of memory and INTA#", () => {
    const rig = new Rig({ xenPlatform: true });
    expect(readConfig(rig, SLOT, 0, 0x00)).toBe(0x0001_5853);
    expect(readConfig(rig, SLOT, 0, 0x08)).toBe(0xff80_0001);
    expect(readConfig(rig, SLOT, 0, 0x3c)).toBe(0x0000_0100);
    for (const [register, size] of [
      [0x10, 0xffff_ff01],
      [0x14, 0xff00_0008],
    ] as const) {
      writeConfig(rig, SLOT, 0, register, 0xffff_ffff);
      expect(readConfig(rig, SLOT, 0, register)).toBe(size);
    }
  });

  test("says by the fixed ports that devices can be unplugged, and takes the driver's name and log", () => {
    const rig = new Rig({ xenPlatform: true });
    expect([rig.in(0x10, 2), rig.in(0x12), rig.in(0x10), rig.in(0x13)]).toEqual([0x49d2, 1, 0, 0xff]);
    rig.out(0x12, 3, 2);
    rig.out(0x10, 0x0001_0002, 4);
    for (const byte of Buffer.from("hello\n")) rig.out(0x12, byte);
    expect(Buffer.from(rig.debug).toString("latin1")).toBe("hello\n");
    expect(rig.happened).toEqual([]);
  });

  test("takes PCI network cards off the bus for good: silent, deaf, gone from snapshots' machines", () => {
    const { rig, card } = withCard();
    card.chip.writeRegister(0, 0x22);
    rig.out(0x10, 0b01, 2);
    expect(readConfig(rig, CARD_SLOT, 0, 0)).toBe(RTL8029);
    expect(card.chip.state.started).toBe(true);
    rig.out(0x10, 0b10, 2);
    expect(readConfig(rig, CARD_SLOT, 0, 0)).toBe(0xffff_ffff);
    expect(card.chip.state.started).toBe(false);
    expect(rig.happened).toEqual(["unplug 1", "unplug 2"]);
    const again = withCard();
    again.rig.snapshots.load(rig.snapshots.save());
    expect(readConfig(again.rig, CARD_SLOT, 0, 0)).toBe(0xffff_ffff);
  });

  test("locks what is RAM below 1 MiB against writes", () => {
    const rig = new Rig({ xenPlatform: true });
    const last = () => rig.segments.at(-1);
    writeConfig(rig, 0, 0, PAM0, 0x30, 1);
    expect(last()).toEqual({ address: 0xf_0000, size: 0x1_0000, reads: true, writes: true });
    rig.out(0x10, 1);
    expect(last()).toMatchObject({ reads: true, writes: false });
    expect(rig.in(0x10)).toBe(1);
    rig.out(0x10, 0);
    expect(last()).toMatchObject({ reads: true, writes: true });
  });

  test("is not there unless the board has it", () => {
    const rig = new Rig();
    expect(readConfig(rig, SLOT, 0, 0)).toBe(0xffff_ffff);
    expect(rig.in(0x10, 2)).toBe(0xffff);
  });
});

test("the host bridge's PAM registers give each segment its own attributes, F0000h to FFFFFh by the upper half of PAM0", () => {
  const rig = new Rig();
  writeConfig(rig, 0, 0, 0x58, 0x0021_1000);
  expect(rig.segments).toHaveLength(13);
  expect(rig.segments.filter(({ reads, writes }) => reads || writes)).toEqual([
    { address: 0xc_0000, size: 0x4000, reads: true, writes: false },
    { address: 0xc_4000, size: 0x4000, reads: false, writes: true },
    { address: 0xf_0000, size: 0x1_0000, reads: true, writes: false },
  ]);
});
