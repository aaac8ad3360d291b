import { describe, expect, test } from "vitest";
import { BOARD, boardKind, boardRows, DEVICE_NAMES } from "../../../src/devices/pc/board.ts";
import { Rig } from "./rig.ts";

describe("the board's table", () => {
  test("names every device once", () => {
    expect(BOARD.map((row) => row.device).sort()).toEqual([...DEVICE_NAMES].sort());
  });

  test("has interrupt controllers, timer and clock in the hypervisor and nothing else", () => {
    const inside = BOARD.filter((row) => row.place === "hypervisor").map((row) => row.device);
    expect(inside).toEqual(["pic-master", "pic-slave", "elcr", "pit", "port-61", "rtc", "local-apic", "io-apic"]);
  });

  test("isapc has no row of PCI or the APICs", () => {
    const missing = BOARD.filter((row) => !boardRows("isapc").includes(row)).map((row) => row.device);
    expect(missing).toEqual(["local-apic", "io-apic", "xen-platform", "apm", "pci-configuration", "pci-io"]);
  });

  test("names are checked", () => {
    expect(boardKind("pc", "board")).toBe("pc");
    expect(() => boardKind("q35", "machine.ts, board")).toThrow("machine.ts, board: q35 is no board");
  });
});

describe("the platform", () => {
  test.each([0x278, 0x300, 0x31f, 0x378, 0x5ff, 0x700, 0xd000])("port %i is nobody's and reads all ones", (port) => {
    const rig = new Rig();
    rig.out(port, 0);
    expect([rig.in(port, 1), rig.in(port, 2), rig.in(port, 4)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
  });

  test("an IDE channel without drives answers with BSY clear and takes nothing", () => {
    const rig = new Rig();
    rig.out(0x1f6, 0xa0);
    expect([rig.in(0x1f6), rig.in(0x1f7), rig.in(0x3f6), rig.in(0x177)]).toEqual([0x7f, 0x7f, 0x7f, 0x7f]);
  });

  test("the debug console says that it is there and passes bytes on", () => {
    const rig = new Rig();
    expect(rig.in(0x402)).toBe(0xe9);
    rig.out(0x402, 0x41);
    expect(rig.debug).toEqual([0x41]);
  });

  test("the DMA controllers' address and count registers take a byte at a time", () => {
    const rig = new Rig();
    rig.out(0x0c, 0);
    rig.out(0x02, 0x34);
    rig.out(0x02, 0x12);
    expect([rig.in(0x02), rig.in(0x02)]).toEqual([0x34, 0x12]);
    rig.out(0xd8, 0);
    rig.out(0xc6, 0x78);
    rig.out(0xc6, 0x56);
    expect([rig.in(0xc6), rig.in(0xc6)]).toEqual([0x78, 0x56]);
    rig.out(0x80, 0x9a);
    expect(rig.platform.dma.postCode).toBe(0x9a);
    expect(rig.in(0x0f)).toBe(0xff);
    rig.out(0x0a, 0x01);
    expect(rig.in(0x0f)).toBe(0xfd);
    rig.out(0x0d, 0);
    expect(rig.in(0x0f)).toBe(0xff);
  });
});
