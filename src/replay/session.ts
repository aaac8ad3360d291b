// Part: one run of a scenario's machine that is recorded. Nothing here is asynchronous: a caller that wants to watch, stop or type
// calls `run` for a number of steps at a time.

import type { PingerState } from "../devices/net/pinger.ts";
import { completeConfig } from "../machine/config.ts";
import { type ImageLoader, Images } from "../machine/images.ts";
import { Machine } from "../machine/machine.ts";
import { type Run, type Scenario, typedBytes } from "../machine/scenario.ts";
import { type EventKindName, type EventOf, FORMAT_VERSION, type TraceEvent } from "../trace/events.ts";
import type { TraceHeader } from "../trace/format.ts";
import { Trace } from "../trace/reader.ts";
import { type HashFunction, TraceWriter } from "../trace/writer.ts";
import { Stepper } from "./stepper.ts";

/** Events in a chunk unless asked otherwise: some 200 KB, so that a killed recorder loses little and digests cost little. */
export const CHUNK_EVENTS = 16_384;

export interface SessionOptions {
  readonly scenario: Scenario;
  /** Where the scenario was loaded from, when it is not a bundled one. */
  readonly module?: string;
  readonly seed: string;
  readonly load: ImageLoader;
  readonly product: string;
  /** Takes the trace as it grows, one whole record at a time; it must not keep the array. */
  readonly sink: (record: Uint8Array) => void;
  readonly chunkEvents?: number;
  /** SHA-256 of the trace's records, where the host has a quicker one. */
  readonly sha256?: HashFunction;
}

/** What became of one expectation. */
export interface Outcome {
  readonly expectation: string;
  readonly held: boolean;
  /** What the scenario's own code threw instead of judging. */
  readonly problem?: string;
}

export interface SessionResult {
  readonly run: Run;
  readonly outcomes: readonly Outcome[];
  readonly trace: Trace;
  /** SHA-256 of the trace, in hexadecimal. */
  readonly sha256: string;
}

/** Why a machine ended that did not stop by itself. */
export const STOPPED = "stopped from outside";

/** A machine and the recorder of its events. */
export class Session {
  readonly machine: Machine;
  readonly #scenario: Scenario;
  readonly #stepper: Stepper;
  readonly #writer: TraceWriter;
  readonly #records: Uint8Array[] = [];
  #closed = false;
  /** The machine's last step found nothing to do; only input gets it going again. */
  #halted = false;
  /** Typed from outside, not yet taken in. */
  readonly #typed: { readonly domain: string; readonly bytes: Uint8Array }[] = [];
  /** Scripted input: the next entry, and how much of its domain's console it has behind it. */
  #nextInput = 0;
  readonly #seen = new Map<string, number>();

