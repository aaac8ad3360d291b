import { describe, expect, test } from "vitest";
import { GRANT_TABLE_H as G, XEN_H } from "../../src/xen/abi/constants.ts";
import { create, decode } from "../../src/xen/abi/layout.ts";
import {
  GNTTAB_MAP_GRANT_REF,
  GNTTAB_QUERY_SIZE,
  GNTTAB_SETUP_TABLE,
  GNTTAB_UNMAP_GRANT_REF,
} from "../../src/xen/abi/structures.ts";
import type { GrantMapping } from "../../src/xen/backend-host.ts";
import { guestRead, guestWrite, hypercall, startMachine, type TestMachine } from "./support.ts";

const ARGUMENT = 0x20_0000;
const PAGE = 0x30_0000;
const REF = 8;

function entry({ domain }: TestMachine, ref: number): number {
  return domain.grants.frame(0)! * 4096 + 8 * ref;
}

/** What a front end does: fills in the frame and the domain, then the flags. */
function grant(machine: TestMachine, flags: number, domid = 0, gfn = PAGE >>> 12): void {
  const { memory } = machine.processor;
  memory.store32(entry(machine, REF) + 4, gfn);
  memory.store16(entry(machine, REF) + 2, domid);
  memory.store16(entry(machine, REF), flags);
}

const flagsOf = (machine: TestMachine): number => machine.processor.memory.load16(entry(machine, REF));
const dom0 = (machine: TestMachine) => machine.xen.serviceDomain(0);

