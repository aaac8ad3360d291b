// Part: what the commands share.

import type { Host } from "./host/host.ts";

/** Exit statuses, the command line's contract with scripts. */
export const EXIT = {
  /** Held, identical, or nothing found. */
  GOOD: 0,
  /** An expectation failed, a divergence, a difference, or a guest that did what is not modelled. */
  FINDING: 1,
  /** Bad usage, or input that is unreadable, incomplete or foreign. */
  BAD_INPUT: 2,
  /** A bug of ringback's own. */
  BUG: 3,
} as const;

export interface Context {
  readonly host: Host;
  /** The exit status when the command is through. */
  status: number;
}

/** Wall-clock time between two looks at progress, keyboard and signals. */
const SLICE_MS = 20;

/** Does `work` again and again for a while; false once it has given false. */
export function workForAWhile(host: Host, work: () => boolean): boolean {
  const until = host.milliseconds() + SLICE_MS;
  do {
    if (!work()) return false;
  } while (host.milliseconds() < until);
  return true;
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

const UNITS = ["bytes", "KiB", "MiB", "GiB"] as const;

/** 1536 is "1.5 KiB". */
export function formatSize(bytes: number): string {
  let amount = bytes;
  let unit = 0;
  for (; amount >= 1024 && unit < UNITS.length - 1; unit++) amount /= 1024;
  return `${unit === 0 ? amount : amount.toFixed(1)} ${UNITS[unit]}`;
}

/** Two columns: names padded to the longest. */
export function columns(rows: readonly (readonly [string, string])[], indent = ""): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, text]) => `${indent}${name.padEnd(width)}  ${text}\n`).join("");
}
