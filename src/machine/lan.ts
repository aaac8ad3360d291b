// Part: the machine's local network: the domains' cards and virtual interfaces, hosts and scripted peers, all on one switch.

import type { Clock } from "../core/clock.ts";
import type { RandomStreams } from "../core/random.ts";
import type { SnapshotRegistry } from "../core/snapshot.ts";
import type { LinkOptions } from "../devices/net/link.ts";
import { Network, type NetworkConfig } from "../devices/net/network.ts";
import { readPcap } from "../devices/net/pcap.ts";
import type { VnifFault } from "../devices/vnif/faults.ts";
import { Vif } from "../devices/vnif/vif.ts";
import type { Emit } from "../trace/events.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import type { XenstoreDaemon } from "../xen/xenstore/daemon.ts";
import type { DomainConfig, FullMachineConfig, ModelConfig } from "./config.ts";
import type { Images } from "./images.ts";
import { livesOf } from "./migration.ts";
import { cardName } from "./pc.ts";

/** A back end's cable to the switch: the bridge of a control domain is not what limits its guests. */
const VIF_LINK: LinkOptions = { bitsPerSecond: 1_000_000_000, latencyNs: 500, fullDuplex: true };

/** What an interface is called: its random stream and its station have this name. */
const vifName = ({ name }: { readonly name: string }, device: number, life = ""): string =>
  `${name} vif${device}${life}`;

export interface LanParts {
  readonly config: FullMachineConfig;
  readonly images: Images;
  readonly hypervisor: Hypervisor;
  readonly xenstore: XenstoreDaemon;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly random: RandomStreams;
  readonly snapshots: SnapshotRegistry;
}

export class Lan {
  readonly network: Network;
  readonly #parts: LanParts;

  /** @throws InputError when an image is no capture, or a station cannot be */
  constructor(parts: LanParts) {
    this.#parts = parts;
    const { clock, emit, random, snapshots } = parts;
    this.network = new Network({ clock, emit, random: (name) => random.stream(`net ${name}`) }, networkOf(parts));
    snapshots.register("network", 1, this.network);
  }

  /** Gives a domain its virtual interfaces; one that has migrated is on the cables of the host where it is. */
  plug(domid: number, domain: DomainConfig | ModelConfig, life: string): void {
    const { config, hypervisor, random, snapshots, xenstore } = this.#parts;
    for (const [device, { address, rate }] of (domain.vifs ?? []).entries()) {
      const name = vifName(domain, device, life);
      const vif = new Vif(hypervisor.backendHost(xenstore.client()), {
        frontDomid: domid,
        device,
        address,
        rate,
        medium: this.network.card(name),
        random: random.stream(name),
        grant: (path, owner, reader) => xenstore.grant(path, owner, reader),
        faults: new Set(config.faults as readonly VnifFault[]),
      });
      snapshots.register(`vif ${domid}/${device}`, 1, vif);
      vif.plug();
    }
  }
}

function networkOf({ config, images }: LanParts): NetworkConfig {
  const { domains, models, network } = config;
  const cards = domains.flatMap((domain) =>
    (domain.board?.nics ?? []).map((nic, index) => [cardName(domain, index), nic.link ?? {}] as const),
  );
  const vifs = [...domains, ...models].flatMap((domain) =>
    livesOf(config, domain.name).flatMap((life) =>
      (domain.vifs ?? []).map(({ link }, index) => [vifName(domain, index, life), { ...VIF_LINK, ...link }] as const),
    ),
  );
  const { hosts = [], peers = [] } = network;
  return {
    cards: Object.fromEntries([...cards, ...vifs]),
    hosts: hosts.map(({ tftp, ...host }) => {
      const files = Object.entries(tftp ?? {}).map(([file, image]) => [file, images.bytes(image)] as const);
      return tftp === undefined ? host : { ...host, tftp: Object.fromEntries(files) };
    }),
    peers: peers.map(({ capture, ...peer }) => ({
      ...peer,
      script: readPcap(images.bytes(capture), `image ${capture}`),
    })),
  };
}
