// Part: the local APIC of the one vCPU (SDM Vol. 3 chapter 11), memory-mapped at FEE00000h: priorities, LVT, timer, self-IPIs, LINT0 for the 8259
// pair. Starts in virtual wire mode as Xen's does: enabled, LINT0 unmasked as ExtINT. Not modelled: x2APIC, other processors (IPIs to them go
// nowhere), NMI, SMI and INIT delivery, logical destinations beyond the flat model, thermal and performance sources.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { Alarm, Clock } from "../../core/clock.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";

/** Register offsets (SDM Vol. 3 table 11-1). */
const REGISTER = {
  ID: 0x020,
  VERSION: 0x030,
  TPR: 0x080,
  PPR: 0x0a0,
  EOI: 0x0b0,
  LDR: 0x0d0,
  DFR: 0x0e0,
  SVR: 0x0f0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_ERROR: 0x370,
  INITIAL_COUNT: 0x380,
  CURRENT_COUNT: 0x390,
  DIVIDE: 0x3e0,
} as const;

/** Version 14h with LVT entries 0 to 5. */
const VERSION = 0x0005_0014;
const SVR_ENABLE = 1 << 8;
const SVR_WRITABLE = 0x3ff;
const SVR_RESET = 0xff;
const LVT_MASKED = 1 << 16;
const LVT_PERIODIC = 1 << 17;
/** Writable bits of LVT timer, thermal, performance, LINT0, LINT1, error (figure 11-8). */
const LVT_WRITABLE = [0x3_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff] as const;
const LVT_TIMER = 0;
const LVT_LINT0 = 3;
const LVT_ERROR = 5;
const DELIVERY_SHIFT = 8;
const DELIVERY_EXTINT = 7;
const EXTINT_UNMASKED = DELIVERY_EXTINT << DELIVERY_SHIFT;
/** ICR: vector, delivery mode, destination mode, level, trigger, shorthand. Delivery status is always idle. */
const ICR_WRITABLE = 0x000c_cfff;
const ICR_LOGICAL = 1 << 11;
const SHORTHAND_NONE = 0;
const SHORTHAND_SELF = 1;
const SHORTHAND_ALL = 2;
const ESR_SEND_ILLEGAL_VECTOR = 1 << 5;
const ESR_RECEIVE_ILLEGAL_VECTOR = 1 << 6;
const LOWEST_LEGAL_VECTOR = 16;
const BROADCAST = 0xff;

/** The timer's clock before its divider, as Xen has it (APIC_BUS_CYCLE_NS). */
const BUS_CYCLE_NS = 10;
/** A shorter period than a handler can be entered and left in would only flood the event queue; Xen has such a bound, too. */
const MIN_PERIOD_NS = 1_000;

export interface LapicState {
  id: number;
  tpr: number;
  ldr: number;
  dfr: number;
  svr: number;
  esr: number;
  /** Errors since ESR was last written. */
  errors: number;
  icrLow: number;
  icrHigh: number;
  lvt: number[];
  initialCount: number;
  divide: number;
  /** When the timer's count began; meaningful while `initialCount` is not 0. */
  countFrom: number;
  expired: boolean;
  /** 256 bits each, as eight words. */
  isr: number[];
  tmr: number[];
  irr: number[];
}

export interface LapicWires {
  readonly clock: Clock;
  /** Whether an interrupt can be delivered may have changed. */
  readonly changed: () => void;
  /** A level-triggered interrupt has been handled. */
  readonly endOfInterrupt: (vector: number) => void;
}

const empty = (): number[] => [0, 0, 0, 0, 0, 0, 0, 0];

