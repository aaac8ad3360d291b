// Part: what both directions of an interface need of it.

import type { BackendHost } from "../../xen/backend-host.ts";
import type { ObservedRing } from "../split/observed-ring.ts";
import type { VnifFault } from "./faults.ts";

export interface VifContext {
  readonly host: BackendHost;
  readonly frontDomid: number;
  /** The handle. */
  readonly device: number;
  /** For the trace: `vif/0`. */
  readonly name: string;
  readonly faults: ReadonlySet<VnifFault>;
  /** A packet is lost; the trace says why. */
  drop(toGuest: boolean, length: number, reason: string): void;
  /** The front end breaks the protocol: its interface is shut. */
  fatal(message: string): void;
}

/** A copy of the next request that is known to wait; its slot is not looked at again. */
export function nextRequest(ring: ObservedRing): Uint8Array {
  const slot = ring.fetch(ring.consumed);
  ring.consume();
  return slot;
}
