// Part: a scenario run to its end, watched or played at from a terminal. `run`, `record` and `demo` differ in what becomes of the trace.

import { InputError } from "../core/errors.ts";
import { NS_PER_MS, NS_PER_SECOND } from "../core/units.ts";
import { oneLine } from "../debug/printable.ts";
import { formatTime } from "../debug/time.ts";
import type { Scenario } from "../machine/scenario.ts";
import { PRODUCT } from "../replay/product.ts";
import { type Outcome, Session, type SessionResult, STOPPED } from "../replay/session.ts";
import { type Context, columns, EXIT, plural, workForAWhile } from "./context.ts";
import type { Host } from "./host/host.ts";
import { nodeImages } from "./host/images.ts";
import type { LoadedScenario } from "./host/scenarios.ts";
import { nodeSha256 } from "./host/sha256.ts";
import { Screen } from "./screen.ts";

/** A session that somebody plays at ends when they say so; a day is as good as never. */
const LIVE_LIMIT_NS = 86_400 * NS_PER_SECOND;
/** How long a live session waits before it looks at the keyboard again. */
const KEYBOARD_MS = 10;
/** Ctrl-C and Ctrl-] at a terminal in raw mode. */
const END_KEYS: ReadonlySet<number> = new Set([0x03, 0x1d]);

/** The session of a scenario. @param live the person at the terminal takes the place of the scenario's input and expectations */
export function openSession(
  { scenario, module, folder }: LoadedScenario,
  seed: string,
  live: boolean,
  sink: (record: Uint8Array) => void,
): Session {
  return new Session({
    scenario: live
      ? { ...scenario, machine: { ...scenario.machine, timeLimitNs: LIVE_LIMIT_NS }, input: [], expect: {} }
      : scenario,
    ...(module === undefined ? {} : { module }),
    seed,
    load: nodeImages(folder),
    product: PRODUCT,
    sink,
    sha256: nodeSha256,
  });
}

/** Runs a session to its end or until somebody stops it. */
export async function watch(
  host: Host,
  session: Session,
  { scenario }: LoadedScenario,
  show: boolean,
): Promise<SessionResult> {
  const screen = new Screen(host, session.machine, show ? domainNames(scenario) : [], false);
  const progress = host.progress();
  let stopped = false;
  const forget = host.onStop(() => {
    stopped = true;
  });
  try {
    while (!stopped && workForAWhile(host, () => session.run(1))) {
      screen.show();
      progress.update(0, `${scenario.name}: ${formatTime(session.machine.now)}, ${plural(session.events, "event")}`);
      await host.pause(0);
    }
    screen.show();
    screen.end();
  } finally {
    forget();
    progress.stop();
  }
  return session.finish(stopped ? STOPPED : undefined);
}

/**
 * Runs a session with a person at a domain's console. At a terminal virtual time keeps to the wall clock, so that a menu waits
 * as long as it says; input from a pipe or a file is typed as it comes.
 */
export async function play(
  host: Host,
  session: Session,
  loaded: LoadedScenario,
  domain: string,
): Promise<SessionResult> {
  const { machine } = session;
  let stopped = false;
  let typedAll = false;
  const stop = (): void => {
    stopped = true;
  };
  const keyboard = host.keyboard({
    bytes: (typed) => {
      const end = keyboard.raw ? typed.findIndex((byte) => END_KEYS.has(byte)) : -1;
      if (end >= 0) stop();
      const kept = end >= 0 ? typed.subarray(0, end) : typed;
      if (kept.length > 0) session.type(domain, kept);
    },
    end: () => {
      typedAll = true;
    },
  });
  const forget = host.onStop(stop);
  const screen = new Screen(host, machine, domainNames(loaded.scenario), keyboard.raw);
  const startMs = host.milliseconds();
  /** Milliseconds by which virtual time is ahead of the wall clock, where that matters. */
  const ahead = (): number => (keyboard.raw ? machine.now / NS_PER_MS - (host.milliseconds() - startMs) : 0);
  try {
    while (!stopped) {
      let halted = false;
      workForAWhile(host, () => {
        if (ahead() > 0) return false;
        halted = !session.run(1);
        return !halted;
      });
      screen.show();
      if (halted && (session.reason !== "idle" || typedAll)) break;
      await host.pause(halted ? KEYBOARD_MS : Math.min(KEYBOARD_MS, ahead()));
    }
    screen.end();
  } finally {
    forget();
    keyboard.release();
  }
  return session.finish(stopped ? STOPPED : undefined);
}

function domainNames({ machine: { domains, models = [] } }: Scenario): string[] {
  return [...domains, ...models].map(({ name }) => name);
}

/** The console that a person plays at. @throws InputError when the scenario has no such domain */
export function consoleOf({ scenario }: LoadedScenario, asked: string | undefined): string {
  const names = domainNames(scenario);
  // A scenario has a domain.
  const domain = asked ?? names[0] ?? "";
  if (!names.includes(domain)) {
    throw new InputError(`the scenario has no such domain; it has ${names.join(", ")}`, `domain ${domain}`);
  }
  return domain;
}

/** Sets the exit status and says on `err` what a person must know besides the outcomes. */
export function judge(context: Context, { run, outcomes }: SessionResult): void {
  const { reason } = run;
  if (reason.startsWith("not modelled: ")) {
    context.host.err(`ringback: ${reason}\n`);
    context.status = EXIT.FINDING;
  }
  if (outcomes.some(({ held }) => !held)) context.status = EXIT.FINDING;
}

export function outcomeLines(outcomes: readonly Outcome[]): string {
  return columns(
    outcomes.map(({ expectation, held, problem }) => {
      const text = problem === undefined ? expectation : `${expectation} (${oneLine(problem)})`;
      return [held ? "held" : "FAILED", text] as const;
    }),
  );
}

/** "domains ended after 23.400000 ms, 4200000 instructions" */
export function endLine({ run }: SessionResult): string {
  return `${run.reason} after ${formatTime(run.durationNs)}, ${plural(run.retired, "instruction")}`;
}

/** What `--json` says of a run. */
export function resultJson(
  loaded: LoadedScenario,
  seed: string,
  { run, outcomes }: SessionResult,
): Record<string, unknown> {
  const { scenario } = loaded;
  return {
    scenario: scenario.name,
    seed,
    reason: run.reason,
    durationNs: run.durationNs,
    retired: run.retired,
    expectations: outcomes,
    consoles: Object.fromEntries(domainNames(scenario).map((name) => [name, run.console(name)])),
  };
}
