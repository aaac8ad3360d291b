// The block and network protocols, xenbus and xenstore as Xen's public headers have them (io/blkif.h, io/netif.h, io/ring.h, io/xenbus.h, io/xs_wire.h).

import { describe, expect, test } from "vitest";
import { checkAbi } from "../../scripts/abi-check.ts";
import { ringSize } from "../../src/devices/split/ring.ts";
import { SRING } from "../../src/devices/split/sring.ts";
import { XENBUS } from "../../src/devices/split/xenbus.ts";
import {
  LAYOUTS,
  MAX_INDIRECT_PAGES,
  MAX_SEGMENTS,
  OP,
  RSP,
  SEGMENTS_PER_PAGE,
  VDISK,
} from "../../src/devices/vbd/protocol.ts";
import * as netif from "../../src/devices/vnif/protocol.ts";
import type { Abi, AnyStructure, Layout, Members } from "../../src/xen/abi/layout.ts";
import { ABSOLUTE_PATH_MAX, HEADER_SIZE, PAYLOAD_MAX, RELATIVE_PATH_MAX, XS } from "../../src/xen/xenstore/wire.ts";

const HEADER = "io/blkif.h";
const { "x86_32-abi": x86_32, "x86_64-abi": x86_64 } = LAYOUTS;

/** A structure of which the driver's tables name some members: size and offsets for both ABIs. */
function table(
  name: string,
  members: readonly string[],
  of: (layout: typeof x86_32) => { readonly size: number; readonly offsets: readonly number[] },
): AnyStructure {
  const layout = (source: typeof x86_32): Layout<string> => {
    const { size, offsets } = of(source);
    return {
      size,
      alignment: 4,
      offset: Object.fromEntries(members.map((member, index) => [member, offsets[index] ?? -1])),
    };
  };
  const types: Members = Object.fromEntries(members.map((member) => [member, "u32"] as const));
  return { name, header: HEADER, members: types, layouts: { x86_32: layout(x86_32), x86_64: layout(x86_64) } };
}

/** One page to 2^4, as XENBUS_MAX_RING_GRANT_ORDER allows. */
const RING_PAGES = [1, 2, 4, 8, 16];
const ringSlots = (pages: number) => `__CONST_RING_SIZE(blkif, ${4096 * pages})`;
const STRUCTURES = [
  table("union blkif_sring_entry", [], ({ slot }) => ({ size: slot, offsets: [] })),
  table("struct blkif_request", ["operation", "nr_segments", "id", "sector_number", "seg"], (layout) => ({
    size: layout.slot,
    offsets: [0, 1, layout.id, layout.sector, layout.segments],
  })),
  table("struct blkif_request_segment", ["gref", "first_sect", "last_sect"], () => ({ size: 8, offsets: [0, 4, 5] })),
  table("struct blkif_response", ["id", "operation", "status"], ({ response }) => ({
    size: response,
    offsets: [0, 8, 10],
  })),
  table("struct blkif_sring", ["req_prod", "req_event", "rsp_prod", "rsp_event", "ring"], ({ slot }) => ({
    size: SRING.slots + slot,
    offsets: [SRING.req_prod, SRING.req_event, SRING.rsp_prod, SRING.rsp_event, SRING.slots],
  })),
];
/** Their sizes depend on the ABI's alignment and do not matter: they lie in a slot. */
const OTHERS = [
  ["struct blkif_request_discard", "id", "id"],
  ["struct blkif_request_discard", "sector_number", "sector"],
  ["struct blkif_request_discard", "nr_sectors", "discardSectors"],
  ["struct blkif_request_indirect", "id", "id"],
  ["struct blkif_request_indirect", "sector_number", "sector"],
  ["struct blkif_request_indirect", "indirect_grefs", "indirectRefs"],
] as const;
/** The network's protocol is the same for both ABIs; where its tables have members is seen by coding and decoding (below). */
const NETIF = {
  "__CONST_RING_SIZE(netif_tx, 4096)": netif.RING_SIZE,
  "__CONST_RING_SIZE(netif_rx, 4096)": netif.RING_SIZE,
  "sizeof(union netif_tx_sring_entry)": netif.TX_SLOT,
  "sizeof(union netif_rx_sring_entry)": netif.RX_SLOT,
  "sizeof(struct netif_tx_response)": netif.encodeTxResponse({ id: 0, status: 0 }).length,
  "sizeof(struct netif_rx_response)": netif.encodeRxResponse({ id: 0, offset: 0, flags: 0, status: 0 }).length,
  ...offsets("struct netif_tx_request", netif.TX_SLOT, ["gref", "offset", "flags", "id", "size"], (slot) => {
    const { ref, offset, flags, id, size } = netif.decodeTxRequest(slot);
    return [ref, offset, flags, id, size];
  }),
  ...offsets("struct netif_tx_response", netif.TX_SLOT, ["id", "status"], (slot) => {
    const { id, status } = netif.decodeTxResponse(slot);
    return [id, status];
  }),
  ...offsets("struct netif_rx_request", netif.RX_SLOT, ["id", "gref"], (slot) => {
    const { id, ref } = netif.decodeRxRequest(slot);
    return [id, ref];
  }),
  ...offsets("struct netif_rx_response", netif.RX_SLOT, ["id", "offset", "flags", "status"], (slot) => {
    const { id, offset, flags, status } = netif.decodeRxResponse(slot);
    return [id, offset, flags, status];
  }),
  ...offsets("struct netif_extra_info", netif.RX_SLOT, ["type", "flags", "u.gso.size", "u.gso.type"], (slot) => {
    const extra = netif.decodeExtraInfo(slot);
    const { size, type } = netif.gsoOf(extra);
    return [extra.type, extra.flags, size, type];
  }),
  "offsetof(struct netif_extra_info, u.mcast.addr)":
    netif.RX_SLOT - netif.decodeExtraInfo(new Uint8Array(netif.RX_SLOT)).data.length,
  XEN_NETIF_EXTRA_FLAG_MORE: netif.EXTRA_FLAG_MORE,
  XEN_NETIF_NR_SLOTS_MIN: netif.NR_SLOTS_MIN,
};

