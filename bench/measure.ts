// Part: how the benchmarks measure and print.

import { spawnSync } from "node:child_process";

/** CPU time of this process so far, all its threads, in seconds. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** CPU seconds that `work` takes in this process, the compiler's and the collector's threads included. */
export function timed(work: () => void): number {
  const start = cpuSeconds();
  work();
  return cpuSeconds() - start;
}

export interface FinishedProcess {
  readonly output: string;
  /** User and system time of the process and its threads. */
  readonly cpuSeconds: number;
}

/** A program that takes longer than this hangs. */
const LONGEST_RUN_MS = 60_000;

/**
 * Runs a program to its end. Node does not tell what a child used, bash's `time` does, to the millisecond.
 * @returns undefined when the program does not end
 */
export function runProcess(command: string, args: readonly string[]): FinishedProcess | undefined {
  const { stdout, stderr, error } = spawnSync("bash", ["-c", 'time "$@"', "bash", command, ...args], {
    encoding: "utf8",
    env: { ...process.env, TIMEFORMAT: "%U %S" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LONGEST_RUN_MS,
  });
  if (error !== undefined) return undefined;
  const [user, system] = (stderr.trimEnd().split("\n").at(-1) ?? "").split(" ").map(Number);
  return { output: stdout, cpuSeconds: user! + system! };
}

export function isInstalled(command: string): boolean {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).error === undefined;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A measured value beside what is demanded of it. */
export function verdict(holds: boolean): string {
  return holds ? "held" : "MISSED";
}

/** Lines of aligned columns in Markdown, so that docs/benchmarks.md can keep them as they are: text to the left, figures to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]!.length)));
  const figures = header.map((_name, column) => rows.every((row) => /^([-–×]?[\d.,]|—|$)/.test(row[column]!)));
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, at) => (figures[at] ? cell.padStart(widths[at]!) : cell.padEnd(widths[at]!)));
    return `| ${padded.join(" | ")} |\n`;
  };
  const rule = widths.map((width, at) => (figures[at] ? `${"-".repeat(width - 1)}:` : "-".repeat(width)));
  return line(header) + line(rule) + rows.map(line).join("");
}

/** What a load comes to. */
export interface Rate {
  /** Requests or packets a CPU second. */
  readonly perSecond: number;
  /** Events for each of them. */
  readonly eventsEach: number;
}

const RUNS = 3;

/** The quickest of several runs: what else the machine does only ever takes time away. */
export function quickest(run: () => Rate): Rate {
  let best = run();
  for (let count = 1; count < RUNS; count++) {
    const rate = run();
    if (rate.perSecond > best.perSecond) best = rate;
  }
  return best;
}
