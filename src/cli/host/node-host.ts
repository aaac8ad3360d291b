// Part: the host as Node gives it.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type cliProgress from "cli-progress";
import type { Host, Keyboard, KeyboardListener, Progress } from "./host.ts";

/** Work that is done sooner shows no progress. */
const QUIET_MS = 1_000;

export class NodeHost implements Host {
  readonly cwd = process.cwd();
  readonly engine =
    `${"bun" in process.versions ? `Bun ${process.versions.bun}` : `Node ${process.version}`}, ${process.platform} ${process.arch}`;
  /** What stands behind the program's name. */
  readonly args = process.argv.slice(2);
  #outClosed = false;
  #bar: TerminalProgress | undefined;

  constructor() {
    // A reader that has seen enough (`ringback events … | head`) is no error.
    process.stdout.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      this.#outClosed = true;
    });
    process.stderr.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }

  out(text: string): void {
    this.#bar?.makeRoom(text.endsWith("\n"));
    if (!this.#outClosed) process.stdout.write(text);
  }

  err(text: string): void {
    this.#bar?.makeRoom(text.endsWith("\n"));
    process.stderr.write(text);
  }

  outClosed(): boolean {
    return this.#outClosed;
  }

  milliseconds(): number {
    return performance.now();
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (ms <= 0) setImmediate(resolve);
      else setTimeout(resolve, ms);
    });
  }

  progress(total?: number): Progress {
    if (!process.stderr.isTTY) return { update: () => {}, stop: () => {} };
    this.#bar = new TerminalProgress(total);
    return this.#bar;
  }

  keyboard(listener: KeyboardListener): Keyboard {
    const { stdin } = process;
    const raw = stdin.isTTY === true;
    if (raw) stdin.setRawMode(true);
    const onData = (chunk: Buffer): void => listener.bytes(new Uint8Array(chunk));
    const onEnd = (): void => listener.end();
    stdin.on("data", onData).on("end", onEnd).resume();
    return {
      raw,
      release: () => {
        stdin.off("data", onData).off("end", onEnd).pause();
        if (raw) stdin.setRawMode(false);
      },
    };
  }

  onStop(stop: () => void): () => void {
    process.on("SIGINT", stop).on("SIGTERM", stop);
    return () => {
      process.off("SIGINT", stop).off("SIGTERM", stop);
    };
  }

  /** Ends the process with this status once everything is written. */
  exit(status: number): void {
    process.exitCode = status;
  }

  temporaryFolder(): string {
    return mkdtempSync(join(tmpdir(), "ringback-"));
  }
}

class TerminalProgress implements Progress {
  readonly #total: number | undefined;
  readonly #startMs = performance.now();
  #library: typeof cliProgress | undefined;
  #bar: cliProgress.SingleBar | undefined;
  /** False while other text stands on the cursor's line. */
  #lineFree = true;

  constructor(total: number | undefined) {
    this.#total = total;
    // It is there long before there is something to show.
    void import("cli-progress").then(({ default: library }) => {
      this.#library = library;
    });
  }

  update(done: number, detail: string): void {
    if (!this.#lineFree) return;
    if (this.#bar === undefined) {
      const library = this.#library;
      if (library === undefined || performance.now() - this.#startMs < QUIET_MS) return;
      const format = this.#total === undefined ? "{detail}" : "{bar} {percentage} % {detail}";
      const preset = library.Presets.shades_classic;
      this.#bar = new library.SingleBar({ format, clearOnComplete: true, hideCursor: true }, preset);
      this.#bar.start(this.#total ?? 1, this.#total === undefined ? 0 : done, { detail });
    }
    this.#bar.update(this.#total === undefined ? 0 : Math.min(done, this.#total), { detail });
  }

  /** Takes the bar away before other text; the next update draws it again below whole lines. */
  makeRoom(wholeLine: boolean): void {
    this.stop();
    this.#lineFree = wholeLine;
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
