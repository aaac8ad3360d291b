// Part: the 8254 programmable interval timer of a PC (Intel 8254 data sheet 231164-005) and the system control port 61h (IBM PC AT Technical
// Reference, "System Timers"; 82371SB section 2.5.6). Counter 0 drives IRQ 0, counter 1 the memory refresh, counter 2 the speaker; port 61h has
// counter 2's gate and output. Not modelled: sound, NMI sources behind port 61h.

import type { Alarm, AlarmClock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { IrqSource } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { inverse, type Ratio, ratio, scaleCeil, scaleFloor } from "../../core/units.ts";
import { adoptState, copyState } from "./chip-state.ts";
import type { ByteChip } from "./isa.ts";
import * as counter from "./pit-counter.ts";

/** 14.31818 MHz / 12 = 157.5 MHz / 132: 105 ticks in 88,000 ns. */
const TICKS_PER_NS: Ratio = ratio(105, 88_000);
const NS_PER_TICK: Ratio = inverse(TICKS_PER_NS);

/** The counter-select field of a control word that is a read-back command, and its inverted bits. */
const READ_BACK = 3;
const READ_BACK_NO_COUNT = 1 << 5;
const READ_BACK_NO_STATUS = 1 << 4;
const CONTROL_PORT = 3;

/** Port 61h. */
const GATE_2 = 1 << 0;
const PORT_61_WRITABLE = 0x0f;
const REFRESH_TOGGLE = 1 << 4;
const OUT_2 = 1 << 5;
/** The refresh detect bit changes with each refresh request of counter 1: every 18 ticks as BIOSes program it, 15.085 µs. */
const REFRESH_NS = 15_085;

export interface PitState {
  counters: counter.CounterState[];
  port61: number;
}

export interface PitWires {
  readonly clock: AlarmClock;
  readonly irq0: IrqSource;
}

export class Pit implements ByteChip, Snapshotable<PitState> {
  readonly name = "8254 PIT";
  readonly #clock: AlarmClock;
  readonly #irq0: IrqSource;
  readonly #alarm: Alarm;
  #state: PitState = {
    counters: [counter.powerOnCounter(true), counter.powerOnCounter(true), counter.powerOnCounter(false)],
    port61: 0,
  };

  constructor({ clock, irq0 }: PitWires) {
    this.#clock = clock;
    this.#irq0 = irq0;
    this.#alarm = clock.alarm("pit counter 0", () => this.#update());
  }

  get #tick(): number {
    return scaleFloor(this.#clock.now, TICKS_PER_NS);
  }

  readByte(offset: number): number {
    const state = this.#state.counters[offset];
    // The control word cannot be read; the chip leaves the data bus floating.
    return state === undefined ? 0xff : counter.readByte(state, this.#tick);
  }

  writeByte(offset: number, value: number): void {
    const tick = this.#tick;
    const state = this.#state.counters[offset];
    if (state !== undefined) counter.writeByte(state, tick, value);
    else if (offset === CONTROL_PORT) this.#control(value, tick);
    if (offset === 0 || offset === CONTROL_PORT) this.#update();
  }

  #control(value: number, tick: number): void {
    const select = value >>> 6;
    if (select === READ_BACK) {
      for (const [index, state] of this.#state.counters.entries()) {
        if ((value & (2 << index)) === 0) continue;
        if ((value & READ_BACK_NO_COUNT) === 0) counter.latchCount(state, tick);
        if ((value & READ_BACK_NO_STATUS) === 0) counter.latchStatus(state, tick);
      }
      return;
    }
    const state = this.#state.counters[select]!;
    if (((value >>> 4) & 3) === 0) counter.latchCount(state, tick);
    else counter.program(state, value);
  }

  /** Puts counter 0's OUT on its line and waits for the next change. */
  #update(): void {
    const state = this.#state.counters[0]!;
    const tick = this.#tick;
    counter.settle(state, tick);
    this.#irq0.set(counter.out(state, tick));
    const next = counter.nextChange(state, tick);
    if (next === undefined) this.#alarm.cancel();
    else this.#alarm.set(scaleCeil(next, NS_PER_TICK));
  }

  /** Port 61h, system control port B. */
  readonly port61: ByteChip = {
    name: "port 61h",
    readByte: () => {
      const state = this.#state.counters[2]!;
      const tick = this.#tick;
      counter.settle(state, tick);
      const refresh = Math.floor(this.#clock.now / REFRESH_NS) % 2 === 1 ? REFRESH_TOGGLE : 0;
      return this.#state.port61 | refresh | (counter.out(state, tick) ? OUT_2 : 0);
    },
    writeByte: (_offset, value) => {
      this.#state.port61 = value & PORT_61_WRITABLE;
      counter.setGate(this.#state.counters[2]!, this.#tick, (value & GATE_2) !== 0);
    },
  };

  save(): PitState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not a PIT's */
  load(state: PitState): void {
    const adopted = adoptState(this.#state, state, this.name);
    if (!adopted.counters.every(counter.isPossible)) throw new InputError("not a counter", `snapshot of ${this.name}`);
    this.#state = adopted;
  }
}
