import { defineScenario, NS_PER_MS, NS_PER_SECOND, type Run } from "../src/index.ts";
import { fared, heldGrants, station } from "./two-guests-one-lan.ts";

const TRAVELLER = { ip: "10.0.0.7", address: "00:16:3e:00:00:07" } as const;
const NEIGHBOUR = { ip: "10.0.0.8", address: "00:16:3e:00:00:08" } as const;
const TESTER = { name: "tester", address: "52:54:00:00:00:01", ip: "10.0.0.1" } as const;
/** The traveller's numbers, on one host after the other; the neighbour is domain 2. */
const DOMIDS = [1, 3, 4] as const;
const PINGS = 60;
const INTERVAL_NS = 3 * NS_PER_MS;
const SIZES = Array.from({ length: PINGS }, () => 64);
const DISK_SECTORS = 12_000;
/** Three sectors each, written and read. */
const REQUESTS = 8_000;
const UNTIL_NS = 400 * NS_PER_MS;
const ASKED_NS = [10 * NS_PER_MS, 35 * NS_PER_MS] as const;

/** A model that works on its disk and pings the tester. */
const stationNamed = (
  name: string,
  { ip, address }: { readonly ip: string; readonly address: string },
  sectors: number,
) => ({
  name,
  program: "station",
  parameters: { ip, peer: TESTER.ip, sectors: 1, pings: PINGS, intervalNs: INTERVAL_NS, untilNs: UNTIL_NS },
  pages: 256,
  disks: [{ device: "xvda", sectors }],
  vifs: [{ address }],
});

export default defineScenario({
  name: "live-migration",
  why: "A running guest is asked to suspend itself, twice, in the middle of its work: its memory crosses to another host as bytes, and it goes on there, under another number and on another cable, with everything right.",
  images: {},
  machine: {
    domains: [],
    models: [stationNamed("traveller", TRAVELLER, DISK_SECTORS), stationNamed("neighbour", NEIGHBOUR, 3000)],
    network: {
      hosts: [{ ...TESTER, ping: { to: TRAVELLER.ip, sizes: SIZES, startNs: INTERVAL_NS, intervalNs: INTERVAL_NS } }],
    },
    actions: ASKED_NS.map((atNs) => ({ action: "migrate", domain: "traveller", atNs })),
    timeLimitNs: NS_PER_SECOND,
  },
  programs: { station },
  expect: {
    "the guest suspends itself when asked to, and goes on under another number": (run) =>
      DOMIDS.slice(0, -1).every((domid, index) => {
        const [suspended, resumed] = [leftAt(run, domid), cameAt(run, DOMIDS[index + 1]!)];
        return suspended > ASKED_NS[index]! && resumed > suspended;
      }) && DOMIDS.slice(1).every((domid) => run.console("traveller").includes(`resumed as domain ${domid},`)),
    "in the middle of its work": (run) => {
      const requests = run.events("blkif-request").filter(({ side }) => side === BACK);
      return DOMIDS.every((domid) => requests.some(({ domain }) => domain === domid));
    },
    "its disk holds what was written before and after, and every ping is answered": (run) =>
      fared(run, "traveller", REQUESTS, PINGS),
    "its devices close before it goes, with nothing in flight, and are gone from where it was": (run) =>
      DOMIDS.slice(0, -1).every((domid) => {
        const of = <T extends { readonly domain: number }>(events: readonly T[]) =>
          events.filter(({ domain }) => domain === domid);
        const answered = of(run.events("blkif-response")).filter(({ side }) => side === BACK).length;
        const fetched = of(run.events("blkif-request")).filter(({ side }) => side === BACK).length;
        const gone = of(run.events("device-plug")).filter(({ change }) => change === "gone");
        return answered === fetched && gone.length === 2;
      }),
    "no grant of where it was stays mapped": (run) => {
      const held = heldGrants(run);
      return held !== undefined && !DOMIDS.slice(0, -1).some((domid) => held.includes(domid));
    },
    "from outside it is missed only while it is away": (run) => {
      const { answers = [] } = run.pings(TESTER.name) ?? {};
      const away = ASKED_NS.map((asked, index) => [asked, cameAt(run, DOMIDS[index + 1]!) + NS_PER_MS]);
      const missed = answers.flatMap((count, sequence) => (count === 1 ? [] : [(sequence + 1) * INTERVAL_NS]));
      return missed.length > 0 && missed.every((at) => away.some(([from, to]) => at >= from! && at <= to!));
    },
    "a neighbour notices nothing": (run) => fared(run, "neighbour", 2_000, PINGS),
    "and both end well": (run) => run.ended("traveller") === "poweroff" && run.ended("neighbour") === "poweroff",
  },
});

/** Side of a ring's events. */
const BACK = 1;

const leftAt = (run: Run, domid: number): number =>
  run.events("domain-state").find(({ domain, reason }) => domain === domid && reason === "suspend")?.at ?? 0;

const cameAt = (run: Run, domid: number): number =>
  run.events("domain-state").find(({ domain, state }) => domain === domid && state === "running")?.at ?? 0;
