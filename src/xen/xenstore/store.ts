// Part: xenstore's tree: nodes with values, permissions and generations, and transactions over it (docs/misc/xenstore.txt,
// docs/misc/xenstore-ring.txt). A transaction works on an overlay and remembers what it looked at; it commits only if none of that has
// changed since, as xenstored does, and answers EAGAIN otherwise. Nobody here knows connections or watches.

import type { Snapshotable } from "../../core/snapshot.ts";
import { nameOf, parentOf, StoreError } from "./wire.ts";

/** One entry of a node's permissions: the first names the owner and what everybody else may do. */
export interface Permission {
  readonly domid: number;
  readonly read: boolean;
  readonly write: boolean;
}

export interface StoreNode {
  readonly value: Uint8Array;
  readonly permissions: readonly Permission[];
  /** Names in the order in which they were created. */
  readonly children: readonly string[];
  /** Raised with every change of the node; unique in the store's life. */
  readonly generation: number;
}

/** Limits for what one guest may hold; xenstored's defaults, so that guests meet what they meet on Xen. */
export const QUOTA = {
  /** Nodes owned by one domain (quota-entries). */
  nodes: 1000,
  /** Bytes of one node's value (quota-entry-size). */
  valueBytes: 2048,
  /** Permission entries of one node (quota-perms). */
  permissions: 5,
} as const;

const NOTHING = new Uint8Array(0);

/** Who asks. Domain 0 is privileged: no permission or quota binds it. */
export type Asker = number;

/** The tree as one asker sees it at one time: the store itself, or a transaction's overlay. */
export abstract class StoreView {
  protected abstract node(path: string): StoreNode | undefined;
  protected abstract put(path: string, node: Omit<StoreNode, "generation">): void;
  protected abstract drop(path: string): void;
  /** Told of every changed path; removals name each removed node. */
  protected abstract changed(path: string, removed: boolean): void;
  protected abstract nodesOwnedBy(domid: number): number;

  /** @throws StoreError ENOENT, EACCES, as all methods do */
  read(asker: Asker, path: string): Uint8Array {
    return this.#readable(asker, path).value;
  }

  directory(asker: Asker, path: string): readonly string[] {
    return this.#readable(asker, path).children;
  }

  /** For DIRECTORY_PART: a number that changes with the node. */
  generation(asker: Asker, path: string): number {
    return this.#readable(asker, path).generation;
  }

  permissions(asker: Asker, path: string): readonly Permission[] {
    return this.#readable(asker, path).permissions;
  }

  exists(path: string): boolean {
    return this.node(path) !== undefined;
  }

  mayRead(asker: Asker, path: string): boolean {
    const node = this.node(path);
    return node !== undefined && allows(node, asker, "read");
  }

  /** Writes a value, creating the node and its parents. */
  write(asker: Asker, path: string, value: Uint8Array): void {
    if (asker !== 0 && value.length > QUOTA.valueBytes) throw new StoreError("ENOSPC");
    const node = this.node(path);
    if (node === undefined) this.#create(asker, path, value);
    else {
      if (!allows(node, asker, "write")) throw new StoreError("EACCES");
      this.put(path, { ...node, value });
    }
    this.changed(path, false);
  }

  /** Creates an empty node and its parents; a node that exists is left alone. */
  mkdir(asker: Asker, path: string): void {
    const node = this.node(path);
    if (node !== undefined) {
      if (!allows(node, asker, "write")) throw new StoreError("EACCES");
      return;
    }
    this.#create(asker, path, NOTHING);
    this.changed(path, false);
  }

  /** Removes a node with everything below it. Removing what is not there succeeds if its parent is. */
  rm(asker: Asker, path: string): void {
    if (path === "/") throw new StoreError("EINVAL");
    const node = this.node(path);
    if (node === undefined) {
      if (this.node(parentOf(path)) === undefined) throw new StoreError("ENOENT");
      return;
    }
    if (!allows(node, asker, "write")) throw new StoreError("EACCES");
    const parent = this.node(parentOf(path));
    if (parent !== undefined) {
      this.put(parentOf(path), { ...parent, children: parent.children.filter((name) => name !== nameOf(path)) });
    }
    for (const removed of this.#subtree(path)) {
      this.drop(removed);
      this.changed(removed, true);
    }
  }

