// Part: `ringback run`: a scenario, and whether its expectations held.

import type { Command } from "commander";
import type { Context } from "../context.ts";
import { loadScenario } from "../host/scenarios.ts";
import { endLine, judge, openSession, outcomeLines, resultJson, watch } from "../recording.ts";
import { scenarioArgument, seedOption } from "./arguments.ts";

interface Options {
  readonly seed: string;
  readonly json?: boolean;
}

export function define(command: Command, context: Context): void {
  command.option("--json", "the outcome as JSON instead of the guests' consoles and text");
  scenarioArgument(seedOption(command)).action((reference: string, options: Options) =>
    run(context, reference, options),
  );
}

async function run(context: Context, reference: string, { seed, json = false }: Options): Promise<void> {
  const { host } = context;
  const loaded = await loadScenario(reference, host.cwd);
  const session = openSession(loaded, seed, false, () => {});
  const result = await watch(host, session, loaded, !json);
  judge(context, result);
  if (json) host.out(`${JSON.stringify(resultJson(loaded, seed, result), null, 2)}\n`);
  else host.out(`\n${loaded.scenario.name}: ${endLine(result)}\n${outcomeLines(result.outcomes)}`);
}
