// Part: the network back end (netback): one virtual interface of one guest. It writes the toolstack's nodes, negotiates over xenstore
// (io/netif.h) and has a cable to the network's switch.
// Offered: scatter-gather, TCPv4 segmentation, receiving by copy, split event channels, multicast control. Not offered: receiving by page
// flipping, IPv6 offloads, several queues, the control ring (hashing, grants mapped in advance).

import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { BackendHost, GrantMapping } from "../../xen/backend-host.ts";
import { FCS_SIZE, HEADER_SIZE } from "../net/ethernet.ts";
import type { Medium } from "../net/medium.ts";
import { Port, type PortState } from "../net/port.ts";
import { BackendEnd, type BackendEndOptions } from "../split/backend-end.ts";
import { ObservedRing, type ObservedRingState } from "../split/observed-ring.ts";
import { XENBUS, type XenbusState } from "../split/xenbus.ts";
import type { VifContext } from "./context.ts";
import type { Rate } from "./credit.ts";
import type { VnifFault } from "./faults.ts";
import { RX_SLOT, TX_SLOT, type TxSlotKind } from "./protocol.ts";
import { Receiver, type ReceiverFeatures, type ReceiverState } from "./receive.ts";
import { rxTeller, TxTeller } from "./tell.ts";
import { Transmitter, type TransmitterState } from "./transmit.ts";

/** Positive errno values (errno.h). */
const EINVAL = 22;
const EIO = 5;
const EOPNOTSUPP = 95;

/** The bit of an Ethernet address's first byte that says group. */
const GROUP = 1;

export interface VifOptions {
  readonly frontDomid: number;
  /** Handle: the first interface of a guest is 0. */
  readonly device: number;
  /** The guest's station address. */
  readonly address: string;
  readonly rate?: Rate | undefined;
  readonly medium: Medium;
  readonly random: RandomStream;
  readonly grant: BackendEndOptions["grant"];
  readonly faults?: ReadonlySet<VnifFault>;
}

export interface VifState {
  state: number;
  connection: {
    /** Grant handles of the rings. */
    mappings: number[];
    /** One port, or that of the transmit and that of the receive ring. */
    ports: number[];
    tx: ObservedRingState;
    rx: ObservedRingState;
    /** What the next request that the front end publishes in the transmit ring will be. */
    place: { kind: TxSlotKind; more: boolean };
  } | null;
  /** request-multicast-control. */
  filters: boolean;
  port: PortState;
  transmitter: TransmitterState;
  receiver: ReceiverState;
}

/** What is held of a front end that is connected. */
interface Connection {
  readonly mappings: readonly GrantMapping[];
  readonly ports: readonly number[];
  readonly tx: ObservedRing;
  readonly rx: ObservedRing;
  readonly teller: TxTeller;
}

export class Vif implements Snapshotable<VifState> {
  readonly #host: BackendHost;
  readonly #options: VifOptions;
  readonly #end: BackendEnd;
  readonly #port: Port;
  readonly #context: VifContext;
  readonly #transmitter: Transmitter;
  readonly #receiver: Receiver;
  #connection: Connection | undefined;
  #filters = false;

