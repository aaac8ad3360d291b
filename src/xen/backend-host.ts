// Part: what a program in a service domain sees of the hypervisor.
// A service domain (the control domain, domid 0) has no processor: its programs (xenstored, the console daemon, back-end drivers)
// are TypeScript under the same virtual clock. They reach guests only as a real domain would: grants, event channels, xenstore.
// An event handler runs as an alarm of the clock some virtual time after the notification, never inside the hypercall that
// sent it. Not modelled: the service domain's own memory and processor time.

import type { Clock } from "../core/clock.ts";
import type { Emit } from "../trace/events.ts";

/** A granted frame, mapped. Offsets are bytes from 0 to 4095; numbers are little-endian and unsigned. */
export interface GrantMapping {
  readonly handle: number;
  readonly readOnly: boolean;
  /** @throws OutOfRange when the access leaves the page, as all accesses do */
  load8(offset: number): number;
  load16(offset: number): number;
  load32(offset: number): number;
  load64(offset: number): bigint;
  /** @throws InvariantError on a mapping that is read-only, as all stores do */
  store8(offset: number, value: number): void;
  store16(offset: number, value: number): void;
  store32(offset: number, value: number): void;
  store64(offset: number, value: bigint): void;
  /** Copies `count` 32-bit words to `target`, from its word `from` on; the offset is a multiple of 4. */
  loadWords(offset: number, target: Uint32Array, from: number, count: number): void;
  /** A copy, which the guest cannot change any more. */
  read(offset: number, length: number): Uint8Array;
  write(offset: number, bytes: Uint8Array): void;
  /** GNTST_okay, or GNTST_bad_handle when it was unmapped before. Nothing may be accessed afterwards. */
  unmap(): number;
}

/** What every program of a service domain may do. */
export interface DomainServices {
  readonly domid: number;
  readonly clock: Clock;
  readonly emit: Emit;
  /** The mapping, or a negative GNTST_ status (grant_table.h). */
  mapGrant(owner: number, ref: number, readOnly: boolean): GrantMapping | number;
  /** Copies out of a granted frame by the hypervisor (GNTTABOP_copy): the bytes, or a negative GNTST_ status. */
  copyFromGrant(owner: number, ref: number, offset: number, length: number): Uint8Array | number;
  /** Copies into a granted frame; GNTST_okay or a negative GNTST_ status. */
  copyToGrant(owner: number, ref: number, offset: number, bytes: Uint8Array): number;
  /** Binds to a port that the remote domain keeps unbound for us: the local port, or a negative errno. */
  bindInterdomain(remoteDomain: number, remotePort: number, handler: () => void): number;
  /** Sends an event; ports that are not bound are ignored, as the remote end may have closed. */
  notify(port: number): void;
  unbind(port: number): void;
  /** After a snapshot was loaded: gives a port that is bound already its handler again. */
  adoptPort(port: number, handler: () => void): void;
  /** After a snapshot was loaded: the mapping that has this handle, undefined when there is none. */
  adoptMapping(handle: number): GrantMapping | undefined;
}

/** What a back-end driver receives. */
export interface BackendHost extends DomainServices {
  readonly xenstore: XenstoreClient;
}

/** In-process access to xenstore for the programs of a service domain. Paths are absolute or relative to /local/domain/<domid>. */
export interface XenstoreClient extends XenstoreTransaction {
  /** Calls back once at once (as an alarm) and after every change at or below `path`, with the path that changed. */
  watch(path: string, token: string, callback: (path: string, token: string) => void): void;
  unwatch(path: string, token: string): void;
  /** Runs `body` until its transaction meets no conflict; its last result. `body` may run several times. */
  transaction<T>(body: (transaction: XenstoreTransaction) => T): T;
}

export interface XenstoreTransaction {
  /** The value as text, undefined when the node does not exist or may not be read. */
  read(path: string): string | undefined;
  write(path: string, value: string): void;
  rm(path: string): void;
  /** Names of the children in xenstore's order; empty for a node that does not exist. */
  directory(path: string): readonly string[];
}
