// Part: trace files as the commands meet them: opened, and what is wrong with one told in a line.

import { oneLine } from "../debug/printable.ts";
import { Trace } from "../trace/reader.ts";
import { type Context, EXIT, plural } from "./context.ts";
import { readInput } from "./host/files.ts";
import { resolvePath } from "./host/paths.ts";

/** @throws InputError on a file that cannot be read or is no trace */
export function openTrace({ host }: Context, file: string): Trace {
  return new Trace(readInput(resolvePath(host.cwd, file), file), file);
}

/** Events in the chunks that can be trusted. */
export function eventCount(trace: Trace): number {
  return trace.chunks.reduce((sum, { events }) => sum + events, 0);
}

/** Says what of a trace is damaged or missing; a script must not take it for a whole one. */
export function tellDamage(context: Context, trace: Trace, file: string): void {
  const { host } = context;
  for (const { what, offset, problem } of trace.damage) {
    host.err(`ringback: ${file}: ${what} at offset ${offset} cannot be read: ${problem}\n`);
  }
  if (trace.end === undefined) {
    const kept = `${plural(eventCount(trace), "event")} in ${plural(trace.chunks.length, "whole chunk")}`;
    host.err(`ringback: ${file}: the recording was not finished; it holds ${kept}\n`);
  }
  if (trace.damage.length > 0 || trace.end === undefined) context.status = EXIT.BAD_INPUT;
}

/** The scenario as the header names it, safe to print. */
export function scenarioText({ header }: Trace): string {
  const { name, module } = header.scenario;
  return oneLine(`${name}${module === undefined ? "" : ` (${module})`}, seed ${header.seed}`);
}
