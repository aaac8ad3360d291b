// Part: the life of a back end as a table (xen/include/public/io/xenbus.h; io/blkif.h, "State Diagrams"), for block and network devices alike.
// For each state of the back end, what it does when the front end is seen in a state.

/** `enum xenbus_state`. */
export const XENBUS = {
  Unknown: 0,
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
} as const;

export type XenbusState = (typeof XENBUS)[keyof typeof XENBUS];
export const XENBUS_NAMES = Object.keys(XENBUS) as (keyof typeof XENBUS)[];

/** What a back end does: nothing; offer itself again; connect to the ring; stop taking requests; let go of everything. */
export type Action = "stay" | "offer" | "connect" | "close" | "release";

type Row = Readonly<Partial<Record<keyof typeof XENBUS, Action>>>;

/** Own state → the front end's state → action; what is not named is "stay". */
const TABLE: Readonly<Partial<Record<keyof typeof XENBUS, Row>>> = {
  InitWait: { Initialised: "connect", Connected: "connect", Closing: "close", Closed: "release", Unknown: "release" },
  Connected: { Closing: "close", Closed: "release", Unknown: "release", Initialising: "release" },
  Closing: { Closed: "release", Unknown: "release", Initialising: "release" },
  // A front end that was quick is already further when we look.
  Closed: { Initialising: "offer", Initialised: "connect", Connected: "connect", Unknown: "release" },
};

/** @param front any number that a guest wrote */
export function transition(own: XenbusState, front: number): Action {
  const ownName = XENBUS_NAMES[own];
  const frontName = XENBUS_NAMES[front];
  if (ownName === undefined || frontName === undefined) return "stay";
  return TABLE[ownName]?.[frontName] ?? "stay";
}
