// Part: what a machine is made of, as plain data. It stands in the trace's header, so that a trace says what it ran on.

import { NS_PER_SECOND } from "../core/units.ts";
import { isAddress } from "../devices/net/ethernet.ts";
import type { LinkOptions } from "../devices/net/link.ts";
import type { HostConfig as NetworkHost } from "../devices/net/network.ts";
import type { Rate } from "../devices/vnif/credit.ts";
import { MAX_WEIGHT } from "../xen/credit.ts";
import { checkActions, type MachineAction } from "./config-actions.ts";
import { checkDisks, type DiskConfig } from "./config-disks.ts";
import { check, checkedShape, isPositive, isWithin } from "./config-shape.ts";
import { FAULT_SWITCHES } from "./fault-switches.ts";

export type { DiskAction, DomainAction, MachineAction } from "./config-actions.ts";
export type { DiskConfig, DiskFaultConfig } from "./config-disks.ts";

/** A para-virtual network interface. */
export interface VifConfig {
  /** The guest's station address: `00:16:3e:12:34:56`. */
  readonly address: string;
  /** The back end's cable to the switch; what is not given is a gigabit's, with full duplex. */
  readonly link?: Partial<LinkOptions>;
  /** What the guest may send: so many bytes in so many microseconds. */
  readonly rate?: Rate;
}

/** An Ethernet card on a domain's board. */
export interface NicConfig {
  readonly model: "ne2000-isa" | "rtl8029";
  /** Its station address: `52:54:00:12:34:56`. */
  readonly address: string;
  /** Its cable; what is not given is 10BASE-T's. */
  readonly link?: Partial<LinkOptions>;
  /** First port and interrupt of an ISA card; 300h and 9 by default. */
  readonly port?: number;
  readonly irq?: number;
  /** Device number of a PCI card; 3 by default. */
  readonly slot?: number;
}

/** A host that is no domain: it answers ARP and ping, and has the services that are named. Addresses are text. */
export interface HostConfig extends Omit<NetworkHost, "tftp"> {
  /** Names of images by file name. */
  readonly tftp?: Readonly<Record<string, string>>;
}

/** What the domains' cards are connected with: a switch, with a cable to each card, host and peer. */
export interface NetworkConfig {
  readonly hosts?: readonly HostConfig[];
  /** Stations that play a capture file, an image. */
  readonly peers?: readonly { readonly name: string; readonly capture: string; readonly link?: LinkOptions }[];
}

/** A PC around a domain's processor. */
export interface BoardConfig {
  /** `pc`: i440FX and PIIX3 with PCI, as QEMU's machine of this name; `isapc`: without. */
  readonly kind: "pc" | "isapc";
  /** Name of the firmware's image, which ends at 4 GiB; without it the domain starts at its kernel's PVH entry. */
  readonly firmware?: string;
  /** Names of images of option ROMs by what the firmware knows them as: `vgaroms/…` or `genroms/…`. */
  readonly optionRoms?: Readonly<Record<string, string>>;
  /** The firmware shows its screen on COM1 as well, and takes keys from there. */
  readonly serialConsole?: boolean;
  /** How long the firmware offers its boot menu; no menu without it. */
  readonly bootMenuMs?: number;
  /** The guest finds Xen: its CPUID leaves and hypercalls. */
  readonly showsXen?: boolean;
  /** With the Xen platform device in slot 2, by which drivers of an HVM guest find Xen's devices. */
  readonly xenPlatform?: boolean;
  readonly nics?: readonly NicConfig[];
}

