// Part: from power-on to iPXE's DHCP lease: Debian's SeaBIOS and iPXE, its own driver, a NE2000 on ISA, a server on the network. iPXE then resets
// the machine, which ends it. In ringback time is virtual and no wait costs any; the others wait in real time.

import { existsSync } from "node:fs";
import { LEASED, packaged, program, v86 } from "./files.ts";
import { isInstalled, runProcess, table } from "./measure.ts";

const COMMAND_LINE = "ifconf -c dhcp net0 && reboot";
const SAMPLES = 2;
const QEMU = "qemu-system-i386";

interface Peer {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Whether it shows its screen, so that the lease can be seen to be there; QEMU ends on the reset, which follows only a lease. */
  readonly shows: boolean;
}

const PEERS: readonly Peer[] = [
  { name: "ringback", command: process.execPath, args: [program("run-boot"), "plain", COMMAND_LINE], shows: true },
  {
    name: "ringback, recording",
    command: process.execPath,
    args: [program("run-boot"), "record", COMMAND_LINE],
    shows: true,
  },
  { name: "v86, compiler", command: process.execPath, args: [program("run-v86-boot"), COMMAND_LINE], shows: true },
  {
    name: "QEMU TCG",
    command: QEMU,
    args: [
      ...["-M", "pc", "-accel", "tcg", "-m", "32", "-nodefaults", "-no-reboot", "-display", "none", "-vga", "std"],
      ...["-bios", packaged.bios, "-kernel", packaged.ipxe, "-append", COMMAND_LINE],
      ...["-netdev", "user,id=n", "-device", "ne2k_isa,netdev=n,iobase=0x300,irq=9"],
    ],
    shows: false,
  },
];

/** CPU and elapsed seconds: the best of a few samples. @throws Error when there is no lease */
function measure(peer: Peer): { readonly cpu: number; readonly wall: number } {
  const best = { cpu: Infinity, wall: Infinity };
  for (let sample = 0; sample < SAMPLES; sample++) {
    const start = performance.now();
    const finished = runProcess(peer.command, peer.args);
    const isLeased =
      finished !== undefined && (!peer.shows || finished.output.split("\n").some((row) => LEASED.test(row)));
    if (!isLeased) throw new Error(`${peer.name} comes to no lease`);
    best.cpu = Math.min(best.cpu, finished.cpuSeconds);
    best.wall = Math.min(best.wall, (performance.now() - start) / 1000);
  }
  return best;
}

/** @param progress takes a line before each peer */
export function bootTimes(progress: (line: string) => void): string {
  const present = PEERS.filter(({ name, command }) =>
    name.startsWith("v86") ? existsSync(v86.library) : isInstalled(command),
  );
  const times = present.map((peer) => {
    progress(peer.name);
    return measure(peer);
  });
  const own = times[0]!;
  const rows = present.map(({ name }, index) => {
    const { cpu, wall } = times[index]!;
    return [name, cpu.toFixed(2), (cpu / own.cpu).toFixed(2), wall.toFixed(2), (wall / own.wall).toFixed(2)];
  });
  return table(["power-on to DHCP lease", "CPU s", "×", "elapsed s", "×"], rows);
}
