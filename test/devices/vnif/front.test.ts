// The network front end of model domains: against the real back end over a whole machine's LAN, and against back ends that break the rules.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Netfront } from "../../../src/devices/vnif/front.ts";
import { completeConfig } from "../../../src/machine/config.ts";
import { Images } from "../../../src/machine/images.ts";
import { Machine } from "../../../src/machine/machine.ts";
import { defineScenario, type Scenario } from "../../../src/machine/scenario.ts";
import { record } from "../../../src/replay/record.ts";
import { replay } from "../../../src/replay/replayer.ts";
import type { BackendHost, GrantMapping } from "../../../src/xen/backend-host.ts";
import { ModelKernel } from "../../../src/xen/model/kernel.ts";
import { echo, type SenderOptions, sender } from "../../support/net-program.ts";
import { XenMachine } from "../../support/xen-machine.ts";

function lan(options: SenderOptions, { pages = 160, maxFrame = 1518 } = {}): Scenario {
  const vifs = (last: number) => [{ address: `00:16:3e:00:00:0${last}`, link: { maxFrame } }];
  return defineScenario({
    name: "echo",
    why: "A test's.",
    images: {},
    machine: {
      domains: [],
      models: [
        { name: "sender", program: "sender", pages, vifs: vifs(1) },
        { name: "echo", program: "echo", pages, vifs: vifs(2) },
      ],
      timeLimitNs: 10_000_000_000,
    },
    programs: {
      sender: (kernel) => sender(kernel, options),
      echo: (kernel) => echo(kernel, options.split === true ? { split: true } : {}),
    },
    expect: { "it ends": () => true },
  });
}

describe("two model domains on one switch", () => {
  test.each<[string, SenderOptions, Parameters<typeof lan>[1]]>([
    ["frames of all sizes, many at once", { sizes: [18, 60, 61, 1000, 1514], count: 400, depth: 20 }, {}],
    [
      "frames of up to 64 KiB over several slots",
      { sizes: [60, 4096, 4097, 9000, 65_535], count: 100, depth: 3 },
      { maxFrame: 65_539 },
    ],
    [
      "indices that wrap, an event channel for each ring",
      { sizes: [100], count: 300, depth: 5, start: 0xffff_ff80, split: true },
      {},
    ],
    ["few pages", { sizes: [1514], count: 100, depth: 2 }, { pages: 14 }],
  ])("send each other %s", (_, options, place) => {
    const scenario = lan(options, place);
    const { run, bytes } = record(scenario);
    expect(run.console("sender")).toBe(`${options.count} right, 0 wrong\n`);
    expect(run.ended("sender")).toBe("poweroff");
    expect(run.events("packet-dropped")).toEqual([]);
    expect([...run.events("frontend-error"), ...run.events("xenbus-error")]).toEqual([]);
    expect(replay(bytes, scenario).divergence).toBeUndefined();
  });
});

test("a machine goes on from a snapshot with frames everywhere as the one that it was taken of", () => {
  const { machine: config, programs = {} } = lan(
    { sizes: [60, 5000, 40_000], count: 60, depth: 6 },
    { maxFrame: 65_539 },
  );
  const build = () =>
    new Machine(completeConfig(config), new Images({}, () => new Uint8Array(0)), "seed", () => {}, { programs });
  const [one, other] = [build(), build()];
  for (let steps = 0; steps < 700; steps++) expect(one.step()).toBe(true);
  other.load(one.save());
  expect(other.stateDigest()).toEqual(one.stateDigest());
  for (const machine of [one, other]) while (machine.step());
  expect(one.console("sender")).toBe("60 right, 0 wrong\n");
  expect(other.console("sender")).toBe(one.console("sender"));
  expect(other.stateDigest()).toEqual(one.stateDigest());
});

/** A domain with the front end, and its rings as a back end of the test's own has mapped them. */
class Hostile {
  readonly xen = new XenMachine();
  readonly kernel: ModelKernel;
  readonly net: Netfront;
  readonly received: Uint8Array[] = [];
  readonly host: BackendHost;
  closed = 0;
  #rings: readonly GrantMapping[] = [];
  #port = -1;