export interface DomainConfig {
  readonly name: string;
  /** Name of the kernel's image: an ELF with a PVH entry note; under firmware a bzImage that it boots, or none. */
  readonly kernel?: string;
  /** Without it the domain has no devices but Xen's, and starts at its kernel's PVH entry. */
  readonly board?: BoardConfig;
  /**
   * What the toolstack does when the domain resets itself (xl's on_reboot): it is gone, or starts again with fresh memory and devices. Only a
   * domain with a board that does not show Xen can start again: nobody else has a part in what it has.
   */
  readonly onReboot?: "destroy" | "restart";
  /** Names of the images passed as boot modules. */
  readonly modules?: readonly string[];
  readonly commandLine?: string;
  readonly memoryMiB: number;
  /** Share of the processor beside other domains' (xl's cpu_weight): 256 by default. */
  readonly weight?: number;
  /** Per cent of the processor that it gets at most (xl's cap): 0, the default, for no bound. */
  readonly cap?: number;
  readonly disks?: readonly DiskConfig[];
  /** Its virtual interfaces, by their handles from 0 on. */
  readonly vifs?: readonly VifConfig[];
}

/** What a program is told beside its code. */
export type ProgramParameters = Readonly<Record<string, string | number | boolean>>;

/** A domain without a processor: its kernel is one of the scenario's programs. */
export interface ModelConfig {
  readonly name: string;
  /** Name of the program, among the scenario's. */
  readonly program: string;
  readonly parameters?: ProgramParameters;
  /** Memory, in pages of 4 KiB; 16 by default. */
  readonly pages?: number;
  readonly disks?: readonly DiskConfig[];
  /** Its virtual interfaces, by their handles from 0 on. */
  readonly vifs?: readonly VifConfig[];
}

export interface MachineConfig {
  /** Domains with a processor; none where there are models. */
  readonly domains: readonly DomainConfig[];
  /** Domains without; they are built after the others, in this order. */
  readonly models?: readonly ModelConfig[];
  readonly network?: NetworkConfig;
  /** What a toolstack does while the machine runs, in this order. */
  readonly actions?: readonly MachineAction[];
  /** Names of faults that devices are built with, for tests of what finds them; see fault-switches.ts. */
  readonly faults?: readonly string[];
  /** Virtual speed: nanoseconds per instruction as numerator and denominator. */
  readonly nsPerInstruction?: readonly [number, number];
  /** Frequency of the time-stamp counter. */
  readonly tscKhz?: number;
  /** Virtual time that one VM exit costs. */
  readonly exitCostNs?: number;
  /** How long a guest may run while another waits for the processor. */
  readonly quantumNs?: number;
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
  models: [],
  network: {},
  actions: [],
  faults: [],
  nsPerInstruction: [1, 1],
  tscKhz: 1_000_000,
  exitCostNs: 1_000,
  quantumNs: 1_000_000,
  controlDomainLatencyNs: 5_000,
  startDateSeconds: START_DATE_SECONDS,
  timeLimitNs: 60 * NS_PER_SECOND,
};

export const DEFAULT_MODEL_PAGES = 16;

/** Domains of one machine: more than any scenario needs, few enough that the control domain's work per step stays small. */
const MAX_DOMAINS = 64;
/** Twice what the benchmark of a thousand needs. */
const MAX_MODELS = 2048;
/** What a model domain costs the host beside its own pages: shared_info, grant table, four levels of EPT, and what it maps of others. */
const MODEL_OVERHEAD_PAGES = 32;
const MAX_MODEL_PAGES = 4096;
const PAGES_PER_MIB = 256;
/** Guest memory of one machine: with what the hypervisor needs, host-physical addresses stay below 2^31. */
const MAX_MEMORY_MIB = 1920;
const MIN_DOMAIN_MIB = 2;
/** 52 days. The clock ends at 2^53 ns, and a step may go beyond the limit by what an exit costs and an alarm waits. */
const MAX_TIME_NS = 2 ** 52;
/** A minute: longer than any machine answers. */
const MAX_DELAY_NS = 60 * NS_PER_SECOND;
/** Instructions a nanosecond, and nanoseconds an instruction: far from any real processor, and products with times stay exact. */
const FASTEST = 1000;
const SLOWEST_NS = 1_000_000;
/** shared_info's wall clock has 32 bits for it (xen.h). */
const MAX_DATE_SECONDS = 0xffff_ffff;
/** As many as a board has slots for. */
const MAX_NICS = 8;
/** More than a guest has use for: xl allows 128, Linux's Xen front ends serve a few. */
const MAX_VIFS = 8;
/** xl's numbers for a rate have 32 bits (libxl_types.idl). */
const MAX_RATE = 0xffff_ffff;
/** Interrupts that a 16-bit ISA card's jumpers offer, and that no device of the board has. */
const ISA_CARD_IRQS: readonly number[] = [3, 5, 7, 9, 10, 11, 12, 15];

