// Part: the RTL8029AS as a PCI card (PCI Local Bus Specification 2.1, chapter 6; RTL8029AS data sheet LS009.0, PCI configuration space): type 0 header,
// one I/O range of 32 ports, INTA#. Not modelled: the expansion ROM, parity.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { IrqLine } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { COMMAND_IO, ConfigSpace, PCI } from "../pc/config-space.ts";
import type { PciFunction } from "../pc/pci.ts";
import { Dp8390, type Dp8390Wires } from "./dp8390.ts";
import { Ne2000Ports, PORT_COUNT } from "./ports.ts";
import type { Dp8390Snapshot } from "./state.ts";

const BAR0 = 0x10;
/** Realtek's vendor and the chip's device number, little-endian. */
const IDENTITY = [0xec, 0x10, 0x29, 0x80] as const;

/** Its configuration space. */
export const RTL8029_CONFIG = [
  { offset: PCI.VENDOR_ID, name: "VID, DID", bytes: IDENTITY, section: "6.2.1" },
  { offset: PCI.COMMAND, name: "COMMAND", bytes: [0x00, 0x00], writable: [COMMAND_IO, 0x00], section: "6.2.2" },
  // DEVSEL# timing medium.
  { offset: PCI.STATUS, name: "STATUS", bytes: [0x00, 0x02], section: "6.2.3" },
  // Network controller, Ethernet.
  { offset: PCI.REVISION, name: "RID, CLASS", bytes: [0x00, 0x00, 0x00, 0x02], section: "6.2.1" },
  { offset: BAR0, name: "IOAR", bytes: [0x01, 0, 0, 0], writable: [0xe0, 0xff, 0xff, 0xff], section: "6.2.5" },
  // Without an EEPROM the subsystem is the chip itself.
  { offset: PCI.SUBSYSTEM_VENDOR_ID, name: "SVID, SID", bytes: IDENTITY, section: "6.2.4" },
  { offset: PCI.INTERRUPT_LINE, name: "ILR", bytes: [0x00], writable: [0xff], section: "6.2.4" },
  { offset: PCI.INTERRUPT_PIN, name: "IPR", bytes: [0x01], section: "6.2.4" },
] as const;

interface PortRange {
  readonly first: number;
  readonly length: number;
}

/** The ports that the card's configuration space has it answer. */
export function rtl8029Ports(config: ConfigSpace): PortRange | undefined {
  if ((config.read(PCI.COMMAND, 1) & COMMAND_IO) === 0) return undefined;
  const first = (config.read(BAR0, 4) & ~(PORT_COUNT - 1)) >>> 0;
  // The processor has 65,536 ports; at port 0 a range counts as not placed yet.
  return first > 0 && first <= 0x1_0000 - PORT_COUNT ? { first, length: PORT_COUNT } : undefined;
}

export interface PciCardState {
  config: Uint8Array;
  chip: Dp8390Snapshot;
}

export interface PciCardWires extends Omit<Dp8390Wires, "interrupt"> {
  /** The line that the board's routing gives the slot's INTA#. */
  readonly inta: IrqLine;
}

export class Rtl8029Card implements PciFunction, Snapshotable<PciCardState> {
  readonly name: string;
  readonly chip: Dp8390;
  readonly io: BusDevice;
  readonly #config: ConfigSpace;

  /** @param address the station address @throws InputError when it is none */
  constructor(name: string, wires: PciCardWires, address: string) {
    this.name = name;
    this.#config = new ConfigSpace(name, RTL8029_CONFIG);
    const pin = wires.inta.source(name);
    this.chip = new Dp8390(name, { ...wires, interrupt: (level) => pin.set(level) }, { address, variant: "rtl8029" });
    this.io = new Ne2000Ports(this.chip);
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config.write(offset, width, value);
  }

  ioRange(): PortRange | undefined {
    return rtl8029Ports(this.#config);
  }

  reset(): void {
    this.#config.reset();
    this.chip.reset();
  }

  /** Out of its slot it neither interrupts nor hears. */
  unplug(): void {
    this.chip.reset();
  }

  save(): PciCardState {
    return { config: this.#config.save(), chip: this.chip.save() };
  }

  /** @throws InputError when the snapshot is not a card's */
  load({ config, chip }: PciCardState): void {
    this.#config.load(config);
    this.chip.load(chip);
  }
}
