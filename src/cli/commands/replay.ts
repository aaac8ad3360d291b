// Part: `ringback replay`: the machine of a trace once more, every event compared.

import type { Command } from "commander";
import type { Context } from "../context.ts";
import { resolvePath } from "../host/paths.ts";
import { loadRecordedScenario } from "../host/scenarios.ts";
import { replayTrace, tellReplay } from "../replaying.ts";
import { openTrace, tellDamage } from "../traces.ts";
import { TRACE_ARGUMENT } from "./arguments.ts";

export function define(command: Command, context: Context): void {
  command.argument(...TRACE_ARGUMENT).action((file: string) => replay(context, file));
}

async function replay(context: Context, file: string): Promise<void> {
  const { cwd } = context.host;
  const trace = openTrace(context, file);
  tellDamage(context, trace, file);
  const loaded = await loadRecordedScenario(trace.header.scenario, cwd, resolvePath(cwd, file));
  tellReplay(context, trace, await replayTrace(context, trace, loaded));
}
