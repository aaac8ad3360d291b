// Part: the pair of 8259A interrupt controllers of a PC with the ELCR of the PIIX3 (Intel 8259A data sheet 231468-003; 82371FB/SB data sheet
// 290550-002, section 2.5.11 for the ELCR). The slave hangs on the master's IR2.
// Modelled: initialization, all OCW2 rotations, fully nested, special fully nested and special mask mode, automatic EOI, poll, edge and
// level triggering, default IR7. Not modelled: 8080 mode (ICW4.µPM = 0 is taken as 8086 mode), buffered mode (ICW4.BUF, read by nobody).

import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";
import { type ByteChip, OPEN_BUS_BYTE } from "./isa.ts";

/** ICW1 and ICW4 (data sheet, "Initialization Command Words"). */
const ICW1 = { IC4: 1 << 0, SNGL: 1 << 1, LTIM: 1 << 3, SELECT: 1 << 4 } as const;
const ICW4 = { AEOI: 1 << 1, SFNM: 1 << 4 } as const;
/** OCW3; bit 3 tells it from OCW2. */
const OCW3 = { RIS: 1 << 0, RR: 1 << 1, P: 1 << 2, SELECT: 1 << 3, SMM: 1 << 5, ESMM: 1 << 6 } as const;
/** The commands of OCW2: R, SL, EOI in bits 7 to 5. */
const OCW2 = {
  ROTATE_IN_AEOI_CLEAR: 0,
  NON_SPECIFIC_EOI: 1,
  SPECIFIC_EOI: 3,
  ROTATE_IN_AEOI_SET: 4,
  ROTATE_ON_NON_SPECIFIC_EOI: 5,
  SET_PRIORITY: 6,
  ROTATE_ON_SPECIFIC_EOI: 7,
} as const;

/** A poll's answer when something is requested. */
const POLL_REQUEST = 0x80;
/** The level that the master's slave hangs on, and the one that is reported when a request vanished before its acknowledge. */
export const CASCADE_LEVEL = 2;
const DEFAULT_LEVEL = 7;
/** ICW bytes still to come; `NOT_INITIALIZED` before the first ICW1. */
const NOT_INITIALIZED = 5;
const READY = 0;

/** ELCR bits that can be set: IRQ 0, 1, 2, 8 and 13 are always edge triggered. */
const ELCR_MASKS = [0xf8, 0xde] as const;

interface ChipState {
  irr: number;
  isr: number;
  imr: number;
  /** Levels of the inputs. */
  lines: number;
  elcr: number;
  icw1: number;
  /** Upper five bits of the vectors. */
  vectorBase: number;
  icw4: number;
  /** READY, the number of the ICW that comes next, or NOT_INITIALIZED. */
  next: number;
  /** The level of lowest priority. */
  lowest: number;
  rotateInAeoi: boolean;
  specialMask: boolean;
  readIsr: boolean;
  poll: boolean;
}

const RESET_CHIP: ChipState = {
  irr: 0,
  isr: 0,
  imr: 0,
  lines: 0,
  elcr: 0,
  icw1: 0,
  vectorBase: 0,
  icw4: 0,
  next: NOT_INITIALIZED,
  lowest: DEFAULT_LEVEL,
  rotateInAeoi: false,
  specialMask: false,
  readIsr: false,
  poll: false,
};

/** One 8259A: a state machine that tells nobody anything; the pair asks {@link pending} after each change. */
class Chip {
  state: ChipState = { ...RESET_CHIP };
  readonly #isMaster: boolean;

  constructor(isMaster: boolean) {
    this.#isMaster = isMaster;
  }

  setLine(level: number, high: boolean): void {
    const { state } = this;
    const bit = 1 << level;
    if (high) {
      // An edge, and a high level just the same, requests; a request lasts only while its input is high ("Edge and level triggered modes").
      if ((state.lines & bit) === 0) state.irr |= bit;
      state.lines |= bit;
    } else {
      state.lines &= ~bit;
      state.irr &= ~bit;
    }
  }

