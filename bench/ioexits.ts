// Part: port I/O a second: through the whole path of a device model (exit, request, event, device, answer, event, resume) and with a device in
// the hypervisor. The guest does nothing else.

import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import type { TraceEvent } from "../src/trace/events.ts";
import { TraceWriter } from "../src/trace/writer.ts";
import { loadImage } from "./files.ts";
import { table, timed } from "./measure.ts";
import { headerFor } from "./recorded.ts";

/** Ports that a loop reads: the keyboard controller's status, in the device model, and the 8259's mask, in the hypervisor. */
const PORTS: Readonly<Record<string, number>> = { "device model (port 64h)": 0x64, "hypervisor (port 21h)": 0x21 };
const FIRMWARE_SIZE = 65_536;
/** One instruction retires an exit. */
const SPEED = [1000, 1] as const;
const LATENCY_NS = 1000;
const WARM_UP_NS = 400_000_000;
const MEASURED_NS = 1_600_000_000;

/** IN AL, port; JMP back: at the reset vector. */
function firmware(port: number): Uint8Array {
  const image = new Uint8Array(FIRMWARE_SIZE);
  image.set([0xe4, port, 0xeb, 0xfc], FIRMWARE_SIZE - 16);
  return image;
}

/** Exits in a CPU second, all events recorded or thrown away. */
function rate(port: number, recorded: boolean): number {
  const images = new Images({ firmware: { build: () => firmware(port) } }, loadImage);
  const config = completeConfig({
    domains: [{ name: "pc", memoryMiB: 2, board: { kind: "pc", firmware: "firmware" } }],
    nsPerInstruction: SPEED,
    exitCostNs: 0,
    controlDomainLatencyNs: LATENCY_NS,
  });
  const writer = new TraceWriter(headerFor("ioexits", config, images.records()), () => {});
  let exits = 0;
  const machine = new Machine(config, images, "bench", (event: TraceEvent) => {
    if (event.kind === "vm-exit") exits++;
    if (recorded) writer.write(event);
  });
  const runUntil = (ns: number): void => {
    while (machine.now < ns && machine.step()) if (writer.full) writer.closeChunk(machine.stateDigest());
  };
  runUntil(WARM_UP_NS);
  const before = exits;
  const seconds = timed(() => runUntil(WARM_UP_NS + MEASURED_NS));
  return (exits - before) / seconds;
}

export function ioRates(): string {
  const rows = Object.entries(PORTS).map(([name, port]) => [
    name,
    ...[false, true].map((recorded) => (rate(port, recorded) / 1e6).toFixed(2)),
  ]);
  return table(["M port reads a CPU second", "not recording", "recording"], rows);
}
