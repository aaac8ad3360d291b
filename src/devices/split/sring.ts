// Part: the head of every shared ring, and its free-running indices (xen/include/public/io/ring.h).

/** `struct <name>_sring`: its indices, and where the slots begin. */
export const SRING = { req_prod: 0, req_event: 4, rsp_prod: 8, rsp_event: 12, slots: 64 } as const;

/** Slots from one free-running index to another; indices wrap at 2^32. */
export function slotsBetween(from: number, to: number): number {
  return (to - from) >>> 0;
}
