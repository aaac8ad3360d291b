import {
  Blkfront,
  type BlkfrontState,
  decodeArp,
  decodeEcho,
  decodeFrame,
  decodeIpv4,
  decodeUdp,
  defineScenario,
  ECHO_REPLY,
  ECHO_REQUEST,
  type Echo,
  ETHER_TYPE,
  encodeArp,
  encodeEcho,
  encodeFrame,
  encodeIpv4,
  encodeUdp,
  type ModelKernel,
  type ModelProgram,
  Netfront,
  type NetfrontState,
  NS_PER_MS,
  NS_PER_SECOND,
  PROTOCOL,
  type ProgramParameters,
  type Run,
} from "../src/index.ts";
import { GUEST as CARD } from "./ne2000-echo.ts";

const XVDA = 51712;
/** Requests in flight. */
const DEPTH = 16;
/** Of one request. */
const SECTORS = 3;
/** Both are let go of before the guest ends or suspends itself. */
const DEVICES = 2;
/** sched.h. */
const SHUTDOWN_SUSPEND = 2;
const IDENTIFIER = 0x4c41;
const EXIT_PORT = 7;
const BROADCAST = "ff:ff:ff:ff:ff:ff";
/** From one try to resolve an address to the next. */
const RESOLVE_NS = NS_PER_MS;
/** Check sequence: a front end takes frames without, and gives them without. */
const NO_FCS = new Uint8Array(4);

const pingSize = (sequence: number): number => (sequence * 389) % 1473;
const pingData = (sequence: number): Uint8Array =>
  Uint8Array.from({ length: pingSize(sequence) }, (_, at) => sequence + at);
const diskData = (first: number, count: number): Uint8Array =>
  Uint8Array.from({ length: count * 512 }, (_, at) => first + (at >>> 9) + at);

const same = (left: Uint8Array, right: Uint8Array): boolean =>
  left.length === right.length && left.every((byte, at) => byte === right[at]);

interface StationState {
  disk: BlkfrontState;
  net: NetfrontState;
  reading: boolean;
  next: number;
  done: number;
  wrong: number;
  failed: number;
  peerAddress: string;
  sent: number;
  answers: number[];
  wrongAnswers: number;
  left: boolean;
  suspending: boolean;
  /** Devices that have closed. */
  closed: number;
}

/**
 * A guest with a disk and an interface. It fills its disk, reads it back, and pings a peer meanwhile, which it asks to end at last; it answers
 * ARP and pings itself. Parameters: `ip`, `peer`, `sectors` (0: over and over, until the end), `pings`, `intervalNs`, `untilNs`, `exit`.
 */
