// Part: everything that the commands know of the world around them. Tests give a host of their own.

export interface Host {
  /** Folder that paths are relative to. */
  readonly cwd: string;
  /** For reports of bugs: the engine that runs ringback. */
  readonly engine: string;
  /** What a person asked for. */
  out(text: string): void;
  /** What went wrong. */
  err(text: string): void;
  /** True once nobody reads what goes to `out`. */
  outClosed(): boolean;
  /** Milliseconds of wall-clock time from some start. */
  milliseconds(): number;
  /** Lets pending input arrive: at once with 0, else after so many milliseconds. */
  pause(ms: number): Promise<void>;
  /** A line about work that takes long; does nothing where no terminal shows it. */
  progress(total?: number): Progress;
  /** Takes the keyboard, or whatever stands for it. */
  keyboard(listener: KeyboardListener): Keyboard;
  /** Calls back when a person asks to stop (SIGINT, SIGTERM); gives back what ends that. */
  onStop(stop: () => void): () => void;
  /** A new folder for files that nobody asked to keep. */
  temporaryFolder(): string;
}

export interface Progress {
  /** @param done of `total`, or any number that grows; `detail` stands behind it */
  update(done: number, detail: string): void;
  /** Takes the line away. */
  stop(): void;
}

export interface KeyboardListener {
  bytes(typed: Uint8Array): void;
  /** Nothing more will come. */
  end(): void;
}

export interface Keyboard {
  /** A terminal in raw mode: it hands over every key and shows nothing by itself. */
  readonly raw: boolean;
  release(): void;
}
