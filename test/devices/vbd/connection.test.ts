// The life of a block back end's connection: plugged in, negotiated, shut because of a ring that is nonsense, closed, connected again.

import { describe, expect, test } from "vitest";
import { XS } from "../../../src/xen/xenstore/wire.ts";
import {
  BACK,
  BlockFront,
  BlockMachine,
  connected,
  FRONT,
  IDLE_MAPPINGS,
  mappings,
  SECTORS,
} from "../../support/block-guest.ts";

const READ = 0;
const OKAY = 0;

describe("a new device", () => {
  test("stands in xenstore at both ends, each readable by the other", () => {
    const { store, xen } = new BlockMachine();
    expect(store.ask(XS.DIRECTORY, "device/vbd\0")).toBe("51712\0");
    expect(store.ask(XS.READ, `${FRONT}/backend\0`)).toBe(BACK);
    expect(store.ask(XS.READ, `${FRONT}/backend-id\0`)).toBe("0");
    expect(store.ask(XS.READ, `${FRONT}/state\0`)).toBe("1");
    expect(store.ask(XS.GET_PERMS, `${FRONT}/state\0`)).toBe("n1\0r0\0");
    expect(store.ask(XS.GET_PERMS, `${BACK}/state\0`)).toBe("n0\0r1\0");
    expect(store.ask(XS.WRITE, `${BACK}/state\0${4}`)).toBe("ERROR EACCES");
    const back = Object.fromEntries(
      xen.xenstore
        .client()
        .directory(BACK)
        .map((name) => [name, store.ask(XS.READ, `${BACK}/${name}\0`)]),
    );
    expect(back).toMatchObject({
      frontend: "/local/domain/1/device/vbd/51712",
      "frontend-id": "1",
      dev: "xvda",
      state: "2",
      mode: "w",
      sectors: String(SECTORS),
      "sector-size": "512",
      info: "0",
      "feature-flush-cache": "1",
      "feature-barrier": "1",
      "feature-discard": "1",
    });
  });

  test("that is read-only says so", () => {
    const { xen } = new BlockMachine({ features: { readOnly: true } });
    const read = (name: string) => xen.xenstore.client().read(`${BACK}/${name}`);
    expect([read("mode"), read("info"), read("feature-discard")]).toEqual(["r", "4", "0"]);
  });

  test.each([3, 4])("connects when the front end goes to state %d", (state) => {
    const front = new BlockFront(new BlockMachine()).connect(state);
    expect(front.backState).toBe(4);
    expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
  });

  test.each([
    ["no ring", "ring-ref", ""],
    ["a ring that is not granted", "ring-ref", "300"],
    ["a ring beyond the grant table", "ring-ref", "4294967295"],
    ["a ring that is no number", "ring-ref", "8x"],
    ["no event channel", "event-channel", ""],
    ["an event channel that is nobody's", "event-channel", "999"],
    ["an unknown protocol", "protocol", "sparc-abi"],
  ])("closes when the front end offers %s, and can be tried again", (_, name, value) => {
    const front = new BlockFront(new BlockMachine());
    front.prepare();
    front.write(name, value);
    front.write("state", 3);
    front.machine.xen.settle();
    expect(front.backState).toBe(5);
    expect(mappings(front)).toBe(IDLE_MAPPINGS - 1);
    front.write("state", 6);
    expect(front.backState).toBe(6);
    front.write("state", 1);
    expect(front.backState).toBe(2);
    front.connect();
    expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
  });
});