/** Where a structure's members begin: the first byte whose change changes what is decoded of them. */
function offsets(
  structure: string,
  size: number,
  members: readonly string[],
  decode: (slot: Uint8Array) => readonly number[],
): Readonly<Record<string, number>> {
  const begin = (index: number) =>
    Array.from({ length: size }, (_, at) => at).findIndex((at) => {
      const slot = new Uint8Array(size);
      slot[at] = 1;
      return decode(slot)[index] !== 0;
    });
  return Object.fromEntries(members.map((member, index) => [`offsetof(${structure}, ${member})`, begin(index)]));
}

const prefixed = (prefix: string, values: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));

describe.each<Abi>(["x86_32", "x86_64"])("Xen's headers for %s", (abi) => {
  test("have the drivers' layouts and constants", (context) => {
    const layout = LAYOUTS[`${abi}-abi`];
    const result = checkAbi(abi, STRUCTURES, {
      [HEADER]: {
        ...prefixed("BLKIF_OP_", OP),
        ...prefixed("BLKIF_RSP_", RSP),
        ...Object.fromEntries(
          OTHERS.map(([structure, member, field]) => [`offsetof(${structure}, ${member})`, layout[field]]),
        ),
        "offsetof(struct blkif_request_indirect, indirect_op)": 1,
        "offsetof(struct blkif_request_indirect, nr_segments)": 2,
        BLKIF_MAX_SEGMENTS_PER_REQUEST: MAX_SEGMENTS,
        BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST: MAX_INDIRECT_PAGES,
        "4096 / sizeof(struct blkif_request_segment)": SEGMENTS_PER_PAGE,
        ...prefixed("VDISK_", VDISK),
        ...Object.fromEntries(RING_PAGES.map((pages) => [ringSlots(pages), ringSize(pages, layout.slot)])),
      },
      "io/netif.h": {
        ...NETIF,
        ...prefixed("NETTXF_", netif.TXF),
        ...prefixed("NETRXF_", netif.RXF),
        ...prefixed("NETIF_RSP_", netif.RSP),
        ...prefixed("XEN_NETIF_EXTRA_TYPE_", netif.EXTRA),
        ...prefixed("XEN_NETIF_GSO_TYPE_", netif.GSO_TYPE),
      },
      "io/xenbus.h": prefixed("XenbusState", XENBUS),
      "io/xs_wire.h": {
        ...prefixed("XS_", XS),
        XENSTORE_PAYLOAD_MAX: PAYLOAD_MAX,
        XENSTORE_ABS_PATH_MAX: ABSOLUTE_PATH_MAX,
        XENSTORE_REL_PATH_MAX: RELATIVE_PATH_MAX,
        "sizeof(struct xsd_sockmsg)": HEADER_SIZE,
      },
    });
    if ("skipped" in result) return context.skip(result.skipped);
    expect(result.differences).toEqual([]);
    expect(result.checked).toBeGreaterThan(110);
  });
});
