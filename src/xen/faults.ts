// Part: faults that hypervisors really had in emulating I/O, or close relatives, as switches of an HVM domain. They are off; a hypervisor with one on is
// there to show that a test or a fuzzer finds it.

/** By name: what the hypervisor does wrong. */
export const XEN_FAULTS = {
  "xen.io-retired-twice": "moves RIP past an emulated I/O instruction twice",
} as const;

export type XenFault = keyof typeof XEN_FAULTS;
