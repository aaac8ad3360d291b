// Part: event channels (event_channel.h), the ports of one domain and what connects them to another's.
// Two-level ABI; the bits themselves are the sink's: shared_info for a guest, a set for a service domain. Results are ports or
// statuses ≥ 0, or negative XEN_ errno values, as the hypercall returns them. Not modelled: FIFO events (init_control answers
// -ENOSYS), physical interrupts, Xen-consumed ports.

import { InputError } from "../core/errors.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import { ERRNO_H as E, EVENT_CHANNEL_H as STATUS, XEN_H } from "./abi/constants.ts";

export interface Channel {
  state: "free" | "reserved" | "unbound" | "interdomain" | "virq" | "ipi";
  /** Domain that may bind (unbound), or the other end's. */
  remoteDomain: number;
  remotePort: number;
  virq: number;
  /** vCPU that is notified. */
  vcpu: number;
  /** Xen itself has this end: it takes the events, and the domain can neither send nor close (Xen: xen_consumer). */
  xen: boolean;
}

export interface EventChannelsState {
  channels: Channel[];
}

/** Where a domain's pending bits are. */
export interface EventSink {
  readonly vcpuCount: number;
  /** Makes a port pending and tells the vCPU; true when it was not pending before. */
  setPending(port: number, vcpu: number): boolean;
  clearPending(port: number): void;
  /** An event for a port that Xen itself has. */
  consume(port: number, vcpu: number): void;
  /** Takes the mask off; raises the upcall for a pending port. */
  unmask(port: number, vcpu: number): void;
}

export interface EventNetwork {
  /** The ports of another domain, undefined when there is no such domain. */
  eventsOf(domid: number): EventChannels | undefined;
  sent(from: EventChannels, port: number, to: EventChannels, remotePort: number, pending: boolean): void;
}

/** VIRQs that belong to a vCPU (xen.h: "V."); the others are global and belong to vCPU 0. */
const VCPU_VIRQS: readonly number[] = [XEN_H.VIRQ_TIMER, XEN_H.VIRQ_DEBUG, XEN_H.VIRQ_XENOPROF, XEN_H.VIRQ_XENPMU];

const free = (): Channel => ({ state: "free", remoteDomain: 0, remotePort: 0, virq: 0, vcpu: 0, xen: false });

export interface PortStatus {
  readonly status: number;
  readonly vcpu: number;
  readonly channel: Channel;
}

export class EventChannels implements Snapshotable<EventChannelsState> {
  readonly domid: number;
  readonly #portCount: number;
  readonly #sink: EventSink;
  readonly #network: EventNetwork;
  /** Grows as ports are used. Port 0 is never handed out (Xen: evtchn_init). */
  #channels: Channel[] = [{ ...free(), state: "reserved" }];

  /** @param portCount ports that the domain's ABI has bits for */
  constructor(domid: number, portCount: number, sink: EventSink, network: EventNetwork) {
    this.domid = domid;
    this.#portCount = portCount;
    this.#sink = sink;
    this.#network = network;
  }

  /** A port in use, undefined for any other number. */
  channel(port: number): Channel | undefined {
    const channel = this.#channels[port];
    return channel === undefined || channel.state === "free" || channel.state === "reserved" ? undefined : channel;
  }

  allocUnbound(remoteDomain: number): number {
    const port = this.#freePort();
    if (port < 0) return port;
    this.#channels[port] = { ...free(), state: "unbound", remoteDomain };
    return port;
  }

