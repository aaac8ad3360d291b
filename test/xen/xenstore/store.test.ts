// Transactions, permissions and quotas, as guests meet them.

import { beforeEach, describe, expect, test } from "vitest";
import { encodeSnapshot } from "../../../src/core/snapshot.ts";
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

const start = (who: StoreGuest) => Number(who.ask(XS.TRANSACTION_START, "\0").replace("\0", ""));
const commit = (who: StoreGuest, transaction: number) => who.ask(XS.TRANSACTION_END, "T\0", transaction);

describe("directories", () => {
  test("are made above a node that is written", () => {
    guest.ask(XS.WRITE, "data/a/b/c\0deep");
    expect(guest.ask(XS.DIRECTORY, "data/a\0")).toBe("b\0");
    expect(guest.ask(XS.READ, "data/a/b\0")).toBe("");
    expect(guest.ask(XS.READ, "data/a/b/c\0")).toBe("deep");
  });

  test("list their children in the order in which they came", () => {
    for (const name of ["c", "a", "b"]) guest.ask(XS.MKDIR, `data/${name}\0`);
    guest.ask(XS.MKDIR, "data/a\0");
    guest.ask(XS.RM, "data/c\0");
    guest.ask(XS.MKDIR, "data/c\0");
    expect(guest.ask(XS.DIRECTORY, "data\0")).toBe("a\0b\0c\0");
  });

  test("go with everything below them, and may be gone already", () => {
    guest.ask(XS.WRITE, "data/a/b/c\0");
    expect(guest.ask(XS.RM, "data/a\0")).toBe("OK\0");
    expect(guest.ask(XS.RM, "data/a\0")).toBe("OK\0");
    expect(guest.ask(XS.RM, "data/a/b\0")).toBe("ERROR ENOENT");
    expect(guest.ask(XS.DIRECTORY, "data\0")).toBe("");
  });

  test("too large for one reply are read in parts", () => {
    const names = Array.from({ length: 400 }, (_, index) => `${"n".repeat(17)}${index}`);
    for (const name of names) control.write(`/local/domain/1/data/${name}`, "");
    expect(guest.ask(XS.DIRECTORY, "data\0")).toBe("ERROR E2BIG");
    let list = "";
    const generations = new Set<string>();
    for (let parts = 0; !list.endsWith("\0\0"); parts++) {
      expect(parts).toBeLessThan(5);
      const reply = guest.ask(XS.DIRECTORY_PART, `data\0${list.length}\0`);
      expect(reply.length).toBeLessThanOrEqual(4096);
      const end = reply.indexOf("\0");
      generations.add(reply.slice(0, end));
      list += reply.slice(end + 1);
    }
    expect(list).toBe(`${names.join("\0")}\0\0`);
    expect(generations.size).toBe(1);
    control.write("/local/domain/1/data/one-more", "");
    expect(generations).not.toContain(guest.ask(XS.DIRECTORY_PART, "data\0" + "0\0").split("\0")[0]);
    expect(
      guest
        .ask(XS.DIRECTORY_PART, "data\0" + "999999\0")
        .split("\0")
        .slice(1),
    ).toEqual(["", ""]);
  });
});

