// Part: a packet of the guest's, gathered from the slots of the transmit ring (io/netif.h, "Guest transmit") with the limits of Linux's
// xen-netback (drivers/net/xen-netback/netback.c). Works on copies of slots only: what was checked is what is used.
// Departure from Linux: an extra-info slot of a type that is not known costs its packet, not the interface.

import { PAGE_SIZE } from "../../core/memory.ts";
import type { VnifFault } from "./faults.ts";
import {
  decodeExtraInfo,
  decodeTxRequest,
  EXTRA,
  EXTRA_FLAG_MORE,
  type ExtraInfo,
  GSO_TYPE,
  gsoOf,
  NR_SLOTS_MIN,
  TXF,
  type TxRequest,
} from "./protocol.ts";

/** fatal_skb_slots: with more slots behind its first, a packet is an attack. */
const FATAL_SLOTS = 20;
/** A packet holds at least an Ethernet header (ETH_HLEN). */
const MIN_SIZE = 14;

export interface Packet {
  /** The data slots; of the first, `size` is its own part. */
  readonly slots: readonly TxRequest[];
  readonly extras: readonly ExtraInfo[];
  readonly flags: number;
  /** Of the whole packet, as its first slot said. */
  readonly size: number;
  /** Why it is not to be sent; undefined for a good one. */
  readonly flaw?: string;
}

const NO_EXTRAS: readonly ExtraInfo[] = [];

/** The front end breaks the protocol; nothing of its ring may be believed any more. */
export interface Fatal {
  readonly fatal: string;
}

/**
 * Takes the next packet.
 * @param fetch gives a copy of the next slot
 * @param available slots that wait, at least one
 */
export function gather(
  fetch: () => Uint8Array,
  available: number,
  faults: ReadonlySet<VnifFault> = new Set(),
): Packet | Fatal {
  const isCounted = !faults.has("vnif.many-slots");
  const crossesPage = ({ offset, size }: TxRequest): boolean =>
    // Sums of two 16-bit numbers: nothing wraps.
    (faults.has("vnif.wrapping-range") ? (offset + size) & 0xffff : offset + size) > PAGE_SIZE;
  let left = available;
  const first = decodeTxRequest(fetch());
  // Nearly all packets are one slot with a frame in it.
  const isPlain = (first.flags & (TXF.extra_info | TXF.more_data)) === 0 && first.size >= MIN_SIZE;
  if (isPlain && !crossesPage(first)) {
    return { slots: [first], extras: NO_EXTRAS, flags: first.flags, size: first.size };
  }
  left--;
  const extras: ExtraInfo[] = [];
  for (let more = (first.flags & TXF.extra_info) !== 0; more; ) {
    if (left-- === 0) return { fatal: "missing extra info" };
    const extra = decodeExtraInfo(fetch());
    extras.push(extra);
    more = (extra.flags & EXTRA_FLAG_MORE) !== 0;
  }
  const rest: TxRequest[] = [];
  let flaw = extras.some(({ type }) => type === EXTRA.NONE || type > EXTRA.HASH)
    ? "extra info of no known type"
    : undefined;
  let firstSize = first.size;
  for (let more = (first.flags & TXF.more_data) !== 0; more; ) {
    if (left-- === 0) return { fatal: `${rest.length + 1} slots, and the next is missing` };
    if (isCounted && rest.length >= FATAL_SLOTS)
      return { fatal: `more than ${FATAL_SLOTS} slots behind a packet's first` };
    const slot = decodeTxRequest(fetch());
    if (isCounted && rest.length >= NR_SLOTS_MIN) flaw ??= `more than ${NR_SLOTS_MIN} slots behind its first`;
    // A front end that sends 64 KiB or more has a size that overflowed: Linux knows some, and drops the packet only.
    if (slot.size > firstSize) flaw ??= "slots larger than the packet";
    firstSize = Math.max(firstSize - slot.size, 0);
    if (crossesPage(slot)) return { fatal: `${slot.size} bytes at ${slot.offset} cross a page's end` };
    rest.push(slot);
    more = (slot.flags & TXF.more_data) !== 0;
  }
  // A slot that only carries an entry of the multicast filter has no data.
  const isFilter = extras.some(isMulticastEntry);
  if (first.size < MIN_SIZE && !isFilter) flaw ??= `${first.size} bytes: no Ethernet header`;
  const own = { ...first, size: firstSize };
  if (flaw === undefined && crossesPage(own)) {
    return { fatal: `${own.size} bytes at ${own.offset} cross a page's end` };
  }
  const problem = gsoProblem(extras);
  if (problem !== undefined) return { fatal: problem };
  const packet = { slots: [own, ...rest], extras, flags: first.flags, size: first.size };
  return flaw === undefined ? packet : { ...packet, flaw };
}

export function isMulticastEntry({ type }: ExtraInfo): boolean {
  return type === EXTRA.MCAST_ADD || type === EXTRA.MCAST_DEL;
}

/** What is wrong with the segmentation asked for; undefined when nothing is. xen-netback takes either for an attack. */
function gsoProblem(extras: readonly ExtraInfo[]): string | undefined {
  for (const extra of extras) {
    if (extra.type !== EXTRA.GSO) continue;
    const { size, type } = gsoOf(extra);
    if (type !== GSO_TYPE.TCPV4) return `bad GSO type ${type}`;
    if (size === 0) return "GSO size must not be zero";
  }
  return undefined;
}
