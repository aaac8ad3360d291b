/**
 * VM exits per second: a guest that does nothing but exit, and a hypervisor that does nothing but skip the instruction.
 *
 *   npx jiti bench/vmexit.ts
 */

import { performance } from "node:perf_hooks";
import { VMCS } from "../src/cpu/vmx/fields.ts";
import { GuestMachine } from "../test/cpu/vmx/machine.ts";

/** Each ends with a jump back over itself; the jump is the one instruction that retires per exit. */
const GUESTS: Readonly<Record<string, readonly number[]>> = {
  CPUID: [0x0f, 0xa2],
  HLT: [0xf4],
  "OUT 0x80, AL": [0xe6, 0x80],
  VMCALL: [0x0f, 0x01, 0xc1],
  "MOV [0x200000], AL (EPT violation)": [0xa2, 0, 0, 0x20, 0],
};
const ROUNDS = 1_000_000;
const SAMPLES = 3;

function exitsPerSecond(code: readonly number[], rounds: number): number {
  const jump = [0xeb, -(code.length + 2) & 0xff];
  const guest = new GuestMachine([...code, ...jump]);
  guest.run();
  const { vmx } = guest.cpu;
  let best = 0;
  for (let sample = 0; sample < SAMPLES; sample++) {
    const start = performance.now();
    for (let round = 0; round < rounds; round++) {
      const rip = vmx.vmread(VMCS.GUEST_RIP);
      vmx.vmwrite(VMCS.GUEST_RIP, rip + (vmx.vmread(VMCS.EXIT_INSTRUCTION_LENGTH) || code.length));
      vmx.vmresume(1_000_000);
    }
    best = Math.max(best, rounds / ((performance.now() - start) / 1000));
  }
  return best;
}

for (const [name, code] of Object.entries(GUESTS)) {
  const rate = exitsPerSecond(code, ROUNDS) / 1e6;
  console.log(`${name.padEnd(36)} ${rate.toFixed(2)} M exits/s`);
}
