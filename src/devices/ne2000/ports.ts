// Part: the 32 I/O ports of a NE2000 (Novell): the chip's registers, the data port, the reset port. ISA and PCI cards have the same.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { Dp8390 } from "./dp8390.ts";

export const PORT_COUNT = 32;
/** The data port answers at eight addresses, the reset port at the next eight: the card does not decode the lower lines. */
export const DATA_PORT = 0x10;
export const RESET_PORT = 0x18;

/** The ports as the bus sees them. Registers are eight bits wide: a wider access is as many accesses, one after another. */
export class Ne2000Ports implements BusDevice {
  readonly name: string;
  readonly #chip: Dp8390;

  constructor(chip: Dp8390) {
    this.name = chip.name;
    this.#chip = chip;
  }

  read(offset: number, width: AccessWidth): number {
    if (offset >= DATA_PORT && offset < RESET_PORT) return this.#chip.readData(width);
    let value = 0;
    for (let index = 0; index < width; index++) value |= this.#readByte(offset + index) << (8 * index);
    return value >>> 0;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    if (offset >= DATA_PORT && offset < RESET_PORT) {
      this.#chip.writeData(width, value);
      return;
    }
    for (let index = 0; index < width; index++) this.#writeByte(offset + index, (value >>> (8 * index)) & 0xff);
  }

  readBlock(offset: number, width: AccessWidth, bytes: Uint8Array): number {
    return offset >= DATA_PORT && offset < RESET_PORT ? this.#chip.readDataBlock(width, bytes) : 0;
  }

  writeBlock(offset: number, width: AccessWidth, bytes: Uint8Array): number {
    return offset >= DATA_PORT && offset < RESET_PORT ? this.#chip.writeDataBlock(width, bytes) : 0;
  }

  #readByte(offset: number): number {
    if (offset < DATA_PORT) return this.#chip.readRegister(offset);
    if (offset < RESET_PORT) return this.#chip.readData(1);
    // Reading begins the reset pulse; what is read means nothing. Writing ends it, which takes no time here.
    if (offset < PORT_COUNT) this.#chip.reset();
    return 0;
  }

  #writeByte(offset: number, value: number): void {
    if (offset < DATA_PORT) this.#chip.writeRegister(offset, value);
    else if (offset < RESET_PORT) this.#chip.writeData(1, value);
  }
}
