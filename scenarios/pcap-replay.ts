import {
  decodeArp,
  decodeEcho,
  decodeFrame,
  decodeIpv4,
  decodeUdp,
  defineScenario,
  ECHO_REQUEST,
  ETHER_TYPE,
  encodeArp,
  encodeEcho,
  encodeFrame,
  encodeIpv4,
  NS_PER_MS,
  NS_PER_SECOND,
  type Run,
  writePcap,
} from "../src/index.ts";
import { CARD_LINK, counts, datagram, echoGuest, GUEST, PEER, withoutCheckSequence } from "./ne2000-echo.ts";

/** A frame of the capture: where in the guest's counts it ends up, and its answer as {@link told} tells it. */
interface Captured {
  readonly atMs: number;
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly counted?: string;
  readonly answer?: string;
}

const BROADCAST = "ff:ff:ff:ff:ff:ff";
const NOBODY = "00:00:00:00:00:00";
const ARP_ANSWER = `arp ${GUEST.ip} is at ${GUEST.address}`;

const frame = (etherType: number, payload: Uint8Array, destination: string = GUEST.address): Uint8Array =>
  withoutCheckSequence(encodeFrame({ destination, source: PEER.address, etherType, payload }));

function arp(targetIp: string): Uint8Array {
  const sender = { senderAddress: PEER.address, senderIp: PEER.ip };
  const payload = encodeArp({ operation: "request", ...sender, targetAddress: NOBODY, targetIp });
  return frame(ETHER_TYPE.ARP, payload, BROADCAST);
}

function ping(sequence: number, size: number, to: { ip: string; address: string } = GUEST): Uint8Array {
  const data = Uint8Array.from({ length: size }, (_, index) => sequence + 3 * index);
  const payload = encodeEcho({ type: ECHO_REQUEST, identifier: 7, sequence, data });
  const packet = encodeIpv4({ source: PEER.ip, destination: to.ip, protocol: 1, payload });
  return frame(ETHER_TYPE.IPV4, packet, to.address);
}

/** Flips a byte. */
function damaged(bytes: Uint8Array, at: number): Uint8Array {
  return bytes.map((byte, index) => (index === at ? byte ^ 0xff : byte));
}

/** First byte of the IPv4 header's checksum, and a byte of the echo's data, behind headers of 14, 20 and 8 bytes. */
const IP_CHECKSUM = 14 + 10;
const ECHO_DATA = 14 + 20 + 8 + 2;
const ELSEWHERE = { ip: "10.0.0.99", address: "52:54:00:00:00:63" } as const;

/** Answers of pings and datagrams come back with the data of what they answer. */
const CAPTURE: readonly Captured[] = [
  { atMs: 0, what: "an ARP request at power-on, before anybody listens", bytes: arp(GUEST.ip) },
  { atMs: 50, what: "an ARP request", bytes: arp(GUEST.ip), counted: "arp", answer: ARP_ANSWER },
  { atMs: 51, what: "one for somebody else's address", bytes: arp(ELSEWHERE.ip), counted: "not for us" },
  { atMs: 55, what: "an empty ping", bytes: ping(1, 0), counted: "icmp", answer: "echo 1, 0 bytes" },
  { atMs: 60, what: "the longest ping", bytes: ping(2, 1472), counted: "icmp", answer: "echo 2, 1472 bytes" },
  { atMs: 60, what: "another on its heels", bytes: ping(3, 99), counted: "icmp", answer: "echo 3, 99 bytes" },
  { atMs: 70, what: "a wrong IPv4 checksum", bytes: damaged(ping(4, 40), IP_CHECKSUM), counted: "damaged" },
  { atMs: 71, what: "a wrong ICMP checksum", bytes: damaged(ping(5, 40), ECHO_DATA), counted: "damaged" },
  { atMs: 72, what: "another IP address", bytes: ping(6, 8, { ...GUEST, ip: ELSEWHERE.ip }), counted: "not for us" },
  { atMs: 73, what: "another station, which the card does not take", bytes: ping(7, 8, ELSEWHERE) },
  { atMs: 74, what: "a type that nobody knows", bytes: frame(0x88b5, new Uint8Array(46)), counted: "not served" },
  { atMs: 80, what: "a datagram", bytes: datagram("hello", 4000), counted: "udp", answer: "udp to 4000: hello" },
  { atMs: 90, what: "the ping of 60 again", bytes: ping(3, 99), counted: "icmp", answer: "echo 3, 99 bytes" },
  { atMs: 99, what: "the end", bytes: datagram("exit", 4001), counted: "udp", answer: "udp to 4001: exit" },
];

