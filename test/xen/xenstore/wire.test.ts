// What a guest finds in its xenstore ring, byte for byte (io/xs_wire.h, docs/misc/xenstore.txt).

import { beforeEach, describe, expect, test } from "vitest";
import { XS } from "../../../src/xen/xenstore/wire.ts";
import { ERROR_FIELD, frame, latin1, StoreGuest } from "../../support/store-guest.ts";
import { XenMachine } from "../../support/xen-machine.ts";

let machine: XenMachine;
let guest: StoreGuest;
let other: StoreGuest;

beforeEach(() => {
  machine = new XenMachine();
  guest = new StoreGuest(machine.guest("first"));
  other = new StoreGuest(machine.guest("second"));
  machine.settle();
});

describe("a reply", () => {
  test("to a read is the value without a NUL, under the request's own numbers", () => {
    expect(guest.put(frame(XS.READ, 0xdeadbeef, 0, "name\0"))).toBe(21);
    expect(guest.replies()).toEqual([{ type: XS.READ, requestId: 0xdeadbeef, transaction: 0, text: "first" }]);
  });

  test.each([
    ["to a write is OK with its NUL", XS.WRITE, "data/x\0value", "OK\0"],
    ["to a directory is names with a NUL each", XS.DIRECTORY, "console\0", "port\0ring-ref\0type\0limit\0backend-id\0"],
    ["to an empty directory is nothing", XS.DIRECTORY, "name\0", ""],
    ["to a question for permissions is letters and numbers", XS.GET_PERMS, "name\0", "n0\0r1\0"],
    ["to a question for a path is the path with its NUL", XS.GET_DOMAIN_PATH, "7\0", "/local/domain/7\0"],
    ["says whether a domain is there", XS.IS_DOMAIN_INTRODUCED, "2\0", "T\0"],
    ["says whether a domain is not there", XS.IS_DOMAIN_INTRODUCED, "3\0", "F\0"],
    ["to a new transaction is its number", XS.TRANSACTION_START, "\0", "1\0"],
    ["to a reset of watches is OK", XS.RESET_WATCHES, "\0", "OK\0"],
  ])("%s", (_, type, payload, reply) => {
    expect(guest.request(type, payload)).toEqual({ type, requestId: 1, transaction: 0, text: reply });
  });

  test("to what does not exist is an ERROR message with the error's name", () => {
    expect(guest.request(XS.READ, "nothing\0")).toEqual({
      type: XS.ERROR,
      requestId: 1,
      transaction: 0,
      text: "ENOENT\0",
    });
  });
});

test("values are bytes: all 256 of them come back", () => {
  const value = String.fromCharCode(...Array.from({ length: 256 }, (_, index) => index));
  guest.ask(XS.WRITE, `data/x\0${value}`);
  expect(guest.ask(XS.READ, "data/x\0")).toBe(value);
});

test("a toolstack's nodes are there for a new domain, and its own are its own", () => {
  expect(guest.ask(XS.READ, "domid\0")).toBe("1");
  expect(guest.ask(XS.READ, "/local/domain/1/name\0")).toBe("first");
  expect(guest.ask(XS.READ, "memory/target\0")).toBe(String(66 * 4));
  expect(guest.ask(XS.WRITE, "name\0other")).toBe("ERROR EACCES");
  expect(guest.ask(XS.WRITE, "control/shutdown\0")).toBe("OK\0");
});

