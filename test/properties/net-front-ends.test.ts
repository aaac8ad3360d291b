// The same workload through the bundled guest's network front end in C and through the model's gives the same ring traffic: pings of random sizes
// reach both over a whole machine's LAN, and the model answers with the frames that the C guest answered with.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { datagram, GUEST, PEER, TESTER, withoutCheckSequence } from "../../scenarios/ne2000-echo.ts";
import { NS_PER_MS, NS_PER_SECOND, NS_PER_US } from "../../src/core/units.ts";
import { ETHER_TYPE, encodeFrame } from "../../src/devices/net/ethernet.ts";
import { writePcap } from "../../src/devices/net/pcap.ts";
import { Netfront } from "../../src/devices/vnif/front.ts";
import { TXF } from "../../src/devices/vnif/protocol.ts";
import type { MachineConfig } from "../../src/machine/config.ts";
import type { Run, Scenario } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import type { TraceEvent } from "../../src/trace/events.ts";
import type { ModelKernel } from "../../src/xen/model/kernel.ts";
import { load } from "../support/recorded.ts";

const MAX_FRAME = 0xffff + 4;
const MAX_ECHO = 0xffff - 14 - 20 - 8;
const START_NS = 20 * NS_PER_MS;
const NAME = "guest";
const vifs = [{ address: GUEST.address, link: { maxFrame: MAX_FRAME } }];

interface Workload {
  /** Bytes of data of each ping. */
  readonly sizes: readonly number[];
  readonly intervalNs: number;
}

/** A capture that asks the guest to end. Its first frame, which is sent at power-on, is to its sender, and so to nobody. */
function goodbye(atNs: number): Uint8Array {
  const { address } = PEER;
  const nothing = encodeFrame({
    destination: address,
    source: address,
    etherType: ETHER_TYPE.IPV4,
    payload: new Uint8Array(46),
  });
  return writePcap([
    { atNs: 0, bytes: withoutCheckSequence(nothing) },
    { atNs, bytes: datagram("exit", 1000) },
  ]);
}

/** A machine with the guest and who pings it, and asks it to end. */
function machine({ sizes, intervalNs }: Workload, guest: Pick<MachineConfig, "domains" | "models">): MachineConfig {
  return {
    ...guest,
    network: {
      hosts: [
        {
          ...TESTER,
          link: { bitsPerSecond: 1_000_000_000, latencyNs: 500, fullDuplex: true, maxFrame: MAX_FRAME },
          ping: { to: GUEST.ip, sizes, startNs: START_NS, intervalNs },
        },
      ],
      peers: [{ name: "peer", capture: "goodbye" }],
    },
    timeLimitNs: NS_PER_SECOND,
  };
}

function scenario(workload: Workload, config: MachineConfig, rest: Partial<Scenario>): Run {
  const endNs = START_NS + workload.sizes.length * workload.intervalNs;
  const { run } = record(
    {
      name: "front-end",
      why: "A test's.",
      images: { guest: { guest: "netfront-echo" }, goodbye: { build: () => goodbye(endNs + 100 * NS_PER_MS) } },
      machine: config,
      expect: { "it ends": () => true },
      ...rest,
    },
    { load },
  );
  expect(run.ended(NAME)).toBe("poweroff");
  expect(run.pings(TESTER.name)).toMatchObject({ answers: workload.sizes.map(() => 1), wrong: 0 });
  return run;
}

const inC = (workload: Workload): Run =>
  scenario(workload, machine(workload, { domains: [{ name: NAME, kernel: "guest", memoryMiB: 4, vifs }] }), {});

/** Answers each frame with the next of those given, and lets go when all have left. */
function answerer(kernel: ModelKernel, answers: readonly Uint8Array[]) {
  let next = 0;
  let left = answers.length;
  const net = new Netfront(
    kernel,
    { device: 0 },
    {
      ready() {},
      received: () => expect(net.send(answers[next++]!)).toBe(true),
      sent(count) {
        left -= count;
        if (left === 0) net.disconnect();
      },
      closed: () => kernel.shutdown(),
    },
  );
  return {
    start: () => {
      net.start();
    },
    save: () => null,
    load() {},
  };
}

function inTypeScript(workload: Workload, answers: readonly Uint8Array[]): Run {
  const models = [{ name: NAME, program: "answerer", pages: 512, vifs }];
  const programs = { answerer: (kernel: ModelKernel) => answerer(kernel, answers) };
  return scenario(workload, machine(workload, { domains: [], models }), { programs });
}

/** The frames that the guest gave its interface: what its cable had, as long as the first slots of its packets said. */
function said(run: Run): Uint8Array[] {
  const slots = run.events("netif-tx-request").filter(({ side }) => side === BACK);
  const first = slots.filter((_, index) => ((slots[index - 1]?.flags ?? 0) & TXF.more_data) === 0);
  return run
    .events("frame-sent")
    .filter(({ link, end }) => link === `${NAME} vif0` && end === 0)
    .map(({ data }, index) => data.slice(0, first[index]!.size));
}

const BACK = 1;
const SLOTS = ["netif-tx-request", "netif-tx-response", "netif-rx-request", "netif-rx-response"] as const;
const RING: ReadonlySet<TraceEvent["kind"]> = new Set([
  ...SLOTS,
  "netif-extra-info",
  "ring-index",
  "ring-notify",
  "grant-copy",
]);

/**
 * Everything that happened on the rings, in order. References differ, since each kernel hands out grants in an order of its own; times, since an
 * answer takes instructions to make.
 */
function traffic(run: Run): object[] {
  return [...run.allEvents()].filter(({ kind }) => RING.has(kind)).map((event) => ({ ...event, at: 0, ref: 0 }));
}

const life = (run: Run) => run.events("xenbus-state").map(({ side, state }) => [side, state]);

const size = fc.oneof(fc.nat(1500), fc.nat(MAX_ECHO), fc.constantFrom(4054, 4055, 8150, 8151, MAX_ECHO));

test("a ping at a time, the front ends in C and in TypeScript do the same on the rings, event by event", () => {
  fc.assert(
    fc.property(fc.array(size, { minLength: 1, maxLength: 100 }), (sizes) => {
      const workload = { sizes, intervalNs: 3 * NS_PER_MS };
      const c = inC(workload);
      const model = inTypeScript(workload, said(c));
      expect(said(model)).toEqual(said(c));
      expect(traffic(c).length).toBeGreaterThan(8 * sizes.length);
      expect(traffic(model)).toEqual(traffic(c));
      expect(life(model)).toEqual(life(c));
    }),
    { numRuns: 4 },
  );
});

/**
 * What the back end took and gave. Ids for sending are those of the pages given back last, which the answers' times decide; what the front end
 * did is seen only as often as the back end looks.
 */
const slots = (run: Run, kind: (typeof SLOTS)[number]): object[] =>
  run
    .events(kind)
    .filter(({ side }) => side === BACK)
    .map((event) => ({ ...event, at: 0, ref: 0, ...(kind.startsWith("netif-tx") && { id: 0 }) }));

test("many at once, the back end finds and leaves the same in the same slots, however it is interleaved", () => {
  fc.assert(
    fc.property(fc.array(size, { minLength: 20, maxLength: 100 }), (sizes) => {
      const workload = { sizes, intervalNs: 50 * NS_PER_US };
      const c = inC(workload);
      const model = inTypeScript(workload, said(c));
      expect(said(model)).toEqual(said(c));
      for (const kind of SLOTS) expect(slots(model, kind)).toEqual(slots(c, kind));
    }),
    { numRuns: 3 },
  );
});
