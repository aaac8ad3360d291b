// Part: a host on a cable: ARP, ICMP echo, and UDP services on its ports. It answers at once; the cable takes the time.
// Not modelled: routing (every address is on the cable), fragments, ICMP errors.

import type { Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { decodeArp, encodeArp } from "./arp.ts";
import {
  BROADCAST,
  decodeFrame,
  ETHER_TYPE,
  encodeFrame,
  FCS_SIZE,
  type Frame,
  HEADER_SIZE,
  parseAddress,
} from "./ethernet.ts";
import {
  type Datagram,
  decodeEcho,
  decodeIpv4,
  decodeUdp,
  ECHO_REPLY,
  ECHO_REQUEST,
  type Echo,
  encodeEcho,
  encodeIpv4,
  encodeUdp,
  type Ipv4Packet,
  LIMITED_BROADCAST,
  PROTOCOL,
  parseIpv4,
} from "./ipv4.ts";
import type { Medium } from "./medium.ts";
import { Port, type PortState } from "./port.ts";

/** IPv4 and ICMP. */
const ECHO_HEADERS = 20 + 8;
/** Stations whose addresses are remembered, the one heard last at the end; the first goes. A machine's network has a few. */
const MAX_NEIGHBOURS = 256;
/** Packets that wait for an address to be resolved; the oldest goes, as RFC 1122 section 2.3.2.2 allows. */
const MAX_UNRESOLVED = 16;

/** A program on a host that talks UDP. */
export interface UdpService {
  /** Whether datagrams to this port are for the service. */
  handles(port: number): boolean;
  receive(datagram: Datagram, host: Host): void;
}

export interface HostWires {
  readonly clock: Clock;
  readonly medium: Medium;
  readonly random: RandomStream;
}

export interface HostState {
  port: PortState;
  neighbours: { ip: string; address: string }[];
  unresolved: Ipv4Packet[];
}

export class Host implements Snapshotable<HostState> {
  readonly name: string;
  readonly address: string;
  readonly ip: string;
  readonly #port: Port;
  readonly #services: UdpService[] = [];
  readonly #neighbours = new Map<string, string>();
  #unresolved: Ipv4Packet[] = [];
  #echoReply: (from: string, echo: Echo) => void = () => {};

  /** @throws InputError when an address is none */
  constructor(name: string, wires: HostWires, { address, ip }: { readonly address: string; readonly ip: string }) {
    parseAddress(address);
    parseIpv4(ip);
    this.name = name;
    this.address = address.toLowerCase();
    this.ip = ip;
    this.#port = new Port(name, { ...wires, receive: (frame) => this.#receive(frame) });
  }

  serve(service: UdpService): void {
    this.#services.push(service);
  }

  /** Who hears of answers to this host's echo requests. */
  onEchoReply(listener: (from: string, echo: Echo) => void): void {
    this.#echoReply = listener;
  }

  sendUdp(destination: string, destinationPort: number, sourcePort: number, payload: Uint8Array): void {
    this.#sendIpv4(encodeUdp({ source: this.ip, sourcePort, destination, destinationPort, payload }));
  }

  /** Bytes of data of the longest echo that its cable takes. */
  get maxEchoData(): number {
    return this.#port.maxFrame - HEADER_SIZE - FCS_SIZE - ECHO_HEADERS;
  }

  sendEcho(destination: string, echo: Echo): void {
    this.#sendIpv4({ source: this.ip, destination, protocol: PROTOCOL.ICMP, payload: encodeEcho(echo) });
  }

  #receive(bytes: Uint8Array): void {
    const frame = decodeFrame(bytes);
    if (frame === undefined || (frame.destination !== this.address && frame.destination !== BROADCAST)) return;
    if (frame.etherType === ETHER_TYPE.ARP) this.#receiveArp(frame);
    else if (frame.etherType === ETHER_TYPE.IPV4) this.#receiveIpv4(frame);
  }

  #receiveArp({ payload }: Frame): void {
    const arp = decodeArp(payload);
    if (arp === undefined || arp.targetIp !== this.ip) return;
    this.#learn(arp.senderIp, arp.senderAddress);
    if (arp.operation !== "request") return;
    const reply = encodeArp({
      operation: "reply",
      senderAddress: this.address,
      senderIp: this.ip,
      targetAddress: arp.senderAddress,
      targetIp: arp.senderIp,
    });
    this.#sendFrame(arp.senderAddress, ETHER_TYPE.ARP, reply);
  }

  #receiveIpv4({ source, payload }: Frame): void {
    const packet = decodeIpv4(payload);
    if (packet === undefined) return;
    const isForAll = packet.destination === LIMITED_BROADCAST;
    if (packet.destination !== this.ip && !isForAll) return;
    this.#learn(packet.source, source);
    const datagram = decodeUdp(packet);
    if (datagram !== undefined) {
      this.#services.find((service) => service.handles(datagram.destinationPort))?.receive(datagram, this);
      return;
    }
    const echo = isForAll ? undefined : decodeEcho(packet);
    if (echo?.type === ECHO_REQUEST) this.sendEcho(packet.source, { ...echo, type: ECHO_REPLY });
    else if (echo !== undefined) this.#echoReply(packet.source, echo);
  }

  #learn(ip: string, address: string): void {
    if (ip === "0.0.0.0" || (parseAddress(address)[0]! & 1) !== 0) return;
    this.#neighbours.delete(ip);
    this.#neighbours.set(ip, address);
    if (this.#neighbours.size > MAX_NEIGHBOURS) this.#neighbours.delete(this.#neighbours.keys().next().value!);
    const ready = this.#unresolved.filter(({ destination }) => destination === ip);
    if (ready.length === 0) return;
    this.#unresolved = this.#unresolved.filter(({ destination }) => destination !== ip);
    for (const packet of ready) this.#sendFrame(address, ETHER_TYPE.IPV4, encodeIpv4(packet));
  }

  #sendIpv4(packet: Ipv4Packet): void {
    const { destination } = packet;
    const address = destination === LIMITED_BROADCAST ? BROADCAST : this.#neighbours.get(destination);
    if (address !== undefined) {
      this.#sendFrame(address, ETHER_TYPE.IPV4, encodeIpv4(packet));
      return;
    }
    if (this.#unresolved.length === MAX_UNRESOLVED) this.#unresolved.shift();
    this.#unresolved.push(packet);
    const request = encodeArp({
      operation: "request",
      senderAddress: this.address,
      senderIp: this.ip,
      targetAddress: "00:00:00:00:00:00",
      targetIp: destination,
    });
    this.#sendFrame(BROADCAST, ETHER_TYPE.ARP, request);
  }

  #sendFrame(destination: string, etherType: number, payload: Uint8Array): void {
    this.#port.send(encodeFrame({ destination, source: this.address, etherType, payload }));
  }

  save(): HostState {
    return {
      port: this.#port.save(),
      neighbours: Array.from(this.#neighbours, ([ip, address]) => ({ ip, address })),
      unresolved: this.#unresolved.map((packet) => ({ ...packet, payload: packet.payload.slice() })),
    };
  }

  /** @throws InputError when the snapshot is not a host's */
  load({ port, neighbours, unresolved }: HostState): void {
    if (neighbours.length > MAX_NEIGHBOURS || unresolved.length > MAX_UNRESOLVED) {
      throw new InputError("more than a host keeps", `snapshot of ${this.name}`);
    }
    this.#port.load(port);
    this.#neighbours.clear();
    for (const { ip, address } of neighbours) this.#neighbours.set(ip, address);
    this.#unresolved = unresolved.map((packet) => ({ ...packet, payload: packet.payload.slice() }));
  }
}
