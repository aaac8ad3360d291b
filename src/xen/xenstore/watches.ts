// Part: watches: who wants to hear of which changes (docs/misc/xenstore.txt, WATCH).

import { allows, type Change } from "./store.ts";
import { isBelow, StoreError } from "./wire.ts";

/** Watches of one guest (xenstored's quota-watch). */
const MAX_WATCHES = 128;

/** Paths that are events rather than nodes; only the control domain hears of them. */
export const INTRODUCE_DOMAIN = "@introduceDomain";
export const RELEASE_DOMAIN = "@releaseDomain";

export interface Watch {
  readonly domid: number;
  /** As the watcher wrote it. */
  readonly given: string;
  /** Absolute, or a special path. */
  readonly path: string;
  readonly token: string;
}

export class Watches {
  readonly #deliver: (watch: Watch, path: string) => void;
  #watches: Watch[] = [];

  /** @param deliver takes an event for a watch, with the changed path in the form in which the watch was written */
  constructor(deliver: (watch: Watch, path: string) => void) {
    this.#deliver = deliver;
  }

  /** @throws StoreError EEXIST, E2BIG */
  add(watch: Watch): void {
    if (this.#watches.some((other) => same(other, watch))) throw new StoreError("EEXIST");
    const held = this.#watches.filter(({ domid }) => domid === watch.domid).length;
    if (watch.domid !== 0 && held >= MAX_WATCHES) throw new StoreError("E2BIG");
    this.#watches.push(watch);
  }

  /** @throws StoreError ENOENT */
  remove(watch: Watch): void {
    const kept = this.#watches.filter((other) => !same(other, watch));
    if (kept.length === this.#watches.length) throw new StoreError("ENOENT");
    this.#watches = kept;
  }

  removeAll(domid: number): void {
    this.#watches = this.#watches.filter((watch) => watch.domid !== domid);
  }

  /** Every watch fires once when it is set, whatever its path holds. */
  fireFirst(watch: Watch): void {
    this.#deliver(watch, watch.given);
  }

  /** Tells those who watch the path or something above it and may know of it (xenstored's fire_watches, watch_permitted). */
  fire({ path, exact, readers }: Change): void {
    for (const watch of this.#watches) {
      if (exact ? path !== watch.path : !isBelow(path, watch.path)) continue;
      if (!readers.some((permissions) => allows(permissions, watch.domid, "read"))) continue;
      this.#deliver(watch, watch.path === "/" ? path : watch.given + path.slice(watch.path.length));
    }
  }

  fireSpecial(path: typeof INTRODUCE_DOMAIN | typeof RELEASE_DOMAIN): void {
    for (const watch of this.#watches) if (watch.path === path && watch.domid === 0) this.#deliver(watch, path);
  }

  save(): Watch[] {
    return this.#watches.map((watch) => ({ ...watch }));
  }

  load(watches: readonly Watch[]): void {
    this.#watches = watches.map((watch) => ({ ...watch }));
  }
}

function same(a: Watch, b: Watch): boolean {
  return a.domid === b.domid && a.path === b.path && a.token === b.token;
}
