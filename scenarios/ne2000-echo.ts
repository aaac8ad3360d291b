import {
  decodeEcho,
  decodeFrame,
  decodeIpv4,
  defineScenario,
  ETHER_TYPE,
  encodeFrame,
  encodeIpv4,
  encodeUdp,
  type MachineConfig,
  NS_PER_MS,
  NS_PER_SECOND,
  type Run,
  writePcap,
} from "../src/index.ts";

/** The bundled guest's card and address, and the station that talks to it by a capture file. */
export const GUEST = { address: "52:54:00:12:34:56", ip: "10.0.0.2" } as const;
export const PEER = { address: "52:54:00:00:00:02", ip: "10.0.0.3" } as const;
export const TESTER = { name: "tester", address: "52:54:00:00:00:01", ip: "10.0.0.1" } as const;
/** The cable between the guest's card and the switch. */
export const CARD_LINK = "pc net0";

type Domain = MachineConfig["domains"][number];
type Board = NonNullable<Domain["board"]>;
type Nic = NonNullable<Board["nics"]>[number];

/** A PC without firmware around ne2000-echo, the NE2000 at 300h, IRQ 9. */
export function echoGuest({ link = {}, commandLine = "" }: { link?: Nic["link"]; commandLine?: string }): Domain {
  return {
    name: "pc",
    memoryMiB: 2,
    kernel: "guest",
    commandLine,
    board: { kind: "pc", nics: [{ model: "ne2000-isa", address: GUEST.address, link }] },
  };
}

/** A datagram to the guest's echo port, as a frame for a capture file. */
export function datagram(text: string, sourcePort: number): Uint8Array {
  const addresses = { source: PEER.ip, destination: GUEST.ip };
  const ports = { sourcePort, destinationPort: 7 };
  const payload = encodeIpv4(encodeUdp({ ...addresses, ...ports, payload: new TextEncoder().encode(text) }));
  const frame = { destination: GUEST.address, source: PEER.address, etherType: ETHER_TYPE.IPV4, payload };
  return withoutCheckSequence(encodeFrame(frame));
}

/** Capture files have frames without it. */
export const withoutCheckSequence = (frame: Uint8Array): Uint8Array => frame.slice(0, -4);

/** The guest takes some 40 ms to print its counts, and is not disturbed then. */
const GOODBYE_INTERVAL_NS = 100 * NS_PER_MS;

/** A capture that asks the guest to end, often enough for any cable. The first frame of a capture is sent at power-on. */
export const goodbye = (fromNs: number): Uint8Array =>
  writePcap([
    { atNs: 0, bytes: datagram("nobody listens yet", 1) },
    ...Array.from({ length: 20 }, (_, index) => ({
      atNs: fromNs + index * GOODBYE_INTERVAL_NS,
      bytes: datagram("exit", 1000 + index),
    })),
  ]);

/** The numbers in the last line of a guest's text that begins so, by the words behind them. */
export function counts(run: Run, line: string, text = run.serial("pc")): ReadonlyMap<string, number> {
  const found = text.split("\n").findLast((row) => row.startsWith(`${line}:`)) ?? "";
  return new Map(Array.from(found.matchAll(/(\d+) ([a-z ]+)/g), ([, count, word]) => [word!.trim(), Number(count)]));
}

/** What became of the pings' frames on the guest's cable. */
export interface PingFrames {
  /** Sequence numbers of the whole requests that the cable carried, and of those that reached the card as they were. */
  readonly asked: readonly number[];
  readonly heard: readonly number[];
  /** The same of answers. */
  readonly said: readonly number[];
  readonly arrived: readonly number[];
}

/** @param host the IP address of who asks; @param cable whose first end is the guest's */
export function pingFrames(run: Run, host: string = TESTER.ip, cable: string = CARD_LINK): PingFrames {
  const harmed = new Set(faults(run, "loss", cable).concat(faults(run, "corruption", cable)));
  const frames = run.events("frame-sent").flatMap(({ link, end, number, whole, data }) => {
    const ping = link === cable && whole ? pingIn(data, host) : undefined;
    return ping === undefined ? [] : [{ sequence: ping, fromCard: end === 0, unharmed: !harmed.has(number) }];
  });
  const sequences = (kept: readonly { readonly sequence: number }[]) => kept.map(({ sequence }) => sequence);
  const [requests, answers] = [frames.filter(({ fromCard }) => !fromCard), frames.filter(({ fromCard }) => fromCard)];
  return {
    asked: sequences(requests),
    heard: sequences(requests.filter(({ unharmed }) => unharmed)),
    said: sequences(answers),
    arrived: sequences(answers.filter(({ unharmed }) => unharmed)),
  };
}

