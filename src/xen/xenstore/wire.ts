// Part: xenstore's wire protocol (xen/include/public/io/xs_wire.h, docs/misc/xenstore.txt).
// A message is a header of four 32-bit words and up to 4096 bytes of payload. What is between the bytes and the store is here:
// message types, errors by name, paths.

/** `enum xsd_sockmsg_type`. */
export const XS = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
} as const;

/** Bytes of `struct xsd_sockmsg`. */
export const HEADER_SIZE = 16;
/** XENSTORE_PAYLOAD_MAX. A longer one is a protocol violation that ends the connection. */
export const PAYLOAD_MAX = 4096;
/** XENSTORE_ABS_PATH_MAX and XENSTORE_REL_PATH_MAX: longer paths are answered with EINVAL. */
export const ABSOLUTE_PATH_MAX = 3072;
export const RELATIVE_PATH_MAX = 2048;

/** The errors that the protocol knows (xsd_errors). */
export type ErrorName =
  | "EINVAL"
  | "EACCES"
  | "EEXIST"
  | "ENOENT"
  | "ENOSPC"
  | "ENOSYS"
  | "EBUSY"
  | "EAGAIN"
  | "E2BIG"
  | "EPERM";

/** A request that the store refuses; it is answered with an ERROR message and harms nobody. */
export class StoreError extends Error {
  readonly error: ErrorName;

  constructor(error: ErrorName) {
    super(error);
    this.name = "StoreError";
    this.error = error;
  }
}

export interface Message {
  readonly type: number;
  readonly requestId: number;
  readonly transaction: number;
  readonly payload: Uint8Array;
}

/** A message as bytes. */
export function encodeMessage({ type, requestId, transaction, payload }: Message): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of [type, requestId, transaction, payload.length].entries()) {
    view.setUint32(4 * index, word, true);
  }
  bytes.set(payload, HEADER_SIZE);
  return bytes;
}

/** Text and bytes are Latin-1 to each other: the protocol says nothing about characters, and no byte may be lost. */
export function toBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
}

export function toText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** The NUL-terminated strings that a payload is made of; what stands behind the last NUL comes as `rest`. */
export function splitStrings(payload: Uint8Array): { strings: string[]; rest: Uint8Array } {
  const parts = toText(payload).split("\0");
  const rest = parts.pop() ?? "";
  return { strings: parts, rest: toBytes(rest) };
}

/**
 * The absolute form of a path as a domain wrote it.
 * @throws StoreError EINVAL on a path that the protocol forbids
 */
export function absolutePath(path: string, domid: number): string {
  const relative = !path.startsWith("/");
  if (path.length > (relative ? RELATIVE_PATH_MAX : ABSOLUTE_PATH_MAX)) throw new StoreError("EINVAL");
  const whole = relative ? `/local/domain/${domid}/${path}` : path;
  if (whole === "/") return whole;
  if (path === "" || !/^(\/[A-Za-z0-9\-_@]+)+$/.test(whole)) throw new StoreError("EINVAL");
  return whole;
}

/** "/" is the parent of "/a"; the root is its own parent. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash <= 0 ? "/" : path.slice(0, slash);
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
