// Part: the console daemon of the control domain: the back end of a guest's console ring (io/console.h).
// Output is drained whenever the guest notifies, yields or ends; input goes into the ring as far as there is room, the rest
// follows when the guest has read. Ring indices are free-running modulo 2^32; nonsense from the guest is taken as an empty ring.

import { checkLimit, type Limit } from "../core/limits.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import { GRANT_TABLE_H } from "./abi/constants.ts";
import { XENCONS_INTERFACE } from "./abi/structures.ts";
import type { DomainServices, GrantMapping } from "./backend-host.ts";

const RING = XENCONS_INTERFACE.layouts.x86_32.offset;
const IN_SIZE = 1024;
const OUT_SIZE = 2048;

/** Typed input that finds no room in the ring waits here. */
const WAITING_INPUT: Limit = {
  of: "bytes of console input waiting",
  maximum: 65_536,
  because: "a person types, and a guest that never reads must not use up the host's memory",
};

export interface ConsoleState {
  port: number;
  handle: number;
  waiting: Uint8Array;
}

export class ConsoleDaemon implements Snapshotable<ConsoleState> {
  readonly #services: DomainServices;
  readonly #domid: number;
  #page: GrantMapping | undefined;
  #port: number;
  #waiting: number[] = [];

  /** Connects to the console of a domain that was just built; a ring that cannot be had leaves the domain without one. */
  constructor(services: DomainServices, domid: number, remotePort: number) {
    this.#services = services;
    this.#domid = domid;
    const page = services.mapGrant(domid, GRANT_TABLE_H.GNTTAB_RESERVED_CONSOLE, false);
    this.#page = typeof page === "number" ? undefined : page;
    this.#port = services.bindInterdomain(domid, remotePort, () => this.service());
  }

  /** Takes what the guest wrote and gives it what it may read. */
  service(): void {
    const page = this.#page;
    if (page === undefined) return;
    let signal = this.#fill(page);
    const consumed = page.load32(RING.out_cons);
    const produced = page.load32(RING.out_prod);
    const count = (produced - consumed) >>> 0;
    if (count > 0 && count <= OUT_SIZE) {
      const data = new Uint8Array(count);
      for (let index = 0; index < count; index++) {
        data[index] = page.load8(RING.out + ((consumed + index) % OUT_SIZE));
      }
      page.store32(RING.out_cons, produced);
      const { clock, emit } = this.#services;
      emit({ kind: "console-output", at: clock.now, domain: this.#domid, data });
      signal = true;
    }
    if (signal) this.#services.notify(this.#port);
  }

  /** @throws InputError when too much input is waiting already */
  input(bytes: Uint8Array): void {
    checkLimit(WAITING_INPUT, this.#waiting.length + bytes.length, `console of domain ${this.#domid}`);
    this.#waiting.push(...bytes);
    if (this.#page !== undefined && this.#fill(this.#page)) this.#services.notify(this.#port);
  }

  /** Drains for the last time and lets go of ring and channel. */
  close(): void {
    this.service();
    this.#page?.unmap();
    this.#page = undefined;
    this.#services.unbind(this.#port);
  }

  save(): ConsoleState {
    return { port: this.#port, handle: this.#page?.handle ?? -1, waiting: Uint8Array.from(this.#waiting) };
  }

  load(state: ConsoleState): void {
    this.#port = state.port;
    this.#page = this.#services.adoptMapping(state.handle);
    this.#services.adoptPort(state.port, () => this.service());
    this.#waiting = [...state.waiting];
  }

  /** Moves waiting input into the ring; true when some was moved. */
  #fill(page: GrantMapping): boolean {
    if (this.#waiting.length === 0) return false;
    const consumed = page.load32(RING.in_cons);
    let produced = page.load32(RING.in_prod);
    const used = (produced - consumed) >>> 0;
    if (used >= IN_SIZE) return false;
    const bytes = this.#waiting.splice(0, IN_SIZE - used);
    for (const byte of bytes) {
      page.store8(RING.in + (produced % IN_SIZE), byte);
      produced = (produced + 1) >>> 0;
    }
    page.store32(RING.in_prod, produced);
    return true;
  }
}
