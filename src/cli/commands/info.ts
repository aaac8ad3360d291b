// Part: `ringback info`: what a trace says of itself.

import type { Command } from "commander";
import { oneLine } from "../../debug/printable.ts";
import { formatTime } from "../../debug/time.ts";
import { completeConfig, type FullMachineConfig, type MachineConfig } from "../../machine/config.ts";
import type { EventKindName } from "../../trace/events.ts";
import type { Trace } from "../../trace/reader.ts";
import { type Context, columns, formatSize, plural } from "../context.ts";
import { eventCount, openTrace, scenarioText, tellDamage } from "../traces.ts";
import { TRACE_ARGUMENT } from "./arguments.ts";

export function define(command: Command, context: Context): void {
  command
    .argument(...TRACE_ARGUMENT)
    .option("--json", "as JSON")
    .action((file: string, { json = false }: { readonly json?: boolean }) => {
      const trace = openTrace(context, file);
      const kinds = countKinds(trace);
      context.host.out(json ? asJson(trace, kinds) : asText(trace, kinds, file));
      tellDamage(context, trace, file);
    });
}

/** Events of each kind, in the order in which the kinds first appear. */
export function countKinds(trace: Trace): Map<EventKindName, number> {
  const counts = new Map<EventKindName, number>();
  for (const { kind } of trace.events()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** The table of event counts, the most frequent kind first. */
export function kindTable(kinds: ReadonlyMap<EventKindName, number>): string {
  const rows = [...kinds].sort(([, a], [, b]) => b - a);
  const width = Math.max(0, ...rows.map(([, count]) => String(count).length));
  return columns(
    rows.map(([kind, count]) => [kind, String(count).padStart(width)] as const),
    "  ",
  );
}

function asText(trace: Trace, kinds: ReadonlyMap<EventKindName, number>, file: string): string {
  const { header, end, chunks, size } = trace;
  const events = eventCount(trace);
  const durationNs = end?.durationNs ?? chunks.at(-1)?.toNs ?? 0;
  const each = events === 0 ? "" : `, ${(size / events).toFixed(1)} bytes an event`;
  const rows: (readonly [string, string])[] = [
    ["scenario", scenarioText(trace)],
    ["recorded by", `${oneLine(header.product)}, format ${header.format}`],
    ...machineRows(completeConfig(header.machine as MachineConfig)),
    ...header.images.map(
      ({ name, size: bytes, sha256 }) =>
        ["image", `${oneLine(name)}, ${formatSize(bytes)}, SHA-256 ${oneLine(sha256)}`] as const,
    ),
    ["duration", formatTime(durationNs)],
    ["end", end === undefined ? "none" : `${oneLine(end.reason)}, ${plural(end.retired, "instruction")} retired`],
    ["size", `${formatSize(size)}, ${plural(events, "event")} in ${plural(chunks.length, "chunk")}${each}`],
    ["SHA-256", trace.sha256()],
  ];
  return `${file}\n${columns(rows, "  ")}\n${kindTable(kinds)}`;
}

function machineRows(machine: FullMachineConfig): [string, string][] {
  const { domains, models = [] } = machine;
  const [numerator, denominator] = machine.nsPerInstruction;
  const speed = `${numerator}${denominator === 1 ? "" : `/${denominator}`} ns an instruction`;
  return [
    ["machine", `${plural(domains.length + models.length, "domain")}, ${speed}`],
    ...domains.map(({ name, memoryMiB, kernel, commandLine, disks }): [string, string] => {
      const drives = (disks ?? []).map(({ device, image, sectors }) => `${device} (${image ?? `${sectors} sectors`})`);
      const parts = [`${name}: ${memoryMiB} MiB, kernel ${kernel}`];
      if (commandLine !== undefined) parts.push(`command line ${JSON.stringify(commandLine)}`);
      return ["domain", oneLine([...parts, ...drives].join(", "))];
    }),
    ...models.map(({ name, program, parameters = {} }): [string, string] => {
      const given = Object.entries(parameters).map(([key, value]) => `${key}=${value}`);
      return ["domain", oneLine([`${name}: program ${program}`, ...given].join(", "))];
    }),
  ];
}

function asJson(trace: Trace, kinds: ReadonlyMap<EventKindName, number>): string {
  const { header, end, chunks, damage, size } = trace;
  const described = {
    ...header,
    events: Object.fromEntries(kinds),
    chunks: chunks.map(({ number, first, events, fromNs, toNs, offset, length }) => ({
      number,
      first,
      events,
      fromNs,
      toNs,
      offset,
      length,
    })),
    end: end ?? null,
    damage,
    size,
    sha256: trace.sha256(),
  };
  return `${JSON.stringify(described, null, 2)}\n`;
}
