// Part: `ringback diff`: where two traces part.

import type { Command } from "commander";
import { InputError } from "../../core/errors.ts";
import { encodePlain } from "../../core/plain-data.ts";
import { describeEvent } from "../../debug/describe.ts";
import { oneLine } from "../../debug/printable.ts";
import { differenceLines } from "../../debug/report.ts";
import { differingFields } from "../../trace/compare.ts";
import type { TraceEvent } from "../../trace/events.ts";
import { equalBytes, type TraceHeader } from "../../trace/format.ts";
import type { Trace } from "../../trace/reader.ts";
import { type Context, EXIT, plural } from "../context.ts";
import { openTrace, tellDamage } from "../traces.ts";

/** Events shown before and behind the first difference. */
const CONTEXT_EVENTS = 3;

export function define(command: Command, context: Context): void {
  command
    .argument("<a>", "a trace")
    .argument("<b>", "another trace")
    .action((fileA: string, fileB: string) => diff(context, fileA, fileB));
}

function diff(context: Context, fileA: string, fileB: string): void {
  const [a, b] = [wholeTrace(context, fileA), wholeTrace(context, fileB)];
  const headers = headerDifferences(a.header, b.header);
  const { lines, events } = firstDifference(a, b);
  context.host.out([`A ${fileA}\nB ${fileB}\n`, ...headers, ...lines].join(""));
  if (headers.length === 0 && lines.length === 0) context.host.out(`the same ${plural(events, "event")}\n`);
  else if (context.status === EXIT.GOOD) context.status = EXIT.FINDING;
}

/** What a killed recorder left is compared as far as it goes; a hole in the middle would be no difference of the machines'. */
function wholeTrace(context: Context, file: string): Trace {
  const trace = openTrace(context, file);
  const damage = trace.damage.find(({ cutOff }) => !cutOff);
  if (damage !== undefined) {
    throw new InputError(`${damage.what} at offset ${damage.offset} cannot be read: ${damage.problem}`, file);
  }
  tellDamage(context, trace, file);
  return trace;
}

/** How large chunks are is no difference of what was recorded. */
function headerDifferences(a: TraceHeader, b: TraceHeader): string[] {
  const fields = ["product", "scenario", "seed", "machine", "images"] as const;
  return fields
    .filter((field) => !equalBytes(encodePlain(a[field]), encodePlain(b[field])))
    .map(
      (field) => `header ${field}: A ${oneLine(JSON.stringify(a[field]))}, B ${oneLine(JSON.stringify(b[field]))}\n`,
    );
}

function firstDifference(a: Trace, b: Trace): { lines: string[]; events: number } {
  const [eventsA, eventsB] = [a.events(), b.events()];
  const before: TraceEvent[] = [];
  for (let number = 0; ; number++) {
    const [eventA, eventB] = [take(eventsA), take(eventsB)];
    if (eventA === undefined && eventB === undefined) return { lines: [], events: number };
    const fields = eventA === undefined || eventB === undefined ? [] : differingFields(eventA, eventB);
    if (eventA !== undefined && eventB !== undefined && fields.length === 0) {
      before.push(eventA);
      if (before.length > CONTEXT_EVENTS) before.shift();
      continue;
    }
    const lines = [
      `first difference: event ${number}`,
      ...before.map((event) => `  ${describeEvent(event)}`),
      sideLine("A", eventA),
      sideLine("B", eventB),
      ...differenceLines(fields, eventA, eventB, "A", "B"),
      ...following("A", eventsA),
      ...following("B", eventsB),
    ];
    return { lines: lines.map((line) => `${line}\n`), events: number };
  }
}

function sideLine(side: string, event: TraceEvent | undefined): string {
  return `${side} ${event === undefined ? "has no further event" : describeEvent(event)}`;
}

function following(side: string, events: Iterator<TraceEvent>): string[] {
  const lines: string[] = [];
  for (let count = 0; count < CONTEXT_EVENTS; count++) {
    const event = take(events);
    if (event === undefined) break;
    if (count === 0) lines.push(`${side} goes on`);
    lines.push(`  ${describeEvent(event)}`);
  }
  return lines;
}

function take(events: Iterator<TraceEvent>): TraceEvent | undefined {
  const { done, value } = events.next();
  return done === true ? undefined : value;
}
