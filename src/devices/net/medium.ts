// Part: what a station (a card, a switch's port, a host) sees of the cable that it is plugged into.
// Frames on a cable are bytes without preamble and with whatever check sequence their sender gave them.

import type { Nanoseconds } from "../../core/units.ts";

export interface Station {
  /**
   * The last bit of a frame has arrived. The bytes are the station's own.
   * @param dribbleBits bits behind the last whole byte, 0 to 7
   */
  receive(frame: Uint8Array, dribbleBits: number): void;
  /** The other end's signal has begun or ended here; see `Medium.carrier`. */
  carrierChanged(): void;
}

export interface Medium {
  readonly fullDuplex: boolean;
  /** The longest frame, with its check sequence, that stations take from it. */
  readonly maxFrame: number;
  /** The other end's signal is on the cable here; with full duplex nobody asks, and it is never said to be. */
  readonly carrier: boolean;
  /** How long so many bits take. */
  bitsNs(count: number): Nanoseconds;
  attach(station: Station): void;
  /** Begins a signal: preamble and frame. Gives the time that it takes; the station ends it then, or cuts it before. */
  begin(frame: Uint8Array): Nanoseconds;
  /** Ends the signal after its time. */
  end(): void;
  /** Ends the signal early, because of a collision: the other end gets a fragment. */
  cut(): void;
}
