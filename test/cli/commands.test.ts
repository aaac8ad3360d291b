// What the commands print when all is well.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundledScenarios } from "../../src/cli/host/scenarios.ts";
import { COMMANDS } from "../../src/cli/program.ts";
import { eventJson } from "../../src/debug/describe.ts";
import { Trace } from "../../src/trace/reader.ts";
import { ringback as run, temporaryFolder } from "../support/command-line.ts";
import { recordedConsole } from "../support/recorded.ts";
import { rewritten } from "../support/rewrite.ts";

const folder = temporaryFolder();
const ringback = (...args: string[]) => run({ cwd: folder.path }, ...args);
const path = (name: string) => join(folder.path, name);

let trace: Trace;

beforeAll(() => {
  const { bytes } = recordedConsole();
  trace = new Trace(bytes);
  writeFileSync(path("a.trace"), bytes);
});
afterAll(() => folder.remove());

describe("ringback help", () => {
  it.each(COMMANDS)(
    "shows $synopsis and what it is for, in the list and by itself",
    async ({ synopsis, description }) => {
      const [name, ...operands] = synopsis.replace(" [options]", "").split(" ");
      expect((await ringback("help")).out).toContain(`\n  ${synopsis} `);
      const { status, out } = await ringback("help", name!);
      expect(status).toBe(0);
      const usage = `Usage: ringback ${[name, "[options]", ...operands].join(" ")} ${description} `;
      expect(out.replaceAll(/\s+/g, " ").startsWith(usage)).toBe(true);
    },
  );
});

describe("ringback run", () => {
  it("shows the guest's console and what became of each expectation", async () => {
    const { status, out, err } = await ringback("run", "console-input");
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain("\n> sum 1 2 39\n42\n");
    expect(out).toMatch(/^console-input: domains ended after \d+\.\d{6} ms, \d+ instructions$/m);
    expect(out).toMatch(/^held {2}the guest adds up$/m);
  });

  it("shows the consoles of model domains as those of guests", async () => {
    const { out } = await ringback("run", "hotplug");
    expect(out).toContain("xvda has 4096 sectors now\n");
    const { consoles } = JSON.parse((await ringback("run", "hotplug", "--json")).out);
    expect(consoles).toEqual({ guest: expect.stringContaining("xvda has 4096 sectors now\n") });
  });

  it("says the same as JSON", async () => {
    const { status, out } = await ringback("run", "console-input", "--json", "--seed", "7");
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      scenario: "console-input",
      seed: "7",
      reason: "domains ended",
      consoles: { guest: expect.stringContaining("42") },
      expectations: expect.arrayContaining([{ expectation: "the guest adds up", held: true }]),
    });
  });

  it("lists the bundled scenarios in its help", async () => {
    const { status, out } = await ringback("run", "--help");
    expect(status).toBe(0);
    expect(out).toContain(`Bundled scenarios: ${bundledScenarios().join(", ")}`);
    expect(bundledScenarios()).toEqual(
      expect.arrayContaining(["console-input", "disk-errors", "first-light", "grub-pvh"]),
    );
  });
});

describe("ringback record and replay", () => {
  it("write a trace and find it identical, with the file's own SHA-256", async () => {
    const recorded = await ringback("record", "console-input", "-o", "b.trace", "--seed", "3");
    expect(recorded).toMatchObject({ status: 0, err: "" });
    const written = new Trace(new Uint8Array(readFileSync(path("b.trace"))));
    expect(recorded.out).toContain(`SHA-256   ${written.sha256()}\n`);
    expect(written.header.seed).toBe("3");
    const events = written.end!.events;
    expect(recorded.out).toMatch(new RegExp(`^recorded {2}b\\.trace: ${events} events in 1 chunk, `, "m"));
    expect(await ringback("replay", "b.trace")).toEqual({
      status: 0,
      out: `identical  ${events} events in 1 chunk\nSHA-256    ${written.sha256()}\n`,
      err: "",
    });
  });

  it("stopped by a signal closes the trace, which replays", async () => {
    writeFileSync(
      path("spin.ts"),
      `import { defineScenario } from "ringback";
       export default defineScenario({
         name: "spin",
         why: "A guest that never ends.",
         images: { guest: { guest: "first-light" } },
         machine: { domains: [{ name: "guest", kernel: "guest", commandLine: "mode=spin", memoryMiB: 16 }] },
         expect: { "it is stopped": (run) => run.reason === "stopped from outside" },
       });`,
    );
    let pauses = 0;
    const surroundings = { cwd: folder.path, atPause: (stop: () => void) => (++pauses === 5 ? stop() : undefined) };
    const recorded = await run(surroundings, "record", "./spin.ts", "-o", "spin.trace");
    expect(recorded).toMatchObject({ status: 0, err: "" });
    expect(recorded.out).toContain("spin: stopped from outside after ");
    expect(await ringback("replay", "spin.trace")).toMatchObject({ status: 0, err: "" });
    // The module is found beside the trace, too, from wherever one asks.
    expect(await run({ cwd: "/" }, "replay", path("spin.trace"))).toMatchObject({ status: 0, err: "" });
  });
});

