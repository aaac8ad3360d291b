import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import { describe, expect, test } from "vitest";
import { MIB } from "../../../src/core/units.ts";
import { BOOT_CODE, BOOT_CODE_OFFSET, bootRom } from "../../../src/devices/pc/boot-rom.ts";
import { FW_CFG } from "../../../src/devices/pc/fw-cfg.ts";
import { linuxItems } from "../../../src/devices/pc/linux-boot.ts";
import { bzImage } from "./bz-image.ts";

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;

describe("the boot ROM", () => {
  test("has the headers that a BIOS looks for, with their checksums", () => {
    const rom = bootRom();
    expect([...rom.subarray(0, 3)]).toEqual([0x55, 0xaa, rom.length / 512]);
    expect(sum(rom)).toBe(0);
    const pnp = rom[0x1a]! | (rom[0x1b]! << 8);
    expect(String.fromCharCode(...rom.subarray(pnp, pnp + 4))).toBe("$PnP");
    expect(sum(rom.subarray(pnp, pnp + rom[pnp + 5]! * 16))).toBe(0);
    expect(rom[pnp + 26]).toBe(BOOT_CODE_OFFSET);
  });

  test("each row of its code is one instruction, the one that stands beside it", () => {
    const formatter = new Formatter(FormatterSyntax.Gas);
    let at = BOOT_CODE_OFFSET;
    for (const [hex, assembly] of BOOT_CODE) {
      const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
      const decoder = new Decoder(16, bytes, DecoderOptions.None);
      decoder.ip = BigInt(at);
      const instruction = decoder.decode();
      expect(instruction.length, assembly).toBe(bytes.length);
      const mnemonic = formatter
        .format(instruction)
        .split(" ")[0]!
        .replace(/[bwl]$/, "");
      const stated = assembly.split(" ")[0]!;
      expect(stated.startsWith(mnemonic.replace(/^ljmp$/, "jmp")) || mnemonic.startsWith(stated), assembly).toBe(true);
      at += bytes.length;
    }
    // The list of items begins where the code says: MOV SI, 0EDh.
    expect(at).toBe(0xed);
  });
});

describe("a bzImage's items", () => {
  const image = bzImage();
  test("are laid out as the boot protocol asks", () => {
    const initrd = new Uint8Array(5000).fill(0x55);
    const items = linuxItems({ kernel: image, commandLine: "a b", initrd, memorySize: 16 * MIB }, "kernel");
    const word = (key: number): number => new DataView(items.get(key)!.buffer).getUint32(0, true);
    expect(word(FW_CFG.SETUP_SIZE)).toBe(512 * 3);
    expect(word(FW_CFG.KERNEL_SIZE)).toBe(100);
    expect(items.get(FW_CFG.KERNEL_DATA)!.every((byte) => byte === 0x77)).toBe(true);
    const setup = items.get(FW_CFG.SETUP_DATA)!;
    const header = new DataView(setup.buffer);
    expect(header.getUint8(0x210)).toBe(0xb0);
    expect(header.getUint8(0x211)).toBe(0x81);
    expect(header.getUint32(0x228, true)).toBe(word(FW_CFG.CMDLINE_ADDR));
    expect(header.getUint32(0x218, true)).toBe(word(FW_CFG.INITRD_ADDR));
    expect(word(FW_CFG.INITRD_ADDR) + initrd.length).toBeLessThan(16 * MIB);
    expect(word(FW_CFG.INITRD_ADDR) % 4096).toBe(0);
    expect(new TextDecoder().decode(items.get(FW_CFG.CMDLINE_DATA)!)).toBe("a b\0");
    expect(image[0x210]).toBe(0);
  });

  test("an initial RAM disk that does not fit is refused", () => {
    const initrd = new Uint8Array(16 * MIB);
    const options = { kernel: image, commandLine: "", initrd, memorySize: 16 * MIB };
    expect(() => linuxItems(options, "kernel")).toThrow("kernel: no room for the initial RAM disk");
  });
});
