// Part: frames a second through the NE2000: the bundled guest ne2000-bench, in ringback and in its peers the same ELF file.
//
// Each run is a process of its own. What a run costs beyond one with a quarter of the frames are the others' CPU seconds: start-up and the
// compiler's first work cancel out. The peers' cards transmit in no time, so ringback's cable takes none either. Frames are received in ringback
// alone: the peers get them from a socket or from a program's events, lose those that the guest is not ready for, and cost what those cost.

import { existsSync } from "node:fs";
import { guestPath, program, v86 } from "./files.ts";
import { isInstalled, runProcess, table } from "./measure.ts";

const GUEST = "ne2000-bench";
const QEMU = "qemu-system-i386";
const SAMPLES = 2;

interface Peer {
  readonly name: string;
  readonly command: string;
  readonly args: (commandLine: string) => readonly string[];
  /** Frames of each size that take it a second or two. */
  readonly frames: Readonly<Record<Size, number>>;
  readonly receives: boolean;
}

const SIZES = [60, 1514] as const;
type Size = (typeof SIZES)[number];

const ringback = (mode: "plain" | "record"): Omit<Peer, "name"> => ({
  command: process.execPath,
  args: (commandLine) => [program("run-frames"), mode, commandLine],
  frames: { 60: 32_000, 1514: 20_000 },
  receives: true,
});

const PEERS: readonly Peer[] = [
  { name: "ringback", ...ringback("plain") },
  { name: "ringback, recording", ...ringback("record") },
  {
    name: "v86, compiler",
    command: process.execPath,
    args: (commandLine) => [program("run-v86"), guestPath(GUEST), "compiler", commandLine],
    frames: { 60: 160_000, 1514: 60_000 },
    receives: false,
  },
  {
    name: "QEMU TCG",
    command: QEMU,
    args: (commandLine) => [
      ...["-M", "pc", "-accel", "tcg", "-m", "64", "-nodefaults", "-no-reboot", "-display", "none"],
      ...["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4"],
      ...["-netdev", "hubport,id=n,hubid=0", "-device", "ne2k_isa,netdev=n,iobase=0x300,irq=9"],
      ...["-kernel", guestPath(GUEST), "-append", commandLine],
    ],
    frames: { 60: 400_000, 1514: 40_000 },
    receives: false,
  },
];

/** CPU seconds, the best of a few samples. @throws Error when the guest does not reach its end */
function cost(peer: Peer, commandLine: string): number {
  const samples = Array.from({ length: SAMPLES }, () => {
    const finished = runProcess(peer.command, peer.args(commandLine));
    const isDone = finished?.output.includes(`${GUEST}: done`) === true;
    if (!isDone) throw new Error(`${peer.name} does not finish ${GUEST} ${commandLine}`);
    return finished.cpuSeconds;
  });
  return Math.min(...samples);
}

/** Thousands of frames a CPU second. */
function rate(peer: Peer, mode: "transmit" | "receive", size: Size): string {
  if (mode === "receive" && !peer.receives) return "—";
  const frames = peer.frames[size];
  const costOf = (count: number) => cost(peer, `mode=${mode} size=${size} frames=${count}`);
  return ((0.75 * frames) / (costOf(frames) - costOf(frames / 4)) / 1000).toFixed(1);
}

/** @param progress takes a line before each peer */
export function frameRates(progress: (line: string) => void): string {
  const present = PEERS.filter(({ name, command }) =>
    name.startsWith("v86") ? existsSync(v86.library) : isInstalled(command),
  );
  const cases = (["transmit", "receive"] as const).flatMap((mode) => SIZES.map((size) => ({ mode, size })));
  const rows = present.map((peer) => {
    progress(peer.name);
    return [peer.name, ...cases.map(({ mode, size }) => rate(peer, mode, size))];
  });
  return table(["k frames a CPU second, NE2000", ...cases.map(({ mode, size }) => `${mode} ${size} B`)], rows);
}