describe("a transaction", () => {
  test("is seen by nobody else until it is committed, then all at once", () => {
    const id = start(guest);
    guest.ask(XS.WRITE, "data/a\0" + "1", id);
    guest.ask(XS.WRITE, "data/b\0" + "2", id);
    expect(guest.ask(XS.DIRECTORY, "data\0", id)).toBe("a\0b\0");
    expect(guest.ask(XS.DIRECTORY, "data\0")).toBe("");
    expect(guest.ask(XS.READ, "data/a\0")).toBe("ERROR ENOENT");
    expect(commit(guest, id)).toBe("OK\0");
    expect(guest.ask(XS.DIRECTORY, "data\0")).toBe("a\0b\0");
  });

  test("leaves nothing when it is given up", () => {
    const id = start(guest);
    guest.ask(XS.WRITE, "data/a\0" + "1", id);
    expect(guest.ask(XS.TRANSACTION_END, "F\0", id)).toBe("OK\0");
    expect(guest.ask(XS.READ, "data/a\0")).toBe("ERROR ENOENT");
    expect(commit(guest, id)).toBe("ERROR ENOENT");
  });

  test.each([
    ["a value that it read changes", () => guest.ask(XS.READ, "data/a\0", 1), () => guest.ask(XS.WRITE, "data/a\0new")],
    ["a node that it missed appears", () => guest.ask(XS.READ, "data/x\0", 1), () => guest.ask(XS.WRITE, "data/x\0")],
    [
      "a directory that it listed grows",
      () => guest.ask(XS.DIRECTORY, "data\0", 1),
      () => guest.ask(XS.MKDIR, "data/x\0"),
    ],
    [
      "a node that it wrote is written",
      () => guest.ask(XS.WRITE, "data/a\0mine", 1),
      () => guest.ask(XS.WRITE, "data/a\0"),
    ],
    [
      "a node that it wrote is removed",
      () => guest.ask(XS.WRITE, "data/a\0mine", 1),
      () => guest.ask(XS.RM, "data/a\0"),
    ],
  ])("meets EAGAIN when %s meanwhile, and has changed nothing", (_, inside, outside) => {
    guest.ask(XS.WRITE, "data/a\0old");
    expect(start(guest)).toBe(1);
    inside();
    guest.ask(XS.WRITE, "data/mark\0", 1);
    outside();
    expect(commit(guest, 1)).toBe("ERROR EAGAIN");
    expect(guest.ask(XS.READ, "data/mark\0")).toBe("ERROR ENOENT");
    expect(guest.ask(XS.READ, "data/a\0", 1)).toBe("ERROR ENOENT");
  });

  test("does not mind changes of what it never looked at", () => {
    guest.ask(XS.WRITE, "data/a\0old");
    const id = start(guest);
    guest.ask(XS.WRITE, "data/a\0new", id);
    guest.ask(XS.WRITE, "data/b\0");
    control.write("/local/domain/1/name", "renamed");
    expect(commit(guest, id)).toBe("OK\0");
    expect(guest.ask(XS.READ, "data/a\0")).toBe("new");
  });

  test("fires watches when it is committed, once for each path", () => {
    guest.ask(XS.WATCH, "data\0t\0");
    guest.heard();
    const id = start(guest);
    for (const value of ["1", "2", "3"]) guest.ask(XS.WRITE, `data/a\0${value}`, id);
    guest.ask(XS.WRITE, "data/b\0", id);
    expect(guest.heard()).toEqual([]);
    commit(guest, id);
    expect(guest.heard()).toEqual(["data/a|t", "data/b|t"]);
  });

  test("may remove a tree and plant another in its place", () => {
    guest.ask(XS.WRITE, "data/a/old\0");
    const id = start(guest);
    guest.ask(XS.RM, "data/a\0", id);
    guest.ask(XS.WRITE, "data/a/new\0", id);
    expect(guest.ask(XS.DIRECTORY, "data/a\0", id)).toBe("new\0");
    expect(commit(guest, id)).toBe("OK\0");
    expect(guest.ask(XS.DIRECTORY, "data/a\0")).toBe("new\0");
    expect(guest.ask(XS.READ, "data/a/old\0")).toBe("ERROR ENOENT");
  });

  test("is its own domain's", () => {
    const id = start(guest);
    expect(other.ask(XS.READ, "name\0", id)).toBe("ERROR ENOENT");
  });

  test("cannot start inside another", () => {
    expect(guest.ask(XS.TRANSACTION_START, "\0", start(guest))).toBe("ERROR EBUSY");
  });

  test("is one of at most ten", () => {
    const ids = Array.from({ length: 10 }, () => start(guest));
    expect(guest.ask(XS.TRANSACTION_START, "\0")).toBe("ERROR ENOSPC");
    commit(guest, ids[3] ?? 0);
    expect(start(guest)).toBe(11);
    guest.ask(XS.RESET_WATCHES, "\0");
    expect(commit(guest, ids[4] ?? 0)).toBe("ERROR ENOENT");
  });

  test("may look at 1024 nodes, and one that wanted more cannot be committed", () => {
    const id = start(guest);
    guest.ask(XS.WRITE, "data/a\0", id);
    let answers = 0;
    while (guest.ask(XS.READ, `data/no-${answers}\0`, id) === "ERROR ENOENT") answers++;
    expect(answers).toBe(1022);
    expect(guest.ask(XS.READ, "data/more\0", id)).toBe("ERROR ENOSPC");
    machine.xenstore.load(machine.xenstore.save());
    expect(commit(guest, id)).toBe("ERROR ENOSPC");
    expect(guest.ask(XS.READ, "data/a\0")).toBe("ERROR ENOENT");
  });
});

