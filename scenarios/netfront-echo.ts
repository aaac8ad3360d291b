import { defineScenario, type EventOf, NS_PER_MS, NS_PER_SECOND, NS_PER_US, type Run } from "../src/index.ts";
import { allDiffer, answered, counts, GUEST, goodbye, pingFrames, sameNumbers, TESTER } from "./ne2000-echo.ts";

/** Frames of 65,535 bytes and a check sequence. */
const MAX_FRAME = 0xffff + 4;
/** Data of an echo in the longest frame: less the headers of Ethernet, IPv4 and ICMP. */
const MAX_ECHO = 0xffff - 14 - 20 - 8;
const PAGE = 4096;
/** The cable between the guest's interface and the switch; its first end is the guest's. */
const CABLE = "guest vif0";

/** Sizes of all kinds; each sixteenth is one of large frames, up to the longest. */
const SIZES = Array.from({ length: 1000 }, (_, index) =>
  index % 16 === 15 ? MAX_ECHO - ((index * 1051) % MAX_ECHO) : (index * 389) % 3001,
).with(-1, MAX_ECHO);
const START_NS = 20 * NS_PER_MS;
/** Shorter than the longest frame's way over the cable: several are under way. */
const INTERVAL_NS = 400 * NS_PER_US;
const END_NS = START_NS + SIZES.length * INTERVAL_NS;

const BACK = 1;
const MORE_DATA = 4;

/** How many slots each packet took, of slots in their order. */
function slotsOf(slots: readonly { readonly flags: number }[]): number[] {
  const ends = slots.flatMap(({ flags }, index) => ((flags & MORE_DATA) === 0 ? [index + 1] : []));
  return ends.map((end, index) => end - (ends[index - 1] ?? 0));
}

const ofBack = <T extends { readonly side: number }>(events: readonly T[]): T[] =>
  events.filter(({ side }) => side === BACK);
const everySize = (slots: readonly number[]): boolean =>
  sameNumbers(
    [...new Set(slots)],
    Array.from({ length: Math.ceil(0xffff / PAGE) }, (_, index) => index + 1),
  );
const sent = (run: Run): EventOf<"netif-tx-request">[] => ofBack(run.events("netif-tx-request"));
const received = (run: Run): EventOf<"netif-rx-response">[] => ofBack(run.events("netif-rx-response"));

export default defineScenario({
  name: "netfront-echo",
  why: "A guest with an interrupt-driven netfront answers 1,000 pings of up to 64 KiB in one frame, scattered over the slots of both rings, and every answer that fails to come is accounted for.",
  images: { guest: { guest: "netfront-echo" }, goodbye: { build: () => goodbye(END_NS + 100 * NS_PER_MS) } },
  machine: {
    domains: [
      {
        name: "guest",
        kernel: "guest",
        memoryMiB: 4,
        vifs: [
          { address: GUEST.address, link: { maxFrame: MAX_FRAME, faults: { lossPpm: 20_000, corruptionPpm: 5_000 } } },
        ],
      },
    ],
    network: {
      hosts: [
        {
          ...TESTER,
          link: { bitsPerSecond: 1_000_000_000, latencyNs: 500, fullDuplex: true, maxFrame: MAX_FRAME },
          ping: { to: GUEST.ip, sizes: SIZES, startNs: START_NS, intervalNs: INTERVAL_NS },
        },
      ],
      peers: [{ name: "peer", capture: "goodbye" }],
    },
    timeLimitNs: END_NS + 3 * NS_PER_SECOND,
  },
  expect: {
    "the guest's netfront connects": (run) =>
      run.console("guest").includes(`vif 0: address ${GUEST.address}, backend state Connected`),
    "1,000 pings with up to 65,493 bytes of data reach the guest's cable, each once": (run) => {
      const { asked } = pingFrames(run, TESTER.ip, CABLE);
      return asked.length === SIZES.length && allDiffer(asked);
    },
    "the guest answers every request that comes through, once": (run) => {
      const { heard, said } = pingFrames(run, TESTER.ip, CABLE);
      return sameNumbers(heard, said);
    },
    "every answer that comes through is right, and the tester has no other": (run) =>
      sameNumbers(answered(run, TESTER.name), pingFrames(run, TESTER.ip, CABLE).arrived) &&
      run.pings(TESTER.name)?.wrong === 0,
    "what is missing was lost on the way there or back": (run) => {
      const { asked, heard, said, arrived } = pingFrames(run, TESTER.ip, CABLE);
      const [there, back] = [asked.length - heard.length, said.length - arrived.length];
      return there > 0 && back > 0 && answered(run, TESTER.name).length + there + back === SIZES.length;
    },
    "packets take from 1 to 16 slots of either ring": (run) =>
      everySize(slotsOf(sent(run))) && everySize(slotsOf(received(run))),
    "the back end fetches each slot once, and answers each well": (run) => {
      const responses = ofBack(run.events("netif-tx-response"));
      return (
        allDiffer(sent(run).map(({ index }) => index)) &&
        responses.length === sent(run).length &&
        responses.every(({ status }) => status === 0) &&
        allDiffer(ofBack(run.events("netif-rx-request")).map(({ index }) => index)) &&
        received(run).every(({ status }) => status > 0)
      );
    },
    "the guest's own counts agree": (run) => {
      const { heard, said } = pingFrames(run, TESTER.ip, CABLE);
      const text = run.console("guest");
      const [taken, answers, slots] = ["frames in", "answers", "interface"].map((line) => counts(run, line, text));
      return (
        taken?.get("icmp") === heard.length &&
        said.length === heard.length &&
        ["failed", "refused", "waiting"].every((word) => answers?.get(word) === 0) &&
        slots?.get("slots received") === received(run).length &&
        slots.get("slots sent") === sent(run).length
      );
    },
    "events come as the interrupts of one vector": (run) =>
      run.events("irq-delivery").length > 0 && run.events("irq-delivery").every(({ vector }) => vector === 0xf3),
    "the guest ends when asked to, and the back end holds nothing of it": (run) =>
      run.console("guest").trimEnd().endsWith("done") &&
      !run.console("guest").includes("still holds") &&
      run.ended("guest") === "poweroff",
  },
});