describe("a malformed request is answered with", () => {
  test.each([
    ["EINVAL when a path has no NUL", XS.READ, "name", "EINVAL"],
    ["EINVAL when there is nothing at all", XS.READ, "", "EINVAL"],
    ["EINVAL when something follows the only string", XS.READ, "name\0more\0", "EINVAL"],
    ["EINVAL when something without a NUL follows it", XS.READ, "name\0x", "EINVAL"],
    ["EINVAL when a path is empty", XS.READ, "\0", "EINVAL"],
    ["EINVAL when a path has an empty name", XS.READ, "data//x\0", "EINVAL"],
    ["EINVAL when a path ends in a slash", XS.DIRECTORY, "data/\0", "EINVAL"],
    ["EINVAL when a path has a character that none may have", XS.READ, "data/*\0", "EINVAL"],
    ["EINVAL when a relative path is too long", XS.READ, `${"a".repeat(2049)}\0`, "EINVAL"],
    ["EINVAL when an absolute path is too long", XS.READ, `/${"a".repeat(3072)}\0`, "EINVAL"],
    ["EINVAL when a write has no separator", XS.WRITE, "data/x", "EINVAL"],
    ["EINVAL when permissions are none", XS.SET_PERMS, "data\0", "EINVAL"],
    ["EINVAL when permissions are not letter and number", XS.SET_PERMS, "data\0x1\0", "EINVAL"],
    ["EINVAL when a watch has no token", XS.WATCH, "data\0", "EINVAL"],
    ["EINVAL when a special watch is unknown", XS.WATCH, "@nonsense\0t\0", "EINVAL"],
    ["EINVAL when a domain is not a number", XS.GET_DOMAIN_PATH, "first\0", "EINVAL"],
    ["EINVAL when a transaction's end is neither T nor F", XS.TRANSACTION_END, "X\0", "EINVAL"],
    ["ENOENT when no transaction is to end", XS.TRANSACTION_END, "T\0", "ENOENT"],
    ["EACCES when only the control domain may ask", XS.INTRODUCE, "5\0" + "1\0" + "2\0", "EACCES"],
    ["EACCES when it would control the daemon", XS.CONTROL, "print\0hello\0", "EACCES"],
    ["ENOSYS when the type is unknown", 99, "", "ENOSYS"],
    ["ENOSYS when the type is a reply's", XS.WATCH_EVENT, "", "ENOSYS"],
    ["ENOSYS when the type is out of all bounds", 0xffff_ffff, "", "ENOSYS"],
    ["EINVAL when the root is to be removed", XS.RM, "/\0", "EINVAL"],
  ])("%s", (_, type, payload, error) => {
    expect(guest.ask(type, payload)).toBe(`ERROR ${error}`);
    expect(guest.ask(XS.READ, "name\0")).toBe("first");
  });

  test("ENOENT when it names a transaction that is not there", () => {
    expect(guest.ask(XS.READ, "name\0", 77)).toBe("ERROR ENOENT");
  });
});

describe("flow control", () => {
  test("a request arrives whole over any number of notifications", () => {
    const bytes = frame(XS.WRITE, 5, 0, `data/x\0${"v".repeat(1500)}`);
    let at = 0;
    const replies = [];
    while (at < bytes.length) {
      at += guest.put(bytes.subarray(at, at + 7));
      replies.push(...guest.replies());
    }
    expect(replies).toEqual([{ type: XS.WRITE, requestId: 5, transaction: 0, text: "OK\0" }]);
    expect(guest.ask(XS.READ, "data/x\0")).toBe("v".repeat(1500));
  });

  test("a reply larger than the ring comes in pieces as the guest makes room", () => {
    guest.ask(XS.WRITE, `data/x\0${"0123456789".repeat(200)}`);
    guest.put(frame(XS.READ, 9, 0, "data/x\0"));
    machine.settle();
    const pieces = [];
    for (let count = guest.take(100); count > 0; count = guest.take(100)) {
      pieces.push(count);
      machine.settle();
    }
    expect(pieces).toEqual([...Array.from({ length: 20 }, () => 100), 16]);
    expect(guest.message()).toEqual({ type: XS.READ, requestId: 9, transaction: 0, text: "0123456789".repeat(200) });
  });

  test("a guest that does not read its replies is not answered further, and loses nothing", () => {
    const bytes = frame(XS.READ, 1, 0, "name\0");
    let sent = 0;
    for (let round = 0; round < 20; round++) {
      for (let room = true; room; sent += Number(room)) {
        room = 1024 - ((guest.index(2052) - guest.index(2048)) >>> 0) >= bytes.length;
        if (room) guest.put(bytes);
      }
      machine.settle();
    }
    // Two rings full and the messages that wait outside of them.
    expect(sent).toBeGreaterThan(80);
    expect(sent).toBeLessThan(130);
    expect(guest.index(2060)).toBe(1024);
    expect(guest.replies()).toHaveLength(sent);
  });

  test("indices wrap at 2^32", () => {
    for (const offset of [2048, 2052, 2056, 2060]) guest.setIndex(offset, 0xffff_fff0);
    expect(guest.ask(XS.READ, "name\0")).toBe("first");
    expect(guest.index(2052)).toBe(5);
    expect(guest.index(2060)).toBe(5);
  });

  test("the guest is notified of every reply, and of room in a full ring", () => {
    const { port } = guest.guest.domain.store;
    guest.guest.takeEvent(port);
    guest.put(frame(XS.READ, 1, 0, "name\0"));
    machine.settle();
    expect(guest.guest.takeEvent(port)).toBe(true);
    machine.settle();
    expect(guest.guest.takeEvent(port)).toBe(false);
  });
});

