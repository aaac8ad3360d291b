// The card on a half-duplex cable to a switch, with hosts behind it, driven as an interrupt-driven driver does (AN-874): the chip, collisions,
// faults and services together.

import { expect, test } from "vitest";
import { PortBus } from "../../../src/core/bus.ts";
import { Clock } from "../../../src/core/clock.ts";
import { IrqLine } from "../../../src/core/irq.ts";
import { RandomStreams } from "../../../src/core/random.ts";
import { plugIsaCard } from "../../../src/devices/ne2000/isa.ts";
import { decodeArp, encodeArp } from "../../../src/devices/net/arp.ts";
import { decodeFrame, ETHER_TYPE, encodeFrame } from "../../../src/devices/net/ethernet.ts";
import { Host } from "../../../src/devices/net/host.ts";
import {
  decodeEcho,
  decodeIpv4,
  ECHO_REPLY,
  ECHO_REQUEST,
  encodeEcho,
  encodeIpv4,
  PROTOCOL,
} from "../../../src/devices/net/ipv4.ts";
import { Link, type LinkFaults, TEN_MEGABIT } from "../../../src/devices/net/link.ts";
import { Pinger } from "../../../src/devices/net/pinger.ts";
import { Switch } from "../../../src/devices/net/switch.ts";
import type { TraceEvent } from "../../../src/trace/events.ts";

const BASE = 0x300;
const ADDRESS = "52:54:00:12:34:56";
const IP = "10.0.2.15";

/** A driver that answers ARP and echo requests, and recovers from overflow as the data sheet's section 7.0 prescribes. */
class Driver {
  readonly #ports: PortBus;
  readonly #queue: Uint8Array[] = [];
  #sending = false;
  overflows = 0;
  received = 0;

  constructor(ports: PortBus) {
    this.#ports = ports;
    const setUp: [number, number][] = [
      [0, 0x21],
      [14, 0x49],
      [10, 0],
      [11, 0],
      [12, 0x04],
      [13, 0x02],
      [3, 0x46],
      [1, 0x46],
      [2, 0x80],
      [7, 0xff],
      [15, 0x1f],
      [0, 0x61],
      ...[0x52, 0x54, 0, 0x12, 0x34, 0x56].map((byte, index): [number, number] => [1 + index, byte]),
      [7, 0x46],
      [0, 0x22],
      [13, 0x00],
    ];
    for (const [offset, value] of setUp) this.#out(offset, value);
  }

  #in(offset: number): number {
    return this.#ports.read(BASE + offset, 1);
  }

  #out(offset: number, value: number): void {
    this.#ports.write(BASE + offset, 1, value);
  }

  #remote(address: number, count: number, command: number): void {
    for (const [offset, value] of [
      [8, address & 0xff],
      [9, address >> 8],
      [10, count & 0xff],
      [11, count >> 8],
    ] as const) {
      this.#out(offset, value);
    }
    this.#out(0, command);
  }

  #read(address: number, count: number): Uint8Array {
    const bytes = new Uint8Array(count + 3);
    const view = new DataView(bytes.buffer);
    this.#remote(address, (count + 3) & ~3, 0x0a);
    for (let index = 0; index < count; index += 4) view.setUint32(index, this.#ports.read(BASE + 16, 4), true);
    return bytes.slice(0, count);
  }

  interrupt(): void {
    for (let causes = this.#in(7) & 0x1f; causes !== 0; causes = this.#in(7) & 0x1f) {
      this.#out(7, causes & ~0x10);
      if ((causes & 0x0a) !== 0) this.#next();
      if ((causes & 0x10) !== 0) this.#overflow();
      if ((causes & 0x05) !== 0) this.#drain();
    }
  }

  #overflow(): void {
    this.overflows++;
    this.#out(0, 0x21);
    this.#out(13, 0x02);
    this.#out(0, 0x22);
    this.#drain();
    this.#out(7, 0x10);
    this.#out(13, 0x00);
    this.#sending = false;
    this.#next();
  }

  #drain(): void {
    for (;;) {
      const boundary = this.#in(3);
      this.#out(0, 0x62);
      const current = this.#in(7);
      this.#out(0, 0x22);
      if (boundary === current) return;
      const header = this.#read(boundary << 8, 4);
      const frame = this.#read((boundary << 8) + 4, header[2]! | (header[3]! << 8));
      this.#out(3, header[1]!);
      this.received++;
      this.#answer(frame);
    }
  }

  #answer(bytes: Uint8Array): void {
    const frame = decodeFrame(bytes);
    if (frame === undefined) return;
    const reply = (etherType: number, payload: Uint8Array) =>
      this.#queue.push(encodeFrame({ destination: frame.source, source: ADDRESS, etherType, payload }).slice(0, -4));
    const arp = frame.etherType === ETHER_TYPE.ARP ? decodeArp(frame.payload) : undefined;
    if (arp?.operation === "request" && arp.targetIp === IP) {
      const { senderAddress, senderIp } = arp;
      const fields = { senderAddress: ADDRESS, senderIp: IP, targetAddress: senderAddress, targetIp: senderIp };
      reply(ETHER_TYPE.ARP, encodeArp({ operation: "reply", ...fields }));
    }
    const packet = frame.etherType === ETHER_TYPE.IPV4 ? decodeIpv4(frame.payload) : undefined;
    const echo = packet === undefined ? undefined : decodeEcho(packet);
    if (packet !== undefined && echo?.type === ECHO_REQUEST) {
      const payload = encodeEcho({ ...echo, type: ECHO_REPLY });
      reply(ETHER_TYPE.IPV4, encodeIpv4({ source: IP, destination: packet.source, protocol: PROTOCOL.ICMP, payload }));
    }
    if (!this.#sending) this.#next();
  }

  #next(): void {
    const frame = this.#queue.shift();
    this.#sending = frame !== undefined;
    if (frame === undefined) return;
    const padded = new Uint8Array((frame.length + 1) & ~1);
    padded.set(frame);
    this.#remote(0x4000, padded.length, 0x12);
    for (let index = 0; index < padded.length; index += 2) {
      this.#ports.write(BASE + 16, 2, padded[index]! | (padded[index + 1]! << 8));
    }
    this.#out(4, 0x40);
    this.#out(5, frame.length & 0xff);
    this.#out(6, frame.length >> 8);
    this.#out(0, 0x26);
  }
}