  /** A port whose events Xen itself takes on behalf of a vCPU. */
  allocXen(remoteDomain: number, vcpu: number): number {
    const port = this.allocUnbound(remoteDomain);
    if (port >= 0) Object.assign(this.#channels[port]!, { vcpu, xen: true });
    return port;
  }

  bindInterdomain(remoteDomain: number, remotePort: number): number {
    const remote = this.#network.eventsOf(remoteDomain);
    if (remote === undefined) return -E.XEN_ESRCH;
    const port = this.#freePort();
    if (port < 0) return port;
    const other = remote.channel(remotePort);
    if (other === undefined || other.state !== "unbound" || other.remoteDomain !== this.domid) return -E.XEN_EINVAL;
    this.#channels[port] = { ...free(), state: "interdomain", remoteDomain, remotePort };
    other.state = "interdomain";
    other.remoteDomain = this.domid;
    other.remotePort = port;
    // A notification may have been lost while the other end was unbound: Xen always raises one here.
    this.#sink.setPending(port, 0);
    return port;
  }

  bindVirq(virq: number, vcpu: number): number {
    if (virq >= XEN_H.NR_VIRQS) return -E.XEN_EINVAL;
    if (!VCPU_VIRQS.includes(virq) && vcpu !== 0) return -E.XEN_EINVAL;
    if (vcpu >= this.#sink.vcpuCount) return -E.XEN_ENOENT;
    if (this.#virqPort(virq, vcpu) !== undefined) return -E.XEN_EEXIST;
    const port = this.#freePort();
    if (port < 0) return port;
    this.#channels[port] = { ...free(), state: "virq", virq, vcpu };
    return port;
  }

  bindIpi(vcpu: number): number {
    if (vcpu >= this.#sink.vcpuCount) return -E.XEN_ENOENT;
    const port = this.#freePort();
    if (port < 0) return port;
    this.#channels[port] = { ...free(), state: "ipi", vcpu };
    return port;
  }

  close(port: number): number {
    const channel = this.channel(port);
    if (channel === undefined || channel.xen) return -E.XEN_EINVAL;
    this.#close(port, channel);
    return 0;
  }

  #close(port: number, channel: Channel): void {
    if (channel.state === "interdomain") {
      const other = this.#network.eventsOf(channel.remoteDomain)?.channel(channel.remotePort);
      if (other !== undefined) {
        other.state = "unbound";
        other.remoteDomain = this.domid;
      }
    }
    this.#channels[port] = free();
    this.#sink.clearPending(port);
  }

  /** EVTCHNOP_reset: closes every port but Xen's. */
  reset(): void {
    for (let port = 1; port < this.#channels.length; port++) this.close(port);
  }

  /** Closes every port: the domain's end. */
  destroy(): void {
    for (const [port, channel] of this.#channels.entries())
      if (this.channel(port) !== undefined) this.#close(port, channel);
  }

  /** Tells the other end of a port that Xen itself has; a port that is not bound yet is ignored. */
  sendXen(port: number): void {
    const channel = this.channel(port);
    if (channel?.state === "interdomain") this.#signal(port, channel);
  }

  #signal(port: number, { remoteDomain, remotePort }: Channel): void {
    const remote = this.#network.eventsOf(remoteDomain);
    const other = remote?.channel(remotePort);
    if (remote === undefined || other === undefined) return;
    const pending = other.xen || remote.#sink.setPending(remotePort, other.vcpu);
    this.#network.sent(this, port, remote, remotePort, pending);
    if (other.xen) remote.#sink.consume(remotePort, other.vcpu);
  }

  send(port: number): number {
    const channel = this.channel(port);
    if (channel === undefined || channel.xen) return -E.XEN_EINVAL;
    if (channel.state === "interdomain") {
      this.#signal(port, channel);
      return 0;
    }
    if (channel.state === "ipi") {
      const pending = this.#sink.setPending(port, channel.vcpu);
      this.#network.sent(this, port, this, port, pending);
      return 0;
    }
    // Events on an unbound port are dropped silently.
    return channel.state === "unbound" ? 0 : -E.XEN_EINVAL;
  }

  /** Raises a virtual interrupt, if the vCPU has bound it. */
  raiseVirq(virq: number, vcpu: number): void {
    const port = this.#virqPort(virq, vcpu);
    if (port !== undefined) this.#sink.setPending(port, vcpu);
  }

  status(port: number): PortStatus | undefined {
    const channel = port < this.#portCount ? (this.#channels[port] ?? free()) : undefined;
    if (channel === undefined) return undefined;
    const values: Readonly<Record<Channel["state"], number>> = {
      free: STATUS.EVTCHNSTAT_closed,
      reserved: STATUS.EVTCHNSTAT_closed,
      unbound: STATUS.EVTCHNSTAT_unbound,
      interdomain: STATUS.EVTCHNSTAT_interdomain,
      virq: STATUS.EVTCHNSTAT_virq,
      ipi: STATUS.EVTCHNSTAT_ipi,
    };
    return { status: values[channel.state], vcpu: channel.vcpu, channel };
  }

  bindVcpu(port: number, vcpu: number): number {
    if (vcpu >= this.#sink.vcpuCount) return -E.XEN_ENOENT;
    const channel = this.channel(port);
    if (channel === undefined || channel.state === "ipi") return -E.XEN_EINVAL;
    if (channel.state === "virq" && VCPU_VIRQS.includes(channel.virq)) return -E.XEN_EINVAL;
    channel.vcpu = vcpu;
    return 0;
  }

  unmask(port: number): number {
    const channel = this.channel(port);
    if (channel === undefined) return -E.XEN_EINVAL;
    this.#sink.unmask(port, channel.vcpu);
    return 0;
  }

  save(): EventChannelsState {
    return { channels: this.#channels.map((channel) => ({ ...channel })) };
  }

  load(state: EventChannelsState): void {
    if (state.channels.length > this.#portCount) throw new InputError("more ports than the ABI has", "event channels");
    this.#channels = state.channels.map((channel) => ({ ...channel }));
  }

  #virqPort(virq: number, vcpu: number): number | undefined {
    const port = this.#channels.findIndex(
      (channel) =>
        channel.state === "virq" && channel.virq === virq && (channel.vcpu === vcpu || !VCPU_VIRQS.includes(virq)),
    );
    return port < 0 ? undefined : port;
  }

  /** The lowest free port, as Xen chooses it. */
  #freePort(): number {
    const port = this.#channels.findIndex((channel) => channel.state === "free");
    if (port >= 0) return port;
    return this.#channels.length < this.#portCount ? this.#channels.length : -E.XEN_ENOSPC;
  }
}
