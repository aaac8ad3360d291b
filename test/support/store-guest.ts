// A guest's xenstore driver on the guest's own ring page.

import { type Guest, LATENCY_NS } from "./xen-machine.ts";

export interface StoreReply {
  readonly type: number;
  readonly requestId: number;
  readonly transaction: number;
  /** The payload as Latin-1. */
  readonly text: string;
}

export const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

const REQ_CONS = 2048;
const REQ_PROD = 2052;
const RSP_CONS = 2056;
const RSP_PROD = 2060;
export const ERROR_FIELD = 2072;

export class StoreGuest {
  readonly guest: Guest;
  /** Watch events taken from the ring, as "path|token". */
  readonly watchEvents: string[] = [];
  #bytes: number[] = [];
  /** Of the last request. */
  requestId = 0;

  constructor(guest: Guest) {
    this.guest = guest;
  }

  get #gfn(): number {
    return this.guest.domain.store.gfn;
  }

  index(offset: number): number {
    return this.guest.load32(this.#gfn, offset);
  }

  setIndex(offset: number, value: number): void {
    this.guest.store32(this.#gfn, offset, value);
  }

  notify(): void {
    this.guest.send(this.guest.domain.store.port);
  }

  /** Puts as many bytes into the ring as there is room for, and notifies; their number. */
  put(bytes: Uint8Array): number {
    const producer = this.index(REQ_PROD);
    const room = 1024 - ((producer - this.index(REQ_CONS)) >>> 0);
    const count = Math.min(room, bytes.length);
    for (let index = 0; index < count; index++) {
      this.guest.write(this.#gfn, (producer + index) & 1023, bytes.subarray(index, index + 1));
    }
    this.setIndex(REQ_PROD, (producer + count) >>> 0);
    this.notify();
    return count;
  }

  /** Takes what the ring holds, at most `limit` bytes, and notifies; their number. */
  take(limit = 1024): number {
    const consumer = this.index(RSP_CONS);
    const count = Math.min(limit, (this.index(RSP_PROD) - consumer) >>> 0);
    for (let index = 0; index < count; index++) {
      this.#bytes.push(this.guest.read(this.#gfn, 1024 + ((consumer + index) & 1023), 1)[0] ?? 0);
    }
    this.setIndex(RSP_CONS, (consumer + count) >>> 0);
    if (count > 0) this.notify();
    return count;
  }

  /** Removes a whole message from what was taken. */
  message(): StoreReply | undefined {
    if (this.#bytes.length < 16) return undefined;
    const view = new DataView(Uint8Array.from(this.#bytes.slice(0, 16)).buffer);
    const length = view.getUint32(12, true);
    if (this.#bytes.length < 16 + length) return undefined;
    const payload = this.#bytes.splice(0, 16 + length).slice(16);
    const [type = 0, requestId = 0, transaction = 0] = [0, 4, 8].map((at) => view.getUint32(at, true));
    return { type, requestId, transaction, text: String.fromCharCode(...payload) };
  }

  /** Lets the daemon work and takes everything; the replies, with watch events put aside. */
  replies(): StoreReply[] {
    const replies: StoreReply[] = [];
    do {
      this.guest.machine.clock.advanceTo(this.guest.machine.clock.now + LATENCY_NS);
      while (this.take() > 0) this.guest.machine.clock.advanceTo(this.guest.machine.clock.now + LATENCY_NS);
      for (let message = this.message(); message !== undefined; message = this.message()) {
        if (message.type === 15) this.watchEvents.push(message.text.split("\0").slice(0, 2).join("|"));
        else replies.push(message);
      }
    } while (this.index(RSP_PROD) !== this.index(RSP_CONS));
    return replies;
  }

  /** Sends a request of any size and waits for its reply. */
  request(type: number, payload: string, transaction = 0): StoreReply {
    const requestId = ++this.requestId;
    let rest = frame(type, requestId, transaction, payload);
    const replies: StoreReply[] = [];
    while (rest.length > 0) {
      rest = rest.subarray(this.put(rest));
      replies.push(...this.replies());
    }
    const [reply, ...others] = replies;
    if (reply === undefined || others.length > 0) throw new Error(`${replies.length} replies to one request`);
    return reply;
  }

  /** The reply's payload; an error's as "ERROR ENOENT". */
  ask(type: number, payload: string, transaction = 0): string {
    const { type: answered, text } = this.request(type, payload, transaction);
    return answered === 16 ? `ERROR ${text.replace("\0", "")}` : text;
  }

  /** The watch events since the last time, as "path|token". */
  heard(): string[] {
    this.replies();
    return this.watchEvents.splice(0);
  }
}

export function frame(type: number, requestId: number, transaction: number, payload: string | Uint8Array): Uint8Array {
  const body = typeof payload === "string" ? latin1(payload) : payload;
  const bytes = new Uint8Array(16 + body.length);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of [type, requestId, transaction, body.length].entries()) {
    view.setUint32(4 * index, word, true);
  }
  bytes.set(body, 16);
  return bytes;
}
