/** Whatever a hypervisor writes into a VMCS or its region, VMX answers as an architecture: exit, failed entry or VMfail. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { ENTRY_FAILURE } from "../../src/cpu/vmx/exit-reasons.ts";
import { VMCS, VMCS_FIELDS, type VmcsFieldName } from "../../src/cpu/vmx/fields.ts";
import { VM_FAIL_VALID, VM_SUCCEED } from "../../src/cpu/vmx/operation.ts";
import {
  type Fields,
  OTHER_VMCS_REGION,
  ScriptedProcessor,
  VMCS_REGION,
  VMXON_REGION,
  writeGuest,
} from "../cpu/vmx/guest.ts";
import { GuestMachine } from "../cpu/vmx/machine.ts";

/** Values near what means something in some field, and anything else. */
const value = fc.oneof(
  fc.constantFrom(0n, 1n, 2n, 0xfffn, 0x1000n, 0x8000_0000n, 0xffff_ffffn, 0xffff_ffff_ffff_ffffn),
  fc.nat({ max: 63 }).map((bit) => 1n << BigInt(bit)),
  fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
);
const writable = VMCS_FIELDS.filter(({ type }) => type !== 1).map(({ name }) => name);
const changes = fc
  .array(fc.tuple(fc.constantFrom(...writable), value), { maxLength: 4 })
  .map((pairs) => Object.fromEntries(pairs) as Fields);

test("a region full of anything loads, fails to enter and can be read back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1024, maxLength: 1024 }), (bytes) => {
      const cpu = new ScriptedProcessor();
      cpu.memory.write(VMCS_REGION + 4, bytes);
      expect(cpu.vmx.vmxon(VMXON_REGION)).toBe(VM_SUCCEED);
      expect(cpu.vmx.vmptrld(VMCS_REGION)).toBe(VM_SUCCEED);
      const result = Math.min(cpu.vmx.vmlaunch(1), cpu.vmx.vmresume(1));
      if (result === VM_SUCCEED) expect(cpu.vmx.vmread(VMCS.EXIT_REASON)).toBeGreaterThan(0);
      for (const { encoding } of VMCS_FIELDS) expect(cpu.vmx.vmread(encoding)).toBeGreaterThanOrEqual(0);
    }),
    { numRuns: 200 },
  );
});

test("a few odd fields in a good guest: the entry succeeds, or names the rule that it broke", () => {
  fc.assert(
    fc.property(changes, (odd) => {
      const cpu = ScriptedProcessor.withGuest(odd);
      const result = cpu.vmx.vmlaunch(10);
      const failed = result === VM_FAIL_VALID || cpu.vmx.vmread(VMCS.EXIT_REASON) >= ENTRY_FAILURE;
      // MSR loading fails without a rule: its qualification names the entry.
      const loading = cpu.vmx.vmread(VMCS.EXIT_REASON) === ENTRY_FAILURE + 34;
      if (!loading && result < 3) expect(cpu.vmx.failedCheck !== undefined).toBe(failed);
    }),
    { numRuns: 2000 },
  );
});

test("entries answer the same whether their checks are cached or made anew", () => {
  fc.assert(
    fc.property(fc.array(changes, { minLength: 1, maxLength: 5 }), (rounds) => {
      const cached = ScriptedProcessor.withGuest();
      const anew = ScriptedProcessor.withGuest();
      const outcome = (cpu: ScriptedProcessor): unknown[] => {
        const results = [cpu.vmx.vmlaunch(1), cpu.vmx.vmresume(1)];
        const fields: VmcsFieldName[] = ["EXIT_REASON", "EXIT_QUALIFICATION", "INSTRUCTION_ERROR", "GUEST_RFLAGS"];
        return [...results, ...fields.map((name) => cpu.vmx.vmread(VMCS[name]))];
      };
      for (const round of rounds) {
        writeGuest(cached.vmx, round);
        writeGuest(anew.vmx, round);
        // A VMCS that was away is checked in full.
        anew.vmx.vmptrld(OTHER_VMCS_REGION);
        anew.vmx.vmptrld(VMCS_REGION);
        const expected = outcome(anew);
        expect(outcome(cached)).toEqual(expected);
      }
    }),
    { numRuns: 500 },
  );
});

test("on the real engine a guest in any state that passes the checks runs to an exit", () => {
  const guest = new GuestMachine([0x90, 0x0f, 0xa2]);
  const { cpu } = guest;
  fc.assert(
    fc.property(changes, (odd) => {
      cpu.vmx.vmclear(VMCS_REGION);
      const fresh = ScriptedProcessor.withGuest({ GUEST_RIP: 0x1_0000, GUEST_RSP: 0x7_0000, ...odd });
      fresh.vmx.vmclear(VMCS_REGION);
      cpu.memory.write(VMCS_REGION, fresh.memory.read(VMCS_REGION, 4096));
      cpu.vmx.vmptrld(VMCS_REGION);
      const before = cpu.retired;
      const result = cpu.vmx.vmlaunch(50);
      expect(cpu.retired - before).toBeLessThanOrEqual(50);
      if (result === VM_SUCCEED) expect(cpu.vmx.vmread(VMCS.EXIT_REASON) & 0xffff).toBeLessThan(56);
    }),
    { numRuns: 500 },
  );
});
