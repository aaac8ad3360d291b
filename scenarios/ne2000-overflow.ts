import { defineScenario, NS_PER_MS, NS_PER_SECOND, NS_PER_US } from "../src/index.ts";
import { answered, counts, echoGuest, GUEST, goodbye, pingFrames, sameNumbers } from "./ne2000-echo.ts";

/** 100 MIPS, and what the guest does for each frame before it answers: 3 ms, in which four requests come. */
const SPEED = [10, 1] as const;
const SLOW = 300_000;
const BURST = { name: "burst", address: "52:54:00:00:00:01", ip: "10.0.0.1" } as const;
const LATER = { name: "later", address: "52:54:00:00:00:04", ip: "10.0.0.4" } as const;
/** One page of the card's ring to three: it holds some thirty of them. */
const BURST_SIZES = Array.from({ length: 600 }, (_, index) => (index * 97) % 600);
const LATER_SIZES = [0, 100, 1472, 700, 64, 333, 1000, 18];
const BURST_NS = 20 * NS_PER_MS;
const LATER_NS = 800 * NS_PER_MS;
const END_NS = 1000 * NS_PER_MS;

export default defineScenario({
  name: "ne2000-overflow",
  why: "Pings come faster than a slow guest takes them: the card's receive ring overflows, the driver recovers as the data sheet prescribes, and no frame is delivered twice.",
  images: { guest: { guest: "ne2000-echo" }, goodbye: { build: () => goodbye(END_NS) } },
  machine: {
    domains: [echoGuest({ commandLine: `slow=${SLOW}` })],
    network: {
      hosts: [
        { ...BURST, ping: { to: GUEST.ip, sizes: BURST_SIZES, startNs: BURST_NS, intervalNs: 700 * NS_PER_US } },
        { ...LATER, ping: { to: GUEST.ip, sizes: LATER_SIZES, startNs: LATER_NS, intervalNs: 20 * NS_PER_MS } },
      ],
      peers: [{ name: "peer", capture: "goodbye" }],
    },
    nsPerInstruction: SPEED,
    timeLimitNs: 4 * NS_PER_SECOND,
  },
  expect: {
    "the burst is on the card's cable, whole": (run) =>
      sameNumbers(pingFrames(run, BURST.ip).asked, [...BURST_SIZES.keys()]),
    "the ring overflows, again and again, and the driver sees it": (run) =>
      (counts(run, "card").get("overflows") ?? 0) >= 3,
    "frames for which there was no room stay without an answer, and the card counts some": (run) => {
      const { asked, said } = pingFrames(run, BURST.ip);
      return said.length < asked.length && (counts(run, "errors").get("missed") ?? 0) > 0;
    },
    "after the first gap the guest answers again, while the burst still goes on": (run) => {
      const { said } = pingFrames(run, BURST.ip);
      const gap = said.findIndex((sequence, index) => sequence !== index);
      return said.length - gap > 30 && gap > 0;
    },
    "nothing is delivered twice: answers come once each, in the order of the requests": (run) =>
      [BURST, LATER].every(({ name, ip }) => {
        const { said } = pingFrames(run, ip);
        const inOrder = said.every((sequence, index) => index === 0 || sequence > said[index - 1]!);
        return inOrder && sameNumbers(answered(run, name), said) && run.pings(name)?.wrong === 0;
      }),
    "the recovery damages nothing: each request that the guest took is answered": (run) => {
      const [taken, answers, card] = ["frames in", "answers", "card"].map((line) => counts(run, line));
      const all = pingFrames(run, BURST.ip).said.length + pingFrames(run, LATER.ip).said.length;
      const failed = ["failed", "refused", "lost", "waiting"].every((word) => answers?.get(word) === 0);
      const sound = ["ring errors", "dma errors", "resets"].every((word) => card?.get(word) === 0);
      return taken?.get("icmp") === all && taken.get("damaged") === 0 && failed && sound;
    },
    "pings after the burst are answered, all of them": (run) =>
      sameNumbers(answered(run, LATER.name), [...LATER_SIZES.keys()]),
    "the guest ends when asked to": (run) => run.serial("pc").trimEnd().endsWith("done"),
  },
});
