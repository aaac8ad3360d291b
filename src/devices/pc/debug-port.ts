// Part: the debug console of QEMU's machines at port 402h (QEMU hw/char/debugcon.c): each byte written is a character, a read gives E9h, by
// which firmware knows that somebody listens.

import type { ByteChip } from "./isa.ts";

const PRESENT = 0xe9;

export function debugPort(write: (byte: number) => void): ByteChip {
  return { name: "debug console", readByte: () => PRESENT, writeByte: (_offset, value) => write(value) };
}
