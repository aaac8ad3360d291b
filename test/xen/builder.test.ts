import { describe, expect, test } from "vitest";
import { decode } from "../../src/xen/abi/layout.ts";
import {
  GRANT_ENTRY_V1,
  HVM_MEMMAP_TABLE_ENTRY,
  HVM_MODLIST_ENTRY,
  HVM_START_INFO,
} from "../../src/xen/abi/structures.ts";
import { guestRead, KERNEL_BASE, MIB, pvhKernel, startMachine, type TestMachine } from "./support.ts";

function text(machine: TestMachine, address: bigint): string {
  const bytes = guestRead(machine, Number(address), 64);
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}

describe("the domain builder", () => {
  test("starts the guest as the PVH boot ABI says", () => {
    const { processor } = startMachine();
    const { state } = processor;
    expect(state.eip).toBe(KERNEL_BASE);
    // PE and the hardwired ET; NE is the hypervisor's and hidden from the guest.
    expect(state.cr0 & ~0x20).toBe(0x11);
    expect([1, 2, 3].map((segment) => state.segmentBase(segment))).toEqual([0, 0, 0]);
    expect(state.limit(1)).toBe(0xffff_ffff);
    expect(state.accessRights(7)).toBe(0x8b);
    expect(state.eflags & 0x2_0300).toBe(0);
  });

  test("tells of memory, command line and modules in hvm_start_info", () => {
    const machine = startMachine({ commandLine: "seed=7 sectors=16" });
    const { state } = machine.processor;
    const info = decode(HVM_START_INFO, guestRead(machine, state.gpr(3), 56));
    expect(info).toMatchObject({ magic: 0x336e_c578, version: 1, nr_modules: 0, memmap_entries: 2 });
    expect(text(machine, info.cmdline_paddr)).toBe("seed=7 sectors=16");
    const ram = decode(HVM_MEMMAP_TABLE_ENTRY, guestRead(machine, Number(info.memmap_paddr), 24));
    expect(ram).toMatchObject({ addr: 0n, size: BigInt(8 * MIB), type: 1 });
  });

  test("places modules after the kernel", () => {
    const machine = startMachine();
    const bytes = Uint8Array.from({ length: 5000 }, (_, index) => index & 0xff);
    const second = machine.xen.createDomain({
      name: "second",
      memorySize: 2 * MIB,
      kernel: pvhKernel([0xeb, 0xfe]),
      commandLine: "",
      modules: [{ bytes, commandLine: "initrd" }],
    });
    const inSecond: TestMachine = { ...machine, domain: second };
    const info = decode(HVM_START_INFO, guestRead(inSecond, machine.processor.state.gpr(3), 56));
    const module = decode(HVM_MODLIST_ENTRY, guestRead(inSecond, Number(info.modlist_paddr), 32));
    expect(module).toMatchObject({ paddr: BigInt(KERNEL_BASE + 4096), size: 5000n });
    expect(text(inSecond, module.cmdline_paddr)).toBe("initrd");
    expect(guestRead(inSecond, KERNEL_BASE + 8192, 8)).toEqual(bytes.slice(4096, 4104));
  });

  test("grants console and store to the control domain, which maps them", () => {
    const { domain, processor } = startMachine();
    const table = domain.grants.frame(0)! * 4096;
    const entries = [0, 1].map((ref) => decode(GRANT_ENTRY_V1, processor.memory.read(table + 8 * ref, 8)));
    expect(entries[0]).toMatchObject({ domid: 0, frame: domain.console.gfn });
    expect(entries[1]).toMatchObject({ flags: 1, domid: 0, frame: domain.store.gfn });
    // The console daemon has its ring mapped: in use for reading and writing.
    expect(entries[0]!.flags).toBe(1 | 8 | 16);
  });

  test("starts a kernel on a PC without firmware, and tells of the hole in its memory", () => {
    const machine = startMachine();
    const { processor, xen } = machine;
    const boot = { kernel: pvhKernel([0xeb, 0xfe]), commandLine: "slow=5" };
    const domain = xen.createDomain({
      kind: "hvm",
      name: "pc",
      memorySize: 2 * MIB,
      boot,
      shadowed: true,
      showsXen: false,
    });
    const pc = { ...machine, domain };
    const { state } = processor;
    expect(state.eip).toBe(KERNEL_BASE);
    expect(state.cr0 & ~0x20).toBe(0x11);
    const info = decode(HVM_START_INFO, guestRead(pc, state.gpr(3), 56));
    expect(text(pc, info.cmdline_paddr)).toBe("slow=5");
    const map = Array.from({ length: info.memmap_entries }, (_, index) =>
      decode(HVM_MEMMAP_TABLE_ENTRY, guestRead(pc, Number(info.memmap_paddr) + 24 * index, 24)),
    );
    expect(map.filter(({ type }) => type === 1).map(({ addr, size }) => [Number(addr), Number(size)])).toEqual([
      [0, 0xa_0000],
      [MIB, MIB],
    ]);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["a kernel in the hole below 1 MiB", pvhKernel([0x90], { second: 0xa_0000 }), /a segment at 0xa0000, below 1 MiB/],
    ["a kernel larger than memory", pvhKernel([0x90], { memorySize: 2 * MIB }), /bytes of memory, there are 2097152/],
    ["no kernel", new Uint8Array(10), /not an ELF file/],
  ])("refuses %s on a PC and gives everything back", (_what, kernel, message) => {
    const { xen } = startMachine();
    const before = xen.frames.available;
    const boot = { kernel, commandLine: "" };
    expect(() =>
      xen.createDomain({ kind: "hvm", name: "bad", memorySize: 2 * MIB, boot, shadowed: true, showsXen: false }),
    ).toThrow(message);
    expect(xen.frames.available).toBe(before);
  });

  test.each<[string, number, Uint8Array, string, RegExp]>([
    ["memory that is no whole page", 5000, pvhKernel([0x90]), "", /no whole number of pages/],
    ["a kernel larger than memory", MIB, pvhKernel([0x90]), "", /need \d+ bytes of memory, there are 1048576/],
    ["more memory than the host has", 64 * MIB, pvhKernel([0x90]), "", /the host has \d+ left/],
    ["a command line without end", 2 * MIB, pvhKernel([0x90]), "x".repeat(2000), /command line of 2000 characters/],
    ["no kernel", 2 * MIB, new Uint8Array(10), "", /not an ELF file/],
  ])("refuses %s and gives everything back", (_what, memorySize, kernel, commandLine, message) => {
    const { xen } = startMachine();
    const before = xen.frames.available;
    expect(() => xen.createDomain({ name: "bad", memorySize, kernel, commandLine })).toThrow(message);
    expect(xen.frames.available).toBe(before);
    expect([...xen.domains.keys()]).toEqual([1]);
  });
});
