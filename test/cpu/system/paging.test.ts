import { beforeEach, describe, expect, test } from "vitest";
import { PAGE_FAULT } from "../../../src/cpu/context.ts";
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PGE, CR4_PSE, OFFSET } from "../../../src/cpu/state.ts";
import { FETCH, loadPdptes, type Translation, USER, WRITE, walk } from "../../../src/cpu/system/index.ts";
import { FakeCpu } from "./fake-cpu.ts";

const DIRECTORY = 0x1_0000;
const TABLE = 0x1_1000;
const PDPT = 0x1_2000;
const PRESENT = 1;
const RW = 2;
const US = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const LARGE = 0x80;
const GLOBAL = 0x100;
const XD = 0x8000_0000;

let cpu: FakeCpu;

/** The translation, or the page fault's error code. */
function at(linear: number, access = 0): Translation | number | "exit" {
  let result: Translation | undefined;
  const raised = cpu.attempt(() => {
    result = { ...walk(cpu, linear, access) };
  });
  if (raised === "exit") return "exit";
  if (raised === undefined) return result as Translation;
  expect(raised.vector).toBe(PAGE_FAULT);
  expect(cpu.faultAddress).toBe(linear);
  return raised.errorCode;
}

describe("32-bit paging", () => {
  beforeEach(() => {
    cpu = new FakeCpu().enterFlat();
    cpu.state.cr0 |= CR0_PG;
    cpu.state.cr3 = DIRECTORY;
    cpu.set32(DIRECTORY + 4 * 0x300, TABLE | PRESENT | RW | US);
    cpu.set32(TABLE + 4 * 5, 0x9000 | PRESENT | RW | US);
  });

  test("without paging, linear addresses are physical and everything is permitted", () => {
    cpu.state.cr0 &= ~CR0_PG;
    expect(at(0x1234, WRITE | USER)).toEqual({
      physical: 0x1234,
      guestPhysical: 0x1234,
      writable: true,
      executable: true,
      global: false,
      largePage: false,
    });
  });

  test("a 4-KByte page is found through directory and table", () => {
    expect(at(0xc000_5678)).toMatchObject({ physical: 0x9678, largePage: false, executable: true });
  });

  test("a read sets accessed flags in both levels; only a write sets the dirty flag of the page", () => {
    expect(at(0xc000_5000)).toMatchObject({ writable: false });
    expect(cpu.get32(DIRECTORY + 4 * 0x300) & (ACCESSED | DIRTY)).toBe(ACCESSED);
    expect(cpu.get32(TABLE + 20) & (ACCESSED | DIRTY)).toBe(ACCESSED);
    expect(at(0xc000_5000, WRITE)).toMatchObject({ writable: true });
    expect(cpu.get32(DIRECTORY + 4 * 0x300) & DIRTY).toBe(0);
    expect(cpu.get32(TABLE + 20) & DIRTY).toBe(DIRTY);
  });

  test("an absent entry at either level faults with P clear, and leaves accessed flags alone", () => {
    expect(at(0)).toBe(0);
    expect(at(0, WRITE)).toBe(2);
    expect(at(0xc000_6000, WRITE | USER)).toBe(6);
    expect(cpu.get32(DIRECTORY + 4 * 0x300) & ACCESSED).toBe(0);
  });

  test("user mode needs U/S in both entries", () => {
    cpu.set32(DIRECTORY + 4 * 0x300, TABLE | PRESENT | RW);
    expect(at(0xc000_5000, USER)).toBe(5);
    expect(at(0xc000_5000, USER | WRITE)).toBe(7);
    expect(at(0xc000_5000)).toMatchObject({ physical: 0x9000 });
  });

  test("a read-only page stops user writes always and supervisor writes with CR0.WP", () => {
    cpu.set32(TABLE + 20, 0x9000 | PRESENT | US);
    expect(at(0xc000_5000, USER | WRITE)).toBe(7);
    expect(at(0xc000_5000, WRITE)).toMatchObject({ writable: true });
    cpu.state.cr0 |= CR0_WP;
    expect(at(0xc000_5000, WRITE)).toBe(3);
    expect(cpu.get32(TABLE + 20) & DIRTY).toBe(DIRTY);
  });

  test("CR4.PSE makes PS a 4-MByte page, whose bits 21:13 are reserved", () => {
    cpu.set32(DIRECTORY + 4, 0x0000_0000 | PRESENT | RW | LARGE);
    cpu.state.cr4 |= CR4_PSE;
    expect(at(0x0041_2345, WRITE)).toMatchObject({ physical: 0x1_2345, largePage: true, writable: true });
    expect(cpu.get32(DIRECTORY + 4) & (ACCESSED | DIRTY)).toBe(ACCESSED | DIRTY);
    cpu.set32(DIRECTORY + 4, 0x0000_2000 | PRESENT | RW | LARGE);
    expect(at(0x0041_2345, WRITE)).toBe(1 | 2 | 8);
  });

  test("without CR4.PSE the PS flag is ignored", () => {
    cpu.set32(DIRECTORY + 4 * 0x300, TABLE | PRESENT | RW | US | LARGE);
    expect(at(0xc000_5000)).toMatchObject({ physical: 0x9000, largePage: false });
  });

  test("the global flag counts with CR4.PGE", () => {
    cpu.set32(TABLE + 20, 0x9000 | PRESENT | GLOBAL);
    expect(at(0xc000_5000)).toMatchObject({ global: false });
    cpu.state.cr4 |= CR4_PGE;
    expect(at(0xc000_5000)).toMatchObject({ global: true });
  });

  test("a page outside RAM is open bus", () => {
    cpu.set32(TABLE + 20, 0xfee0_0000 | PRESENT | RW);
    expect(at(0xc000_5030, WRITE)).toMatchObject({ physical: -1, guestPhysical: 0xfee0_0030 });
  });

  test("a page that the EPT protects exits after the guest's own checks", () => {
    cpu.vmx.eptDenied.set(0x9000, 2);
    expect(at(0xc000_5678, WRITE)).toBe("exit");
    expect(cpu.vmx.fields).toEqual({ guestPhysical: 0x9678 });
    expect(at(0xc000_5000)).toMatchObject({ physical: 0x9000, writable: false });
    cpu.set32(TABLE + 20, 0);
    expect(at(0xc000_5678, WRITE)).toBe(2);
  });

  test("setting an accessed flag in a table that the EPT write-protects exits, with the entry's address", () => {
    cpu.vmx.eptDenied.set(TABLE, 2);
    expect(at(0xc000_5678)).toBe("exit");
    expect(cpu.vmx.fields).toEqual({ guestPhysical: TABLE + 20 });
    cpu.set32(TABLE + 20, 0x9000 | PRESENT | ACCESSED);
    expect(at(0xc000_5678)).toMatchObject({ physical: 0x9678 });
  });
});

