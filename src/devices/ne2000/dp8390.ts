// Part: the network interface controller DP8390 of a NE2000 (National Semiconductor, DP8390D/NS32490D data sheet, July 1995), and the RTL8029AS, which is one
// with a third register page. The chip's core with the memory on its local bus; it knows nothing of ISA or PCI.
// Time passes for transmission on the cable; register accesses, remote DMA and the storing of a frame take none.
// Not modelled: FIFO over- and underrun, long (32-bit) local addresses, bus arbitration, the RTL8029AS's EEPROM pins and power-down.

import type { AccessWidth } from "../../core/bus.ts";
import type { Alarm, Clock } from "../../core/clock.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { PREAMBLE_SIZE, parseAddress } from "../net/ethernet.ts";
import { Mac, type Outcome } from "../net/mac.ts";
import type { Medium, Station } from "../net/medium.ts";
import type { Ne2000Faults } from "./faults.ts";
import { isGroup, multicastBit } from "./filter.ts";
import { newMemory, promImage } from "./memory.ts";
import { boundaryMoved, receiveFrame } from "./receive.ts";
import { CR, ISR, RCR, REGISTERS, type RegisterRow, type Registers, RSR, TCR } from "./registers.ts";
import { commandRemoteDma, readDataBlock, readDataPort, writeDataBlock, writeDataPort } from "./remote-dma.ts";
import {
  checkState,
  type Dp8390Snapshot,
  type Dp8390State,
  FIFO_SIZE,
  powerOnRegisters,
  resetRegisters,
} from "./state.ts";
import { fetchFrame, loopbackMode, receiveLoopback, transmitted, transmittedInside } from "./transmit.ts";

export interface Dp8390Options {
  /** The station address in the PROM. */
  readonly address: string;
  readonly variant: "dp8390" | "rtl8029";
}

export interface Dp8390Wires {
  readonly clock: Clock;
  readonly medium: Medium;
  /** For the backoff after collisions. */
  readonly random: RandomStream;
  /** The interrupt pin; told of each edge. */
  readonly interrupt: (level: boolean) => void;
  /** What the card is to do wrong; nothing without it. */
  readonly faults?: Ne2000Faults;
}

export const PAGE_SHIFT = 6;
/** Loopbacks inside the chip run at the cable's rate, 10 Mbit/s. */
const BYTE_NS = 800;

/** Rows by page and offset: reads and writes. */
type RowMap = readonly (RegisterRow | undefined)[];

function rowMap(access: "r" | "w", realtek: boolean): RowMap {
  const map: (RegisterRow | undefined)[] = Array.from({ length: 64 });
  for (const row of REGISTERS) {
    if (!row.access.includes(access) || (row.realtek && !realtek)) continue;
    for (const page of row.pages) map[page * 16 + row.offset] = row;
  }
  return map;
}

/** The identification of the RTL8029AS and what its CONFIG0 reads (10BASE-T). */
const CONSTANTS: Readonly<Record<string, number>> = {
  "8029ID0": 0x50,
  "8029ID1": 0x43,
  CONFIG0: 0x00,
  "8029ASID0": 0x29,
  "8029ASID1": 0x80,
};

/** EEM1 and EEM0 both set let CONFIG2 and CONFIG3 be written. */
const CONFIG_WRITE_ENABLE = 0xc0;
/** 9346CR's bit for the EEPROM's output reads as a missing EEPROM: pulled up. */
const EEDO = 0x01;

export class Dp8390 implements Station, Snapshotable<Dp8390Snapshot> {
  readonly name: string;
  readonly #wires: Dp8390Wires;
  readonly #prom: Uint8Array;
  readonly #faults: Ne2000Faults;
  readonly #mac: Mac;
  readonly #loopback: Alarm;
  readonly #reads: RowMap;
  readonly #writes: RowMap;
  #state: Dp8390State;

