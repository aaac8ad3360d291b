// Part: a 16550A UART (National Semiconductor PC16550D data sheet TL/C/8652, June 1995): eight ports, both FIFOs with trigger levels and
// time-out, transmission and reception at the programmed speed, interrupt identification, loopback. OUT2 gates the interrupt as on a PC.
// The other end is always ready: CTS, DSR and DCD are on. Not modelled: parity and framing errors, break detection, DMA signals.

import type { Alarm, AlarmClock } from "../../core/clock.ts";
import type { IrqSource } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { ratio, scaleCeil } from "../../core/units.ts";
import { adoptState, checkByteQueue, copyState } from "./chip-state.ts";
import type { ByteChip } from "./isa.ts";

const FIFO_SIZE = 16;
/** Bytes on their way to the receiver; more than any script types at once, and a bound for a peer that never stops. */
const WIRE_LIMIT = 65_536;

/** Registers (data sheet, table II). */
const IER = { ERBFI: 1 << 0, ETBEI: 1 << 1, ELSI: 1 << 2, EDSSI: 1 << 3 } as const;
const IER_MASK = 0x0f;
const IIR = { NONE: 0x01, MODEM: 0x00, THRE: 0x02, RECEIVED: 0x04, LINE: 0x06, TIMEOUT: 0x0c, FIFOS: 0xc0 } as const;
const FCR = { ENABLE: 1 << 0, CLEAR_RX: 1 << 1, CLEAR_TX: 1 << 2 } as const;
const LCR_DLAB = 1 << 7;
const MCR = { DTR: 1 << 0, RTS: 1 << 1, OUT1: 1 << 2, OUT2: 1 << 3, LOOP: 1 << 4 } as const;
const MCR_MASK = 0x1f;
const LSR = { DR: 1 << 0, OE: 1 << 1, THRE: 1 << 5, TEMT: 1 << 6 } as const;
const MSR = { CTS: 1 << 4, DSR: 1 << 5, RI: 1 << 6, DCD: 1 << 7 } as const;
const MSR_READY = MSR.CTS | MSR.DSR | MSR.DCD;
const RX_TRIGGERS = [1, 4, 8, 14] as const;
/** The time-out interrupt comes after four character times without traffic. */
const TIMEOUT_CHARACTERS = 4;

/** A bit lasts 16 × divisor cycles of 1.8432 MHz: 78,125 / 9 ns for each unit of the divisor. */
const NS_PER_BIT_UNIT = ratio(78_125, 9);
/** Divisor of 9600 baud, for a divisor latch that nobody has written. */
const POWER_ON_DIVISOR = 12;

export interface UartState {
  ier: number;
  fcr: number;
  lcr: number;
  mcr: number;
  scr: number;
  divisor: number;
  /** Holding register or transmitter FIFO; the shift register's byte, or -1. */
  transmit: number[];
  shift: number;
  receive: number[];
  /** Bytes that the other end has sent and that have not arrived. */
  wire: number[];
  overrun: boolean;
  timedOut: boolean;
  threPending: boolean;
  msrDelta: number;
}

/**
 * `line`: a byte takes the time that the programmed speed gives it. `instant`: the transmitter is always empty, as QEMU's: what SeaBIOS's serial
 * console is waiting to send when a timer interrupt comes it sends twice, which only a transmitter that never makes it wait avoids.
 */
export type TransmitTime = "line" | "instant";

export interface UartWires {
  readonly clock: AlarmClock;
  readonly irq: IrqSource;
  /** A byte has left the transmitter. */
  readonly transmit: (byte: number) => void;
}