describe("a granted page", () => {
  test("is shared memory: both ends see each other's stores", () => {
    const machine = startMachine();
    grant(machine, G.GTF_permit_access);
    const page = dom0(machine).mapGrant(1, REF, false) as GrantMapping;
    guestWrite(machine, PAGE + 16, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect([page.load8(16), page.load16(16), page.load32(16), page.load64(16)]).toEqual([
      1,
      0x0201,
      0x0403_0201,
      0x0807_0605_0403_0201n,
    ]);
    page.store64(100, 0x1122_3344_5566_7788n);
    expect([...guestRead(machine, PAGE + 100, 8)]).toEqual([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    expect(() => page.load32(4093)).toThrow(/out of range/);
  });

  test("shows in its entry that it is in use until the last mapping ends", () => {
    const machine = startMachine();
    grant(machine, G.GTF_permit_access);
    const reader = dom0(machine).mapGrant(1, REF, true) as GrantMapping;
    expect(flagsOf(machine)).toBe(G.GTF_permit_access | G.GTF_reading);
    const writer = dom0(machine).mapGrant(1, REF, false) as GrantMapping;
    expect(flagsOf(machine)).toBe(G.GTF_permit_access | G.GTF_reading | G.GTF_writing);
    expect(writer.unmap()).toBe(G.GNTST_okay);
    expect(flagsOf(machine)).toBe(G.GTF_permit_access | G.GTF_reading);
    expect(reader.unmap()).toBe(G.GNTST_okay);
    expect(flagsOf(machine)).toBe(G.GTF_permit_access);
    expect(reader.unmap()).toBe(G.GNTST_bad_handle);
  });

  test("that is in use is its first user's, and stands for what the first use found (Xen: map_grant_ref)", () => {
    const machine = startMachine();
    grant(machine, G.GTF_permit_access);
    guestWrite(machine, PAGE, Uint8Array.of(7));
    const first = dom0(machine).mapGrant(1, REF, true) as GrantMapping;
    // The guest rewrites the entry under the mapping: another page, for another domain, then none.
    grant(machine, G.GTF_permit_access | G.GTF_reading, 5, (PAGE >>> 12) + 1);
    const second = dom0(machine).mapGrant(1, REF, true) as GrantMapping;
    expect(second.load8(0)).toBe(7);
    expect(machine.xen.serviceDomain(5).mapGrant(1, REF, true)).toBe(G.GNTST_general_error);
    expect(dom0(machine).mapGrant(1, REF, false)).toBe(G.GNTST_general_error);
    first.unmap();
    second.unmap();
    expect(machine.xen.serviceDomain(5).mapGrant(1, REF, true)).toMatchObject({ readOnly: true });
  });

  // The statuses are those of Xen's map_grant_ref, _set_status_v1 and get_paged_frame (common/grant_table.c).
  test.each<[string, (machine: TestMachine) => void, boolean, number]>([
    ["that was never granted", () => undefined, true, G.GNTST_general_error],
    ["granted to somebody else", (machine) => grant(machine, 1, 7), true, G.GNTST_general_error],
    ["granted for reading, to be written", (machine) => grant(machine, 1 | 4), false, G.GNTST_general_error],
    ["offered for a transfer", (machine) => grant(machine, 2), true, G.GNTST_general_error],
    ["that is no memory", (machine) => grant(machine, 1, 0, 0xf_0000), true, G.GNTST_bad_page],
    [
      "that is shared_info",
      (machine) => {
        machine.domain.p2m.set(0x8_0000, machine.domain.sharedInfoFrame, 2);
        grant(machine, 1, 0, 0x8_0000);
      },
      true,
      G.GNTST_bad_page,
    ],
  ])("%s cannot be mapped", (_what, prepare, readOnly, status) => {
    const machine = startMachine();
    prepare(machine);
    const before = flagsOf(machine);
    expect(dom0(machine).mapGrant(1, REF, readOnly)).toBe(status);
    expect(flagsOf(machine)).toBe(before);
    expect(machine.of("grant-map").at(-1)).toMatchObject({ ref: REF, status });
  });

  test("of a domain or a table that does not reach so far cannot be mapped", () => {
    const machine = startMachine();
    expect(dom0(machine).mapGrant(9, REF, true)).toBe(G.GNTST_bad_domain);
    expect(dom0(machine).mapGrant(1, 512, true)).toBe(G.GNTST_bad_gntref);
    expect(dom0(machine).mapGrant(1, 0xffff_ffff, true)).toBe(G.GNTST_bad_gntref);
  });

  test("is copied by the hypervisor inside one page only", () => {
    const machine = startMachine();
    grant(machine, G.GTF_permit_access);
    expect(dom0(machine).copyToGrant(1, REF, 4090, Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(G.GNTST_okay);
    expect(dom0(machine).copyFromGrant(1, REF, 4092, 4)).toEqual(Uint8Array.of(3, 4, 5, 6));
    expect(dom0(machine).copyFromGrant(1, REF, 4093, 4)).toBe(G.GNTST_bad_copy_arg);
    expect(flagsOf(machine)).toBe(G.GTF_permit_access);
  });

  test("outlives its domain while it is mapped", () => {
    const machine = startMachine();
    grant(machine, G.GTF_permit_access);
    guestWrite(machine, PAGE, Uint8Array.of(42));
    const page = dom0(machine).mapGrant(1, REF, true) as GrantMapping;
    const before = machine.xen.frames.available;
    machine.xen.destroyDomain(1);
    const freed = machine.xen.frames.available - before;
    expect(freed).toBeGreaterThan(2000);
    expect(page.load8(0)).toBe(42);
    page.unmap();
    expect(machine.xen.frames.available - before).toBe(freed + 1);
  });
});

describe("grant_table_op", () => {
  const operation = (machine: TestMachine, number: number, argument: Uint8Array, count = 1): number => {
    guestWrite(machine, ARGUMENT, argument);
    return hypercall(machine, XEN_H.__HYPERVISOR_grant_table_op, number, ARGUMENT, count);
  };

  test("answers the size of the table and grows it on request", () => {
    const machine = startMachine();
    const setup = create(GNTTAB_SETUP_TABLE, { dom: XEN_H.DOMID_SELF, nr_frames: 3, frame_list: ARGUMENT + 256 });
    expect(operation(machine, G.GNTTABOP_setup_table, setup)).toBe(0);
    expect(decode(GNTTAB_SETUP_TABLE, guestRead(machine, ARGUMENT, 16)).status).toBe(G.GNTST_okay);
    expect(operation(machine, G.GNTTABOP_query_size, create(GNTTAB_QUERY_SIZE, { dom: 1 }))).toBe(0);
    const size = decode(GNTTAB_QUERY_SIZE, guestRead(machine, ARGUMENT, 16));
    expect(size).toMatchObject({ nr_frames: 3, max_nr_frames: 64, status: G.GNTST_okay });
  });

  test("refuses a table without end and a frame list outside of memory in the element's status", () => {
    const machine = startMachine();
    for (const [frames, list, status] of [
      [65, ARGUMENT + 256, G.GNTST_general_error],
      [0xffff_ffff, ARGUMENT + 256, G.GNTST_general_error],
      [1, 0xf000_0000, G.GNTST_bad_virt_addr],
    ] as const) {
      const setup = create(GNTTAB_SETUP_TABLE, { dom: XEN_H.DOMID_SELF, nr_frames: frames, frame_list: list });
      expect(operation(machine, G.GNTTABOP_setup_table, setup)).toBe(0);
      expect(decode(GNTTAB_SETUP_TABLE, guestRead(machine, ARGUMENT, 16)).status).toBe(status);
    }
  });

  test("maps another domain's page into the guest and takes it away again", () => {
    const machine = startMachine();
    grant(machine, G.GTF_permit_access | G.GTF_readonly, 1);
    guestWrite(machine, PAGE, Uint8Array.of(7));
    const hole = 0x8000_0000;
    const flags = G.GNTMAP_host_map | G.GNTMAP_readonly;
    const map = create(GNTTAB_MAP_GRANT_REF, { host_addr: BigInt(hole), flags, ref: REF, dom: 1 });
    expect(operation(machine, G.GNTTABOP_map_grant_ref, map)).toBe(0);
    const mapped = decode(GNTTAB_MAP_GRANT_REF, guestRead(machine, ARGUMENT, 32));
    expect(mapped.status).toBe(G.GNTST_okay);
    expect(guestRead(machine, hole, 1)[0]).toBe(7);
    expect(machine.domain.p2m.writable(hole >>> 12)).toBe(false);
    const unmap = create(GNTTAB_UNMAP_GRANT_REF, { host_addr: BigInt(hole), handle: mapped.handle });
    expect(operation(machine, G.GNTTABOP_unmap_grant_ref, unmap)).toBe(0);
    expect(machine.domain.p2m.frameOf(hole >>> 12)).toBe(-1);
    expect(flagsOf(machine)).toBe(G.GTF_permit_access | G.GTF_readonly);
  });

  test("does not map over the guest's own memory", () => {
    const machine = startMachine();
    grant(machine, G.GTF_permit_access, 1);
    const map = create(GNTTAB_MAP_GRANT_REF, { host_addr: 0x1000n, flags: G.GNTMAP_host_map, ref: REF, dom: 1 });
    operation(machine, G.GNTTABOP_map_grant_ref, map);
    expect(decode(GNTTAB_MAP_GRANT_REF, guestRead(machine, ARGUMENT, 32)).status).toBe(G.GNTST_bad_virt_addr);
  });

  test("refuses transfers, version 2 and endless batches", () => {
    const machine = startMachine();
    const { __HYPERVISOR_grant_table_op: op } = XEN_H;
    expect(hypercall(machine, op, G.GNTTABOP_transfer, ARGUMENT, 1)).toBe(-38);
    expect(operation(machine, G.GNTTABOP_set_version, Uint8Array.of(2, 0, 0, 0))).toBe(-38);
    expect(operation(machine, G.GNTTABOP_set_version, Uint8Array.of(1, 0, 0, 0))).toBe(0);
    expect(operation(machine, G.GNTTABOP_dump_table, create(GNTTAB_QUERY_SIZE, {}), 0xffff_ffff)).toBe(-22);
    expect(hypercall(machine, op, G.GNTTABOP_copy, 0xfff0_0000, 1)).toBe(-14);
  });
});