  constructor(host: BackendHost, options: VifOptions) {
    this.#host = host;
    this.#options = options;
    const { frontDomid, device, medium, random, rate } = options;
    this.#end = new BackendEnd(host, {
      kind: "vif",
      frontDomid,
      device,
      grant: options.grant,
      connect: () => this.#connect(),
      release: () => {
        this.#letGo();
        this.#end.released();
      },
    });
    const { name } = this.#end;
    this.#context = {
      host,
      frontDomid,
      device,
      name,
      faults: options.faults ?? new Set(),
      drop: (toGuest, length, reason) =>
        host.emit({
          kind: "packet-dropped",
          at: host.clock.now,
          domain: frontDomid,
          device: name,
          toGuest,
          length,
          reason,
        }),
      fatal: (message) => {
        this.#letGo();
        this.#end.fatal(EIO, message);
      },
    };
    this.#port = new Port(`${name} of d${frontDomid}`, {
      clock: host.clock,
      medium,
      random,
      receive: (frame) => this.#receive(frame.subarray(0, -FCS_SIZE)),
      sent: () => this.#transmitter.cableFree(),
    });
    this.#transmitter = new Transmitter({ context: this.#context, port: this.#port, rate });
    this.#receiver = new Receiver(this.#context);
  }

  /** Writes the nodes of both ends, as a toolstack does for a new interface, and offers it. */
  plug(): void {
    const { device, address, rate, medium } = this.#options;
    this.#end.plug(
      { handle: device, mac: address, mtu: medium.maxFrame - HEADER_SIZE - FCS_SIZE },
      {
        handle: device,
        mac: address,
        type: "vif",
        ...(rate === undefined ? {} : { rate: `${rate.bytes},${rate.microseconds}` }),
        "hotplug-status": "connected",
        carrier: 0,
        "feature-sg": 1,
        "feature-gso-tcpv4": 1,
        "feature-gso-tcpv6": 0,
        "feature-ipv6-csum-offload": 0,
        "feature-rx-copy": 1,
        "feature-rx-flip": 0,
        "feature-multicast-control": 1,
        "feature-split-event-channels": 1,
      },
    );
  }

  /** Takes the rings that the front end names; nodes that are nonsense or grants that do not map close the interface. */
  #connect(): void {
    const end = this.#end;
    if (end.frontText("request-rx-copy") !== "1") {
      end.fatal(EOPNOTSUPP, "receiving by page flipping is not offered: request-rx-copy is not 1");
      return;
    }
    if ((end.frontText("multi-queue-num-queues") ?? "1") !== "1") {
      end.fatal(EINVAL, "more queues than the one that is offered");
      return;
    }
    const mappings: GrantMapping[] = [];
    const ports: number[] = [];
    const problem = this.#takeRings(mappings, ports);
    if (problem !== undefined) {
      for (const port of ports) this.#host.unbind(port);
      for (const mapping of mappings) mapping.unmap();
      end.fatal(EINVAL, problem);
      return;
    }
    const features = {
      notifies: end.frontText("feature-rx-notify") === "1",
      gathers: end.frontText("feature-sg") === "1",
      offload: (end.frontText("feature-no-csum-offload") ?? "0") === "0",
    };
    this.#attach(mappings, ports, features);
    this.#filters = end.frontText("request-multicast-control") === "1";
    end.write("carrier", 1);
    end.switchTo(XENBUS.Connected);
    this.#serve();
  }

  /** Fills in the mapped pages and the ports, transmit first: what is wrong with the front end's nodes, undefined when nothing is. */
  #takeRings(mappings: GrantMapping[], ports: number[]): string | undefined {
    const { frontDomid } = this.#options;
    for (const node of ["tx-ring-ref", "rx-ring-ref"]) {
      const reference = this.#end.frontNumber(node);
      const mapping = reference === undefined ? undefined : this.#host.mapGrant(frontDomid, reference, false);
      if (mapping === undefined || typeof mapping === "number") return `${node} is no granted page`;
      mappings.push(mapping);
    }
    const isSplit = this.#end.frontText("event-channel-tx") !== undefined;
    for (const node of isSplit ? ["event-channel-tx", "event-channel-rx"] : ["event-channel"]) {
      const remote = this.#end.frontNumber(node);
      const port = remote === undefined ? -1 : this.#host.bindInterdomain(frontDomid, remote, () => this.#serve());
      if (port < 0) return `${node} is no port that is bound to us`;
      ports.push(port);
    }
    return undefined;
  }

  #attach(
    mappings: readonly GrantMapping[],
    ports: readonly number[],
    features: ReceiverFeatures,
    state?: NonNullable<VifState["connection"]>,
  ): void {
    const { name } = this.#end;
    const common = { host: this.#host, frontDomid: this.#options.frontDomid };
    const [txPage, rxPage] = [mappings[0]!, mappings[1]!];
    const teller = new TxTeller(this.#context, state?.place);
    const { request, response } = teller;
    const tx = new ObservedRing(
      { ...common, name: `${name} tx`, slotSize: TX_SLOT, pages: [txPage], port: ports[0]!, request, response },
      state?.tx,
    );
    const rx = new ObservedRing(
      {
        ...common,
        name: `${name} rx`,
        slotSize: RX_SLOT,
        pages: [rxPage],
        port: ports.at(-1)!,
        ...rxTeller(this.#context),
      },
      state?.rx,
    );
    this.#connection = { mappings, ports, tx, rx, teller };
    this.#transmitter.attach(tx);
    this.#receiver.attach(rx, features);
  }

  #serve(): void {
    this.#transmitter.serve();
    this.#receiver.serve();
    if (this.#context.faults.has("vnif.event-storm")) {
      for (const port of this.#connection?.ports ?? []) this.#host.notify(port);
    }
  }

  #receive(frame: Uint8Array): void {
    const address = frame.subarray(0, 6);
    const isFiltered = this.#filters && (address[0]! & GROUP) !== 0 && address.some((byte) => byte !== 0xff);
    if (isFiltered && !this.#transmitter.wants(address)) this.#context.drop(true, frame.length, "filtered");
    else this.#receiver.take(frame);
  }

  /** Holds nothing of the front end's any more. */
  #letGo(): void {
    if (this.#connection === undefined) return;
    const { mappings, ports } = this.#connection;
    this.#connection = undefined;
    this.#filters = false;
    this.#transmitter.detach();
    this.#receiver.detach();
    for (const port of ports) this.#host.unbind(port);
    for (const mapping of mappings) mapping.unmap();
    this.#end.write("carrier", 0);
  }

  save(): VifState {
    const connection = this.#connection;
    return {
      state: this.#end.state,
      connection:
        connection === undefined
          ? null
          : {
              mappings: connection.mappings.map(({ handle }) => handle),
              ports: [...connection.ports],
              tx: connection.tx.save(),
              rx: connection.rx.save(),
              place: { ...connection.teller.front },
            },
      filters: this.#filters,
      port: this.#port.save(),
      transmitter: this.#transmitter.save(),
      receiver: this.#receiver.save(),
    };
  }

  /** @throws InputError when a mapping of the snapshot is not the hypervisor's */
  load({ state, connection, filters, port, transmitter, receiver }: VifState): void {
    const adopt = (handle: number): GrantMapping => {
      const mapping = this.#host.adoptMapping(handle);
      if (mapping === undefined) {
        throw new InputError(`grant handle ${handle} is not mapped`, "snapshot of a network interface");
      }
      return mapping;
    };
    this.#end.load(state as XenbusState);
    this.#filters = filters;
    this.#port.load(port);
    this.#transmitter.load(transmitter);
    this.#receiver.load(receiver);
    this.#connection = undefined;
    if (connection === null) return;
    const { mappings, ports } = connection;
    this.#attach(mappings.map(adopt), ports, receiver.features, connection);
    for (const one of ports) this.#host.adoptPort(one, () => this.#serve());
  }
}
