import { describe, expect, test } from "vitest";
import { parsePvhImage } from "../../src/xen/elf.ts";
import { guestImage, KERNEL_BASE, pvhKernel } from "./support.ts";

/** The image with a 32-bit word changed. */
function patched(offset: number, value: number, image = pvhKernel([0x90])): Uint8Array {
  new DataView(image.buffer).setUint32(offset, value, true);
  return image;
}

describe("a PVH image", () => {
  test("gives its entry and its segments", () => {
    const image = parsePvhImage(pvhKernel([0x90, 0xf4], { memorySize: 64 }), "test");
    expect(image).toMatchObject({ entry: KERNEL_BASE, end: KERNEL_BASE + 64 });
    expect(image.segments).toHaveLength(1);
    expect([...image.segments[0]!.bytes]).toEqual([0x90, 0xf4]);
  });

  test("of the bundled guest starts in its first segment", () => {
    const { entry, segments } = parsePvhImage(guestImage("first-light"), "first-light");
    expect(segments.some(({ address, memorySize }) => entry >= address && entry < address + memorySize)).toBe(true);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["that is empty", new Uint8Array(0), /not an ELF file/],
    ["of text", new TextEncoder().encode("#!/bin/sh\n".repeat(20)), /not an ELF file/],
    ["for 64 bits", Uint8Array.from(pvhKernel([0x90]), (byte, index) => (index === 4 ? 2 : byte)), /not a 32-bit x86/],
    ["cut off", pvhKernel(Array(100).fill(0x90)).subarray(0, 200), /leaves the file/],
    ["without the PVH note", pvhKernel([0x90], { note: 1 }), /no PVH entry note/],
    ["that starts outside of itself", pvhKernel([0x90], { entry: 0x500_0000 }), /is in no segment/],
    ["whose segment shrinks in memory", pvhKernel([0x90, 0x90, 0x90], { memorySize: 2 }), /more bytes in the file/],
    ["with its headers past the end", patched(28, 0xffff_fff0), /program headers leave the file/],
    ["with thousands of headers", patched(44, 0xffff), /program headers, at most/],
    ["with a note of endless length", patched(52 + 3 * 32, 0xffff_ffff), /no PVH entry note/],
  ])("%s is refused by name", (_what, file, message) => {
    expect(() => parsePvhImage(file, "kernel of test")).toThrow(message);
    expect(() => parsePvhImage(file, "kernel of test")).toThrow(/^kernel of test: /);
  });

  test("with overlapping segments is refused, whatever their order", () => {
    const separate = parsePvhImage(pvhKernel([0x90], { second: KERNEL_BASE - 4096 }), "test");
    expect(separate.segments.map(({ address }) => address)).toEqual([KERNEL_BASE - 4096, KERNEL_BASE]);
    for (const second of [KERNEL_BASE - 4095, KERNEL_BASE, KERNEL_BASE + 4095]) {
      expect(() => parsePvhImage(pvhKernel([0x90], { second }), "test")).toThrow(/overlaps the one before/);
    }
  });
});
