// PCs in a machine: several on one cable, and saved in the middle of what they do.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { nodeImages } from "../../src/cli/host/images.ts";
import { packageRoot } from "../../src/cli/host/package.ts";
import { encodePlain } from "../../src/core/plain-data.ts";
import { NS_PER_MS, NS_PER_SECOND } from "../../src/core/units.ts";
import { completeConfig, type MachineConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";
import type { EventOf, TraceEvent } from "../../src/trace/events.ts";

import { pvhKernel } from "../xen/support.ts";

const load = nodeImages(packageRoot);
const packagesAreThere = existsSync(join(packageRoot, "guests", ".cache", "usr"));

interface Rig {
  readonly machine: Machine;
  readonly events: TraceEvent[];
  of<K extends TraceEvent["kind"]>(kind: K): EventOf<K>[];
}

function start(config: MachineConfig, images: Images): Rig {
  const events: TraceEvent[] = [];
  const machine = new Machine(completeConfig(config), images, "hvm", (event) => events.push(event));
  return { machine, events, of: (kind) => events.filter((event) => event.kind === kind) as never };
}

function step(machine: Machine, steps: number): void {
  for (let count = 0; count < steps && machine.step(); count++);
}

/** Saves after `stop` steps, goes on for `more`, and compares with a machine that was loaded from what was saved. */
function goesOn(config: MachineConfig, images: Images, stop: number, more: number): void {
  const first = start(config, images);
  step(first.machine, stop);
  const saved = first.machine.save();
  const second = start(config, images);
  second.machine.load(saved);
  expect(Buffer.compare(encodePlain(second.machine.save()), encodePlain(saved))).toBe(0);
  expect(second.machine.stateDigest()).toEqual(first.machine.stateDigest());
  const [before, built] = [first.events.length, second.events.length];
  step(first.machine, more);
  step(second.machine, more);
  expect(first.events.length - before).toBeGreaterThan(more);
  expect(second.events.length - built).toBe(first.events.length - before);
  for (const [index, event] of second.events.slice(built).entries())
    expect(event).toEqual(first.events[before + index]);
  expect(second.machine.stateDigest()).toEqual(first.machine.stateDigest());
}

const TESTER = { name: "tester", address: "52:54:00:00:00:01", ip: "10.0.0.1" };
const PINGS = 20;
const SIZES = Array.from({ length: PINGS }, (_, index) => 40 * index);
const GUESTS = ["10.0.0.2", "10.0.0.3"] as const;

/** Two guests of ne2000-echo, one with the card on ISA and one on PCI, each pinged by a host of its own. */
const TWO_PCS: MachineConfig = {
  domains: GUESTS.map((ip, index) => ({
    name: `pc${index}`,
    kernel: "guest",
    commandLine: `ip=${ip}`,
    memoryMiB: 2,
    board: {
      kind: "pc",
      nics: [{ model: index === 0 ? "ne2000-isa" : "rtl8029", address: `52:54:00:00:01:0${index}` }],
    },
  })),
  network: {
    hosts: GUESTS.map((ip, index) => ({
      ...TESTER,
      name: `tester${index}`,
      address: `52:54:00:00:00:0${index}`,
      ip: `10.0.0.${100 + index}`,
      ping: { to: ip, sizes: SIZES, startNs: 20 * NS_PER_MS, intervalNs: 3 * NS_PER_MS },
    })),
  },
  timeLimitNs: 200 * NS_PER_MS,
};
const echoImages = new Images({ guest: { guest: "ne2000-echo" } }, load);

describe("two PCs on one LAN", () => {
  it("each answer the pings that are for them, by interrupts on lines of their own", () => {
    const { machine, of } = start(TWO_PCS, echoImages);
    while (machine.step());
    expect(machine.serial("pc0")).toContain("NE2000 at 0x300, IRQ 9");
    expect(machine.serial("pc1")).toContain("RTL8029");
    for (const host of ["tester0", "tester1"]) {
      expect(machine.pings(host)).toMatchObject({ answers: SIZES.map(() => 1), wrong: 0 });
    }
    const lines = new Set(of("irq-line").map(({ line }) => line));
    expect([...lines].sort()).toEqual(["dom1 INTR", "dom1 irq 9", "dom2 INTR", "dom2 gsi 28", "dom2 irq 11"]);
  });

  it("go on from a snapshot as if it had not been taken", () => goesOn(TWO_PCS, echoImages, 4_000, 3_000), 30_000);
});

describe("a guest in an HVM domain", () => {
  const config: MachineConfig = {
    domains: [
      {
        name: "pc",
        kernel: "guest",
        memoryMiB: 2,
        board: { kind: "pc", showsXen: true, xenPlatform: true },
      },
    ],
    timeLimitNs: NS_PER_SECOND,
  };
  const images = new Images({ guest: { guest: "hvm-interrupts" } }, load);

  it("is woken from HLT by timers through each controller, and by events through each kind of callback", () => {
    const { machine, of } = start(config, images);
    while (machine.step());
    expect(machine.serial("pc").replaceAll("\r", "").trimEnd().split("\n")).toEqual([
      "PIT by the 8259 pair: 3 interrupts",
      "PIT by the I/O APIC: 3 interrupts",
      "local APIC timer: 1 interrupts",
      "events by GSI 5: 3 interrupts",
      "events by the platform device's INTA# and its link: 3 interrupts",
      "events by the platform device's INTA# and the I/O APIC: 3 interrupts",
      "events by a vector: 3 interrupts",
      "events by the vCPU's own vector: 3 interrupts",
      "done",
    ]);
    expect(machine.ended("pc")).toBe("poweroff");
    expect(of("irq-delivery").map(({ vector }) => vector)).toEqual(
      [0x20, 0x40, 0x41, 0x25, 0x2a, 0x42, 0x43, 0x44].flatMap((vector) =>
        new Array(vector === 0x41 ? 1 : 3).fill(vector),
      ),
    );
    const levels = (line: string) =>
      of("irq-line")
        .filter((event) => event.line === line)
        .map(({ level }) => level);
    const thrice = [true, false, true, false, true, false];
    expect(levels("dom1 irq 5")).toEqual(thrice);
    expect(levels("dom1 irq 10")).toEqual([...thrice, ...thrice]);
    expect(levels("dom1 gsi 24")).toEqual([...thrice, ...thrice]);
  });

  it("is woken all the same after a snapshot", () => {
    for (const stop of [200, 400, 600]) goesOn(config, images, stop, 200);
  });
});

/** Port 402h: the byte at 1.0625 MiB, which it then counts up, as a letter, and the 8259's mask, which it then sets; a reset until 200 ms. */
function resetting(reset: readonly number[]): Uint8Array {
  return pvhKernel([
    ...[0xa0, 0x00, 0x00, 0x11, 0x00, 0x04, 0x41, 0x66, 0xba, 0x02, 0x04, 0xee, 0xfe, 0x05, 0x00, 0x00, 0x11, 0x00],
    ...[0xe4, 0x21, 0x04, 0x61, 0xee, 0xb0, 0x05, 0xe6, 0x21],
    // RDTSC; CMP EAX, 200,000,000; JAE to CLI, HLT
    ...[0x0f, 0x31, 0x3d, 0x00, 0xc2, 0xeb, 0x0b, 0x73, reset.length + 2, ...reset, 0xeb, 0xfe, 0xfa, 0xf4],
  ]);
}

function resettingPc(onReboot: "restart" | "destroy"): MachineConfig {
  return { domains: [{ name: "pc", kernel: "guest", memoryMiB: 2, board: { kind: "pc" }, onReboot }] };
}

const resettingImages = (reset: readonly number[]): Images =>
  new Images({ guest: { build: () => resetting(reset) } }, load);

const PORT_92 = [0xb0, 0x01, 0xe6, 0x92];

describe("a PC that resets itself", () => {
  it.each<[string, readonly number[]]>([
    ["port 92h", PORT_92],
    ["the keyboard controller", [0xb0, 0xfe, 0xe6, 0x64]],
    ["port CF9h", [0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee]],
    ["a triple fault", [0x0f, 0x0b]],
  ])("by %s starts again with memory and devices as at power-on, if the toolstack is to", (_, reset) => {
    const { machine, of } = start(resettingPc("restart"), resettingImages(reset));
    while (machine.step());
    expect(machine.debugConsole("pc")).toBe("AaAaAa");
    expect(machine.ended("pc")).toBe("poweroff");
    expect(of("domain-state").map(({ state, reason }) => reason ?? state)).toEqual([
      ...["created", "running", "reboot", "running", "reboot", "running", "poweroff"],
    ]);
    const once = start(resettingPc("destroy"), resettingImages(reset)).machine;
    while (once.step());
    expect([once.debugConsole("pc"), once.ended("pc")]).toEqual(["Aa", "reboot"]);
  });

  it("starts again just so after a snapshot", () => {
    goesOn(resettingPc("restart"), resettingImages(PORT_92), 12, 8);
  });
});

it("a PC that has ended is silent, while others go on", () => {
  // PIT channel 0 in mode 2 with count 100h, which interrupts nobody; CLI, HLT.
  const ending = [0xb0, 0x34, 0xe6, 0x43, 0xb0, 0x00, 0xe6, 0x40, 0xb0, 0x01, 0xe6, 0x40, 0xfa, 0xf4];
  const images = new Images(
    { ending: { build: () => pvhKernel(ending) }, lasting: { build: () => pvhKernel([0xeb, 0xfe]) } },
    load,
  );
  const domains = ["ending", "lasting"].map((name) => {
    return { name, kernel: name, memoryMiB: 2, board: { kind: "pc" } } as const;
  });
  const { machine, events } = start({ domains, timeLimitNs: 20 * NS_PER_MS }, images);
  while (machine.step());
  expect([machine.ended("ending"), machine.ended("lasting")]).toEqual(["poweroff", "running"]);
  const end = events.findIndex((event) => event.kind === "domain-state" && event.reason === "poweroff");
  expect(events.slice(end + 1)).toEqual([]);
});

/** OUT of a byte's value to a port. */
const out = (port: number, value: number): number[] => [0x66, 0xba, port & 0xff, port >>> 8, 0xb0, value, 0xee];
/** Selects the host bridge's PAM0 to PAM2, and writes PAM1: C0000h to C7FFFh. */
const pam1 = (value: number): number[] => [
  ...[0xb8, 0x58, 0x00, 0x00, 0x80, 0x66, 0xba, 0xf8, 0x0c, 0xef],
  ...out(0xcfe, value),
];
const store = (letter: string): number[] => [0xc6, 0x05, 0x00, 0x00, 0x0c, 0x00, letter.charCodeAt(0)];
/** MOV AL, [C0000]; OUT 402h, AL */
const show = [0xa0, 0x00, 0x00, 0x0c, 0x00, 0x66, 0xba, 0x02, 0x04, 0xee];

it("a PC's memory attributes decide what each access between C0000h and FFFFFh reaches", () => {
  const code = [
    ...[store("r"), show, pam1(0x22), store("w"), show, pam1(0x11), show, store("x"), show, pam1(0x00), show].flat(),
    ...[...pam1(0x33), ...show, 0xfa, 0xf4],
  ];
  const config: MachineConfig = { domains: [{ name: "pc", kernel: "guest", memoryMiB: 2, board: { kind: "pc" } }] };
  const { machine } = start(config, new Images({ guest: { build: () => pvhKernel(code) } }, load));
  while (machine.step());
  expect(machine.debugConsole("pc")).toBe("r\xffww\xffw");
});

const SEABIOS: MachineConfig = {
  domains: [
    {
      name: "pc",
      memoryMiB: 16,
      board: {
        kind: "pc",
        firmware: "seabios",
        optionRoms: { "vgaroms/vgabios.bin": "vgabios" },
        nics: [{ model: "rtl8029", address: "52:54:00:12:34:56" }],
      },
    },
  ],
  nsPerInstruction: [100, 1],
  timeLimitNs: 30 * NS_PER_SECOND,
};

describe.skipIf(!packagesAreThere)("SeaBIOS on a PC", () => {
  const images = () =>
    new Images(
      {
        seabios: { package: "seabios", path: "usr/share/seabios/bios-256k.bin" },
        vgabios: { package: "seabios", path: "usr/share/seabios/vgabios-stdvga.bin" },
      },
      load,
    );

  it.each([500, 8_000])(
    "goes on from a snapshot after %i steps as if it had not been taken",
    (stop) => goesOn(SEABIOS, images(), stop, 5_000),
    60_000,
  );

  it("runs from its ROM until it has unlocked RAM in front of it, and locks it in the end", () => {
    const { machine, of } = start(SEABIOS, images());
    while (machine.now < NS_PER_SECOND && machine.step());
    const last = of("bios-area").filter(({ address }) => address === 0xf_0000);
    expect(last.map(({ readsRam, writesRam }) => [readsRam, writesRam])).toEqual([
      [true, true],
      [true, false],
    ]);
    expect(machine.debugConsole("pc")).toContain("SeaBIOS (version");
  }, 60_000);
});
