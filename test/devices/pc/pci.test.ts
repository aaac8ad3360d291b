import { describe, expect, test } from "vitest";
import type { BusDevice } from "../../../src/core/bus.ts";
import type { IrqLine } from "../../../src/core/irq.ts";
import type { PciFunction } from "../../../src/devices/pc/pci.ts";
import { configAddress, Rig, readConfig, writeConfig } from "./rig.ts";

/** A card with eight ports that remembers what is written to them. */
class Card implements PciFunction {
  readonly name = "card";
  readonly written: [number, number, number][] = [];
  base = 0;
  readonly io: BusDevice = {
    name: "card",
    read: (offset, width) => (width === 1 ? offset : 0x1000 * width + offset),
    write: (offset, width, value) => this.written.push([offset, width, value]),
  };

  readConfig(): number {
    return this.base;
  }

  writeConfig(_offset: number, _width: number, value: number): void {
    this.base = value;
  }

  ioRange(): { first: number; length: number } | undefined {
    return this.base === 0 ? undefined : { first: this.base, length: 8 };
  }
}

describe("PCI configuration", () => {
  test.each([
    [0, 0, 0x1237_8086, 0x0600_0002],
    [1, 0, 0x7000_8086, 0x0601_0000],
    [1, 1, 0x7010_8086, 0x0101_8000],
    [1, 3, 0x7113_8086, 0x0680_0003],
  ])("00:%i.%i is QEMU's", (slot, number, id, classAndRevision) => {
    const rig = new Rig();
    expect(readConfig(rig, slot, number, 0)).toBe(id);
    expect(readConfig(rig, slot, number, 8)).toBe(classAndRevision);
    expect(readConfig(rig, slot, number, 0x2c)).toBe(0x1100_1af4);
  });

  test("places without a function, other buses and a cleared enable bit read all ones", () => {
    const rig = new Rig();
    expect(readConfig(rig, 2, 0, 0)).toBe(0xffff_ffff);
    rig.out(0xcf8, configAddress(0, 0, 0) | 0x1_0000, 4);
    expect(rig.in(0xcfc, 4)).toBe(0xffff_ffff);
    rig.out(0xcf8, 0, 4);
    expect(rig.in(0xcfc, 4)).toBe(0xffff_ffff);
  });

  test("the address register takes double words only; reading it gives it back", () => {
    const rig = new Rig();
    rig.out(0xcf8, 0xffff_ffff, 4);
    expect(rig.in(0xcf8, 4)).toBe(0x80ff_fffc);
    rig.out(0xcf8, 0, 2);
    expect(rig.in(0xcf8, 4)).toBe(0x80ff_fffc);
    expect(rig.in(0xcf8, 1)).toBe(0xff);
  });

  test("bytes and words of a register are reached through the data ports", () => {
    const rig = new Rig();
    expect(readConfig(rig, 1, 0, 0x0e, 1)).toBe(0x80);
    expect(readConfig(rig, 1, 0, 0x02, 2)).toBe(0x7000);
    writeConfig(rig, 0, 0, 0x5a, 0xff, 1);
    expect(readConfig(rig, 0, 0, 0x58)).toBe(0x0033_0000);
  });

  test("isapc has no PCI: its ports read all ones and cards are refused", () => {
    const rig = new Rig({ kind: "isapc" });
    rig.out(0xcf8, 0x8000_0000, 4);
    expect(rig.in(0xcf8, 4)).toBe(0xffff_ffff);
    expect(rig.in(0xcfc, 4)).toBe(0xffff_ffff);
    expect(() => rig.platform.plugPciCard(3, () => new Card())).toThrow("the board has no PCI bus");
  });

  test("a place is given to one card only", () => {
    const rig = new Rig();
    expect(() => rig.platform.plugPciCard(1, () => new Card())).toThrow("00:1.0 is no free place");
    expect(() => rig.platform.plugPciCard(32, () => new Card())).toThrow("no free place");
  });
});

describe("PCI I/O space", () => {
  test("a card's ports follow its base address", () => {
    const rig = new Rig();
    const card = rig.platform.plugPciCard(3, () => new Card());
    expect(rig.in(0xc000, 2)).toBe(0xffff);
    writeConfig(rig, 3, 0, 0x10, 0xc000);
    expect(rig.in(0xc003, 1)).toBe(0x03);
    rig.out(0xc004, 0x1234_5678, 4);
    expect(card.written).toEqual([[4, 4, 0x1234_5678]]);
    writeConfig(rig, 3, 0, 0x10, 0xd000);
    expect(rig.in(0xc003, 1)).toBe(0xff);
    expect(rig.in(0xd000, 2)).toBe(0x2000);
  });

  test("an access across the end of a range is split into bytes", () => {
    const rig = new Rig();
    const card = rig.platform.plugPciCard(3, () => new Card());
    writeConfig(rig, 3, 0, 0x10, 0xc000);
    expect(rig.in(0xc007, 2)).toBe(0xff07);
    rig.out(0xc006, 0xaabb_ccdd, 4);
    expect(card.written).toEqual([
      [6, 1, 0xdd],
      [7, 1, 0xcc],
    ]);
  });

  test("the bus master IDE block moves with its base address and keeps its registers", () => {
    const rig = new Rig();
    writeConfig(rig, 1, 1, 0x20, 0xffff_ffff);
    expect(readConfig(rig, 1, 1, 0x20)).toBe(0xffff_fff1);
    writeConfig(rig, 1, 1, 0x20, 0xc000);
    writeConfig(rig, 1, 1, 0x04, 1, 2);
    rig.out(0xc004, 0x1234_5677, 4);
    expect(rig.in(0xc004, 4)).toBe(0x1234_5674);
    rig.out(0xc002, 0xff);
    expect(rig.in(0xc002)).toBe(0x60);
  });
});

