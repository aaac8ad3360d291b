// SeaBIOS and iPXE, unmodified, on the chips alone (see bare-board.ts). What they print is what they print on QEMU 7.2's pc and isapc machines
// with -nodefaults, two serial ports and without its kvmvapic ROM, apart from the ACPI tables that QEMU hands over (which move the power
// management block from B000h to 600h).

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BareBoard } from "./bare-board.ts";

const CACHE = join(import.meta.dirname, "../../../guests/.cache");
const BIOS = join(CACHE, "usr/share/seabios/bios.bin");
const BIOS_WITH_SMM = join(CACHE, "usr/share/seabios/bios-256k.bin");
const VGA_BIOS = join(CACHE, "usr/share/seabios/vgabios-isavga.bin");
const IPXE = join(CACHE, "boot/ipxe.lkrn");
const missing = [BIOS, BIOS_WITH_SMM, VGA_BIOS, IPXE].filter((path) => !existsSync(path));
if (missing.length > 0) console.warn(`skipped: no ${missing.join(", ")}; scripts/fetch-guests.sh gets them`);

const load = (path: string): Uint8Array => new Uint8Array(readFileSync(path));
const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");
/** Without the terminal's control sequences. */
const ESCAPE = String.fromCharCode(27);
const SEQUENCE = new RegExp(`${ESCAPE}(c|\\[[?0-9;]*[A-Za-z])`, "g");
const plain = (text: string): string => text.replace(SEQUENCE, "").replaceAll("\r", "");

const NO_DISK = "Boot failed: could not read the boot disk";
const BUDGET = 30_000_000;

describe.skipIf(missing.length > 0)("SeaBIOS", () => {
  const boot = missing.length > 0 ? {} : { kernel: { name: "ipxe.lkrn", image: load(IPXE), commandLine: "" } };

  test("initializes the pc board and looks for something to boot", () => {
    const board = new BareBoard({ kind: "pc", bios: load(BIOS), serialConsole: 0x3f8 });
    board.run(() => board.serial.includes("No bootable device."), BUDGET);
    const said = lines(board.debug);
    expect(said[0]).toMatch(/^SeaBIOS \(version 1\.16/);
    for (const line of [
      "Running on QEMU (i440fx)",
      "Found QEMU fw_cfg",
      "QEMU fw_cfg DMA interface supported",
      "qemu/e820: addr 0x0000000000000000 len 0x0000000002000000 [RAM]",
      "Found 4 PCI devices (max PCI bus is 00)",
      "PCI: map device bdf=00:01.1  bar 4, addr 0000c000, size 00000010 [io]",
      "PIIX3/PIIX4 init: elcr=00 0c",
      "Using pmtimer, ioport 0xb008",
      "Found 1 cpu(s) max supported 1 cpu(s)",
      "sercon: using ioport 0x3f8",
      "ATA controller 1 at 1f0/3f4/0 (irq 14 dev 9)",
      "ATA controller 2 at 170/374/0 (irq 15 dev 9)",
      "Found 2 serial ports",
      "PS2 keyboard initialized",
      "All threads complete.",
      "e820 map has 6 items:",
      "enter handle_19:",
    ]) {
      expect(said).toContain(line);
    }
    expect(lines(plain(board.serial)).slice(1)).toEqual([
      "Booting from Floppy...",
      NO_DISK,
      "Booting from Hard Disk...",
      NO_DISK,
      "No bootable device.",
    ]);
  }, 60_000);

  test("finds no PCI on the isapc board and measures the TSC with the PIT", () => {
    const board = new BareBoard({ kind: "isapc", bios: load(BIOS), serialConsole: 0x3f8 });
    board.run(() => board.serial.includes("No bootable device."), BUDGET);
    const said = lines(board.debug);
    expect(said).toContain("Detected non-PCI system");
    expect(said).toContain("No apic - only the main cpu is present.");
    const mhz = Number(/CPU Mhz=(\d+)/.exec(board.debug)?.[1]);
    expect(Math.abs(mhz - 1000)).toBeLessThanOrEqual(1);
  }, 60_000);

  test("the build with SMM believes that SMM is set up", () => {
    const board = new BareBoard({ kind: "pc", bios: load(BIOS_WITH_SMM), serialConsole: 0x3f8 });
    board.run(() => board.debug.includes("enter handle_19:"), BUDGET);
    expect(board.ended).toBeUndefined();
  }, 60_000);

  test("shows its boot menu on the VGA screen and takes the choice from the keyboard", () => {
    const optionRoms = new Map([["vgaroms/vgabios.bin", load(VGA_BIOS)]]);
    const board = new BareBoard({ kind: "pc", bios: load(BIOS), optionRoms, bootMenuMs: 5000, ...boot });
    const shown = (start: string): boolean => board.platform.vga.screen().rows.some((row) => row.startsWith(start));
    board.run(() => shown("Press ESC for boot menu."), BUDGET);
    board.platform.keyboard.pressKey([0x76, 0xf0, 0x76]);
    board.run(() => shown("1. Linux bzImage"), BUDGET);
    expect(shown("Select boot device:")).toBe(true);
    board.platform.keyboard.pressKey([0x16, 0xf0, 0x16]);
    board.run(() => shown("Booting from ROM..."), BUDGET);
  }, 60_000);

  test("boots a bzImage through the boot ROM: iPXE's first words", () => {
    const board = new BareBoard({ kind: "isapc", bios: load(BIOS), serialConsole: 0x3f8, ...boot });
    board.run(() => board.serial.includes("initialising devices..."), 200_000_000);
    expect(lines(plain(board.serial)).slice(1)).toEqual(["Booting from ROM...", "iPXE initialising devices..."]);
  }, 120_000);
});
