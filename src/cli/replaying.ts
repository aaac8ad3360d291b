// Part: a trace replayed to its end or to where it is left.

import { oneLine } from "../debug/printable.ts";
import { divergenceReport } from "../debug/report.ts";
import { PRODUCT } from "../replay/product.ts";
import { Replayer, type ReplayResult } from "../replay/replayer.ts";
import type { Trace } from "../trace/reader.ts";
import { type Context, columns, EXIT, plural, workForAWhile } from "./context.ts";
import { nodeImages } from "./host/images.ts";
import type { LoadedScenario } from "./host/scenarios.ts";
import { eventCount } from "./traces.ts";

/** @throws InputError when the trace is damaged, or an image is not what it was */
export async function replayTrace({ host }: Context, trace: Trace, loaded: LoadedScenario): Promise<ReplayResult> {
  const replayer = new Replayer(trace, loaded.scenario, nodeImages(loaded.folder));
  const total = eventCount(trace);
  const progress = host.progress(total);
  try {
    while (workForAWhile(host, () => replayer.run(1))) {
      progress.update(replayer.events, `${replayer.events} of ${plural(total, "event")}`);
      await host.pause(0);
    }
  } finally {
    progress.stop();
  }
  return replayer.result;
}

/** Prints what came of a replay and sets the exit status. */
export function tellReplay(context: Context, trace: Trace, { divergence, events, complete }: ReplayResult): void {
  const { host } = context;
  if (divergence !== undefined) {
    host.out(`${divergenceReport(divergence)}\n`);
    const { product } = trace.header;
    if (product !== PRODUCT) host.out(`\nThe trace was recorded by ${oneLine(product)}; this is ${PRODUCT}.\n`);
    context.status = EXIT.FINDING;
    return;
  }
  const extent = complete ? "" : " up to the last whole chunk";
  host.out(
    columns([
      ["identical", `${plural(events, "event")} in ${plural(trace.chunks.length, "chunk")}${extent}`],
      ["SHA-256", trace.sha256()],
    ]),
  );
}
