// Part: the local APIC of the one vCPU (SDM Vol. 3 chapter 11), memory-mapped at FEE00000h: priorities, LVT, timer, self-IPIs, LINT0 for the 8259
// pair. Starts in virtual wire mode as Xen's does: enabled, LINT0 unmasked as ExtINT. Not modelled: x2APIC, other processors (IPIs to them go
// nowhere), NMI, SMI and INIT delivery, logical destinations beyond the flat model, thermal and performance sources.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { AlarmClock } from "../../core/clock.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";
import { LapicTimer, type LapicTimerState } from "./lapic-timer.ts";
import { addVector, hasVector, highestVector, noVectors, removeVector } from "./vector-set.ts";

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
  /** 256 bits each, as eight words. */
  isr: number[];
  tmr: number[];
  irr: number[];
}

export interface LapicSnapshot extends LapicState {
  timer: LapicTimerState;
}

export interface LapicWires {
  readonly clock: AlarmClock;
  /** Whether an interrupt can be delivered may have changed. */
  readonly changed: () => void;
  /** A level-triggered interrupt has been handled. */
  readonly endOfInterrupt: (vector: number) => void;
}

export class LocalApic implements Snapshotable<LapicSnapshot> {
  readonly #wires: LapicWires;
  readonly #timer: LapicTimer;
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
    isr: noVectors(),
    tmr: noVectors(),
    irr: noVectors(),
  };

  constructor(wires: LapicWires) {
    this.#wires = wires;
    this.#timer = new LapicTimer(wires.clock, () => this.#timerExpired());
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
    const vector = highestVector(irr);
    return vector >>> 4 > this.#ppr() >>> 4 ? vector : -1;
  }

  /** Moves {@link pending} from IRR to ISR and returns it. */
  acknowledge(): number {
    const vector = this.pending();
    if (vector < 0) return this.#state.svr & 0xff;
    removeVector(this.#state.irr, vector);
    addVector(this.#state.isr, vector);
    return vector;
  }

  /** An interrupt message with fixed or lowest-priority delivery. @param destination as in the redirection table's bits 63:56 */
  accept(vector: number, destination: number, isLogical: boolean, isLevel: boolean): boolean {
    if (!this.#isAddressed(destination, isLogical)) return false;
    this.#request(vector, isLevel);
    return true;
  }

  /** An edge-triggered vector from the hypervisor itself (Xen: vlapic_set_irq). */
  request(vector: number): void {
    this.#request(vector, false);
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
    addVector(irr, vector);
    if (isLevel) addVector(tmr, vector);
    else removeVector(tmr, vector);
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
    const inService = Math.max(0, highestVector(isr));
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
        return this.#timer.initialCount;
      case REGISTER.CURRENT_COUNT:
        return this.#timer.currentCount;
      case REGISTER.DIVIDE:
        return this.#timer.divide;
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
        this.#timer.start({ initialCount: value >>> 0 });
        break;
      case REGISTER.DIVIDE:
        this.#timer.start({ divide: value & 0x0b });
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
    if (index === LVT_TIMER) this.#timer.start({ periodic: (value & LVT_PERIODIC) !== 0 });
    this.#wires.changed();
  }

  #endOfInterrupt(): void {
    const { isr, tmr } = this.#state;
    const vector = highestVector(isr);
    if (vector < 0) return;
    removeVector(isr, vector);
    if (hasVector(tmr, vector)) this.#wires.endOfInterrupt(vector);
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

  #timerExpired(): void {
    const entry = this.#state.lvt[LVT_TIMER]!;
    if ((entry & LVT_MASKED) === 0) this.#request(entry & 0xff, false);
  }

  save(): LapicSnapshot {
    return { ...copyState(this.#state), timer: this.#timer.save() };
  }

  /** @throws InputError when the state is not a local APIC's */
  load({ timer, ...state }: LapicSnapshot): void {
    const adopted = adoptState(this.#state, state, "the local APIC");
    this.#timer.load(timer);
    this.#state = adopted;
  }
}
