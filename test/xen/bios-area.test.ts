// C0000h to FFFFFh: ROM in front of RAM, page by page, and a guest that gives such pages away.

import { expect, test } from "vitest";
import { PAGE_SIZE } from "../../src/core/memory.ts";
import type { Domain } from "../../src/xen/domain.ts";
import type { XenHypervisor } from "../../src/xen/xen.ts";
import { MIB, startMachine } from "./support.ts";

const FIRMWARE = Uint8Array.from({ length: 0x2_0000 }, (_, index) => (index >>> 8) & 0xff);

function pc(): { xen: XenHypervisor; domain: Domain; before: number } {
  const { xen } = startMachine();
  const before = xen.frames.available;
  const boot = { firmware: FIRMWARE };
  const domain = xen.createDomain({
    kind: "hvm",
    name: "pc",
    memorySize: 2 * MIB,
    boot,
    shadowed: false,
    showsXen: true,
  });
  return { xen, domain, before };
}

const byteAt = ({ xen, domain }: { xen: XenHypervisor; domain: Domain }, address: number): number =>
  xen.processor.memory.load8(domain.p2m.frameOf(Math.floor(address / PAGE_SIZE)) * PAGE_SIZE + (address % PAGE_SIZE));

test("at power-on the firmware's end is seen through the bus, and ones below it", () => {
  const machine = pc();
  expect([0xc_0000, 0xd_ffff, 0xe_0100, 0xf_ff00].map((address) => byteAt(machine, address))).toEqual([
    ...[0xff, 0xff, 0x01, 0xff],
  ]);
  expect(byteAt(machine, 0xffff_ff00)).toBe(0xff);
});

test("RAM keeps what was written while it was behind the ROM, and is read only when the chipset says so", () => {
  const machine = pc();
  const { xen, domain } = machine;
  const area = domain.platform!.biosArea!;
  expect(area.set(0xf_0000, 0x1_0000, true, true)).toBe(true);
  expect(area.set(0xf_0000, 0x1_0000, true, true)).toBe(false);
  const host = xen.deviceModelHost(domain.domid);
  expect(byteAt(machine, 0xf_0000)).toBe(0);
  expect(host.memory.write(0xf_0000, Uint8Array.of(0x5a))).toBe(true);
  area.set(0xf_0000, 0x1_0000, false, false);
  expect(byteAt(machine, 0xf_0000)).toBe(0);
  expect(byteAt(machine, 0xf_0100)).toBe(0x01);
  area.set(0xf_0000, 0x1_0000, true, false);
  expect(byteAt(machine, 0xf_0000)).toBe(0x5a);
  expect(host.memory.write(0xf_0000, Uint8Array.of(1))).toBe(false);
});

test("a domain gives every frame back once, whatever it did with the area's pages", () => {
  const { xen, domain, before } = pc();
  const { p2m } = domain;
  const area = domain.platform!.biosArea!;
  area.set(0xc_0000, 0x4_0000, true, true);
  // As XENMEM_decrease_reservation gives pages away, and add_to_physmap puts others in their place.
  for (const gfn of [0xc0, 0xf0]) {
    const frame = p2m.frameOf(gfn);
    p2m.clear(gfn);
    xen.frames.free(frame);
  }
  const handedOut = new Set(Array.from({ length: 20 }, () => xen.frames.allocate()));
  area.set(0xc_0000, 0x4_0000, false, false);
  area.set(0xc_0000, 0x4_0000, true, true);
  expect([0xc0, 0xf0].some((gfn) => handedOut.has(p2m.frameOf(gfn)))).toBe(false);
  for (const frame of handedOut) xen.frames.free(frame!);
  xen.destroyDomain(domain.domid);
  expect(xen.frames.available).toBe(before);
});
