// Part: the benchmarks, which lie beside the sources and measure them from outside.

import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { InputError } from "../../core/errors.ts";
import { benchmarksEntry } from "./package.ts";

export interface Benchmarks {
  /** Runs all of them; true when everything that is demanded held. */
  runBenchmarks(options: {
    /** Takes the tables, in Markdown. */
    readonly print: (text: string) => void;
    /** Takes a line on what is being measured now. */
    readonly progress: (line: string) => void;
  }): Promise<boolean>;
}

/** @throws InputError where ringback is installed without them */
export async function loadBenchmarks(): Promise<Benchmarks> {
  if (!existsSync(benchmarksEntry)) {
    throw new InputError("they are not part of this installation; a checkout of ringback has them", "benchmarks");
  }
  return (await import(pathToFileURL(benchmarksEntry).href)) as Benchmarks;
}
