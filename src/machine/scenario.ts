// Part: scenarios. A scenario says what machine is built, what comes in from outside and when, what must hold, and why it exists.

import { InputError } from "../core/errors.ts";
import type { PingerState } from "../devices/net/pinger.ts";
import type { EventKindName, EventOf, TraceEvent } from "../trace/events.ts";
import type { ModelFactory } from "../xen/model/kernel.ts";
import type { MachineConfig } from "./config.ts";
import type { ImageSource } from "./images.ts";

/** Something typed at a domain's console. Entries are taken in order. */
export interface TypedInput {
  readonly domain: string;
  /** Wait until the domain's console has shown this since the entry before; at once without it. */
  readonly after?: string;
  readonly type: string;
}

/** What a finished run shows to its expectations. */
export interface Run {
  /** Why the machine stopped: "domains ended", "idle", "time limit". */
  readonly reason: string;
  readonly durationNs: number;
  readonly retired: number;
  /** Everything that the domain wrote on its console, as Latin-1 text. */
  console(domain: string): string;
  /** What a domain's board sent out of a UART, 0 for COM1, as Latin-1 text. */
  serial(domain: string, port?: 0 | 1): string;
  /** The rows of a domain's text screen at the end. */
  screen(domain: string): readonly string[];
  /** What the firmware of a domain's board wrote to its debug console. */
  debugConsole(domain: string): string;
  /** What the pings of a network's host have come to; undefined when it sends none. */
  pings(host: string): PingerState | undefined;
  /** How each domain ended: "poweroff", "reboot", "crash", …; "running" when it did not. */
  ended(domain: string): string;
  /** All events of one kind, in order. */
  events<K extends EventKindName>(kind: K): EventOf<K>[];
  allEvents(): Iterable<TraceEvent>;
}

export interface Scenario {
  /** Lower-case words joined by hyphens. */
  readonly name: string;
  /** Why the scenario exists, in one or two sentences. */
  readonly why: string;
  readonly images: Readonly<Record<string, ImageSource>>;
  readonly machine: MachineConfig;
  /** Programs of the machine's model domains, by name. A trace names them; replay takes them from here. */
  readonly programs?: Readonly<Record<string, ModelFactory>>;
  readonly input?: readonly TypedInput[];
  /** What must hold: a sentence, and whether it does. */
  readonly expect: Readonly<Record<string, (run: Run) => boolean>>;
}

/** Checks a scenario's form and gives it back. @throws InputError naming what is missing */
export function defineScenario(scenario: Scenario): Scenario {
  // A JavaScript module may give anything.
  const given: Partial<Scenario> | null | undefined = scenario;
  const context = `scenario ${typeof given?.name === "string" ? given.name : "without a name"}`;
  if (typeof given?.name !== "string" || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(given.name)) {
    throw new InputError("its name must be lower-case words joined by hyphens", context);
  }
  if (typeof given.why !== "string" || given.why === "") throw new InputError("it does not say why it exists", context);
  const { domains: guests, models = [] } = given.machine ?? {};
  if (!isMap(given.images) || !Array.isArray(guests) || !Array.isArray(models) || guests.length + models.length === 0) {
    throw new InputError("it needs images and a machine with domains", context);
  }
  for (const [name, program] of Object.entries(given.programs ?? {})) {
    if (typeof program !== "function") throw new InputError(`its program ${name} is no function`, context);
  }
  for (const [name, source] of Object.entries(given.images)) {
    if (!isImageSource(source)) {
      throw new InputError(`its image ${name} is none of { guest }, { package, path }, { file }, { build }`, context);
    }
  }
  if (!isMap(given.expect) || Object.keys(given.expect).length === 0)
    throw new InputError("it expects nothing", context);
  for (const [expectation, holds] of Object.entries(given.expect)) {
    if (typeof holds !== "function") throw new InputError(`its expectation "${expectation}" is no function`, context);
  }
  const domains = new Set([...guests, ...models].map((domain: { name?: unknown } | null) => domain?.name));
  for (const { domain, type } of given.input ?? []) {
    if (!domains.has(domain)) throw new InputError(`input for the domain ${domain}, which it does not have`, context);
    typedBytes(type, context);
  }
  return scenario;
}

/** Typed text as a terminal in Latin-1 sends it: one byte a character. @throws InputError on characters beyond U+00FF */
export function typedBytes(text: string, context: string): Uint8Array {
  return Uint8Array.from(text, (character) => {
    const code = character.charCodeAt(0);
    if (code > 0xff) throw new InputError(`its input ${JSON.stringify(character)} is no Latin-1 character`, context);
    return code;
  });
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isImageSource(value: unknown): boolean {
  if (!isMap(value)) return false;
  const { guest, package: debian, path, file, build } = value;
  const named = [guest, file, debian === undefined ? undefined : path].some((text) => typeof text === "string");
  return named || typeof build === "function";
}
