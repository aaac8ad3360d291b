// The block protocol, xenbus and xenstore as Xen's public headers have them (io/blkif.h, io/ring.h, io/xenbus.h, io/xs_wire.h).

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
    expect(result.checked).toBeGreaterThan(60);
  });
});
