// Part: `ringback demo`, which is what `npm start` runs: the bundled guest recorded and replayed, and what to try next.

import type { Command } from "commander";
import { type Context, columns, formatSize, plural } from "../context.ts";
import { createGrowing } from "../host/files.ts";
import { joinPath } from "../host/paths.ts";
import { loadScenario } from "../host/scenarios.ts";
import { endLine, judge, openSession, outcomeLines, watch } from "../recording.ts";
import { replayTrace, tellReplay } from "../replaying.ts";
import { DEFAULT_SEED } from "./arguments.ts";
import { countKinds, kindTable } from "./info.ts";

const SCENARIO = "first-light";

export function define(command: Command, context: Context): void {
  command.action(() => demo(context));
}

async function demo(context: Context): Promise<void> {
  const { host } = context;
  const loaded = await loadScenario(SCENARIO, host.cwd);
  const path = joinPath(host.temporaryFolder(), `${SCENARIO}.trace`);
  const file = createGrowing(path, false, path);
  host.out(`Recording ${SCENARIO}: ${loaded.scenario.why}\n\n`);
  const session = openSession(loaded, DEFAULT_SEED, false, (piece) => file.write(piece));
  const result = await watch(host, session, loaded, true);
  file.close();
  judge(context, result);
  const { trace } = result;
  host.out(`\n${endLine(result)}\n${outcomeLines(result.outcomes)}`);
  host.out(`\n${plural(session.events, "event")} in ${formatSize(trace.size)}:\n${kindTable(countKinds(trace))}`);

  host.out("\nReplaying it:\n\n");
  tellReplay(context, trace, await replayTrace(context, trace, loaded));
  host.out(
    `\nNext:\n${columns(
      [
        [`npx ringback events ${path} --kind hypercall,xenstore`, "the events, decoded"],
        [`npx ringback info ${path}`, "what the trace says of itself"],
        ["npx ringback record console-input -i -o my.trace", "type at a guest's console; Ctrl-] ends it"],
        ["npx ringback replay my.trace", "and see it happen again"],
        ["npx ringback --help", "everything else"],
      ],
      "  ",
    )}`,
  );
}