function run(
  count: number,
  { intervalNs, latencyNs, faults }: { intervalNs: number; latencyNs: number; faults?: LinkFaults },
) {
  const clock = new Clock();
  const random = new RandomStreams("network");
  const events: TraceEvent[] = [];
  const emit = (event: TraceEvent) => events.push(event);
  const options = faults === undefined ? TEN_MEGABIT : { ...TEN_MEGABIT, faults };
  const card = new Link("card", { clock, random: random.stream("link card"), emit }, options);
  const fast = { bitsPerSecond: 100_000_000, latencyNs: 500, fullDuplex: true };
  const server = new Link("server", { clock, random: random.stream("link server"), emit }, fast);
  new Switch("switch", { clock, random: random.stream("switch") }, [card.ends[1], server.ends[0]]);
  const host = new Host(
    "server",
    { clock, medium: server.ends[1], random: random.stream("server") },
    { address: "02:00:00:00:00:02", ip: "10.0.2.2" },
  );
  const ports = new PortBus();
  // The driver runs some time after the edge, as an interrupt does.
  const handler = clock.alarm("driver", () => driver.interrupt());
  const irq = new IrqLine("IRQ 9", (level) => level && handler.set(clock.now + latencyNs));
  plugIsaCard("ne2000", { clock, ports, irq, medium: card.ends[0], random: random.stream("ne2000") }, BASE, ADDRESS);
  const driver = new Driver(ports);
  const sizes = Array.from({ length: count }, (_, index) => (index * 131) % 1473);
  const pinger = new Pinger(clock, host, { to: IP, sizes, startNs: 1_000_000, intervalNs });
  clock.advanceTo(count * intervalNs + 2_000_000_000);
  return { driver, events, result: pinger.result };
}

test("every ping of every size is answered once", () => {
  const { driver, events, result } = run(200, { intervalNs: 5_000_000, latencyNs: 20_000 });
  expect(result).toEqual({ sent: 200, answers: Array.from({ length: 200 }, () => 1), wrong: 0 });
  expect(driver.overflows).toBe(0);
  expect(driver.received).toBe(201);
  expect(events.filter(({ kind }) => kind === "frame-sent")).toHaveLength(2 * 402);
});

test("over a cable that loses, duplicates and damages, answers are right, and missing ones are explained by a fault each", () => {
  const faults = { lossPpm: 50_000, duplicationPpm: 50_000, corruptionPpm: 30_000 };
  const { events, result } = run(300, { intervalNs: 5_000_000, latencyNs: 20_000, faults });
  expect(result.wrong).toBe(0);
  const struck = (name: string) =>
    events.filter((event) => event.kind === "fault-injected" && event.name === `card ${name}`).length;
  const missing = result.answers.filter((answers) => answers === 0).length;
  expect(missing).toBeGreaterThan(10);
  expect(missing).toBeLessThanOrEqual(struck("loss") + struck("corruption"));
  const twice = result.answers.filter((answers) => answers > 1).length;
  expect(twice).toBeGreaterThan(5);
});

test("a driver that is slower than the cable overflows, recovers, and delivers nothing twice", () => {
  const { driver, result } = run(300, { intervalNs: 1_300_000, latencyNs: 30_000_000 });
  expect(driver.overflows).toBeGreaterThan(2);
  expect(result.wrong).toBe(0);
  expect(Math.max(...result.answers)).toBe(1);
  expect(result.answers.filter((answers) => answers === 1).length).toBeGreaterThan(40);
});

test("the same run gives the same events", () => {
  const options = { intervalNs: 2_000_000, latencyNs: 50_000, faults: { lossPpm: 50_000 } };
  expect(run(60, options).events).toEqual(run(60, options).events);
});
