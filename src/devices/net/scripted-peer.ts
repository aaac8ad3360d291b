// Part: a station that sends given frames at given times, for instance those of a capture file, and keeps what it hears.

import type { Alarm, Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { withCheckSequence } from "./ethernet.ts";
import type { Medium } from "./medium.ts";
import type { CapturedFrame } from "./pcap.ts";
import { Port, type PortState } from "./port.ts";

/** Frames that are kept; a longer run keeps the first. Enough for every scenario. */
const MAX_HEARD = 65_536;
/** The chip's longest frame: TBCR counts 16 bits. Longer ones fit no card's register. */
const MAX_BYTES = 65_535;

export interface ScriptedPeerState {
  port: PortState;
  /** Frames of the script that have been sent. */
  sent: number;
  heard: Uint8Array[];
}

export class ScriptedPeer implements Snapshotable<ScriptedPeerState> {
  readonly name: string;
  readonly #port: Port;
  readonly #script: readonly CapturedFrame[];
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  #sent = 0;
  #heard: Uint8Array[] = [];

  /**
   * @param script frames without check sequence, at times since power-on that never go back
   * @throws InputError when times go back or a frame is longer than any card sends
   */
  constructor(
    name: string,
    wires: { readonly clock: Clock; readonly medium: Medium; readonly random: RandomStream },
    script: readonly CapturedFrame[],
  ) {
    for (const [index, { atNs, bytes }] of script.entries()) {
      const context = `${name}, frame ${index}`;
      if (atNs < (script[index - 1]?.atNs ?? 0)) throw new InputError("before the frame ahead of it", context);
      if (bytes.length > MAX_BYTES) throw new InputError(`${bytes.length} bytes, at most ${MAX_BYTES}`, context);
    }
    this.name = name;
    this.#clock = wires.clock;
    this.#script = script;
    this.#port = new Port(name, { ...wires, receive: (frame) => this.#hear(frame) });
    this.#alarm = wires.clock.alarm(`${name} script`, () => this.#send());
    this.#arm();
  }

  /** The whole frames that arrived, with their check sequences. */
  get heard(): readonly Uint8Array[] {
    return this.#heard;
  }

  #arm(): void {
    const next = this.#script[this.#sent];
    if (next !== undefined) this.#alarm.set(next.atNs);
  }

  #send(): void {
    for (
      let next = this.#script[this.#sent];
      next !== undefined && next.atNs <= this.#clock.now;
      next = this.#script[this.#sent]
    ) {
      this.#sent++;
      this.#port.send(withCheckSequence(next.bytes));
    }
    this.#arm();
  }

  #hear(frame: Uint8Array): void {
    if (this.#heard.length < MAX_HEARD) this.#heard.push(frame);
  }

  save(): ScriptedPeerState {
    return { port: this.#port.save(), sent: this.#sent, heard: this.#heard.map((frame) => frame.slice()) };
  }

  /** @throws InputError when the snapshot is of another script */
  load({ port, sent, heard }: ScriptedPeerState): void {
    if (sent > this.#script.length || heard.length > MAX_HEARD)
      throw new InputError("of another script", `snapshot of ${this.name}`);
    this.#port.load(port);
    this.#sent = sent;
    this.#heard = heard.map((frame) => frame.slice());
  }
}
