// Part: equality of events, field by field from the catalogue.

import type { TraceEvent } from "./events.ts";
import { equalBytes } from "./format.ts";
import { fieldsOf } from "./rows.ts";

/** Names of the fields in which two events differ; `kind` or `at` when those do. Empty when they are the same. */
export function differingFields(a: TraceEvent, b: TraceEvent): string[] {
  if (a.kind !== b.kind) return ["kind"];
  const differing = a.at === b.at ? [] : ["at"];
  for (const { name } of fieldsOf(a.kind)) if (!sameValue(field(a, name), field(b, name))) differing.push(name);
  return differing;
}

/** As {@link differingFields}, without saying where: what a replay asks of every event. */
export function sameEvent(a: TraceEvent, b: TraceEvent): boolean {
  if (a.kind !== b.kind || a.at !== b.at) return false;
  for (const { name } of fieldsOf(a.kind)) if (!sameValue(field(a, name), field(b, name))) return false;
  return true;
}

function field(event: TraceEvent, name: string): unknown {
  return (event as unknown as Readonly<Record<string, unknown>>)[name];
}

function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return equalBytes(a, b);
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((element, index) => element === b[index]);
  return false;
}
