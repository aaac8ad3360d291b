// Part: xenstore's requests as a table: what each message type does for a guest (docs/misc/xenstore.txt).

import { type Permission, QUOTA, type Store, type StoreView } from "./store.ts";
import { Transaction } from "./transaction.ts";
import { INTRODUCE_DOMAIN, RELEASE_DOMAIN, type Watch, type Watches } from "./watches.ts";
import { absolutePath, type Message, PAYLOAD_MAX, StoreError, splitStrings, toBytes, XS } from "./wire.ts";

/** Transactions that one guest may have open (xenstored's quota-transaction). */
const MAX_TRANSACTIONS = 10;

/** What a request may touch of the connection that it came over. */
export interface Conversation {
  readonly domid: number;
  readonly store: Store;
  readonly watches: Watches;
  readonly introduced: (domid: number) => boolean;
  readonly transactions: Map<number, Transaction>;
  nextTransaction: number;
}

interface Request {
  readonly from: Conversation;
  readonly transaction: number;
  /** The store, or the transaction that the message names. */
  readonly view: StoreView;
  readonly payload: Uint8Array;
  /** The payload's NUL-terminated strings. */
  readonly strings: readonly string[];
  /** What stands behind the last NUL. */
  readonly rest: Uint8Array;
}

interface Answer {
  readonly payload: Uint8Array;
  /** Runs behind the reply. */
  readonly after?: () => void;
}

const OK: Answer = { payload: toBytes("OK\0") };

/** Types that only the control domain may send. */
const PRIVILEGED: ReadonlySet<number> = new Set([XS.CONTROL, XS.INTRODUCE, XS.RELEASE, XS.RESUME, XS.SET_TARGET]);

const HANDLERS: Readonly<Record<number, (request: Request) => Answer>> = {
  [XS.READ]: (request) => ({ payload: request.view.read(request.from.domid, onlyPath(request)) }),
  [XS.WRITE]: (request) => {
    request.view.write(request.from.domid, path(request), request.payload.subarray(string(request, 0).length + 1));
    return OK;
  },
  [XS.MKDIR]: (request) => {
    request.view.mkdir(request.from.domid, onlyPath(request));
    return OK;
  },
  [XS.RM]: (request) => {
    request.view.rm(request.from.domid, onlyPath(request));
    return OK;
  },
  [XS.DIRECTORY]: (request) => ({ payload: toBytes(names(request, onlyPath(request))) }),
  [XS.DIRECTORY_PART]: (request) => {
    const offset = decimal(string(request, 1));
    const generation = `${request.view.generation(request.from.domid, path(request))}\0`;
    const list = names(request, path(request));
    let part = list.slice(offset, offset + PAYLOAD_MAX - generation.length - 1);
    part = part.slice(0, part.lastIndexOf("\0") + 1);
    return { payload: toBytes(generation + part + (offset + part.length >= list.length ? "\0" : "")) };
  },
  [XS.GET_PERMS]: (request) => ({
    payload: toBytes(request.view.permissions(request.from.domid, onlyPath(request)).map(permissionText).join("")),
  }),
  [XS.SET_PERMS]: (request) => {
    const permissions = request.strings.slice(1).map(parsePermission);
    request.view.setPermissions(request.from.domid, path(request), permissions);
    return OK;
  },
  [XS.WATCH]: ({ from, strings }) => {
    const watch = parseWatch(from.domid, strings);
    from.watches.add(watch);
    return { ...OK, after: () => from.watches.fireFirst(watch) };
  },
  [XS.UNWATCH]: ({ from, strings }) => {
    from.watches.remove(parseWatch(from.domid, strings));
    return OK;
  },
  [XS.RESET_WATCHES]: ({ from }) => {
    from.watches.removeAll(from.domid);
    from.transactions.clear();
    return OK;
  },
  [XS.TRANSACTION_START]: ({ from, transaction }) => {
    if (transaction !== 0) throw new StoreError("EBUSY");
    if (from.transactions.size >= MAX_TRANSACTIONS) throw new StoreError("ENOSPC");
    const id = from.nextTransaction++;
    from.transactions.set(id, new Transaction(from.store, QUOTA.transactionNodes));
    return { payload: toBytes(`${id}\0`) };
  },
  [XS.TRANSACTION_END]: (request) => {
    const { from, view, transaction } = request;
    const verdict = onlyString(request);
    if (verdict !== "T" && verdict !== "F") throw new StoreError("EINVAL");
    if (!(view instanceof Transaction)) throw new StoreError("ENOENT");
    from.transactions.delete(transaction);
    if (verdict === "T") view.commit();
    return OK;
  },
  [XS.GET_DOMAIN_PATH]: (request) => ({ payload: toBytes(`/local/domain/${decimal(onlyString(request))}\0`) }),
  [XS.IS_DOMAIN_INTRODUCED]: (request) => ({
    payload: toBytes(request.from.introduced(decimal(onlyString(request))) ? "T\0" : "F\0"),
  }),
};

