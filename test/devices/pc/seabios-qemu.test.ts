// The same SeaBIOS on QEMU's pc and isapc machines and on ours: the serial text is equal, the debug console's lines are, but for these:
// - QEMU hands the pc machine's firmware ACPI tables, ours lets it build its own, which moves the power management block (B000h, not 600h), the
//   tables and the end of memory;
// - QEMU hands over SMBIOS tables, whose size moves what lies beside them;
// - QEMU's isapc has a processor without a time-stamp counter.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BareBoard } from "./bare-board.ts";

const BIOS = join(import.meta.dirname, "../../../guests/.cache/usr/share/seabios/bios.bin");
const QEMU = "qemu-system-i386";
const hasQemu = spawnSync(QEMU, ["--version"]).status === 0;
const skipped = !hasQemu || !existsSync(BIOS);
if (skipped) console.warn(`skipped: needs ${QEMU} (Debian: qemu-system-x86) and ${BIOS} (scripts/fetch-guests.sh)`);

/** QEMU never ends by itself; SeaBIOS is done well before. */
const QEMU_MS = 6_000;
const DIFFERENT =
  /^(Moving pm_base|Using pmtimer|Copying (PIR|MPTABLE|SMBIOS|ACPI)|ACPI DSDT|CPU Mhz|Space available|Returned|Relocating| {2}\d+: )/;

const lines = (text: string): string[] => text.replaceAll("\r", "").split("\n").slice(0, -1);
const comparable = (text: string): string[] => lines(text).filter((line) => !DIFFERENT.test(line));

function runQemu(machine: string): { serial: string; debug: string } {
  const folder = mkdtempSync(join(tmpdir(), "seabios-"));
  try {
    const [serial, debug] = [join(folder, "serial"), join(folder, "debug")];
    // biome-ignore format: one option a row
    spawnSync(QEMU, [
      "-M", machine,
      "-bios", BIOS,
      "-m", "32",
      "-nodefaults", "-net", "none", "-vga", "none", "-nographic", "-monitor", "none",
      "-serial", `file:${serial}`, "-serial", "null",
      "-debugcon", `file:${debug}`, "-global", "isa-debugcon.iobase=0x402",
      // Its kvmvapic option ROM would count as a disk.
      "-global", "apic-common.vapic=off",
    ], { timeout: QEMU_MS });
    return { serial: readFileSync(serial, "latin1"), debug: readFileSync(debug, "latin1") };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe.skipIf(skipped)("SeaBIOS beside QEMU", () => {
  test.each(["pc", "isapc"] as const)(
    "says the same on %s",
    (kind) => {
      const board = new BareBoard({ kind, bios: new Uint8Array(readFileSync(BIOS)), serialConsole: 0x3f8 });
      board.run(
        () => board.serial.includes("No bootable device.") && board.debug.trimEnd().endsWith("device."),
        30_000_000,
      );
      const { serial, debug } = runQemu(kind);
      expect(lines(`${board.serial}\n`)[0]).toMatch(/SeaBIOS/);
      expect(lines(`${board.serial.trimEnd()}\n`)).toEqual(lines(`${serial.trimEnd()}\n`));
      expect(comparable(`${board.debug.trimEnd()}\n`)).toEqual(comparable(`${debug.trimEnd()}\n`));
    },
    60_000,
  );
});
