// Part: the service domains, and what the control domain serves to every guest from its birth on: its console, the ring of its store.

import { assert, InputError } from "../core/errors.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import { GRANT_TABLE_H } from "./abi/constants.ts";
import { ConsoleDaemon, type ConsoleState } from "./console.ts";
import type { Domain } from "./domain.ts";
import type { EventChannels } from "./event-channels.ts";
import type { StoreRing } from "./hypervisor.ts";
import { ServiceDomain, type ServiceDomainParts, type ServiceDomainState } from "./service-domain.ts";

/** The domain that serves consoles, the store, disks and network interfaces. */
export const CONTROL_DOMAIN = 0;

export interface ServiceDomainsState {
  domains: ServiceDomainState[];
  consoles: { domid: number; console: ConsoleState }[];
}

export class ServiceDomains implements Snapshotable<ServiceDomainsState> {
  readonly #parts: ServiceDomainParts;
  readonly #domains = new Map<number, ServiceDomain>();
  readonly #consoles = new Map<number, ConsoleDaemon>();

  constructor(parts: ServiceDomainParts) {
    this.#parts = parts;
  }

  /** The service domain of a number, which is created on first use. */
  domain(domid: number): ServiceDomain {
    const existing = this.#domains.get(domid);
    if (existing !== undefined) return existing;
    const made = new ServiceDomain(domid, this.#parts);
    this.#domains.set(domid, made);
    return made;
  }

  /** Undefined when there is no such service domain. */
  eventsOf(domid: number): EventChannels | undefined {
    return this.#domains.get(domid)?.events;
  }

  openConsole({ domid, console }: Domain): void {
    this.#consoles.set(domid, new ConsoleDaemon(this.domain(CONTROL_DOMAIN), domid, console.port));
  }

  /** Takes what the guest has written so far. */
  drainConsole(domid: number): void {
    this.#consoles.get(domid)?.service();
  }

  /** @throws InputError when there is no such console, or too much input waits there already */
  consoleInput(domid: number, bytes: Uint8Array): void {
    const console = this.#consoles.get(domid);
    if (console === undefined) throw new InputError("there is no such console", `domain ${domid}`);
    console.input(bytes);
  }

  closeConsole(domid: number): void {
    this.#consoles.get(domid)?.close();
    this.#consoles.delete(domid);
  }

  openStoreRing({ domid, store }: Domain, handler: () => void): StoreRing {
    const services = this.domain(CONTROL_DOMAIN);
    const page = services.mapGrant(domid, GRANT_TABLE_H.GNTTAB_RESERVED_XENSTORE, false);
    assert(typeof page !== "number", () => `domain ${domid} has no store ring`);
    const port = services.bindInterdomain(domid, store.port, handler);
    return { page, port, notify: () => services.notify(port) };
  }

  save(): ServiceDomainsState {
    return {
      domains: [...this.#domains.values()].map((domain) => domain.save()),
      consoles: [...this.#consoles].map(([domid, console]) => ({ domid, console: console.save() })),
    };
  }

  load({ domains, consoles }: ServiceDomainsState): void {
    for (const saved of domains) this.domain(saved.domid).load(saved);
    for (const { domid, console } of consoles) this.#consoles.get(domid)?.load(console);
  }
}