describe("ringback info", () => {
  it("tells header, machine, images, counts, duration and size", async () => {
    const { status, out } = await ringback("info", "a.trace");
    expect(status).toBe(0);
    const line = (name: string) => out.split("\n").find((text) => text.startsWith(`  ${name} `));
    expect(line("scenario")).toMatch(/console-input, seed 1$/);
    expect(line("recorded by")).toMatch(/ringback \d+\.\d+\.\d+, format 2$/);
    expect(line("domain")).toMatch(/guest: 16 MiB, kernel guest, command line "mode=console"$/);
    expect(line("image")).toContain(trace.header.images[0]!.sha256);
    expect(line("SHA-256")).toContain(trace.sha256());
    const inputs = [...trace.events()].filter(({ kind }) => kind === "input").length;
    expect(line("input")).toMatch(new RegExp(` ${inputs}$`));
  });

  it("tells the same as JSON", async () => {
    const described = JSON.parse((await ringback("info", "a.trace", "--json")).out);
    expect(described).toMatchObject({
      seed: "1",
      size: trace.size,
      sha256: trace.sha256(),
      damage: [],
      end: trace.end,
    });
    expect(described.chunks).toHaveLength(trace.chunks.length);
    expect(Object.values<number>(described.events).reduce((sum, count) => sum + count)).toBe(trace.end!.events);
  });
});

describe("ringback events", () => {
  it("prints a line for each event, decoded", async () => {
    const { status, out } = await ringback("events", "a.trace");
    expect(status).toBe(0);
    expect(out.trimEnd().split("\n")).toHaveLength(trace.end!.events);
    expect(out).toMatch(/^ +\d+\.\d{6} ms {2}vm-exit +d1v0 WRMSR/m);
    expect(out).toMatch(/ hypercall +d1v0 sched_op\(SCHEDOP_shutdown, 0x[0-9a-f]+\) = 0$/m);
    expect(out).toMatch(/ input +console:guest before step \d+: "sum 1 2 39\\n"$/m);
    expect(out).toMatch(/ domain-state +d1 shutdown: poweroff$/m);
  });

  it("keeps to the kinds and times that are asked for", async () => {
    const all = [...trace.events()];
    const [from, to] = [20_000, 60_000];
    const wanted = all.filter(
      ({ kind, at }) =>
        (kind === "hypercall" || kind === "xenstore" || kind === "evtchn-send") && at >= from && at <= to,
    );
    expect(wanted.length).toBeGreaterThan(0);
    const { out } = await ringback(
      "events",
      "a.trace",
      "--kind",
      "hypercall,xenstore,evtchn-send",
      "--from",
      "20us",
      "--to",
      "0.06ms",
      "--json",
    );
    expect(out).toBe(wanted.map((event) => `${eventJson(event)}\n`).join(""));
    expect(
      out
        .split("\n")
        .slice(0, -1)
        .every((line) => typeof JSON.parse(line).at === "number"),
    ).toBe(true);
  });
});

describe("ringback diff", () => {
  it("finds two traces of the same run to be the same, whatever their chunks", async () => {
    await ringback("record", "console-input", "-o", "other-chunks.trace");
    expect(await ringback("diff", "a.trace", "other-chunks.trace")).toEqual({
      status: 0,
      out: `A a.trace\nB other-chunks.trace\nthe same ${trace.end!.events} events\n`,
      err: "",
    });
  });

  it("shows the first difference with what stands around it", async () => {
    const events = [...trace.events()];
    const index = events.findIndex(({ kind }) => kind === "hypercall");
    const bytes = rewritten(trace.bytes(), {
      event: (event, at) => [at === index && event.kind === "hypercall" ? { ...event, result: -14 } : event],
    });
    writeFileSync(path("changed.trace"), bytes);
    const { status, out, err } = await ringback("diff", "a.trace", "changed.trace");
    expect({ status, err }).toEqual({ status: 1, err: "" });
    const lines = out.split("\n");
    expect(lines[2]).toBe(`first difference: event ${index}`);
    expect(lines.filter((line) => /^[AB] +\d/.test(line))).toHaveLength(2);
    expect(out).toMatch(/^B .* = -EFAULT$/m);
    expect(out).toContain("  result: A 0, B -14\n");
  });

  it("says where one trace goes on and the other does not", async () => {
    writeFileSync(path("cut.trace"), trace.bytes().subarray(0, trace.chunks[1]!.offset));
    const { status, out } = await ringback("diff", "a.trace", "cut.trace");
    expect(status).toBe(2);
    expect(out).toMatch(/^B has no further event$/m);
  });

  it("says when only the headers differ", async () => {
    writeFileSync(path("seed.trace"), rewritten(trace.bytes(), { header: (header) => ({ ...header, seed: "9" }) }));
    expect(await ringback("diff", "a.trace", "seed.trace")).toMatchObject({
      status: 1,
      out: 'A a.trace\nB seed.trace\nheader seed: A "1", B "9"\n',
    });
  });
});
