// Part: address recognition (DP8390D data sheet, sections 10.3 RCR, 10.8 and 10.9).

import { crcRegister } from "../net/ethernet.ts";
import { RCR, type Registers } from "./registers.ts";

const ADDRESS_SIZE = 6;

/** Bit 0 of the first byte: a group address (IEEE 802.3 section 3.2.3). */
export function isGroup(frame: Uint8Array): boolean {
  return (frame[0]! & 1) !== 0;
}

/** The bit of MAR that an address picks: the six highest bits of the CRC register behind it. */
export function multicastBit(frame: Uint8Array): number {
  // Our register runs with its bits reversed: the chip's highest bit is our lowest.
  const crc = crcRegister(frame.subarray(0, ADDRESS_SIZE));
  let bit = 0;
  for (let index = 0; index < 6; index++) bit = (bit << 1) | ((crc >>> index) & 1);
  return bit;
}

/** Whether a frame of at least six bytes is for this station. */
export function isAccepted(registers: Registers, frame: Uint8Array): boolean {
  const { RCR: mode, PAR, MAR } = registers;
  if (!isGroup(frame)) return (mode & RCR.PRO) !== 0 || PAR.every((byte, index) => byte === frame[index]);
  let broadcast = true;
  for (let index = 0; index < ADDRESS_SIZE; index++) broadcast &&= frame[index] === 0xff;
  if (broadcast) return (mode & RCR.AB) !== 0;
  const bit = multicastBit(frame);
  return (mode & RCR.AM) !== 0 && ((MAR[bit >> 3]! >> (bit & 7)) & 1) !== 0;
}