describe("a guest that breaks the ring's rules finds why in the error field and is alone with it:", () => {
  test.each([
    ["more requests than the ring holds", 2, () => guest.setIndex(2052, 1025)],
    ["a request index that goes back", 2, () => guest.setIndex(2052, 0xffff_ffff)],
    ["a payload longer than the protocol's", 3, () => guest.put(longHeader(4097))],
    ["a payload of 4 GiB", 3, () => guest.put(longHeader(0xffff_ffff))],
  ])("%s", (_, error, breakRule) => {
    breakRule();
    guest.notify();
    machine.settle();
    expect(guest.index(ERROR_FIELD)).toBe(error);
    guest.setIndex(2052, guest.index(2048));
    guest.put(frame(XS.READ, 1, 0, "name\0"));
    machine.settle();
    expect(guest.index(2060)).toBe(0);
    expect(other.ask(XS.READ, "name\0")).toBe("second");
  });

  test("a reply index that was never reached", () => {
    guest.setIndex(2056, 1);
    guest.put(frame(XS.READ, 1, 0, "name\0"));
    machine.settle();
    expect(guest.index(ERROR_FIELD)).toBe(2);
    expect(other.ask(XS.READ, "name\0")).toBe("second");
  });
});

test("the ring says that it has an error field", () => {
  expect(guest.index(2064)).toBe(2);
  expect(guest.index(ERROR_FIELD)).toBe(0);
});

test("every message is in the trace, in both directions", () => {
  machine.events.splice(0);
  guest.ask(XS.WRITE, "data/x\0v");
  const common = { kind: "xenstore", at: machine.clock.now, domain: 1, type: XS.WRITE, requestId: 1, transaction: 0 };
  const told = machine.eventsOf("xenstore").map((event) => ({ ...event, at: machine.clock.now }));
  expect(told).toEqual([
    { ...common, reply: false, payload: latin1("data/x\0v") },
    { ...common, reply: true, payload: latin1("OK\0") },
  ]);
});

test("a destroyed domain's nodes, watches and ring are gone, and others hear of it", () => {
  const portsInUse = () =>
    machine.hypervisor
      .serviceDomain(0)
      .save()
      .events.channels.filter(({ state }) => state === "interdomain").length;
  // Each has a store ring and a console.
  expect(portsInUse()).toBe(4);
  machine.hypervisor.destroyDomain(1);
  machine.settle();
  expect(portsInUse()).toBe(2);
  expect(
    machine.hypervisor
      .serviceDomain(0)
      .save()
      .events.channels.some(({ state }) => state === "unbound"),
  ).toBe(false);
  expect(other.ask(XS.IS_DOMAIN_INTRODUCED, "1\0")).toBe("F\0");
  expect(machine.xenstore.client().directory("/local/domain")).toEqual(["0", "2"]);
  expect(machine.xenstore.save().connections.map(({ domid }) => domid)).toEqual([2]);
});

function longHeader(length: number): Uint8Array {
  const bytes = frame(XS.READ, 1, 0, "");
  new DataView(bytes.buffer).setUint32(12, length, true);
  return bytes;
}