/**
 * Fills in the defaults and checks every value.
 * @param config a scenario's, or what a trace's header has in its place: nothing is taken for granted
 * @throws InputError naming the setting
 */
export function completeConfig(config: MachineConfig): FullMachineConfig {
  const full = { ...DEFAULTS, ...checkedShape(config) };
  checkTimes(full);
  check(full.domains.length <= MAX_DOMAINS, "domains", `at most ${MAX_DOMAINS} domains`);
  check(full.models.length <= MAX_MODELS, "models", `at most ${MAX_MODELS} domains`);
  check(full.domains.length + full.models.length >= 1, "domains", "1 domain or more, with those of models");
  const names = new Set<string>();
  let memoryMiB = 0;
  for (const domain of full.domains) {
    const where = `domain ${domain.name}`;
    check(domain.name !== "" && !names.has(domain.name), where, "a name of its own");
    names.add(domain.name);
    check(isPositive(domain.memoryMiB) && domain.memoryMiB >= MIN_DOMAIN_MIB, where, `at least ${MIN_DOMAIN_MIB} MiB`);
    memoryMiB += domain.memoryMiB;
    check(domain.kernel !== undefined || domain.board?.firmware !== undefined, where, "given a kernel or firmware");
    if (domain.board !== undefined) {
      checkBoard(domain.board, domain, where);
      checkNics(domain.board, where);
    }
    checkOnReboot(domain, where);
    check(isWithin(domain.weight ?? 1, 1, MAX_WEIGHT), `${where}, weight`, `1 to ${MAX_WEIGHT}`);
    check(isWithin(domain.cap ?? 0, 0, 100), `${where}, cap`, "0 to 100 per cent of the processor");
    checkDisks(domain.disks ?? [], where);
    check((domain.vifs ?? []).length === 0 || showsXen(domain), where, "shown Xen to have its interfaces");
    checkVifs(domain.vifs ?? [], where);
  }
  for (const { name, disks = [], vifs = [], pages = DEFAULT_MODEL_PAGES } of full.models) {
    const where = `domain ${name}`;
    check(name !== "" && !names.has(name), where, "a name of its own");
    names.add(name);
    check(isWithin(pages, 4, MAX_MODEL_PAGES), where, `4 to ${MAX_MODEL_PAGES} pages`);
    checkDisks(disks, where);
    checkVifs(vifs, where);
  }
  const all = [...full.domains, ...full.models];
  const disksOf = (name: string) => {
    const domain = all.find((other) => other.name === name);
    return domain && (domain.disks ?? []);
  };
  checkActions(full.actions, disksOf, (name) => full.models.some((model) => model.name === name));
  for (const fault of full.faults) {
    check(Object.hasOwn(FAULT_SWITCHES, fault), "faults", `of ${Object.keys(FAULT_SWITCHES).join(", ")}`);
  }
  memoryMiB += modelsMiB(full);
  check(memoryMiB <= MAX_MEMORY_MIB, "domains", `at most ${MAX_MEMORY_MIB} MiB in all`);
  return full;
}

/** Host memory for the model domains, rounded up. */
export function modelsMiB({ models }: FullMachineConfig): number {
  const pages = models.reduce((sum, { pages = DEFAULT_MODEL_PAGES }) => sum + pages + MODEL_OVERHEAD_PAGES, 0);
  return Math.ceil(pages / PAGES_PER_MIB);
}

