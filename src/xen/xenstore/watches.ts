// Part: watches: who wants to hear of which changes (docs/misc/xenstore.txt, WATCH).

import { allows, type Change } from "./store.ts";
import { parentOf, StoreError } from "./wire.ts";

/** Watches of one guest (xenstored's quota-watch). */
export const MAX_WATCHES = 128;

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

interface Entry {
  /** Watches fire in the order in which they were set. */
  readonly order: number;
  readonly watch: Watch;
}

export class Watches {
  readonly #deliver: (watch: Watch, path: string) => void;
  /** By path, each in order. */
  readonly #byPath = new Map<string, Entry[]>();
  readonly #held = new Map<number, number>();
  #next = 0;

  /** @param deliver takes an event for a watch, with the changed path in the form in which the watch was written */
  constructor(deliver: (watch: Watch, path: string) => void) {
    this.#deliver = deliver;
  }

  /** @throws StoreError EEXIST, E2BIG */
  add(watch: Watch): void {
    const entries = this.#byPath.get(watch.path) ?? [];
    if (entries.some((other) => same(other.watch, watch))) throw new StoreError("EEXIST");
    const held = this.#held.get(watch.domid) ?? 0;
    if (watch.domid !== 0 && held >= MAX_WATCHES) throw new StoreError("E2BIG");
    this.#held.set(watch.domid, held + 1);
    this.#byPath.set(watch.path, [...entries, { order: this.#next++, watch }]);
  }

  /** @throws StoreError ENOENT */
  remove(watch: Watch): void {
    if (!this.#drop(watch.path, (other) => same(other, watch))) throw new StoreError("ENOENT");
  }

  removeAll(domid: number): void {
    for (const path of this.#byPath.keys()) this.#drop(path, (watch) => watch.domid === domid);
  }

  /** False when there was none. */
  #drop(path: string, isMeant: (watch: Watch) => boolean): boolean {
    const entries = this.#byPath.get(path) ?? [];
    const kept = entries.filter(({ watch }) => !isMeant(watch));
    for (const { watch } of entries) {
      if (isMeant(watch)) this.#held.set(watch.domid, (this.#held.get(watch.domid) ?? 0) - 1);
    }
    if (kept.length === 0) this.#byPath.delete(path);
    else this.#byPath.set(path, kept);
    return kept.length < entries.length;
  }

  /** Every watch fires once when it is set, whatever its path holds. */
  fireFirst(watch: Watch): void {
    this.#deliver(watch, watch.given);
  }

  /** Tells those who watch the path or something above it and may know of it (xenstored's fire_watches, watch_permitted). */
  fire({ path, exact, readers }: Change): void {
    for (const { watch } of exact ? (this.#byPath.get(path) ?? []) : this.#above(path)) {
      if (!readers.some((permissions) => allows(permissions, watch.domid, "read"))) continue;
      this.#deliver(watch, watch.path === "/" ? path : watch.given + path.slice(watch.path.length));
    }
  }

  /** Watches of a path and of all above it, in order. */
  #above(path: string): readonly Entry[] {
    let found: readonly Entry[] = [];
    for (let at = path; ; at = parentOf(at)) {
      const entries = this.#byPath.get(at);
      if (entries !== undefined) found = found.length === 0 ? entries : [...found, ...entries];
      if (at === "/") break;
    }
    return found.length < 2 ? found : [...found].sort((a, b) => a.order - b.order);
  }

  fireSpecial(path: typeof INTRODUCE_DOMAIN | typeof RELEASE_DOMAIN): void {
    for (const { watch } of this.#byPath.get(path) ?? []) if (watch.domid === 0) this.#deliver(watch, path);
  }

  save(): Watch[] {
    const entries = [...this.#byPath.values()].flat().sort((a, b) => a.order - b.order);
    return entries.map(({ watch }) => ({ ...watch }));
  }

  load(watches: readonly Watch[]): void {
    this.#byPath.clear();
    this.#held.clear();
    for (const [order, watch] of watches.entries()) {
      this.#byPath.set(watch.path, [...(this.#byPath.get(watch.path) ?? []), { order, watch: { ...watch } }]);
      this.#held.set(watch.domid, (this.#held.get(watch.domid) ?? 0) + 1);
    }
    this.#next = watches.length;
  }
}

function same(a: Watch, b: Watch): boolean {
  return a.domid === b.domid && a.path === b.path && a.token === b.token;
}
