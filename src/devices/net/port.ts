// Part: a station as switches and hosts have it: a transmitter with a queue, and a receiver that drops what is damaged, as store-and-forward
// bridges do (IEEE 802.1Q-2018, section 8.6): a wrong check sequence, frames below 64 bytes and longer than the cable takes.

import type { Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { checkSequenceIsGood, MIN_FRAME } from "./ethernet.ts";
import { Mac, type MacState } from "./mac.ts";
import type { Medium, Station } from "./medium.ts";

/** Frames that wait for the cable; more are dropped. A small switch has about so many buffers a port. */
const MAX_QUEUED = 64;

export interface PortWires {
  readonly clock: Clock;
  readonly medium: Medium;
  readonly random: RandomStream;
  /** Takes a whole frame with its check sequence. */
  readonly receive: (frame: Uint8Array) => void;
  /** A frame is gone: there is room for another. */
  readonly sent?: () => void;
}

export interface PortState {
  mac: MacState;
  queue: Uint8Array[];
  /** Frames that found the queue full, collided sixteen times, or arrived damaged. */
  dropped: number;
  undeliverable: number;
  damaged: number;
}

export class Port implements Station, Snapshotable<PortState> {
  readonly name: string;
  readonly #wires: PortWires;
  readonly #mac: Mac;
  #queue: Uint8Array[] = [];
  #dropped = 0;
  #undeliverable = 0;
  #damaged = 0;

  /** @param name of its alarm */
  constructor(name: string, wires: PortWires) {
    this.name = name;
    this.#wires = wires;
    const { clock, medium, random } = wires;
    this.#mac = new Mac(name, { clock, medium, random, done: ({ sent }) => this.#done(sent) });
    medium.attach(this);
  }

  /** The longest frame, with its check sequence, that it takes. */
  get maxFrame(): number {
    return this.#wires.medium.maxFrame;
  }

  /** Whether `send` would take a frame. */
  get hasRoom(): boolean {
    return !this.#mac.busy || this.#queue.length < MAX_QUEUED;
  }

  /** Queues a frame with its check sequence; false when it was dropped. */
  send(frame: Uint8Array): boolean {
    if (!this.#mac.busy) this.#mac.send(frame);
    else if (this.#queue.length < MAX_QUEUED) this.#queue.push(frame);
    else {
      this.#dropped++;
      return false;
    }
    return true;
  }

  #done(sent: boolean): void {
    if (!sent) this.#undeliverable++;
    const next = this.#queue.shift();
    if (next !== undefined) this.#mac.send(next);
    this.#wires.sent?.();
  }

  receive(frame: Uint8Array): void {
    if (frame.length >= MIN_FRAME && frame.length <= this.maxFrame && checkSequenceIsGood(frame))
      this.#wires.receive(frame);
    else this.#damaged++;
  }

  carrierChanged(): void {
    this.#mac.carrierChanged();
  }

  save(): PortState {
    return {
      mac: this.#mac.save(),
      queue: this.#queue.map((frame) => frame.slice()),
      dropped: this.#dropped,
      undeliverable: this.#undeliverable,
      damaged: this.#damaged,
    };
  }

  /** @throws InputError when the state is not a port's */
  load({ mac, queue, dropped, undeliverable, damaged }: PortState): void {
    if (queue.length > MAX_QUEUED) throw new InputError(`${queue.length} frames queued`, `snapshot of ${this.name}`);
    this.#mac.load(mac);
    this.#queue = queue.map((frame) => frame.slice());
    this.#dropped = dropped;
    this.#undeliverable = undeliverable;
    this.#damaged = damaged;
  }
}