  /** Only the owner and domain 0 may change permissions, and only domain 0 the owner. */
  setPermissions(asker: Asker, path: string, permissions: readonly Permission[]): void {
    const node = this.node(path);
    if (node === undefined) throw new StoreError("ENOENT");
    const [first] = permissions;
    if (first === undefined) throw new StoreError("EINVAL");
    if (asker !== 0) {
      if (node.permissions[0]?.domid !== asker || first.domid !== asker) throw new StoreError("EACCES");
      if (permissions.length > QUOTA.permissions) throw new StoreError("ENOSPC");
    }
    this.put(path, { ...node, permissions });
    this.changed(path, false);
  }

  #readable(asker: Asker, path: string): StoreNode {
    const node = this.node(path);
    if (node === undefined) throw new StoreError("ENOENT");
    if (!allows(node, asker, "read")) throw new StoreError("EACCES");
    return node;
  }

  /** Depth first, a node before its children. */
  #subtree(path: string): string[] {
    const paths = [path];
    for (const current of paths) {
      for (const name of this.node(current)?.children ?? []) paths.push(`${current}/${name}`);
    }
    return paths;
  }

  #create(asker: Asker, path: string, value: Uint8Array): void {
    const missing = [path];
    let above = parentOf(path);
    while (this.node(above) === undefined) {
      missing.push(above);
      above = parentOf(above);
    }
    const ancestor = this.node(above) as StoreNode;
    if (!allows(ancestor, asker, "write")) throw new StoreError("EACCES");
    if (asker !== 0 && this.nodesOwnedBy(asker) + missing.length > QUOTA.nodes) throw new StoreError("ENOSPC");
    // New nodes inherit their parent's permissions, but a guest owns what it creates.
    const inherited = ancestor.permissions.map((entry, index) =>
      index === 0 && asker !== 0 ? { ...entry, domid: asker } : entry,
    );
    for (const created of missing.reverse()) {
      const parent = this.node(parentOf(created)) as StoreNode;
      this.put(parentOf(created), { ...parent, children: [...parent.children, nameOf(created)] });
      this.put(created, { value: created === path ? value : NOTHING, permissions: inherited, children: [] });
    }
  }
}

function allows(node: StoreNode, asker: Asker, what: "read" | "write"): boolean {
  if (asker === 0) return true;
  const [owner, ...others] = node.permissions;
  if (owner === undefined) return false;
  if (owner.domid === asker) return true;
  return (others.find(({ domid }) => domid === asker) ?? owner)[what];
}

export interface StoreState {
  generation: number;
  nodes: {
    path: string;
    value: Uint8Array;
    permissions: Permission[];
    children: string[];
    generation: number;
  }[];
}

/** The store itself. `onChange` hears of every change, in order. */
export class Store extends StoreView implements Snapshotable<StoreState> {
  readonly #nodes = new Map<string, StoreNode>();
  readonly #owned = new Map<number, number>();
  readonly #onChange: (path: string, removed: boolean) => void;
  #generation = 0;

