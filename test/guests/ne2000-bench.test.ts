// The guest that measures the NE2000 checks what it measures: what one sends another takes, and damage is found.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { NS_PER_SECOND } from "../../src/core/units.ts";
import { FCS_SIZE } from "../../src/devices/net/ethernet.ts";
import { writePcap } from "../../src/devices/net/pcap.ts";
import { completeConfig } from "../../src/machine/config.ts";
import { type ImageSource, Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";

const FRAMES = 40;
const NIC = { model: "rtl8029", address: "52:54:00:12:34:56" } as const;
const START_NS = 20_000_000;
const INTERVAL_NS = 2_000_000;

/** Runs the guest to its end. @returns what it printed, and the frames that it sent */
function run(commandLine: string, heard: readonly Uint8Array[]): { text: string; sent: Uint8Array[] } {
  // A capture's first frame is sent at power-on, when nobody listens yet.
  const script = [new Uint8Array(60), ...heard].map((bytes, index) => {
    return { atNs: index === 0 ? 0 : START_NS + index * INTERVAL_NS, bytes };
  });
  const sources: Record<string, ImageSource> = {
    guest: { guest: "ne2000-bench" },
    capture: { build: () => writePcap(script) },
  };
  const images = new Images(sources, () =>
    readFileSync(join(import.meta.dirname, "../../guests/images/ne2000-bench.elf")),
  );
  const config = completeConfig({
    domains: [{ name: "pc", memoryMiB: 2, kernel: "guest", commandLine, board: { kind: "pc", nics: [NIC] } }],
    network: { peers: [{ name: "peer", capture: "capture" }] },
    timeLimitNs: NS_PER_SECOND,
  });
  const sent: Uint8Array[] = [];
  const machine = new Machine(config, images, "test", (event) => {
    if (event.kind === "frame-sent" && event.link === "pc net0" && event.end === 0) {
      sent.push(event.data.slice(0, -FCS_SIZE));
    }
  });
  while (machine.step());
  return { text: machine.serial("pc"), sent };
}

test.each([60, 1514])("what one sends in frames of %i bytes, another takes", (size) => {
  const sender = run(`mode=transmit size=${size} frames=${FRAMES}`, []);
  expect(sender.text).toContain("ne2000-bench: done");
  expect(sender.sent.map(({ length }) => length)).toEqual(Array.from({ length: FRAMES }, () => size));
  const receiver = run(`mode=receive size=${size} frames=${FRAMES}`, sender.sent);
  expect(receiver.text).toContain(`${FRAMES} received, 0 wrong`);
  expect(receiver.text).toContain("ne2000-bench: done");
});

test("a byte that is not as it was sent is found, and so is a frame in another's place", () => {
  const { sent } = run(`mode=transmit size=61 frames=${FRAMES}`, []);
  const damaged = sent.map((bytes) => bytes.slice());
  damaged[3]![60]! ^= 1;
  [damaged[10], damaged[11]] = [damaged[11]!, damaged[10]!];
  const { text } = run(`mode=receive size=61 frames=${FRAMES}`, damaged);
  expect(text).toContain(`${FRAMES} received, 3 wrong`);
  expect(text).toContain("ne2000-bench: WRONG");
});
