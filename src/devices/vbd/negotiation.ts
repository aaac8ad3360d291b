// Part: what a front end offers in its nodes (io/blkif.h, "Frontend XenBus Nodes"), and the ring's pages and event channel behind it.
// All of it is a guest's text: nodes that are missing or nonsense, and grants that do not map, are errors for the store, in the words of Linux's
// xen-blkback.

import { ERRNO_H as E } from "../../xen/abi/constants.ts";
import type { DomainServices, GrantMapping } from "../../xen/backend-host.ts";
import type { BackendEnd } from "../split/backend-end.ts";
import type { VbdFeatures } from "./options.ts";
import { isProtocol, type ProtocolName } from "./protocol.ts";

export interface Offer {
  readonly protocol: ProtocolName;
  readonly persistent: boolean;
  readonly references: readonly number[];
  readonly port: number;
}

/** For xenbus_dev_fatal. */
export interface Fatal {
  /** Positive. */
  readonly errno: number;
  readonly message: string;
}

export function readOffer(end: BackendEnd, features: VbdFeatures): Offer | Fatal {
  const reading = (name: string): Fatal => ({ errno: E.XEN_EINVAL, message: `reading ${end.front}/${name}` });
  const protocol = end.frontText("protocol") ?? "x86_32-abi";
  if (!isProtocol(protocol)) return { errno: E.XEN_ENOSYS, message: "unknown fe protocol" };
  const port = end.frontNumber("event-channel");
  if (port === undefined) return reading("event-channel");
  const order = end.frontText("ring-page-order") === undefined ? undefined : end.frontNumber("ring-page-order");
  if (order === undefined && end.frontText("ring-page-order") !== undefined) return reading("ring-page-order");
  if (order !== undefined && order > features.ringPageOrder) {
    const message = `requested ring page order ${order} exceed max:${features.ringPageOrder}`;
    return { errno: E.XEN_EINVAL, message };
  }
  // Front ends that know of the order and want one page use either name.
  const isSingle = order === undefined || (order === 0 && end.frontText("ring-ref0") === undefined);
  const names = isSingle ? ["ring-ref"] : Array.from({ length: 2 ** order }, (_, page) => `ring-ref${page}`);
  const references: number[] = [];
  for (const name of names) {
    const reference = end.frontNumber(name);
    if (reference === undefined) return reading(name);
    references.push(reference);
  }
  return {
    protocol,
    persistent: features.persistentGrants && end.frontNumber("feature-persistent") === 1,
    references,
    port,
  };
}

export interface RingParts {
  readonly pages: readonly GrantMapping[];
  /** The back end's local port. */
  readonly port: number;
}

/** Maps the ring's pages and binds its event channel: all or nothing. */
export function attachRing(host: DomainServices, domain: number, offer: Offer, handler: () => void): RingParts | Fatal {
  const pages: GrantMapping[] = [];
  const fail = (errno: number): Fatal => {
    for (const page of pages) page.unmap();
    return { errno, message: `mapping ring-ref port ${offer.port}` };
  };
  for (const reference of offer.references) {
    const page = host.mapGrant(domain, reference, false);
    if (typeof page === "number") return fail(E.XEN_EINVAL);
    pages.push(page);
  }
  const port = host.bindInterdomain(domain, offer.port, handler);
  return port < 0 ? fail(-port) : { pages, port };
}
