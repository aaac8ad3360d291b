// Part: the PIIX3 south bridge (Intel 82371SB data sheet 290550-002): function 0, the PCI-to-ISA bridge with the PCI interrupt router's registers (the
// routing itself is the hypervisor's, see interrupt-routing.ts), and
// function 1, the IDE controller, whose channels have no drives. Not modelled: USB, bus master IDE transfers (nothing to transfer), DMA routing.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState } from "./chip-state.ts";
import { BAR_IO, COMMAND_IO, type ConfigRow, ConfigSpace, PCI } from "./config-space.ts";
import { NO_PORTS } from "./i440fx.ts";
import { type ByteChip, bytewise } from "./isa.ts";
import type { PciFunction } from "./pci.ts";

const PIRQRC = 0x60;
/** PIRQA# to PIRQD#. */
const LINKS = [0, 1, 2, 3] as const;
// A route register: bit 7 disables, bits 3:0 name the IRQ (section 2.2.11), so a route in force equals its IRQ.
/** IRQs that a PIRQ may be routed to (the same table). */
export const ROUTABLE: readonly number[] = [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15];

const ISA_BRIDGE: readonly ConfigRow[] = [
  { offset: PCI.VENDOR_ID, name: "VID, DID", bytes: [0x86, 0x80, 0x00, 0x70], section: "2.2.1" },
  { offset: PCI.COMMAND, name: "PCICMD", bytes: [0x07, 0x00], writable: [0x08, 0x01], section: "2.2.3" },
  { offset: PCI.STATUS, name: "PCISTS", bytes: [0x00, 0x02], clearable: [0x00, 0x78], section: "2.2.4" },
  { offset: PCI.REVISION, name: "RID, CLASSC: ISA bridge", bytes: [0x00, 0x00, 0x01, 0x06], section: "2.2.5" },
  { offset: PCI.HEADER_TYPE, name: "HEDT: multi-function", bytes: [0x80], section: "2.2.7" },
  {
    offset: PCI.SUBSYSTEM_VENDOR_ID,
    name: "subsystem",
    bytes: [0xf4, 0x1a, 0x00, 0x11],
    section: "QEMU docs/specs/pci-ids",
  },
  { offset: 0x4c, name: "IORT", bytes: [0x4d], writable: [0x7f], section: "2.2.8" },
  { offset: 0x4e, name: "XBCS", bytes: [0x03, 0x00], writable: [0xff, 0x01], section: "2.2.9" },
  {
    offset: PIRQRC,
    name: "PIRQRC[A:D]",
    bytes: [0x80, 0x80, 0x80, 0x80],
    writable: [0x8f, 0x8f, 0x8f, 0x8f],
    section: "2.2.11",
  },
  { offset: 0x69, name: "TOM", bytes: [0x02], writable: [0xfe], section: "2.2.12" },
  { offset: 0x6a, name: "MSTAT", bytes: [0x00, 0x00], writable: [0x01, 0x80], section: "2.2.13" },
  { offset: 0x70, name: "MBIRQ0", bytes: [0x80], writable: [0xef], section: "2.2.14" },
  { offset: 0x76, name: "MBDMA[1:0]", bytes: [0x0c, 0x0c], writable: [0x8f, 0x8f], section: "2.2.15" },
  { offset: 0x78, name: "PCSC", bytes: [0x02, 0x00], writable: [0xff, 0xff], section: "2.2.16" },
  { offset: 0xa0, name: "SMICNTL", bytes: [0x08], writable: [0x1d], section: "2.2.19" },
  { offset: 0xa2, name: "SMIEN", bytes: [0x00, 0x00], writable: [0xff, 0x01], section: "2.2.20" },
  { offset: 0xa4, name: "SEE", bytes: [0, 0, 0, 0], writable: [0xfb, 0xff, 0x00, 0xe0], section: "2.2.21" },
  { offset: 0xa8, name: "FTMR", bytes: [0x0f], writable: [0xff], section: "2.2.22" },
  { offset: 0xaa, name: "SMIREQ", bytes: [0x00, 0x00], writable: [0xff, 0x01], section: "2.2.23" },
  { offset: 0xac, name: "CTLTMR", bytes: [0x00], writable: [0xff], section: "2.2.24" },
  { offset: 0xae, name: "CTHTMR", bytes: [0x00], writable: [0xff], section: "2.2.25" },
];

export class Piix3IsaBridge implements PciFunction, Snapshotable<Uint8Array> {
  readonly name = "82371SB ISA bridge";
  readonly io: BusDevice = NO_PORTS;
  readonly #config: ConfigSpace = new ConfigSpace(this.name, ISA_BRIDGE);
  readonly #route: (link: number, irq: number) => void;

  /** @param route told where PIRQA# (0) to PIRQD# (3) go when a guest changes it: an ISA interrupt, or 0 for nowhere */
  constructor(route: (link: number, irq: number) => void) {
    this.#route = route;
  }

