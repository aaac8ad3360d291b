import { expect, test } from "vitest";
import { GuestMemory } from "../../../src/core/memory.ts";
import { EPT_MISCONFIGURED, EPT_VIOLATED, Ept } from "../../../src/cpu/vmx/ept.ts";
import { EXIT } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS } from "../../../src/cpu/vmx/fields.ts";
import { EMULATED, EXITED, OPEN_BUS } from "../../../src/cpu/vmx/intercepts.ts";
import { type Fields, ScriptedProcessor } from "./guest.ts";

const PML4 = 0x1000;
const PDPT = 0x2000;
const PD = 0x3000;
const PT = 0x4000;
const WRITE_BACK = 6 << 3;

/** Tables for guest-physical 1 GiB + 2 MiB + 4 KiB, all permissions above the page's entry. */
const GUEST_PAGE = 0x4020_1000;
const SLOTS = { pml4e: PML4, pdpte: PDPT + 8, pde: PD + 8, pte: PT + 8 } as const;

function tables(pte = 0x5000 | WRITE_BACK | 7) {
  const memory = new GuestMemory(new WebAssembly.Memory({ initial: 1, maximum: 1 }), 0, 0x1_0000);
  memory.store32(SLOTS.pml4e, PDPT | 7);
  memory.store32(SLOTS.pdpte, PD | 7);
  memory.store32(SLOTS.pde, PT | 7);
  memory.store32(SLOTS.pte, pte);
  return { memory, ept: new Ept(memory) };
}

test("four levels lead to a 4-KByte page, two to 1 GByte, three to 2 MByte", () => {
  const { memory, ept } = tables();
  expect(ept.translate(PML4, false, GUEST_PAGE + 0x123, 1)).toBe(0x5123);
  memory.store32(SLOTS.pde, 0x8000_0000 | WRITE_BACK | 0x87);
  expect(ept.translate(PML4, false, GUEST_PAGE + 0x123, 1)).toBe(0x8000_1123);
  memory.store32(SLOTS.pdpte, 0xc000_0000 | WRITE_BACK | 0x87);
  expect(ept.translate(PML4, false, GUEST_PAGE + 0x123, 1)).toBe(0xc020_1123);
});

test("host-physical addresses reach beyond 4 GBytes", () => {
  const { memory, ept } = tables();
  memory.store32(SLOTS.pte + 4, 0xf);
  expect(ept.translate(PML4, false, GUEST_PAGE, 1)).toBe(0xf_0000_5000);
  memory.store32(SLOTS.pte + 4, 0x10);
  expect(ept.translate(PML4, false, GUEST_PAGE, 1)).toBe(EPT_MISCONFIGURED);
});

test("every pair of permissions and access is permitted, violated or misconfigured as SDM §29.3.3 says", () => {
  for (let permissions = 0; permissions < 8; permissions++) {
    for (const access of [1, 2, 4, 3]) {
      const { ept } = tables(0x5000 | WRITE_BACK | permissions);
      const writeOnly = (permissions & 3) === 2;
      const expected = writeOnly ? EPT_MISCONFIGURED : (permissions & access) === access ? 0x5000 : EPT_VIOLATED;
      expect(ept.translate(PML4, false, GUEST_PAGE, access), `${permissions} ${access}`).toBe(expected);
      if (!writeOnly) expect(ept.permissions).toBe(permissions);
    }
  }
});

test("permissions of all levels are combined", () => {
  for (const slot of [SLOTS.pml4e, SLOTS.pdpte, SLOTS.pde]) {
    const { memory, ept } = tables();
    memory.store32(slot, memory.load32(slot) & ~2);
    expect(ept.translate(PML4, false, GUEST_PAGE, 2)).toBe(EPT_VIOLATED);
    expect(ept.permissions).toBe(5);
    memory.store32(slot, 0);
    expect(ept.translate(PML4, false, GUEST_PAGE, 1)).toBe(EPT_VIOLATED);
    expect(ept.permissions).toBe(0);
  }
});

test("reserved bits of each kind of entry misconfigure, its other bits do not (SDM tables 29-1 to 29-7)", () => {
  const page = WRITE_BACK | 7;
  const kinds: readonly (readonly [keyof typeof SLOTS, number, readonly number[], readonly number[]])[] = [
    ["pml4e", PDPT | 7, [3, 4, 5, 6, 7], [8, 9, 10, 11]],
    ["pdpte", PD | 7, [3, 4, 5, 6], [8, 9, 10, 11]],
    ["pdpte", 0x4000_0000 | 0x80 | page, [12, 20, 29], [6, 8, 9, 11]],
    ["pde", PT | 7, [3, 4, 5, 6], [8, 9, 10, 11]],
    ["pde", 0x20_0000 | 0x80 | page, [12, 20], [6, 8, 9, 11, 21, 29]],
    ["pte", 0x5000 | page, [], [6, 7, 8, 9, 10, 11]],
  ];
  for (const [slot, entry, reserved, free] of kinds) {
    for (const bit of [...reserved, ...free]) {
      const { memory, ept } = tables();
      memory.store32(SLOTS[slot], (entry | (1 << bit)) >>> 0);
      const result = ept.translate(PML4, false, GUEST_PAGE, 1);
      expect(result === EPT_MISCONFIGURED, `${slot} bit ${bit}`).toBe(reserved.includes(bit));
    }
  }
});

test("memory types UC, WC, WT, WP and WB are valid, the rest misconfigures", () => {
  for (let type = 0; type < 8; type++) {
    const { ept } = tables(0x5000 | (type << 3) | 7);
    expect(ept.translate(PML4, false, GUEST_PAGE, 1)).toBe([2, 3, 7].includes(type) ? EPT_MISCONFIGURED : 0x5000);
  }
});

