import { expect, test } from "vitest";
import { DB, GP, NMI, PAGE_FAULT } from "../../../src/cpu/context.ts";
import { OFFSET } from "../../../src/cpu/state.ts";
import { combine, recordFault, TRIPLE_FAULT } from "../../../src/cpu/system/index.ts";
import { FakeCpu } from "./fake-cpu.ts";

const DOUBLE = 8;
const BENIGN = [1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19];
const CONTRIBUTORY = [0, 10, 11, 12, 13];

test("SDM table 6-5: every pair of exceptions is handled in turn, doubles or shuts down", () => {
  for (const first of [-1, ...BENIGN]) {
    for (const second of [...BENIGN, ...CONTRIBUTORY, 14]) expect(combine(first, second)).toBe(second);
  }
  for (const first of CONTRIBUTORY) {
    for (const second of [...BENIGN, 14]) expect(combine(first, second)).toBe(second);
    for (const second of CONTRIBUTORY) expect(combine(first, second)).toBe(DOUBLE);
  }
  for (const second of BENIGN) expect(combine(14, second)).toBe(second);
  for (const second of [...CONTRIBUTORY, 14]) expect(combine(14, second)).toBe(DOUBLE);
  for (const second of [...CONTRIBUTORY, 14]) expect(combine(DOUBLE, second)).toBe(TRIPLE_FAULT);
  for (const second of BENIGN) expect(combine(DOUBLE, second)).toBe(second);
});

test("only a page fault changes CR2", () => {
  const { state } = new FakeCpu();
  recordFault(state, { vector: GP, errorCode: 0, address: 0x1234 });
  expect(state.get(OFFSET.cr2)).toBe(0);
  recordFault(state, { vector: PAGE_FAULT, errorCode: 2, address: 0xc000_1234 });
  expect(state.get(OFFSET.cr2)).toBe(0xc000_1234);
});

test("a debug exception adds its cause to DR6 and ends general detection (SDM Vol. 3 §17.2.3)", () => {
  const { state } = new FakeCpu();
  state.setDr(6, 0xffff_0ff3);
  state.setDr(7, 0x2400);
  recordFault(state, { vector: DB, errorCode: -1, address: 1 << 13 });
  expect(state.dr(6)).toBe(0xffff_2ff0);
  expect(state.dr(7)).toBe(0x400);
  recordFault(state, { vector: NMI, errorCode: -1, address: 5 });
  expect(state.dr(6)).toBe(0xffff_2ff0);
});