  #routeOf(link: number): number {
    const route = this.#config.read(PIRQRC + link, 1);
    return ROUTABLE.includes(route) ? route : 0;
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    const before = LINKS.map((link) => this.#routeOf(link));
    this.#config.write(offset, width, value);
    for (const link of LINKS) {
      const route = this.#routeOf(link);
      if (route !== before[link]) this.#route(link, route);
    }
  }

  ioRange(): undefined {
    return undefined;
  }

  save(): Uint8Array {
    return this.#config.save();
  }

  load(state: Uint8Array): void {
    this.#config.load(state);
  }
}

const BUS_MASTER_PORTS = 16;
const LAST_BASE = 0x1_0000 - BUS_MASTER_PORTS;

const IDE: readonly ConfigRow[] = [
  { offset: PCI.VENDOR_ID, name: "VID, DID", bytes: [0x86, 0x80, 0x10, 0x70], section: "2.3.1" },
  { offset: PCI.COMMAND, name: "PCICMD", bytes: [0x00, 0x00], writable: [0x05, 0x00], section: "2.3.3" },
  { offset: PCI.STATUS, name: "PCISTS", bytes: [0x80, 0x02], clearable: [0x00, 0x38], section: "2.3.4" },
  { offset: PCI.REVISION, name: "RID, CLASSC: IDE, bus master", bytes: [0x00, 0x80, 0x01, 0x01], section: "2.3.5" },
  { offset: 0x0d, name: "MLT", bytes: [0x00], writable: [0xf0], section: "2.3.7" },
  // The data sheet hardwires bits 31:16 to zero; QEMU keeps them, and SeaBIOS sizes the range by all 32 bits.
  { offset: PCI.BAR4, name: "BMIBA", bytes: [BAR_IO, 0, 0, 0], writable: [0xf0, 0xff, 0xff, 0xff], section: "2.3.9" },
  {
    offset: PCI.SUBSYSTEM_VENDOR_ID,
    name: "subsystem",
    bytes: [0xf4, 0x1a, 0x00, 0x11],
    section: "QEMU docs/specs/pci-ids",
  },
  { offset: 0x40, name: "IDETIM", bytes: [0, 0, 0, 0], writable: [0xff, 0xf3, 0xff, 0xf3], section: "2.3.10" },
  { offset: 0x44, name: "SIDETIM", bytes: [0x00], writable: [0xff], section: "2.3.11" },
];

/** Bus master registers of a channel (section 2.7): command, status, descriptor table pointer. */
const BM_COMMAND_MASK = 0x09;
const BM_STATUS_WRITABLE = 0x60;
const BM_STATUS_CLEARABLE = 0x06;
const BM_POINTER_LOW = 4;

export interface Piix3IdeState {
  config: Uint8Array;
  busMaster: Uint8Array;
}

export class Piix3Ide implements PciFunction, Snapshotable<Piix3IdeState> {
  readonly name = "82371SB IDE";
  readonly io: BusDevice;
  readonly #config: ConfigSpace = new ConfigSpace(this.name, IDE);
  readonly #busMaster = new Uint8Array(BUS_MASTER_PORTS);

  constructor() {
    const registers: ByteChip = {
      name: "82371SB bus master IDE",
      readByte: (offset) => this.#busMaster[offset] ?? 0,
      writeByte: (offset, value) => this.#writeBusMaster(offset, value),
    };
    this.io = bytewise(registers);
  }

  #writeBusMaster(offset: number, value: number): void {
    const old = this.#busMaster[offset];
    if (old === undefined) return;
    const register = offset & 7;
    if (register === 0) this.#busMaster[offset] = value & BM_COMMAND_MASK;
    else if (register === 2) {
      this.#busMaster[offset] = (value & BM_STATUS_WRITABLE) | (old & BM_STATUS_CLEARABLE & ~value);
    } else if (register === BM_POINTER_LOW) this.#busMaster[offset] = value & 0xfc;
    else if (register > BM_POINTER_LOW) this.#busMaster[offset] = value;
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config.write(offset, width, value);
  }

  ioRange(): { first: number; length: number } | undefined {
    if ((this.#config.read(PCI.COMMAND, 1) & COMMAND_IO) === 0) return undefined;
    const first = (this.#config.read(PCI.BAR4, 4) & ~BAR_IO) >>> 0;
    return first > 0 && first <= LAST_BASE ? { first, length: BUS_MASTER_PORTS } : undefined;
  }

  save(): Piix3IdeState {
    return { config: this.#config.save(), busMaster: this.#busMaster.slice() };
  }

  /** @throws InputError when the state is not an IDE function's */
  load(state: Piix3IdeState): void {
    const { config, busMaster } = adoptState(this.save(), state, this.name);
    this.#config.load(config);
    this.#busMaster.set(busMaster);
  }
}

/**
 * A register of an IDE channel without drives: the host pulls DD7 down and nothing else drives the bus, which its pull-ups
 * hold high (ATA-4, section 5.2.1: DD7 has a 10-kΩ pull-down, so that BSY reads as zero).
 */
const NO_DRIVE_BYTE = 0x7f;

export const absentDrives: ByteChip = {
  name: "IDE channel without drives",
  readByte: () => NO_DRIVE_BYTE,
  writeByte: () => undefined,
};
