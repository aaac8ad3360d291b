// The block front end against back ends that break the rules. The back end is a model domain as well: it writes what nodes it likes, maps the
// ring, and answers as it likes.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Blkfront } from "../../../src/devices/vbd/front.ts";
import { noImages } from "../../../src/machine/images.ts";
import { defineScenario } from "../../../src/machine/scenario.ts";
import { Session } from "../../../src/replay/session.ts";
import type { GrantMapping } from "../../../src/xen/backend-host.ts";
import type { ModelKernel } from "../../../src/xen/model/kernel.ts";

const XVDA = 51712;
const FRONT = `/local/domain/1/device/vbd/${XVDA}`;
const BACK = "/local/domain/2/data";
const REQUESTS = 5;
const READ = 0;
const CLOSING = "5";

interface Response {
  readonly id: bigint;
  readonly operation: number;
  readonly status: number;
}

interface Answer {
  readonly sectors?: string;
  /** What it sets rsp_prod to. */
  readonly produced: number;
  /** What stands in the slots. */
  readonly responses: readonly Response[];
  /** It maps the pages of the first request a second time and keeps them. */
  readonly holds?: boolean;
}

interface Outcome {
  readonly errors: readonly string[];
  /** Statuses of the requests that were told to be done, by tag. */
  readonly done: readonly (readonly [tag: number, status: number])[];
  /** The front end's, at the end. */
  readonly state: string | undefined;
  readonly running: boolean;
}

const okay = (id: number): Response => ({ id: BigInt(id), operation: READ, status: 0 });

function against({ sectors = "64", produced, responses, holds = false }: Answer): Outcome {
  const done: [number, number][] = [];
  let state: string | undefined;
  const front = (kernel: ModelKernel) => {
    const disk = new Blkfront(
      kernel,
      { device: XVDA },
      {
        ready: () => {
          for (let tag = 0; tag < REQUESTS; tag++) disk.submit(tag, "read", tag, 1);
          disk.push();
        },
        done: (tag, status) => done.push([tag, status]),
        closed: () => {},
      },
    );
    const begin = kernel.alarm("begin", () => {
      // The nodes are the front end's own: it turns to another back end than the toolstack's.
      kernel.store.write(`${FRONT}/backend`, BACK);
      kernel.store.write(`${FRONT}/backend-id`, "2");
      kernel.store.setPermissions(FRONT, ["n1", "r0", "r2"]);
      disk.start();
    });
    const look = kernel.alarm("look", () => {
      state = kernel.store.read(`${FRONT}/state`);
    });
    return {
      start: () => {
        begin.set(100_000);
        look.set(900_000);
      },
      save: () => null,
      load: () => {},
    };
  };
  const back = (kernel: ModelKernel) => {
    const tell = (name: string, value: string) => {
      kernel.store.write(`${BACK}/${name}`, value);
      kernel.store.setPermissions(`${BACK}/${name}`, ["n2", "r1"]);
    };
    const answer = (ring: GrantMapping): void => {
      if (holds) kernel.mapGrant(1, ring.load32(64 + 20), false);
      for (const [index, { id, operation, status }] of responses.entries()) {
        ring.store64(64 + 108 * index, id);
        ring.store8(64 + 108 * index + 8, operation);
        ring.store16(64 + 108 * index + 10, status & 0xffff);
      }
      ring.store32(8, produced >>> 0);
    };
    const connect = kernel.alarm("connect", () => {
      const [ref = 0, port = 0] = ["ring-ref", "event-channel"].map((name) => {
        return Number(kernel.store.read(`${FRONT}/${name}`));
      });
      const ring = kernel.mapGrant(1, ref, false) as GrantMapping;
      const local: number = kernel.bindInterdomain(1, port, () => {
        if (ring.load32(0) === 0) return;
        answer(ring);
        kernel.notify(local);
      });
      tell("sectors", sectors);
      tell("state", "4");
    });
    return {
      start: () => {
        tell("state", "2");
        connect.set(300_000);
      },
      save: () => null,
      load: () => {},
    };
  };
  const scenario = defineScenario({
    name: "hostile",
    why: "A test's.",
    images: {},
    machine: {
      domains: [],
      models: [
        { name: "front", program: "front", disks: [{ device: "xvda", sectors: 8 }] },
        { name: "back", program: "back" },
      ],
      timeLimitNs: 1_000_000,
    },
    programs: { front, back },
    expect: { "it ends": () => true },
  });
  const session = new Session({ scenario, seed: "1", load: noImages, product: "test", sink: () => {} });
  while (session.run(100));
  const { run } = session.finish();
  const errors = run.events("frontend-error").map(({ message }) => message);
  return { errors, done, state, running: run.ended("front") === "running" };
}

describe("a back end that breaks the rules has its device shut, and the front end lives on", () => {
  test("one that keeps them is served", () => {
    const { errors, done, state } = against({ produced: 5, responses: [4, 3, 2, 1, 0].map(okay) });
    expect(errors).toEqual([]);
    expect(done).toEqual([4, 3, 2, 1, 0].map((tag) => [tag, 0]));
    expect(state).toBe("4");
  });

  test.each<[string, Answer, string]>([
    ["answers more requests than there were", { produced: 6, responses: [] }, "more requests than there were"],
    ["sets its index back", { produced: -1, responses: [] }, "more requests than there were"],
    ["answers what nobody asked", { produced: 1, responses: [okay(31)] }, "request 31, which is not in flight"],
    ["answers with a wide id", { produced: 1, responses: [{ ...okay(0), id: 2n ** 32n }] }, "not in flight"],
    ["answers twice", { produced: 2, responses: [okay(0), okay(0)] }, "request 0, which is not in flight"],
    ["answers as another operation", { produced: 1, responses: [{ ...okay(0), operation: 1 }] }, "another operation"],
    ["keeps a page that it has answered for", { produced: 1, responses: [okay(0)], holds: true }, "still holds 1"],
    ["has no sectors", { sectors: "0", produced: 0, responses: [] }, "no size that a disk can have"],
    ["has too many sectors", { sectors: "9".repeat(30), produced: 0, responses: [] }, "no size"],
    ["has sectors that are no number", { sectors: "-1", produced: 0, responses: [] }, "no size"],
  ])("%s", (_what, answer, error) => {
    const { errors, done, state, running } = against(answer);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain(error);
    // Every request that was sent is told to be done, once.
    const tags = done.map(([tag]) => tag).sort();
    expect(tags).toEqual(answer.sectors === undefined ? [0, 1, 2, 3, 4] : []);
    expect(state).toBe(CLOSING);
    expect(running).toBe(true);
  });

  test("whatever it answers, each request is done once at most, and all are when the device is shut", () => {
    const response = fc.record({
      id: fc.oneof(fc.bigInt(0n, 6n), fc.bigInt(0n, 2n ** 64n - 1n)),
      operation: fc.oneof(fc.constant(READ), fc.nat(255)),
      status: fc.integer({ min: -3, max: 3 }),
    });
    const produced = fc.oneof(fc.nat(7), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }));
    fc.assert(
      fc.property(produced, fc.array(response, { maxLength: 6 }), (index, responses) => {
        const { errors, done, running } = against({ produced: index, responses });
        expect(running).toBe(true);
        expect(errors.length).toBeLessThanOrEqual(1);
        expect(new Set(done.map(([tag]) => tag)).size).toBe(done.length);
        if (errors.length > 0) expect(done).toHaveLength(REQUESTS);
      }),
      { numRuns: 25 },
    );
  });
});
