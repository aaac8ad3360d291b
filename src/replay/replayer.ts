// Part: replay. The machine of a trace is built again and runs; each event it gives is compared with the recorded one as it happens, and the
// digest of its whole state at the end of every chunk. What came from outside is taken from the trace.

import { InputError } from "../core/errors.ts";
import { completeConfig, type FullMachineConfig } from "../machine/config.ts";
import { type ImageLoader, Images } from "../machine/images.ts";
import { Machine, type MachineView } from "../machine/machine.ts";
import type { Scenario } from "../machine/scenario.ts";
import { differingFields, sameEvent } from "../trace/compare.ts";
import type { TraceEvent } from "../trace/events.ts";
import { type ChunkRecord, equalBytes } from "../trace/format.ts";
import type { Trace } from "../trace/reader.ts";
import { STOPPED } from "./session.ts";

/** Where and how a replay left its trace. */
export interface Divergence {
  /** "event": an event differs; "digest": all events of the chunk agree, the machine's state behind them does not. */
  readonly kind: "event" | "digest";
  /** Number of the event in the trace, from 0. */
  readonly event: number;
  readonly chunk: number;
  /** The last event on which both agree. */
  readonly agreed: TraceEvent | undefined;
  /** Undefined where the trace ends and the machine goes on. */
  readonly recorded: TraceEvent | undefined;
  /** Undefined where the machine stops and the trace goes on. */
  readonly replayed: TraceEvent | undefined;
  readonly fields: readonly string[];
  /** The processor when it was noticed. */
  readonly machine: MachineView;
}

export interface ReplayResult {
  /** Undefined when everything was identical. */
  readonly divergence: Divergence | undefined;
  /** Events that agreed. */
  readonly events: number;
  /** False when the trace has no end record: it was compared up to its last whole chunk. */
  readonly complete: boolean;
}

/** Thrown by the event sink to leave the machine at the event that differs. */
class Diverged extends Error {}

export class Replayer {
  readonly machine: Machine;
  readonly #trace: Trace;
  #chunkIndex = -1;
  #chunk: ChunkRecord | undefined;
  #events: readonly TraceEvent[] = [];
  #position = 0;
  #agreedCount = 0;
  #agreed: TraceEvent | undefined;
  #divergence: Divergence | undefined;
  #finished = false;

  /**
   * @param scenario the one that the trace names
   * @throws InputError when the trace is damaged, or an image or the scenario's machine is not what it was
   */
  constructor(trace: Trace, scenario: Scenario, load: ImageLoader) {
    const damage = trace.damage[0];
    if (damage !== undefined) throw new InputError(`${damage.problem} (offset ${damage.offset})`, damage.what);
    const { header } = trace;
    const images = new Images(scenario.images, load);
    images.check(header.images);
    const config = completeConfig(header.machine as unknown as FullMachineConfig);
    this.#trace = trace;
    this.machine = new Machine(config, images, header.seed, (event) => this.#compare(event));
    this.#nextChunk();
  }

  /** Events that agreed so far. */
  get events(): number {
    return this.#agreedCount;
  }

  /** Runs up to `steps` steps of the machine; false once there is a result. */
  run(steps: number): boolean {
    try {
      for (let step = 0; step < steps && !this.#finished; step++) this.#step();
    } catch (error) {
      if (!(error instanceof Diverged)) throw error;
      this.#finished = true;
    }
    return !this.#finished;
  }

  get result(): ReplayResult {
    return { divergence: this.#divergence, events: this.#agreedCount, complete: this.#trace.end !== undefined };
  }

  #step(): void {
    const { machine } = this;
    // The recorder's order: it closes a full chunk, then takes input, then lets the machine run.
    if (this.#chunk !== undefined && this.#position === this.#events.length) this.#endChunk(this.#chunk);
    const typed = this.#type();
    if (this.#stoppedFromOutside() || (!machine.step() && !typed)) this.#stop();
  }

  #type(): boolean {
    let typed = false;
    for (;;) {
      const next = this.#events[this.#position];
      if (next?.kind !== "input" || next.step !== this.machine.steps) return typed;
      this.machine.input(next.channel, next.data);
      typed = true;
    }
  }

  #stoppedFromOutside(): boolean {
    const next = this.#events[this.#position];
    return next === undefined ? this.#chunk === undefined : next.kind === "end" && next.reason === STOPPED;
  }

  /** The machine has nothing more to do, or the trace has nothing more to say. */
  #stop(): void {
    this.#finished = true;
    if (this.#chunk === undefined) return;
    const next = this.#events[this.#position];
    const { machine } = this;
    const reason = this.#stoppedFromOutside() ? STOPPED : machine.reason;
    if (next !== undefined && this.#trace.end === undefined) this.#diverge("event", next, undefined);
    this.#compare({ kind: "end", at: machine.now, reason, retired: machine.retired });
    this.#endChunk(this.#chunk);
  }

  #compare(event: TraceEvent): void {
    const recorded = this.#events[this.#position];
    if (recorded === undefined || !sameEvent(recorded, event)) this.#mismatch(recorded, event);
    this.#agreed = recorded;
    this.#position++;
    this.#agreedCount++;
  }

  /** A chunk ends where the machine's step does, so an event too many is found here; behind the last chunk nothing is known. */
  #mismatch(recorded: TraceEvent | undefined, event: TraceEvent): void {
    if (recorded === undefined && this.#chunk === undefined) throw new Diverged();
    this.#diverge("event", recorded, event);
  }

  #endChunk(chunk: ChunkRecord): void {
    if (!equalBytes(this.machine.stateDigest(), chunk.stateDigest)) this.#diverge("digest", undefined, undefined);
    this.#nextChunk();
  }

  #nextChunk(): void {
    this.#chunk = this.#trace.chunks[++this.#chunkIndex];
    this.#events = this.#chunk === undefined ? [] : this.#trace.eventsOf(this.#chunk);
    this.#position = 0;
  }

  #diverge(kind: Divergence["kind"], recorded: TraceEvent | undefined, replayed: TraceEvent | undefined): never {
    this.#divergence = {
      kind,
      event: this.#agreedCount,
      chunk: this.#chunkIndex,
      agreed: this.#agreed,
      recorded,
      replayed,
      fields: recorded !== undefined && replayed !== undefined ? differingFields(recorded, replayed) : [],
      machine: this.machine.view(),
    };
    throw new Diverged();
  }
}
