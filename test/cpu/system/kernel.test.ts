/**
 * The real processor runs kernel/*.s, which report each thing that happens to them, and the reports are those that
 * QEMU 7.2 gave for the same programs (kernel/build.sh). They run as every guest does: in VMX non-root operation.
 */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Processor } from "../../../src/cpu/processor.ts";
import { controlWord, PRIMARY } from "../../../src/cpu/vmx/controls.ts";
import { EXIT } from "../../../src/cpu/vmx/exit-reasons.ts";
import { VMCS } from "../../../src/cpu/vmx/fields.ts";
import { VM_SUCCEED } from "../../../src/cpu/vmx/operation.ts";
import { type Fields, flatGuest, prepareMemory, VMCS_REGION, VMXON_REGION, writeGuest } from "../vmx/guest.ts";

const LOAD_ADDRESS = 0x1_0000;
/** Zeros: no MSR is intercepted. */
const MSR_BITMAP = 0xf_0000;
const REPORT_PORT = 0xe9;
/** The programs take some 10,000 instructions. */
const BUDGET = 100_000;

const read = (name: string) => readFileSync(new URL(`kernel/${name}`, import.meta.url));

/** Real mode at 1000H:0000H; the host keeps CR0.NE and CR4.VMXE to itself. */
function realModeGuest(): Fields {
  const fields: Fields = {
    ...flatGuest(),
    PRIMARY_CONTROLS: controlWord(PRIMARY, "hltExiting", "useMsrBitmaps", "activateSecondaryControls"),
    MSR_BITMAP,
    CR0_MASK: 0x20,
    CR4_MASK: 0x2000,
    GUEST_CR0: 0x30,
    GUEST_RIP: 0,
    GUEST_RSP: 0x7000,
    GUEST_IDTR_LIMIT: 0x3ff,
    GUEST_CS_SELECTOR: LOAD_ADDRESS >> 4,
    GUEST_CS_BASE: LOAD_ADDRESS,
    GUEST_CS_LIMIT: 0xffff,
    GUEST_CS_ACCESS_RIGHTS: 0x9b,
  };
  for (const name of ["ES", "SS", "DS", "FS", "GS"] as const) {
    fields[`GUEST_${name}_SELECTOR`] = 0;
    fields[`GUEST_${name}_LIMIT`] = 0xffff;
    fields[`GUEST_${name}_ACCESS_RIGHTS`] = 0x93;
  }
  return fields;
}

/** Runs the program by `budget` instructions at a time until HLT: the bytes it reported, the instructions that retired. */
function run(name: string, budget: number): { report: number[]; instructions: number } {
  const report: number[] = [];
  const platform = {
    readTsc: () => 0n,
    instructionsUntilTsc: () => Number.MAX_SAFE_INTEGER,
    portRead: () => 0xffff_ffff,
    portWrite: (port: number, _width: number, value: number) => {
      if (port === REPORT_PORT) report.push(value);
    },
  };
  const processor = new Processor({ ramBytes: 2 << 20, platform });
  const { vmx, memory } = processor;
  prepareMemory(memory);
  memory.write(LOAD_ADDRESS, read(`${name}.bin`));
  vmx.vmxon(VMXON_REGION);
  vmx.vmclear(VMCS_REGION);
  vmx.vmptrld(VMCS_REGION);
  writeGuest(vmx, realModeGuest());
  let result = vmx.vmlaunch(budget);
  for (let left = BUDGET; left > 0; left -= budget) {
    expect(result, vmx.failedCheck?.rule).toBe(VM_SUCCEED);
    const reason = vmx.vmread(VMCS.EXIT_REASON);
    if (reason === EXIT.HLT) return { report, instructions: processor.retired };
    expect(reason).toBe(EXIT.EXTERNAL_INTERRUPT);
    result = vmx.vmresume(budget);
  }
  throw new Error("the program does not end");
}

const words = (bytes: readonly number[]): string[] => {
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return Array.from({ length: bytes.length >> 2 }, (_, index) =>
    view
      .getUint32(4 * index, true)
      .toString(16)
      .padStart(8, "0"),
  );
};

for (const [name, what] of [
  ["kernel", "a kernel sees the same interrupts, faults, rings, pages and modes as on QEMU"],
  ["segmented", "flat real mode, 16-bit segments and gates, ring 1, an LDT and PAE are as on QEMU"],
  ["debug", "breakpoints and single-stepping are as on QEMU"],
] as const) {
  test(what, () => {
    const expected = read(`${name}.expected`).toString().trim().split("\n");
    expect(words(run(name, BUDGET).report)).toEqual(expected);
  });

  test(`interrupting ${name}.s after every instruction changes nothing`, () => {
    const whole = run(name, BUDGET);
    expect(run(name, 1)).toEqual(whole);
  });
}
