// Part: the transmitting half of a station's media access control, CSMA/CD (IEEE 802.3-2018, sections 4.2.3.2 and 4.4.2): deferral, the gap
// between frames, collisions, jam and truncated binary exponential backoff. With full duplex only the gap remains (annex 4A).
// Not modelled: carrier extension and bursting (1 Gbit/s half duplex), the two parts of the gap, the heartbeat of 10BASE5.

import type { Alarm, Clock } from "../../core/clock.ts";
import { assert, InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { Nanoseconds } from "../../core/units.ts";
import type { Medium } from "./medium.ts";

// Parameters of section 4.4.2, in bit times; the same at 10 and 100 Mbit/s.
const INTERFRAME_GAP_BITS = 96;
const SLOT_BITS = 512;
const JAM_BITS = 32;
/** attemptLimit. */
const MAX_ATTEMPTS = 16;
/** backoffLimit: the range of the backoff doubles no further. */
const BACKOFF_LIMIT = 10;

const NO_FRAME = new Uint8Array(0);

/** How a transmission ended. */
export interface Outcome {
  /** False after the last attempt collided too. */
  readonly sent: boolean;
  readonly collisions: number;
  /** A collision came after the slot time. */
  readonly late: boolean;
  /** Not sent because the station withdrew it. */
  readonly withdrawn: boolean;
}

export interface MacState {
  phase: "idle" | "deferring" | "gap" | "sending" | "backoff";
  frame: Uint8Array;
  collisions: number;
  late: boolean;
  /** The station withdrew the frame while it was on the cable: no further attempt. */
  withdrawn: boolean;
  /** When the present attempt began. */
  startedNs: Nanoseconds;
  /** When a signal, own or not, last ended here; −1 before the first. */
  quietSinceNs: Nanoseconds;
}

export interface MacOptions {
  readonly clock: Clock;
  readonly medium: Medium;
  readonly random: RandomStream;
  readonly done: (outcome: Outcome) => void;
  /** The exponent of the backoff's range after so many collisions, where a chip departs from the standard. */
  readonly backoffExponent?: (collisions: number) => number;
}

export class Mac implements Snapshotable<MacState> {
  readonly #options: MacOptions;
  readonly #alarm: Alarm;
  #state: MacState = {
    phase: "idle",
    frame: NO_FRAME,
    collisions: 0,
    late: false,
    withdrawn: false,
    startedNs: 0,
    quietSinceNs: -1,
  };

  /** @param name of the alarm */
  constructor(name: string, options: MacOptions) {
    this.#options = options;
    this.#alarm = options.clock.alarm(name, () => this.#due());
  }

  get busy(): boolean {
    return this.#state.phase !== "idle";
  }

  /** Takes a frame, with its check sequence; `done` is told how it ended. One at a time. */
  send(frame: Uint8Array): void {
    assert(!this.busy, "a station sends one frame at a time");
    const state = this.#state;
    state.frame = frame;
    state.collisions = 0;
    state.late = false;
    state.withdrawn = false;
    this.#attempt();
  }

  /** Gives up the frame unless it is on the cable: then this attempt is its last. */
  withdraw(): void {
    const state = this.#state;
    if (state.phase === "idle") return;
    state.withdrawn = true;
    if (state.phase === "sending") return;
    this.#alarm.cancel();
    this.#finish(this.#options.done, false);
  }

  /** The station passes on what the medium tells it. */
  carrierChanged(): void {
    const { clock, medium } = this.#options;
    const state = this.#state;
    if (medium.fullDuplex) return;
    if (!medium.carrier) {
      state.quietSinceNs = clock.now;
      if (state.phase === "deferring") this.#attempt();
    } else if (state.phase === "sending") this.#collide();
    else if (state.phase === "gap") {
      this.#alarm.cancel();
      this.#attempt();
    }
  }

  #due(): void {
    const { clock, medium, done } = this.#options;
    const state = this.#state;
    if (state.phase !== "sending") {
      this.#attempt();
      return;
    }
    medium.end();
    state.quietSinceNs = clock.now;
    this.#finish(done, true);
  }

  #attempt(): void {
    const { clock, medium } = this.#options;
    const state = this.#state;
    if (!medium.fullDuplex && medium.carrier) {
      state.phase = "deferring";
      return;
    }
    const clearNs = state.quietSinceNs + medium.bitsNs(INTERFRAME_GAP_BITS);
    const mustWait = state.quietSinceNs >= 0 && clock.now < clearNs;
    // With full duplex nothing that comes in the gap could change what follows it: the frame's end alone is waited for.
    if (mustWait && !medium.fullDuplex) {
      state.phase = "gap";
      this.#alarm.set(clearNs);
      return;
    }
    state.phase = "sending";
    state.startedNs = mustWait ? clearNs : clock.now;
    this.#alarm.set(state.startedNs + medium.begin(state.frame));
  }

  #collide(): void {
    const { clock, medium, random, done, backoffExponent } = this.#options;
    const state = this.#state;
    medium.cut();
    state.quietSinceNs = clock.now;
    state.collisions++;
    if (clock.now - state.startedNs > medium.bitsNs(SLOT_BITS)) state.late = true;
    if (state.collisions === MAX_ATTEMPTS || state.withdrawn) {
      this.#alarm.cancel();
      this.#finish(done, false);
      return;
    }
    const exponent = Math.min(backoffExponent?.(state.collisions) ?? state.collisions, BACKOFF_LIMIT);
    state.phase = "backoff";
    this.#alarm.set(clock.now + medium.bitsNs(JAM_BITS + SLOT_BITS * random.below(2 ** exponent)));
  }

  #finish(done: (outcome: Outcome) => void, sent: boolean): void {
    const state = this.#state;
    state.phase = "idle";
    state.frame = NO_FRAME;
    const { collisions, late, withdrawn } = state;
    done({ sent, collisions, late, withdrawn: withdrawn && !sent });
  }

  save(): MacState {
    return { ...this.#state, frame: this.#state.frame.slice() };
  }

  /** @throws InputError when the state is none */
  load(state: MacState): void {
    if (!["idle", "deferring", "gap", "sending", "backoff"].includes(state.phase)) {
      throw new InputError(`phase ${state.phase}`, "snapshot of a station");
    }
    this.#state = { ...state, frame: state.frame.slice() };
  }
}
