// Part: the remote DMA (DP8390D data sheet, section 9.0) as a NE2000 uses it: one transfer of a byte or a word for each access to the data port.
// Not modelled: the delay of the port's handshake, dual 16-bit (long) addresses.

import type { AccessWidth } from "../../core/bus.ts";
import { packetMemory, readLocal, writeLocal } from "./memory.ts";
import { boundaryMoved } from "./receive.ts";
import { CR, DCR, ISR } from "./registers.ts";
import type { Dp8390State } from "./state.ts";

const PAGE_SHIFT = 8;

/** Carries out the RD bits of a command; gives the causes to raise in ISR. */
export function commandRemoteDma(state: Dp8390State, prom: Uint8Array, command: number): number {
  const { registers } = state;
  switch (command & (CR.RD2 | CR.RD1 | CR.RD0)) {
    case CR.RD0:
      return begin(state, "read");
    case CR.RD1:
      return begin(state, "write");
    case CR.RD1 | CR.RD0:
      // Without auto-initialisation the command is not executed (section 10.3, DCR.ARM); nor with nothing in the ring.
      state.remote = "none";
      if ((registers.DCR & DCR.ARM) === 0 || registers.BNRY === registers.CURR) return 0;
      registers.CRDA = registers.BNRY << PAGE_SHIFT;
      registers.RNPP = readLocal(state.memory, prom, registers.CRDA + 1);
      registers.RBCR =
        readLocal(state.memory, prom, registers.CRDA + 2) | (readLocal(state.memory, prom, registers.CRDA + 3) << 8);
      return begin(state, "send");
    default:
      // Abort or complete; 000 is not allowed and does nothing either.
      state.remote = "none";
      return 0;
  }
}

function begin(state: Dp8390State, kind: "read" | "write" | "send"): number {
  state.remote = kind;
  if (state.registers.RBCR > 0) return 0;
  state.remote = "none";
  return (state.registers.CR & CR.STP) === 0 ? ISR.RDC : 0;
}

/** One read of the data port, at most 16 bits wide; all ones where no remote read is under way. Raises RDC at the end. */
export function readDataPort(state: Dp8390State, prom: Uint8Array, raise: (causes: number) => void): number {
  const { registers, memory } = state;
  const wide = (registers.DCR & DCR.WTS) !== 0;
  if (state.remote !== "read" && state.remote !== "send") return 0xffff;
  // In word mode the lowest address line stays low.
  const address = wide ? registers.CRDA & ~1 : registers.CRDA;
  const low = readLocal(memory, prom, address);
  const value = wide ? low | (readLocal(memory, prom, address + 1) << 8) : low;
  advance(state, wide ? 2 : 1, raise);
  return value;
}

/** One write to the data port, at most 16 bits wide; vanishes where no remote write is under way. */
export function writeDataPort(state: Dp8390State, value: number, raise: (causes: number) => void): void {
  const { registers, memory } = state;
  if (state.remote !== "write") return;
  const wide = (registers.DCR & DCR.WTS) !== 0;
  const address = wide ? registers.CRDA & ~1 : registers.CRDA;
  writeLocal(memory, address, value & 0xff);
  if (wide) writeLocal(memory, address + 1, (value >> 8) & 0xff);
  advance(state, wide ? 2 : 1, raise);
}

/**
 * The packet memory that the next accesses of the data port go through one after another, of at most so many bytes: up to the end of the
 * transfer, of the ring, or of the memory. Empty where an access moves less than its width, and where it does not begin on a word.
 */
function nextBlock({ registers, memory }: Dp8390State, width: AccessWidth, length: number): Uint8Array {
  const { CRDA, DCR: data, PSTOP, RBCR } = registers;
  const wide = (data & DCR.WTS) !== 0;
  const isStream = wide ? width > 1 && CRDA % 2 === 0 : width === 1;
  const ringEnd = PSTOP << PAGE_SHIFT;
  const beforeRingEnd = CRDA < ringEnd ? ringEnd - CRDA : length;
  const block = packetMemory(memory, CRDA, isStream ? Math.min(length, RBCR, beforeRingEnd) : 0);
  return block.subarray(0, block.length - (block.length % width));
}

/** Many reads of the data port at once; gives the bytes read, 0 when the next access is to be made by itself. */
export function readDataBlock(
  state: Dp8390State,
  width: AccessWidth,
  bytes: Uint8Array,
  raise: (causes: number) => void,
): number {
  if (state.remote !== "read" && state.remote !== "send") return 0;
  const block = nextBlock(state, width, bytes.length);
  bytes.set(block);
  if (block.length > 0) advance(state, block.length, raise);
  return block.length;
}

/** The same with writes. */
export function writeDataBlock(
  state: Dp8390State,
  width: AccessWidth,
  bytes: Uint8Array,
  raise: (causes: number) => void,
): number {
  if (state.remote !== "write") return 0;
  const block = nextBlock(state, width, bytes.length);
  block.set(bytes.subarray(0, block.length));
  if (block.length > 0) advance(state, block.length, raise);
  return block.length;
}

function advance(state: Dp8390State, bytes: number, raise: (causes: number) => void): void {
  const { registers } = state;
  registers.CRDA = (registers.CRDA + bytes) & 0xffff;
  if (registers.CRDA === registers.PSTOP << PAGE_SHIFT) registers.CRDA = registers.PSTART << PAGE_SHIFT;
  registers.RBCR = Math.max(registers.RBCR - bytes, 0);
  if (registers.RBCR > 0) return;
  if (state.remote === "send") {
    registers.BNRY = registers.RNPP;
    boundaryMoved(state);
  }
  state.remote = "none";
  raise(ISR.RDC);
}
