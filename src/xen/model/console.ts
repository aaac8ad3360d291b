// Part: a model domain's end of its console ring (io/console.h). What finds no room waits until the daemon has drained the ring.

import type { Snapshotable } from "../../core/snapshot.ts";
import { XENCONS_INTERFACE } from "../abi/structures.ts";
import { toBytes, toText } from "../xenstore/wire.ts";
import type { Page } from "./memory.ts";

const RING = XENCONS_INTERFACE.layouts.x86_32.offset;
const IN_SIZE = 1024;
const OUT_SIZE = 2048;

export interface ModelConsoleState {
  waiting: string;
}

export class ModelConsole implements Snapshotable<ModelConsoleState> {
  readonly #page: Page;
  readonly #notify: () => void;
  #waiting = "";
  /** Takes what is typed, as Latin-1 text. */
  onInput: ((text: string) => void) | undefined = undefined;

  constructor(page: Page, notify: () => void) {
    this.#page = page;
    this.#notify = notify;
  }

  /** @param text Latin-1: one byte a character */
  write(text: string): void {
    this.#waiting += text;
    this.#flush();
  }

  /** The daemon has taken bytes, given some, or both. */
  serve(): void {
    this.#flush();
    const page = this.#page;
    const produced = page.load32(RING.in_prod);
    let consumed = page.load32(RING.in_cons);
    const count = Math.min((produced - consumed) >>> 0, IN_SIZE);
    if (count === 0 || this.onInput === undefined) return;
    const bytes = new Uint8Array(count);
    for (let index = 0; index < count; index++, consumed++) bytes[index] = page.load8(RING.in + (consumed % IN_SIZE));
    page.store32(RING.in_cons, consumed);
    this.#notify();
    this.onInput(toText(bytes));
  }

  #flush(): void {
    const page = this.#page;
    const produced = page.load32(RING.out_prod);
    const used = (produced - page.load32(RING.out_cons)) >>> 0;
    const bytes = toBytes(this.#waiting.slice(0, Math.max(0, OUT_SIZE - used)));
    if (bytes.length === 0) return;
    for (const [index, byte] of bytes.entries()) page.store8(RING.out + ((produced + index) % OUT_SIZE), byte);
    page.store32(RING.out_prod, produced + bytes.length);
    this.#waiting = this.#waiting.slice(bytes.length);
    this.#notify();
  }

  save(): ModelConsoleState {
    return { waiting: this.#waiting };
  }

  load(state: ModelConsoleState): void {
    this.#waiting = state.waiting;
  }
}
