// Part: the xenstore daemon, a program of the control domain: the store, the guests' connections, the nodes that a toolstack writes for a new
// domain, and in-process clients for the other programs of the control domain.

import type { Alarm } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { XenstoreClient, XenstoreTransaction } from "../backend-host.ts";
import type { Domain } from "../domain.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { Connection, type ConnectionState } from "./connection.ts";
import { type Permission, Store, type StoreState, type StoreView } from "./store.ts";
import { Transaction } from "./transaction.ts";
import { INTRODUCE_DOMAIN, RELEASE_DOMAIN, type Watch, Watches } from "./watches.ts";
import { absolutePath, type Message, StoreError, toBytes, toText } from "./wire.ts";

/** The control domain's programs share one connection. */
const CONTROL_DOMAIN = 0;

/** Times that a transaction of the control domain is tried. Its programs run one after the other, so one is enough. */
const MAX_TRANSACTION_TRIES = 10;

const KIB_PER_PAGE = 4;

export interface XenstoreState {
  store: StoreState;
  watches: Watch[];
  connections: ConnectionState[];
  pending: { path: string; token: string; changed: string }[];
}

export class XenstoreDaemon implements Snapshotable<XenstoreState> {
  readonly #hypervisor: Hypervisor;
  readonly #store: Store;
  readonly #watches: Watches;
  readonly #connections = new Map<number, Connection>();
  /** Of the control domain's watches, by path and token. */
  readonly #callbacks = new Map<string, (path: string, token: string) => void>();
  /** Guests for whom events may wait. */
  readonly #told = new Set<number>();
  /** Events for the control domain's programs, until the alarm hands them out. */
  #pending: XenstoreState["pending"] = [];
  readonly #alarm: Alarm;

  constructor(hypervisor: Hypervisor) {
    this.#hypervisor = hypervisor;
    this.#store = new Store((change) => this.#watches.fire(change));
    this.#watches = new Watches((watch, path) => this.#deliver(watch, path));
    this.#alarm = hypervisor.clock.alarm("xenstored.watches", () => this.#handOut());
    for (const path of ["/tool", "/vm", "/libxl", `/local/domain/${CONTROL_DOMAIN}`]) {
      this.#store.mkdir(CONTROL_DOMAIN, path);
    }
    this.client().write("domid", String(CONTROL_DOMAIN));
    this.client().write("name", "Domain-0");
    hypervisor.watchDomains((domain, event) => {
      if (event === "created") this.#introduce(domain);
      else this.#release(domain, event === "destroyed");
    });
  }

  /** In-process access for a program of the control domain. */
  client(): XenstoreClient {
    const view = viewClient(this.#store);
    return {
      ...view,
      watch: (path, token, callback) => this.#watch(path, token, callback),
      unwatch: (path, token) => this.#unwatch(path, token),
      transaction: (body) => this.#transaction(body),
    };
  }

  /** Carries out a request of a model domain. @throws InputError when there is no such domain */
  call(domid: number, request: Message): Message {
    const connection = this.#connections.get(domid);
    if (connection === undefined) throw new InputError("there is no such domain", `domain ${domid}`);
    return connection.call(request);
  }

  /** Sets a node's permissions: the owner, and who besides may read it. */
  grant(path: string, owner: number, reader?: number): void {
    const permissions: Permission[] = [{ domid: owner, read: false, write: false }];
    if (reader !== undefined) permissions.push({ domid: reader, read: true, write: false });
    this.#store.setPermissions(CONTROL_DOMAIN, path, permissions);
  }

  #watch(path: string, token: string, callback: (path: string, token: string) => void): void {
    const absolute = path.startsWith("@") ? path : absolutePath(path, CONTROL_DOMAIN);
    const watch: Watch = { domid: CONTROL_DOMAIN, given: path, path: absolute, token };
    this.#watches.add(watch);
    this.#callbacks.set(`${absolute}\0${token}`, callback);
    this.#watches.fireFirst(watch);
  }

