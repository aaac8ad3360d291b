// The same workload through the bundled guest's block front end in C and through the model's gives the same ring traffic: what the C driver
// published is taken from its trace and submitted to the model.

import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Blkfront } from "../../src/devices/vbd/front.ts";
import type { BlockOperation } from "../../src/devices/vbd/front-options.ts";
import { OP } from "../../src/devices/vbd/protocol.ts";
import { defineScenario, type Run, type Scenario } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import type { EventOf } from "../../src/trace/events.ts";
import type { ModelKernel } from "../../src/xen/model/kernel.ts";

const XVDA = 51712;
const DEPTH = 32;
const SECTORS = 2048;
const guest = new Uint8Array(readFileSync(new URL("../../guests/images/first-light.elf", import.meta.url)));
const NAMES: Readonly<Record<number, BlockOperation>> = {
  [OP.READ]: "read",
  [OP.WRITE]: "write",
  [OP.FLUSH_DISKCACHE]: "flush",
  [OP.DISCARD]: "discard",
};
const disks = [{ device: "xvda", sectors: SECTORS }];

/** One request as far as a front end determines it: grants and ids are its own affair. */
interface Wanted {
  readonly operation: number;
  readonly sector: bigint;
  /** First and last sector of each page. */
  readonly shape: readonly number[];
  readonly discard: bigint | undefined;
}

const wanted = ({ operation, sector, segments, discard }: EventOf<"blkif-request">): Wanted => ({
  operation,
  sector,
  shape: segments.filter((_, place) => place % 3 !== 0),
  discard,
});

/** What one side says was in the ring's slots, index by index. */
function traffic(run: Run, side: number): readonly Wanted[] {
  const requests = run.events("blkif-request").filter((event) => event.side === side);
  expect(requests.map(({ index }) => index)).toEqual(requests.map((_, index) => index));
  return requests.map(wanted);
}

function inC(seed: number, sectors: number, persistent: boolean): Run {
  return record({
    name: "c",
    why: "A test's.",
    images: { guest: { build: () => guest } },
    machine: {
      domains: [
        {
          name: "guest",
          kernel: "guest",
          commandLine: `seed=${seed} sectors=${sectors}${persistent ? " features=persistent" : ""}`,
          memoryMiB: 16,
          disks,
        },
      ],
    },
    expect: {},
  }).run;
}

/** Submits the requests in their order, as many at once as the ring holds; another operation waits until those before are done. */
function submitter(kernel: ModelKernel, requests: readonly Wanted[], persistent: boolean) {
  let next = 0;
  const feed = (): void => {
    for (; next < requests.length && disk.pending < DEPTH; next++) {
      const { operation, sector, shape, discard } = requests[next]!;
      if (disk.pending > 0 && operation !== requests[next - 1]?.operation) break;
      const lengths = shape.map((last, place) => (place % 2 === 0 ? 0 : last - shape[place - 1]! + 1));
      const count = discard === undefined ? lengths.reduce((sum, length) => sum + length, 0) : Number(discard);
      const data = new Uint8Array(operation === OP.WRITE ? count * 512 : 0);
      disk.submit(next, NAMES[operation]!, Number(sector), count, data, shape[0] ?? 0);
    }
    disk.push();
    if (next === requests.length && disk.pending === 0) disk.disconnect();
  };
  const disk = new Blkfront(
    kernel,
    { device: XVDA, persistent },
    {
      ready: feed,
      done: (_tag, status) => {
        expect(status).toBe(0);
        feed();
      },
      closed: () => kernel.shutdown(),
    },
  );
  return {
    start: () => {
      disk.start();
    },
    save: () => null,
    load: () => {},
  };
}

function inTypeScript(requests: readonly Wanted[], persistent: boolean): Run {
  const scenario: Scenario = defineScenario({
    name: "model",
    why: "A test's.",
    images: {},
    machine: { domains: [], models: [{ name: "model", program: "submitter", pages: 512, disks }] },
    programs: { submitter: (kernel) => submitter(kernel, requests, persistent) },
    expect: { "it ends": () => true },
  });
  return record(scenario).run;
}

test("the front ends in C and in TypeScript put the same requests in the same slots, and are answered alike", () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31), fc.integer({ min: 1, max: 300 }), fc.boolean(), (seed, sectors, persistent) => {
      const c = inC(seed, sectors, persistent);
      const published = traffic(c, 0);
      expect(published.length).toBeGreaterThan(2);
      const model = inTypeScript(published, persistent);
      expect(model.ended("model")).toBe("poweroff");
      for (const run of [c, model]) expect([traffic(run, 0), traffic(run, 1)]).toEqual([published, published]);
      for (const run of persistent ? [c, model] : []) {
        const mapped = run.events("grant-map").map(({ ref }) => ref);
        expect(new Set(mapped).size).toBe(mapped.length);
      }
      const answers = (run: Run, side: number) => {
        const responses = run.events("blkif-response").filter((event) => event.side === side);
        return responses.map(({ operation, status }) => [operation, status]).sort();
      };
      expect(answers(model, 1)).toEqual(answers(c, 1));
      // The last index of each side.
      const last = (run: Run, index: string) =>
        run.events("ring-index").findLast((event) => event.index === index)?.value;
      for (const index of ["req_prod", "rsp_prod"]) expect(last(model, index)).toBe(last(c, index));
      // The steps of both ends to Connected and back, as the back end sees the front end's.
      const life = (run: Run) => run.events("xenbus-state").map(({ side, state }) => side * 10 + state);
      expect(life(model)).toEqual(life(c));
    }),
    { numRuns: 4 },
  );
});
