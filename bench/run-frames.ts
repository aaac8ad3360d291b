// Program: runs the guest ne2000-bench in ringback, as frames.ts asks:  node run-frames.js plain|record COMMAND-LINE
// The cable is quick enough to take no time, as the peers' cards know none. A guest that receives gets its frames in bursts that its ring holds;
// between them it has time to take them.

import { FCS_SIZE, MIN_FRAME } from "../src/devices/net/ethernet.ts";
import { type CapturedFrame, writePcap } from "../src/devices/net/pcap.ts";
import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import { TraceWriter } from "../src/trace/writer.ts";
import { loadImage } from "./files.ts";
import { headerFor } from "./recorded.ts";

const ADDRESS = "52:54:00:12:34:56";
const LINK = { bitsPerSecond: 100_000_000_000, latencyNs: 0, fullDuplex: true } as const;
/** The ring has 52 pages of 256 bytes, a frame takes six at most, and one page stays free. */
const BURST = 8;
const START_NS = 20_000_000;
const BURST_NS = 1_000_000;

/** Destination, source and the type for experiments (IEEE 802-2014, 9.2.4); guests/ne2000-bench says what follows. */
const HEADER = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0, 0, 1, 0x88, 0xb5);
const NUMBER_AT = 16;
const CHECK_AT = 20;
const DATA_AT = 24;

function frame(size: number, number: number): Uint8Array {
  const words = new DataView(new ArrayBuffer(Math.ceil(size / 4) * 4));
  const bytes = new Uint8Array(words.buffer, 0, size);
  bytes.set(HEADER);
  for (let at = DATA_AT; at < size; at++) bytes[at] = at;
  words.setUint32(NUMBER_AT, number, true);
  let sum = 0;
  for (let at = 0; at < words.byteLength; at += 4) sum = (sum + words.getUint32(at, true)) >>> 0;
  words.setUint32(CHECK_AT, -sum >>> 0, true);
  return bytes;
}

/** A capture's first frame is sent at power-on, when nobody listens yet. */
function script(size: number, frames: number): CapturedFrame[] {
  const first = { atNs: 0, bytes: new Uint8Array(MIN_FRAME - FCS_SIZE) };
  const atNs = (number: number) => START_NS + Math.floor(number / BURST) * BURST_NS;
  return [
    first,
    ...Array.from({ length: frames }, (_, number) => ({ atNs: atNs(number), bytes: frame(size, number) })),
  ];
}

function option(name: string): number {
  const value = new RegExp(`\\b${name}=(\\d+)`).exec(commandLine)?.[1];
  if (value === undefined) throw new TypeError(`${name}= is missing`);
  return Number(value);
}

const [mode, commandLine = ""] = process.argv.slice(2);
const receives = commandLine.includes("mode=receive");
const capture = { build: () => writePcap(script(option("size"), option("frames"))) };
const images = new Images({ guest: { guest: "ne2000-bench" }, ...(receives ? { capture } : {}) }, loadImage);
const nics = [{ model: "ne2000-isa", address: ADDRESS, link: LINK }] as const;
const config = completeConfig({
  domains: [{ name: "pc", memoryMiB: 2, kernel: "guest", commandLine, board: { kind: "pc", nics } }],
  network: { peers: receives ? [{ name: "peer", capture: "capture", link: LINK }] : [] },
  exitCostNs: 0,
  controlDomainLatencyNs: 1000,
});
const writer = new TraceWriter(headerFor("frames", config, images.records()), () => {});
const machine = new Machine(config, images, "bench", mode === "record" ? (event) => writer.write(event) : () => {});
while (machine.step()) if (writer.full) writer.closeChunk(machine.stateDigest());
process.stdout.write(machine.serial("pc"));
