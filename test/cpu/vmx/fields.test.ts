import { expect, test } from "vitest";
import {
  HIGHEST_FIELD_INDEX,
  TYPE_EXIT_INFORMATION,
  TYPE_GUEST,
  TYPE_HOST,
  VMCS,
  VMCS_FIELDS,
  VMCS_WORDS,
  vmcsField,
  WIDTH_16,
  WIDTH_32,
  WIDTH_64,
  WIDTH_NATURAL,
  wordOf,
} from "../../../src/cpu/vmx/fields.ts";
import {
  READ_ONLY_COMPONENT,
  UNSUPPORTED_COMPONENT,
  VM_FAIL_INVALID,
  VM_FAIL_VALID,
  VM_SUCCEED,
} from "../../../src/cpu/vmx/operation.ts";
import { OTHER_VMCS_REGION, ScriptedProcessor, VMCS_REGION, VMXON_REGION } from "./guest.ts";

test("encodings say what their names say (SDM table 25-21)", () => {
  for (const { name, encoding, width, type } of VMCS_FIELDS) {
    expect(encoding & 0x9001, name).toBe(0);
    expect(name.startsWith("HOST_"), name).toBe(type === TYPE_HOST);
    if (name.endsWith("_SELECTOR") || name === "VPID") expect(width, name).toBe(WIDTH_16);
    if (/_(BASE|CR[034]|RSP|RIP|DR7)$/.test(name)) expect(width, name).toBe(WIDTH_NATURAL);
    if (/_(LIMIT|ACCESS_RIGHTS|CONTROLS|COUNT)$/.test(name)) expect(width, name).toBe(WIDTH_32);
    if (/(PAT|EFER|PDPTE\d|_OFFSET|_BITMAP|DEBUGCTL)$/.test(name) && name !== "EXCEPTION_BITMAP") {
      expect(width, name).toBe(WIDTH_64);
    }
    if (name.startsWith("GUEST_") && !/LINEAR|PHYSICAL/.test(name)) expect(type, name).toBe(TYPE_GUEST);
  }
});

test("no two fields share an encoding, a word of the VMCS or a slot of the state block", () => {
  const words = VMCS_FIELDS.flatMap(({ word, width }) => (width === WIDTH_64 ? [word, word + 1] : [word]));
  expect(words).toEqual(Array.from({ length: VMCS_WORDS }, (_, index) => index));
  expect(new Set(VMCS_FIELDS.map(({ encoding }) => encoding)).size).toBe(VMCS_FIELDS.length);
  const live = VMCS_FIELDS.map(({ live }) => live).filter((slot) => slot >= 0);
  expect(new Set(live).size).toBe(live.length);
  expect(Math.max(...VMCS_FIELDS.map(({ encoding }) => (encoding >>> 1) & 0x1ff))).toBe(HIGHEST_FIELD_INDEX);
});

test("a name that is no field has no word", () => {
  expect(vmcsField(0x2011)).toBeUndefined();
  expect(() => wordOf(0x2012)).toThrow(RangeError);
});

const cpu = ScriptedProcessor.withGuest();

for (const field of VMCS_FIELDS) {
  if (field.type === TYPE_EXIT_INFORMATION) {
    test(`${field.name} can be read but not written`, () => {
      expect(cpu.vmx.vmread(field.encoding)).toBeGreaterThanOrEqual(0);
      expect(cpu.vmx.vmwrite(field.encoding, 1)).toBe(VM_FAIL_VALID);
      expect(cpu.vmx.vmread(VMCS.INSTRUCTION_ERROR)).toBe(READ_ONLY_COMPONENT);
    });
    continue;
  }
  test(`${field.name} keeps what is written, cut to its width, through VMCLEAR and another VMCS`, () => {
    const pattern = 0xfedc_ba98_7654_3210n;
    const bits = { [WIDTH_16]: 16, [WIDTH_32]: 32, [WIDTH_NATURAL]: 32, [WIDTH_64]: 64 }[field.width] ?? 0;
    const expected = BigInt.asUintN(bits, pattern);
    expect(cpu.vmx.vmwrite(field.encoding, pattern)).toBe(VM_SUCCEED);
    expect(cpu.vmx.vmread64(field.encoding)).toBe(expected);
    cpu.vmx.vmptrld(OTHER_VMCS_REGION);
    cpu.vmx.vmwrite(field.encoding, 0n);
    cpu.vmx.vmclear(OTHER_VMCS_REGION);
    cpu.vmx.vmptrld(VMCS_REGION);
    expect(cpu.vmx.vmread64(field.encoding)).toBe(expected);
    if (field.width !== WIDTH_64) return;
    expect(cpu.vmx.vmread(field.encoding + 1)).toBe(0xfedc_ba98);
    expect(cpu.vmx.vmwrite(field.encoding + 1, 0x10)).toBe(VM_SUCCEED);
    expect(cpu.vmx.vmread(field.encoding)).toBe(0x10_7654_3210);
  });
}

test("a field that does not exist is an unsupported component", () => {
  for (const encoding of [0x2012, 0x2013, 0x4000 + 1, 0x6c18, 0x7fff, 0x8000, -1]) {
    expect(cpu.vmx.vmread(encoding)).toBe(-1);
    expect(cpu.vmx.vmread(VMCS.INSTRUCTION_ERROR)).toBe(UNSUPPORTED_COMPONENT);
    expect(cpu.vmx.vmwrite(encoding, 0)).toBe(VM_FAIL_VALID);
  }
});

test("without a current VMCS there is nothing to read or write", () => {
  const fresh = new ScriptedProcessor();
  fresh.vmx.vmxon(VMXON_REGION);
  expect(fresh.vmx.vmread(VMCS.GUEST_RIP)).toBe(-1);
  expect(fresh.vmx.vmread64(VMCS.GUEST_PAT)).toBe(-1n);
  expect(fresh.vmx.vmwrite(VMCS.GUEST_RIP, 1)).toBe(VM_FAIL_INVALID);
});
