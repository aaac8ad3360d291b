import { describe, expect, test } from "vitest";
import { FW_CFG } from "../../../src/devices/pc/fw-cfg.ts";
import { bzImage } from "./bz-image.ts";
import { MEMORY_SIZE, Rig, type RigOptions } from "./rig.ts";

function select(rig: Rig, key: number): void {
  rig.out(0x510, key, 2);
}
const bytes = (rig: Rig, count: number): number[] => Array.from({ length: count }, () => rig.in(0x511));
const text = (values: readonly number[]): string => String.fromCharCode(...values);

/** Puts FWCfgDmaAccess at 1000h and starts it; the control word that is left there. */
function dma(rig: Rig, control: number, length: number, address: number): number {
  const view = new DataView(rig.memory.buffer);
  view.setUint32(0x1000, control);
  view.setUint32(0x1004, length);
  view.setUint32(0x1008, 0);
  view.setUint32(0x100c, address);
  rig.out(0x518, 0x0010_0000, 4);
  return view.getUint32(0x1000);
}

/** Name → key and size. */
function files(rig: Rig): Map<string, { key: number; size: number }> {
  select(rig, FW_CFG.FILE_DIR);
  const word = (count: number): number => bytes(rig, count).reduce((value, byte) => value * 256 + byte, 0);
  return new Map(
    Array.from({ length: word(4) }, () => {
      const [size, key] = [word(4), word(2)];
      word(2);
      return [text(bytes(rig, 56)).replace(/\0+$/, ""), { key, size }] as const;
    }),
  );
}

describe("fw_cfg", () => {
  test("says that it is QEMU's and has DMA", () => {
    const rig = new Rig();
    expect(text(bytes(rig, 4))).toBe("QEMU");
    select(rig, FW_CFG.ID);
    expect(bytes(rig, 5)).toEqual([3, 0, 0, 0, 0]);
    expect(rig.in(0x514, 4)).toBe(0x554d_4551);
    expect(rig.in(0x518, 4)).toBe(0x4746_4320);
  });

  test("keys that do not exist, and what lies past an item's end, read as zeros", () => {
    const rig = new Rig();
    select(rig, 0x3fff);
    expect(bytes(rig, 3)).toEqual([0, 0, 0]);
    select(rig, FW_CFG.SIGNATURE);
    expect(bytes(rig, 6).slice(4)).toEqual([0, 0]);
  });

  test("the directory names its files in order, each with its key and size", () => {
    const rig = new Rig({ serialConsole: 0x3f8, bootOrder: ["/rom@a"], strictBoot: true, bootMenuMs: 5000 });
    const directory = files(rig);
    expect([...directory.keys()]).toEqual([
      "bootorder",
      "etc/boot-fail-wait",
      "etc/boot-menu-wait",
      "etc/e820",
      "etc/sercon-port",
    ]);
    const { key, size } = directory.get("bootorder")!;
    select(rig, key);
    expect(text(bytes(rig, size))).toBe("/rom@a\nHALT\0");
    select(rig, directory.get("etc/e820")!.key);
    expect(bytes(rig, 20)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
  });

  test("DMA selects, reads and skips", () => {
    const rig = new Rig();
    expect(dma(rig, 0x0000_000a, 4, 0x2000)).toBe(0);
    expect(text([...rig.memory.subarray(0x2000, 0x2004)])).toBe("QEMU");
    expect(dma(rig, 0x0000_000c, 2, 0)).toBe(0);
    expect(dma(rig, 0x0000_0002, 4, 0x2000)).toBe(0);
    expect(text([...rig.memory.subarray(0x2000, 0x2004)])).toBe("MU\0\0");
  });

  test("DMA writes are errors, and so is reading to where no memory is; a length that is made up ends with memory", () => {
    const rig = new Rig();
    expect(dma(rig, 0x0000_0018, 4, 0x2000)).toBe(1);
    expect(dma(rig, 0x0000_000a, 4, MEMORY_SIZE - 2)).toBe(1);
    expect(dma(rig, 0x0000_000a, 0xffff_ffff, 0x2000)).toBe(1);
    expect(text([...rig.memory.subarray(0x2000, 0x2004)])).toBe("QEMU");
  });

  test("a DMA descriptor outside of memory is ignored", () => {
    const rig = new Rig();
    rig.out(0x514, 0xffff_ffff, 4);
    rig.out(0x518, 0xffff_ffff, 4);
    expect(rig.memory.every((byte) => byte === 0)).toBe(true);
  });

  test("names and files beyond the format's limits are refused", () => {
    const optionRoms = new Map([[`vgaroms/${"x".repeat(60)}`, new Uint8Array(1)]]);
    expect(() => new Rig({ optionRoms })).toThrow("the name is longer than 55");
  });
});

describe("a kernel in fw_cfg", () => {
  // The rig has one MiB: a kernel at 100000h does not fit; the machine's own size is what counts.
  const options = (image: Uint8Array, commandLine = "a b", initrd?: Uint8Array): RigOptions => ({
    kernel: { name: "kernel.img", image, commandLine, ...(initrd === undefined ? {} : { initrd }) },
  });

  test.each([
    ["too short", new Uint8Array(100), "too short for a bzImage"],
    ["no header", bzImage((view) => view.setUint32(0x202, 0)), "not a bzImage"],
    ["an old protocol", bzImage((view) => view.setUint16(0x206, 0x201, true)), "not a bzImage"],
    ["a zImage", bzImage((view) => view.setUint8(0x211, 0)), "not a bzImage"],
    ["setup beyond its end", bzImage((view) => view.setUint8(0x1f1, 200)), "its setup sectors do not fit"],
    ["more than memory holds", bzImage(), "larger than the machine's memory"],
  ])("%s is refused with the image's name", (_what, image, message) => {
    expect(() => new Rig(options(image))).toThrow(`kernel.img: ${message}`);
  });
});