export class LocalApic implements Snapshotable<LapicState> {
  readonly #wires: LapicWires;
  readonly #timer: Alarm;
  #state: LapicState = {
    id: 0,
    tpr: 0,
    ldr: 0,
    dfr: 0xffff_ffff,
    svr: SVR_RESET,
    esr: 0,
    errors: 0,
    icrLow: 0,
    icrHigh: 0,
    lvt: [LVT_MASKED, LVT_MASKED, LVT_MASKED, EXTINT_UNMASKED, LVT_MASKED, LVT_MASKED],
    initialCount: 0,
    divide: 0,
    countFrom: 0,
    expired: false,
    isr: empty(),
    tmr: empty(),
    irr: empty(),
  };

  constructor(wires: LapicWires) {
    this.#wires = wires;
    this.#timer = wires.clock.alarm("local apic timer", () => this.#expire());
  }

  /** Registers of the page at FEE00000h. 32-bit accesses at multiples of 16 reach them; smaller reads get their part of one. */
  readonly mmio: BusDevice = {
    name: "local APIC",
    read: (offset, width) => {
      if (offset % 16 >= 4) return 0;
      return (this.#read(offset & ~15) >>> (8 * (offset & 3))) & (0xffff_ffff >>> (32 - 8 * width));
    },
    write: (offset, width: AccessWidth, value) => {
      if (width === 4 && offset % 16 === 0) this.#write(offset, value);
    },
  };

  /** Whether the 8259 pair's INTR reaches the processor through LINT0. */
  get acceptsExternal(): boolean {
    const entry = this.#state.lvt[LVT_LINT0]!;
    return (entry & LVT_MASKED) === 0 && ((entry >>> DELIVERY_SHIFT) & 7) === DELIVERY_EXTINT;
  }

  /** The vector that would be delivered now, or -1. */
  pending(): number {
    const { svr, irr } = this.#state;
    if ((svr & SVR_ENABLE) === 0) return -1;
    const vector = highest(irr);
    return vector >>> 4 > this.#ppr() >>> 4 ? vector : -1;
  }

  /** Moves {@link pending} from IRR to ISR and returns it. */
  acknowledge(): number {
    const vector = this.pending();
    if (vector < 0) return this.#state.svr & 0xff;
    clear(this.#state.irr, vector);
    set(this.#state.isr, vector);
    return vector;
  }

  /** An interrupt message with fixed or lowest-priority delivery. @param destination as in the redirection table's bits 63:56 */
  accept(vector: number, destination: number, isLogical: boolean, isLevel: boolean): boolean {
    if (!this.#isAddressed(destination, isLogical)) return false;
    this.#request(vector, isLevel);
    return true;
  }

  #isAddressed(destination: number, isLogical: boolean): boolean {
    const { id, ldr } = this.#state;
    if (!isLogical) return destination === BROADCAST || destination === id >>> 24;
    return (destination & (ldr >>> 24)) !== 0;
  }

  #request(vector: number, isLevel: boolean): void {
    const { svr, irr, tmr } = this.#state;
    if ((svr & SVR_ENABLE) === 0) return;
    if (vector < LOWEST_LEGAL_VECTOR) {
      this.#error(ESR_RECEIVE_ILLEGAL_VECTOR);
      return;
    }
    set(irr, vector);
    if (isLevel) set(tmr, vector);
    else clear(tmr, vector);
    this.#wires.changed();
  }

  #error(bit: number): void {
    const state = this.#state;
    const entry = state.lvt[LVT_ERROR]!;
    const isNew = (state.errors & bit) === 0;
    state.errors |= bit;
    const vector = entry & 0xff;
    // An illegal vector in the error entry itself must not raise the same error again.
    if (isNew && (entry & LVT_MASKED) === 0 && vector >= LOWEST_LEGAL_VECTOR) this.#request(vector, false);
  }

  /** Processor priority: the higher of TPR and the class of what is in service (SDM Vol. 3 §11.8.3.1). */
  #ppr(): number {
    const { tpr, isr } = this.#state;
    const inService = Math.max(0, highest(isr));
    return tpr >>> 4 >= inService >>> 4 ? tpr : inService & 0xf0;
  }

  #read(register: number): number {
    const state = this.#state;
    if (register >= REGISTER.ISR && register < REGISTER.ESR) {
      const bank = register < REGISTER.TMR ? state.isr : register < REGISTER.IRR ? state.tmr : state.irr;
      return bank[(register >>> 4) & 7]! >>> 0;
    }
    if (register >= REGISTER.LVT_TIMER && register <= REGISTER.LVT_ERROR) {
      return state.lvt[(register - REGISTER.LVT_TIMER) >>> 4]!;
    }
    switch (register) {
      case REGISTER.ID:
        return state.id;
      case REGISTER.VERSION:
        return VERSION;
      case REGISTER.TPR:
        return state.tpr;
      case REGISTER.PPR:
        return this.#ppr();
      case REGISTER.LDR:
        return state.ldr;
      case REGISTER.DFR:
        return state.dfr;
      case REGISTER.SVR:
        return state.svr;
      case REGISTER.ESR:
        return state.esr;
      case REGISTER.ICR_LOW:
        return state.icrLow;
      case REGISTER.ICR_HIGH:
        return state.icrHigh;
      case REGISTER.INITIAL_COUNT:
        return state.initialCount;
      case REGISTER.CURRENT_COUNT:
        return this.#currentCount();
      case REGISTER.DIVIDE:
        return state.divide;
      default:
        return 0;
    }
  }

  #write(register: number, value: number): void {
    const state = this.#state;
    if (register >= REGISTER.LVT_TIMER && register <= REGISTER.LVT_ERROR) {
      this.#writeLvt((register - REGISTER.LVT_TIMER) >>> 4, value);
      return;
    }
    switch (register) {
      case REGISTER.ID:
        state.id = (value & 0xff00_0000) >>> 0;
        break;
      case REGISTER.TPR:
        state.tpr = value & 0xff;
        this.#wires.changed();
        break;
      case REGISTER.EOI:
        this.#endOfInterrupt();
        break;
      case REGISTER.LDR:
        state.ldr = (value & 0xff00_0000) >>> 0;
        break;
      case REGISTER.DFR:
        state.dfr = (value | 0x0fff_ffff) >>> 0;
        break;
      case REGISTER.SVR:
        this.#writeSvr(value & SVR_WRITABLE);
        break;
      case REGISTER.ESR:
        state.esr = state.errors;
        state.errors = 0;
        break;
      case REGISTER.ICR_LOW:
        this.#send(value & ICR_WRITABLE);
        break;
      case REGISTER.ICR_HIGH:
        state.icrHigh = (value & 0xff00_0000) >>> 0;
        break;
      case REGISTER.INITIAL_COUNT:
        state.initialCount = value >>> 0;
        this.#startTimer();
        break;
      case REGISTER.DIVIDE:
        state.divide = value & 0x0b;
        this.#startTimer();
        break;
      default: // what is left is read only or reserved
    }
  }

  /** While the APIC is disabled by software all LVT entries are masked (SDM Vol. 3 §11.4.7.2). */
  #writeSvr(value: number): void {
    const { lvt } = this.#state;
    this.#state.svr = value;
    if ((value & SVR_ENABLE) === 0) for (const index of lvt.keys()) lvt[index] = lvt[index]! | LVT_MASKED;
    this.#wires.changed();
  }

  #writeLvt(index: number, value: number): void {
    const { lvt, svr } = this.#state;
    const forced = (svr & SVR_ENABLE) === 0 ? LVT_MASKED : 0;
    lvt[index] = (value & LVT_WRITABLE[index]!) | forced;
    if (index === LVT_TIMER) this.#startTimer();
    this.#wires.changed();
  }

  #endOfInterrupt(): void {
    const { isr, tmr } = this.#state;
    const vector = highest(isr);
    if (vector < 0) return;
    clear(isr, vector);
    if (has(tmr, vector)) this.#wires.endOfInterrupt(vector);
    this.#wires.changed();
  }

  /** Interprocessor interrupts (SDM Vol. 3 §11.6.1): this processor is the only one. */
  #send(command: number): void {
    const state = this.#state;
    state.icrLow = command;
    const mode = (command >>> DELIVERY_SHIFT) & 7;
    const shorthand = (command >>> 18) & 3;
    const toSelf =
      shorthand === SHORTHAND_SELF ||
      shorthand === SHORTHAND_ALL ||
      (shorthand === SHORTHAND_NONE && this.#isAddressed(state.icrHigh >>> 24, (command & ICR_LOGICAL) !== 0));
    if (mode > 1) return;
    const vector = command & 0xff;
    if (vector < LOWEST_LEGAL_VECTOR) this.#error(ESR_SEND_ILLEGAL_VECTOR);
    else if (toSelf) this.#request(vector, false);
  }

  // The timer.

  /** Nanoseconds of one count (SDM Vol. 3 figure 11-10: 111b divides by 1, 000b by 2). */
  get #countNs(): number {
    const { divide } = this.#state;
    const code = (divide & 3) | ((divide >>> 1) & 4);
    return BUS_CYCLE_NS * (1 << ((code + 1) & 7));
  }

  get #isPeriodic(): boolean {
    return (this.#state.lvt[LVT_TIMER]! & LVT_PERIODIC) !== 0;
  }

  #startTimer(): void {
    const state = this.#state;
    state.countFrom = this.#wires.clock.now;
    state.expired = state.initialCount === 0;
    this.#arm();
  }

  #arm(): void {
    const { initialCount, countFrom, expired } = this.#state;
    const span = initialCount * this.#countNs;
    if (expired) this.#timer.cancel();
    else this.#timer.set(countFrom + (this.#isPeriodic ? Math.max(span, MIN_PERIOD_NS) : span));
  }

  #expire(): void {
    const state = this.#state;
    state.countFrom = this.#wires.clock.now;
    state.expired = !this.#isPeriodic;
    this.#arm();
    const entry = state.lvt[LVT_TIMER]!;
    if ((entry & LVT_MASKED) === 0) this.#request(entry & 0xff, false);
  }

  #currentCount(): number {
    const { initialCount, countFrom, expired } = this.#state;
    if (expired) return 0;
    return Math.max(0, initialCount - Math.floor((this.#wires.clock.now - countFrom) / this.#countNs));
  }

  save(): LapicState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not a local APIC's */
  load(state: LapicState): void {
    const adopted = adoptState(this.#state, state, "the local APIC");
    this.#state = adopted;
  }
}

// Bits of a 256-bit register.

function highest(words: readonly number[]): number {
  for (let index = 7; index >= 0; index--) {
    const word = words[index] ?? 0;
    if (word !== 0) return index * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

function has(words: readonly number[], vector: number): boolean {
  return (((words[vector >>> 5] ?? 0) >>> (vector & 31)) & 1) === 1;
}

function set(words: number[], vector: number): void {
  words[vector >>> 5] = (words[vector >>> 5] ?? 0) | (1 << (vector & 31));
}

function clear(words: number[], vector: number): void {
  words[vector >>> 5] = (words[vector >>> 5] ?? 0) & ~(1 << (vector & 31));
}
