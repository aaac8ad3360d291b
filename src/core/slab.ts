// Part: short copies of bytes out of slabs. An array of more than 64 bytes with a buffer of its own costs ten times the copying of a ring's slot. A
// slab lives as long as one of its copies: what is kept for long is copied by who keeps it. A copy is a view: its `buffer` has others' bytes as well.

/** An array of so many bytes or fewer has no buffer outside of the heap (V8's typed_array_max_size_in_heap): copying alone is quicker. */
const LONGEST_IN_HEAP = 64;
/** A page and below. */
const LONGEST = 4096;
const SLAB_BYTES = 65_536;
/** So that words can be read of a copy as of a buffer of its own. */
const ALIGNMENT = 8;

let slab = new Uint8Array(SLAB_BYTES);
let used = 0;

/** A copy of `bytes` from `start` up to `end`. */
export function shortCopy(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  if (length <= LONGEST_IN_HEAP || length > LONGEST) return bytes.slice(start, end);
  if (used + length > SLAB_BYTES) {
    slab = new Uint8Array(SLAB_BYTES);
    used = 0;
  }
  const copy = slab.subarray(used, used + length);
  used += Math.ceil(length / ALIGNMENT) * ALIGNMENT;
  copy.set(bytes.subarray(start, end));
  return copy;
}