export function station(kernel: ModelKernel, parameters: ProgramParameters): ModelProgram<StationState> {
  const number = (name: string) => Number(parameters[name] ?? 0);
  const [ip, peer] = [String(parameters.ip), String(parameters.peer)];
  const [sectors, pings, intervalNs] = [number("sectors"), number("pings"), number("intervalNs")];
  let reading = false;
  let [next, done, wrong, failed] = [0, 0, 0, 0];
  let peerAddress = "";
  let sent = 0;
  let answers: number[] = [];
  let wrongAnswers = 0;
  let left = false;
  let suspending = false;
  let closed = 0;
  const say = (text: string) => kernel.console.write(`${text}\n`);

  const disk: Blkfront = new Blkfront(
    kernel,
    { device: XVDA },
    {
      ready: () => feed(),
      done(tag, status, data) {
        done++;
        if (status !== 0) failed++;
        else if (reading && !same(data, diskData(tag, SECTORS))) wrong++;
        feed();
      },
      closed: () => end(),
    },
  );
  const feed = (): void => {
    while (next + SECTORS <= disk.sectors && disk.pending < DEPTH) {
      const taken = reading
        ? disk.submit(next, "read", next, SECTORS)
        : disk.submit(next, "write", next, SECTORS, diskData(next, SECTORS));
      if (!taken) break;
      next += SECTORS;
    }
    disk.push();
    if (disk.pending > 0 || next + SECTORS <= disk.sectors) return;
    if (reading && sectors > 0) say(`disk: ${done} requests, ${wrong} wrong, ${failed} failed`);
    else if (disk.connected && failed === 0) {
      reading = !reading;
      next = 0;
      feed();
    }
  };

  const net: Netfront = new Netfront(
    kernel,
    { device: 0 },
    { ready: () => ping(), received: (frame) => hear(frame), closed: () => end() },
  );
  const send = (destination: string, etherType: number, payload: Uint8Array) => {
    net.send(encodeFrame({ destination, source: net.address ?? "", etherType, payload }).subarray(0, -NO_FCS.length));
    net.push();
  };
  const sendEcho = (to: string, destination: string, echo: Echo) =>
    send(
      to,
      ETHER_TYPE.IPV4,
      encodeIpv4({ source: ip, destination, protocol: PROTOCOL.ICMP, payload: encodeEcho(echo) }),
    );
  const hear = (bytes: Uint8Array): void => {
    const frame = decodeFrame(Uint8Array.from([...bytes, ...NO_FCS]));
    const arp = frame?.etherType === ETHER_TYPE.ARP ? decodeArp(frame.payload) : undefined;
    if (frame === undefined) return;
    if (arp?.targetIp === ip) {
      if (arp.senderIp === peer) peerAddress = arp.senderAddress;
      const { senderAddress: targetAddress, senderIp: targetIp } = arp;
      const reply = {
        operation: "reply",
        senderAddress: net.address ?? "",
        senderIp: ip,
        targetAddress,
        targetIp,
      } as const;
      if (arp.operation === "request") send(targetAddress, ETHER_TYPE.ARP, encodeArp(reply));
    }
    const packet = frame.etherType === ETHER_TYPE.IPV4 ? decodeIpv4(frame.payload) : undefined;
    if (packet?.destination !== ip) return;
    const echo = decodeEcho(packet);
    if (echo?.type === ECHO_REQUEST) sendEcho(frame.source, packet.source, { ...echo, type: ECHO_REPLY });
    else if (echo !== undefined) answer(echo);
    else if (decodeUdp(packet) !== undefined) leave();
  };
  const answer = ({ identifier, sequence, data }: Echo): void => {
    const isRight = sequence < sent && same(data, pingData(sequence));
    if (isRight && identifier === IDENTIFIER) answers[sequence]!++;
    else wrongAnswers++;
    if (sequence === pings - 1)
      say(`pings: ${sent}, ${answers.filter((count) => count === 1).length} answered once, ${wrongAnswers} wrong`);
  };
  const again = kernel.alarm("ping", () => ping());
  const ping = (): void => {
    if (!net.connected || left || (pings > 0 && sent >= pings)) return;
    if (peerAddress === "") {
      const request = { operation: "request", senderAddress: net.address ?? "", senderIp: ip } as const;
      const target = { targetAddress: "00:00:00:00:00:00", targetIp: peer };
      send(BROADCAST, ETHER_TYPE.ARP, encodeArp({ ...request, ...target }));
      again.set(kernel.clock.now + RESOLVE_NS);
      return;
    }
    const sequence = sent++ & 0xffff;
    answers[sequence] = 0;
    sendEcho(peerAddress, peer, { type: ECHO_REQUEST, identifier: IDENTIFIER, sequence, data: pingData(sequence) });
    again.set(kernel.clock.now + intervalNs);
  };

  const leave = (): void => {
    if (left) return;
    left = true;
    net.disconnect();
    disk.disconnect();
  };
  const end = (): void => {
    if (++closed < DEVICES) return;
    if (suspending) kernel.shutdown(SHUTDOWN_SUSPEND);
    else kernel.shutdown();
  };
  /** The toolstack asks for something: to suspend, here (docs/misc/xenstore-paths.pandoc). */
  const asked = (): void => {
    if (kernel.store.read("control/shutdown") !== "suspend") return;
    kernel.store.write("control/shutdown", "");
    suspending = true;
    leave();
  };
  const limit = kernel.alarm("limit", () => {
    if (parameters.exit !== true) {
      leave();
      return;
    }
    const datagram = { source: ip, sourcePort: 1000, destination: peer, destinationPort: EXIT_PORT };
    const payload = new TextEncoder().encode("exit");
    send(peerAddress, ETHER_TYPE.IPV4, encodeIpv4(encodeUdp({ ...datagram, payload })));
  });
  const begin = (): void => {
    kernel.store.watch("control/shutdown", "shutdown", asked);
    net.start();
    disk.start();
    limit.set(number("untilNs"));
  };
  return {
    start: begin,
    /** On another host: connects, and asks again for what had no answer. */
    resume() {
      [left, suspending, closed] = [false, false, 0];
      const unanswered = answers.indexOf(0);
      sent = unanswered < 0 ? answers.length : unanswered;
      say(`resumed as domain ${kernel.domid}, with ${sent} pings answered and ${done} requests done`);
      begin();
    },
    save: () => ({
      disk: disk.save(),
      net: net.save(),
      ...{
        reading,
        next,
        done,
        wrong,
        failed,
        peerAddress,
        sent,
        answers: [...answers],
        wrongAnswers,
        left,
        suspending,
        closed,
      },
    }),
    load(state) {
      disk.load(state.disk);
      net.load(state.net);
      kernel.store.adoptWatch("shutdown", asked);
      ({ reading, next, done, wrong, failed, peerAddress, sent, wrongAnswers, left, suspending, closed } = state);
      answers = [...state.answers];
    },
  };
}

