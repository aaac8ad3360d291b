import { describe, expect, test } from "vitest";
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PSE, OFFSET } from "../../src/cpu/state.ts";
import { MEMORY_H as M, XEN_H } from "../../src/xen/abi/constants.ts";
import { create, decode } from "../../src/xen/abi/layout.ts";
import {
  XEN_ADD_TO_PHYSMAP,
  XEN_MEMORY_DOMAIN,
  XEN_MEMORY_MAP,
  XEN_MEMORY_RESERVATION,
  XEN_REMOVE_FROM_PHYSMAP,
} from "../../src/xen/abi/structures.ts";
import { guestRead, guestWrite, hypercall, MIB, startMachine, type TestMachine } from "./support.ts";

const ARGUMENT = 0x20_0000;

function memoryOp(machine: TestMachine, number: number, argument: Uint8Array): number {
  guestWrite(machine, ARGUMENT, argument);
  return hypercall(machine, XEN_H.__HYPERVISOR_memory_op, number, ARGUMENT);
}

const place = (machine: TestMachine, space: number, idx: number, gpfn: number, domid: number = XEN_H.DOMID_SELF) =>
  memoryOp(machine, M.XENMEM_add_to_physmap, create(XEN_ADD_TO_PHYSMAP, { domid, space, idx, gpfn }));

const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

describe("memory_op", () => {
  test("gives the memory map packed, as the BIOS would", () => {
    const machine = startMachine();
    const map = create(XEN_MEMORY_MAP, { nr_entries: 32, buffer: ARGUMENT + 64 });
    expect(memoryOp(machine, M.XENMEM_memory_map, map)).toBe(0);
    expect(decode(XEN_MEMORY_MAP, guestRead(machine, ARGUMENT, 8)).nr_entries).toBe(2);
    const [first, second] = [0, 20].map((at) => new DataView(guestRead(machine, ARGUMENT + 64 + at, 20).buffer));
    expect([first!.getBigUint64(0, true), first!.getBigUint64(8, true), first!.getUint32(16, true)]).toEqual([
      0n,
      BigInt(8 * MIB),
      1,
    ]);
    expect([second!.getBigUint64(0, true), second!.getUint32(16, true)]).toEqual([0xfeff_8000n, 2]);
    expect(memoryOp(machine, M.XENMEM_memory_map, create(XEN_MEMORY_MAP, { nr_entries: 1 }))).toBe(-22);
    const outside = create(XEN_MEMORY_MAP, { nr_entries: 32, buffer: 0xf000_0000 });
    expect(memoryOp(machine, M.XENMEM_memory_map, outside)).toBe(-14);
  });

  test("shared_info and the grant table appear where the guest wants them, also below 1 MiB", () => {
    const machine = startMachine();
    expect(place(machine, M.XENMAPSPACE_shared_info, 0, 0x9f)).toBe(0);
    expect(machine.domain.p2m.frameOf(0x9f)).toBe(machine.domain.sharedInfoFrame);
    expect(place(machine, M.XENMAPSPACE_grant_table, 2, 0x8_0000)).toBe(0);
    expect(machine.domain.grants.frameCount).toBe(3);
    expect(machine.domain.p2m.frameOf(0x8_0000)).toBe(machine.domain.grants.frame(2));
    expect(machine.domain.p2m.stale).toBe(true);
  });

  test("refuses what is not the domain's or not there", () => {
    const machine = startMachine();
    expect([
      place(machine, M.XENMAPSPACE_shared_info, 1, 0x8_0000),
      place(machine, M.XENMAPSPACE_grant_table, 64, 0x8_0000),
      place(machine, M.XENMAPSPACE_grant_table, M.XENMAPIDX_grant_table_status, 0x8_0000),
      place(machine, 77, 0, 0x8_0000),
      place(machine, M.XENMAPSPACE_shared_info, 0, 0x8_0000, 3),
      place(machine, M.XENMAPSPACE_shared_info, 0, 0x8_0000, 0),
    ]).toEqual([-22, -22, -22, -22, -3, -1]);
    expect(machine.domain.p2m.frameOf(0x8_0000)).toBe(-1);
    const nothing = create(XEN_REMOVE_FROM_PHYSMAP, { domid: XEN_H.DOMID_SELF, gpfn: 0x8_0000 });
    expect(memoryOp(machine, M.XENMEM_remove_from_physmap, nothing)).toBe(-2);
    expect(memoryOp(machine, M.XENMEM_set_memory_map, new Uint8Array(16))).toBe(-38);
  });

  test("memory that the guest gives back it can have again, not more", () => {
    const machine = startMachine();
    const { domain } = machine;
    const pages = domain.p2m.ramPages;
    const request = create(XEN_MEMORY_RESERVATION, {
      extent_start: ARGUMENT + 64,
      nr_extents: 2,
      domid: XEN_H.DOMID_SELF,
    });
    guestWrite(machine, ARGUMENT + 64, words(0x300, 0x301));
    expect(memoryOp(machine, M.XENMEM_decrease_reservation, request)).toBe(2);
    expect([domain.p2m.ramPages, domain.p2m.frameOf(0x300)]).toEqual([pages - 2, -1]);
    guestWrite(machine, ARGUMENT + 64, words(0x8_0000, 0x8_0001, 0x8_0002));
    const three = create(XEN_MEMORY_RESERVATION, { extent_start: ARGUMENT + 64, nr_extents: 3, domid: 1 });
    expect(memoryOp(machine, M.XENMEM_populate_physmap, three)).toBe(2);
    expect(domain.p2m.ramPages).toBe(pages);
    const self = create(XEN_MEMORY_DOMAIN, { domid: XEN_H.DOMID_SELF });
    for (const gfn of [0xfeffc, 0xfefff]) domain.p2m.clear(gfn);
    expect(memoryOp(machine, M.XENMEM_maximum_gpfn, self)).toBe(0x8_0001);
    expect(memoryOp(machine, M.XENMEM_maximum_gpfn, create(XEN_MEMORY_DOMAIN, { domid: 3 }))).toBe(-3);
  });
});

