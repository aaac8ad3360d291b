// Part: xenstore's transactions (docs/misc/xenstore.txt, TRANSACTION_START). A transaction works on an overlay of the tree and remembers what
// it looked at; it commits only if none of that has changed since, as xenstored does, and answers EAGAIN otherwise.

import { type Change, type Permission, QUOTA, type Store, type StoreNode, StoreView } from "./store.ts";
import { StoreError } from "./wire.ts";

export interface TransactionState {
  looked: { path: string; generation: number }[];
  changes: { path: string; node: { value: Uint8Array; permissions: Permission[]; children: string[] } | null }[];
  announcements: { path: string; exact: boolean; readers: Permission[][] }[];
  overfull: boolean;
}

const ABSENT = -1;

/** Changes that nobody else sees until they are committed. */
export class Transaction extends StoreView {
  readonly #store: Store;
  /** Every node looked at, with its generation at that time. */
  readonly #looked = new Map<string, number>();
  readonly #changes = new Map<string, Omit<StoreNode, "generation"> | undefined>();
  /** The last change of each path, in the order of the first. */
  readonly #announcements = new Map<string, Change>();
  readonly #maxNodes: number;
  /** It was refused a node, perhaps halfway through a change: it can no more be committed. */
  #overfull = false;

  /** @param maxNodes how many nodes it may look at or change: a guest's QUOTA.transactionNodes */
  constructor(store: Store, maxNodes: number) {
    super();
    this.#store = store;
    this.#maxNodes = maxNodes;
  }

  /** @throws StoreError EAGAIN when something that the transaction looked at has changed since, ENOSPC when it breaks a quota */
  commit(): void {
    if (this.#overfull) throw new StoreError("ENOSPC");
    for (const [path, generation] of this.#looked) {
      if ((this.#store.peek(path)?.generation ?? ABSENT) !== generation) throw new StoreError("EAGAIN");
    }
    for (const owner of new Set(Array.from(this.#changes.values(), (node) => node?.permissions[0]?.domid ?? 0))) {
      const owned = this.nodesOwnedBy(owner);
      if (owner !== 0 && owned > QUOTA.nodes && owned > this.#store.owned(owner)) throw new StoreError("ENOSPC");
    }
    this.#store.adopt(this.#changes);
    for (const change of this.#announcements.values()) this.#store.announce(change);
  }

  protected override node(path: string): StoreNode | undefined {
    if (this.#changes.has(path)) {
      const node = this.#changes.get(path);
      return node === undefined ? undefined : { ...node, generation: this.#looked.get(path) ?? 0 };
    }
    const node = this.#store.peek(path);
    if (!this.#looked.has(path)) {
      if (this.#looked.size >= this.#maxNodes) {
        this.#overfull = true;
        throw new StoreError("ENOSPC");
      }
      this.#looked.set(path, node?.generation ?? ABSENT);
    }
    return node;
  }

  protected override glimpse(path: string): Omit<StoreNode, "generation"> | undefined {
    return this.#changes.has(path) ? this.#changes.get(path) : this.#store.peek(path);
  }

  protected override put(path: string, node: Omit<StoreNode, "generation">): void {
    const { value, permissions, children } = node;
    this.#changes.set(path, { value, permissions, children });
  }

  protected override drop(path: string): void {
    this.#changes.set(path, undefined);
  }

  protected override changed(change: Change): void {
    this.#announcements.set(change.path, change);
  }

  protected override nodesOwnedBy(domid: number): number {
    let count = this.#store.owned(domid);
    for (const [path, node] of this.#changes) {
      const before = this.#store.peek(path)?.permissions[0]?.domid === domid ? 1 : 0;
      count += (node?.permissions[0]?.domid === domid ? 1 : 0) - before;
    }
    return count;
  }

  save(): TransactionState {
    return {
      looked: Array.from(this.#looked, ([path, generation]) => ({ path, generation })),
      changes: Array.from(this.#changes, ([path, node]) => ({
        path,
        node:
          node === undefined
            ? null
            : {
                value: node.value.slice(),
                permissions: node.permissions.map((entry) => ({ ...entry })),
                children: [...node.children],
              },
      })),
      announcements: Array.from(this.#announcements.values(), ({ path, exact, readers }) => ({
        path,
        exact,
        readers: readers.map((permissions) => permissions.map((entry) => ({ ...entry }))),
      })),
      overfull: this.#overfull,
    };
  }

  load(state: TransactionState): void {
    for (const { path, generation } of state.looked) this.#looked.set(path, generation);
    for (const { path, node } of state.changes) this.#changes.set(path, node ?? undefined);
    for (const change of state.announcements) this.#announcements.set(change.path, change);
    this.#overfull = state.overfull;
  }
}
