// The bundled block front end in C: every kind of callback, as a PVH domain and as the kernel of a PC, and the features of its ring.

import { describe, expect, test } from "vitest";
import type { MachineConfig } from "../../src/machine/config.ts";
import type { Run } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import { load } from "../support/recorded.ts";

type Board = MachineConfig["domains"][number]["board"];
const PC: Board = { kind: "pc", showsXen: true, xenPlatform: true };

function blkfront(commandLine: string, board?: Board): Run {
  return record(
    {
      name: "blkfront",
      why: "A test's.",
      images: { guest: { guest: "blkfront" } },
      machine: {
        domains: [
          {
            name: "guest",
            kernel: "guest",
            commandLine,
            memoryMiB: 16,
            ...(board && { board }),
            disks: [{ device: "xvda", sectors: 2048 }],
          },
        ],
      },
      expect: { "it ends": () => true },
    },
    { load },
  ).run;
}

function verifies(run: Run): void {
  expect(run.console("guest")).toMatch(/xvda: verified: crc32 [0-9a-f]{8}\r?\ndone/);
  expect(run.ended("guest")).toBe("poweroff");
  expect(run.events("blkif-response").every(({ status }) => status === 0)).toBe(true);
}

/** The vectors by which events came, and the lines that were raised for them. */
const ways = (run: Run) => ({
  vectors: [...new Set(run.events("irq-delivery").map(({ vector }) => vector))],
  lines: [...new Set(run.events("irq-line").map(({ line }) => line))].filter((line) => !line.endsWith("INTR")).sort(),
});

describe("blkfront writes, reads back and verifies a disk, woken", () => {
  test.each([
    ["by a vector, in a PVH domain", "callback=vector", undefined, 0xf3, []],
    ["by a vector, on a PC", "callback=vector", PC, 0xf3, []],
    ["by a GSI", "callback=gsi", PC, 0x25, ["dom1 callback", "dom1 irq 5"]],
    ["by the platform device's INTA#", "callback=intx", PC, 0x2a, ["dom1 callback", "dom1 gsi 24", "dom1 irq 10"]],
  ])("%s", (_, commandLine, board, vector, lines) => {
    const run = blkfront(`${commandLine} sectors=100`, board);
    verifies(run);
    expect(ways(run)).toEqual({ vectors: [vector], lines });
  });
});

describe("blkfront uses what the back end offers", () => {
  /** Requests as the back end fetched them. */
  const requests = (run: Run) => run.events("blkif-request").filter(({ side }) => side === 1);

  test("persistent grants: a page is mapped once, however often it is used", () => {
    const run = blkfront("features=persistent");
    verifies(run);
    const mapped = run.events("grant-map").map(({ ref }) => ref);
    expect(new Set(mapped).size).toBe(mapped.length);
    expect(mapped.length).toBeLessThan(requests(run).flatMap(({ segments }) => segments).length / 3);
    expect(run.events("grant-unmap")).toHaveLength(mapped.length - 2);
  });

  test("indirect segments: more than eleven pages in a request", () => {
    const run = blkfront("features=indirect");
    verifies(run);
    const counts = run.events("blkif-segments").map(({ segments }) => segments.length / 3);
    expect(Math.max(...counts)).toBe(14);
    expect(Math.min(...counts)).toBeGreaterThan(11);
  });

  test("a ring of four pages: more requests in flight than one page holds", () => {
    const run = blkfront("features=ring-order=2");
    verifies(run);
    expect(run.console("guest")).toContain("most in flight 64");
  });

  test("all of them together", () => verifies(blkfront("features=persistent,indirect,ring-order=2")));
});
