// Part: a cable between two stations, with a bandwidth, a latency, one or both directions at a time, and faults drawn from a random stream.
// With half duplex a station hears the other's signal begin and end a latency later (with full duplex nobody listens); when both have a signal
// on the cable, stations notice for themselves (mac.ts). Faults meet whole frames only: loss, duplication, delay behind later frames, flipped bits,
// bits missing at the end.

import type { Alarm, Clock } from "../../core/clock.ts";
import { assert, InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import { shortCopy } from "../../core/slab.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { type Nanoseconds, NS_PER_SECOND, type Ratio, ratio, scaleCeil } from "../../core/units.ts";
import type { Emit } from "../../trace/events.ts";
import { FCS_SIZE, MAX_FRAME, PREAMBLE_SIZE } from "./ethernet.ts";
import type { Medium, Station } from "./medium.ts";

/** Each rate is in parts per million of the frames. */
export interface LinkFaults {
  readonly lossPpm?: number;
  readonly duplicationPpm?: number;
  /** Frames that arrive `reorderingNs` late, so that others overtake them. */
  readonly reorderingPpm?: number;
  readonly reorderingNs?: Nanoseconds;
  /** One flipped bit. */
  readonly corruptionPpm?: number;
  /** The last byte arrives in part, so that the frame does not end on a byte's boundary. */
  readonly misalignmentPpm?: number;
}

export interface LinkOptions {
  readonly bitsPerSecond: number;
  readonly latencyNs: Nanoseconds;
  readonly fullDuplex: boolean;
  /** The longest frame, with its check sequence, that stations on it take; 1518 without it. */
  readonly maxFrame?: number;
  readonly faults?: LinkFaults;
}

/** 10BASE-T over a few metres of cable. */
export const TEN_MEGABIT: LinkOptions = { bitsPerSecond: 10_000_000, latencyNs: 500, fullDuplex: false };

/** 64 KiB, as much as a para-virtual interface hands over at once (XEN_NETIF_MAX_TX_SIZE), and the check sequence. */
const LONGEST_FRAME = 0xffff + FCS_SIZE;

const MILLION = 1_000_000;

/** Signals and frames between two ends. A long cable at a high rate could hold more; what is too much is lost. */
const MAX_IN_FLIGHT = 4096;

/** Something that will happen at the far end of a direction. */
interface Flight {
  dueNs: Nanoseconds;
  /** The signal begins or ends; null when only a frame is meant. */
  carrier: boolean | null;
  frame: Uint8Array | null;
  number: number;
  dribbleBits: number;
  /** The frame is not what was sent. */
  changed: boolean;
}

const NO_FLIGHT: Flight = { dueNs: 0, carrier: null, frame: null, number: 0, dribbleBits: 0, changed: false };

interface DirectionState {
  /** What is being sent, from when on. */
  sending: { frame: Uint8Array; sinceNs: Nanoseconds; number: number } | null;
  /** The signal has reached the far end. */
  carrier: boolean;
  /** By time, then in the order of their making. */
  flights: Flight[];
}

export interface LinkState {
  frames: number;
  /** From the first end to the second, and back. */
  directions: DirectionState[];
}

export interface LinkWires {
  readonly clock: Clock;
  readonly random: RandomStream;
  readonly emit: Emit;
}

export class Link implements Snapshotable<LinkState> {
  readonly name: string;
  /** The two ends, to be plugged into stations. */
  readonly ends: readonly [Medium, Medium];
  readonly #wires: LinkWires;
  readonly #options: LinkOptions;
  readonly #bit: Ratio;
  readonly #alarm: Alarm;
  readonly #stations: (Station | undefined)[] = [undefined, undefined];
  #state: LinkState = { frames: 0, directions: [newDirection(), newDirection()] };

  /** @throws InputError on a bandwidth, latency, rate or length that is none */
  constructor(name: string, wires: LinkWires, options: LinkOptions) {
    this.name = name;
    this.#wires = wires;
    this.#options = options;
    for (const [key, value] of Object.entries({ latencyNs: options.latencyNs, ...options.faults })) {
      const maximum = key.endsWith("Ppm") ? MILLION : NS_PER_SECOND;
      if (!Number.isInteger(value) || value < 0 || value > maximum) {
        throw new InputError(`${key} is ${value}, not an integer from 0 to ${maximum}`, `link ${name}`);
      }
    }
    const { maxFrame = MAX_FRAME } = options;
    if (!Number.isInteger(maxFrame) || maxFrame < MAX_FRAME || maxFrame > LONGEST_FRAME) {
      throw new InputError(`maxFrame is ${maxFrame}, not ${MAX_FRAME} to ${LONGEST_FRAME}`, `link ${name}`);
    }
    this.#bit = ratio(NS_PER_SECOND, options.bitsPerSecond);
    this.#alarm = wires.clock.alarm(`link ${name}`, () => this.#arrive());
    this.ends = [this.#end(0), this.#end(1)];
  }

  #end(index: 0 | 1): Medium {
    const carrier = () => this.#state.directions[1 - index]!.carrier;
    return {
      fullDuplex: this.#options.fullDuplex,
      maxFrame: this.#options.maxFrame ?? MAX_FRAME,
      get carrier() {
        return carrier();
      },
      bitsNs: (count) => scaleCeil(count, this.#bit),
      attach: (station) => {
        if (this.#stations[index] !== undefined) throw new InputError(`end ${index} is taken`, `link ${this.name}`);
        this.#stations[index] = station;
      },
      begin: (frame) => this.#begin(index, frame),
      end: () => this.#stop(index, false),
      cut: () => this.#stop(index, true),
    };
  }

  #begin(index: number, frame: Uint8Array): Nanoseconds {
    const direction = this.#state.directions[index]!;
    assert(direction.sending === null, () => `link ${this.name}: end ${index} sends two frames at once`);
    const now = this.#wires.clock.now;
    direction.sending = { frame, sinceNs: now, number: this.#state.frames++ };
    if (!this.#options.fullDuplex) {
      this.#fly(direction, { ...NO_FLIGHT, dueNs: now + this.#options.latencyNs, carrier: true });
    }
    return scaleCeil(8 * (PREAMBLE_SIZE + frame.length), this.#bit);
  }

  #stop(index: number, cut: boolean): void {
    const direction = this.#state.directions[index]!;
    const { sending } = direction;
    assert(sending !== null, () => `link ${this.name}: end ${index} sends nothing`);
    direction.sending = null;
    const { clock, emit } = this.#wires;
    const { frame, number } = sending;
    emit({ kind: "frame-sent", at: clock.now, link: this.name, end: index, number, whole: !cut, data: frame });
    const arrivalNs = clock.now + this.#options.latencyNs;
    if (!cut) this.#send(direction, arrivalNs, frame, number);
    else {
      const bits = (clock.now - sending.sinceNs) / scaleCeil(8, this.#bit);
      const length = Math.min(Math.max(Math.floor(bits) - PREAMBLE_SIZE, 0), frame.length);
      const fragment = length === 0 ? null : frame.slice(0, length);
      this.#fly(direction, {
        ...NO_FLIGHT,
        dueNs: arrivalNs,
        carrier: false,
        frame: fragment,
        number,
        changed: true,
      });
    }
  }

  /** A whole frame, with its faults. Every fault draws, so that one fault's rate does not move the others. */
  #send(direction: DirectionState, arrivalNs: Nanoseconds, sent: Uint8Array, number: number): void {
    const { random } = this.#wires;
    const { faults } = this.#options;
    if (faults === undefined) {
      if (!this.#options.fullDuplex) this.#fly(direction, { ...NO_FLIGHT, dueNs: arrivalNs, carrier: false });
      const frame = shortCopy(sent, 0, sent.length);
      this.#fly(direction, { dueNs: arrivalNs, carrier: null, frame, number, dribbleBits: 0, changed: false });
      return;
    }
    const strikes = (ppm: number | undefined) => ppm !== undefined && random.chance(ppm, MILLION);
    const lost = strikes(faults.lossPpm);
    const duplicated = strikes(faults.duplicationPpm);
    const delayed = strikes(faults.reorderingPpm);
    const corrupted = strikes(faults.corruptionPpm) && sent.length > 0;
    const misaligned = strikes(faults.misalignmentPpm) && sent.length > 0;
    const frame = shortCopy(sent, 0, sent.length);
    let dribbleBits = 0;
    if (corrupted) {
      const bit = random.below(8 * frame.length);
      frame[bit >> 3]! ^= 1 << (bit & 7);
      this.#tell("corruption", `frame ${number}: bit ${bit} flipped`);
    }
    if (misaligned) {
      dribbleBits = random.between(1, 7);
      this.#tell("misalignment", `frame ${number}: ${dribbleBits} bits of the last byte`);
    }
    const arrived = misaligned ? frame.slice(0, -1) : frame;
    const dueNs = arrivalNs + (delayed ? (faults.reorderingNs ?? 0) : 0);
    const what = { dueNs, carrier: null, frame: arrived, number, dribbleBits, changed: corrupted || misaligned };
    if (delayed) this.#tell("reordering", `frame ${number}: ${dueNs - arrivalNs} ns late`);
    if (!this.#options.fullDuplex) this.#fly(direction, { ...NO_FLIGHT, dueNs: arrivalNs, carrier: false });
    if (lost) this.#tell("loss", `frame ${number}`);
    else this.#fly(direction, what);
    if (duplicated) {
      this.#tell("duplication", `frame ${number}`);
      const againNs = arrivalNs + scaleCeil(8 * (PREAMBLE_SIZE + sent.length), this.#bit);
      this.#fly(direction, { ...what, dueNs: againNs, frame: arrived.slice() });
    }
  }

  #tell(fault: string, detail: string): void {
    this.#wires.emit({ kind: "fault-injected", at: this.#wires.clock.now, name: `${this.name} ${fault}`, detail });
  }

  #fly({ flights }: DirectionState, flight: Flight): void {
    // A carrier's end is never lost: it follows its begin, which needs a place in the queue too.
    if (flights.length >= MAX_IN_FLIGHT && typeof flight.carrier !== "boolean") {
      this.#tell("queue full", `frame ${flight.number}`);
      return;
    }
    // By hand: `splice` costs more than the search.
    let place = flights.length;
    flights.push(flight);
    for (; place > 0 && flights[place - 1]!.dueNs > flight.dueNs; place--) flights[place] = flights[place - 1]!;
    flights[place] = flight;
    this.#arm();
  }

  #arm(): void {
    const [there, back] = this.#state.directions;
    const nextNs = Math.min(dueNs(there), dueNs(back));
    if (nextNs === this.#alarm.deadline) return;
    if (nextNs === Number.POSITIVE_INFINITY) this.#alarm.cancel();
    else this.#alarm.set(nextNs);
  }

  /** Hands over what is due now, one thing at a time: a station may send while it is told. */
  #arrive(): void {
    const { clock, emit } = this.#wires;
    for (let index = 0; index < this.#state.directions.length; index++) {
      const direction = this.#state.directions[index]!;
      const flight = direction.flights[0];
      if (flight === undefined || flight.dueNs > clock.now) continue;
      direction.flights.shift();
      const station = this.#stations[1 - index];
      if (flight.carrier !== null) {
        direction.carrier = flight.carrier;
        station?.carrierChanged();
      }
      if (flight.frame !== null) {
        const { frame, number, changed } = flight;
        const at = clock.now;
        if (changed) emit({ kind: "frame-arrival", at, link: this.name, end: 1 - index, number, data: frame });
        else emit({ kind: "frame-arrival", at, link: this.name, end: 1 - index, number });
        station?.receive(frame, flight.dribbleBits);
      }
      break;
    }
    this.#arm();
  }

  save(): LinkState {
    return copy(this.#state);
  }

  /** @throws InputError when the state is not a link's */
  load(state: LinkState): void {
    if (state.directions.length !== 2) throw new InputError("not two directions", `snapshot of the link ${this.name}`);
    this.#state = copy(state);
  }
}

/** When the next thing arrives; never, without one. */
function dueNs(direction: DirectionState | undefined): Nanoseconds {
  return direction?.flights[0]?.dueNs ?? Number.POSITIVE_INFINITY;
}

function newDirection(): DirectionState {
  return { sending: null, carrier: false, flights: [] };
}

function copy({ frames, directions }: LinkState): LinkState {
  return {
    frames,
    directions: directions.map(({ sending, carrier, flights }) => ({
      sending: sending === null ? null : { ...sending, frame: sending.frame.slice() },
      carrier,
      flights: flights.map((flight) => ({ ...flight, frame: flight.frame?.slice() ?? null })),
    })),
  };
}
