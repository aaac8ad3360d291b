// Part: replay. The machine of a trace is built again and runs; each event it gives is compared with the recorded one as it happens, and the
// digest of its whole state at the end of every chunk. What came from outside is taken from the trace.

import { InputError } from "../core/errors.ts";
import { completeConfig, type MachineConfig } from "../machine/config.ts";
import { type ImageLoader, Images, noImages } from "../machine/images.ts";
import { Machine } from "../machine/machine.ts";
import type { Scenario } from "../machine/scenario.ts";
import type { MachineView } from "../machine/view.ts";
import { differingFields } from "../trace/compare.ts";
import { RowCursor } from "../trace/cursor.ts";
import type { EventOf, TraceEvent } from "../trace/events.ts";
import { type ChunkRecord, equalBytes } from "../trace/format.ts";
import { Trace } from "../trace/reader.ts";
import { STOPPED } from "./session.ts";
import { Stepper } from "./stepper.ts";

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
  readonly #stepper: Stepper;
  readonly #trace: Trace;
  /** Events of the machine's construction, until they are compared. */
  #early: TraceEvent[] | undefined = [];
  #chunkIndex = -1;
  #chunk: ChunkRecord | undefined;
  #rows: RowCursor | undefined;
  #agreedCount = 0;
  #agreed: TraceEvent | undefined;
  #divergence: Divergence | undefined;
  #finished = false;

  /**
   * @param scenario the one that the trace names
   * @throws InputError when the trace is damaged, or an image or the scenario's machine is not what it was
   */
  constructor(trace: Trace, scenario: Scenario, load: ImageLoader) {
    // A recorder that died leaves a last record that is cut off; what stands before it can be trusted.
    const damage = trace.damage.find(({ cutOff }) => !cutOff);
    if (damage !== undefined) throw new InputError(`${damage.problem} (offset ${damage.offset})`, damage.what);
    const { header } = trace;
    const images = new Images(scenario.images, load);
    images.check(header.images);
    const config = completeConfig(header.machine as MachineConfig);
    this.#trace = trace;
    this.#nextChunk();
    this.machine = new Machine(config, images, header.seed, (event) => this.#take(event), {
      programs: scenario.programs,
    });
    this.#stepper = new Stepper(this.machine);
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
    if (this.#early !== undefined) {
      const early = this.#early;
      this.#early = undefined;
      for (const event of early) this.#compare(event);
    }
    // The recorder's order: it closes a full chunk, then takes input, then lets the machine run.
    if (this.#chunk !== undefined && this.#rows?.atEnd === true) this.#endChunk(this.#chunk);
    this.#type();
    if (this.#stoppedFromOutside() || !(this.#stepper.step() || this.#inputIsDue())) this.#stop();
  }

  /** A machine with nothing to do goes on when somebody typed. */
  #inputIsDue(): boolean {
    return !this.#stepper.stuck && this.#nextInput() !== undefined;
  }

  /** The recorded input that is due now. */
  #nextInput(): EventOf<"input"> | undefined {
    if (this.#rows?.nextKind() !== "input") return undefined;
    const next = this.#rows.next();
    return next?.kind === "input" && next.step === this.machine.steps ? next : undefined;
  }

  #type(): void {
    for (let next = this.#nextInput(); next !== undefined; next = this.#nextInput()) {
      this.machine.input(next.channel, next.data);
    }
  }

  #stoppedFromOutside(): boolean {
    if (this.#rows === undefined) return true;
    if (this.#rows.nextKind() !== "end") return false;
    const next = this.#rows.next();
    return next?.kind === "end" && next.reason === STOPPED && next.steps <= this.machine.steps;
  }

  /** The machine has nothing more to do, or the trace has nothing more to say. */
  #stop(): void {
    this.#finished = true;
    if (this.#chunk !== undefined && this.#rows?.atEnd === true) this.#endChunk(this.#chunk);
    if (this.#chunk === undefined) return;
    const { machine } = this;
    const reason = this.#stoppedFromOutside() ? STOPPED : this.#stepper.reason;
    this.#compare({ kind: "end", at: machine.now, reason, retired: machine.retired, steps: machine.steps });
    this.#endChunk(this.#chunk);
    const beyond = this.#rows?.next();
    if (beyond !== undefined) this.#diverge("event", beyond, undefined);
  }

  /** The machine's events; those of its construction wait until there is a machine to show beside a difference. */
  #take(event: TraceEvent): void {
    if (this.#early === undefined) this.#compare(event);
    else this.#early.push(event);
  }

  /** A chunk ends where a step of the machine does, so an event too many is found here. */
  #compare(event: TraceEvent): void {
    if (this.#rows === undefined) return;
    if (!this.#rows.take(event)) this.#diverge("event", this.#rows.next(), event);
    this.#agreed = event;
    this.#agreedCount++;
  }

  #endChunk(chunk: ChunkRecord): void {
    if (!equalBytes(this.machine.stateDigest(), chunk.stateDigest)) this.#diverge("digest", undefined, undefined);
    this.#nextChunk();
  }

  #nextChunk(): void {
    this.#chunk = this.#trace.chunks[++this.#chunkIndex];
    this.#rows = this.#chunk === undefined ? undefined : new RowCursor(this.#trace, this.#chunk);
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

/**
 * Replays a whole trace in one call.
 * @param bytes the trace file
 * @param scenario the one that the trace names
 * @param load gives the bytes of images that the scenario does not make itself
 * @throws InputError on bytes that are no trace, a damaged trace, or an image that is not what it was
 */
export function replay(bytes: Uint8Array, scenario: Scenario, load: ImageLoader = noImages): ReplayResult {
  const replayer = new Replayer(new Trace(bytes), scenario, load);
  while (replayer.run(STEPS_A_CALL));
  return replayer.result;
}

/** Nobody looks in between; any number will do. */
const STEPS_A_CALL = 1_000;