describe("permissions", () => {
  test("keep a domain out of what is another's, whether it exists or not", () => {
    other.ask(XS.WRITE, "data/secret\0");
    for (const name of ["secret", "nothing"]) {
      expect(guest.ask(XS.READ, `/local/domain/2/data/${name}\0`)).toBe("ERROR EACCES");
      expect(guest.ask(XS.WRITE, `/local/domain/2/data/${name}\0x`)).toBe("ERROR EACCES");
      expect(guest.ask(XS.MKDIR, `/local/domain/2/data/${name}\0`)).toBe("ERROR EACCES");
      expect(guest.ask(XS.RM, `/local/domain/2/data/${name}\0`)).toBe("ERROR EACCES");
      expect(guest.ask(XS.GET_PERMS, `/local/domain/2/data/${name}\0`)).toBe("ERROR EACCES");
      expect(guest.ask(XS.SET_PERMS, `/local/domain/2/data/${name}\0n1\0`)).toBe("ERROR EACCES");
    }
    expect(guest.ask(XS.DIRECTORY, "/\0")).toBe("ERROR EACCES");
    expect(guest.ask(XS.RM, "/local/domain/2\0")).toBe("ERROR EACCES");
  });

  test("are the owner's to give", () => {
    other.ask(XS.WRITE, "data/shared\0value");
    expect(other.ask(XS.SET_PERMS, "data/shared\0n2\0r1\0")).toBe("OK\0");
    expect(other.ask(XS.GET_PERMS, "data/shared\0")).toBe("n2\0r1\0");
    expect(guest.ask(XS.READ, "/local/domain/2/data/shared\0")).toBe("value");
    expect(guest.ask(XS.WRITE, "/local/domain/2/data/shared\0x")).toBe("ERROR EACCES");
    expect(guest.ask(XS.SET_PERMS, "/local/domain/2/data/shared\0n1\0")).toBe("ERROR EACCES");
    other.ask(XS.SET_PERMS, "data/shared\0n2\0b1\0");
    expect(guest.ask(XS.WRITE, "/local/domain/2/data/shared/mine\0x")).toBe("OK\0");
    expect(guest.ask(XS.GET_PERMS, "/local/domain/2/data/shared/mine\0")).toBe("n1\0b1\0");
  });

  test("of the first entry are everybody's", () => {
    other.ask(XS.WRITE, "data/open\0value");
    other.ask(XS.SET_PERMS, "data/open\0r2\0n1\0");
    expect(guest.ask(XS.READ, "/local/domain/2/data/open\0")).toBe("ERROR EACCES");
    other.ask(XS.SET_PERMS, "data/open\0r2\0");
    expect(guest.ask(XS.READ, "/local/domain/2/data/open\0")).toBe("value");
    other.ask(XS.SET_PERMS, "data/open\0w2\0");
    expect(guest.ask(XS.READ, "/local/domain/2/data/open\0")).toBe("ERROR EACCES");
    expect(guest.ask(XS.WRITE, "/local/domain/2/data/open\0x")).toBe("OK\0");
  });

  test("let no guest give a node away", () => {
    guest.ask(XS.WRITE, "data/x\0");
    expect(guest.ask(XS.SET_PERMS, "data/x\0n2\0")).toBe("ERROR EPERM");
  });

  test("have at most five entries", () => {
    expect(guest.ask(XS.SET_PERMS, "data\0n1\0r2\0r3\0r4\0r5\0r6\0")).toBe("ERROR ENOSPC");
  });
});

