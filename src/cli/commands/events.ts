// Part: `ringback events`: a trace's events, one line each.

import type { Command } from "commander";
import { InputError } from "../../core/errors.ts";
import { describeEvent, eventJson } from "../../debug/describe.ts";
import { PortNames } from "../../debug/port-names.ts";
import { completeConfig, type MachineConfig } from "../../machine/config.ts";
import { EVENT_KINDS, type EventKindName, type TraceEvent } from "../../trace/events.ts";
import type { Trace } from "../../trace/reader.ts";
import type { Context } from "../context.ts";
import { openTrace, tellDamage } from "../traces.ts";
import { TRACE_ARGUMENT, timeArgument } from "./arguments.ts";

interface Options {
  readonly kind?: string;
  readonly from?: number;
  readonly to?: number;
  readonly json?: boolean;
}

export function define(command: Command, context: Context): void {
  command
    .argument(...TRACE_ARGUMENT)
    .option("--kind <kinds>", "only these kinds, separated by commas")
    .option("--from <time>", "from this virtual time on, such as 1.5ms", timeArgument)
    .option("--to <time>", "up to this virtual time", timeArgument)
    .option("--json", "one JSON object a line")
    .addHelpText("after", `\nKinds: ${Object.keys(EVENT_KINDS).join(", ")}`)
    .action((file: string, options: Options) => events(context, file, options));
}

async function events(context: Context, file: string, options: Options): Promise<void> {
  const { host } = context;
  const { from = 0, to = Number.MAX_SAFE_INTEGER, json = false } = options;
  if (from > to) throw new InputError("is later than --to", "--from");
  const kinds = options.kind === undefined ? undefined : parseKinds(options.kind);
  const wanted = ({ at, kind }: TraceEvent): boolean => at >= from && at <= to && (kinds?.has(kind) ?? true);
  const trace = openTrace(context, file);
  const names = json ? undefined : portNames(trace);
  for (const chunk of trace.chunks) {
    if (chunk.fromNs > to) break;
    // Names of ports depend on what the guest did before.
    if (chunk.toNs < from && names === undefined) continue;
    let text = "";
    for (const event of trace.eventsOf(chunk)) {
      const name = names?.next(event);
      if (wanted(event)) text += `${json ? eventJson(event) : describeEvent(event, name)}\n`;
    }
    host.out(text);
    // Between chunks the reader may say that it has seen enough.
    await host.pause(0);
    if (host.outClosed()) return;
  }
  tellDamage(context, trace, file);
}

/** Undefined where no domain has a board. */
function portNames({ header }: Trace): PortNames | undefined {
  const machine = completeConfig(header.machine as MachineConfig);
  return machine.domains.some(({ board }) => board !== undefined) ? new PortNames(machine) : undefined;
}

function parseKinds(text: string): Set<EventKindName> {
  const names = text.split(",").map((name) => name.trim());
  for (const name of names) {
    if (!Object.hasOwn(EVENT_KINDS, name)) {
      throw new InputError(`no kind of event; there are ${Object.keys(EVENT_KINDS).join(", ")}`, `--kind ${name}`);
    }
  }
  return new Set(names as EventKindName[]);
}
