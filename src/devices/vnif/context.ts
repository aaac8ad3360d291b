// Part: what both directions of an interface need of it.

import type { BackendHost } from "../../xen/backend-host.ts";

export interface VifContext {
  readonly host: BackendHost;
  readonly frontDomid: number;
  /** The handle. */
  readonly device: number;
  /** For the trace: `vif/0`. */
  readonly name: string;
  /** A packet is lost; the trace says why. */
  drop(toGuest: boolean, length: number, reason: string): void;
  /** The front end breaks the protocol: its interface is shut. */
  fatal(message: string): void;
}
