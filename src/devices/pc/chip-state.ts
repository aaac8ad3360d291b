// Part: a chip's state as plain data (numbers, booleans, byte arrays, arrays and objects of these): a copy for a snapshot, and a copy taken
// over from one after its shape was compared with the chip's own.

import { InputError } from "../../core/errors.ts";

/** A deep copy that shares nothing with `state`. */
export function copyState<S>(state: S): S {
  return copy(state) as S;
}

/**
 * A deep copy of `saved`. Lists of numbers may be of any length (the chip knows its own limits), other arrays and byte arrays are as long as
 * in `current`.
 * @throws InputError unless `saved` has the shape of `current`; `part` names the chip
 */
export function adoptState<S>(current: S, saved: S, part: string): S {
  compare(current, saved, `snapshot of ${part}`);
  return copy(saved) as S;
}

/** Takes over a list that a snapshot may hold in any length. @throws InputError when it is longer than `limit` or holds no bytes */
export function checkByteQueue(queue: readonly number[], limit: number, part: string): void {
  if (queue.length <= limit && queue.every((byte) => byte >= 0 && byte <= 0xff)) return;
  throw new InputError(`not a queue of at most ${limit} bytes`, `snapshot of ${part}`);
}

function copy(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map(copy);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copy(item)]));
}

function compare(current: unknown, saved: unknown, context: string): void {
  if (typeof current !== typeof saved) throw new InputError(`not a ${typeof current}`, context);
  if (typeof current === "number" && !Number.isSafeInteger(saved)) throw new InputError("not an integer", context);
  if (typeof current !== "object" || current === null) return;
  if (current instanceof Uint8Array) {
    if (saved instanceof Uint8Array && saved.length === current.length) return;
    throw new InputError(`not ${current.length} bytes`, context);
  }
  if (Array.isArray(current)) {
    compareArrays(current, saved, context);
    return;
  }
  const other = saved as Readonly<Record<string, unknown>> | null;
  if (other === null || Array.isArray(other)) throw new InputError("not an object", context);
  if (Object.keys(current).sort().join() !== Object.keys(other).sort().join()) {
    throw new InputError("not the same fields", context);
  }
  for (const [key, item] of Object.entries(current)) compare(item, other[key], `${context}, ${key}`);
}

function compareArrays(current: readonly unknown[], saved: unknown, context: string): void {
  if (!Array.isArray(saved)) throw new InputError("not a list", context);
  const isQueue = current.every((item) => typeof item === "number");
  if (isQueue && saved.every((item) => Number.isSafeInteger(item))) return;
  if (saved.length !== current.length) throw new InputError(`not ${current.length} items`, context);
  for (const [index, item] of current.entries()) compare(item, saved[index], `${context}[${index}]`);
}
