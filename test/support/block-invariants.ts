// What holds of a block back end whatever its front end does, read off the trace and the hypervisor's tables. Each finding names the row of the
// list of faults that block back ends really had.

import type { TraceEvent } from "../../src/trace/events.ts";

const BACK_SIDE = 1;
const CONNECTED = 4;
const CLOSED = 6;

/** One connection of the device, as the trace shows it. */
interface Epoch {
  /** Index of the request that is to be fetched next; undefined before the first. */
  next: number | undefined;
  fetched: number;
  refused: number;
  carriedOut: number;
  failed: number;
  errors: number;
  indirectPages: number;
  segmentPages: number;
  open: boolean;
}

const epoch = (): Epoch => ({
  next: undefined,
  fetched: 0,
  refused: 0,
  carriedOut: 0,
  failed: 0,
  errors: 0,
  indirectPages: 0,
  segmentPages: 0,
  open: true,
});

/** What the trace shows that must not be, for the xvda of `domid`; empty when all is well. */
export function blockFindings(events: Iterable<TraceEvent>, domid: number): string[] {
  const findings: string[] = [];
  let now: Epoch | undefined;
  let closes = 0;
  let fatals = 0;
  for (const event of events) {
    if (event.kind === "grant-unmap" && event.domain === 0 && event.status !== 0) {
      findings.push(`B8: unmapped handle ${event.handle}, which was not mapped`);
    }
    if (event.kind === "disk-operation" && event.disk === `${domid}/xvda`) {
      if (now?.open !== true) findings.push("B12: an operation was under way when its front end was let go of");
      else {
        now.carriedOut++;
        if (event.status !== 0) now.failed++;
      }
    }
    if (!("domain" in event) || event.domain !== domid) continue;
    switch (event.kind) {
      case "xenbus-error":
        fatals++;
        break;
      case "xenbus-state":
        if (event.side !== BACK_SIDE) break;
        if (event.state === CONNECTED && now?.open !== true) now = epoch();
        if (event.state === CLOSED && now?.open === true) {
          now.open = false;
          findings.push(...atClose(now));
        }
        if (event.state === 5) closes++;
        break;
      case "blkif-request":
        if (event.side !== BACK_SIDE) break;
        if (now === undefined || !now.open) {
          // A ring is looked at before the trace says that it is connected.
          findings.push("B5: a request was fetched without a connection");
          break;
        }
        if (now.next !== undefined && event.index !== now.next) {
          findings.push(`B1: slot ${event.index} was fetched where ${now.next} is next`);
        }
        now.next = (event.index + 1) >>> 0;
        now.fetched++;
        now.indirectPages += Math.max((event.indirect?.length ?? 1) - 1, 0);
        break;
      case "blkif-segments":
        if (now !== undefined) now.segmentPages++;
        break;
      case "blkif-refusal":
        if (now !== undefined) now.refused++;
        break;
      case "blkif-response":
        if (event.side !== BACK_SIDE) break;
        if (now?.open !== true) findings.push("B5: a response was written after the stop");
        else if (event.status !== 0) now.errors++;
        break;
      default:
    }
  }
  if (fatals > closes) findings.push("an error without a close");
  return findings;
}

function atClose(done: Epoch): string[] {
  const findings: string[] = [];
  if (done.carriedOut + done.refused !== done.fetched) {
    findings.push(`B12: closed with ${done.fetched - done.refused - done.carriedOut} operations under way`);
  }
  if (done.segmentPages > done.indirectPages) findings.push("B1: a page of segments was fetched more than once");
  if (done.errors > done.refused + done.failed) findings.push("an error response without a reason in the trace");
  return findings;
}
