import { defineScenario, NS_PER_MS, NS_PER_SECOND, type Run } from "../src/index.ts";
import { fared, heldGrants, station } from "./two-guests-one-lan.ts";

const NEIGHBOUR = { ip: "10.0.0.5", address: "00:16:3e:00:00:05" } as const;
const VICTIM = { ip: "10.0.0.6", address: "00:16:3e:00:00:06" } as const;
/** Domains are numbered in the order in which they are built: machine code, then models. */
const [GUEST, VICTIM_ID, NEIGHBOUR_ID] = [1, 2, 3];
const KILLED_NS = { guest: 4 * NS_PER_MS, victim: 60 * NS_PER_MS };
/** So slow a disk that some request is in flight at any moment, whatever the seed. */
const SLOW = { operationNs: 500_000, perSectorNs: 1_000, jitterNs: 100_000 };
const PINGS = 100;
const INTERVAL_NS = NS_PER_MS;
/** xenbus.h. */
const [FRONT, BACK] = [0, 1];

export default defineScenario({
  name: "domain-death",
  why: "Two domains are destroyed while their disks and an interface are busy: what was in flight lands, everything of theirs is given back, and a neighbour on the same LAN loses nothing.",
  images: { guest: { guest: "first-light" } },
  machine: {
    domains: [
      {
        name: "guest",
        kernel: "guest",
        memoryMiB: 16,
        disks: [{ device: "xvda", sectors: 4096, service: SLOW }],
      },
    ],
    models: [
      {
        name: "victim",
        program: "station",
        // Always more to do: it would never end.
        parameters: { ip: VICTIM.ip, peer: NEIGHBOUR.ip, intervalNs: 50_000, untilNs: 60 * NS_PER_SECOND },
        pages: 256,
        disks: [{ device: "xvda", sectors: 3000, service: SLOW }],
        vifs: [{ address: VICTIM.address }],
      },
      {
        name: "neighbour",
        program: "station",
        parameters: {
          ip: NEIGHBOUR.ip,
          peer: "10.0.0.1",
          sectors: 1,
          pings: PINGS,
          intervalNs: INTERVAL_NS,
          untilNs: 150 * NS_PER_MS,
        },
        pages: 256,
        disks: [{ device: "xvda", sectors: 3000 }],
        vifs: [{ address: NEIGHBOUR.address }],
      },
    ],
    network: { hosts: [{ name: "tester", address: "52:54:00:00:00:01", ip: "10.0.0.1" }] },
    actions: [
      { action: "destroy", domain: "guest", atNs: KILLED_NS.guest },
      { action: "destroy", domain: "victim", atNs: KILLED_NS.victim },
    ],
    timeLimitNs: NS_PER_SECOND,
  },
  programs: { station },
  expect: {
    "both are destroyed, and what they did stops there": (run) =>
      run.ended("guest") === "destroyed" &&
      run.ended("victim") === "destroyed" &&
      run.events("hypercall").every(({ domain, at }) => at <= endOf(domain)),
    "block requests of both were in flight": (run) => inFlight(run, GUEST) > 0 && inFlight(run, VICTIM_ID) > 0,
    "the victim's interface was busy to the end": (run) =>
      run
        .events("netif-tx-request")
        .some(({ domain, at }) => domain === VICTIM_ID && at > KILLED_NS.victim - NS_PER_MS / 10),
    "every grant of theirs that was mapped is unmapped, once": (run) => {
      const held = heldGrants(run);
      return held !== undefined && ![GUEST, VICTIM_ID].some((domain) => held.includes(domain));
    },
    "what was in flight lands before the back end lets go, and no response is written to a dead guest's ring": (run) =>
      [GUEST, VICTIM_ID].every((domain) => {
        const plugs = run.events("device-plug").filter((event) => event.domain === domain);
        const gone = plugs.find(({ device, change }) => device === "vbd/51712" && change === "gone");
        const last = run.events("disk-operation").findLast(({ disk }) => disk === `${domain}/xvda`);
        const responses = run.events("blkif-response").filter((event) => event.domain === domain);
        return (
          gone !== undefined &&
          last !== undefined &&
          last.at > endOf(domain) &&
          last.at <= gone.at &&
          responses.every(({ side, at }) => side !== BACK || at <= endOf(domain))
        );
      }),
    "the neighbour's disk and pings fare as if nothing had happened": (run) => fared(run, "neighbour", 2000, PINGS),
    "and its devices close as they should": (run) =>
      run.ended("neighbour") === "poweroff" &&
      ["vbd/51712", "vif/0"].every((device) =>
        [FRONT, BACK].every((end) =>
          run
            .events("xenbus-state")
            .some((event) => event.domain === NEIGHBOUR_ID && event.device === device && event.side === end),
        ),
      ),
  },
});

const endOf = (domain: number): number =>
  domain === GUEST ? KILLED_NS.guest : domain === VICTIM_ID ? KILLED_NS.victim : Number.POSITIVE_INFINITY;

/** Requests that the back end had fetched from a domain, and not answered, when it died. */
function inFlight(run: Run, domain: number): number {
  const [requests, responses] = (["blkif-request", "blkif-response"] as const).map(
    (kind) => run.events(kind).filter((event) => event.domain === domain && event.side === BACK).length,
  );
  return (requests ?? 0) - (responses ?? 0);
}