  constructor(start: number) {
    const { xen } = this;
    const domain = xen.hypervisor.createDomain({ kind: "model", name: "front", pages: 40 });
    this.kernel = new ModelKernel({
      host: xen.hypervisor,
      domain,
      latencyNs: 1000,
      store: (request) => xen.xenstore.call(domain.domid, request),
      random: (name) => xen.random.stream(name),
    });
    this.net = new Netfront(
      this.kernel,
      { device: 0, rxBuffers: 8, txBuffers: 8, start },
      { ready() {}, received: (frame) => this.received.push(frame), closed: () => this.closed++ },
    );
    this.host = xen.hypervisor.backendHost(xen.xenstore.client());
    const front = `/local/domain/${domain.domid}/device/vif/0`;
    for (const [home, nodes] of [
      [front, { backend: "/local/domain/0/back", "backend-id": 0, state: 1 }],
      ["/local/domain/0/back", { state: 2, "feature-rx-copy": 1 }],
    ] as const) {
      this.host.xenstore.write(home, "");
      xen.xenstore.grant(home, home === front ? domain.domid : 0, home === front ? 0 : domain.domid);
      for (const [name, value] of Object.entries(nodes)) this.host.xenstore.write(`${home}/${name}`, String(value));
    }
    this.net.start();
    xen.settle();
    const node = (name: string) => Number(this.host.xenstore.read(`${front}/${name}`));
    this.#rings = ["tx-ring-ref", "rx-ring-ref"].map((name) => {
      const mapping = this.host.mapGrant(domain.domid, node(name), false);
      if (typeof mapping === "number") throw new Error(`${name} does not map: ${mapping}`);
      return mapping;
    });
    this.#port = this.host.bindInterdomain(domain.domid, node("event-channel"), () => {});
    this.state(4);
  }

  state(state: number): void {
    this.host.xenstore.write("/local/domain/0/back/state", String(state));
    this.xen.settle();
  }

  ring(which: "tx" | "rx"): GrantMapping {
    return this.#rings[which === "tx" ? 0 : 1]!;
  }

  wake(): void {
    this.host.notify(this.#port);
    this.xen.settle();
  }

  /** Lets go of everything and ends the connection, as a back end must when its front end closes. */
  letGo(): void {
    for (const mapping of this.#rings) mapping.unmap();
    this.state(6);
  }

  errors(): string[] {
    return this.xen.eventsOf("frontend-error").map(({ message }) => message);
  }
}

test("a frame that needs more buffers than there are is refused, and holds up no other", () => {
  const { net, host, kernel } = new Hostile(0);
  expect(net.send(new Uint8Array(8 * 4096))).toBe(true);
  expect(net.send(new Uint8Array(8 * 4096 + 1))).toBe(false);
  net.push();
  expect(net.send(new Uint8Array(60))).toBe(true);
  expect(host.xenstore.read(`/local/domain/${kernel.domid}/device/vif/0/state`)).toBe("4");
});

describe("a back end that breaks the rules has its device shut:", () => {
  const frame = new Uint8Array(100).fill(1);
  const respond = (hostile: Hostile, [id, offset, flags, status]: readonly [number, number, number, number]) => {
    const ring = hostile.ring("rx");
    for (const [index, value] of [id, offset, flags, status & 0xffff].entries()) ring.store16(64 + 2 * index, value);
    ring.store32(8, 1);
  };
  test.each<[string, (hostile: Hostile) => void, string]>([
    [
      "more answers than requests",
      (hostile) => hostile.ring("tx").store32(8, 2),
      "answered more transmit requests than there were",
    ],
    [
      "more frames than buffers",
      (hostile) => hostile.ring("rx").store32(8, 9),
      "answered more receive requests than there were",
    ],
    [
      "the answer to a request that was none",
      (hostile) => {
        hostile.ring("tx").store32(64, 77);
        hostile.ring("tx").store32(8, 1);
      },
      "answered transmit request 77, which is not in flight",
    ],
    [
      "an id in another's place",
      (hostile) => respond(hostile, [5, 0, 0, 60]),
      "answered receive request 5 in the place of 0",
    ],
    ["bytes beyond the page", (hostile) => respond(hostile, [0, 4090, 0, 60]), "received 60 bytes at 4090 of a page"],
    [
      "extra info that nobody asked for",
      (hostile) => respond(hostile, [0, 0, 8, 60]),
      "sent extra info that was not asked for",
    ],
  ])("%s", (_, act, message) => {
    const hostile = new Hostile(0);
    expect(hostile.net.send(frame)).toBe(true);
    hostile.net.push();
    act(hostile);
    hostile.wake();
    expect(hostile.errors()).toEqual([`the back end ${message}`]);
    expect(hostile.received).toEqual([]);
    hostile.letGo();
    expect(hostile.closed).toBe(1);
    expect(hostile.net.send(frame)).toBe(false);
  });

  test("any bytes in the rings, any indices, any states: nothing throws, and nothing that was not granted is taken", () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("bytes" as const),
        ring: fc.constantFrom("tx" as const, "rx" as const),
        slot: fc.nat(12),
        words: fc.array(fc.oneof(fc.nat(10), fc.nat(0xffff)), { minLength: 4, maxLength: 4 }),
      }),
      fc.record({
        kind: fc.constant("produce" as const),
        ring: fc.constantFrom("tx" as const, "rx" as const),
        count: fc.oneof(fc.nat(3), fc.integer({ min: 0, max: 0xffff_ffff })),
      }),
      fc.record({ kind: fc.constant("event" as const), value: fc.integer({ min: 0, max: 0xffff_ffff }) }),
      fc.record({ kind: fc.constant("state" as const), value: fc.nat(9) }),
      fc.record({ kind: fc.constant("send" as const), size: fc.integer({ min: 14, max: 9000 }) }),
    );
    fc.assert(
      fc.property(fc.constantFrom(0, 0xffff_fffc), fc.array(step, { maxLength: 20 }), (start, steps) => {
        const hostile = new Hostile(start);
        for (const each of steps) {
          if (each.kind === "bytes") {
            const size = each.ring === "tx" ? 12 : 8;
            const at = 64 + (((start + each.slot) >>> 0) & 255) * size;
            for (const [index, word] of each.words.entries()) hostile.ring(each.ring).store16(at + 2 * index, word);
          } else if (each.kind === "produce") {
            const ring = hostile.ring(each.ring);
            ring.store32(8, (ring.load32(8) + each.count) >>> 0);
          } else if (each.kind === "event") hostile.ring("tx").store32(4, each.value);
          else if (each.kind === "state") hostile.state(each.value);
          else {
            hostile.net.send(new Uint8Array(each.size));
            hostile.net.push();
          }
          hostile.wake();
        }
        expect(hostile.received.every(({ length }) => length <= 19 * 4096)).toBe(true);
        hostile.letGo();
        hostile.net.disconnect();
        hostile.state(6);
        expect(hostile.net.connected).toBe(false);
      }),
      { numRuns: 60 },
    );
  });
});
