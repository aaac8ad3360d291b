// Properties of a machine's configuration: whatever somebody writes, or a trace's header holds, is a machine or an error that says where it is wrong.

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/core/errors.ts";
import { completeConfig, type FullMachineConfig, type MachineConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";
import "../support/seed.ts";

const guest = new Uint8Array(readFileSync(new URL("../../guests/images/ne2000-echo.elf", import.meta.url)));
const images = (): Images =>
  new Images({ guest: { build: () => guest }, firmware: { build: () => new Uint8Array(0x1_0000) } }, () => guest);

/** The configuration's problem, undefined when it has none. Anything but an InputError is a failure of the property. */
function problemOf(config: unknown): InputError | undefined {
  try {
    completeConfig(config as MachineConfig);
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

const often = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 2 });
const number = fc.oneof(
  fc.integer({ min: 0, max: 16 }),
  fc.constantFrom(-1, 0x300, 0x1_0000, 2 ** 52, Number.MAX_SAFE_INTEGER),
);
const address = fc.constantFrom("52:54:00:12:34:56", "52:54:00:12:34:57", "ff:ff:ff:ff:ff:ff", "nonsense", "");
/** Mostly the right one. */
const image = (right: string): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(right) },
    { weight: 1, arbitrary: fc.constantFrom("guest", "firmware", "missing", "") },
  );
const name = fc.constantFrom("a", "b", "net", "dom1", "");

const nic = fc.record({
  model: fc.constantFrom("ne2000-isa", "rtl8029", "e1000"),
  address,
  port: often(number),
  irq: often(number),
  slot: often(number),
  link: often(
    fc.record({
      latencyNs: often(number),
      bitsPerSecond: often(number),
      faults: often(fc.record({ lossPpm: number })),
    }),
  ),
});
const board = fc.record({
  kind: fc.constantFrom("pc", "isapc", "q35"),
  firmware: often(image("firmware")),
  optionRoms: often(fc.dictionary(fc.constantFrom("vgaroms/a", "genroms/b", ""), image("guest"), { maxKeys: 2 })),
  serialConsole: often(fc.boolean()),
  bootMenuMs: often(number),
  showsXen: often(fc.boolean()),
  xenPlatform: often(fc.boolean()),
  nics: often(fc.array(nic, { maxLength: 3 })),
});
const disk = fc.record({
  device: fc.constantFrom("xvda", "xvdb", "hda", "sdz", ""),
  image: often(image("guest")),
  sectors: often(number),
  readOnly: often(fc.boolean()),
});
const domain = fc.record({
  name,
  kernel: often(image("guest")),
  board: often(board),
  modules: often(fc.array(image("guest"), { maxLength: 2 })),
  commandLine: often(fc.string({ maxLength: 2000 })),
  memoryMiB: fc.constantFrom(2, 3, 4, 8, -1, 0),
  disks: often(fc.array(disk, { maxLength: 2 })),
});
const host = fc.record({
  name,
  address,
  ip: fc.constantFrom("10.0.0.1", "10.0.0.999", ""),
  udpEcho: often(fc.boolean()),
  ping: often(
    fc.record({ to: fc.constantFrom("10.0.0.2", "x"), sizes: fc.array(number), startNs: number, intervalNs: number }),
  ),
});
const machine = fc.record({
  domains: fc.array(domain, { maxLength: 3 }),
  network: often(fc.record({ hosts: often(fc.array(host, { maxLength: 2 })) })),
  timeLimitNs: often(number),
  tscKhz: often(number),
});

/** The same with something else in one place. */
const spoilt = fc.tuple(machine, fc.nat(), fc.anything()).map(([config, at, value]) => {
  const places: [Record<string, unknown>, string][] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    for (const key of Object.keys(node)) {
      places.push([node as Record<string, unknown>, key]);
      walk((node as Record<string, unknown>)[key]);
    }
  };
  walk(config);
  const place = places[at % places.length];
  if (place !== undefined) place[0][place[1]] = value;
  return config;
});

describe("a machine's configuration", () => {
  test("is taken, or refused by an error that names the setting", () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), machine, spoilt), (config) => {
        const problem = problemOf(config);
        if (problem !== undefined) expect(problem.message).toMatch(/^machine configuration(, .*)?: must be /s);
      }),
      { numRuns: 2000 },
    );
  });

  test("that is taken is complete: completed again it stays the same", () => {
    fc.assert(
      fc.property(machine, (config) => {
        fc.pre(problemOf(config) === undefined);
        const full = completeConfig(config as MachineConfig);
        expect(completeConfig(full)).toEqual(full);
      }),
      { numRuns: 200 },
    );
  });

  test("that is taken makes a machine that runs, or is refused by an error", () => {
    let built = 0;
    fc.assert(
      fc.property(machine, (config) => {
        fc.pre(problemOf(config) === undefined);
        const full: FullMachineConfig = completeConfig(config as MachineConfig);
        try {
          const made = new Machine(full, images(), "config", () => undefined);
          for (let step = 0; step < 20 && made.step(); step++);
          built++;
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
        }
      }),
      { numRuns: 60 },
    );
    expect(built).toBeGreaterThan(0);
  }, 60_000);
});