/** Whose grants are mapped at the end, one entry each; undefined when an unmap failed or was of nothing. */
export function heldGrants(run: Run): readonly number[] | undefined {
  const owners = new Map<number, number>();
  for (const event of run.allEvents()) {
    if (event.kind === "grant-map" && event.status === 0) owners.set(event.handle, event.owner);
    if (event.kind === "grant-unmap" && (event.status !== 0 || !owners.delete(event.handle))) return undefined;
  }
  return [...owners.values()];
}

/** What a station has said of its disk and of its pings; both are at their best. */
export const fared = (run: Run, domain: string, requests: number, pings: number): boolean =>
  run.console(domain).includes(`disk: ${requests} requests, 0 wrong, 0 failed\n`) &&
  run.console(domain).includes(`pings: ${pings}, ${pings} answered once, 0 wrong\n`);

const STATION = { ip: "10.0.0.4", address: "00:16:3e:00:00:04" } as const;
const PINGS = 200;
const INTERVAL_NS = 3 * NS_PER_MS;
const HOST_PINGS = Array.from({ length: PINGS }, (_, sequence) => pingSize(sequence));
const START_NS = 20 * NS_PER_MS;
const END_NS = START_NS + (PINGS + 10) * INTERVAL_NS;

export default defineScenario({
  name: "two-guests-one-lan",
  why: "A guest with an NE2000 and a guest with a para-virtual interface, each with all that a guest has, share one switch: frames of one go through a chip's registers, those of the other through a shared ring.",
  images: { guest: { guest: "ne2000-echo" } },
  machine: {
    domains: [
      {
        name: "card",
        memoryMiB: 2,
        kernel: "guest",
        board: { kind: "pc", nics: [{ model: "ne2000-isa", address: CARD.address }] },
      },
    ],
    models: [
      {
        name: "interface",
        program: "station",
        parameters: {
          ip: STATION.ip,
          peer: CARD.ip,
          sectors: 1,
          pings: PINGS,
          intervalNs: INTERVAL_NS,
          untilNs: END_NS,
          exit: true,
        },
        pages: 256,
        disks: [{ device: "xvda", sectors: 3000 }],
        vifs: [{ address: STATION.address }],
      },
    ],
    network: {
      hosts: [
        {
          name: "tester",
          address: "52:54:00:00:00:01",
          ip: "10.0.0.1",
          ping: { to: STATION.ip, sizes: HOST_PINGS, startNs: START_NS, intervalNs: INTERVAL_NS },
        },
      ],
    },
    timeLimitNs: 5 * NS_PER_SECOND,
  },
  programs: { station },
  expect: {
    "the guests find their devices": (run) => run.serial("card").includes("NE2000 at 0x300"),
    "every ping from interface to card is answered once, and rightly; the disk holds what was written": (run) =>
      fared(run, "interface", 2000, PINGS),
    "and the interface answers what comes from outside": (run) =>
      run.pings("tester")?.answers.every((count) => count === 1) === true && run.pings("tester")?.wrong === 0,
    "the card's guest counts what it answered": (run) => run.serial("card").includes(`${PINGS} icmp`),
    "nothing was dropped or damaged": (run) =>
      run.events("packet-dropped").length === 0 && run.events("fault-injected").length === 0,
    "one guest ends when the other asks it to, the other when it hears that": (run) =>
      run.serial("card").trimEnd().endsWith("done") && run.ended("interface") === "poweroff",
  },
});
