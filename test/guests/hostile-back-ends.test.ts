// The bundled front ends in C against back ends that break the rules: the device is shut with a line on the console, and the guest ends in order.

import { describe, expect, test } from "vitest";
import type { BackendHost, GrantMapping } from "../../src/xen/backend-host.ts";
import { XenstoreDaemon } from "../../src/xen/xenstore/daemon.ts";
import { guestImage, startMachine, type TestMachine } from "../xen/support.ts";

const DOMID = 1;
const BACK = "/local/domain/0/back";
const [INIT_WAIT, INITIALISED, CONNECTED, CLOSING, CLOSED] = [2, 3, 4, 5, 6];
const TURN_NS = 5_000_000;
/** Offsets of a ring's head, and its slots. */
const [RSP_PROD, SLOTS] = [8, 64];

/** A machine with a bundled guest and one device, whose back end the test plays up to Connected. */
class BackEnd {
  readonly machine: TestMachine;
  readonly host: BackendHost;
  readonly #front: string;
  #untilNs = 0;
  #rings: readonly GrantMapping[] = [];
  #port = -1;

  constructor(guest: string, device: string, nodes: Readonly<Record<string, string | number>>) {
    let store: XenstoreDaemon | undefined;
    const prepare: Parameters<typeof startMachine>[0] = {
      kernel: guestImage(guest),
      prepare: (xen) => {
        store = new XenstoreDaemon(xen);
      },
    };
    this.machine = startMachine(prepare);
    this.host = this.machine.xen.backendHost(store!.client());
    this.#front = `/local/domain/${DOMID}/device/${device}`;
    for (const [home, own, other, values] of [
      [this.#front, DOMID, 0, { backend: BACK, "backend-id": 0, state: 1, mac: "00:16:3e:00:00:01" }],
      [BACK, 0, DOMID, { state: INIT_WAIT, ...nodes }],
    ] as const) {
      this.host.xenstore.write(home, "");
      store!.grant(home, own, other);
      for (const [name, value] of Object.entries(values)) this.host.xenstore.write(`${home}/${name}`, String(value));
    }
  }

  front(name: string): string | undefined {
    return this.host.xenstore.read(`${this.#front}/${name}`);
  }

  run(): void {
    this.#untilNs += TURN_NS;
    this.machine.run(this.#untilNs);
  }

  /** Waits for the front end's rings, and is Connected. */
  connect(ringNodes: readonly string[]): void {
    this.run();
    expect(this.front("state")).toBe(String(INITIALISED));
    this.#rings = ringNodes.map((name) => {
      const mapping = this.host.mapGrant(DOMID, Number(this.front(name)), false);
      if (typeof mapping === "number") throw new Error(`${name} does not map: ${mapping}`);
      return mapping;
    });
    this.#port = this.host.bindInterdomain(DOMID, Number(this.front("event-channel")), () => {});
    this.switchTo(CONNECTED);
    expect(this.front("state")).toBe(String(CONNECTED));
  }

  ring(number: number): GrantMapping {
    return this.#rings[number]!;
  }

  switchTo(state: number): void {
    this.host.xenstore.write(`${BACK}/state`, String(state));
    this.run();
  }

