// Part: port I/O a second: through the whole path of a device model (exit, request, event, device, answer, event, resume) and with a device in
// the hypervisor. The guest does nothing else.

import { Images } from "../src/machine/images.ts";
import { EXIT_SPEED, exitRate } from "./exits.ts";
import { loadImage } from "./files.ts";
import { table } from "./measure.ts";

/** Ports that a loop reads: the keyboard controller's status, in the device model, and the 8259's mask, in the hypervisor. */
const PORTS: Readonly<Record<string, number>> = { "device model (port 64h)": 0x64, "hypervisor (port 21h)": 0x21 };
const FIRMWARE_SIZE = 65_536;
const LATENCY_NS = 1000;
const SPANS = { warmUpNs: 400_000_000, measuredNs: 1_600_000_000 };

/** IN AL, port; JMP back: at the reset vector. */
function firmware(port: number): Uint8Array {
  const image = new Uint8Array(FIRMWARE_SIZE);
  image.set([0xe4, port, 0xeb, 0xfc], FIRMWARE_SIZE - 16);
  return image;
}

function rate(port: number, recorded: boolean): number {
  const config = {
    domains: [{ name: "pc", memoryMiB: 2, board: { kind: "pc", firmware: "firmware" } as const }],
    nsPerInstruction: EXIT_SPEED,
    exitCostNs: 0,
    controlDomainLatencyNs: LATENCY_NS,
  };
  return exitRate(config, new Images({ firmware: { build: () => firmware(port) } }, loadImage), SPANS, recorded);
}

export function ioRates(): string {
  const rows = Object.entries(PORTS).map(([name, port]) => [
    name,
    ...[false, true].map((recorded) => (rate(port, recorded) / 1e6).toFixed(2)),
  ]);
  return table(["M port reads a CPU second", "not recording", "recording"], rows);
}
