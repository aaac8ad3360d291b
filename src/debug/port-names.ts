// Part: names of the registers behind a PC's ports, for listings of a trace's events. What an access reaches depends on what the guest did before: the
// page of a NE2000, the place of a PCI card's ports, the CMOS address. All of it is in the trace, so it is followed from the first event on.

import type { AccessWidth } from "../core/bus.ts";
import { EXIT } from "../cpu/vmx/exit-reasons.ts";
import { AccessNames } from "../devices/ne2000/dump.ts";
import { RTL8029_CONFIG, rtl8029Ports } from "../devices/ne2000/pci.ts";
import { PORT_COUNT } from "../devices/ne2000/ports.ts";
import { boardRows, type DeviceName } from "../devices/pc/board.ts";
import { ConfigSpace } from "../devices/pc/config-space.ts";
import type { BoardConfig, FullMachineConfig } from "../machine/config.ts";
import { ISA_PORT, PCI_SLOT } from "../machine/pc.ts";
import type { TraceEvent } from "../trace/events.ts";
import { IOREQ_H } from "../xen/abi/constants.ts";

interface PortAccess {
  readonly port: number;
  readonly width: AccessWidth;
  readonly isWrite: boolean;
  /** What it carries, once that is known. */
  readonly value: number | undefined;
}

interface Card {
  readonly name: string;
  readonly names: AccessNames;
  /** Where the card's ports begin now; undefined while the guest has not placed them. */
  readonly base: () => number | undefined;
}

/** Registers by offset in a device's ports; two names are what is read and what is written. */
const REGISTERS: Partial<Readonly<Record<DeviceName, readonly (string | readonly [string, string])[]>>> = {
  // 8259A data sheet, "Programming the 8259A"; which word a byte is, its bits and the words before it say.
  "pic-master": [
    ["IRR or ISR", "ICW1, OCW2 or OCW3"],
    ["IMR", "OCW1 or ICW2 to ICW4"],
  ],
  "pic-slave": [
    ["IRR or ISR", "ICW1, OCW2 or OCW3"],
    ["IMR", "OCW1 or ICW2 to ICW4"],
  ],
  elcr: ["ELCR1", "ELCR2"],
  // 82C54 data sheet, "Read/write logic".
  pit: ["counter 0", "counter 1", "counter 2", "control word"],
  "port-61": ["NMI status and control"],
  // 82371SB data sheet, section 2.5.
  "port-92": ["system control A"],
  apm: ["APMC", "APMS"],
  // PC16550D data sheet, table II; with LCR.DLAB set the first two are the divisor latch.
  com1: [["RBR", "THR"], "IER", ["IIR", "FCR"], "LCR", "MCR", "LSR", "MSR", "SCR"],
  com2: [["RBR", "THR"], "IER", ["IIR", "FCR"], "LCR", "MCR", "LSR", "MSR", "SCR"],
  "debug-console": ["debug console"],
  // MC146818A data sheet, "Address map"; the second one is named by its address.
  rtc: ["CMOS address"],
};

/** The i8042's two ports lie apart. */
const KEYBOARD: Readonly<Record<number, readonly [string, string]>> = {
  96: ["output buffer", "input buffer, data"],
  100: ["status", "input buffer, command"],
};

const CMOS_ADDRESS_PORT = 0x70;
const CMOS_DATA_PORT = 0x71;
const CMOS_ADDRESS_MASK = 0x7f;
/** MC146818A data sheet, figure 4. */
const CMOS_NAMES: readonly string[] =
  "seconds,seconds alarm,minutes,minutes alarm,hours,hours alarm,day of week,date,month,year,A,B,C,D".split(",");

const CONFIG_ADDRESS_PORT = 0xcf8;
const CONFIG_DATA_PORT = 0xcfc;
const CONFIG_ENABLE = 0x8000_0000;

const hex = (value: number): string => `0x${value.toString(16)}`;

/** Names port accesses of the machine's board. Every event has to be shown to it, in order. */
export class PortNames {
  readonly #domain: number;
  readonly #rows: ReturnType<typeof boardRows>;
  readonly #cards: readonly Card[];
  /** Configuration spaces of the cards on PCI bus 0, by device number. */
  readonly #slots = new Map<number, ConfigSpace>();
  #configAddress = 0;
  #cmosAddress = 0;
  /** What the device model has been asked for. */
  #asked: PortAccess | undefined;

  constructor({ domains }: Pick<FullMachineConfig, "domains">) {
    const index = domains.findIndex(({ board }) => board !== undefined);
    const board = domains[index]?.board;
    this.#domain = index + 1;
    this.#rows = board === undefined ? [] : boardRows(board.kind);
    this.#cards = (board?.nics ?? []).map((nic, number) => this.#card(`net${number}`, nic));
  }