  /** @throws InputError on a configuration or an image that makes no machine */
  constructor(options: SessionOptions) {
    const { scenario, seed } = options;
    const config = completeConfig(scenario.machine);
    const images = new Images(scenario.images, options.load);
    const header: TraceHeader = {
      format: FORMAT_VERSION,
      time: "virtual nanoseconds since power-on",
      product: options.product,
      scenario:
        options.module === undefined ? { name: scenario.name } : { name: scenario.name, module: options.module },
      seed,
      machine: config,
      images: images.records(),
      chunkEvents: options.chunkEvents ?? CHUNK_EVENTS,
    };
    this.#scenario = scenario;
    const keep = (record: Uint8Array) => {
      this.#records.push(record.slice());
      options.sink(record);
    };
    this.#writer = new TraceWriter(header, keep, options.sha256);
    this.machine = new Machine(config, images, seed, (event) => this.#writer.write(event), {
      programs: scenario.programs,
    });
    this.#stepper = new Stepper(this.machine);
  }

  /** Events recorded so far. */
  get events(): number {
    return this.#writer.events;
  }

  /** Why the machine stopped; "running" before that. */
  get reason(): string {
    return this.#stepper.reason;
  }

  /** Types at a domain's console: the machine takes it in before its next step. */
  type(domain: string, bytes: Uint8Array): void {
    this.#typed.push({ domain, bytes });
  }

  /**
   * Runs up to `steps` steps of the machine.
   * @returns false once the machine has nothing more to do: it ended, it met what is not modelled, or it is idle for ever
   * unless somebody types
   */
  run(steps: number): boolean {
    const { machine } = this;
    for (let step = 0; step < steps; step++) {
      if (this.#stepper.stuck) return false;
      if (this.#writer.full) this.#writer.closeChunk(machine.stateDigest());
      const typed = this.#type();
      if (this.#halted && !typed) return false;
      this.#halted = !this.#stepper.step();
    }
    return true;
  }

  /** Closes the trace and judges the run. @param stopped {@link STOPPED} when the machine could have gone on */
  finish(stopped?: typeof STOPPED): SessionResult {
    const { machine } = this;
    const reason = stopped ?? this.reason;
    if (!this.#closed) {
      this.#closed = true;
      const ended = { reason, durationNs: machine.now, retired: machine.retired };
      const { steps } = machine;
      this.#writer.write({ kind: "end", at: ended.durationNs, reason, retired: ended.retired, steps });
      this.#writer.close(machine.stateDigest(), ended);
    }
    const trace = new Trace(joined(this.#records), "the trace just recorded");
    const run = new FinishedRun(machine, trace, reason);
    const outcomes = Object.entries(this.#scenario.expect).map(([expectation, holds]) =>
      judge(expectation, holds, run),
    );
    return { run, outcomes, trace, sha256: trace.sha256() };
  }

  /** Takes in what was typed from outside and the scripted input that is due; true when there was some. */
  #type(): boolean {
    const typed = this.#typed.splice(0);
    for (const { domain, bytes } of typed) this.machine.type(domain, bytes);
    return this.#typeScripted() || typed.length > 0;
  }

  #typeScripted(): boolean {
    const entry = this.#scenario.input?.[this.#nextInput];
    if (entry === undefined) return false;
    const { domain, after, type } = entry;
    if (after !== undefined) {
      const shown = this.machine.console(domain);
      const at = shown.indexOf(after, this.#seen.get(domain) ?? 0);
      if (at < 0) return false;
      this.#seen.set(domain, at + after.length);
    }
    this.#nextInput++;
    this.machine.type(domain, typedBytes(type, `scenario ${this.#scenario.name}`));
    return true;
  }
}

/** A scenario's code may be wrong; its other expectations are judged all the same. */
function judge(expectation: string, holds: (run: Run) => boolean, run: Run): Outcome {
  try {
    const held: unknown = holds(run);
    if (typeof held === "boolean") return { expectation, held };
    return { expectation, held: false, problem: `it gives ${describeKind(held)}, not true or false` };
  } catch (error) {
    return { expectation, held: false, problem: String(error) };
  }
}

/** A promise would pass for a truth. */
function describeKind(value: unknown): string {
  return value instanceof Promise ? "a promise" : value === null ? "null" : `a value of type ${typeof value}`;
}

class FinishedRun implements Run {
  readonly reason: string;
  readonly durationNs: number;
  readonly retired: number;
  readonly #machine: Machine;
  readonly #trace: Trace;
  readonly #byKind = new Map<EventKindName, TraceEvent[]>();

  constructor(machine: Machine, trace: Trace, reason: string) {
    this.reason = reason;
    this.durationNs = machine.now;
    this.retired = machine.retired;
    this.#machine = machine;
    this.#trace = trace;
  }

  console(domain: string): string {
    return this.#machine.console(domain);
  }

  serial(domain: string, port: 0 | 1 = 0): string {
    return this.#machine.serial(domain, port);
  }

  screen(domain: string): readonly string[] {
    return this.#machine.screen(domain);
  }

  debugConsole(domain: string): string {
    return this.#machine.debugConsole(domain);
  }

  pings(host: string): PingerState | undefined {
    return this.#machine.pings(host);
  }

  ended(domain: string): string {
    return this.#machine.ended(domain);
  }

  events<K extends EventKindName>(kind: K): EventOf<K>[] {
    if (this.#byKind.size === 0) {
      for (const event of this.#trace.events()) {
        const list = this.#byKind.get(event.kind);
        if (list === undefined) this.#byKind.set(event.kind, [event]);
        else list.push(event);
      }
    }
    return (this.#byKind.get(kind) ?? []) as EventOf<K>[];
  }

  allEvents(): Iterable<TraceEvent> {
    return this.#trace.events();
  }
}

function joined(records: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(records.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const record of records) {
    bytes.set(record, at);
    at += record.length;
  }
  return bytes;
}
