// Part: one guest's connection to the xenstore daemon: its ring (xs_wire.h, docs/misc/xenstore-ring.txt), requests, replies and
// watch events. The ring is shared with the guest, so each index is fetched once a visit and the bytes are copied before they are looked at.
// A guest that breaks the ring's rules finds the reason in the ring's error field and is served no more; nobody else notices.

import type { EventOf } from "../../trace/events.ts";
import { XENSTORE_DOMAIN_INTERFACE } from "../abi/structures.ts";
import type { StoreRing } from "../hypervisor.ts";
import { answer, type Conversation } from "./requests.ts";
import { QUOTA, type Store } from "./store.ts";
import { Transaction, type TransactionState } from "./transaction.ts";
import type { Watch, Watches } from "./watches.ts";
import { encodeMessage, HEADER_SIZE, type Message, PAYLOAD_MAX, toBytes, XS } from "./wire.ts";

/** Byte offsets in the ring's page, the same for every ABI. */
const RING = XENSTORE_DOMAIN_INTERFACE.layouts.x86_32.offset;
/** XENSTORE_RING_SIZE, in each direction. */
const RING_SIZE = 1024;
/** XENSTORE_SERVER_FEATURE_ERROR: the page has the error field. */
const FEATURE_ERROR = 2;
const ERROR_RINGIDX = 2;
const ERROR_PROTO = 3;

/**
 * Messages waiting for room in the ring before the next request is looked at (xenstored's quota-outstanding): a guest that
 * does not read its replies is not answered further.
 */
const MAX_OUTSTANDING = 20;
/** Watch events waiting for room. Equal ones are merged; a guest that lets so many different ones pile up is cut off. */
const MAX_WATCH_EVENTS = 4096;

export interface ConnectionState {
  domid: number;
  input: Uint8Array;
  output: Uint8Array[];
  sent: number;
  broken: boolean;
  nextTransaction: number;
  transactions: { id: number; state: TransactionState }[];
}

export interface ConnectionWires {
  readonly store: Store;
  readonly watches: Watches;
  readonly ring: StoreRing;
  readonly introduced: (domid: number) => boolean;
  readonly trace: (
    message: Pick<EventOf<"xenstore">, "domain" | "reply" | "type" | "requestId" | "transaction" | "payload">,
  ) => void;
}

export class Connection implements Conversation {
  readonly domid: number;
  readonly store: Store;
  readonly watches: Watches;
  readonly introduced: (domid: number) => boolean;
  readonly ring: StoreRing;
  readonly transactions = new Map<number, Transaction>();
  nextTransaction = 1;
  readonly #trace: ConnectionWires["trace"];
  /** The beginning of a message that has not arrived whole. */
  #input = new Uint8Array(0);
  /** Messages that have not found room; of the first, `#sent` bytes are in the ring. */
  #output: Uint8Array[] = [];
  #sent = 0;
  #broken = false;

  constructor(domid: number, wires: ConnectionWires) {
    this.domid = domid;
    this.store = wires.store;
    this.watches = wires.watches;
    this.introduced = wires.introduced;
    this.ring = wires.ring;
    this.#trace = wires.trace;
  }

  /** Tells a new guest what its ring's page has. */
  introduce(): void {
    this.ring.page.store32(RING.server_features, FEATURE_ERROR);
  }

