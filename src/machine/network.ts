// Part: a machine's networks: two stations on a cable, or more on the cables of a switch. Stations are domains' cards, hosts with services, and
// peers that play a capture file.

import type { Clock } from "../core/clock.ts";
import { InputError } from "../core/errors.ts";
import type { RandomStreams } from "../core/random.ts";
import type { Snapshotable, SnapshotRegistry } from "../core/snapshot.ts";
import { DhcpServer } from "../devices/net/dhcp.ts";
import { DnsServer } from "../devices/net/dns.ts";
import { Host } from "../devices/net/host.ts";
import { Link, TEN_MEGABIT } from "../devices/net/link.ts";
import type { Medium } from "../devices/net/medium.ts";
import { readPcap } from "../devices/net/pcap.ts";
import { Pinger, type PingerState } from "../devices/net/pinger.ts";
import { ScriptedPeer } from "../devices/net/scripted-peer.ts";
import { Switch } from "../devices/net/switch.ts";
import { TftpServer } from "../devices/net/tftp.ts";
import { UdpEcho } from "../devices/net/udp-echo.ts";
import type { Emit } from "../trace/events.ts";
import type { HostConfig, NetworkConfig } from "./config.ts";
import type { Images } from "./images.ts";

export interface NetworkWires {
  readonly clock: Clock;
  readonly emit: Emit;
  readonly random: RandomStreams;
  readonly images: Images;
}

/** One network with its hosts and peers in place; cards are plugged in afterwards, in the order of the names given. */
export class Network {
  readonly name: string;
  readonly #wires: NetworkWires;
  readonly #parts: { readonly name: string; readonly part: Snapshotable<unknown> }[] = [];
  readonly #pingers = new Map<string, Pinger>();
  /** The ends of cables that cards take, by the card's name. */
  readonly #free = new Map<string, Medium>();

  /**
   * @param cards names of the cards that will be plugged in
   * @throws InputError on an address, rate or image that is none
   */
  constructor(config: NetworkConfig, cards: readonly string[], wires: NetworkWires) {
    this.name = config.name;
    this.#wires = wires;
    const { hosts = [], peers = [] } = config;
    const stations = [...cards, ...hosts.map(({ name }) => name), ...peers.map(({ name }) => name)];
    const media = this.#cables(config, stations);
    for (const card of cards) this.#free.set(card, media.get(card)!);
    for (const host of hosts) this.#host(host, media.get(host.name)!);
    for (const { name, capture } of peers) {
      const script = readPcap(wires.images.bytes(capture), `image ${capture}`);
      const { clock, random } = wires;
      const medium = media.get(name)!;
      this.#keep(`peer ${name}`, new ScriptedPeer(name, { clock, medium, random: random.stream(name) }, script));
    }
  }

  /** What each station is plugged into: the other's cable, or a cable to a switch. */
  #cables(config: NetworkConfig, stations: readonly string[]): ReadonlyMap<string, Medium> {
    const { clock, random } = this.#wires;
    const [first, second] = stations;
    if (first !== undefined && second !== undefined && stations.length === 2) {
      const { ends } = this.#link(config.name, config);
      return new Map([
        [first, ends[0]],
        [second, ends[1]],
      ]);
    }
    const links = stations.map((station) => this.#link(`${config.name}/${station}`, config));
    const far = links.map(({ ends }) => ends[1]);
    const name = `${config.name} switch`;
    this.#keep(name, new Switch(name, { clock, random: random.stream(name) }, far));
    return new Map(stations.map((station, index) => [station, links[index]!.ends[0]]));
  }

  #link(name: string, config: NetworkConfig): Link {
    const { clock, emit, random } = this.#wires;
    const options = { ...TEN_MEGABIT, ...config.link };
    const link = new Link(name, { clock, emit, random: random.stream(`link ${name}`) }, options);
    this.#keep(`link ${name}`, link);
    return link;
  }

  #host(config: HostConfig, medium: Medium): void {
    const { clock, images, random } = this.#wires;
    const { name, dhcp, dns, tftp, udpEcho, ping } = config;
    const host = new Host(name, { clock, medium, random: random.stream(name) }, config);
    this.#keep(`host ${name}`, host);
    if (dhcp !== undefined) host.serve(this.#keep(`dhcp ${name}`, new DhcpServer(dhcp)));
    if (dns !== undefined) host.serve(new DnsServer(dns));
    if (udpEcho === true) host.serve(new UdpEcho());
    if (tftp !== undefined) {
      const files = new Map(Object.entries(tftp).map(([file, image]) => [file, images.bytes(image)]));
      host.serve(this.#keep(`tftp ${name}`, new TftpServer(clock, host, files)));
    }
    if (ping !== undefined) this.#pingers.set(name, this.#keep(`ping ${name}`, new Pinger(clock, host, ping)));
  }

  #keep<Part extends Snapshotable<unknown>>(name: string, part: Part): Part {
    this.#parts.push({ name, part });
    return part;
  }

  /** @throws InputError when the network does not wait for a card of this name */
  mediumFor(card: string): Medium {
    const medium = this.#free.get(card);
    if (medium === undefined) throw new InputError(`no cable for ${card}`, `network ${this.name}`);
    this.#free.delete(card);
    return medium;
  }

  /** What a host's pings have come to; undefined when it sends none. */
  pings(host: string): PingerState | undefined {
    return this.#pingers.get(host)?.save();
  }

  register(registry: SnapshotRegistry): void {
    for (const { name, part } of this.#parts) registry.register(`net ${name}`, 1, part);
  }
}