  /** The level that asks for service and is not held back, or -1. */
  pending(): number {
    const { state } = this;
    if (state.next !== READY) return -1;
    const requested = state.irr & ~state.imr;
    if (requested === 0) return -1;
    const blocking = state.specialMask ? state.isr & ~state.imr : state.isr;
    const nested = this.#isMaster && (state.icw4 & ICW4.SFNM) !== 0;
    for (let step = 1; step <= 8; step++) {
      const level = (state.lowest + step) & 7;
      const bit = 1 << level;
      const own = (requested & bit) !== 0;
      if ((blocking & bit) !== 0) return nested && level === CASCADE_LEVEL && own ? level : -1;
      if (own) return level;
    }
    return -1;
  }

  /** The acknowledge cycle for a level; -1 is the default IR7, which leaves no trace in ISR. Returns the vector. */
  acknowledge(level: number): number {
    const { state } = this;
    if (level < 0) return state.vectorBase | DEFAULT_LEVEL;
    const bit = 1 << level;
    // A level-triggered input that stays high asks again.
    if (!this.#isLevelTriggered(bit)) state.irr &= ~bit;
    if ((state.icw4 & ICW4.AEOI) === 0) state.isr |= bit;
    else if (state.rotateInAeoi) state.lowest = level;
    return state.vectorBase | level;
  }

  #isLevelTriggered(bit: number): boolean {
    return (this.state.icw1 & ICW1.LTIM) !== 0 || (this.state.elcr & bit) !== 0;
  }

  read(a0: number): number {
    const { state } = this;
    if (state.poll) {
      state.poll = false;
      const level = this.pending();
      if (level < 0) return 0;
      this.acknowledge(level);
      return POLL_REQUEST | level;
    }
    if (a0 === 1) return state.imr;
    return state.readIsr ? state.isr : state.irr;
  }

  write(a0: number, value: number): void {
    const { state } = this;
    if (a0 === 0) {
      if ((value & ICW1.SELECT) !== 0) this.#initialize(value);
      else if ((value & OCW3.SELECT) !== 0) this.#ocw3(value);
      else this.#ocw2(value >>> 5, value & 7);
    } else if (state.next === 2) {
      state.vectorBase = value & 0xf8;
      state.next = (state.icw1 & ICW1.SNGL) === 0 ? 3 : this.#afterIcw3();
    } else if (state.next === 3) {
      // ICW3 says where the slaves are, which a PC's wiring has settled.
      state.next = this.#afterIcw3();
    } else if (state.next === 4) {
      state.icw4 = value;
      state.next = READY;
    } else {
      state.imr = value;
    }
  }

  #afterIcw3(): number {
    return (this.state.icw1 & ICW1.IC4) !== 0 ? 4 : READY;
  }

  /** "Initialization Command Words 1 and 2": what ICW1 does of itself. */
  #initialize(icw1: number): void {
    const { lines, elcr, vectorBase } = this.state;
    this.state = { ...RESET_CHIP, lines, elcr, vectorBase, icw1, next: 2 };
    // The edge sense circuit is reset: an input has to rise again, unless levels count.
    this.state.irr = (icw1 & ICW1.LTIM) !== 0 ? lines : lines & elcr;
  }

  #ocw3(value: number): void {
    const { state } = this;
    if ((value & OCW3.ESMM) !== 0) state.specialMask = (value & OCW3.SMM) !== 0;
    state.poll = (value & OCW3.P) !== 0;
    if ((value & OCW3.RR) !== 0) state.readIsr = (value & OCW3.RIS) !== 0;
  }

  #ocw2(command: number, level: number): void {
    const { state } = this;
    switch (command) {
      case OCW2.ROTATE_IN_AEOI_CLEAR:
        state.rotateInAeoi = false;
        break;
      case OCW2.ROTATE_IN_AEOI_SET:
        state.rotateInAeoi = true;
        break;
      case OCW2.NON_SPECIFIC_EOI:
      case OCW2.ROTATE_ON_NON_SPECIFIC_EOI: {
        const ended = this.#highestInService();
        if (ended < 0) break;
        state.isr &= ~(1 << ended);
        if (command === OCW2.ROTATE_ON_NON_SPECIFIC_EOI) state.lowest = ended;
        break;
      }
      case OCW2.SPECIFIC_EOI:
        state.isr &= ~(1 << level);
        break;
      case OCW2.ROTATE_ON_SPECIFIC_EOI:
        state.isr &= ~(1 << level);
        state.lowest = level;
        break;
      case OCW2.SET_PRIORITY:
        state.lowest = level;
        break;
      default: // 2: no operation
    }
  }

  #highestInService(): number {
    const { state } = this;
    // In special mask mode a masked level in service is passed over ("Special mask mode").
    const inService = state.specialMask ? state.isr & ~state.imr : state.isr;
    for (let step = 1; step <= 8; step++) {
      const level = (state.lowest + step) & 7;
      if ((inService & (1 << level)) !== 0) return level;
    }
    return -1;
  }
}

