import { beforeEach, describe, expect, test } from "vitest";
import { Rig } from "./rig.ts";

const LAPIC = 0xfee0_0000;
const IOAPIC = 0xfec0_0000;
const SVR = LAPIC + 0x0f0;
const EOI = LAPIC + 0x0b0;
const EDGE = 0;
const LEVEL = 0x8000;

describe("the APICs", () => {
  let rig: Rig;
  const lapic = (register: number): number => rig.mmio.read(LAPIC + register, 4);
  const write = (address: number, value: number): void => rig.mmio.write(address, 4, value);
  const redirect = (pin: number, low: number, high = 0): void => {
    write(IOAPIC, 0x11 + 2 * pin);
    write(IOAPIC + 0x10, high);
    write(IOAPIC, 0x10 + 2 * pin);
    write(IOAPIC + 0x10, low);
  };
  const entry = (pin: number): number => {
    write(IOAPIC, 0x10 + 2 * pin);
    return rig.mmio.read(IOAPIC + 0x10, 4);
  };
  const line = (irq: number, level: boolean): void => rig.platform.setIsaIrqLevel(irq, level);
  const take = (): number => (rig.platform.interruptPending ? rig.platform.acknowledgeInterrupt() : -1);

  beforeEach(() => {
    rig = new Rig();
    write(SVR, 0x1ff);
    write(LAPIC + 0x350, 0x1_0000);
  });

  test("tell their versions", () => {
    expect(lapic(0x030)).toBe(0x0005_0014);
    expect(lapic(0x020)).toBe(0);
    write(IOAPIC, 1);
    expect(rig.mmio.read(IOAPIC + 0x10, 4)).toBe(0x002f_0011);
  });

  test("start in virtual wire mode: the 8259 pair reaches the processor until LINT0 is masked", () => {
    const other = new Rig();
    other.initializePics();
    other.platform.setIsaIrqLevel(4, true);
    expect(other.platform.interruptPending).toBe(true);
    other.mmio.write(LAPIC + 0x350, 4, 0x1_0700);
    expect(other.platform.interruptPending).toBe(false);
    other.mmio.write(SVR, 4, 0x1ff);
    other.mmio.write(LAPIC + 0x350, 4, 0x0700);
    expect(other.platform.acknowledgeInterrupt()).toBe(0x0c);
  });

  test("an edge goes through the redirection table once", () => {
    redirect(4, 0x44 | EDGE);
    line(4, true);
    expect(take()).toBe(0x44);
    write(EOI, 0);
    expect(take()).toBe(-1);
    line(4, false);
    line(4, true);
    expect(take()).toBe(0x44);
  });

  test("a level is sent again at EOI for as long as it is asserted", () => {
    redirect(11, 0x5b | LEVEL);
    line(11, true);
    expect(entry(11) & 0x4000).toBe(0x4000);
    expect(take()).toBe(0x5b);
    expect(take()).toBe(-1);
    write(EOI, 0);
    expect(take()).toBe(0x5b);
    line(11, false);
    write(EOI, 0);
    expect(take()).toBe(-1);
    expect(entry(11) & 0x4000).toBe(0);
  });

  test("a masked level is seen when it is unmasked, a masked edge is lost", () => {
    line(5, true);
    line(10, true);
    redirect(5, 0x45 | EDGE);
    redirect(10, 0x4a | LEVEL);
    expect(take()).toBe(0x4a);
    expect(take()).toBe(-1);
  });

  test("the PIT's interrupt is input 2", () => {
    redirect(2, 0x30);
    rig.out(0x43, 0x34);
    rig.out(0x40, 0);
    rig.out(0x40, 0);
    rig.pass(60_000_000);
    expect(take()).toBe(0x30);
  });

  test("the higher class goes first, and nothing at or below the task priority", () => {
    redirect(3, 0x43);
    redirect(4, 0x64);
    redirect(5, 0x46);
    line(3, true);
    line(4, true);
    line(5, true);
    expect(take()).toBe(0x64);
    expect(lapic(0x0a0)).toBe(0x60);
    expect(take()).toBe(-1);
    write(EOI, 0);
    write(LAPIC + 0x080, 0x40);
    expect(take()).toBe(-1);
    write(LAPIC + 0x080, 0x30);
    expect(take()).toBe(0x46);
    expect(lapic(0x220)).toBe(1 << 3);
    expect(lapic(0x120)).toBe(1 << 6);
  });

  test("destinations: physical, broadcast, logical; others are somebody else's", () => {
    write(LAPIC + 0x0d0, 0x0200_0000);
    const edge = (irq: number): number => {
      line(irq, true);
      line(irq, false);
      const vector = take();
      if (vector >= 0) write(EOI, 0);
      return vector;
    };
    redirect(3, 0x51, 0xff00_0000);
    redirect(4, 0x52, 0x0300_0000);
    redirect(5, 0x53 | 0x800, 0x0300_0000);
    redirect(6, 0x54 | 0x800, 0x0100_0000);
    expect([3, 4, 5, 6].map(edge)).toEqual([0x51, -1, 0x53, -1]);
  });

  test("self-IPIs arrive; an illegal vector is an error", () => {
    write(LAPIC + 0x300, 0x0004_0041);
    expect(take()).toBe(0x41);
    write(EOI, 0);
    write(LAPIC + 0x370, 0x70);
    write(LAPIC + 0x300, 0x0004_0005);
    expect(take()).toBe(0x70);
    write(LAPIC + 0x280, 0);
    expect(lapic(0x280)).toBe(0x20);
  });

  test("IPIs to other processors, and INIT and start-up, go nowhere", () => {
    for (const command of [0x000c_4500, 0x000c_4610, 0x000c_0041]) write(LAPIC + 0x300, command);
    expect(take()).toBe(-1);
    expect(lapic(0x300) & 0x1000).toBe(0);
  });

  test("the timer counts at 100 MHz over its divider, once or for ever", () => {
    write(LAPIC + 0x3e0, 0x3);
    write(LAPIC + 0x320, 0x60);
    write(LAPIC + 0x380, 1000);
    rig.pass(80_000);
    expect(lapic(0x390)).toBe(500);
    expect(take()).toBe(-1);
    rig.pass(80_000);
    expect(take()).toBe(0x60);
    write(EOI, 0);
    rig.pass(1_000_000);
    expect(take()).toBe(-1);
    expect(lapic(0x390)).toBe(0);
    write(LAPIC + 0x320, 0x2_0060);
    write(LAPIC + 0x380, 1000);
    for (let period = 0; period < 3; period++) {
      rig.pass(160_000);
      expect(take()).toBe(0x60);
      write(EOI, 0);
    }
  });

  test("software that disables the APIC masks its entries and stops delivery", () => {
    redirect(4, 0x44);
    write(SVR, 0x0ff);
    line(4, true);
    expect(take()).toBe(-1);
    expect(lapic(0x320) & 0x1_0000).toBe(0x1_0000);
    write(LAPIC + 0x320, 0);
    expect(lapic(0x320) & 0x1_0000).toBe(0x1_0000);
  });
});
