// A machine's configuration from a scenario's module or a trace's header: what is none is refused, naming the setting.

import { describe, expect, it } from "vitest";
import { completeConfig, type MachineConfig } from "../../src/machine/config.ts";
import { FAULT_SWITCHES } from "../../src/machine/fault-switches.ts";

const DISK = { device: "xvda", sectors: 8 };
const DOMAIN = { name: "guest", kernel: "guest", memoryMiB: 16, disks: [DISK] };
const VIF = { address: "00:16:3e:00:00:01" };
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

const features = (settings: object) => domain({ disks: [{ ...DISK, features: settings }] });
const action = (settings: object) =>
  machine({ actions: [{ action: "detach", domain: "guest", disk: "xvda", atNs: 5, ...settings }] });

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
      "nsPerInstructions: must be one of the settings domains, models, network, actions, faults, nsPerInstruction, tscKhz, exitCostNs, quantumNs, controlDomainLatencyNs, startDateSeconds, timeLimitNs",
      machine({ nsPerInstructions: [1, 1] }),
    ],
    ["domain guest, onReboot: must be destroy or restart", domain({ onReboot: "preserve" })],
    [
      "domain guest, onReboot: must be destroy unless the domain has a board that does not show Xen",
      domain({ onReboot: "restart" }),
    ],
    ["domain guest: must be given at most 8 interfaces", domain({ vifs: Array.from({ length: 9 }, () => VIF) })],
    [
      "domain guest: must be shown Xen to have its interfaces",
      domain({ disks: [], vifs: [VIF], board: { kind: "pc" } }),
    ],
    [
      "domain guest, interface 0, rate: must be of 1 to 2^32 - 1 each",
      domain({ vifs: [{ ...VIF, rate: { bytes: 0, microseconds: 50_000 } }] }),
    ],
    [
      "domain guest, interface 0, address: must be six bytes such as 00:16:3e:12:34:56",
      domain({ vifs: [{ address: "nonsense" }] }),
    ],
    ["domains[0].vifs[0].address: must be text", domain({ vifs: [{}] })],
    [
      "domain guest, board: must be a pc that shows Xen to have the Xen platform device",
      domain({ disks: [], board: { kind: "pc", xenPlatform: true } }),
    ],
    ["domain guest, disk xvda, fault: must be one in 1 to 2^32", fault({ oneIn: 0 })],
    ["domains[0].disks[0].faults[0].oneIn: must be an integer", fault({ oneIn: 1.5 })],
    ["domain guest, disk xvda, fault: must be of an operation: read, write, flush, discard", fault({ operation: "x" })],
    ["domain guest, disk xvda, fault: must be of sectors that there can be", fault({ sector: -1 })],
    ["domain guest, disk xvda, fault: must be of sectors that there can be", fault({ count: 0 })],
    ["domain guest, disk xvda, fault: must be gone after 1 failure or more", fault({ times: 0 })],
    [
      "domain guest, disk vda: must be named xvda, xvdb and so on, hda to hdd or sda to sdp, each once",
      domain({ disks: [{ ...DISK, device: "vda" }] }),
    ],
    ["domain guest, disk xvda: must be of type disk or cdrom", domain({ disks: [{ ...DISK, type: "floppy" }] })],
    [
      "domain guest, disk xvda: must be read-only as a CD-ROM",
      domain({ disks: [{ ...DISK, type: "cdrom", readOnly: false }] }),
    ],
    ["domain guest, disk xvda, features: must be 0 to 256 indirectSegments", features({ indirectSegments: 257 })],
    ["domain guest, disk xvda, features: must be a ringPageOrder of 0 to 4", features({ ringPageOrder: 5 })],
    [
      "domain guest, disk xvda, features: must be a discardGranularity of 512 bytes or a multiple",
      features({ discardGranularity: 100 }),
    ],
    [
      "domain guest, disk xvda, features: must be a discardAlignment below the discardGranularity",
      features({ discardAlignment: 512 }),
    ],
    [
      "domain guest, disk xvda, service: must be 1 to 10^9 operationNs",
      domain({ disks: [{ ...DISK, service: { operationNs: 0, perSectorNs: 0, jitterNs: 0 } }] }),
    ],
    ["action 0: must be one of attach, detach, remove, resize, destroy, migrate", action({ action: "eject" })],
    ["action 0: must be of a disk that one of the domains has", action({ disk: "xvdb" })],
    ["action 0: must be of a disk that one of the domains has", action({ domain: "other" })],
    ["action 0: must be given sectors if it is a resize", action({ action: "resize" })],
    ["action 0: must be given sectors if it is a resize", action({ sectors: 5 })],
    ["action 0: must be of 1 to 2^40 sectors", action({ action: "resize", sectors: 0 })],
    ["action 0: must be either at a time or after a text", action({ after: "login:" })],
    ["action 0: must be either at a time or after a text", action({ atNs: undefined })],
    ["action 0: must be at a time from 0 on", action({ atNs: -1 })],
    ["action 0: must be after a text that is not empty", action({ atNs: undefined, after: "" })],
    [
      `faults: must be of ${Object.keys(FAULT_SWITCHES).join(", ")}`,
      machine({ faults: ["vbd.double-fetch", "vbd.no-such-fault"] }),
    ],
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
    expect(problemOf(features({ indirectSegments: 256, ringPageOrder: 4, discardGranularity: 4096 }))).toBe("none");
    expect(problemOf(action({ action: "resize", sectors: 2 ** 40 }))).toBe("none");
    expect(problemOf(fault({ oneIn: 2 ** 32, sector: 0, count: 1, times: 1 }))).toBe("none");
  });

  it("has no setting that is there and undefined: a trace's header cannot say that", () => {
    const config = completeConfig(domain({ commandLine: undefined, disks: [{ ...DISK, image: undefined }] }));
    expect(config.domains).toEqual([DOMAIN]);
    expect(Object.keys(config.domains[0]!)).toEqual(["name", "kernel", "memoryMiB", "disks"]);
    expect(completeConfig(machine({ timeLimitNs: undefined })).timeLimitNs).toBe(60_000_000_000);
  });
});