export interface PicState {
  chips: ChipState[];
  intr: boolean;
}

/** Both chips. Ports: 20h–21h {@link command} 0, A0h–A1h command 1, 4D0h–4D1h {@link elcr}. */
export class PicPair implements Snapshotable<PicState> {
  readonly #chips = [new Chip(true), new Chip(false)] as const;
  readonly #intr: (level: boolean) => void;
  #intrLevel = false;

  /** @param intr called with the level of the INTR output whenever it changes */
  constructor(intr: (level: boolean) => void) {
    this.#intr = intr;
  }

  /** The INTR output. */
  get intr(): boolean {
    return this.#intrLevel;
  }

  /** @param irq 0 to 15; 2 is not connected, IRQ 9 took its place */
  setLine(irq: number, high: boolean): void {
    if (irq === CASCADE_LEVEL) return;
    this.#chips[irq < 8 ? 0 : 1].setLine(irq & 7, high);
    this.#update();
  }

  /** The processor's acknowledge cycles: the vector. */
  acknowledge(): number {
    const [master, slave] = this.#chips;
    const level = master.pending();
    let vector = master.acknowledge(level);
    if (level === CASCADE_LEVEL) {
      vector = slave.acknowledge(slave.pending());
      // The slave's INT drops during the acknowledge, so that its next request is an edge again.
      master.setLine(CASCADE_LEVEL, false);
    }
    this.#update();
    return vector;
  }

  #update(): void {
    const [master, slave] = this.#chips;
    master.setLine(CASCADE_LEVEL, slave.pending() >= 0);
    const level = master.pending() >= 0;
    if (level === this.#intrLevel) return;
    this.#intrLevel = level;
    this.#intr(level);
  }

  /** The command and mask ports of the master (0) or the slave (1). */
  command(index: 0 | 1): ByteChip {
    const chip = this.#chips[index];
    return {
      name: index === 0 ? "8259A master" : "8259A slave",
      readByte: (offset) => {
        const value = chip.read(offset & 1);
        this.#update();
        return value;
      },
      writeByte: (offset, value) => {
        chip.write(offset & 1, value);
        this.#update();
      },
    };
  }

  get elcr(): ByteChip {
    return {
      name: "ELCR",
      readByte: (offset) => this.#chips[offset as 0 | 1]?.state.elcr ?? OPEN_BUS_BYTE,
      writeByte: (offset, value) => {
        const state = this.#chips[offset as 0 | 1]?.state;
        if (state === undefined) return;
        state.elcr = value & (ELCR_MASKS[offset as 0 | 1] ?? 0);
        state.irr |= state.lines & state.elcr;
        this.#update();
      },
    };
  }

  save(): PicState {
    return { chips: this.#chips.map((chip) => copyState(chip.state)), intr: this.#intrLevel };
  }

  /** @throws InputError when the state is not a pair's */
  load(state: PicState): void {
    const { chips, intr } = adoptState(this.save(), state, "the 8259A pair");
    for (const [index, chip] of this.#chips.entries()) chip.state = chips[index]!;
    this.#intrLevel = intr;
  }
}
