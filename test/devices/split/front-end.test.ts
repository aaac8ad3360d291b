// The front end's state machine, over all pairs. What Linux's blkfront does with each state of its back end (drivers/block/xen-blkfront.c,
// blkback_changed) is written down here once more, in another form than the table's; a back end that is gone counts as Closed.

import { expect, test } from "vitest";
import { frontTransition } from "../../../src/devices/split/front-end.ts";
import { XENBUS, XENBUS_NAMES, type XenbusState } from "../../../src/devices/split/xenbus.ts";

function expected(own: number, back: number): string {
  const { Unknown, Initialising, InitWait, Initialised, Connected, Closing, Closed } = XENBUS;
  const hasRings = own === Initialised || own === Connected || own === Closing;
  switch (back) {
    case InitWait:
      // A back end that begins anew has forgotten the connection.
      if (own === Connected || own === Closing) return "close";
      return own === Initialising ? "publish" : "stay";
    case Connected:
      if (own === Connected) return "look";
      return own === Initialised ? "connect" : "stay";
    case Closing:
      if (own === Connected) return "drain";
      return hasRings ? "close" : "stay";
    case Closed:
    case Unknown:
      if (own === Closed) return "finish";
      return hasRings ? "close" : "stay";
    default:
      return "stay";
  }
}

const pairs = XENBUS_NAMES.flatMap((own) => XENBUS_NAMES.map((back) => [own, back] as const));

test.each(pairs)("a front end in %s that sees the back end in %s does as blkfront", (own, back) => {
  expect(frontTransition(XENBUS[own], XENBUS[back])).toBe(expected(XENBUS[own], XENBUS[back]));
});

test.each([-1, 9, 99, Number.NaN])("a back end's state of %d is no state and changes nothing", (back) => {
  for (const own of Object.values(XENBUS)) expect(frontTransition(own as XenbusState, back)).toBe("stay");
});
