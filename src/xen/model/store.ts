// Part: a model domain's client of xenstore. A request and its reply are the messages of docs/misc/xenstore.txt and are in the trace as a
// machine-code guest's; they are exchanged within one call instead of over the ring, as a kernel that spins until its answer is there. Watch
// events come over the domain's ring (io/xs_wire.h) with a notification.

import type { Snapshotable } from "../../core/snapshot.ts";
import { XENSTORE_DOMAIN_INTERFACE } from "../abi/structures.ts";
import type { XenstoreClient, XenstoreTransaction } from "../backend-host.ts";
import { HEADER_SIZE, type Message, splitStrings, toBytes, toText, XS } from "../xenstore/wire.ts";
import type { Page } from "./memory.ts";

const RING = XENSTORE_DOMAIN_INTERFACE.layouts.x86_32.offset;
const RING_SIZE = 1024;
/** Times that a transaction is tried before its program is told that it failed: far more than there are conflicts. */
const MAX_TRIES = 16;

type WatchCallback = (path: string, token: string) => void;

export interface ModelStoreState {
  requestId: number;
  input: Uint8Array;
}

/** Requests within a transaction, or outside of one; each that changes something gives the store's error ("EACCES"), undefined for none. */
export interface ModelStoreView extends XenstoreTransaction {
  write(path: string, value: string): string | undefined;
  rm(path: string): string | undefined;
  mkdir(path: string): string | undefined;
  /** The node's permissions as the protocol writes them: ["n0", "r5"]; undefined when they may not be read. */
  permissions(path: string): readonly string[] | undefined;
  setPermissions(path: string, permissions: readonly string[]): string | undefined;
}

export class ModelStore implements XenstoreClient, ModelStoreView, Snapshotable<ModelStoreState> {
  readonly #call: (request: Message) => Message;
  readonly #page: Page;
  readonly #notify: () => void;
  readonly #view: ModelStoreView;
  readonly #watches = new Map<string, WatchCallback>();
  #requestId = 0;
  /** The beginning of a message that has not arrived whole. */
  #input = new Uint8Array(0);

  constructor(call: (request: Message) => Message, page: Page, notify: () => void) {
    this.#call = call;
    this.#page = page;
    this.#notify = notify;
    this.#view = this.#viewOf(0);
  }

  /** Sends any message: the reply, whose type is XS.ERROR when it was refused. */
  request(type: number, transaction: number, payload: Uint8Array): Message {
    this.#requestId = (this.#requestId + 1) >>> 0;
    return this.#call({ type, requestId: this.#requestId, transaction, payload });
  }

  /** Undefined when there is no such node or it may not be read. */
  read(path: string): string | undefined {
    return this.#view.read(path);
  }

  directory(path: string): readonly string[] {
    return this.#view.directory(path);
  }

  write(path: string, value: string): string | undefined {
    return this.#view.write(path, value);
  }

  rm(path: string): string | undefined {
    return this.#view.rm(path);
  }

  mkdir(path: string): string | undefined {
    return this.#view.mkdir(path);
  }

  permissions(path: string): readonly string[] | undefined {
    return this.#view.permissions(path);
  }

  setPermissions(path: string, permissions: readonly string[]): string | undefined {
    return this.#view.setPermissions(path, permissions);
  }

  /** Tokens are the domain's own: one callback each. The first event comes at once, whatever the path holds. */
  watch(path: string, token: string, callback: WatchCallback): void {
    this.#watches.set(token, callback);
    this.request(XS.WATCH, 0, toBytes(`${path}\0${token}\0`));
  }

  unwatch(path: string, token: string): void {
    this.#watches.delete(token);
    this.request(XS.UNWATCH, 0, toBytes(`${path}\0${token}\0`));
  }

  /** After a snapshot was loaded: gives a watch its callback again. */
  adoptWatch(token: string, callback: WatchCallback): void {
    this.#watches.set(token, callback);
  }

  /** `body`'s last result. @throws Error when its transaction met conflicts again and again, or could not be started */
  transaction<T>(body: (transaction: ModelStoreView) => T): T {
    for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
      const started = this.request(XS.TRANSACTION_START, 0, toBytes("\0"));
      if (started.type === XS.ERROR) throw new Error(`TRANSACTION_START: ${text(started)}`);
      const id = Number(text(started));
      const result = body(this.#viewOf(id));
      const ended = this.request(XS.TRANSACTION_END, id, toBytes("T\0"));
      if (ended.type !== XS.ERROR) return result;
      if (text(ended) !== "EAGAIN") throw new Error(`TRANSACTION_END: ${text(ended)}`);
    }
    throw new Error(`${MAX_TRIES} transactions met conflicts`);
  }

  /** Takes the watch events that have arrived, and calls back. */
  serve(): void {
    const page = this.#page;
    const produced = page.load32(RING.rsp_prod);
    const consumed = page.load32(RING.rsp_cons);
    const count = Math.min((produced - consumed) >>> 0, RING_SIZE);
    if (count === 0) return;
    const start = consumed & (RING_SIZE - 1);
    const first = Math.min(count, RING_SIZE - start);
    const input = new Uint8Array(this.#input.length + count);
    input.set(this.#input);
    input.set(page.read(RING.rsp + start, first), this.#input.length);
    input.set(page.read(RING.rsp, count - first), this.#input.length + first);
    page.store32(RING.rsp_cons, consumed + count);
    this.#notify();
    this.#input = input;
    this.#dispatch();
  }

  #dispatch(): void {
    for (;;) {
      const input = this.#input;
      if (input.length < HEADER_SIZE) return;
      const view = new DataView(input.buffer, input.byteOffset);
      const end = HEADER_SIZE + view.getUint32(12, true);
      if (input.length < end) return;
      this.#input = input.slice(end);
      const [path = "", token = ""] = splitStrings(input.subarray(HEADER_SIZE, end)).strings;
      this.#watches.get(token)?.(path, token);
    }
  }

  #viewOf(transaction: number): ModelStoreView {
    const ask = (type: number, payload: string) => this.request(type, transaction, toBytes(payload));
    const get = (type: number, path: string) => {
      const reply = ask(type, `${path}\0`);
      return reply.type === XS.ERROR ? undefined : reply.payload;
    };
    const change = (type: number, payload: string) => {
      const reply = ask(type, payload);
      return reply.type === XS.ERROR ? text(reply) : undefined;
    };
    const strings = (payload: Uint8Array | undefined) => payload && splitStrings(payload).strings;
    return {
      read: (path) => {
        const value = get(XS.READ, path);
        return value && toText(value);
      },
      directory: (path) => strings(get(XS.DIRECTORY, path)) ?? [],
      write: (path, value) => change(XS.WRITE, `${path}\0${value}`),
      rm: (path) => change(XS.RM, `${path}\0`),
      mkdir: (path) => change(XS.MKDIR, `${path}\0`),
      permissions: (path) => strings(get(XS.GET_PERMS, path)),
      setPermissions: (path, permissions) => change(XS.SET_PERMS, [path, ...permissions, ""].join("\0")),
    };
  }

  save(): ModelStoreState {
    return { requestId: this.#requestId, input: this.#input.slice() };
  }

  load(state: ModelStoreState): void {
    this.#requestId = state.requestId;
    this.#input = state.input.slice();
  }
}

/** The one string of a payload. */
function text({ payload }: Message): string {
  return splitStrings(payload).strings[0] ?? toText(payload);
}