test("tables outside memory read all ones, which misconfigures", () => {
  const { memory, ept } = tables();
  expect(ept.translate(0x10_0000, false, GUEST_PAGE, 1)).toBe(EPT_MISCONFIGURED);
  memory.store32(SLOTS.pde, 0x7fff_f007);
  expect(ept.translate(PML4, false, GUEST_PAGE, 1)).toBe(EPT_MISCONFIGURED);
});

test("accessed flags are set on the way, the dirty flag by the first write, and only then may writes be cached", () => {
  const { memory, ept } = tables();
  ept.translate(PML4, true, GUEST_PAGE, 1);
  expect(ept.permissions).toBe(5);
  for (const slot of Object.values(SLOTS)) expect(memory.load32(slot) & 0x300).toBe(0x100);
  ept.translate(PML4, true, GUEST_PAGE, 2);
  expect(ept.permissions).toBe(7);
  expect(memory.load32(SLOTS.pte) & 0x300).toBe(0x300);
  expect(memory.load32(SLOTS.pde) & 0x300).toBe(0x100);
});

test("without accessed and dirty flags the tables stay as they are", () => {
  const { memory, ept } = tables();
  ept.translate(PML4, false, GUEST_PAGE, 2);
  for (const slot of Object.values(SLOTS)) expect(memory.load32(slot) & 0x300).toBe(0);
});

/** A guest of which guest-physical 0 is mapped with `pde` as one large page; it has entered once. */
function running(pde: number, changes: Fields = {}): ScriptedProcessor {
  const cpu = ScriptedProcessor.withGuest(changes);
  cpu.vmx.vmlaunch(1);
  cpu.memory.store32(0x6000, pde);
  return cpu;
}

/** The exit of an access, which is thrown during a page walk and else a result; undefined without one. */
function exitOf(cpu: ScriptedProcessor, access: () => number): Record<string, number> | undefined {
  try {
    if (access() !== EXITED) return undefined;
  } catch (thrown) {
    expect(thrown).toBe(cpu.vmx.signal);
  }
  return {
    reason: cpu.vmx.vmread(VMCS.EXIT_REASON),
    qualification: cpu.vmx.vmread(VMCS.EXIT_QUALIFICATION),
    physical: cpu.vmx.vmread(VMCS.GUEST_PHYSICAL_ADDRESS),
    linear: cpu.vmx.vmread(VMCS.GUEST_LINEAR_ADDRESS),
  };
}

const READ_ONLY = 0x80 | WRITE_BACK | 5;

test("an EPT violation tells access, permissions, the linear address and what it was for", () => {
  const cpu = running(READ_ONLY);
  expect(exitOf(cpu, () => cpu.vmx.translate(0x1234, 2, 0xc000_1234, false))).toEqual({
    reason: EXIT.EPT_VIOLATION,
    qualification: 2 | (5 << 3) | 0x180,
    physical: 0x1234,
    linear: 0xc000_1234,
  });
  expect(exitOf(cpu, () => cpu.vmx.translate(0x1234, 2, 0xc000_1234, true))?.qualification).toBe(2 | (5 << 3) | 0x80);
  expect(exitOf(cpu, () => cpu.vmx.translate(0x20_0000, 1, -1, true))).toEqual({
    reason: EXIT.EPT_VIOLATION,
    qualification: 1,
    physical: 0x20_0000,
    linear: 0,
  });
  expect(exitOf(cpu, () => cpu.vmx.translate(0xf_0000_0000, 1, 0, false))?.physical).toBe(0xf_0000_0000);
});

test("an EPT misconfiguration tells the guest-physical address", () => {
  const cpu = running(0x80 | WRITE_BACK | 2);
  expect(exitOf(cpu, () => cpu.vmx.translate(0x1234, 1, 0, false))).toEqual({
    reason: EXIT.EPT_MISCONFIGURATION,
    qualification: 0,
    physical: 0x1234,
    linear: 0,
  });
});

test("with accessed and dirty flags a page walk counts as a write", () => {
  const cpu = running(READ_ONLY, { EPT_POINTER: 0x4000 | (3 << 3) | 6 | 0x40 });
  expect(exitOf(cpu, () => cpu.vmx.translate(0x1000, 1, 0, true))?.qualification).toBe(3 | (5 << 3) | 0x80);
  expect(cpu.vmx.translate(0x1000, 1, 0, false)).toBe(0x1000);
});

test("a mapping beyond memory is open bus, and a guest without EPT uses host-physical addresses", () => {
  const mapped = running(0x20_0000 | 0x80 | WRITE_BACK | 7);
  expect(mapped.vmx.translate(0, 1, 0, false)).toBe(OPEN_BUS);
  const unmapped = running(0, { SECONDARY_CONTROLS: 0x20, GUEST_CR0: 0x8000_0031 });
  expect(unmapped.vmx.translate(0x7abc, 2, 0, false)).toBe(0x7000);
  expect(unmapped.vmx.translate(0x1000_0000, 2, 0, false)).toBe(OPEN_BUS);
});

test("while the hypervisor emulates, what the EPT refuses is emulated and no exit is recorded", () => {
  const cpu = running(READ_ONLY);
  const before = cpu.vmx.vmread(VMCS.EXIT_REASON);
  cpu.vmx.emulating = true;
  expect(cpu.vmx.translate(0x1234, 2, 0, false)).toBe(EMULATED);
  expect(cpu.vmx.eptPermissions).toBe(0);
  expect(cpu.vmx.exit(EXIT.CPUID)).toBe(cpu.vmx.signal);
  expect(cpu.vmx.vmread(VMCS.EXIT_REASON)).toBe(before);
});