  /** @throws InputError on an address that is none */
  constructor(name: string, wires: Dp8390Wires, { address, variant }: Dp8390Options) {
    this.name = name;
    this.#wires = wires;
    this.#faults = wires.faults ?? new Set();
    this.#prom = promImage(parseAddress(address));
    this.#reads = rowMap("r", variant === "rtl8029");
    this.#writes = rowMap("w", variant === "rtl8029");
    this.#state = {
      registers: powerOnRegisters(),
      started: false,
      stopping: false,
      transmitting: false,
      transmitterDisabled: false,
      remote: "none",
      fifo: new Uint8Array(FIFO_SIZE),
      fifoNext: 0,
      loopback: new Uint8Array(0),
      memory: newMemory(),
    };
    this.#mac = new Mac(`${name} transmit`, {
      clock: wires.clock,
      medium: wires.medium,
      random: wires.random,
      // TCR.OFST: the first three backoffs draw from a longer range (section 10.3).
      backoffExponent: (collisions) =>
        (this.#state.registers.TCR & TCR.OFST) !== 0 && collisions <= 3 ? 3 + collisions : collisions,
      done: (outcome) => this.#sent(outcome),
    });
    this.#loopback = wires.clock.alarm(`${name} loopback`, () => this.#loopedBack());
    wires.medium.attach(this);
  }

  /** For the dump and for tests; not to be changed. */
  get state(): Readonly<Dp8390State> {
    return this.#state;
  }

  /** The reset pin. A frame on the cable is finished there, but the chip tells nothing of it; one that waits for the cable is gone. */
  reset(): void {
    const state = this.#state;
    state.started = false;
    state.stopping = false;
    state.transmitting = false;
    state.transmitterDisabled = false;
    state.remote = "none";
    state.loopback = new Uint8Array(0);
    this.#loopback.cancel();
    this.#mac.withdraw();
    resetRegisters(state.registers);
    this.#update();
  }

  /** @param offset 0 to 15 */
  readRegister(offset: number): number {
    const { registers } = this.#state;
    const row = this.#reads[((registers.CR >> PAGE_SHIFT) << 4) | offset];
    if (row === undefined) return 0xff;
    const constant = CONSTANTS[row.name];
    if (constant !== undefined) return constant;
    switch (row.name) {
      case "RSR":
        return this.#receiveStatus();
      case "FIFO":
        return this.#readFifo();
      case "CNTR0":
      case "CNTR1":
      case "CNTR2": {
        // Reading a tally clears it (section 10.10).
        const count = registers[row.name];
        registers[row.name] = 0;
        return count;
      }
      case "9346CR":
        return registers.EECR | EEDO;
      default:
        return fieldValue(registers, row) | (row.ones ?? 0);
    }
  }

  /** @param offset 0 to 15 @param value 8 bits */
  writeRegister(offset: number, value: number): void {
    const { registers } = this.#state;
    const row = this.#writes[((registers.CR >> PAGE_SHIFT) << 4) | offset];
    if (row === undefined) return;
    switch (row.name) {
      case "CR":
        this.#command(value);
        break;
      case "ISR":
        // Writing a one clears a cause; RST is a status and stays (section 10.3).
        registers.ISR &= this.#faults.has("ne2000.acknowledge-drops") ? ISR.RST : ~value | ISR.RST;
        break;
      case "BNRY":
        registers.BNRY = value;
        boundaryMoved(this.#state);
        break;
      case "CONFIG2":
      case "CONFIG3":
        if ((registers.EECR & CONFIG_WRITE_ENABLE) === CONFIG_WRITE_ENABLE) registers[row.name] = value;
        break;
      default:
        setField(registers, row, value & ~(row.ones ?? 0));
    }
    this.#update();
  }

  /** One access to the data port. The card's bus is 16 bits wide: 32 bits are two transfers. */
  readData(width: AccessWidth): number {
    const low = readDataPort(this.#state, this.#prom, this.#raise);
    if (width === 1) return low & 0xff;
    if (width === 2) return low;
    return (low | (readDataPort(this.#state, this.#prom, this.#raise) << 16)) >>> 0;
  }

  writeData(width: AccessWidth, value: number): void {
    writeDataPort(this.#state, value & 0xffff, this.#raise);
    if (width === 4) writeDataPort(this.#state, value >>> 16, this.#raise);
  }

  /** Many accesses to the data port at once: see `BusDevice.readBlock`. */
  readDataBlock(width: AccessWidth, bytes: Uint8Array): number {
    return readDataBlock(this.#state, width, bytes, this.#raise);
  }

  writeDataBlock(width: AccessWidth, bytes: Uint8Array): number {
    return writeDataBlock(this.#state, width, bytes, this.#raise);
  }

  receive(frame: Uint8Array, dribbleBits: number): void {
    const state = this.#state;
    const { TCR: control, RCR: mode } = state.registers;
    if (!state.started || loopbackMode(control) !== 0) return;
    if ((control & TCR.ATD) !== 0 && (mode & RCR.AM) !== 0 && frame.length >= 6 && isGroup(frame)) {
      this.#autoDisable(multicastBit(frame));
    }
    this.#raise(receiveFrame(state, frame, dribbleBits, this.#faults));
  }

  carrierChanged(): void {
    this.#mac.carrierChanged();
  }

  #command(value: number): void {
    const state = this.#state;
    const { registers } = state;
    // STA stays once it is set, also beside STP; TXP is for the chip to clear (section 10.3).
    registers.CR = (value & ~CR.TXP) | (registers.CR & (CR.STA | CR.TXP));
    if ((value & CR.STP) !== 0) this.#stop();
    else if ((registers.CR & CR.STA) !== 0) {
      state.started = true;
      state.stopping = false;
      registers.ISR &= ~ISR.RST;
      if ((value & CR.TXP) !== 0) registers.CR |= CR.TXP;
    }
    this.#raise(commandRemoteDma(state, this.#prom, value));
    this.#transmit();
  }

  /**
   * A frame on the cable is finished first. One that defers or backs off is lost, without a cause in ISR: step 5 of the overflow's routine
   * looks for that (section 7.0, "Buffer Ring Overflow").
   */
  #stop(): void {
    const state = this.#state;
    state.started = false;
    if (state.transmitting) {
      state.stopping = true;
      this.#mac.withdraw();
    } else {
      state.registers.CR &= ~CR.TXP;
      state.registers.ISR |= ISR.RST;
    }
  }

  /** Begins what TXP asks for, unless something is on its way out or the transmitter is disabled. */
  #transmit(): void {
    const state = this.#state;
    const isAllowed = state.started && !state.transmitting && !state.transmitterDisabled && !this.#mac.busy;
    if ((state.registers.CR & CR.TXP) === 0 || !isAllowed) return;
    state.transmitting = true;
    const frame = fetchFrame(state, this.#prom);
    const mode = loopbackMode(state.registers.TCR);
    if (mode === 0 || mode === 3) {
      if (mode === 3) state.loopback = frame;
      this.#mac.send(frame);
      return;
    }
    state.loopback = frame;
    this.#loopback.set(this.#wires.clock.now + BYTE_NS * (PREAMBLE_SIZE + frame.length));
  }

  #sent(outcome: Outcome): void {
    const state = this.#state;
    if (!state.transmitting) {
      // The chip was reset in the meantime, and may have been told to transmit again.
      this.#transmit();
      return;
    }
    if (outcome.withdrawn) {
      this.#finished(0);
      return;
    }
    const isLooped = state.loopback.length > 0 && outcome.sent;
    this.#finished(transmitted(state, outcome) | (isLooped ? receiveLoopback(state, state.loopback) : 0));
  }

  #loopedBack(): void {
    const state = this.#state;
    this.#finished(transmittedInside(state) | receiveLoopback(state, state.loopback));
  }

  #finished(causes: number): void {
    const state = this.#state;
    state.transmitting = false;
    state.loopback = new Uint8Array(0);
    state.registers.CR &= ~CR.TXP;
    if (state.stopping) {
      state.stopping = false;
      state.registers.ISR |= ISR.RST;
    }
    this.#raise(causes);
  }

  #autoDisable(bit: number): void {
    if (bit === 62) this.#state.transmitterDisabled = true;
    else if (bit === 63) {
      this.#state.transmitterDisabled = false;
      this.#transmit();
    }
  }

  /** RSR with the bits that tell the present: monitor mode, and a busy cable. */
  #receiveStatus(): number {
    const { registers } = this.#state;
    const disabled = (registers.RCR & RCR.MON) !== 0 ? RSR.DIS : 0;
    return registers.RSR | disabled | (this.#wires.medium.carrier ? RSR.DFR : 0);
  }

  #readFifo(): number {
    const state = this.#state;
    const byte = state.fifo[state.fifoNext]!;
    state.fifoNext = (state.fifoNext + 1) % FIFO_SIZE;
    return byte;
  }

  /** A value, so that the data port's accesses, of which there are very many, make no closure each. */
  readonly #raise = (causes: number): void => {
    this.#state.registers.ISR |= causes;
    this.#update();
  };

  #update(): void {
    const { ISR: causes, IMR: mask } = this.#state.registers;
    this.#wires.interrupt((causes & mask & ~ISR.RST) !== 0);
  }

  save(): Dp8390Snapshot {
    return { ...copy(this.#state), mac: this.#mac.save() };
  }

  /** The interrupt pin's line restores its own level. @throws InputError when the snapshot is not a card's */
  load({ mac, ...state }: Dp8390Snapshot): void {
    checkState(state, `snapshot of ${this.name}`);
    this.#mac.load(mac);
    this.#state = copy(state);
  }
}

function copy(state: Dp8390State): Dp8390State {
  const { registers, fifo, loopback, memory } = state;
  return {
    ...state,
    registers: { ...registers, PAR: [...registers.PAR], MAR: [...registers.MAR] },
    fifo: fifo.slice(),
    loopback: loopback.slice(),
    memory: memory.slice(),
  };
}

/** The byte that a row shows; 0 for rows without a field. */
export function fieldValue(registers: Readonly<Registers>, row: RegisterRow): number {
  if (row.field === undefined) return 0;
  const value = registers[row.field];
  if (typeof value !== "number") return value[row.element ?? 0]!;
  return row.byte === undefined ? value : (value >> (8 * row.byte)) & 0xff;
}

function setField(registers: Registers, row: RegisterRow, value: number): void {
  const { field, byte, element } = row;
  if (field === undefined) return;
  if (field === "PAR" || field === "MAR") registers[field][element ?? 0] = value;
  else if (byte === undefined) registers[field] = value;
  else registers[field] = byte === 0 ? (registers[field] & 0xff00) | value : (registers[field] & 0xff) | (value << 8);
}
