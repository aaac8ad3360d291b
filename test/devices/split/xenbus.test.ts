// The back end's state machine, over all pairs. What Linux's blkback does with each (drivers/block/xen-blkback/xenbus.c,
// frontend_changed) is written down here once more, in another form than the table's.

import { expect, test } from "vitest";
import { transition, XENBUS, XENBUS_NAMES, type XenbusState } from "../../../src/devices/split/xenbus.ts";

function expected(own: number, front: number): string {
  const { Unknown, Initialising, InitWait, Initialised, Connected, Closing, Closed } = XENBUS;
  const isUp = own === InitWait || own === Connected || own === Closing;
  switch (front) {
    case Initialising:
      // A front end that begins anew while it had a connection.
      if (own === Connected || own === Closing) return "release";
      return own === Closed ? "offer" : "stay";
    case Initialised:
    case Connected:
      return own === InitWait || own === Closed ? "connect" : "stay";
    case Closing:
      return own === InitWait || own === Connected ? "close" : "stay";
    case Closed:
      return isUp ? "release" : "stay";
    case Unknown:
      // device_unregister, whatever the state.
      return isUp || own === Closed ? "release" : "stay";
    default:
      return "stay";
  }
}

const pairs = XENBUS_NAMES.flatMap((own) => XENBUS_NAMES.map((front) => [own, front] as const));

test.each(pairs)("a back end in %s that sees the front end in %s does as blkback", (own, front) => {
  expect(transition(XENBUS[own], XENBUS[front])).toBe(expected(XENBUS[own], XENBUS[front]));
});

test("there are 81 pairs", () => {
  expect(pairs).toHaveLength(81);
  expect(XENBUS_NAMES.map((name) => XENBUS[name])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

test.each([-1, 9, 99, Number.NaN])("a front end's state of %d is no state and changes nothing", (front) => {
  for (const own of Object.values(XENBUS)) expect(transition(own as XenbusState, front)).toBe("stay");
});
