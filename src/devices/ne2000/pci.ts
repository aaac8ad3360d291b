// Part: the RTL8029AS as a PCI card (PCI Local Bus Specification 2.1, chapter 6; RTL8029AS data sheet, PCI configuration space): type 0 header, one I/O
// range of 32 ports, INTA#. Not modelled: the expansion ROM, parity.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import { InputError } from "../../core/errors.ts";
import type { IrqLine } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { Dp8390, type Dp8390Wires } from "./dp8390.ts";
import { Ne2000Ports, PORT_COUNT } from "./ports.ts";
import type { Dp8390Snapshot } from "./state.ts";

const CONFIG_SIZE = 256;

/** What a byte of the configuration space reads at first, and which of its bits can be written. */
const HEADER: readonly {
  readonly offset: number;
  readonly bytes: readonly number[];
  readonly writable?: readonly number[];
}[] = [
  { offset: 0x00, bytes: [0xec, 0x10, 0x29, 0x80] }, // vendor 10EC, device 8029
  { offset: 0x04, bytes: [0x00, 0x00], writable: [0x01, 0x00] }, // command: I/O space
  { offset: 0x06, bytes: [0x00, 0x02] }, // status: DEVSEL# medium
  { offset: 0x08, bytes: [0x00, 0x00, 0x00, 0x02] }, // revision 0, Ethernet controller
  { offset: 0x10, bytes: [0x01, 0x00, 0x00, 0x00], writable: [0xe0, 0xff, 0xff, 0xff] }, // BAR 0: 32 ports
  { offset: 0x2c, bytes: [0xec, 0x10, 0x29, 0x80] }, // subsystem, as the chip's own without an EEPROM
  { offset: 0x3c, bytes: [0x00, 0x01], writable: [0xff, 0x00] }, // interrupt line; INTA#
];

const COMMAND = 0x04;
const IO_SPACE = 0x01;
const BAR0 = 0x10;

/** A function on a PCI bus, as a host bridge sees it. */
export interface PciFunction {
  readonly name: string;
  /** @param offset 0 to 255; an access does not cross a double word */
  readConfig(offset: number, width: AccessWidth): number;
  writeConfig(offset: number, width: AccessWidth, value: number): void;
  /** The ports that it answers now. They move when the guest writes the configuration space. */
  ioRange(): { readonly first: number; readonly length: number } | undefined;
  /** What answers there. */
  readonly io: BusDevice;
}

export interface PciCardState {
  config: Uint8Array;
  chip: Dp8390Snapshot;
}

export class Rtl8029Card implements PciFunction, Snapshotable<PciCardState> {
  readonly name: string;
  readonly chip: Dp8390;
  readonly io: BusDevice;
  readonly #config = new Uint8Array(CONFIG_SIZE);
  readonly #writable = new Uint8Array(CONFIG_SIZE);

  /** @param wires `inta` is the line that the board's routing gives the slot's INTA# */
  constructor(name: string, wires: Omit<Dp8390Wires, "interrupt"> & { readonly inta: IrqLine }, address: string) {
    this.name = name;
    const pin = wires.inta.source(name);
    this.chip = new Dp8390(name, { ...wires, interrupt: (level) => pin.set(level) }, { address, variant: "rtl8029" });
    this.io = new Ne2000Ports(this.chip);
    for (const { offset, bytes, writable } of HEADER) {
      this.#config.set(bytes, offset);
      if (writable !== undefined) this.#writable.set(writable, offset);
    }
  }

  readConfig(offset: number, width: AccessWidth): number {
    let value = 0;
    for (let index = 0; index < width; index++) value |= (this.#config[offset + index] ?? 0) << (8 * index);
    return value >>> 0;
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    for (let index = 0; index < width; index++) {
      const mask = this.#writable[offset + index] ?? 0;
      const kept = (this.#config[offset + index] ?? 0) & ~mask;
      this.#config[offset + index] = kept | ((value >>> (8 * index)) & mask);
    }
  }

  ioRange(): { readonly first: number; readonly length: number } | undefined {
    if ((this.#config[COMMAND]! & IO_SPACE) === 0) return undefined;
    const first = this.readConfig(BAR0, 4) & ~(PORT_COUNT - 1);
    // The processor has 65,536 ports; at port 0 a range counts as not placed yet.
    return first > 0 && first <= 0x1_0000 - PORT_COUNT ? { first, length: PORT_COUNT } : undefined;
  }

  save(): PciCardState {
    return { config: this.#config.slice(), chip: this.chip.save() };
  }

  /** @throws InputError when the snapshot is not a card's */
  load({ config, chip }: PciCardState): void {
    const isSame = (byte: number, index: number) => ((byte ^ this.#config[index]!) & ~this.#writable[index]!) === 0;
    if (config.length !== CONFIG_SIZE || !config.every(isSame)) {
      throw new InputError("not this card's configuration space", `snapshot of ${this.name}`);
    }
    this.chip.load(chip);
    this.#config.set(config);
  }
}