describe("quotas", () => {
  test("let a guest own a thousand nodes, counted also over transactions", () => {
    let made = 0;
    while (guest.ask(XS.MKDIR, `data/${made}\0`) === "OK\0") made++;
    // The toolstack gave it six.
    expect(made).toBe(994);
    expect(guest.ask(XS.WRITE, "data/0\0still")).toBe("OK\0");
    expect(other.ask(XS.WRITE, "data/x\0")).toBe("OK\0");
    guest.ask(XS.RM, "data/0\0");
    guest.ask(XS.RM, "data/1\0");
    const [first, second] = [start(guest), start(guest)];
    for (const name of ["a", "b"]) guest.ask(XS.WRITE, `drivers/${name}\0`, first);
    for (const name of ["a", "b"]) guest.ask(XS.WRITE, `attr/${name}\0`, second);
    expect(guest.ask(XS.WRITE, "attr/c\0", second)).toBe("ERROR ENOSPC");
    expect(commit(guest, first)).toBe("OK\0");
    expect(commit(guest, second)).toBe("ERROR ENOSPC");
    expect(guest.ask(XS.DIRECTORY, "attr\0")).toBe("");
  }, 120_000);

  test("let a value have 2048 bytes", () => {
    expect(guest.ask(XS.WRITE, `data/x\0${"v".repeat(2048)}`)).toBe("OK\0");
    expect(guest.ask(XS.WRITE, `data/x\0${"v".repeat(2049)}`)).toBe("ERROR ENOSPC");
    expect(guest.ask(XS.READ, "data/x\0")).toBe("v".repeat(2048));
  });
});

test("a snapshot in the middle of everything goes on where it was taken", () => {
  /** Watches, an open transaction, half a request in, half a reply out, events waiting. */
  const prepare = () => {
    const fresh = new XenMachine();
    const [one, two] = [new StoreGuest(fresh.guest("first")), new StoreGuest(fresh.guest("second"))];
    const heard: string[] = [];
    fresh.xenstore.client().watch("/local/domain/1/data", "c", (path) => heard.push(path));
    fresh.settle();
    return { fresh, one, two, heard };
  };
  const { fresh, one, heard } = prepare();
  one.ask(XS.WATCH, "data\0t\0");
  one.heard();
  const id = start(one);
  one.ask(XS.WRITE, "data/inside\0", id);
  one.ask(XS.WRITE, `data/long\0${"x".repeat(1800)}`);
  one.heard();
  one.put(frame(XS.READ, 70, 0, "data/long\0"));
  one.put(frame(XS.READ, 71, 0, "name\0").subarray(0, 18));
  fresh.settle();
  fresh.xenstore.client().write("/local/domain/1/data/late", "");
  const snapshot = fresh.snapshots.save();
  const bytes = encodeSnapshot(snapshot);

  const copy = prepare();
  copy.fresh.snapshots.load(snapshot);
  expect(Buffer.compare(encodeSnapshot(copy.fresh.snapshots.save()), bytes)).toBe(0);
  copy.one.requestId = one.requestId;
  const goOn = (who: StoreGuest, told: string[]) => {
    told.splice(0);
    who.put(frame(XS.READ, 71, 0, "name\0").subarray(18));
    const replies = who.replies();
    who.ask(XS.WRITE, "data/after\0");
    return { replies, commit: commit(who, id), heard: who.heard(), told };
  };
  const before = goOn(one, heard);
  expect(goOn(copy.one, copy.heard)).toEqual(before);
  expect(before.replies.map(({ requestId, text }) => [requestId, text.length])).toEqual([
    [70, 1800],
    [71, 5],
  ]);
  expect(before.commit).toBe("ERROR EAGAIN");
  expect(before.told).toContain("/local/domain/1/data/late");
  expect(Buffer.compare(encodeSnapshot(copy.fresh.snapshots.save()), encodeSnapshot(fresh.snapshots.save()))).toBe(0);
});
