// Part: VM exits a second of VMX alone: a guest that does nothing but exit, and a root mode that does nothing but skip the
// instruction. What the hypervisor adds is in exits.ts.
// Run by hand: npm run build && node dist/bench/vmexit.js

import { performance } from "node:perf_hooks";
import { Processor } from "../src/cpu/processor.ts";
import { VMCS_REVISION } from "../src/cpu/vmx/capabilities.ts";
import { controlWord, SECONDARY } from "../src/cpu/vmx/controls.ts";
import { VMCS } from "../src/cpu/vmx/fields.ts";
import { setUpVmcs } from "../src/xen/vmcs-setup.ts";

/** What exits; a jump back over it follows, which is the one instruction that retires for each exit. */
const GUESTS: Readonly<Record<string, readonly number[]>> = {
  CPUID: [0x0f, 0xa2],
  HLT: [0xf4],
  "OUT 80h, AL": [0xe6, 0x80],
  VMCALL: [0x0f, 0x01, 0xc1],
  "MOV [200000h], AL: EPT violation": [0xa2, 0, 0, 0x20, 0],
};
const VMXON_REGION = 0x1000;
const VMCS_REGION = 0x2000;
const MSR_BITMAP = 0x3000;
/** PML4 table, page-directory-pointer table and page directory: one identity-mapped page of 2 MiB, write-back. */
const EPT = [0x4000, 0x5000, 0x6000] as const;
const LARGE_PAGE = 0x80 | (6 << 3) | 7;
const EPT_POINTER = EPT[0] | (3 << 3) | 6;
const CODE = 0x1_0000;
const RAM_BYTES = 4 << 20;
const EXITS = 500_000;
const SAMPLES = 3;

function exitsPerSecond(code: readonly number[]): number {
  const platform = {
    readTsc: () => 0n,
    instructionsUntilTsc: () => 0,
    portRead: () => 0xffff_ffff,
    portWrite: () => {},
  };
  const processor = new Processor({ ramBytes: RAM_BYTES, platform });
  const { vmx, memory } = processor;
  for (const region of [VMXON_REGION, VMCS_REGION]) memory.store32(region, VMCS_REVISION);
  memory.store32(EPT[0], EPT[1] | 7);
  memory.store32(EPT[1], EPT[2] | 7);
  memory.store32(EPT[2], LARGE_PAGE);
  memory.write(CODE, Uint8Array.from([...code, 0xeb, -(code.length + 2) & 0xff]));
  vmx.vmxon(VMXON_REGION);
  vmx.vmclear(VMCS_REGION);
  vmx.vmptrld(VMCS_REGION);
  setUpVmcs(processor, { pvh: { entry: CODE, startInfo: 0 }, eptPointer: EPT_POINTER, vpid: 1, msrBitmap: MSR_BITMAP });
  // With a VPID the translations survive the exits.
  vmx.vmwrite(VMCS.SECONDARY_CONTROLS, controlWord(SECONDARY, "eptEnabled", "vpidEnabled", "unrestrictedGuest"));
  vmx.vmwrite(VMCS.VPID, 1);
  if (vmx.vmlaunch(1000) !== 0) throw new Error(vmx.failedCheck?.rule);

  let best = 0;
  for (let sample = 0; sample < SAMPLES; sample++) {
    const start = performance.now();
    for (let exit = 0; exit < EXITS; exit++) {
      vmx.vmwrite(VMCS.GUEST_RIP, vmx.vmread(VMCS.GUEST_RIP) + code.length);
      vmx.vmresume(1000);
    }
    best = Math.max(best, EXITS / ((performance.now() - start) / 1000));
  }
  return best;
}

for (const [name, code] of Object.entries(GUESTS)) {
  console.log(`${name.padEnd(36)} ${(exitsPerSecond(code) / 1e6).toFixed(2)} M exits/s`);
}
