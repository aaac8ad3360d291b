import { expect, test } from "vitest";
import { AccessNames, describeRegisters, describeValue, registerAt } from "../../../src/devices/ne2000/dump.ts";
import { CR, ISR, REGISTERS } from "../../../src/devices/ne2000/registers.ts";
import { Bench, P0 } from "./card.ts";

test("no two registers share a page, an offset and a direction", () => {
  const seen = new Map<string, string>();
  for (const row of REGISTERS) {
    for (const page of row.pages) {
      for (const direction of row.access) {
        const place = `${page}:${row.offset}:${direction}`;
        expect(seen.get(place), `${row.name} at ${place}`).toBeUndefined();
        seen.set(place, row.name);
      }
    }
  }
});

test("pages 0 to 2 are described as the data sheet's table has them: every offset but the reserved ones", () => {
  const missing = (page: number, access: "r" | "w") =>
    Array.from({ length: 16 }, (_, offset) => offset).filter((offset) => {
      const row = registerAt(page, offset, access === "w");
      return row === undefined || row.realtek === true;
    });
  expect(missing(0, "r")).toEqual([0xa, 0xb]);
  expect(missing(0, "w")).toEqual([]);
  expect(missing(1, "r")).toEqual([]);
  expect(missing(1, "w")).toEqual([]);
  expect(missing(2, "r")).toEqual([8, 9, 10, 11]);
  expect(missing(2, "w")).toEqual([4, 8, 9, 10, 11, 12, 13, 14, 15]);
});

test("every register has a section, every kept bit of a register with bits a name or a fixed value", () => {
  for (const row of REGISTERS) {
    expect(row.section).not.toBe("");
    if (row.bits === undefined) continue;
    expect(row.bits).toHaveLength(8);
    const names = row.bits.filter((name) => name !== "");
    expect(new Set(names).size).toBe(names.length);
    const reserved = row.bits.reduce((mask, name, index) => (name === "" ? mask | (0x80 >> index) : mask), 0);
    if (row.ones !== undefined) expect(row.ones).toBe(reserved);
  }
  expect([CR.STP, CR.TXP, CR.RD2, CR.PS1, ISR.RST, ISR.PRX]).toEqual([0x01, 0x04, 0x20, 0x80, 0x80, 0x01]);
});

test("the dump names registers and bits and reads nothing away", () => {
  const card = new Bench();
  card.initialise({ rcr: 0x0c });
  card.chip.receive(Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ...new Uint8Array(60)]), 0);
  const lines = describeRegisters(card.chip.state);
  expect(lines.find((line) => line.startsWith("CR "))).toMatch(/^CR {7}0x22 RD2 STA +10\.3$/);
  expect(lines.find((line) => line.startsWith("RCR"))).toMatch(/0x0c AM AB +10\.3$/);
  expect(lines.find((line) => line.startsWith("CNTR1"))).toMatch(/0x01 +10\.10$/);
  expect(lines.find((line) => line.startsWith("CURR"))).toMatch(/0x46 +10\.6$/);
  expect(card.in(14)).toBe(1);
  expect(new Set(lines.map((line) => line.split(" ")[0])).size).toBe(lines.length);
});

test("an access is named by page, offset and direction", () => {
  expect(registerAt(0, P0.TSR, false)?.name).toBe("TSR");
  expect(registerAt(0, P0.TPSR, true)?.name).toBe("TPSR");
  expect(registerAt(1, 7, true)?.name).toBe("CURR");
  expect(registerAt(2, 8, false)).toBeUndefined();
  expect(describeValue(registerAt(0, P0.ISR, false)!, 0x41)).toBe("0x41 RDC PRX");
});

test("a run of accesses is named with the pages that the guest selects", () => {
  const names = new AccessNames();
  const write = (offset: number, value: number) => {
    const text = names.describe(offset, 1, true, value);
    names.follow(offset, true, value);
    return text;
  };
  expect(write(7, 0xff)).toBe("ISR = 0xff RST RDC CNT OVW TXE RXE PTX PRX");
  expect(write(0, 0x62)).toBe("CR = 0x62 PS0 RD2 STA");
  expect(names.describe(7, 1, false)).toBe("CURR");
  expect(names.describe(7, 1, false, 0x46)).toBe("CURR = 0x46");
  expect(write(0, 0x22)).toBe("CR = 0x22 RD2 STA");
  expect(names.describe(4, 1, false, 0x01)).toBe("TSR = 0x01 PTX");
  expect(names.describe(10, 2, true, 0x0140)).toBe("RBCR0 = 0x40, RBCR1 = 0x01");
  expect(names.describe(16, 2, false)).toBe("data port");
  write(0, 0x62);
  names.follow(31, false, 0);
  expect(names.describe(7, 1, false)).toBe("ISR");
});
