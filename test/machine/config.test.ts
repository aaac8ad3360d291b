// A machine's configuration from a scenario's module or a trace's header: what is none is refused, naming the setting.

import { describe, expect, it } from "vitest";
import { completeConfig, type MachineConfig } from "../../src/machine/config.ts";

const DISK = { device: "xvda", sectors: 8 };
const DOMAIN = { name: "guest", kernel: "guest", memoryMiB: 16, disks: [DISK] };
const machine = (settings: object): MachineConfig => ({ domains: [DOMAIN], ...settings });
const domain = (settings: object) => machine({ domains: [{ ...DOMAIN, ...settings }] });
const fault = (settings: object) => domain({ disks: [{ ...DISK, faults: [{ operation: "read", ...settings }] }] });
const problemOf = (config: unknown): string => {
  try {
    completeConfig(config as MachineConfig);
    return "none";
  } catch (error) {
    expect((error as Error).name).toBe("InputError");
    return (error as Error).message.replace("machine configuration, ", "");
  }
};

describe("a machine's configuration", () => {
  it.each<[string, unknown]>([
    ["nsPerInstruction: must be two positive integers", machine({ nsPerInstruction: [0, 1] })],
    ["nsPerInstruction: must be two positive integers", machine({ nsPerInstruction: [1] })],
    ["nsPerInstruction: must be a list", machine({ nsPerInstruction: "1" })],
    [
      "nsPerInstruction: must be of parts up to 1000000, and at least 1/1000",
      machine({ nsPerInstruction: [Number.MAX_SAFE_INTEGER, 1] }),
    ],
    ["nsPerInstruction: must be of parts up to 1000000, and at least 1/1000", machine({ nsPerInstruction: [1, 1001] })],
    ["timeLimitNs: must be 1 to 2^52", machine({ timeLimitNs: 2 ** 52 + 1 })],
    ["timeLimitNs: must be an integer", machine({ timeLimitNs: 1.5 })],
    ["tscKhz: must be positive, with at most 2^52 ticks in timeLimitNs", machine({ tscKhz: Number.MAX_SAFE_INTEGER })],
    ["exitCostNs: must be 0 to 60000000000", machine({ exitCostNs: Number.MAX_SAFE_INTEGER })],
    ["controlDomainLatencyNs: must be 0 to 60000000000", machine({ controlDomainLatencyNs: -1 })],
    ["startDateSeconds: must be 0 to 2^32 - 1", machine({ startDateSeconds: 2 ** 32 })],
    ["domains: must be at most 1920 MiB in all", domain({ memoryMiB: 1921 })],
    ["domains[0].memoryMiB: must be an integer", domain({ memoryMiB: Number.NaN })],
    ["domains[0].commandLine: must be text", domain({ commandLine: 5 })],
    ["domains[0].name: must be text", domain({ name: 5 })],
    ["domains[0].disks: must be a list", domain({ disks: {} })],
    ["domains[0]: must be a table of settings", machine({ domains: [null] })],
    ["domain guest, disk xvda: must be 1 to 2^40 sectors", domain({ disks: [{ ...DISK, sectors: 2 ** 41 }] })],
    [
      "nsPerInstructions: must be one of the settings domains, models, network, nsPerInstruction, tscKhz, exitCostNs, controlDomainLatencyNs, startDateSeconds, timeLimitNs",
      machine({ nsPerInstructions: [1, 1] }),
    ],
    ["domain guest, disk xvda, fault: must be one in 1 to 2^32", fault({ oneIn: 0 })],
    ["domains[0].disks[0].faults[0].oneIn: must be an integer", fault({ oneIn: 1.5 })],
    ["domain guest, disk xvda, fault: must be of an operation: read, write, flush, discard", fault({ operation: "x" })],
    ["domain guest, disk xvda, fault: must be of sectors that there can be", fault({ sector: -1 })],
    ["domain guest, disk xvda, fault: must be of sectors that there can be", fault({ count: 0 })],
    ["domain guest, disk xvda, fault: must be gone after 1 failure or more", fault({ times: 0 })],
    ["domain guest: must be given a kernel or firmware", domain({ kernel: undefined, board: { kind: "pc" } })],
    [
      "domain guest, board: must be given firmware for its serialConsole",
      domain({ disks: [], board: { kind: "pc", serialConsole: true } }),
    ],
  ])("is refused: %s", (problem, config) => {
    expect(problemOf(config)).toBe(problem);
  });

  it("may be at every limit", () => {
    const limits = { nsPerInstruction: [1_000_000, 1], timeLimitNs: 2 ** 52, startDateSeconds: 2 ** 32 - 1 };
    expect(problemOf(machine({ ...limits, exitCostNs: 0, controlDomainLatencyNs: 60_000_000_000 }))).toBe("none");
    expect(problemOf(machine({ nsPerInstruction: [1, 1000] }))).toBe("none");
    expect(problemOf(domain({ memoryMiB: 1920 }))).toBe("none");
    expect(problemOf(domain({ disks: [], board: { kind: "pc" }, modules: ["one", "two"] }))).toBe("none");
    expect(problemOf(fault({ oneIn: 2 ** 32, sector: 0, count: 1, times: 1 }))).toBe("none");
  });

  it("has no setting that is there and undefined: a trace's header cannot say that", () => {
    const config = completeConfig(domain({ commandLine: undefined, disks: [{ ...DISK, image: undefined }] }));
    expect(config.domains).toEqual([DOMAIN]);
    expect(Object.keys(config.domains[0]!)).toEqual(["name", "kernel", "memoryMiB", "disks"]);
    expect(completeConfig(machine({ timeLimitNs: undefined })).timeLimitNs).toBe(60_000_000_000);
  });
});