export class Uart16550 implements ByteChip, Snapshotable<UartState> {
  readonly name: string;
  readonly #wires: UartWires;
  readonly #transmitTime: TransmitTime;
  readonly #sent: Alarm;
  readonly #arrival: Alarm;
  readonly #timeout: Alarm;
  #state: UartState = {
    ier: 0,
    fcr: 0,
    lcr: 0,
    mcr: 0,
    scr: 0,
    divisor: POWER_ON_DIVISOR,
    transmit: [],
    shift: -1,
    receive: [],
    wire: [],
    overrun: false,
    timedOut: false,
    threPending: false,
    msrDelta: 0,
  };

  /** @param name as in `com1`; also names its alarms */
  constructor(name: string, wires: UartWires, transmitTime: TransmitTime) {
    this.name = name;
    this.#transmitTime = transmitTime;
    this.#wires = wires;
    this.#sent = wires.clock.alarm(`${name} transmitter`, () => this.#endTransmission());
    this.#arrival = wires.clock.alarm(`${name} receiver`, () => this.#arrive());
    this.#timeout = wires.clock.alarm(`${name} receive time-out`, () => {
      this.#state.timedOut = this.#state.receive.length > 0;
      this.#drive();
    });
  }

  /** Bytes from the other end; they arrive one after another at the line's speed. Returns how many were accepted. */
  send(bytes: Uint8Array): number {
    const { wire } = this.#state;
    const count = Math.min(bytes.length, WIRE_LIMIT - wire.length);
    const idle = wire.length === 0;
    for (let index = 0; index < count; index++) wire.push(bytes[index]!);
    if (idle && count > 0) this.#arrival.set(this.#wires.clock.now + this.#characterNs);
    return count;
  }

  /** Start bit, 5 to 8 data bits, parity, 1 or 2 stop bits (1.5 with 5 data bits counts as 2). */
  get #characterNs(): number {
    const { lcr, divisor } = this.#state;
    const bits = 1 + (5 + (lcr & 3)) + ((lcr >>> 3) & 1) + 1 + ((lcr >>> 2) & 1);
    return scaleCeil(bits * (divisor === 0 ? 0x1_0000 : divisor), NS_PER_BIT_UNIT);
  }

  get #fifo(): boolean {
    return (this.#state.fcr & FCR.ENABLE) !== 0;
  }

  get #depth(): number {
    return this.#fifo ? FIFO_SIZE : 1;
  }

  readByte(offset: number): number {
    const state = this.#state;
    const dlab = (state.lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case 0:
        return dlab ? state.divisor & 0xff : this.#readData();
      case 1:
        return dlab ? state.divisor >>> 8 : state.ier;
      case 2:
        return this.#readIir();
      case 3:
        return state.lcr;
      case 4:
        return state.mcr;
      case 5:
        return this.#readLsr();
      case 6: {
        const value = this.#modemStatus() | state.msrDelta;
        state.msrDelta = 0;
        this.#drive();
        return value;
      }
      default:
        return state.scr;
    }
  }

  writeByte(offset: number, value: number): void {
    const state = this.#state;
    const dlab = (state.lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case 0:
        if (dlab) state.divisor = (state.divisor & 0xff00) | value;
        else this.#writeData(value);
        break;
      case 1:
        if (dlab) state.divisor = (state.divisor & 0xff) | (value << 8);
        else this.#writeIer(value & IER_MASK);
        break;
      case 2:
        this.#writeFcr(value);
        break;
      case 3:
        state.lcr = value;
        break;
      case 4:
        this.#writeMcr(value & MCR_MASK);
        break;
      case 7:
        state.scr = value;
        break;
      default: // LSR and MSR are for reading
    }
  }

  #readData(): number {
    const state = this.#state;
    const byte = state.receive.shift() ?? 0;
    state.timedOut = false;
    this.#restartTimeout();
    this.#drive();
    return byte;
  }

  #writeData(byte: number): void {
    const state = this.#state;
    state.threPending = false;
    // A full FIFO loses the byte; without FIFOs the holding register is overwritten.
    if (state.transmit.length < this.#depth) state.transmit.push(byte);
    else if (!this.#fifo) state.transmit[0] = byte;
    if (state.shift < 0) this.#startTransmission();
    this.#drive();
  }

  /** Moves a byte into the shift register. */
  #startTransmission(): void {
    const state = this.#state;
    const byte = state.transmit.shift();
    if (byte === undefined) return;
    state.shift = byte;
    if (state.transmit.length === 0) state.threPending = true;
    if (this.#transmitTime === "instant") this.#endTransmission();
    else this.#sent.set(this.#wires.clock.now + this.#characterNs);
  }

  #endTransmission(): void {
    const state = this.#state;
    const byte = state.shift;
    state.shift = -1;
    if ((state.mcr & MCR.LOOP) !== 0) this.#receive(byte);
    else this.#wires.transmit(byte);
    this.#startTransmission();
    this.#drive();
  }

  #arrive(): void {
    const { wire, mcr } = this.#state;
    const byte = wire.shift();
    // In loopback the receiver's input is disconnected.
    if (byte !== undefined && (mcr & MCR.LOOP) === 0) this.#receive(byte);
    if (wire.length > 0) this.#arrival.set(this.#wires.clock.now + this.#characterNs);
    this.#drive();
  }

  #receive(byte: number): void {
    const state = this.#state;
    if (state.receive.length < this.#depth) state.receive.push(byte);
    else {
      state.overrun = true;
      // With FIFOs the newcomer is lost, without them what was not read ("Line Status Register", bit 1).
      if (!this.#fifo) state.receive[0] = byte;
    }
    this.#restartTimeout();
  }

  #restartTimeout(): void {
    const { receive } = this.#state;
    if (!this.#fifo || receive.length === 0) this.#timeout.cancel();
    else this.#timeout.set(this.#wires.clock.now + TIMEOUT_CHARACTERS * this.#characterNs);
  }

  #writeIer(value: number): void {
    const state = this.#state;
    // Enabling the interrupt while the holding register is empty raises it.
    const enabled = value & ~state.ier;
    if ((enabled & IER.ETBEI) !== 0 && state.transmit.length === 0) state.threPending = true;
    state.ier = value;
    this.#drive();
  }

  #writeFcr(value: number): void {
    const state = this.#state;
    // Changing FIFO mode clears both ("FIFO Control Register", bit 0).
    const cleared = ((value ^ state.fcr) & FCR.ENABLE) !== 0 ? FCR.CLEAR_RX | FCR.CLEAR_TX : value;
    state.fcr = value & ~(FCR.CLEAR_RX | FCR.CLEAR_TX);
    if ((cleared & FCR.CLEAR_RX) !== 0) {
      state.receive = [];
      state.timedOut = false;
    }
    if ((cleared & FCR.CLEAR_TX) !== 0) {
      if (state.transmit.length > 0) state.threPending = true;
      state.transmit = [];
    }
    this.#restartTimeout();
    this.#drive();
  }

  #writeMcr(value: number): void {
    const state = this.#state;
    const before = this.#modemStatus();
    state.mcr = value;
    const changed = before ^ this.#modemStatus();
    // DCTS, DDSR and DDCD tell of changes, TERI of RI going off.
    state.msrDelta |= (changed >>> 4) & ~(MSR.RI >>> 4);
    if ((changed & before & MSR.RI) !== 0) state.msrDelta |= MSR.RI >>> 4;
    this.#drive();
  }

  /** In loopback the four modem inputs are the four outputs. */
  #modemStatus(): number {
    const { mcr } = this.#state;
    if ((mcr & MCR.LOOP) === 0) return MSR_READY;
    return (
      (mcr & MCR.RTS ? MSR.CTS : 0) |
      (mcr & MCR.DTR ? MSR.DSR : 0) |
      (mcr & MCR.OUT1 ? MSR.RI : 0) |
      (mcr & MCR.OUT2 ? MSR.DCD : 0)
    );
  }

  #readLsr(): number {
    const state = this.#state;
    const value =
      (state.receive.length > 0 ? LSR.DR : 0) |
      (state.overrun ? LSR.OE : 0) |
      (state.transmit.length === 0 ? LSR.THRE : 0) |
      (state.transmit.length === 0 && state.shift < 0 ? LSR.TEMT : 0);
    state.overrun = false;
    this.#drive();
    return value;
  }

  /** The interrupt of highest priority (data sheet, table V). */
  #identification(): number {
    const { ier, overrun, receive, timedOut, threPending, msrDelta, fcr } = this.#state;
    const trigger = this.#fifo ? RX_TRIGGERS[(fcr >>> 6) & 3]! : 1;
    if ((ier & IER.ELSI) !== 0 && overrun) return IIR.LINE;
    if ((ier & IER.ERBFI) !== 0 && receive.length >= trigger) return IIR.RECEIVED;
    if ((ier & IER.ERBFI) !== 0 && timedOut) return IIR.TIMEOUT;
    if ((ier & IER.ETBEI) !== 0 && threPending) return IIR.THRE;
    if ((ier & IER.EDSSI) !== 0 && msrDelta !== 0) return IIR.MODEM;
    return IIR.NONE;
  }

  #readIir(): number {
    const identification = this.#identification();
    if (identification === IIR.THRE) this.#state.threPending = false;
    this.#drive();
    return identification | (this.#fifo ? IIR.FIFOS : 0);
  }

  #drive(): void {
    const { mcr } = this.#state;
    const gated = (mcr & MCR.OUT2) !== 0 && (mcr & MCR.LOOP) === 0;
    this.#wires.irq.set(gated && this.#identification() !== IIR.NONE);
  }

  save(): UartState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not a UART's */
  load(state: UartState): void {
    const adopted = adoptState(this.#state, state, this.name);
    checkByteQueue(adopted.transmit, FIFO_SIZE, this.name);
    checkByteQueue(adopted.receive, FIFO_SIZE, this.name);
    checkByteQueue(adopted.wire, WIRE_LIMIT, this.name);
    this.#state = adopted;
  }
}
