// Part: faults that emulated NE2000s really had, or close relatives, as switches. They are off; a card with one on is there to show that a test or a
// fuzzer finds it.

/** By name: what the card does wrong. */
export const NE2000_FAULTS = {
  "ne2000.curr-unchecked": "CVE-2015-5279: stores a frame where CURR says, also outside the ring",
  "ne2000.boundary-walked": "CVE-2015-5278: walks the ring until it meets BNRY, which may be outside and never come",
  "ne2000.order-unchecked": "CVE-2016-2841: takes PSTART and PSTOP for a ring in whatever order",
  "ne2000.stalls-when-full": "receives nothing more once a frame was refused for want of room",
  "ne2000.full-is-empty": "fills the ring until CURR meets BNRY, which means empty",
  "ne2000.next-unwrapped": "points behind the ring when a frame ends with it",
  "ne2000.acknowledge-drops": "clears every cause in ISR when one is acknowledged",
} as const;

export type Ne2000Fault = keyof typeof NE2000_FAULTS;
export type Ne2000Faults = ReadonlySet<Ne2000Fault>;
