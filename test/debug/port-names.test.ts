// Names behind port accesses in a listing, from nothing but the configuration in the header and the events.

import { describe, expect, test } from "vitest";
import { ioQualification } from "../../src/cpu/vmx/exit-reasons.ts";
import { PortNames } from "../../src/debug/port-names.ts";
import type { NicConfig } from "../../src/machine/config.ts";
import type { TraceEvent } from "../../src/trace/events.ts";

const address = "52:54:00:12:34:56";
const place = { at: 0, domain: 2, vcpu: 0 } as const;

const board = (nic: NicConfig): PortNames =>
  new PortNames({
    domains: [
      { name: "other", memoryMiB: 4, kernel: "k" },
      { name: "pc", memoryMiB: 4, kernel: "k", board: { kind: "pc", nics: [nic] } },
    ],
  });
const exit = (port: number, value?: number, input = value === undefined, width = 1): TraceEvent => {
  const qualification = ioQualification(port, width, input, false, false, false);
  return {
    kind: "vm-exit",
    ...place,
    reason: 30,
    rip: 0,
    retired: 0,
    qualification,
    ...(value === undefined ? {} : { value }),
  };
};
const out = (port: number, data: number, size = 1): TraceEvent => ({
  kind: "ioreq",
  ...place,
  type: 0,
  read: false,
  address: port,
  size,
  data,
});
const input = (port: number, size = 1): TraceEvent => ({
  kind: "ioreq",
  ...place,
  type: 0,
  read: true,
  address: port,
  size,
});
const answer = (data: number): TraceEvent => ({ kind: "ioreq-answer", ...place, data });

describe("an ISA card", () => {
  test("its registers are named by the page that CR selected, bits by what was written or answered", () => {
    const names = board({ model: "ne2000-isa", address, port: 0x320 });
    const shown = [exit(0x327), input(0x327), answer(0x41), exit(0x320, 0x62), out(0x320, 0x62), exit(0x327)];
    expect(shown.map((event) => names.next(event))).toEqual([
      "net0 ISR",
      "net0 ISR",
      "net0 ISR = 0x41 RDC PRX",
      "net0 CR = 0x62 PS0 RD2 STA",
      "net0 CR = 0x62 PS0 RD2 STA",
      "net0 CURR",
    ]);
    expect(names.next({ ...exit(0x327), domain: 1 } as TraceEvent)).toBeUndefined();
  });

  test("an answer names nothing when what was asked for is not known, or was no port", () => {
    const names = board({ model: "ne2000-isa", address });
    expect(names.next(answer(0x41))).toBeUndefined();
    names.next({ ...input(0x307), type: 1 } as TraceEvent);
    expect(names.next(answer(0x41))).toBeUndefined();
  });
});

test("a PCI card is found where the guest's writes to its configuration space put it", () => {
  const names = board({ model: "rtl8029", address, slot: 5 });
  const configure = (register: number, value: number, size = 4) => {
    names.next(out(0xcf8, 0x8000_2800 + register, 4));
    return names.next(out(0xcfc, value, size));
  };
  expect(configure(0x10, 0xffff_ffff)).toBe("CONFIG_DATA of 00:05.0 register 0x10");
  expect(names.next(exit(0xc107))).toBeUndefined();
  configure(0x10, 0xc101);
  expect(names.next(exit(0xc107))).toBeUndefined();
  configure(0x04, 0x01, 1);
  expect(names.next(exit(0xc107))).toBe("net0 ISR");
  expect(names.next(exit(0xc110, 0, true, 2))).toBe("net0 data port");
});

test("the board's chips are named: what is read and what is written, and CMOS by its address", () => {
  const names = board({ model: "rtl8029", address });
  expect(names.next(exit(0x20, 0x20, false))).toBe("pic-master ICW1, OCW2 or OCW3");
  expect(names.next(exit(0x21, 0xfb, true))).toBe("pic-master IMR");
  expect(names.next(exit(0x64))).toBe("i8042 status");
  names.next(exit(0x70, 0x8b, false));
  expect(names.next(exit(0x71, 0x02, true))).toBe("rtc B");
  expect(names.next(exit(0x278))).toBeUndefined();
});

test("a machine without a board has no names", () => {
  const names = new PortNames({ domains: [{ name: "guest", memoryMiB: 4, kernel: "k" }] });
  expect(names.next({ ...exit(0x20, 1, false), domain: 0 } as TraceEvent)).toBeUndefined();
});