/** Numbers of the frames on a cable that met a fault. */
const faults = (run: Run, kind: string, cable: string): number[] =>
  run
    .events("fault-injected")
    .filter(({ name }) => name === `${cable} ${kind}`)
    .map(({ detail }) => Number(/^frame (\d+)/.exec(detail)?.[1]));

/** The sequence number of a ping between the guest and a host. */
function pingIn(data: Uint8Array, host: string): number | undefined {
  const frame = decodeFrame(data);
  const packet = frame?.etherType === ETHER_TYPE.IPV4 ? decodeIpv4(frame.payload) : undefined;
  const isTheirs = packet?.source === host || packet?.destination === host;
  return packet !== undefined && isTheirs ? decodeEcho(packet)?.sequence : undefined;
}

/** The card takes its own address and broadcasts; it recognizes the address before it looks at the check sequence. */
function isForGuest(frame: Uint8Array): boolean {
  const destination = decodeFrame(frame)?.destination;
  return destination === GUEST.address || destination === "ff:ff:ff:ff:ff:ff";
}

/** Each at most once. */
export const allDiffer = (values: readonly number[]): boolean => new Set(values).size === values.length;

/** The same numbers in whatever order. */
export const sameNumbers = (left: readonly number[], right: readonly number[]): boolean =>
  [...left].sort((a, b) => a - b).join() === [...right].sort((a, b) => a - b).join();

/** Sequence numbers of a host's pings that were rightly answered, as often as they were. */
export const answered = (run: Run, host: string): number[] =>
  run.pings(host)?.answers.flatMap((count, sequence) => Array.from({ length: count }, () => sequence)) ?? [];

const SIZES = Array.from({ length: 1000 }, (_, index) => (index * 389) % 1473);
const START_NS = 20 * NS_PER_MS;
const INTERVAL_NS = 3 * NS_PER_MS;
const END_NS = START_NS + SIZES.length * INTERVAL_NS;

export default defineScenario({
  name: "ne2000-echo",
  why: "A guest with an interrupt-driven NE2000 answers 1,000 pings of mixed sizes over a lossy cable, and every answer that fails to come is accounted for.",
  images: { guest: { guest: "ne2000-echo" }, goodbye: { build: () => goodbye(END_NS + 100 * NS_PER_MS) } },
  machine: {
    domains: [echoGuest({ link: { faults: { lossPpm: 20_000, corruptionPpm: 5_000 } } })],
    network: {
      hosts: [{ ...TESTER, ping: { to: GUEST.ip, sizes: SIZES, startNs: START_NS, intervalNs: INTERVAL_NS } }],
      peers: [{ name: "peer", capture: "goodbye" }],
    },
    timeLimitNs: END_NS + 3 * NS_PER_SECOND,
  },
  expect: {
    "the guest finds its card": (run) => run.serial("pc").includes("NE2000 at 0x300, IRQ 9, address 52:54:00:12:34:56"),
    "1,000 pings of sizes from 0 to 1472 bytes reach the card's cable, each once": (run) => {
      const { asked } = pingFrames(run);
      return allDiffer(SIZES) && asked.length === SIZES.length && allDiffer(asked);
    },
    "the guest answers every request that comes through, once": (run) => {
      const { heard, said } = pingFrames(run);
      return sameNumbers(heard, said);
    },
    "every answer that comes through is right, and the tester has no other": (run) =>
      sameNumbers(answered(run, TESTER.name), pingFrames(run).arrived) && run.pings(TESTER.name)?.wrong === 0,
    "what is missing was lost on the way there or back": (run) => {
      const { asked, heard, said, arrived } = pingFrames(run);
      const [there, back] = [asked.length - heard.length, said.length - arrived.length];
      return there > 0 && back > 0 && answered(run, TESTER.name).length + there + back === SIZES.length;
    },
    "the guest's own counts agree": (run) => {
      const { heard, said } = pingFrames(run);
      const taken = counts(run, "frames in");
      const failed = ["failed", "refused", "lost", "waiting"].every((word) => counts(run, "answers").get(word) === 0);
      return taken.get("icmp") === heard.length && taken.get("damaged") === 0 && said.length === heard.length && failed;
    },
    "the card's CRC counter has every frame that the cable damaged on the way there, if it still was for the card": (
      run,
    ) => {
      const damaged = run
        .events("frame-arrival")
        .filter(({ link, end, data }) => link === CARD_LINK && end === 0 && data !== undefined && isForGuest(data));
      return counts(run, "errors").get("crc") === damaged.length;
    },
    "the guest ends when asked to": (run) => run.serial("pc").trimEnd().endsWith("done"),
  },
});
