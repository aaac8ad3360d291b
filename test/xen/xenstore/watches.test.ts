// Watches: when they fire, for whom, and what the event says.

import { beforeEach, describe, expect, test } from "vitest";
import type { XenstoreClient } from "../../../src/xen/backend-host.ts";
import { XS } from "../../../src/xen/xenstore/wire.ts";
import { frame, StoreGuest } from "../../support/store-guest.ts";
import { XenMachine } from "../../support/xen-machine.ts";

let machine: XenMachine;
let control: XenstoreClient;
let guest: StoreGuest;
let other: StoreGuest;

beforeEach(() => {
  machine = new XenMachine();
  control = machine.xenstore.client();
  guest = new StoreGuest(machine.guest("first"));
  other = new StoreGuest(machine.guest("second"));
  machine.settle();
});

function watch(who: StoreGuest, path: string, token = "t"): void {
  expect(who.ask(XS.WATCH, `${path}\0${token}\0`)).toBe("OK\0");
  expect(who.heard()).toEqual([`${path}|${token}`]);
}

describe("a watch", () => {
  test("fires once when it is set, behind the reply, whether or not the path exists", () => {
    guest.put(frame(XS.WATCH, 4, 0, "no/such/path\0token\0"));
    machine.settle();
    guest.take();
    expect(guest.message()).toEqual({ type: XS.WATCH, requestId: 4, transaction: 0, text: "OK\0" });
    expect(guest.message()).toEqual({
      type: XS.WATCH_EVENT,
      requestId: 0,
      transaction: 0,
      text: "no/such/path\0token\0",
    });
  });

  test("fires for the path and everything below it, and not for its neighbours", () => {
    watch(guest, "data/a");
    guest.ask(XS.WRITE, "data/a\0");
    guest.ask(XS.WRITE, "data/a/b/c\0");
    guest.ask(XS.WRITE, "data/ab\0");
    guest.ask(XS.MKDIR, "data\0");
    expect(guest.heard()).toEqual(["data/a|t", "data/a/b/c|t"]);
  });

  test("tells paths in the form in which it was written", () => {
    watch(guest, "data", "relative");
    watch(guest, "/local/domain/1/data", "absolute");
    guest.ask(XS.WRITE, "data/x\0");
    expect(guest.heard()).toEqual(["data/x|relative", "/local/domain/1/data/x|absolute"]);
  });

  test("of the root hears of everything that the guest may read", () => {
    watch(guest, "/");
    control.write("/local/domain/1/name", "new");
    control.write("/local/domain/2/name", "secret");
    machine.settle();
    expect(guest.heard()).toEqual(["/local/domain/1/name|t"]);
  });

  test("fires when the node is removed, also with something above it", () => {
    guest.ask(XS.WRITE, "data/a/b/c\0");
    watch(guest, "data/a", "above");
    watch(guest, "data/a/b/c", "exact");
    guest.ask(XS.RM, "data/a\0");
    expect(guest.heard()).toEqual(["data/a|above", "data/a/b/c|exact"]);
    expect(guest.ask(XS.READ, "data/a/b/c\0")).toBe("ERROR ENOENT");
  });

  test("does not tell of the end of nodes that the guest may not read", () => {
    control.write("/local/domain/2/data/hidden", "");
    watch(guest, "/local/domain/2/data");
    control.rm("/local/domain/2/data/hidden");
    machine.settle();
    expect(guest.heard()).toEqual([]);
  });

  test("of permissions fires for those who could read before", () => {
    control.write("/local/domain/0/shared", "");
    machine.xenstore.grant("/local/domain/0/shared", 0, 1);
    watch(guest, "/local/domain/0/shared");
    machine.xenstore.grant("/local/domain/0/shared", 0);
    machine.settle();
    expect(guest.heard()).toEqual(["/local/domain/0/shared|t"]);
    control.write("/local/domain/0/shared", "again");
    machine.settle();
    expect(guest.heard()).toEqual([]);
  });

  test("is told apart by path and token", () => {
    watch(guest, "data", "one");
    watch(guest, "data", "two");
    expect(guest.ask(XS.WATCH, "data\0one\0")).toBe("ERROR EEXIST");
    expect(guest.ask(XS.WATCH, "/local/domain/1/data\0one\0")).toBe("ERROR EEXIST");
    expect(guest.ask(XS.UNWATCH, "data\0three\0")).toBe("ERROR ENOENT");
    expect(guest.ask(XS.UNWATCH, "data\0one\0")).toBe("OK\0");
    guest.ask(XS.WRITE, "data/x\0");
    expect(guest.heard()).toEqual(["data/x|two"]);
  });

  test("ends with all others at a reset", () => {
    watch(guest, "data", "one");
    watch(other, "data");
    guest.ask(XS.RESET_WATCHES, "\0");
    guest.ask(XS.WRITE, "data/x\0");
    other.ask(XS.WRITE, "data/y\0");
    expect(guest.heard()).toEqual([]);
    expect(other.heard()).toEqual(["data/y|t"]);
  });

  test("hears of changes that nobody asked for, with a notification", () => {
    watch(guest, "control/shutdown");
    guest.guest.takeEvent(guest.guest.domain.store.port);
    control.write("/local/domain/1/control/shutdown", "poweroff");
    machine.settle();
    expect(guest.guest.takeEvent(guest.guest.domain.store.port)).toBe(true);
    expect(guest.heard()).toEqual(["control/shutdown|t"]);
  });

  test("hears once of equal changes that the guest has not read of", () => {
    watch(guest, "control/shutdown");
    // The first two fill the ring's room for events as they come; those that wait behind a full ring are merged.
    control.write("/local/domain/1/control/shutdown", "a");
    machine.settle();
    for (let turn = 0; turn < 200; turn++) control.write("/local/domain/1/control/shutdown", String(turn));
    machine.settle();
    const events = guest.heard();
    expect(events.length).toBeGreaterThan(1);
    expect(events.length).toBeLessThan(40);
    expect(new Set(events)).toEqual(new Set(["control/shutdown|t"]));
  });

  test("that would say more than a message holds says nothing", () => {
    const token = "t".repeat(3000);
    watch(guest, "data", token);
    guest.ask(XS.WRITE, `data/${"x".repeat(1500)}\0`);
    guest.ask(XS.WRITE, "data/x\0");
    expect(guest.heard()).toEqual([`data/x|${token}`]);
  });

  test("is one of at most 128", () => {
    for (let index = 0; index < 128; index++) expect(guest.ask(XS.WATCH, `data\0${index}\0`)).toBe("OK\0");
    expect(guest.ask(XS.WATCH, ["data", "one more", ""].join("\0"))).toBe("ERROR E2BIG");
    guest.ask(XS.UNWATCH, "data\0" + "5\0");
    expect(guest.ask(XS.WATCH, ["data", "one more", ""].join("\0"))).toBe("OK\0");
  });
});

