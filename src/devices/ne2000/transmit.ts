// Part: packet transmission (DP8390D data sheet, section 8.0) and loopback (section 12.0; National Semiconductor AN-937).
// A frame is fetched from packet memory as a whole when the transmit command is given. Not modelled: FIFO underrun, the heartbeat of 10BASE5.

import { checkSequenceIsGood, withCheckSequence } from "../net/ethernet.ts";
import type { Outcome } from "../net/mac.ts";
import { isAccepted, isGroup } from "./filter.ts";
import { packetMemory, readLocal } from "./memory.ts";
import { DCR, ISR, RSR, TCR, TSR } from "./registers.ts";
import { type Dp8390State, FIFO_SIZE } from "./state.ts";

const PAGE_SHIFT = 8;
const ADDRESS_SIZE = 6;

/** TCR.LB1 and LB0: 0 normal, 1 through the controller, 2 through the encoder, 3 through the transceiver. */
export function loopbackMode(tcr: number): number {
  return (tcr & (TCR.LB1 | TCR.LB0)) >> 1;
}

/** The frame at TPSR as it goes out, with the chip's check sequence unless TCR.CRC inhibits it. */
export function fetchFrame({ registers, memory }: Dp8390State, prom: Uint8Array): Uint8Array {
  const { TPSR, TBCR, DCR: data, TCR: control } = registers;
  const wide = (data & DCR.WTS) !== 0;
  const swapped = wide && (data & DCR.BOS) !== 0;
  const looped = loopbackMode(control) !== 0 && (data & DCR.LS) === 0;
  // Loopback has half the FIFO: in word mode one byte of each word is sent, the even one with BOS set, else the odd one.
  const lane = wide && looped;
  const first = TPSR << PAGE_SHIFT;
  registers.CLDA = (first + TBCR) & 0xffff;
  const appends = (control & TCR.CRC) === 0;
  const stored = packetMemory(memory, first, TBCR);
  if (stored.length === TBCR && !lane && !swapped) return appends ? withCheckSequence(stored) : stored.slice();
  const bytes = new Uint8Array(lane ? TBCR >> 1 : TBCR);
  for (let index = 0; index < bytes.length; index++) {
    const address = lane ? first + 2 * index + (swapped ? 0 : 1) : (first + index) ^ (swapped ? 1 : 0);
    bytes[index] = readLocal(memory, prom, address & 0xffff);
  }
  return appends ? withCheckSequence(bytes) : bytes;
}

/** A transmission on the cable has ended; gives the causes to raise in ISR. */
export function transmitted({ registers }: Dp8390State, { sent, collisions, late }: Outcome): number {
  registers.TSR = (sent ? TSR.PTX : TSR.ABT) | (collisions > 0 ? TSR.COL : 0) | (late ? TSR.OWC : 0);
  registers.NCR = sent ? collisions : 0;
  return sent ? ISR.PTX : ISR.TXE;
}

/** Carrier and heartbeat are blocked within the controller, the heartbeat within the encoder (AN-937, section 6). */
const LOOPBACK_STATUS = [0, TSR.CDH | TSR.CRS, TSR.CDH, 0] as const;

/** The transmitting half of a loopback that did not reach the cable. */
export function transmittedInside({ registers }: Dp8390State): number {
  registers.TSR = TSR.PTX | LOOPBACK_STATUS[loopbackMode(registers.TCR)]!;
  registers.NCR = 0;
  return ISR.PTX;
}

/**
 * The receiving half of a loopback: the frame's end goes to the FIFO, nothing to memory, and PRX is never raised. Sender and receiver share the CRC logic:
 * what the chip appended counts as an error, and only a check sequence made by software (TCR.CRC set) is checked.
 */
export function receiveLoopback(state: Dp8390State, frame: Uint8Array): number {
  const { registers, fifo } = state;
  const length = frame.length;
  // The frame, then its length: low, high and high again, in the eight places of the FIFO's receiving half. After a frame of 8n + 5 bytes and its check
  // sequence the length is read first, then the last byte, then the check sequence (section 12.0, alignment of the received packet in the FIFO).
  const tail = [length & 0xff, (length >> 8) & 0xff, (length >> 8) & 0xff];
  const appended = (registers.TCR & TCR.CRC) === 0 ? 4 : 0;
  for (let index = Math.max(0, length + tail.length - FIFO_SIZE); index < length + tail.length; index++) {
    fifo[(index + FIFO_SIZE - 1) % FIFO_SIZE] = index < length ? frame[index]! : tail[index - length]!;
  }
  state.fifoNext = 0;
  registers.RSR = length >= ADDRESS_SIZE && isGroup(frame) ? RSR.PHY : 0;
  if (length < ADDRESS_SIZE || !isAccepted(registers, frame)) {
    registers.RSR |= RSR.PRX;
    return 0;
  }
  if (appended === 0 && checkSequenceIsGood(frame)) {
    registers.RSR |= RSR.PRX;
    return 0;
  }
  registers.RSR |= RSR.CRC;
  return ISR.RXE;
}
