// The bundled network front end in C: every kind of callback, as a PVH domain and as the kernel of a PC; more at once than it can answer; a
// back end that notifies too often; saved and restored with frames in its rings.

import { describe, expect, test } from "vitest";
import { datagram, GUEST, goodbye, TESTER } from "../../scenarios/ne2000-echo.ts";
import { NS_PER_MS, NS_PER_SECOND } from "../../src/core/units.ts";
import { writePcap } from "../../src/devices/net/pcap.ts";
import { completeConfig, type MachineConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";
import type { Run, Scenario } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import { replay } from "../../src/replay/replayer.ts";
import { load } from "../support/recorded.ts";

type Board = MachineConfig["domains"][number]["board"];
const PC: Board = { kind: "pc", showsXen: true, xenPlatform: true };
const MAX_FRAME = 0xffff + 4;
const START_NS = 20 * NS_PER_MS;
const LEAVE_NS = 60 * NS_PER_MS;
const FAST = { bitsPerSecond: 10_000_000_000, latencyNs: 500, fullDuplex: true, maxFrame: MAX_FRAME };

interface Options {
  readonly commandLine?: string;
  readonly board?: Board;
  readonly sizes?: readonly number[];
  readonly intervalNs?: number;
  readonly faults?: readonly string[];
  readonly capture?: Uint8Array;
}

function scenario(options: Options): Scenario {
  const { commandLine = "", board, sizes = [0, 1472, 65_493], intervalNs = NS_PER_MS, faults = [] } = options;
  return {
    name: "netfront",
    why: "A test's.",
    images: {
      guest: { guest: "netfront-echo" },
      goodbye: { build: () => options.capture ?? goodbye(LEAVE_NS) },
    },
    machine: {
      domains: [
        {
          name: "guest",
          kernel: "guest",
          commandLine,
          memoryMiB: 4,
          ...(board && { board }),
          vifs: [{ address: GUEST.address, link: FAST }],
        },
      ],
      network: {
        hosts: [{ ...TESTER, link: FAST, ping: { to: GUEST.ip, sizes, startNs: START_NS, intervalNs } }],
        peers: [{ name: "peer", capture: "goodbye" }],
      },
      faults,
      timeLimitNs: NS_PER_SECOND,
    },
    expect: { "it ends": () => true },
  };
}

function answersAll(run: Run, count: number): void {
  expect(run.pings(TESTER.name)).toEqual({ sent: count, answers: new Array(count).fill(1), wrong: 0 });
  expect(run.console("guest").trimEnd().endsWith("done")).toBe(true);
  expect(run.ended("guest")).toBe("poweroff");
}

describe("netfront-echo answers pings, woken", () => {
  test.each<[string, string, Board, number, string[]]>([
    ["by a vector, in a PVH domain", "callback=vector", undefined, 0xf3, []],
    ["by a vector, on a PC", "callback=vector", PC, 0xf3, []],
    ["by a GSI", "callback=gsi", PC, 0x25, ["dom1 callback", "dom1 irq 5"]],
    ["by the platform device's INTA#", "callback=intx", PC, 0x2a, ["dom1 callback", "dom1 gsi 24", "dom1 irq 10"]],
  ])("%s", (_, commandLine, board, vector, lines) => {
    const { run } = record(scenario({ commandLine, board }), { load });
    answersAll(run, 3);
    expect(new Set(run.events("irq-delivery").map((event) => event.vector))).toEqual(new Set([vector]));
    const raised = new Set(run.events("irq-line").map(({ line }) => line));
    expect([...raised].filter((line) => !line.endsWith("INTR")).sort()).toEqual(lines);
  });
});

test("netfront-echo echoes datagrams, and counts what it serves and what it does not", () => {
  const frames = [datagram("nobody is there yet", 9), datagram("hello", 1000), datagram("echo to echo", 7)];
  const capture = writePcap(
    [...frames, datagram("stats", 1001), datagram("exit", 1002)].map((bytes, index) => ({
      atNs: index === 0 ? 0 : START_NS + index * NS_PER_MS,
      bytes,
    })),
  );
  const { run } = record(scenario({ sizes: [], capture }), { load });
  expect(run.console("guest").match(/^frames in:.*$/gm)).toEqual([
    "frames in: 3 (180 bytes) = 0 arp + 0 icmp + 2 udp + 0 not for us + 1 not served + 0 damaged",
    "frames in: 4 (240 bytes) = 0 arp + 0 icmp + 3 udp + 0 not for us + 1 not served + 0 damaged",
  ]);
  expect(run.console("guest")).toContain("answers: 3 = 3 sent (140 bytes) + 0 failed + 0 refused + 0 waiting");
});

test("netfront-echo answers more than its pages hold at once, in time, and the recording replays", () => {
  const sizes = Array.from({ length: 60 }, (_, index) => 65_493 - index);
  const bursts = scenario({ sizes, intervalNs: 1000 });
  const { run, bytes } = record(bursts, { load });
  answersAll(run, sizes.length);
  expect(run.console("guest")).toContain(" + 0 failed + 0 refused + 0 waiting");
  expect(run.events("packet-dropped").filter(({ toGuest }) => !toGuest)).toEqual([]);
  expect(replay(bytes, bursts, load).divergence).toBeUndefined();
});

test("netfront-echo is not disturbed by a back end that notifies it at every visit", () => {
  const { run } = record(scenario({ faults: ["vnif.event-storm"] }), { load });
  answersAll(run, 3);
});

test("netfront-echo goes on from a snapshot with frames in its rings as if it had not been taken", () => {
  const { machine: config, images } = scenario({ sizes: [100, 60_000, 30_000, 65_493], intervalNs: 10_000 });
  const build = () => new Machine(completeConfig(config), new Images(images, load), "seed", () => {});
  const [one, other] = [build(), build()];
  while (one.now < START_NS + NS_PER_MS / 4) expect(one.step()).toBe(true);
  expect(one.pings(TESTER.name)?.answers.some((count) => count === 0)).toBe(true);
  other.load(one.save());
  for (const machine of [one, other]) while (machine.step());
  expect(one.pings(TESTER.name)).toMatchObject({ answers: [1, 1, 1, 1], wrong: 0 });
  expect(other.console("guest")).toBe(one.console("guest"));
  expect(other.stateDigest()).toEqual(one.stateDigest());
});
