// Part: `ringback bench`. Everything is measured in one run, one after the other, since only figures of one run on one machine compare.

import { existsSync } from "node:fs";
import { cpus } from "node:os";
import type { Scenario } from "../src/machine/scenario.ts";
import { bootTimes } from "./boot.ts";
import { recordingCosts } from "./costs.ts";
import { exitRates } from "./exits.ts";
import { hasPackages, v86 } from "./files.ts";
import { frameRates } from "./frames.ts";
import { guestSpeeds } from "./guests.ts";
import { ioRates } from "./ioexits.ts";
import { isInstalled } from "./measure.ts";
import { modelCosts } from "./models.ts";
import { packetCosts } from "./packets.ts";
import { snapshotTimes } from "./snapshots.ts";

export interface BenchmarkOptions {
  /** Takes the tables, in Markdown. */
  readonly print: (text: string) => void;
  /** Takes a line on what is being measured now. */
  readonly progress: (line: string) => void;
}

/** Which of the peers and guests are missing, and how to get them. */
function missing(): string[] {
  const lines: string[] = [];
  if (!isInstalled("qemu-system-i386")) lines.push("QEMU is not installed: its rows are left out.");
  if (!existsSync(v86.library)) {
    lines.push("v86 is not installed: `npm install --prefix bench/.cache v86` adds its rows.");
  }
  if (!hasPackages())
    lines.push(
      "GRUB, SeaBIOS and iPXE are not there: `scripts/fetch-guests.sh` adds the scenario grub-pvh and iPXE's lease.",
    );
  return lines;
}

async function scenario(name: string): Promise<Scenario> {
  const module = (await import(new URL(`../scenarios/${name}.js`, import.meta.url).href)) as { default: Scenario };
  return module.default;
}

/**
 * Runs all benchmarks; takes some minutes.
 * @returns true when everything that is demanded held
 */
export async function runBenchmarks({ print, progress }: BenchmarkOptions): Promise<boolean> {
  const processors = cpus();
  const date = new Date().toISOString().slice(0, 10);
  print(
    `${processors.length} × ${processors[0]?.model}, ${process.platform} ${process.arch}, Node ${process.version}, ${date}\n`,
  );
  for (const line of missing()) print(`${line}\n`);
  const demands: string[] = [];

  const speeds = guestSpeeds((line) => progress(`guests in ${line}`));
  print(`\n${speeds.table}`);
  demands.push(...speeds.demands);

  const scenarios = [await scenario("first-light"), ...(hasPackages() ? [await scenario("grub-pvh")] : [])];
  const costs = recordingCosts(scenarios, (line) => progress(`recording ${line}`));
  print(`\n${costs.table}`);
  demands.push(...costs.demands);

  progress("VM exits");
  print(`\n${exitRates()}`);

  progress("port I/O of a PC board");
  print(`\n${ioRates()}`);

  print(`\n${frameRates((line) => progress(`frames through the NE2000 in ${line}`))}`);

  const models = modelCosts((line) => progress(`model domains: ${line}`));
  print(`\n${models.table}`);
  demands.push(...models.demands);

  const packets = packetCosts((line) => progress(`model domains: ${line}`));
  print(`\n${packets.table}`);
  demands.push(...packets.demands);

  if (hasPackages()) print(`\n${bootTimes((line) => progress(`iPXE's lease in ${line}`))}`);

  progress("snapshots");
  print(`\n${snapshotTimes()}`);

  print(`\n${demands.map((line) => `- ${line}\n`).join("")}`);
  return demands.every((line) => line.endsWith("held"));
}
