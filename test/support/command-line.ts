// The command line inside the test's own process, with a host that keeps what is printed.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Host, Keyboard, KeyboardListener, Progress } from "../../src/cli/host/host.ts";
import { commandLine } from "../../src/cli/program.ts";

export interface Printed {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface Surroundings {
  readonly cwd: string;
  /** What plays the part of the keyboard. */
  readonly keyboard?: (listener: KeyboardListener) => Keyboard;
  /** Called at every pause: the place to press Ctrl-C from. */
  readonly atPause?: (stop: () => void) => void;
  readonly progress?: (total?: number) => Progress;
}

/** Runs one command line. */
export async function ringback(surroundings: Surroundings, ...args: readonly string[]): Promise<Printed> {
  let out = "";
  let err = "";
  let onStop: (() => void) | undefined;
  const host: Host = {
    cwd: surroundings.cwd,
    engine: "test",
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    outClosed: () => false,
    milliseconds: () => performance.now(),
    pause: async () => {
      surroundings.atPause?.(() => onStop?.());
      await new Promise((resolve) => setImmediate(resolve));
    },
    progress: surroundings.progress ?? (() => ({ update: () => {}, stop: () => {} })),
    keyboard:
      surroundings.keyboard ??
      (() => {
        throw new Error("nobody is at the keyboard");
      }),
    onStop: (stop) => {
      onStop = stop;
      return () => {
        onStop = undefined;
      };
    },
    temporaryFolder: () => mkdtempSync(join(surroundings.cwd, "temporary-")),
  };
  const status = await commandLine(args, host);
  return { status, out, err };
}

/** A folder of the test's own, and what takes it away. */
export function temporaryFolder(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "ringback-test-"));
  return { path, remove: () => rmSync(path, { recursive: true }) };
}
