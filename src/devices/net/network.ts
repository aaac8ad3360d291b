// Part: a whole local network as plain configuration: a switch, cables to it, hosts with their services, scripted peers, and one free cable end for each
// of the machine's cards.

import type { Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { Nanoseconds } from "../../core/units.ts";
import type { Emit } from "../../trace/events.ts";
import { type DhcpOptions, DhcpServer, type DhcpState } from "./dhcp.ts";
import { DnsServer } from "./dns.ts";
import { Host, type HostState } from "./host.ts";
import { Link, type LinkOptions, type LinkState, TEN_MEGABIT } from "./link.ts";
import type { Medium } from "./medium.ts";
import type { CapturedFrame } from "./pcap.ts";
import { Pinger, type PingerState } from "./pinger.ts";
import { ScriptedPeer, type ScriptedPeerState } from "./scripted-peer.ts";
import { Switch, type SwitchState } from "./switch.ts";
import { TftpServer, type TftpState } from "./tftp.ts";
import { UdpEcho } from "./udp-echo.ts";

/** Hosts and peers have a cable of their own, quick enough not to be what a scenario measures. */
const STATION_LINK: LinkOptions = { bitsPerSecond: 100_000_000, latencyNs: 500, fullDuplex: true };

/** Cards, hosts and peers: the ports of a large switch. */
const MAX_STATIONS = 48;

export interface HostConfig {
  readonly name: string;
  /** Station address and IPv4 address. */
  readonly address: string;
  readonly ip: string;
  readonly link?: LinkOptions;
  readonly dhcp?: DhcpOptions;
  /** Files by name, without a slash in front; text is sent as UTF-8. */
  readonly tftp?: Readonly<Record<string, Uint8Array | string>>;
  /** Addresses by domain name. */
  readonly dns?: Readonly<Record<string, string>>;
  readonly udpEcho?: boolean;
  readonly ping?: {
    readonly to: string;
    readonly sizes: readonly number[];
    readonly startNs: Nanoseconds;
    readonly intervalNs: Nanoseconds;
  };
}

export interface PeerConfig {
  readonly name: string;
  readonly link?: LinkOptions;
  /** Frames without check sequence at times since power-on. */
  readonly script: readonly CapturedFrame[];
}

export interface NetworkConfig {
  /** The cable to each card, by the card's name; `{}` for 10BASE-T with half duplex. */
  readonly cards: Readonly<Record<string, Partial<LinkOptions>>>;
  readonly hosts?: readonly HostConfig[];
  readonly peers?: readonly PeerConfig[];
}

export interface NetworkWires {
  readonly clock: Clock;
  /** Gives the random stream of a name; asked once for each name. */
  readonly random: (name: string) => RandomStream;
  readonly emit: Emit;
}

export interface NetworkState {
  links: LinkState[];
  bridge: SwitchState;
  hosts: { host: HostState; dhcp: DhcpState | null; tftp: TftpState | null; ping: PingerState | null }[];
  peers: ScriptedPeerState[];
}

interface RunningHost {
  readonly host: Host;
  readonly dhcp: DhcpServer | undefined;
  readonly tftp: TftpServer | undefined;
  readonly ping: Pinger | undefined;
}

export class Network implements Snapshotable<NetworkState> {
  readonly #wires: NetworkWires;
  readonly #links: Link[] = [];
  readonly #bridge: Switch;
  readonly #cards = new Map<string, Medium>();
  readonly #hosts = new Map<string, RunningHost>();
  readonly #peers = new Map<string, ScriptedPeer>();

  /** @throws InputError on a name that comes twice, and on what its parts refuse */
  constructor(wires: NetworkWires, { cards, hosts = [], peers = [] }: NetworkConfig) {
    this.#wires = wires;
    const names = [...Object.keys(cards), ...[...hosts, ...peers].map(({ name }) => name)];
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) throw new InputError("two stations of this name", `network, ${twice}`);
    if (names.length > MAX_STATIONS) {
      throw new InputError(`${names.length} stations, at most ${MAX_STATIONS}: the ports of a large switch`, "network");
    }
    const far: Medium[] = [];
    const plug = (name: string, options: LinkOptions): Medium => {
      const link = new Link(
        name,
        { clock: wires.clock, random: wires.random(`link ${name}`), emit: wires.emit },
        options,
      );
      this.#links.push(link);
      far.push(link.ends[1]);
      return link.ends[0];
    };
    for (const [name, options] of Object.entries(cards))
      this.#cards.set(name, plug(name, { ...TEN_MEGABIT, ...options }));
    for (const config of hosts) {
      this.#hosts.set(config.name, this.#host(config, plug(config.name, config.link ?? STATION_LINK)));
    }
    for (const { name, link, script } of peers) {
      const medium = plug(name, link ?? STATION_LINK);
      this.#peers.set(name, new ScriptedPeer(name, { clock: wires.clock, medium, random: wires.random(name) }, script));
    }
    this.#bridge = new Switch("switch", { clock: wires.clock, random: wires.random("switch") }, far);
  }

  #host(config: HostConfig, medium: Medium): RunningHost {
    const { name, address, ip, dhcp, tftp, dns, udpEcho, ping } = config;
    const { clock, random } = this.#wires;
    const host = new Host(name, { clock, medium, random: random(name) }, { address, ip });
    const utf8 = new TextEncoder();
    const files = Object.entries(tftp ?? {}).map(
      ([file, content]) => [file, typeof content === "string" ? utf8.encode(content) : content] as const,
    );
    const running = {
      host,
      dhcp: dhcp === undefined ? undefined : new DhcpServer(dhcp),
      tftp: tftp === undefined ? undefined : new TftpServer(clock, host, new Map(files)),
      ping: ping === undefined ? undefined : new Pinger(clock, host, ping),
    };
    if (running.dhcp !== undefined) host.serve(running.dhcp);
    if (running.tftp !== undefined) host.serve(running.tftp);
    if (dns !== undefined) host.serve(new DnsServer(dns));
    if (udpEcho === true) host.serve(new UdpEcho());
    return running;
  }

  /** The cable's end that a card is plugged into. @throws InputError when the network has no cable for it */
  card(name: string): Medium {
    const medium = this.#cards.get(name);
    if (medium === undefined) throw new InputError("the network has no cable for this card", name);
    return medium;
  }

  /** How a host's pings fared; undefined for hosts that do not ping. */
  pings(host: string): Readonly<PingerState> | undefined {
    return this.#hosts.get(host)?.ping?.result;
  }

  /** The whole frames that a peer heard, with their check sequences. */
  heard(peer: string): readonly Uint8Array[] {
    return this.#peers.get(peer)?.heard ?? [];
  }

  save(): NetworkState {
    return {
      links: this.#links.map((link) => link.save()),
      bridge: this.#bridge.save(),
      hosts: Array.from(this.#hosts.values(), ({ host, dhcp, tftp, ping }) => ({
        host: host.save(),
        dhcp: dhcp?.save() ?? null,
        tftp: tftp?.save() ?? null,
        ping: ping?.save() ?? null,
      })),
      peers: Array.from(this.#peers.values(), (peer) => peer.save()),
    };
  }

  /** @throws InputError when the snapshot is of another network */
  load({ links, bridge, hosts, peers }: NetworkState): void {
    const running = [...this.#hosts.values()];
    const isSame =
      links.length === this.#links.length &&
      peers.length === this.#peers.size &&
      hosts.length === running.length &&
      running.every(({ dhcp, tftp, ping }, index) => {
        const saved = hosts[index]!;
        return !dhcp === !saved.dhcp && !tftp === !saved.tftp && !ping === !saved.ping;
      });
    if (!isSame) throw new InputError("of another network", "snapshot of the network");
    for (const [index, link] of this.#links.entries()) link.load(links[index]!);
    this.#bridge.load(bridge);
    for (const [index, { host, dhcp, tftp, ping }] of running.entries()) {
      const saved = hosts[index]!;
      host.load(saved.host);
      if (saved.dhcp !== null) dhcp?.load(saved.dhcp);
      if (saved.tftp !== null) tftp?.load(saved.tftp);
      if (saved.ping !== null) ping?.load(saved.ping);
    }
    for (const [index, peer] of [...this.#peers.values()].entries()) peer.load(peers[index]!);
  }
}