describe("PAE paging", () => {
  beforeEach(() => {
    cpu = new FakeCpu().enterFlat();
    cpu.state.cr0 |= CR0_PG;
    cpu.state.cr4 |= CR4_PAE;
    cpu.state.set(OFFSET.efer, 1 << 11);
    cpu.set32(PDPT + 24, DIRECTORY | PRESENT);
    cpu.set32(DIRECTORY, TABLE | PRESENT | RW | US);
    cpu.set32(TABLE + 8 * 5, 0x9000 | PRESENT | RW | US);
    loadPdptes(cpu, PDPT);
  });

  test("a 4-KByte page is found through the PDPTE registers", () => {
    cpu.set32(PDPT + 24, 0);
    expect(at(0xc000_5678, WRITE)).toMatchObject({ physical: 0x9678, writable: true });
    expect(cpu.get32(TABLE + 40) & (ACCESSED | DIRTY)).toBe(ACCESSED | DIRTY);
    expect(at(0x4000_0000, USER)).toBe(4);
  });

  test("execute-disable at either level stops fetches, with I/D in the error code", () => {
    expect(at(0xc000_5000, FETCH)).toMatchObject({ executable: true });
    cpu.set32(DIRECTORY + 4, XD);
    expect(at(0xc000_5000, FETCH | USER)).toBe(1 | 4 | 16);
    expect(at(0xc000_5000)).toMatchObject({ executable: false });
    expect(at(0xc000_6000, FETCH)).toBe(16);
  });

  test("without EFER.NXE bit 63 is reserved and fetches are not told from reads", () => {
    cpu.state.set(OFFSET.efer, 0);
    cpu.set32(TABLE + 44, XD);
    expect(at(0xc000_5000)).toBe(1 | 8);
    expect(at(0xc000_6000, FETCH)).toBe(0);
  });

  test("address bits beyond the physical-address width are reserved", () => {
    cpu.set32(TABLE + 44, 1 << 4);
    expect(at(0xc000_5000, WRITE)).toBe(1 | 2 | 8);
    cpu.set32(TABLE + 44, 0xf);
    expect(at(0xc000_5000, WRITE)).toMatchObject({ physical: -1 });
  });

  test("a 2-MByte page needs no CR4.PSE; its bits 20:13 are reserved", () => {
    cpu.set32(DIRECTORY, PRESENT | RW | LARGE);
    expect(at(0xc01a_bcde)).toMatchObject({ physical: 0x1a_bcde, largePage: true });
    cpu.set32(DIRECTORY, PRESENT | RW | LARGE | 0x4000);
    expect(at(0xc01a_bcde)).toBe(9);
  });

  test("a PDPTE with a reserved bit is #GP(0) and leaves the registers as they were", () => {
    cpu.set32(PDPT, 0x5000 | PRESENT);
    cpu.set32(PDPT + 8, 0x5000 | PRESENT | RW);
    expect(cpu.attempt(() => loadPdptes(cpu, PDPT))).toEqual({ vector: 13, errorCode: 0 });
    expect(cpu.state.get(OFFSET.pdpte)).toBe(0);
    cpu.set32(PDPT + 8, RW);
    loadPdptes(cpu, PDPT);
    expect(cpu.state.get(OFFSET.pdpte)).toBe(0x5001);
  });
});
