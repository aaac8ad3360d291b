// Part: faults that block back ends really had, as switches. They are off, and a back end with one of them on is no longer a correct one: they
// are there so that tests and fuzzing can show that they would find the fault.

/** By name: the advisory, and what the back end does wrong. */
export const VBD_FAULTS = {
  "vbd.double-fetch": "XSA-155: checks one copy of a request and carries out another",
  "vbd.unwritten-padding": "XSA-216: publishes a response without writing its padding",
  "vbd.stale-ring": "XSA-350: keeps a ring after the front end was let go of",
  "vbd.map-fatal": "XSA-362: takes a grant that cannot be mapped for its own error",
  "vbd.unmap-unmapped": "XSA-365: unmaps what it could not map",
  "vbd.leak-grants": "XSA-371: leaves the grants before a bad one mapped",
  "vbd.hasty-teardown": "lets go of a front end while operations are in flight",
} as const;

export type VbdFault = keyof typeof VBD_FAULTS;