const IOAPIC = 0xfec0_0000;
const LAPIC_SVR = 0xfee0_00f0;

describe("interrupt routing", () => {
  const card = (rig: Rig, slot: number): IrqLine => {
    let line: IrqLine | undefined;
    rig.platform.plugPciCard(slot, (inta) => {
      line = inta;
      return new Card();
    });
    return line!;
  };

  test("INTA# of slot 3 is PIRQC, which goes where its route register says", () => {
    const rig = new Rig();
    rig.initializePics();
    rig.out(0x4d1, 0x0c);
    const pin = card(rig, 3).source("card");
    pin.set(true);
    expect(rig.platform.interruptPending).toBe(false);
    writeConfig(rig, 1, 0, 0x62, 0x0b, 1);
    expect(rig.platform.acknowledgeInterrupt()).toBe(0x73);
    pin.set(false);
    rig.out(0xa0, 0x20);
    rig.out(0x20, 0x20);
    expect(rig.platform.interruptPending).toBe(false);
  });

  test("without any route INTA# of slot 3 arrives at input 28 of the I/O APIC, as Xen has it", () => {
    const rig = new Rig();
    const pin = card(rig, 3).source("card");
    rig.mmio.write(LAPIC_SVR, 4, 0x1ff);
    for (const [register, value] of [
      [0x10 + 2 * 28, 0x8000 | 0x55],
      [0x10 + 2 * 27, 0x8000 | 0x56],
    ] as const) {
      rig.mmio.write(IOAPIC, 4, register);
      rig.mmio.write(IOAPIC + 0x10, 4, value);
    }
    pin.set(true);
    expect(rig.platform.acknowledgeInterrupt()).toBe(0x55);
    expect(rig.platform.interruptPending).toBe(false);
  });

  test("two PIRQs share an IRQ, which stays asserted until both are released", () => {
    const rig = new Rig();
    rig.initializePics();
    rig.out(0x4d1, 0x0c);
    const pins = [3, 4].map((slot) => card(rig, slot).source("card"));
    writeConfig(rig, 1, 0, 0x60, 0x0a0a_0a0a);
    for (const pin of pins) pin.set(true);
    pins[0]!.set(false);
    expect(rig.platform.interruptPending).toBe(true);
    pins[1]!.set(false);
    expect(rig.platform.interruptPending).toBe(false);
  });

  test("a disabled route and one to an IRQ that cannot be used lead nowhere", () => {
    const rig = new Rig();
    rig.initializePics();
    const pin = card(rig, 3).source("card");
    pin.set(true);
    for (const route of [0x80, 0x8b, 0x00, 0x02, 0x08, 0x0d]) {
      writeConfig(rig, 1, 0, 0x62, route, 1);
      expect(rig.platform.interruptPending).toBe(false);
    }
  });
});

describe("ACPI power management", () => {
  const enable = (rig: Rig, base: number): void => {
    writeConfig(rig, 1, 3, 0x40, base | 1);
    writeConfig(rig, 1, 3, 0x80, 1, 1);
  };

  test.each([0x600, 0xb000])("the timer runs at 3.579545 MHz behind PMBA %i", (base) => {
    const rig = new Rig();
    expect(rig.in(base + 8, 4)).toBe(0xffff_ffff);
    enable(rig, base);
    rig.pass(1_000_000_000);
    expect(rig.in(base + 8, 4)).toBe(3_579_545);
    expect(rig.in(base + 9, 1)).toBe((3_579_545 >>> 8) & 0xff);
    rig.pass(4_000_000_000);
    expect(rig.in(base + 8, 4)).toBe(Math.floor((5_000_000_000 * 315) / 88_000) % 2 ** 24);
  });

  test("the timer's overflow raises the SCI when it is enabled", () => {
    const rig = new Rig();
    rig.initializePics();
    enable(rig, 0x600);
    rig.out(0x604, 1, 2);
    rig.out(0x602, 1, 2);
    rig.pass(3_000_000_000);
    expect(rig.interrupts()).toEqual([0x71]);
    expect(rig.in(0x600, 2)).toBe(1);
    rig.out(0x600, 1, 2);
    expect(rig.in(0x600, 2)).toBe(0);
    rig.pass(2_400_000_000);
    expect(rig.interrupts()).toEqual([0x71]);
  });

  test("soft off turns the power off", () => {
    const rig = new Rig();
    enable(rig, 0x600);
    rig.out(0x604, 0x3400, 2);
    expect(rig.happened).toEqual([]);
    rig.out(0x604, 0x2000, 2);
    expect(rig.happened).toEqual(["power off"]);
  });

  test("says that SMM is set up already, and keeps the APM ports' bytes", () => {
    const rig = new Rig();
    expect(readConfig(rig, 1, 3, 0x58) & 0x0200_0000).toBe(0x0200_0000);
    rig.out(0xb2, 0x12);
    rig.out(0xb3, 0x34);
    expect(rig.in(0xb2, 2)).toBe(0x3412);
  });
});