  #unwatch(path: string, token: string): void {
    const absolute = path.startsWith("@") ? path : absolutePath(path, CONTROL_DOMAIN);
    this.#watches.remove({ domid: CONTROL_DOMAIN, given: path, path: absolute, token });
    this.#callbacks.delete(`${absolute}\0${token}`);
    this.#pending = this.#pending.filter((entry) => entry.path !== absolute || entry.token !== token);
  }

  #transaction<T>(body: (transaction: XenstoreTransaction) => T): T {
    for (let attempt = 1; ; attempt++) {
      const transaction = new Transaction(this.#store, Number.POSITIVE_INFINITY);
      const result = body(viewClient(transaction));
      try {
        transaction.commit();
        return result;
      } catch (error) {
        if (!(error instanceof StoreError) || error.error !== "EAGAIN" || attempt >= MAX_TRANSACTION_TRIES) throw error;
      }
    }
  }

  #deliver(watch: Watch, changed: string): void {
    if (watch.domid === CONTROL_DOMAIN) {
      this.#pending.push({ path: watch.path, token: watch.token, changed });
      this.#alarm.set(this.#hypervisor.clock.now);
      return;
    }
    const connection = this.#connections.get(watch.domid);
    connection?.watchEvent(watch, changed);
    this.#told.add(watch.domid);
    this.#alarm.set(this.#hypervisor.clock.now);
  }

  /** Calls the control domain's programs back and pushes the guests' events into their rings. */
  #handOut(): void {
    const events = this.#pending;
    this.#pending = [];
    for (const { path, token, changed } of events) {
      this.#callbacks.get(`${path}\0${token}`)?.(changed, token);
    }
    for (const domid of this.#told) this.#connections.get(domid)?.push();
    this.#told.clear();
  }

  /** What a toolstack writes for a new domain (libxl), and the daemon's end of its ring. */
  #introduce(domain: Domain): void {
    const { domid } = domain;
    const home = `/local/domain/${domid}`;
    const store = this.client();
    store.write(home, "");
    this.grant(home, CONTROL_DOMAIN, domid);
    const nodes: Readonly<Record<string, string>> = {
      name: domain.name,
      domid: String(domid),
      "store/port": String(domain.store.port),
      "store/ring-ref": String(domain.store.gfn),
      "console/port": String(domain.console.port),
      "console/ring-ref": String(domain.console.gfn),
      "console/type": "xenconsoled",
      "console/limit": "1048576",
      "console/backend-id": String(CONTROL_DOMAIN),
      "cpu/0/availability": "online",
      "memory/static-max": String(domain.maxPages * KIB_PER_PAGE),
      "memory/target": String(domain.maxPages * KIB_PER_PAGE),
      device: "",
      "control/platform-feature-multiprocessor-suspend": "1",
      "control/platform-feature-xs_reset_watches": "1",
    };
    for (const [name, value] of Object.entries(nodes)) store.write(`${home}/${name}`, value);
    for (const name of ["data", "drivers", "feature", "attr", "error", "control/shutdown"]) {
      store.write(`${home}/${name}`, "");
      this.grant(`${home}/${name}`, domid);
    }
    this.#connect(domid).introduce();
    this.#watches.fireSpecial(INTRODUCE_DOMAIN);
  }

  #connect(domid: number): Connection {
    const { clock, emit } = this.#hypervisor.serviceDomain(CONTROL_DOMAIN);
    const ring = this.#hypervisor.storeRing(domid, () => this.#serve(domid));
    const connection = new Connection(domid, {
      store: this.#store,
      watches: this.#watches,
      ring,
      introduced: (other) => other === CONTROL_DOMAIN || this.#connections.has(other),
      trace: (message) => emit({ kind: "xenstore", at: clock.now, ...message }),
    });
    this.#connections.set(domid, connection);
    return connection;
  }

  #serve(domid: number): void {
    this.#connections.get(domid)?.serve();
  }

  #release({ domid }: Domain, destroyed: boolean): void {
    const connection = this.#connections.get(domid);
    if (destroyed && connection !== undefined) {
      this.#connections.delete(domid);
      this.#hypervisor.serviceDomain(CONTROL_DOMAIN).unbind(connection.ring.port);
      connection.ring.page.unmap();
      this.#watches.removeAll(domid);
      this.#store.rm(CONTROL_DOMAIN, `/local/domain/${domid}`);
    }
    this.#watches.fireSpecial(RELEASE_DOMAIN);
  }

  save(): XenstoreState {
    return {
      store: this.#store.save(),
      watches: this.#watches.save(),
      connections: Array.from(this.#connections.values(), (connection) => connection.save()),
      pending: this.#pending.map((event) => ({ ...event })),
    };
  }

  /** After the hypervisor's own. @throws InputError unless this machine has the snapshot's domains */
  load(state: XenstoreState): void {
    const domids = state.connections.map(({ domid }) => domid);
    if (domids.join() !== [...this.#connections.keys()].join()) {
      throw new InputError(`rings of the domains [${domids.join()}]`, "snapshot of xenstore");
    }
    this.#store.load(state.store);
    this.#watches.load(state.watches);
    for (const saved of state.connections) {
      const { domid } = saved;
      const connection = this.#connections.get(domid) as Connection;
      connection.load(saved);
      this.#told.add(domid);
      this.#hypervisor.serviceDomain(CONTROL_DOMAIN).adoptPort(connection.ring.port, () => this.#serve(domid));
    }
    this.#pending = state.pending.map((event) => ({ ...event }));
  }
}

function viewClient(view: StoreView): XenstoreTransaction {
  const path = (given: string) => absolutePath(given, CONTROL_DOMAIN);
  return {
    read: (given) => {
      const at = path(given);
      return view.exists(at) ? toText(view.read(CONTROL_DOMAIN, at)) : undefined;
    },
    write: (given, value) => view.write(CONTROL_DOMAIN, path(given), toBytes(value)),
    rm: (given) => {
      if (view.exists(path(given))) view.rm(CONTROL_DOMAIN, path(given));
    },
    directory: (given) => {
      const at = path(given);
      return view.exists(at) ? view.directory(CONTROL_DOMAIN, at) : [];
    },
  };
}
