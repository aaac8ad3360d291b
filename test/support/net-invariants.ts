// What holds of a network back end whatever its front end does, as properties of the trace. Each finding says which invariant broke and where.

import type { TraceEvent } from "../../src/trace/events.ts";

const RING_SIZE = 256;
const PAGE = 4096;
/** A packet's first slot and as many behind it as Linux's netback takes. */
const MAX_SLOTS = 19;
const MORE_DATA = 4;
const EXTRA_INFO = 8;
const EXTRA_MORE = 1;
const OKAY = 0;

/**
 * @param events of the whole life of interface `device` of domain `domain`
 * @param ports that the domain ever had for it
 */
export function netFindings(
  events: readonly TraceEvent[],
  domain: number,
  device: number,
  ports: ReadonlySet<number>,
): string[] {
  const findings: string[] = [];
  const find = (event: TraceEvent, what: string) => findings.push(`${what} at ${event.at} ns`);
  const rings = { tx: `vif/${device} tx`, rx: `vif/${device} rx` };
  /** Of either ring: slots fetched since the index was, and the index of the slot that comes next; −1 before the first. */
  const visits = { tx: { taken: 0, next: -1 }, rx: { taken: 0, next: -1 } };
  const fetched = (ring: "tx" | "rx", event: TraceEvent, index: number) => {
    const visit = visits[ring];
    if (++visit.taken > RING_SIZE) find(event, "more slots in a visit than the ring has");
    if (visit.next !== -1 && index !== visit.next) find(event, `slot ${index} fetched in the place of ${visit.next}`);
    visit.next = (index + 1) >>> 0;
  };
  /** Responses that are owed: of each packet the ids of its slots, −1 for extra info. */
  let packet = { slots: 0, more: false, extra: false };
  const owed: { id: number; slots: number }[] = [];
  let asked = 0;
  let notified = 0;
  for (const event of events) {
    if (
      event.kind === "xenbus-state" &&
      event.domain === domain &&
      event.device === `vif/${device}` &&
      event.side === 1
    ) {
      visits.tx = { taken: 0, next: -1 };
      visits.rx = { taken: 0, next: -1 };
      owed.length = 0;
      packet = { slots: 0, more: false, extra: false };
    } else if (event.kind === "ring-index" && event.index === "req_prod") {
      if (event.ring === rings.tx) visits.tx.taken = 0;
      if (event.ring === rings.rx) visits.rx.taken = 0;
    } else if (event.kind === "netif-tx-request" && event.device === device && event.side === 1) {
      fetched("tx", event, event.index);
      const isFirst = !packet.more;
      packet = {
        slots: isFirst ? 1 : packet.slots + 1,
        more: (event.flags & MORE_DATA) !== 0,
        extra: isFirst && (event.flags & EXTRA_INFO) !== 0,
      };
      owed.push({ id: event.id, slots: packet.slots });
    } else if (event.kind === "netif-extra-info" && event.device === device && event.side === 1) {
      fetched("tx", event, event.index);
      packet.extra = (event.flags & EXTRA_MORE) !== 0;
      owed.push({ id: 0, slots: 0 });
    } else if (event.kind === "netif-tx-response" && event.device === device && event.side === 1) {
      const slot = owed.shift();
      if (slot === undefined || slot.id !== event.id) find(event, `an answer to ${event.id}, which nobody asked`);
      else if (event.status === OKAY && slot.slots > MAX_SLOTS) find(event, `a packet of ${slot.slots} slots is sent`);
    } else if (event.kind === "netif-rx-request" && event.device === device && event.side === 1) {
      fetched("rx", event, event.index);
    } else if (event.kind === "grant-copy" && event.owner === domain) {
      if (event.length === 0) find(event, "a copy of nothing");
      if (event.offset + event.length > PAGE) find(event, "a copy beyond a page's end");
    } else if (event.kind === "ring-notify" && Object.values(rings).includes(event.ring) && event.sent) asked++;
    else if (event.kind === "evtchn-send" && event.domain === 0 && event.remoteDomain === domain) {
      if (ports.has(event.remotePort)) notified++;
    }
  }
  if (notified > asked) findings.push(`${notified} notifications, of which ${asked} were asked for`);
  return findings;
}
