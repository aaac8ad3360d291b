// Part: `ringback record`: a scenario, or a person at a guest's console, into a trace.

import type { Command } from "commander";
import { type Context, columns, formatSize, plural } from "../context.ts";
import { createGrowing, type GrowingFile } from "../host/files.ts";
import { resolvePath } from "../host/paths.ts";
import { loadScenario } from "../host/scenarios.ts";
import { consoleOf, endLine, judge, openSession, outcomeLines, play, resultJson, watch } from "../recording.ts";
import { scenarioArgument, seedOption } from "./arguments.ts";

interface Options {
  readonly output: string;
  readonly seed: string;
  readonly force?: boolean;
  readonly interactive?: boolean;
  readonly domain?: string;
  readonly json?: boolean;
}

export function define(command: Command, context: Context): void {
  command
    .requiredOption("-o, --output <file>", "the trace; it is readable up to its last whole chunk at any time")
    .option("-f, --force", "replace the file when it exists")
    .option(
      "-i, --interactive",
      "standard input is a guest's keyboard; at a terminal Ctrl-C or Ctrl-] ends the recording",
    )
    .option("--domain <name>", "with --interactive: whose keyboard, the first domain's by default")
    .option("--json", "the outcome as JSON instead of the guests' consoles and text");
  scenarioArgument(seedOption(command)).action((reference: string, options: Options) =>
    record(context, reference, options),
  );
}

async function record(context: Context, reference: string, options: Options): Promise<void> {
  const { host } = context;
  const { seed, output, json = false, interactive = false } = options;
  const loaded = await loadScenario(reference, host.cwd);
  const domain = interactive ? consoleOf(loaded, options.domain) : undefined;

  // The file is created when there is a machine: a scenario that makes none leaves no file behind.
  let file: GrowingFile | undefined;
  const early: Uint8Array[] = [];
  const session = openSession(loaded, seed, interactive, (piece) => {
    if (file === undefined) early.push(piece.slice());
    else file.write(piece);
  });
  file = createGrowing(resolvePath(host.cwd, output), options.force ?? false, output);
  for (const piece of early) file.write(piece);

  const result =
    domain === undefined ? await watch(host, session, loaded, !json) : await play(host, session, loaded, domain);
  file.close();
  judge(context, result);
  const { trace, sha256, outcomes } = result;
  if (json) {
    const written = { trace: output, events: session.events, chunks: trace.chunks.length, size: trace.size, sha256 };
    host.out(`${JSON.stringify({ ...resultJson(loaded, seed, result), ...written }, null, 2)}\n`);
    return;
  }
  host.out(`\n${loaded.scenario.name}: ${endLine(result)}\n${outcomeLines(outcomes)}`);
  const amount = `${plural(session.events, "event")} in ${plural(trace.chunks.length, "chunk")}, ${formatSize(trace.size)}`;
  host.out(
    columns([
      ["recorded", `${output}: ${amount}`],
      ["SHA-256", sha256],
    ]),
  );
}