  #card(name: string, nic: NonNullable<BoardConfig["nics"]>[number]): Card {
    const names = new AccessNames();
    if (nic.model === "ne2000-isa") return { name, names, base: () => nic.port ?? ISA_PORT };
    const config = new ConfigSpace(name, RTL8029_CONFIG);
    this.#slots.set(nic.slot ?? PCI_SLOT, config);
    return { name, names, base: () => rtl8029Ports(config)?.first };
  }

  /** What the next event reaches, such as `net0 ISR = 0x41 RDC PRX`; undefined for all events but port accesses of the board. */
  next(event: TraceEvent): string | undefined {
    if (this.#rows.length === 0) return undefined;
    switch (event.kind) {
      case "vm-exit": {
        if (event.domain !== this.#domain || event.reason !== EXIT.IO_INSTRUCTION) return undefined;
        const access = exitAccess(event.qualification, event.value);
        const name = this.#name(access);
        // Devices in the hypervisor answer at once: their exits say all.
        if (access.isWrite && access.port === CMOS_ADDRESS_PORT) this.#cmosAddress = access.value ?? 0;
        return name;
      }
      case "ioreq": {
        const isPort = event.domain === this.#domain && event.type === IOREQ_H.IOREQ_TYPE_PIO;
        this.#asked = undefined;
        if (!isPort) return undefined;
        const value = event.pointer === true ? undefined : event.data;
        const access = { port: event.address, width: event.size as AccessWidth, isWrite: !event.read, value };
        const name = this.#name(access);
        this.#follow(access);
        if (event.buffered !== true) this.#asked = access;
        return name;
      }
      case "ioreq-answer": {
        const access = this.#asked;
        this.#asked = undefined;
        if (access === undefined || access.isWrite || event.data === undefined) return undefined;
        return this.#name({ ...access, value: event.data });
      }
      default:
        return undefined;
    }
  }

  #name({ port, width, isWrite, value }: PortAccess): string | undefined {
    for (const { name, names, base } of this.#cards) {
      const offset = port - (base() ?? port + 1);
      if (offset >= 0 && offset < PORT_COUNT) return `${name} ${names.describe(offset, width, isWrite, value)}`;
    }
    if (port === CMOS_DATA_PORT) return `rtc ${cmosName(this.#cmosAddress & CMOS_ADDRESS_MASK)}`;
    if (port === CONFIG_ADDRESS_PORT && width === 4) {
      return `CONFIG_ADDRESS${value === undefined ? "" : `: ${configPlace(value)}`}`;
    }
    if (isConfigData(port)) return `CONFIG_DATA of ${configPlace(this.#configAddress, port - CONFIG_DATA_PORT)}`;
    for (const { device, ports = [] } of this.#rows) {
      const range = ports.find(([first, length]) => port >= first && port < first + length);
      if (range === undefined) continue;
      const register = device === "i8042" ? KEYBOARD[port] : REGISTERS[device]?.[port - range[0]];
      if (register === undefined) return device === "pci-io" ? undefined : device;
      return `${device} ${typeof register === "string" ? register : register[isWrite ? 1 : 0]}`;
    }
    return undefined;
  }

  /** What the access changes for the names of those that come. */
  #follow({ port, width, isWrite, value = 0 }: PortAccess): void {
    for (const { names, base } of this.#cards) {
      const offset = port - (base() ?? port + 1);
      if (offset >= 0 && offset < PORT_COUNT) names.follow(offset, isWrite, value);
    }
    if (!isWrite) return;
    if (port === CONFIG_ADDRESS_PORT && width === 4) this.#configAddress = value;
    else if (isConfigData(port)) {
      const { slot, offset } = decodeConfigAddress(this.#configAddress);
      this.#slots.get(slot)?.write(offset + port - CONFIG_DATA_PORT, width, value);
    }
  }
}

/** SDM Vol. 3, table 28-5. */
function exitAccess(qualification: number, value: number | undefined): PortAccess {
  const width = ((qualification & 7) + 1) as AccessWidth;
  return { port: qualification >>> 16, width, isWrite: (qualification & 8) === 0, value };
}

function isConfigData(port: number): boolean {
  return port >= CONFIG_DATA_PORT && port < CONFIG_DATA_PORT + 4;
}

/** PCI Local Bus Specification 2.1, section 3.7.4.1. Slot -1: not a function 0 of bus 0. */
function decodeConfigAddress(address: number): { readonly slot: number; readonly offset: number } {
  const isOurs = (address & CONFIG_ENABLE) !== 0 && (address & 0x00ff_0700) === 0;
  return { slot: isOurs ? (address >>> 11) & 31 : -1, offset: address & 0xfc };
}

/** `00:03.0 register 0x10` */
function configPlace(address: number, byte = 0): string {
  const two = (value: number): string => value.toString(16).padStart(2, "0");
  const [bus, slot, number] = [(address >>> 16) & 0xff, (address >>> 11) & 31, (address >>> 8) & 7];
  return `${two(bus)}:${two(slot)}.${number} register ${hex((address & 0xfc) + byte)}`;
}

function cmosName(address: number): string {
  return CMOS_NAMES[address] ?? `CMOS ${hex(address)}`;
}
