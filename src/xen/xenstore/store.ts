// Part: xenstore's tree: nodes with values, permissions and generations (docs/misc/xenstore.txt, docs/misc/xenstore-ring.txt), as the
// store holds it and as whoever asks may see and change it. Nobody here knows connections or watches.

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
  /** Nodes that one transaction may look at or change (quota-trans-nodes). */
  transactionNodes: 1024,
} as const;

const NOTHING = new Uint8Array(0);

/** Who asks. Domain 0 is privileged: no permission or quota binds it. */
export type Asker = number;

/** Something that watchers may want to hear of. */
export interface Change {
  readonly path: string;
  /** A node that went with one above it: only who watches this very path hears of it. */
  readonly exact: boolean;
  /** A watcher hears of it if one of these lets him read: the node's permissions, its parent's, those that the node had before. */
  readonly readers: readonly (readonly Permission[])[];
}

/** The tree as one asker sees it at one time: the store itself, or a transaction's overlay. */
export abstract class StoreView {
  protected abstract node(path: string): StoreNode | undefined;
  /** The node without its being part of what the asker has seen. */
  protected abstract glimpse(path: string): Omit<StoreNode, "generation"> | undefined;
  protected abstract put(path: string, node: Omit<StoreNode, "generation">): void;
  protected abstract drop(path: string): void;
  protected abstract changed(change: Change): void;
  protected abstract nodesOwnedBy(domid: number): number;

  /** @throws StoreError ENOENT, EACCES, as all methods do */
  read(asker: Asker, path: string): Uint8Array {
    return this.#get(asker, path, "read").value;
  }

  directory(asker: Asker, path: string): readonly string[] {
    return this.#get(asker, path, "read").children;
  }

  /** For DIRECTORY_PART: a number that changes with the node. */
  generation(asker: Asker, path: string): number {
    return this.#get(asker, path, "read").generation;
  }

  permissions(asker: Asker, path: string): readonly Permission[] {
    return this.#get(asker, path, "read").permissions;
  }

  exists(path: string): boolean {
    return this.node(path) !== undefined;
  }

  /** Writes a value, creating the node and its parents. */
  write(asker: Asker, path: string, value: Uint8Array): void {
    if (asker !== 0 && value.length > QUOTA.valueBytes) throw new StoreError("ENOSPC");
    const node = this.#find(asker, path, "write");
    if (node === undefined) this.#create(asker, path, value);
    else this.put(path, { ...node, value });
    this.changed(this.#change(path));
  }

  /** Creates an empty node and its parents; a node that exists is left alone. */
  mkdir(asker: Asker, path: string): void {
    if (this.#find(asker, path, "write") !== undefined) return;
    this.#create(asker, path, NOTHING);
    this.changed(this.#change(path));
  }

  /** Removes a node with everything below it. Removing what is not there succeeds if its parent is. */
  rm(asker: Asker, path: string): void {
    if (path === "/") throw new StoreError("EINVAL");
    const node = this.#find(asker, path, "write");
    const parent = this.node(parentOf(path));
    if (parent === undefined) throw new StoreError("ENOENT");
    if (node === undefined) return;
    const removed = this.#subtree(path);
    const changes = removed.map((node) => ({ ...this.#change(node), exact: node !== path }));
    this.put(parentOf(path), { ...parent, children: parent.children.filter((name) => name !== nameOf(path)) });
    for (const node of removed) this.drop(node);
    for (const change of changes) this.changed(change);
  }

  /** Only the owner and domain 0 may change permissions, and only domain 0 the owner. */
  setPermissions(asker: Asker, path: string, permissions: readonly Permission[]): void {
    const [first] = permissions;
    if (first === undefined) throw new StoreError("EINVAL");
    const node = this.#get(asker, path, "own");
    if (asker !== 0) {
      if (first.domid !== asker) throw new StoreError("EPERM");
      if (permissions.length > QUOTA.permissions) throw new StoreError("ENOSPC");
    }
    this.put(path, { ...node, permissions });
    const change = this.#change(path);
    this.changed({ ...change, readers: [...change.readers, node.permissions] });
  }

  #get(asker: Asker, path: string, what: Access): StoreNode {
    const node = this.#find(asker, path, what);
    if (node === undefined) throw new StoreError("ENOENT");
    return node;
  }

  /**
   * A node, undefined when there is none. Whether there is one is hidden from those who may not do the same with what is above it.
   * @throws StoreError EACCES
   */
  #find(asker: Asker, path: string, what: Access): StoreNode | undefined {
    let nearest = path;
    while (this.node(nearest) === undefined) nearest = parentOf(nearest);
    if (!allows(this.node(nearest)?.permissions, asker, what)) throw new StoreError("EACCES");
    return nearest === path ? this.node(path) : undefined;
  }

  #change(path: string): Change {
    const readers = [this.glimpse(path), this.glimpse(parentOf(path))].flatMap((node) =>
      node ? [node.permissions] : [],
    );
    return { path, exact: false, readers };
  }

  /** Breadth first, a node before its children. */
  #subtree(path: string): string[] {
    const paths = [path];
    for (const current of paths) {
      for (const name of this.node(current)?.children ?? []) paths.push(`${current}/${name}`);
    }
    return paths;
  }

  /** Creates a node and its parents; that the asker may was checked. */
  #create(asker: Asker, path: string, value: Uint8Array): void {
    const missing = [path];
    let above = parentOf(path);
    while (this.node(above) === undefined) {
      missing.push(above);
      above = parentOf(above);
    }
    const ancestor = this.node(above) as StoreNode;
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

type Access = "read" | "write" | "own";

/** What a node's permissions let a domain do. */
export function allows(permissions: readonly Permission[] | undefined, asker: Asker, what: Access): boolean {
  if (asker === 0) return true;
  const [owner, ...others] = permissions ?? [];
  if (owner === undefined) return false;
  if (owner.domid === asker) return true;
  if (what === "own") return false;
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
  readonly #onChange: (change: Change) => void;
  #generation = 0;

  constructor(onChange: (change: Change) => void) {
    super();
    this.#onChange = onChange;
    this.#set("/", {
      value: NOTHING,
      permissions: [{ domid: 0, read: false, write: false }],
      children: [],
      generation: 0,
    });
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

  announce(change: Change): void {
    this.#onChange(change);
  }

  protected override node(path: string): StoreNode | undefined {
    return this.#nodes.get(path);
  }

  protected override glimpse(path: string): StoreNode | undefined {
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

  protected override changed(change: Change): void {
    this.#onChange(change);
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
    for (const { path, ...node } of state.nodes) this.#set(path, { ...node, value: node.value.slice() });
    this.#generation = state.generation;
  }
}