  constructor(onChange: (path: string, removed: boolean) => void) {
    super();
    this.#onChange = onChange;
    this.#set("/", {
      value: NOTHING,
      permissions: [{ domid: 0, read: false, write: false }],
      children: [],
      generation: 0,
    });
  }

  begin(): Transaction {
    return new Transaction(this);
  }

  /** The node, for transactions: it must not be changed. */
  peek(path: string): StoreNode | undefined {
    return this.#nodes.get(path);
  }

  owned(domid: number): number {
    return this.#owned.get(domid) ?? 0;
  }

  /** Takes over a transaction's changes in its order. */
  adopt(changes: Iterable<readonly [string, Omit<StoreNode, "generation"> | undefined]>): void {
    for (const [path, node] of changes) {
      if (node === undefined) this.drop(path);
      else this.put(path, node);
    }
  }

  announce(path: string, removed: boolean): void {
    this.#onChange(path, removed);
  }

  protected override node(path: string): StoreNode | undefined {
    return this.#nodes.get(path);
  }

  protected override put(path: string, node: Omit<StoreNode, "generation">): void {
    this.#set(path, { ...node, generation: ++this.#generation });
  }

  protected override drop(path: string): void {
    const node = this.#nodes.get(path);
    if (node === undefined) return;
    this.#count(node, -1);
    this.#nodes.delete(path);
  }

  protected override changed(path: string, removed: boolean): void {
    this.#onChange(path, removed);
  }

  protected override nodesOwnedBy(domid: number): number {
    return this.owned(domid);
  }

  #set(path: string, node: StoreNode): void {
    const before = this.#nodes.get(path);
    if (before !== undefined) this.#count(before, -1);
    this.#count(node, 1);
    this.#nodes.set(path, node);
  }

  #count(node: StoreNode, change: number): void {
    const owner = node.permissions[0]?.domid ?? 0;
    this.#owned.set(owner, this.owned(owner) + change);
  }

  save(): StoreState {
    return {
      generation: this.#generation,
      nodes: Array.from(this.#nodes, ([path, node]) => ({
        path,
        value: node.value.slice(),
        permissions: node.permissions.map((entry) => ({ ...entry })),
        children: [...node.children],
        generation: node.generation,
      })),
    };
  }

  load(state: StoreState): void {
    this.#nodes.clear();
    this.#owned.clear();
    for (const { path, ...node } of state.nodes) this.#set(path, node);
    this.#generation = state.generation;
  }
}

export interface TransactionState {
  looked: { path: string; generation: number }[];
  changes: { path: string; node: { value: Uint8Array; permissions: Permission[]; children: string[] } | null }[];
  announcements: { path: string; removed: boolean }[];
}

const ABSENT = -1;

/** Changes that nobody else sees until they are committed. */
export class Transaction extends StoreView {
  readonly #store: Store;
  /** Every node looked at, with its generation at that time. */
  readonly #looked = new Map<string, number>();
  readonly #changes = new Map<string, Omit<StoreNode, "generation"> | undefined>();
  readonly #announcements: { path: string; removed: boolean }[] = [];

  constructor(store: Store) {
    super();
    this.#store = store;
  }

  /** @throws StoreError EAGAIN when something that the transaction looked at has changed since */
  commit(): void {
    for (const [path, generation] of this.#looked) {
      if ((this.#store.peek(path)?.generation ?? ABSENT) !== generation) throw new StoreError("EAGAIN");
    }
    this.#store.adopt(this.#changes);
    for (const { path, removed } of this.#announcements) this.#store.announce(path, removed);
  }

  protected override node(path: string): StoreNode | undefined {
    if (this.#changes.has(path)) {
      const node = this.#changes.get(path);
      return node === undefined ? undefined : { ...node, generation: this.#looked.get(path) ?? 0 };
    }
    const node = this.#store.peek(path);
    if (!this.#looked.has(path)) this.#looked.set(path, node?.generation ?? ABSENT);
    return node;
  }

  protected override put(path: string, node: Omit<StoreNode, "generation">): void {
    const { value, permissions, children } = node;
    this.#changes.set(path, { value, permissions, children });
  }

  protected override drop(path: string): void {
    this.#changes.set(path, undefined);
  }

  protected override changed(path: string, removed: boolean): void {
    this.#announcements.push({ path, removed });
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
      announcements: this.#announcements.map((announcement) => ({ ...announcement })),
    };
  }

  load(state: TransactionState): void {
    for (const { path, generation } of state.looked) this.#looked.set(path, generation);
    for (const { path, node } of state.changes) this.#changes.set(path, node ?? undefined);
    this.#announcements.push(...state.announcements);
  }
}
