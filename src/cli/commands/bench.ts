// Part: `ringback bench`: how quick ringback is, beside its peers where they are installed.

import type { Command } from "commander";
import { type Context, EXIT } from "../context.ts";
import { loadBenchmarks } from "../host/benchmarks.ts";

export function define(command: Command, context: Context): void {
  command.action(() => bench(context));
}

async function bench(context: Context): Promise<void> {
  const { host } = context;
  const { runBenchmarks } = await loadBenchmarks();
  const progress = host.progress();
  try {
    const held = await runBenchmarks({
      print: (text) => host.out(text),
      progress: (line) => progress.update(0, line),
    });
    if (!held) context.status = EXIT.FINDING;
  } finally {
    progress.stop();
  }
}
