import { expect, test } from "vitest";
import { type AccessWidth, type BusDevice, MmioBus, PortBus } from "../../src/core/bus.ts";
import { InputError } from "../../src/core/errors.ts";

/** A device that logs its accesses and answers each byte with `first` plus its offset. */
function device(name: string, first: number, log: string[]): BusDevice {
  return {
    name,
    read(offset, width) {
      log.push(`${name} r${width}+${offset}`);
      let value = 0;
      for (let index = 0; index < width; index++) value |= (first + offset + index) << (8 * index);
      return value;
    },
    write(offset, width, value) {
      log.push(`${name} w${width}+${offset}=${value.toString(16)}`);
    },
  };
}

const buses = [
  ["ports", () => new PortBus()],
  ["mmio", () => new MmioBus()],
] as const;

for (const [kind, create] of buses) {
  function setUp() {
    const log: string[] = [];
    const bus = create();
    bus.register(0x104, 2, device("b", 0xb0, log));
    bus.register(0x100, 4, device("a", 0xf0, log));
    return { bus, log };
  }

  test(`${kind}: an access inside a range reaches its device once, with offset and width`, () => {
    const { bus, log } = setUp();
    expect(bus.read(0x100, 4)).toBe(0xf3f2f1f0);
    bus.write(0x102, 2, 0x1234);
    bus.write(0x105, 1, 0x56);
    expect(log).toEqual(["a r4+0", "a w2+2=1234", "b w1+1=56"]);
  });

  test(`${kind}: where nobody answers, reads give all ones and writes vanish`, () => {
    const { bus, log } = setUp();
    for (const [width, ones] of [
      [1, 0xff],
      [2, 0xffff],
      [4, 0xffffffff],
    ] as [AccessWidth, number][]) {
      expect(bus.read(0x200, width)).toBe(ones);
      bus.write(0x200, width, 0);
    }
    expect(log).toEqual([]);
  });

  test(`${kind}: an access over two ranges or an open end is split into bytes`, () => {
    const { bus, log } = setUp();
    expect(bus.read(0x102, 4)).toBe(0xb1b0f3f2);
    expect(bus.read(0x104, 4)).toBe(0xffffb1b0);
    expect(bus.read(0xff, 2)).toBe(0xf0ff);
    bus.write(0x103, 4, 0xddccbbaa);
    expect(log.slice(-3)).toEqual(["a w1+3=aa", "b w1+0=bb", "b w1+1=cc"]);
  });

  test(`${kind}: an overlap names both owners, and the first one stays`, () => {
    const { bus, log } = setUp();
    for (const [first, length] of [
      [0x103, 1],
      [0x0f0, 0x11],
      [0x0f0, 0x40],
      [0x105, 8],
    ] as const) {
      expect(() => bus.register(first, length, device("intruder", 0, log))).toThrow(InputError);
    }
    expect(() => bus.register(0x103, 1, device("intruder", 0, log))).toThrow(
      /intruder at .*0x103.* overlaps a at 0x100/,
    );
    expect(bus.read(0x103, 1)).toBe(0xf3);
  });

  test(`${kind}: one device may own several ranges`, () => {
    const log: string[] = [];
    const bus = create();
    const both = device("both", 0, log);
    bus.register(0x10, 1, both);
    bus.register(0x11, 1, both);
    bus.read(0x11, 1);
    expect(bus.read(0x10, 2)).toBe(0);
    expect(log).toEqual(["both r1+0", "both r1+0", "both r1+0"]);
  });

  test(`${kind}: an empty range and one that leaves the bus are bad input`, () => {
    const bus = create();
    const nobody = device("nobody", 0, []);
    const end = kind === "ports" ? 0x1_0000 : 2 ** 52;
    expect(() => bus.register(0, 0, nobody)).toThrow(InputError);
    expect(() => bus.register(-1, 4, nobody)).toThrow(InputError);
    expect(() => bus.register(end - 1, 2, nobody)).toThrow(InputError);
    expect(() => bus.register(end - 1, 1, nobody)).not.toThrow();
  });
}

test("a port access past the last port finds nobody there", () => {
  const log: string[] = [];
  const bus = new PortBus();
  bus.register(0xffff, 1, device("last", 0x11, log));
  expect(bus.read(0xffff, 4)).toBe(0xffffff11);
  bus.write(0xffff, 2, 0xabcd);
  expect(log).toEqual(["last r1+0", "last w1+0=cd"]);
});