describe("hypercall pointers with paging on", () => {
  const DIRECTORY = 0x30_0000;
  const TABLE = 0x30_1000;
  const PRESENT = 1;
  const WRITABLE = 2;
  const ACCESSED = 32;
  const DIRTY = 64;
  const entry = (machine: TestMachine, address: number): number =>
    new DataView(guestRead(machine, address, 4).buffer).getUint32(0, true);

  function paged(cr0: number, cr4: number): TestMachine {
    const machine = startMachine();
    const { state } = machine.processor;
    state.cr0 = (state.cr0 | CR0_PG | cr0) >>> 0;
    state.cr3 = DIRECTORY;
    state.cr4 |= cr4;
    return machine;
  }

  test("go through the guest's tables and leave accessed and dirty bits", () => {
    const machine = paged(0, 0);
    guestWrite(machine, DIRECTORY, words(TABLE | PRESENT | WRITABLE));
    guestWrite(machine, TABLE + 4, words(0x40_0000 | PRESENT | WRITABLE, 0x50_0000 | PRESENT | WRITABLE));
    guestWrite(machine, 0x40_0ffe, Uint8Array.of(1, 2));
    guestWrite(machine, 0x50_0000, Uint8Array.of(3, 4));
    const { access } = machine.domain;
    expect(access.read(0x1ffe, 4)).toEqual(Uint8Array.of(1, 2, 3, 4));
    expect(entry(machine, TABLE + 4) & (ACCESSED | DIRTY)).toBe(ACCESSED);
    expect(access.write(0x2000, Uint8Array.of(9))).toBe(true);
    expect(entry(machine, TABLE + 8) & (ACCESSED | DIRTY)).toBe(ACCESSED | DIRTY);
    expect(guestRead(machine, 0x50_0000, 1)[0]).toBe(9);
    expect(access.read(0x2ffe, 4)).toBeUndefined();
    expect(access.read(0x40_0000, 1)).toBeUndefined();
  });

  test("respect read-only pages only with CR0.WP, as supervisor code does", () => {
    for (const [cr0, writable] of [
      [0, true],
      [CR0_WP, false],
    ] as const) {
      const machine = paged(cr0, CR4_PSE);
      guestWrite(machine, DIRECTORY, words(0x40_0000 | PRESENT | 0x80));
      expect(machine.domain.access.read(0x123, 1)).toEqual(Uint8Array.of(0));
      expect(machine.domain.access.write(0x123, Uint8Array.of(5))).toBe(writable);
      expect(guestRead(machine, 0x40_0123, 1)[0]).toBe(writable ? 5 : 0);
    }
  });

  test("go through PAE tables", () => {
    const machine = paged(0, CR4_PAE);
    machine.processor.state.set64(OFFSET.pdpte + 8, BigInt(DIRECTORY | PRESENT));
    guestWrite(machine, DIRECTORY, words(TABLE | PRESENT | WRITABLE, 0, 0x60_0000 | PRESENT | WRITABLE | 0x80, 0));
    guestWrite(machine, TABLE, words(0x40_0000 | PRESENT | WRITABLE, 0));
    expect(machine.domain.access.write(0x4000_0010, Uint8Array.of(8))).toBe(true);
    expect(guestRead(machine, 0x40_0010, 1)[0]).toBe(8);
    expect(machine.domain.access.write(0x4020_0010, Uint8Array.of(6))).toBe(true);
    expect(guestRead(machine, 0x60_0010, 1)[0]).toBe(6);
    expect(machine.domain.access.read(0x10, 1)).toBeUndefined();
    // Beyond the guest's memory: an address above 4 GiB.
    guestWrite(machine, TABLE + 4, words(1));
    expect(machine.domain.access.read(0x4000_0010, 1)).toBeUndefined();
  });

  test("past the end of the address space wrap around", () => {
    const machine = startMachine();
    expect(machine.domain.access.read(0xffff_fffe, 4)).toBeUndefined();
    expect(machine.domain.access.read(8 * MIB - 2, 4)).toBeUndefined();
    expect(machine.domain.access.read(8 * MIB - 4, 4)).toHaveLength(4);
  });
});
