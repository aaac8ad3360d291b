// The block protocol, xenbus and xenstore as Xen's public headers have them (io/blkif.h, io/ring.h, io/xenbus.h, io/xs_wire.h).

import { describe, expect, test } from "vitest";
import { checkAbi } from "../../scripts/abi-check.ts";
import { SRING } from "../../src/devices/split/sring.ts";
import { XENBUS } from "../../src/devices/split/xenbus.ts";
import { LAYOUTS, MAX_SEGMENTS, OP, RING_SIZE, RSP, VDISK_READONLY } from "../../src/devices/vbd/protocol.ts";
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

const RING_SLOTS = `__CONST_RING_SIZE(blkif, 4096)`;
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
/** Its size depends on the ABI's alignment and does not matter: it lies in a slot. */
const DISCARD = ["id", "sector_number", "nr_sectors"].map(
  (member, index) =>
    [
      `offsetof(struct blkif_request_discard, ${member})`,
      (["id", "sector", "discardSectors"] as const)[index],
    ] as const,
);

const prefixed = (prefix: string, values: Readonly<Record<string, number>>) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));

describe.each<Abi>(["x86_32", "x86_64"])("Xen's headers for %s", (abi) => {
  test("have the drivers' layouts and constants", (context) => {
    const layout = LAYOUTS[`${abi}-abi`];
    const result = checkAbi(abi, STRUCTURES, {
      [HEADER]: {
        ...prefixed("BLKIF_OP_", OP),
        ...prefixed("BLKIF_RSP_", RSP),
        ...Object.fromEntries(DISCARD.map(([expression, field]) => [expression, layout[field ?? "id"]])),
        BLKIF_MAX_SEGMENTS_PER_REQUEST: MAX_SEGMENTS,
        VDISK_READONLY,
        [RING_SLOTS]: RING_SIZE,
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