test("events of domains are the control domain's alone", () => {
  const heard: string[] = [];
  control.watch("@introduceDomain", "in", (path) => heard.push(path));
  control.watch("@releaseDomain", "out", (path) => heard.push(path));
  watch(guest, "@introduceDomain");
  machine.settle();
  heard.splice(0);
  machine.guest("third");
  machine.settle();
  machine.hypervisor.destroyDomain(3);
  machine.settle();
  expect(heard).toEqual(["@introduceDomain", "@releaseDomain", "@releaseDomain"]);
  expect(guest.heard()).toEqual([]);
});

describe("a program of the control domain", () => {
  test("is called back once at first, then for every change, never at once", () => {
    const heard: string[] = [];
    control.watch("/local/domain/1/data", "t", (path, token) => heard.push(`${path}|${token}`));
    expect(heard).toEqual([]);
    machine.settle();
    control.write("/local/domain/1/data/x", "1");
    expect(heard).toEqual(["/local/domain/1/data|t"]);
    machine.settle();
    expect(heard).toEqual(["/local/domain/1/data|t", "/local/domain/1/data/x|t"]);
  });

  test("may stop watching in its callback, and hears nothing that waited", () => {
    const heard: string[] = [];
    control.watch("/local/domain/1/data", "t", (path) => {
      heard.push(path);
      if (heard.length === 2) control.unwatch("/local/domain/1/data", "t");
    });
    machine.settle();
    for (const name of ["x", "y", "z"]) control.write(`/local/domain/1/data/${name}`, "");
    machine.settle();
    expect(heard).toEqual(["/local/domain/1/data", "/local/domain/1/data/x"]);
  });

  test("that watches anew hears nothing of what was before", () => {
    const heard: string[] = [];
    control.watch("/local/domain/1/data", "t", () => heard.push("old"));
    machine.settle();
    control.write("/local/domain/1/data/x", "");
    control.unwatch("/local/domain/1/data", "t");
    control.watch("/local/domain/1/data", "t", (path) => heard.push(path));
    machine.settle();
    expect(heard).toEqual(["old", "/local/domain/1/data"]);
  });

  test("reads what is not there as undefined, and lists it as empty", () => {
    expect(control.read("/no/such")).toBeUndefined();
    expect(control.directory("/no/such")).toEqual([]);
    control.rm("/no/such");
    expect(control.read("name")).toBe("Domain-0");
  });

  test("changes several nodes as one", () => {
    const result = control.transaction((transaction) => {
      transaction.write("/tool/a", "1");
      transaction.write("/tool/b", "2");
      transaction.rm("/tool/a");
      return transaction.directory("/tool");
    });
    expect(result).toEqual(["b"]);
    expect(control.directory("/tool")).toEqual(["b"]);
  });

  test("tries again when somebody else was quicker", () => {
    let tries = 0;
    control.transaction((transaction) => {
      const before = transaction.read("/tool/count") ?? "0";
      if (tries++ === 0) control.write("/tool/count", "10");
      transaction.write("/tool/count", String(Number(before) + 1));
    });
    expect(tries).toBe(2);
    expect(control.read("/tool/count")).toBe("11");
  });
});
