// Part: faults that network back ends really had, as switches. They are off, and a back end with one of them on is no longer a correct one: they
// are there so that tests and fuzzing can show that they would find the fault.

/** By name: the advisory, and what the back end does wrong. */
export const VNIF_FAULTS = {
  "vnif.unchecked-index":
    "XSA-39: believes a request index that no front end can have, and takes slots that nobody filled",
  "vnif.wrapping-range": "XSA-270: adds offset and size in 16 bits before it compares them with the page's size",
  "vnif.event-storm": "XSA-391: notifies the front end at every visit, asked or not",
  "vnif.split-header": "XSA-423: takes for granted that a packet's first slot holds its whole header",
  "vnif.many-slots": "XSA-432: does not count a packet's slots while they are small",
  "vnif.empty-slot": "XSA-448: copies a slot that holds nothing",
} as const;

export type VnifFault = keyof typeof VNIF_FAULTS;
