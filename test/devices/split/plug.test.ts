// A device that comes, goes and comes again: the toolstack's nodes and what the back end's end of the xenbus makes of them.

import { expect, test } from "vitest";
import { BackendEnd } from "../../../src/devices/split/backend-end.ts";
import { XenMachine } from "../../support/xen-machine.ts";

const BACK = "/local/domain/0/backend/vif/1/0";
const FRONT = "/local/domain/1/device/vif/0";

function device() {
  const xen = new XenMachine();
  xen.guest("first");
  const store = xen.xenstore.client();
  const calls: string[] = [];
  const end: BackendEnd = new BackendEnd(xen.hypervisor.backendHost(store), {
    kind: "vif",
    frontDomid: 1,
    device: 0,
    grant: (path, owner, reader) => xen.xenstore.grant(path, owner, reader),
    connect: () => {
      calls.push("connect");
      end.switchTo(4);
    },
    release: () => {
      calls.push("release");
      end.released();
    },
  });
  const front = (state: number) => {
    store.write(`${FRONT}/state`, String(state));
    xen.settle();
  };
  const nodes = () => [store.directory(FRONT).length > 0, store.directory(BACK).length > 0];
  const changes = () => xen.eventsOf("device-plug").map(({ change }) => change);
  return { xen, store, end, calls, front, nodes, changes, plug: () => end.plug({}, {}) };
}

test("a device that nobody plugged in has no nodes and hears nothing", () => {
  const { end, front, calls } = device();
  front(4);
  expect(end.isPlugged).toBe(false);
  expect(calls).toEqual([]);
});

test("an unplugged device is gone when its front end has closed, and can be plugged in again", () => {
  const { end, front, nodes, changes, store, plug, calls } = device();
  for (let round = 0; round < 2; round++) {
    plug();
    front(4);
    end.unplug();
    expect([store.read(`${BACK}/online`), store.read(`${BACK}/state`)]).toEqual(["0", "5"]);
    front(5);
    expect(nodes()).toEqual([true, true]);
    front(6);
    expect(nodes()).toEqual([false, false]);
    expect(end.isPlugged).toBe(false);
  }
  expect(calls).toEqual(["connect", "release", "connect", "release"]);
  expect(changes()).toEqual(["plugged in", "unplug asked for", "gone", "plugged in", "unplug asked for", "gone"]);
});

test("a device whose front end had closed before is gone at once", () => {
  const { end, front, nodes, plug } = device();
  plug();
  front(6);
  expect(nodes()).toEqual([true, true]);
  end.unplug();
  expect(nodes()).toEqual([false, false]);
});

test("a removed device is let go of without its front end's consent", () => {
  const { xen, end, front, nodes, plug, calls } = device();
  plug();
  front(4);
  end.remove();
  xen.settle();
  expect(calls).toEqual(["connect", "release"]);
  expect(nodes()).toEqual([false, false]);
  expect(end.isPlugged).toBe(false);
});

test("what cannot be served is said in the store and in the trace, and closes", () => {
  const { xen, end, front, store, plug } = device();
  plug();
  front(4);
  end.fatal(22, "reading ring-ref");
  expect(store.read("/local/domain/0/error/backend/vif/1/0/error")).toBe("22 reading ring-ref");
  expect(store.read(`${BACK}/state`)).toBe("5");
  expect(xen.eventsOf("xenbus-error")).toMatchObject([
    { domain: 1, device: "vif/0", errno: 22, message: "reading ring-ref" },
  ]);
});
