// Part: packet reception (DP8390D data sheet, section 7.0): what is accepted, the ring of 256-byte buffers, the header before each frame, and what happens
// when the ring is full. Not modelled: the FIFO's overrun, and what a refused frame leaves in free buffers.
//
// The ring: frames go in at CURR and are taken out at BNRY. CURR = BNRY means empty, as at initialisation; so that it never means full, the buffer behind a
// frame, which becomes CURR, may not be BNRY's either. The registers are checked here, where they are used: a ring that is none, or does not lie in
// packet memory, or a CURR outside it, is a ring without room. A BNRY outside the ring never meets the DMA, as on the chip.

import { checkSequenceIsGood, MIN_FRAME } from "../net/ethernet.ts";
import type { Ne2000Faults } from "./faults.ts";
import { isAccepted, isGroup } from "./filter.ts";
import { END_PAGE, FIRST_PAGE, writeLocal } from "./memory.ts";
import { DCR, ISR, RCR, type Registers, RSR } from "./registers.ts";
import type { Dp8390State } from "./state.ts";

const PAGE_SIZE = 256;
const HEADER_SIZE = 4;
const ADDRESS_SIZE = 6;

/** A tally stops here, and calls for attention when its highest bit is set (section 10.10). */
const TALLY_STOP = 192;
const TALLY_ATTENTION = 128;

/** The pages that a frame can take now without meeting BNRY; 0 when the ring is none. */
function freePages(registers: Registers, faults: Ne2000Faults): number {
  const { PSTART, PSTOP, CURR, BNRY } = registers;
  const isOrdered = PSTART < PSTOP || faults.has("ne2000.order-unchecked");
  const isInRing = CURR >= PSTART && (CURR < PSTOP || PSTOP <= PSTART);
  const isRing = PSTART >= FIRST_PAGE && PSTOP <= END_PAGE && isOrdered;
  if (!isRing || !(isInRing || faults.has("ne2000.curr-unchecked"))) return 0;
  if (faults.has("ne2000.boundary-walked")) return walkToBoundary(registers);
  const pages = (PSTOP - PSTART) & 0xff;
  const distance = (BNRY - CURR + pages) % pages;
  const beforeBoundary = BNRY < PSTART || BNRY >= PSTOP || distance === 0 ? pages : distance;
  return faults.has("ne2000.full-is-empty") ? beforeBoundary : beforeBoundary - 1;
}

/** The same where BNRY lies in the ring; only the fault of this name uses it. */
function walkToBoundary(registers: Registers): number {
  const after = (page: number): number => (page + 1 === registers.PSTOP ? registers.PSTART : page + 1);
  let free = 0;
  for (let page = after(registers.CURR); page !== registers.BNRY; page = after(page)) free++;
  return free;
}

/** The CPU has taken a frame out of the ring: the overflow's RST goes (section 10.3, ISR.RST) unless the chip is stopped. */
export function boundaryMoved(state: Dp8390State): void {
  if (state.started) state.registers.ISR &= ~ISR.RST;
}

/** Counts an event; gives the cause that it raises. */
function tally(registers: Registers, counter: "CNTR0" | "CNTR1" | "CNTR2"): number {
  if (registers[counter] < TALLY_STOP) registers[counter]++;
  return registers[counter] >= TALLY_ATTENTION ? ISR.CNT : 0;
}

/**
 * A frame from the cable, with its check sequence, while the chip is started and not in loopback. Gives the causes to raise in ISR.
 * @param dribbleBits bits behind the last whole byte; up to five of them on a good frame are no error (section 10.3, RSR.FAE)
 */
export function receiveFrame(state: Dp8390State, frame: Uint8Array, dribbleBits: number, faults: Ne2000Faults): number {
  const { registers } = state;
  const mode = registers.RCR;
  if (faults.has("ne2000.stalls-when-full") && (registers.RSR & RSR.MPA) !== 0) return 0;
  if (frame.length < ADDRESS_SIZE || !isAccepted(registers, frame)) return 0;
  if (frame.length < MIN_FRAME && (mode & RCR.AR) === 0) return 0;
  const good = checkSequenceIsGood(frame);
  let causes = 0;
  let status = isGroup(frame) ? RSR.PHY : 0;
  if (!good) {
    causes |= ISR.RXE | tally(registers, "CNTR1");
    status |= RSR.CRC;
    if (dribbleBits > 0) {
      causes |= tally(registers, "CNTR0");
      status |= RSR.FAE;
    }
  }
  registers.RSR = status;
  if ((mode & RCR.MON) !== 0) {
    registers.RSR |= RSR.MPA;
    return causes | ISR.RXE | tally(registers, "CNTR2");
  }
  if (!good && (mode & RCR.SEP) === 0) return causes;
  const pages = Math.ceil((HEADER_SIZE + frame.length) / PAGE_SIZE);
  if (pages > freePages(registers, faults)) {
    registers.RSR |= RSR.MPA;
    return causes | ISR.OVW | ISR.RXE | ISR.RST | tally(registers, "CNTR2");
  }
  if (good) registers.RSR |= RSR.PRX;
  store(state, frame, pages, faults);
  return good ? ISR.PRX : causes;
}

function store({ registers, memory }: Dp8390State, frame: Uint8Array, pages: number, faults: Ne2000Faults): void {
  const { PSTART, PSTOP, CURR } = registers;
  const last = CURR + pages;
  const wraps = faults.has("ne2000.next-unwrapped") ? last > PSTOP : last >= PSTOP;
  const next = wraps ? last - (PSTOP - PSTART) : last;
  const header = [registers.RSR, next, frame.length & 0xff, (frame.length >> 8) & 0xff];
  // Byte order select swaps the bytes of words, except the header's first (section 7.0, storage format for received packets).
  const swap = (registers.DCR & (DCR.WTS | DCR.BOS)) === (DCR.WTS | DCR.BOS) ? 1 : 0;
  const end = PSTOP * PAGE_SIZE;
  let address = CURR * PAGE_SIZE;
  for (let index = 0; index < HEADER_SIZE + frame.length; index++) {
    const byte = index < HEADER_SIZE ? header[index]! : frame[index - HEADER_SIZE]!;
    writeLocal(memory, index < 2 ? address : address ^ swap, byte);
    address++;
    if (address === end) address = PSTART * PAGE_SIZE;
  }
  registers.CLDA = address;
  registers.CURR = next;
  registers.LNPP = next;
}