/** The reply to a request, and what is to happen behind it. */
export function answer(from: Conversation, message: Message): { reply: Message; after: (() => void) | undefined } {
  try {
    const { payload, after } = carryOut(from, message);
    if (payload.length > PAYLOAD_MAX) throw new StoreError("E2BIG");
    return { reply: { ...message, payload }, after };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return { reply: { ...message, type: XS.ERROR, payload: toBytes(`${error.error}\0`) }, after: undefined };
  }
}

function carryOut(from: Conversation, { type, transaction, payload }: Message): Answer {
  if (PRIVILEGED.has(type)) throw new StoreError("EACCES");
  const handler = HANDLERS[type];
  if (handler === undefined) throw new StoreError("ENOSYS");
  const view = transaction === 0 ? from.store : from.transactions.get(transaction);
  if (view === undefined) throw new StoreError("ENOENT");
  return handler({ from, transaction, view, payload, ...splitStrings(payload) });
}

function string({ strings }: Request, index: number): string {
  const text = strings[index];
  if (text === undefined) throw new StoreError("EINVAL");
  return text;
}

/** The one string that the whole payload is to be. */
function onlyString(request: Request): string {
  if (request.strings.length !== 1 || request.rest.length !== 0) throw new StoreError("EINVAL");
  return string(request, 0);
}

function onlyPath(request: Request): string {
  return absolutePath(onlyString(request), request.from.domid);
}

/** The path before the other strings. */
function path(request: Request): string {
  return absolutePath(string(request, 0), request.from.domid);
}

/** Children's names, each with its NUL. */
function names({ view, from }: Request, path: string): string {
  return view
    .directory(from.domid, path)
    .map((name) => `${name}\0`)
    .join("");
}

function decimal(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new StoreError("EINVAL");
  return Number(text);
}

function parseWatch(domid: number, strings: readonly string[]): Watch {
  const [given, token] = strings;
  if (given === undefined || token === undefined) throw new StoreError("EINVAL");
  if (given.startsWith("@") && given !== INTRODUCE_DOMAIN && given !== RELEASE_DOMAIN) throw new StoreError("EINVAL");
  return { domid, given, path: given.startsWith("@") ? given : absolutePath(given, domid), token };
}

/** "n0", "r5", "w5", "b5": nothing, read, write, both, and the domain. */
function parsePermission(text: string): Permission {
  const match = /^([nrwb])([0-9]{1,5})$/.exec(text);
  if (match === null) throw new StoreError("EINVAL");
  const [, letter, domid] = match;
  return { domid: Number(domid), read: letter === "r" || letter === "b", write: letter === "w" || letter === "b" };
}

function permissionText({ domid, read, write }: Permission): string {
  return `${read ? (write ? "b" : "r") : write ? "w" : "n"}${domid}\0`;
}
