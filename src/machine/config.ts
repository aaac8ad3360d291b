// Part: what a machine is made of, as plain data. It stands in the trace's header, so that a trace says what it ran on.

import { InputError } from "../core/errors.ts";
import { NS_PER_SECOND } from "../core/units.ts";

export interface DiskFaultConfig {
  /** Which operations fail. */
  readonly operation: "read" | "write" | "flush" | "discard";
  /** First sector and number of sectors (512 bytes) that are bad; the whole disk by default. */
  readonly sector?: number;
  readonly count?: number;
  /** Fail one in so many of the operations that fit, drawn from the disk's random stream; 1 fails them all. */
  readonly oneIn?: number;
  /** After so many failures the fault is gone; without it, it stays. */
  readonly times?: number;
}

export interface DiskConfig {
  /** As the guest's toolstack names it: `xvda`, `xvdb`, … */
  readonly device: string;
  /** Name of the image it starts with; writes go to an overlay. */
  readonly image?: string;
  /** Size of an empty disk, in sectors of 512 bytes. */
  readonly sectors?: number;
  readonly readOnly?: boolean;
  readonly faults?: readonly DiskFaultConfig[];
}

export interface DomainConfig {
  readonly name: string;
  /** Name of the kernel's image: an ELF with a PVH entry note. */
  readonly kernel: string;
  /** Names of the images passed as boot modules. */
  readonly modules?: readonly string[];
  readonly commandLine?: string;
  readonly memoryMiB: number;
  readonly disks?: readonly DiskConfig[];
}

export interface MachineConfig {
  readonly domains: readonly DomainConfig[];
  /** Virtual speed: nanoseconds per instruction as numerator and denominator. */
  readonly nsPerInstruction?: readonly [number, number];
  /** Frequency of the time-stamp counter. */
  readonly tscKhz?: number;
  /** Virtual time that one VM exit costs. */
  readonly exitCostNs?: number;
  /** From a notification until a program of the control domain runs. */
  readonly controlDomainLatencyNs?: number;
  /** Wall-clock time at power-on, seconds since 1970-01-01 00:00 UTC. */
  readonly startDateSeconds?: number;
  /** Virtual time after which a machine that still runs is stopped. */
  readonly timeLimitNs?: number;
}

export type FullMachineConfig = Required<MachineConfig>;

/** 2020-01-01: a date that no guest takes for an unset clock. */
const START_DATE_SECONDS = 1_577_836_800;

const DEFAULTS: Omit<FullMachineConfig, "domains"> = {
  nsPerInstruction: [1, 1],
  tscKhz: 1_000_000,
  exitCostNs: 1_000,
  controlDomainLatencyNs: 5_000,
  startDateSeconds: START_DATE_SECONDS,
  timeLimitNs: 60 * NS_PER_SECOND,
};

/** Domains of one machine: more than any scenario needs, few enough that the control domain's work per step stays small. */
const MAX_DOMAINS = 64;
/** Guest memory of one machine. A WebAssembly memory ends at 4 GiB, and other things live there too. */
const MAX_MEMORY_MIB = 3072;
const MIN_DOMAIN_MIB = 2;

/** Fills in the defaults and checks every value. @throws InputError naming the setting */
export function completeConfig(config: MachineConfig): FullMachineConfig {
  const full = { ...DEFAULTS, ...config };
  const [numerator, denominator] = full.nsPerInstruction;
  check(isPositive(numerator) && isPositive(denominator), "nsPerInstruction", "two positive integers");
  check(isPositive(full.tscKhz), "tscKhz", "a positive integer");
  check(isPositive(full.timeLimitNs), "timeLimitNs", "a positive integer");
  for (const key of ["exitCostNs", "controlDomainLatencyNs", "startDateSeconds"] as const) {
    check(Number.isSafeInteger(full[key]) && full[key] >= 0, key, "an integer from 0");
  }
  check(full.domains.length >= 1 && full.domains.length <= MAX_DOMAINS, "domains", `1 to ${MAX_DOMAINS} domains`);
  const names = new Set<string>();
  let memoryMiB = 0;
  for (const domain of full.domains) {
    const where = `domain ${domain.name}`;
    check(domain.name !== "" && !names.has(domain.name), where, "a name of its own");
    names.add(domain.name);
    check(isPositive(domain.memoryMiB) && domain.memoryMiB >= MIN_DOMAIN_MIB, where, `at least ${MIN_DOMAIN_MIB} MiB`);
    memoryMiB += domain.memoryMiB;
    const devices = new Set<string>();
    for (const disk of domain.disks ?? []) {
      const place = `${where}, disk ${disk.device}`;
      check(/^xvd[a-p]$/.test(disk.device) && !devices.has(disk.device), place, "xvda to xvdp, each once");
      devices.add(disk.device);
      check(
        (disk.image === undefined) !== (disk.sectors === undefined),
        place,
        "either an image or a number of sectors",
      );
      check(disk.sectors === undefined || isPositive(disk.sectors), place, "a positive number of sectors");
    }
  }
  check(memoryMiB <= MAX_MEMORY_MIB, "domains", `at most ${MAX_MEMORY_MIB} MiB in all`);
  return full;
}

function isPositive(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}

function check(condition: boolean, where: string, wanted: string): void {
  if (!condition) throw new InputError(`must be ${wanted}`, `machine configuration, ${where}`);
}