function checkTimes({ nsPerInstruction, ...config }: FullMachineConfig): void {
  const [numerator = 0, denominator = 0] = nsPerInstruction;
  check(
    nsPerInstruction.length === 2 && isPositive(numerator) && isPositive(denominator),
    "nsPerInstruction",
    "two positive integers",
  );
  check(
    Math.max(numerator, denominator) <= SLOWEST_NS && numerator * FASTEST >= denominator,
    "nsPerInstruction",
    `of parts up to ${SLOWEST_NS}, and at least 1/${FASTEST}`,
  );
  check(isWithin(config.timeLimitNs, 1, MAX_TIME_NS), "timeLimitNs", "1 to 2^52");
  const ticks = (config.timeLimitNs / 1_000_000) * config.tscKhz;
  check(
    isPositive(config.tscKhz) && ticks <= MAX_TIME_NS,
    "tscKhz",
    "positive, with at most 2^52 ticks in timeLimitNs",
  );
  for (const key of ["exitCostNs", "controlDomainLatencyNs"] as const) {
    check(isWithin(config[key], 0, MAX_DELAY_NS), key, `0 to ${MAX_DELAY_NS}`);
  }
  check(isWithin(config.quantumNs, 1, MAX_DELAY_NS), "quantumNs", `1 to ${MAX_DELAY_NS}`);
  check(isWithin(config.startDateSeconds, 0, MAX_DATE_SECONDS), "startDateSeconds", "0 to 2^32 - 1");
}

function checkBoard(board: BoardConfig, { disks, modules }: DomainConfig, where: string): void {
  const place = `${where}, board`;
  check(board.kind === "pc" || board.kind === "isapc", place, "of kind pc or isapc");
  check(board.bootMenuMs === undefined || isPositive(board.bootMenuMs), place, "given a positive bootMenuMs");
  const platformFits = board.kind === "pc" && board.showsXen === true;
  check(board.xenPlatform !== true || platformFits, place, "a pc that shows Xen to have the Xen platform device");
  check((disks ?? []).length === 0 || board.showsXen === true, where, "shown Xen to have its disks");
  if (board.firmware !== undefined) {
    check((modules ?? []).length <= 1, where, "given one module at most under firmware: the initial RAM disk");
    return;
  }
  for (const setting of ["optionRoms", "serialConsole", "bootMenuMs"] as const) {
    check(board[setting] === undefined, place, `given firmware for its ${setting}`);
  }
}

function checkOnReboot(domain: DomainConfig, where: string): void {
  const { onReboot = "destroy" } = domain;
  const place = `${where}, onReboot`;
  check(onReboot === "destroy" || onReboot === "restart", place, "destroy or restart");
  check(
    onReboot === "destroy" || !showsXen(domain),
    place,
    "destroy unless the domain has a board that does not show Xen",
  );
}

function checkNics({ kind, nics = [] }: BoardConfig, where: string): void {
  check(nics.length <= MAX_NICS, where, `given at most ${MAX_NICS} cards`);
  for (const [index, nic] of nics.entries()) {
    const place = `${where}, card ${index}`;
    check(nic.model === "ne2000-isa" || nic.model === "rtl8029", place, "of model ne2000-isa or rtl8029");
    check(nic.model === "ne2000-isa" || kind === "pc", place, "an ISA card on a board without PCI");
    checkAddress(nic.address, place);
    check(nic.irq === undefined || ISA_CARD_IRQS.includes(nic.irq), place, `on IRQ ${ISA_CARD_IRQS.join(", ")}`);
  }
}

function showsXen({ board }: DomainConfig): boolean {
  return board === undefined || board.showsXen === true;
}

function checkVifs(vifs: readonly VifConfig[], where: string): void {
  check(vifs.length <= MAX_VIFS, where, `given at most ${MAX_VIFS} interfaces`);
  for (const [index, { address, rate }] of vifs.entries()) {
    const place = `${where}, interface ${index}`;
    checkAddress(address, place);
    const { bytes, microseconds } = rate ?? { bytes: 1, microseconds: 1 };
    const isRate = isWithin(bytes, 1, MAX_RATE) && isWithin(microseconds, 1, MAX_RATE);
    check(isRate, `${place}, rate`, "of 1 to 2^32 - 1 each");
  }
}

function checkAddress(address: string, place: string): void {
  check(isAddress(address), `${place}, address`, "six bytes such as 00:16:3e:12:34:56");
}
