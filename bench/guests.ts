// Part: guest MIPS of the three benchmark guests in ringback and in its peers: the same ELF file everywhere.
//
// Each run is a process of its own. A run with one round tells what start-up costs; what is left of the full run's CPU seconds is the guest's.
// Every instruction counts once and every iteration of a repeated string instruction once, as a stepped processor counts.

import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { guestPath, program, v86 } from "./files.ts";
import { isInstalled, median, runProcess, table, verdict } from "./measure.ts";

const GUESTS = ["alu", "mem", "mixed"] as const;
const SHORT = "rounds=1";
const SAMPLES = 3;
/** What the interpreter has to reach on each guest. */
export const DEMANDED_MIPS = 150;

interface Peer {
  readonly name: string;
  readonly command: string;
  readonly args: (image: string, commandLine: string) => readonly string[];
}

const ringback = (mode: "plain" | "record"): Peer["args"] => {
  return (image, commandLine) => [program("run-ringback"), image, mode, commandLine];
};

const withV86 = (compiler: "compiler" | "interpreter"): Peer["args"] => {
  return (image, commandLine) => [program("run-v86"), guestPath(image), compiler, commandLine];
};

const recording = join(tmpdir(), `ringback-bench-${process.pid}.rr`);
const QEMU = "qemu-system-i386";
const BARE =
  "-m 64 -nic none -display none -monitor none -serial stdio -no-reboot -device isa-debug-exit,iobase=0xf4".split(" ");
const qemu = (...options: string[]): Peer["args"] => {
  return (image, commandLine) => ["-kernel", guestPath(image), "-append", commandLine, ...BARE, ...options];
};

/** QEMU 7.2 hangs with both rr and sleep=off; its guests never sleep here. */
const PEERS: readonly Peer[] = [
  { name: "ringback", command: process.execPath, args: ringback("plain") },
  { name: "ringback, recording", command: process.execPath, args: ringback("record") },
  { name: "v86, interpreter", command: process.execPath, args: withV86("interpreter") },
  { name: "v86, compiler", command: process.execPath, args: withV86("compiler") },
  { name: "QEMU -icount, record", command: QEMU, args: qemu("-icount", `shift=0,rr=record,rrfile=${recording}`) },
  { name: "QEMU -icount, replay", command: QEMU, args: qemu("-icount", `shift=0,rr=replay,rrfile=${recording}`) },
  { name: "QEMU -icount", command: QEMU, args: qemu("-icount", "shift=0,sleep=off") },
  { name: "QEMU TCG", command: QEMU, args: qemu("-accel", "tcg") },
];

/** Instructions of the measured part, from the note that the image carries (guests/bench/measure.S). */
export function knownInstructions(image: Uint8Array): number {
  const name = Buffer.from("\x09\0\0\0\x30\0\0\0\x01\0\0\0ringback\0", "latin1");
  const bytes = Buffer.from(image);
  const at = bytes.indexOf(name);
  if (at < 0) throw new Error("the image has no ringback note");
  const [instructions, reps, iterations] = [0, 8, 16].map((offset) => Number(bytes.readBigUInt64LE(at + 24 + offset)));
  return instructions! - reps! + iterations!;
}

/** CPU seconds of one run. @throws Error when the guest does not reach its end */
function run(peer: Peer, guest: string, commandLine: string): number {
  const finished = runProcess(peer.command, peer.args(`bench-${guest}`, commandLine));
  if (finished?.output.includes(`${guest}: done`) !== true) throw new Error(`${peer.name} does not finish ${guest}`);
  return finished.cpuSeconds;
}

/** Guest MIPS: the best of a few samples, as what disturbs a run only ever adds to its CPU seconds. */
function speed(peer: Peer, guest: string, instructions: number): number {
  // In the recording's order: a replay needs the recording of the same command line.
  const samples = (commandLine: string): number[] =>
    Array.from({ length: SAMPLES }, () => run(peer, guest, commandLine));
  if (peer.name.endsWith("replay")) run(PEERS.find(({ name }) => name.endsWith(", record"))!, guest, SHORT);
  const start = median(samples(SHORT));
  if (peer.name.endsWith("replay")) run(PEERS.find(({ name }) => name.endsWith(", record"))!, guest, "");
  return instructions / (Math.min(...samples("")) - start) / 1e6;
}

export interface GuestSpeeds {
  readonly table: string;
  /** What was demanded, and whether it held. */
  readonly demands: readonly string[];
}

/** @param progress takes a line before each peer */
export function guestSpeeds(progress: (line: string) => void): GuestSpeeds {
  const counts = GUESTS.map((guest) => knownInstructions(readFileSync(guestPath(`bench-${guest}`))));
  const present = PEERS.filter(({ name, command }) =>
    name.startsWith("v86") ? existsSync(v86.library) : isInstalled(command),
  );
  const speeds = present.map((peer) => {
    progress(peer.name);
    return GUESTS.map((guest, index) => speed(peer, guest, counts[index]!));
  });
  rmSync(recording, { force: true });
  const own = speeds[0]!;
  const rows = present.map(({ name }, index) => [
    name,
    ...speeds[index]!.flatMap((mips, guest) => [mips.toFixed(0), (mips / own[guest]!).toFixed(2)]),
  ]);
  const header = ["guest MIPS", ...GUESTS.flatMap((guest) => [guest, "×"])];
  const demands = GUESTS.map((guest, index) => {
    const mips = own[index]!;
    return `${guest}: ${mips.toFixed(0)} MIPS, at least ${DEMANDED_MIPS} demanded: ${verdict(mips >= DEMANDED_MIPS)}`;
  });
  return { table: table(header, rows), demands };
}
