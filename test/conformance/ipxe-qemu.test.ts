// The same SeaBIOS and iPXE, command line, card, addresses and script under QEMU and in our machine: the text screens are equal, row for row, and so is what
// SeaBIOS mirrors to COM1 where there is no screen. QEMU's own network is the server there, with the addresses that the scenario's server has here.
// Differences: none on the screen. On the serial port the control sequences are left out, as iPXE's cursor moves depend on the time.

import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import isaScenario from "../../scenarios/ipxe-ne2000-isa.ts";
import pciScenario from "../../scenarios/ipxe-ne2000-pci.ts";
import { NS_PER_MS } from "../../src/core/units.ts";
import { completeConfig, type DomainConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";
import type { Scenario } from "../../src/machine/scenario.ts";
import { load } from "../support/recorded.ts";

const QEMU = "qemu-system-i386";
const CACHE = join(import.meta.dirname, "../../guests/.cache");
const BIOS = join(CACHE, "usr/share/seabios/bios-256k.bin");
const IPXE = join(CACHE, "boot/ipxe.lkrn");
const isMissing = spawnSync(QEMU, ["--version"]).status !== 0 || !existsSync(BIOS) || !existsSync(IPXE);
if (isMissing) console.warn(`skipped: needs ${QEMU} (Debian: qemu-system-x86) and scripts/fetch-guests.sh`);

const LAST_LINE = "No bootable device.";
const QEMU_MS = 60_000;
const POLL_MS = 250;
/** Both scroll for a while after the last line has appeared. */
const SETTLE_MS = 500;
const ROWS = 25;
const ROW_BYTES = 160;
const TEXT_MEMORY = 0xb8000;

const CARDS = {
  "ipxe-ne2000-isa": "ne2k_isa,netdev=n,iobase=0x300,irq=9",
  "ipxe-ne2000-pci": "ne2k_pci,netdev=n,addr=3,romfile=",
} as const;

const domainOf = (scenario: Scenario): DomainConfig => scenario.machine.domains[0]!;
const text = (rows: readonly string[]): string[] => rows.map((row) => row.trimEnd());

/** A text without the sequences that move the cursor or set colours (ECMA-48, section 5.4), one row an element. */
const plainRows = (serial: string): string[] =>
  text(
    serial
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they begin with
      .replaceAll(/\x1b(\[[\d;?]*[ -/]*[@-~]|c)/g, "")
      .split(/[\r\n]+/),
  ).filter((row) => row !== "");

/** QEMU with its machine protocol on standard input and output. */
class Qemu {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  readonly #folder: string;

  constructor(scenario: Scenario, folder: string, options: readonly string[]) {
    const { commandLine = "", memoryMiB, board } = domainOf(scenario);
    this.#folder = folder;
    const card = `${CARDS[scenario.name as keyof typeof CARDS]},mac=${board?.nics?.[0]?.address}`;
    // biome-ignore format: one option a row
    this.#process = spawn(QEMU, [
      "-M", "pc", "-accel", "tcg", "-m", `${memoryMiB}`, "-nodefaults", "-bios", BIOS,
      "-kernel", IPXE, "-append", commandLine,
      "-netdev", `user,id=n,tftp=${folder},bootfile=boot.ipxe`, "-device", card,
      "-qmp", "stdio",
      // Its kvmvapic option ROM would count as a disk.
      "-global", "apic-common.vapic=off",
      ...options,
    ]);
    this.#answers = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async command(execute: string, given: object = {}): Promise<void> {
    this.#process.stdin.write(`${JSON.stringify({ execute, arguments: given })}\n`);
    for (;;) {
      const { value, done } = await this.#answers.next();
      if (done === true) throw new Error(`QEMU ends at ${execute}`);
      const answer = JSON.parse(value) as { readonly return?: object; readonly error?: object };
      if (answer.error !== undefined) throw new Error(JSON.stringify(answer.error));
      if (answer.return !== undefined) return;
    }
  }

  async screen(): Promise<string[]> {
    const file = join(this.#folder, "screen");
    await this.command("pmemsave", { val: TEXT_MEMORY, size: ROWS * ROW_BYTES, filename: file });
    const bytes = readFileSync(file);
    return Array.from({ length: ROWS }, (_, row) =>
      String.fromCharCode(
        ...bytes.subarray(row * ROW_BYTES, (row + 1) * ROW_BYTES).filter((_, index) => index % 2 === 0),
      ).replaceAll("\0", " "),
    );
  }

  async quit(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.kill();
    await ended;
  }
}

/** @param shown what stands there now */
async function until(shown: () => Promise<readonly string[]>): Promise<readonly string[]> {
  for (let waited = 0; waited < QEMU_MS; waited += POLL_MS) {
    const rows = await shown();
    if (isLast(rows)) {
      await pause(SETTLE_MS);
      return shown();
    }
    await pause(POLL_MS);
  }
  throw new Error(`QEMU does not come to its last line: ${(await shown()).join("\n")}`);
}

const isLast = (rows: readonly string[]): boolean => rows.some((row) => row.startsWith(LAST_LINE));

/** Our machine, up to the last line. */
function runOurs(scenario: Scenario, shown: (machine: Machine) => readonly string[]): readonly string[] {
  const machine = new Machine(
    completeConfig(scenario.machine),
    new Images(scenario.images, load),
    "1",
    () => undefined,
  );
  for (let step = 1; machine.step(); step++) if (step % 10_000 === 0 && isLast(shown(machine))) break;
  const settledNs = machine.now + SETTLE_MS * NS_PER_MS;
  while (machine.now < settledNs && machine.step());
  return shown(machine);
}

describe.skipIf(isMissing)("SeaBIOS and iPXE beside QEMU", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "ipxe-"));
    const script = isaScenario.images.script;
    if (script === undefined || !("build" in script)) throw new Error("the scenario makes no script");
    writeFileSync(join(folder, "boot.ipxe"), script.build());
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each([isaScenario, pciScenario])("$name: the screen is the same", async (scenario) => {
    const qemu = new Qemu(scenario, folder, ["-vga", "std", "-display", "none"]);
    try {
      await qemu.command("qmp_capabilities");
      const theirs = await until(() => qemu.screen());
      const ours = runOurs(scenario, (machine) => machine.screen("pc"));
      expect(text(ours)).toEqual(text(theirs));
      expect(ours.some((row) => row.startsWith("ringback: iPXE fetched this script"))).toBe(true);
    } finally {
      await qemu.quit();
    }
  });

  test("without a screen the serial port says the same", async () => {
    const serial = join(folder, "serial");
    const qemu = new Qemu(pciScenario, folder, ["-vga", "none", "-nographic", "-serial", `file:${serial}`]);
    try {
      await qemu.command("qmp_capabilities");
      const theirs = await until(async () => plainRows(readFileSync(serial, "latin1")));
      const { optionRoms, ...board } = domainOf(pciScenario).board!;
      expect(optionRoms).toBeDefined();
      const domains = [{ ...domainOf(pciScenario), board: { ...board, serialConsole: true } }];
      const scenario = { ...pciScenario, machine: { ...pciScenario.machine, domains } };
      const ours = runOurs(scenario, (machine) => plainRows(machine.serial("pc", 0)));
      expect(ours).toEqual(theirs);
      expect(ours.some((row) => row.startsWith("ringback: iPXE fetched this script"))).toBe(true);
    } finally {
      await qemu.quit();
    }
  });
});