/** On the peer's cable, with 100 Mbit/s: a frame behind its preamble of eight bytes, and the gap of 96 bits that follows. */
const transmitNs = (bytes: number): number => 80 * (8 + bytes);
const GAP_NS = 960;
/** The longest ping takes 1.2 ms there and 1.2 ms back on the card's cable. */
const PATIENCE_NS = 4 * NS_PER_MS;

/** What a frame of the guest's says; "nonsense" unless every length and checksum in it is right. */
function told(data: Uint8Array): string {
  const answer = decodeFrame(data);
  if (answer === undefined || answer.source !== GUEST.address || answer.destination !== PEER.address) return "nonsense";
  if (answer.etherType === ETHER_TYPE.ARP) {
    const reply = decodeArp(answer.payload);
    return reply?.operation === "reply" ? `arp ${reply.senderIp} is at ${reply.senderAddress}` : "nonsense";
  }
  const packet = decodeIpv4(answer.payload);
  if (packet === undefined || packet.source !== GUEST.ip || packet.destination !== PEER.ip) return "nonsense";
  const udp = decodeUdp(packet);
  if (udp !== undefined) return `udp to ${udp.destinationPort}: ${new TextDecoder().decode(udp.payload)}`;
  const echo = decodeEcho(packet);
  const isWhole = echo?.type === 0 && echo.data.every((byte, index) => byte === ((echo.sequence + 3 * index) & 0xff));
  return isWhole ? `echo ${echo.sequence}, ${echo.data.length} bytes` : "nonsense";
}

const sentBy = (run: Run, link: string) =>
  run.events("frame-sent").filter((event) => event.link === link && event.end === 0 && event.whole);

export default defineScenario({
  name: "pcap-replay",
  why: "The frames of a capture file, which the scenario makes, come to a guest at the file's times: each is answered as it should be, or stays unanswered for the right reason.",
  images: {
    guest: { guest: "ne2000-echo" },
    capture: { build: () => writePcap(CAPTURE.map(({ atMs, bytes }) => ({ atNs: atMs * NS_PER_MS, bytes }))) },
  },
  machine: {
    domains: [echoGuest({})],
    network: { peers: [{ name: "peer", capture: "capture" }] },
    timeLimitNs: NS_PER_SECOND,
  },
  expect: {
    "every frame of the file is sent as it is, at its time or a gap behind the one before": (run) => {
      let freeNs = 0;
      const sent = sentBy(run, "peer");
      const right = sent.map(({ at, data }, index) => {
        const { atMs, bytes } = CAPTURE[index]!;
        const leftNs = Math.max(freeNs, atMs * NS_PER_MS) + transmitNs(data.length);
        freeNs = leftNs + GAP_NS;
        return at === leftNs && bytes.every((byte, offset) => byte === data[offset]);
      });
      return sent.length === CAPTURE.length && !right.includes(false);
    },
    "the guest gives the answers that are due, in order, and no others": (run) => {
      const due = CAPTURE.flatMap(({ answer }) => (answer === undefined ? [] : [answer]));
      return (
        sentBy(run, CARD_LINK)
          .map(({ data }) => told(data))
          .join("; ") === due.join("; ")
      );
    },
    "each answer leaves within 4 ms of its question": (run) => {
      const questions = CAPTURE.filter(({ answer }) => answer !== undefined);
      return sentBy(run, CARD_LINK).every(({ at }, index) => {
        const askedNs = (questions[index]?.atMs ?? Number.POSITIVE_INFINITY) * NS_PER_MS;
        return at > askedNs && at < askedNs + PATIENCE_NS;
      });
    },
    "the guest's counts say the same of each frame": (run) => {
      const found = counts(run, "frames in");
      const kinds = ["arp", "icmp", "udp", "not for us", "not served", "damaged"];
      return kinds.every((kind) => found.get(kind) === CAPTURE.filter(({ counted }) => counted === kind).length);
    },
    "the guest ends when asked to": (run) => run.serial("pc").trimEnd().endsWith("done"),
  },
});
