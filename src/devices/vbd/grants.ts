// Part: a front end's granted pages in the back end. Without persistent grants a page is mapped for one request. With them (io/blkif.h,
// feature-persistent) it stays mapped, writable, for the next request that names the same grant; which grants stay, and when they go, is as in
// Linux's xen-blkback: at most max_persistent_grants, the longest unused go first when more are wanted, and those unused for a minute.
// A grant that is named twice at one time is mapped a second time for that request alone.
// Not modelled: the purge by a timer of its own; grants are looked through when requests come.

import { assert, InputError } from "../../core/errors.ts";
import { NS_PER_SECOND } from "../../core/units.ts";
import type { DomainServices, GrantMapping } from "../../xen/backend-host.ts";
import type { VbdFault } from "./faults.ts";

/** max_persistent_grants: RING_SIZE × BLKIF_MAX_SEGMENTS_PER_REQUEST × 3 of a ring of one page. */
export const MAX_PERSISTENT_GRANTS = 1056;
/** LRU_PERCENT_CLEAN of the limit goes at a time when it was not enough. */
const PURGE_DIVISOR = 20;
/** LRU_INTERVAL. */
const PURGE_INTERVAL_NS = NS_PER_SECOND / 10;
/** persistent_grant_unused_seconds. */
const UNUSED_NS = 60 * NS_PER_SECOND;

/** A mapped page that one request uses. */
export interface GrantUse {
  readonly mapping: GrantMapping;
  /** Its grant when it stays mapped afterwards, else −1. */
  readonly kept: number;
}

interface Kept {
  readonly mapping: GrantMapping;
  inUse: boolean;
  lastUsedNs: number;
}

export interface FrontGrantsState {
  persistent: boolean;
  /** The longest unused first. */
  kept: { ref: number; handle: number; inUse: boolean; lastUsedNs: number }[];
  overflown: boolean;
  nextPurgeNs: number;
}

export class FrontGrants {
  readonly #host: DomainServices;
  readonly #owner: number;
  readonly #persistent: boolean;
  readonly #faults: ReadonlySet<VbdFault>;
  /** In the order in which they were last used. */
  readonly #kept = new Map<number, Kept>();
  /** More grants were wanted than may stay. */
  #overflown = false;
  #nextPurgeNs = 0;

  constructor(host: DomainServices, owner: number, persistent: boolean, faults: ReadonlySet<VbdFault>) {
    this.#host = host;
    this.#owner = owner;
    this.#persistent = persistent;
    this.#faults = faults;
  }

  /** A page for one request, or a negative GNTST_ status. */
  use(ref: number, readOnly: boolean): GrantUse | number {
    const kept = this.#kept.get(ref);
    if (kept !== undefined && !kept.inUse) {
      kept.inUse = true;
      return { mapping: kept.mapping, kept: ref };
    }
    const mapping = this.#host.mapGrant(this.#owner, ref, readOnly && !this.#persistent);
    if (typeof mapping === "number") return mapping;
    if (!this.#persistent || kept !== undefined) return { mapping, kept: -1 };
    if (this.#kept.size >= MAX_PERSISTENT_GRANTS) {
      this.#overflown = true;
      return { mapping, kept: -1 };
    }
    this.#kept.set(ref, { mapping, inUse: true, lastUsedNs: 0 });
    return { mapping, kept: ref };
  }

  /** The pages of one request, all or none; the status and place of the first that cannot be mapped. */
  useAll(
    wanted: readonly { readonly ref: number }[],
    readOnly: boolean,
  ): readonly GrantUse[] | { ref: number; status: number } {
    const uses: GrantUse[] = [];
    for (const { ref } of wanted) {
      const use = this.use(ref, readOnly);
      if (typeof use !== "number") {
        uses.push(use);
        continue;
      }
      assert(!this.#faults.has("vbd.map-fatal"), () => `grant ${ref} cannot be mapped: ${use}`);
      if (!this.#faults.has("vbd.leak-grants")) for (const earlier of uses) this.release(earlier);
      if (this.#faults.has("vbd.unmap-unmapped")) uses.at(-1)?.mapping.unmap();
      return { ref, status: use };
    }
    return uses;
  }

  /** The request is done with a page. */
  release({ mapping, kept }: GrantUse): void {
    const entry = this.#kept.get(kept);
    if (entry === undefined) {
      mapping.unmap();
      return;
    }
    entry.inUse = false;
    entry.lastUsedNs = this.#host.clock.now;
    this.#kept.delete(kept);
    this.#kept.set(kept, entry);
  }

  /** Lets go of grants that are too many or were not used for long: purge_persistent_gnt. */
  purge(): void {
    const { now } = this.#host.clock;
    if (now < this.#nextPurgeNs) return;
    this.#nextPurgeNs = now + PURGE_INTERVAL_NS;
    let surplus = this.#overflown ? Math.floor(MAX_PERSISTENT_GRANTS / PURGE_DIVISOR) : 0;
    this.#overflown = false;
    for (const [ref, { mapping, inUse, lastUsedNs }] of this.#kept) {
      if (inUse) continue;
      if (surplus <= 0 && now - lastUsedNs < UNUSED_NS) break;
      this.#kept.delete(ref);
      mapping.unmap();
      surplus--;
    }
  }

  /** Lets go of all that stayed. No request may be in flight. */
  close(): void {
    for (const { mapping } of this.#kept.values()) mapping.unmap();
    this.#kept.clear();
  }

  save(): FrontGrantsState {
    return {
      persistent: this.#persistent,
      kept: Array.from(this.#kept, ([ref, { mapping, inUse, lastUsedNs }]) => {
        return { ref, handle: mapping.handle, inUse, lastUsedNs };
      }),
      overflown: this.#overflown,
      nextPurgeNs: this.#nextPurgeNs,
    };
  }

  load(state: FrontGrantsState): void {
    this.#kept.clear();
    for (const { ref, handle, inUse, lastUsedNs } of state.kept) {
      this.#kept.set(ref, { mapping: adoptedMapping(this.#host, handle), inUse, lastUsedNs });
    }
    this.#overflown = state.overflown;
    this.#nextPurgeNs = state.nextPurgeNs;
  }
}

/** A mapping of a snapshot. @throws InputError when it is not the hypervisor's */
export function adoptedMapping(host: DomainServices, handle: number): GrantMapping {
  const mapping = host.adoptMapping(handle);
  if (mapping === undefined) throw new InputError(`grant handle ${handle} is not mapped`, "snapshot of a block device");
  return mapping;
}
