// Part: 8-bit chips on the ISA bus. A wider access becomes one cycle for each byte, lowest address first (ISA System Architecture, "Data bus
// steering"), which is what the chipset's bus converter does.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";

/** A chip with byte registers; values are 0 to 255. */
export interface ByteChip {
  readonly name: string;
  readByte(offset: number): number;
  writeByte(offset: number, value: number): void;
}

/** What a byte reads where no register answers. */
export const OPEN_BUS_BYTE = 0xff;

/** The chip as a device on a bus. @param firstOffset the chip's register at the start of the range */
export function bytewise(chip: ByteChip, firstOffset = 0): BusDevice {
  return {
    name: chip.name,
    read(offset: number, width: AccessWidth): number {
      const first = firstOffset + offset;
      if (width === 1) return chip.readByte(first);
      let value = 0;
      for (let index = 0; index < width; index++) value |= chip.readByte(first + index) << (8 * index);
      return value >>> 0;
    },
    write(offset: number, width: AccessWidth, value: number): void {
      for (let index = 0; index < width; index++) {
        chip.writeByte(firstOffset + offset + index, (value >>> (8 * index)) & 0xff);
      }
    },
  };
}
