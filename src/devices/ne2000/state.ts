// Part: the whole state of a DP8390 and the memory on its local bus, as plain data.

import { InputError } from "../../core/errors.ts";
import type { MacState } from "../net/mac.ts";
import { memoryIsWhole } from "./memory.ts";
import { CR, DCR, ISR, type Registers } from "./registers.ts";

/** Which remote DMA is under way; `send` is the send-packet command (section 9.0). */
export type RemoteDma = "none" | "read" | "write" | "send";

export interface Dp8390State {
  registers: Registers;
  /** A start command took effect and no stop command or reset since. */
  started: boolean;
  /** A stop command waits for the transmission under way. */
  stopping: boolean;
  transmitting: boolean;
  /** A multicast frame that hashes to bit 62 disabled the transmitter (TCR.ATD). */
  transmitterDisabled: boolean;
  remote: RemoteDma;
  /** The receiving half of the FIFO after a loopback, and where the next read comes from. */
  fifo: Uint8Array;
  fifoNext: number;
  /** The frame that an internal loopback is carrying. */
  loopback: Uint8Array;
  /** 16 KiB of packet memory. */
  memory: Uint8Array;
}

export interface Dp8390Snapshot extends Dp8390State {
  mac: MacState;
}

export const FIFO_SIZE = 8;

/** The registers at power-on. What the data sheet leaves open is 0. */
export function powerOnRegisters(): Registers {
  const registers: Registers = {
    CR: 0,
    PSTART: 0,
    PSTOP: 0,
    BNRY: 0,
    TPSR: 0,
    TBCR: 0,
    TSR: 0,
    NCR: 0,
    ISR: 0,
    IMR: 0,
    CRDA: 0,
    RBCR: 0,
    CLDA: 0,
    RCR: 0,
    RSR: 0,
    TCR: 0,
    DCR: 0,
    CNTR0: 0,
    CNTR1: 0,
    CNTR2: 0,
    CURR: 0,
    RNPP: 0,
    LNPP: 0,
    PAR: [0, 0, 0, 0, 0, 0],
    MAR: [0, 0, 0, 0, 0, 0, 0, 0],
    EECR: 0,
    // 10BASE-T, as CONFIG0 tells that a coaxial cable is not in use.
    CONFIG2: 0x40,
    CONFIG3: 0,
  };
  resetRegisters(registers);
  return registers;
}

/** What the RESET pin does (section 11.0, the table of bits that reset affects). All else stays. */
export function resetRegisters(registers: Registers): void {
  registers.CR = CR.RD2 | CR.STP;
  registers.ISR |= ISR.RST;
  registers.IMR = 0;
  registers.DCR |= DCR.LAS;
  registers.TCR &= ~0x06;
}

/** @throws InputError when a snapshot is not a card's */
export function checkState(state: Dp8390State, context: string): void {
  const { registers, fifo, fifoNext, memory, remote } = state;
  const pairs = ["TBCR", "CRDA", "RBCR", "CLDA"];
  for (const [name, value] of Object.entries(registers) as [string, number | number[]][]) {
    const maximum = pairs.includes(name) ? 0xffff : 0xff;
    const values = typeof value === "number" ? [value] : value;
    if (values.every((each) => Number.isInteger(each) && each >= 0 && each <= maximum)) continue;
    throw new InputError(`${name} is not from 0 to ${maximum}`, context);
  }
  if (registers.PAR.length !== 6 || registers.MAR.length !== 8) throw new InputError("not a card's addresses", context);
  const isWhole = memoryIsWhole(memory) && fifo.length === FIFO_SIZE && fifoNext >= 0 && fifoNext < FIFO_SIZE;
  if (!isWhole || !["none", "read", "write", "send"].includes(remote))
    throw new InputError("not a card's state", context);
}