  wake(): void {
    this.host.notify(this.#port);
    this.run();
  }

  /** Lets go of the rings of a front end that closes, or has closed because we do, and is Closed. */
  close(front: number = CLOSING): void {
    expect(this.front("state")).toBe(String(front));
    for (const ring of this.#rings) ring.unmap();
    if (front === CLOSING) this.switchTo(CLOSING);
    this.switchTo(CLOSED);
  }

  /** What the guest says, and that it ends in order. */
  expectEnd(line: string): void {
    expect(this.machine.console().replaceAll("\r", "")).toContain(`${line}\n`);
    expect(this.machine.console().trimEnd().endsWith("done")).toBe(true);
    expect(this.machine.console()).not.toContain("closed and still holds");
    expect(this.machine.domain.end).toBe("poweroff");
  }
}

describe("netfront, whose back end", () => {
  const [TX, RX] = [0, 1];
  const PAGE = 4096;
  function netfront(): BackEnd {
    const back = new BackEnd("netfront-echo", "vif/0", { "feature-rx-copy": 1 });
    back.connect(["tx-ring-ref", "rx-ring-ref"]);
    expect(back.machine.console()).toContain("listening as 10.0.0.2");
    return back;
  }
  /** Answers the receive requests from the first on: id, offset, flags and status of each. */
  const respond = (back: BackEnd, ...responses: readonly (readonly number[])[]) => {
    for (const [slot, fields] of responses.entries())
      for (const [at, value] of fields.entries()) back.ring(RX).store16(SLOTS + 8 * slot + 2 * at, value & 0xffff);
    back.ring(RX).store32(RSP_PROD, responses.length);
  };
  const [MORE, EXTRA] = [4, 8];

  test.each<[string, (back: BackEnd) => void, string]>([
    [
      "answers more than was sent",
      (back) => back.ring(TX).store32(RSP_PROD, 1),
      "answered more transmit requests than there were",
    ],
    [
      "receives more than was posted",
      (back) => back.ring(RX).store32(RSP_PROD, 65),
      "answered more receive requests than there were",
    ],
    [
      "moves its index backwards",
      (back) => back.ring(RX).store32(RSP_PROD, 0xffff_ffff),
      "answered more receive requests than there were",
    ],
    ["answers out of turn", (back) => respond(back, [5, 0, 0, 60]), "answered a receive request out of turn"],
    ["has an id beyond all", (back) => respond(back, [0xffff, 0, 0, 60]), "answered a receive request out of turn"],
    ["receives beyond the page", (back) => respond(back, [0, 4090, 0, 60]), "received more than a page holds"],
    ["has an offset beyond the page", (back) => respond(back, [0, 0xffff, 0, 1]), "received more than a page holds"],
    [
      "receives more than the longest frame",
      (back) => respond(back, ...Array.from({ length: 17 }, (_, id) => [id, 0, MORE, PAGE])),
      "received a frame that is too long",
    ],
    [
      "never ends a frame",
      (back) => respond(back, ...Array.from({ length: 64 }, (_, id) => [id, 0, MORE, 1])),
      "received a frame in too many slots",
    ],
  ])("%s", (_, act, message) => {
    const back = netfront();
    act(back);
    back.wake();
    back.close();
    back.expectEnd(`vif 0: the back end ${message}: interface shut`);
  });

  test("sends extra info and slots with errors: they are passed over, and counted", () => {
    const back = netfront();
    // A frame with two extra slots, of which the first says that another follows; one with an error; one that is shorter than a header.
    respond(back, [0, 0, EXTRA, 60], [0x0101, 0, 0, 0], [0x0001, 0, 0, 0], [3, 0, 0, -1], [4, 0, 0, 13]);
    back.wake();
    back.switchTo(CLOSING);
    back.close(CLOSED);
    back.expectEnd("interface: 1 upcalls, 3 slots received, 0 slots sent, 2 extra slots, 2 damaged");
    expect(back.machine.console()).toContain("frames in: 1 (60 bytes)");
  });
});

describe("blkfront, whose back end", () => {
  function blkfront(): BackEnd {
    const back = new BackEnd("blkfront", "vbd/51712", { sectors: 2048, info: 0, "sector-size": 512 });
    back.connect(["ring-ref"]);
    return back;
  }
  /** Answers with an id and a status. */
  const respond = (back: BackEnd, id: bigint) => {
    back.ring(0).store64(SLOTS, id);
    back.ring(0).store32(RSP_PROD, 1);
  };

  test.each<[string, (back: BackEnd) => void, string]>([
    [
      "answers more than was asked",
      (back) => back.ring(0).store32(RSP_PROD, 33),
      "answered more requests than were in flight",
    ],
    ["answers what was not asked", (back) => respond(back, 32n), "answered a request that is not in flight"],
    ["has an id beyond all", (back) => respond(back, 2n ** 63n), "answered a request that is not in flight"],
    [
      "answers the same twice",
      (back) => {
        back.ring(0).store64(SLOTS + 108, 0n);
        respond(back, 0n);
        back.ring(0).store32(RSP_PROD, 2);
      },
      "answered a request that is not in flight",
    ],
  ])("%s", (_, act, message) => {
    const back = blkfront();
    act(back);
    back.wake();
    back.close();
    back.expectEnd(`vbd 51712: the back end ${message}: device shut`);
  });

  test("answers a request and keeps its page mapped", () => {
    const back = blkfront();
    const held = back.host.mapGrant(DOMID, back.ring(0).load32(SLOTS + 20), true);
    if (typeof held === "number") throw new Error(`no page: ${held}`);
    respond(back, 0n);
    back.wake();
    held.unmap();
    back.close();
    back.expectEnd("vbd 51712: the back end answered a request and still holds its pages: device shut");
  });

  test("closes with requests in flight", () => {
    const back = blkfront();
    back.switchTo(CLOSING);
    back.close(CLOSED);
    back.expectEnd("vbd 51712: the back end closes with requests in flight: device shut");
  });

  test("closes instead of connecting", () => {
    const back = new BackEnd("blkfront", "vbd/51712", {});
    back.switchTo(CLOSED);
    back.expectEnd("vbd 51712: the back end closes instead of connecting");
  });
});
