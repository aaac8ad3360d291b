// Part: frames a second through the NE2000. The bundled guest ne2000-echo answers pings: each is a frame in and a frame out, moved by REP INSW and REP
// OUTSW, with the driver's register accesses and interrupts around them, all of it through the device model.

import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import type { TraceEvent } from "../src/trace/events.ts";
import { TraceWriter } from "../src/trace/writer.ts";
import { loadImage } from "./files.ts";
import { table, timed } from "./measure.ts";
import { headerFor } from "./recorded.ts";

const HEADERS = 14 + 20 + 8;
const SIZES = [60, 1514] as const;
const INTERVAL_NS = 400_000;
const WARM_UP_PINGS = 1000;
const PINGS = 4000;
const START_NS = 20_000_000;
const CARD = { name: "pc net0", address: "52:54:00:12:34:56", ip: "10.0.0.2" };

function machineConfig(size: number) {
  const sizes = Array.from({ length: PINGS }, () => size - HEADERS);
  const link = { bitsPerSecond: 100_000_000, fullDuplex: true };
  const nics = [{ model: "ne2000-isa", address: CARD.address, link }] as const;
  return completeConfig({
    domains: [{ name: "pc", memoryMiB: 2, kernel: "guest", board: { kind: "pc", nics } }],
    network: {
      hosts: [
        {
          name: "tester",
          address: "52:54:00:00:00:01",
          ip: "10.0.0.1",
          ping: { to: CARD.ip, sizes, startNs: START_NS, intervalNs: INTERVAL_NS },
        },
      ],
    },
    exitCostNs: 0,
    controlDomainLatencyNs: 1000,
  });
}

/** Frames in and out of the card in a CPU second. @throws Error when answers are missing */
function frameRate(size: number, recorded: boolean): number {
  const config = machineConfig(size);
  const images = new Images({ guest: { guest: "ne2000-echo" } }, loadImage);
  const writer = new TraceWriter(headerFor("frames", config, images.records()), () => {});
  let frames = 0;
  const machine = new Machine(config, images, "bench", (event: TraceEvent) => {
    if (event.kind === "frame-sent" && event.link === CARD.name) frames++;
    if (recorded) writer.write(event);
  });
  const runUntil = (ns: number): void => {
    while (machine.now < ns && machine.step()) if (writer.full) writer.closeChunk(machine.stateDigest());
  };
  runUntil(START_NS + WARM_UP_PINGS * INTERVAL_NS);
  const before = frames;
  const seconds = timed(() => runUntil(START_NS + PINGS * INTERVAL_NS));
  const moved = frames - before;
  if (moved < 1.9 * (PINGS - WARM_UP_PINGS)) throw new Error(`only ${moved} frames of ${size} bytes`);
  return moved / seconds;
}

export function frameRates(): string {
  const rows = SIZES.map((size) => [
    `${size} bytes`,
    ...[false, true].map((recorded) => (frameRate(size, recorded) / 1000).toFixed(1)),
  ]);
  return table(["k frames a CPU second, NE2000", "not recording", "recording"], rows);
}