describe("a producer index that is nonsense shuts the ring, and only the ring:", () => {
  test.each([
    ["more than the ring holds", 0, 33],
    ["a thousand beyond", 0, 1000],
    ["one that goes back", 4, 3],
    ["one that goes back by half of all numbers", 4, 4 + 2 ** 31],
  ])("%s", (_, before, producer) => {
    const front = connected();
    for (let index = 0; index < before; index++) expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
    front.setIndex("req_prod", producer);
    front.machine.store.guest.send(front.port);
    front.machine.xen.settle();
    expect(front.take()).toEqual([]);
    expect(front.backState).toBe(5);
    front.setIndex("req_prod", before + 1);
    front.machine.store.guest.send(front.port);
    front.machine.xen.settle();
    expect(front.take()).toEqual([]);
    expect(front.machine.store.ask(XS.READ, "name\0")).toBe("first");
    front.write("state", 6);
    front.write("state", 1);
    expect(front.connect().ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
  });

  test("more requests than there are slots for their responses", () => {
    const front = connected();
    for (let index = 0; index < 32; index++) front.put(READ, BigInt(index), 0, [[front.page(0), 0, 0]]);
    front.push();
    const { clock } = front.machine.xen;
    clock.advanceTo(clock.now + 5_000);
    front.setIndex("req_prod", 33);
    front.machine.store.guest.send(front.port);
    front.machine.xen.settle();
    expect(front.backState).toBe(5);
    expect(front.index("rsp_prod")).toBe(0);
    expect(front.machine.store.guest.domain.events.channel(front.port)?.state).toBe("unbound");
    expect(mappings(front)).toBe(IDLE_MAPPINGS);
  });

  test("one in a ring that is just being connected", () => {
    const front = new BlockFront(new BlockMachine());
    front.prepare();
    front.setIndex("req_prod", 5000);
    front.write("state", 3);
    front.machine.xen.settle();
    expect(front.backState).toBe(5);
  });
});

describe("closing", () => {
  /** A front end with four reads in flight. */
  function busy(): BlockFront {
    const front = connected("x86_32-abi", { service: { operationNs: 1_000_000, perSectorNs: 0, jitterNs: 0 } });
    for (let index = 0; index < 4; index++) front.put(READ, BigInt(index), index, [[front.page(index), 0, 0]]);
    front.push();
    const { clock } = front.machine.xen;
    clock.advanceTo(clock.now + 10_000);
    expect(mappings(front)).toBe(IDLE_MAPPINGS + 4);
    return front;
  }

  test("lets go of the ring, the grants and the event channel", () => {
    const front = connected();
    front.write("state", 5);
    expect(front.backState).toBe(5);
    front.write("state", 6);
    expect(front.backState).toBe(6);
    expect(mappings(front)).toBe(IDLE_MAPPINGS - 1);
    expect(front.machine.store.guest.grantFlags(8)).toBe(1);
    expect(front.machine.store.guest.domain.events.channel(front.port)?.state).toBe("unbound");
  });

  test("answers what is in flight, and takes nothing more", () => {
    const front = busy();
    front.write("state", 5);
    front.put(READ, 99n, 0, [[front.page(5), 0, 0]]);
    front.push();
    front.machine.xen.settle();
    expect(front.take().map(({ id }) => id)).toEqual([0n, 1n, 2n, 3n]);
    expect(front.backState).toBe(5);
  });

  test("at once waits for what is in flight", () => {
    const front = busy();
    front.write("state", 6);
    expect(front.backState).toBe(4);
    expect(mappings(front)).toBe(IDLE_MAPPINGS + 4);
    front.put(READ, 99n, 0, [[front.page(5), 0, 0]]);
    front.push();
    front.machine.xen.settle();
    expect(front.index("req_event")).toBe(5);
    expect(front.backState).toBe(6);
    expect(mappings(front)).toBe(IDLE_MAPPINGS - 1);
    expect(front.data(3, 0, 1)).toEqual(Uint8Array.of(3));
  });

  test.each([
    ["that waits for nobody", [6, 1, 3]],
    ["that leaves out Initialising", [6, 3]],
    ["that leaves out Closed", [1, 3]],
  ])("and a new connection in the same page while requests are in flight, of a front end %s", (_, states) => {
    const front = busy();
    for (const state of states.slice(0, -1)) front.write("state", state);
    front.prepare();
    front.write("state", states.at(-1) ?? 0);
    expect(front.backState).toBe(4);
    expect(mappings(front)).toBe(IDLE_MAPPINGS + 4);
    front.machine.xen.settle();
    expect(front.backState).toBe(4);
    expect(front.take()).toEqual([]);
    expect(front.ask(READ, 9, [[front.page(0), 0, 0]])).toBe(OKAY);
    expect(mappings(front)).toBe(IDLE_MAPPINGS);
  });

  test("and reconnecting a hundred times leaves nothing behind", () => {
    const front = connected();
    for (let round = 0; round < 100; round++) {
      expect(front.ask(READ, 0, [[front.page(0), 0, 0]])).toBe(OKAY);
      for (const state of [5, 6, 1]) front.write("state", state);
      front.machine.store.guest.domain.events.close(front.port);
      front.connect();
    }
    expect(mappings(front)).toBe(IDLE_MAPPINGS);
    expect(front.backState).toBe(4);
  });

  test("by removing the front end's directory is closing, too", () => {
    const front = busy();
    front.machine.store.ask(XS.RM, `${FRONT}\0`);
    front.machine.xen.settle();
    expect(front.machine.xen.xenstore.client().directory(BACK)).toEqual([]);
    expect(mappings(front)).toBe(IDLE_MAPPINGS - 1);
  });

  test("once, however often the front end says that it has no state", () => {
    const front = new BlockFront(new BlockMachine()).connect();
    for (const state of [6, 0, 0]) front.write("state", state);
    expect(front.backState).toBe(6);
    expect(mappings(front)).toBe(IDLE_MAPPINGS - 1);
  });

  test("by the domain's end frees all that was mapped", () => {
    const front = busy();
    const { hypervisor } = front.machine.xen;
    const other = front.machine.xen.guest("second");
    hypervisor.destroyDomain(1);
    front.machine.xen.settle();
    expect(front.machine.xen.xenstore.client().directory(BACK)).toEqual([]);
    // What is left are the second guest's store ring and console.
    expect(
      hypervisor
        .serviceDomain(0)
        .save()
        .mappings.entries.map(({ owner }) => owner),
    ).toEqual([2, 2]);
    expect(other.domain.status).toBe("running");
  });
});

test("a snapshot of a closing device goes on closing", () => {
  const service = { operationNs: 1_000_000, perSectorNs: 0, jitterNs: 0 };
  const front = connected("x86_32-abi", { service });
  front.put(READ, 1n, 0, [[front.page(0), 0, 0]]);
  front.push();
  const { clock } = front.machine.xen;
  clock.advanceTo(clock.now + 10_000);
  front.write("state", 6);
  const snapshot = front.machine.xen.snapshots.save();
  const copy = new BlockFront(new BlockMachine({ service }));
  copy.machine.xen.snapshots.load(snapshot);
  copy.machine.xen.settle();
  expect(copy.backState).toBe(6);
  expect(mappings(copy)).toBe(IDLE_MAPPINGS - 1);
});
