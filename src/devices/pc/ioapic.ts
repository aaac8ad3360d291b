// Part: the I/O APIC (Intel 82093AA data sheet 290566-001), memory-mapped at FEC00000h. The chip has 24 inputs, Xen's 48, of which ours has as many.
// Not modelled: SMI, NMI, INIT and ExtINT delivery (such entries deliver nothing), arbitration.

import type { BusDevice } from "../../core/bus.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";

const PIN_COUNT = 48;
/** IOREGSEL and IOWIN, and the registers behind them (section 3.0). */
const IOREGSEL = 0x00;
const IOWIN = 0x10;
const IOAPICID = 0x00;
const IOAPICVER = 0x01;
const IOAPICARB = 0x02;
const IOREDTBL = 0x10;
/** Version 11h, and the highest entry. */
const VERSION = ((PIN_COUNT - 1) << 16) | 0x11;
const ID_MASK = 0x0f00_0000;

/** Redirection table, low word (section 3.2.4). */
const REDIRECT = { LOGICAL: 1 << 11, REMOTE_IRR: 1 << 14, LEVEL: 1 << 15, MASKED: 1 << 16 } as const;
const LOW_WRITABLE = 0x1_afff;
const HIGH_WRITABLE = 0xff00_0000;
const FIXED = 0;
const LOWEST_PRIORITY = 1;

export interface IoApicState {
  id: number;
  select: number;
  low: number[];
  high: number[];
  /** Levels of the inputs. */
  lines: boolean[];
}

/** Sends an interrupt message; false when no local APIC took it. */
export type Deliver = (vector: number, destination: number, isLogical: boolean, isLevel: boolean) => boolean;

export class IoApic implements Snapshotable<IoApicState> {
  readonly #deliver: Deliver;
  #state: IoApicState = {
    id: 0,
    select: 0,
    low: new Array<number>(PIN_COUNT).fill(REDIRECT.MASKED),
    high: new Array<number>(PIN_COUNT).fill(0),
    lines: new Array<boolean>(PIN_COUNT).fill(false),
  };

  constructor(deliver: Deliver) {
    this.#deliver = deliver;
  }

  readonly mmio: BusDevice = {
    name: "I/O APIC",
    read: (offset, width) => {
      const value = offset === IOREGSEL ? this.#state.select : offset === IOWIN ? this.#read() : 0;
      return (value & (0xffff_ffff >>> (32 - 8 * width))) >>> 0;
    },
    write: (offset, width, value) => {
      if (offset === IOREGSEL) this.#state.select = value & 0xff;
      else if (offset === IOWIN && width === 4) this.#write(value);
    },
  };

  /** @param level whether the interrupt is asserted, whatever the entry's polarity bit says */
  setLine(pin: number, level: boolean): void {
    const state = this.#state;
    const rises = level && state.lines[pin] === false;
    state.lines[pin] = level;
    const isLevel = (state.low[pin]! & REDIRECT.LEVEL) !== 0;
    if (isLevel ? level : rises) this.#send(pin);
  }

  /** The local APIC has handled a level-triggered interrupt: Remote IRR is cleared, and an input that is still asserted asks again. */
  endOfInterrupt(vector: number): void {
    const { low, lines } = this.#state;
    for (let pin = 0; pin < PIN_COUNT; pin++) {
      const entry = low[pin]!;
      if ((entry & 0xff) !== vector || (entry & REDIRECT.REMOTE_IRR) === 0) continue;
      low[pin] = entry & ~REDIRECT.REMOTE_IRR;
      if (lines[pin] === true) this.#send(pin);
    }
  }

  #send(pin: number): void {
    const { low, high } = this.#state;
    const entry = low[pin]!;
    const mode = (entry >>> 8) & 7;
    if ((entry & (REDIRECT.MASKED | REDIRECT.REMOTE_IRR)) !== 0 || (mode !== FIXED && mode !== LOWEST_PRIORITY)) return;
    const isLevel = (entry & REDIRECT.LEVEL) !== 0;
    const isLogical = (entry & REDIRECT.LOGICAL) !== 0;
    const accepted = this.#deliver(entry & 0xff, high[pin]! >>> 24, isLogical, isLevel);
    if (accepted && isLevel) low[pin] = entry | REDIRECT.REMOTE_IRR;
  }

  #read(): number {
    const { select, id, low, high } = this.#state;
    if (select === IOAPICVER) return VERSION;
    if (select === IOAPICID || select === IOAPICARB) return id;
    const pin = (select - IOREDTBL) >> 1;
    return ((select & 1) === 0 ? low[pin] : high[pin]) ?? 0;
  }

  #write(value: number): void {
    const state = this.#state;
    if (state.select === IOAPICID) state.id = value & ID_MASK;
    const pin = (state.select - IOREDTBL) >> 1;
    const old = state.low[pin];
    if (pin < 0 || old === undefined) return;
    if ((state.select & 1) === 1) {
      state.high[pin] = (value & HIGH_WRITABLE) >>> 0;
      return;
    }
    const kept = (value & REDIRECT.LEVEL) !== 0 ? old & REDIRECT.REMOTE_IRR : 0;
    state.low[pin] = (value & LOW_WRITABLE) | kept;
    // A level that was asserted while the entry was masked is seen now; an edge was lost.
    if ((value & REDIRECT.LEVEL) !== 0 && state.lines[pin] === true) this.#send(pin);
  }

  save(): IoApicState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not an I/O APIC's */
  load(state: IoApicState): void {
    const adopted = adoptState(this.#state, state, "the I/O APIC");
    this.#state = adopted;
  }
}
