// Cables, hosts and the record of what went over them, for tests of the network.

import { Clock } from "../../../src/core/clock.ts";
import { RandomStreams } from "../../../src/core/random.ts";
import { Host, type UdpService } from "../../../src/devices/net/host.ts";
import type { Datagram } from "../../../src/devices/net/ipv4.ts";
import { Link, type LinkOptions, TEN_MEGABIT } from "../../../src/devices/net/link.ts";
import type { Medium } from "../../../src/devices/net/medium.ts";
import type { EventOf, TraceEvent } from "../../../src/trace/events.ts";

export const FULL: LinkOptions = { ...TEN_MEGABIT, fullDuplex: true };

export class Lan {
  readonly clock = new Clock();
  readonly events: TraceEvent[] = [];
  readonly random: RandomStreams;

  constructor(seed: string | number = "lan") {
    this.random = new RandomStreams(seed);
  }

  link(name: string, options: LinkOptions = FULL): Link {
    const emit = (event: TraceEvent) => this.events.push(event);
    return new Link(name, { clock: this.clock, random: this.random.stream(`link ${name}`), emit }, options);
  }

  host(name: string, medium: Medium, number: number): Host {
    const wires = { clock: this.clock, medium, random: this.random.stream(name) };
    return new Host(name, wires, { address: `02:00:00:00:00:0${number}`, ip: `10.0.2.${number}` });
  }

  wait(ns: number): void {
    this.clock.advanceTo(this.clock.now + ns);
  }

  of<K extends TraceEvent["kind"]>(kind: K): EventOf<K>[] {
    return this.events.filter((event): event is EventOf<K> => event.kind === kind);
  }
}

/** A client program that keeps what it is sent. */
export class Mailbox implements UdpService {
  readonly port: number;
  readonly got: Datagram[] = [];

  constructor(port: number) {
    this.port = port;
  }

  handles(port: number): boolean {
    return port === this.port;
  }

  receive(datagram: Datagram): void {
    this.got.push(datagram);
  }
}