  /** The guest has sent bytes, taken some, or both. */
  serve(): void {
    if (this.#broken) return;
    let moved = this.#flush();
    while (!this.#broken && this.#output.length < MAX_OUTSTANDING && this.#receive()) {
      moved = true;
      this.#flush();
    }
    if (this.#flush() || moved || this.#broken) this.ring.notify();
  }

  /** Carries out a request that did not come over the ring: a model domain's kernel waits for the reply. */
  call(request: Message): Message {
    this.#trace({ domain: this.domid, reply: false, ...request });
    const { reply, after } = answer(this, request);
    this.#trace({ domain: this.domid, reply: true, ...reply });
    after?.();
    return reply;
  }

  /** Queues a watch event; merged with an equal one that still waits. */
  watchEvent(watch: Watch, path: string): void {
    if (this.#broken) return;
    const payload = toBytes(`${path}\0${watch.token}\0`);
    // The protocol has no way to say it, so it is not said (as in xenstored).
    if (payload.length > PAYLOAD_MAX) return;
    const bytes = encodeMessage({ type: XS.WATCH_EVENT, requestId: 0, transaction: 0, payload });
    if (this.#output.some((other) => sameBytes(other, bytes))) return;
    if (this.#output.length >= MAX_WATCH_EVENTS) {
      this.#break(ERROR_PROTO);
      return;
    }
    this.#send({ type: XS.WATCH_EVENT, requestId: 0, transaction: 0, payload });
  }

  /** Puts queued messages in the ring and tells the guest: after events that no request of its own caused. */
  push(): void {
    if (!this.#broken && this.#flush()) this.ring.notify();
  }

  /** Takes one request from the ring and answers it; false when there is no whole one. */
  #receive(): boolean {
    const header = this.#take(HEADER_SIZE);
    if (header === undefined) return false;
    const view = new DataView(header.buffer, header.byteOffset);
    const length = view.getUint32(12, true);
    if (length > PAYLOAD_MAX) {
      this.#break(ERROR_PROTO);
      return false;
    }
    const whole = this.#take(HEADER_SIZE + length);
    if (whole === undefined) return false;
    this.#input = new Uint8Array(0);
    const request: Message = {
      type: view.getUint32(0, true),
      requestId: view.getUint32(4, true),
      transaction: view.getUint32(8, true),
      payload: whole.subarray(HEADER_SIZE),
    };
    this.#trace({ domain: this.domid, reply: false, ...request });
    const { reply, after } = answer(this, request);
    this.#send(reply);
    after?.();
    return true;
  }

  /** The first `wanted` bytes of the message that is arriving, undefined until the ring has given as many. */
  #take(wanted: number): Uint8Array | undefined {
    if (this.#input.length < wanted) {
      const { page } = this.ring;
      const consumer = page.load32(RING.req_cons);
      const available = (page.load32(RING.req_prod) - consumer) >>> 0;
      if (available > RING_SIZE) {
        this.#break(ERROR_RINGIDX);
        return undefined;
      }
      const count = Math.min(available, wanted - this.#input.length);
      const grown = new Uint8Array(this.#input.length + count);
      grown.set(this.#input);
      const start = consumer & (RING_SIZE - 1);
      const first = Math.min(count, RING_SIZE - start);
      grown.set(page.read(RING.req + start, first), this.#input.length);
      grown.set(page.read(RING.req, count - first), this.#input.length + first);
      page.store32(RING.req_cons, consumer + count);
      this.#input = grown;
    }
    return this.#input.length < wanted ? undefined : this.#input.subarray(0, wanted);
  }

  #send(message: Message): void {
    this.#trace({ domain: this.domid, reply: true, ...message });
    this.#output.push(encodeMessage(message));
  }

  /** Moves what fits into the ring; true when anything did. */
  #flush(): boolean {
    if (this.#output.length === 0) return false;
    const { page } = this.ring;
    let producer = page.load32(RING.rsp_prod);
    const waiting = (producer - page.load32(RING.rsp_cons)) >>> 0;
    if (waiting > RING_SIZE) {
      this.#break(ERROR_RINGIDX);
      return false;
    }
    let room = RING_SIZE - waiting;
    let moved = false;
    for (let message = this.#output[0]; message !== undefined && room > 0; message = this.#output[0]) {
      const start = producer & (RING_SIZE - 1);
      const count = Math.min(room, message.length - this.#sent, RING_SIZE - start);
      page.write(RING.rsp + start, message.subarray(this.#sent, this.#sent + count));
      producer = (producer + count) >>> 0;
      room -= count;
      this.#sent += count;
      moved = true;
      if (this.#sent === message.length) {
        this.#output.shift();
        this.#sent = 0;
      }
    }
    page.store32(RING.rsp_prod, producer);
    return moved;
  }

  #break(error: number): void {
    this.#broken = true;
    this.#output = [];
    this.ring.page.store32(RING.error, error);
  }

  save(): ConnectionState {
    return {
      domid: this.domid,
      input: this.#input.slice(),
      output: this.#output.map((message) => message.slice()),
      sent: this.#sent,
      broken: this.#broken,
      nextTransaction: this.nextTransaction,
      transactions: Array.from(this.transactions, ([id, transaction]) => ({ id, state: transaction.save() })),
    };
  }

  load(state: ConnectionState): void {
    this.#input = state.input.slice();
    this.#output = state.output.map((message) => message.slice());
    this.#sent = state.sent;
    this.#broken = state.broken;
    this.nextTransaction = state.nextTransaction;
    this.transactions.clear();
    for (const { id, state: saved } of state.transactions) {
      const transaction = new Transaction(this.store, QUOTA.transactionNodes);
      transaction.load(saved);
      this.transactions.set(id, transaction);
    }
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
