// What a person, a file or a script gets wrong: each has its exit status and its one line.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundledScenarios } from "../../src/cli/host/scenarios.ts";
import { PRODUCT } from "../../src/replay/product.ts";
import { EVENT_KINDS } from "../../src/trace/events.ts";
import type { TraceHeader } from "../../src/trace/format.ts";
import { Trace } from "../../src/trace/reader.ts";
import { ringback as run, temporaryFolder } from "../support/command-line.ts";
import { recordedConsole } from "../support/recorded.ts";
import { rewritten } from "../support/rewrite.ts";
import { pvhKernel } from "../xen/support.ts";

const folder = temporaryFolder();
const ringback = (...args: string[]) => run({ cwd: folder.path }, ...args);
const write = (name: string, bytes: Uint8Array | string) => writeFileSync(join(folder.path, name), bytes);

let whole: Trace;

beforeAll(() => {
  const { bytes } = recordedConsole();
  whole = new Trace(bytes);
  const chunk = whole.chunks[2]!;
  const flipped = bytes.slice();
  flipped[chunk.offset + 60]! ^= 4;
  const flippedHeader = bytes.slice();
  flippedHeader[40]! ^= 4;
  write("whole.trace", bytes);
  write("empty.trace", "");
  write("foreign.trace", "#!/bin/sh\necho this is no trace\n");
  write("short.trace", bytes.subarray(0, 100));
  write("header.trace", flippedHeader);
  write("flipped.trace", flipped);
  write("cut.trace", bytes.subarray(0, chunk.offset + 60));
  write("unfinished.trace", bytes.subarray(0, chunk.offset));
  write("newer.trace", rewritten(bytes, { header: (header) => ({ ...header, format: 3, product: "ringback 9.0.0" }) }));
  write(
    "tampered.trace",
    rewritten(bytes, { header: (header) => ({ ...header, seed: "2" }), digest: () => new Uint8Array(16) }),
  );
  write(
    "renamed.trace",
    rewritten(bytes, { header: (header) => ({ ...header, scenario: { name: "no-such-scenario" } }) }),
  );
  write(
    "steering.trace",
    rewritten(bytes, { header: (header) => ({ ...header, scenario: { name: "\x1b]0;mine\x07\x9b2J" } }) }),
  );
  write(
    "image.trace",
    rewritten(bytes, {
      header: (header) => ({ ...header, images: header.images.map((image) => ({ ...image, sha256: "0".repeat(64) })) }),
    }),
  );
  mkdirSync(join(folder.path, "folder.trace"));
});
afterAll(() => folder.remove());

const COMMANDS_ON_FILES = ["replay", "info", "events"] as const;

describe.each(COMMANDS_ON_FILES)("ringback %s", (command) => {
  it.each([
    ["missing.trace", "no such file or folder"],
    ["folder.trace", "is a folder"],
    ["empty.trace", "the file is empty"],
    ["foreign.trace", "not a ringback trace"],
    ["short.trace", "the header is damaged or incomplete (the file ends inside it)"],
    ["header.trace", "the header is damaged or incomplete (its hash does not match)"],
    ["newer.trace", "trace format 3; this ringback reads format 2 (it was recorded by ringback 9.0.0)"],
  ])("refuses %s in one line", async (file, problem) => {
    expect(await ringback(command, file)).toEqual({ status: 2, out: "", err: `ringback: ${file}: ${problem}\n` });
  });

  it("wants a file", async () => {
    expect(await ringback(command)).toEqual({
      status: 2,
      out: "",
      err: "ringback: missing required argument 'file'\n",
    });
  });
});

describe("a trace with a flipped bit", () => {
  it("has its damaged chunk named, and the rest is still shown", async () => {
    const { offset } = whole.chunks[2]!;
    const line = `ringback: flipped.trace: chunk 2 at offset ${offset} cannot be read: its hash does not match\n`;
    const shown = await ringback("events", "flipped.trace");
    expect(shown).toMatchObject({ status: 2, err: line });
    const kept = whole.chunks.reduce((sum, { number, events }) => sum + (number === 2 ? 0 : events), 0);
    expect(shown.out.trimEnd().split("\n")).toHaveLength(kept);
    expect(await ringback("info", "flipped.trace")).toMatchObject({ status: 2, err: line });
  });

  it("is not replayed", async () => {
    const { status, out, err } = await ringback("replay", "flipped.trace");
    expect({ status, out }).toEqual({ status: 2, out: "" });
    expect(err.split("\n").at(-2)).toBe(
      `ringback: chunk 2: its hash does not match (offset ${whole.chunks[2]!.offset})`,
    );
  });

  it("is not compared", async () => {
    const { status, err } = await ringback("diff", "whole.trace", "flipped.trace");
    expect(status).toBe(2);
    expect(err).toBe(
      `ringback: flipped.trace: chunk 2 at offset ${whole.chunks[2]!.offset} cannot be read: its hash does not match\n`,
    );
  });
});

describe("a trace that was not finished", () => {
  const kept = () => whole.chunks[2]!.first;

  it("replays up to its last whole chunk, and says that it is no more than that", async () => {
    const unfinished = await ringback("replay", "unfinished.trace");
    expect(unfinished.status).toBe(2);
    expect(unfinished.err).toBe(
      `ringback: unfinished.trace: the recording was not finished; it holds ${kept()} events in 2 whole chunks\n`,
    );
    expect(unfinished.out).toMatch(
      new RegExp(`^identical {2}${kept()} events in 2 chunks up to the last whole chunk\n`),
    );
  });

  it("may end inside a record", async () => {
    const cut = await ringback("replay", "cut.trace");
    expect(cut.status).toBe(2);
    expect(cut.err).toBe(
      `ringback: cut.trace: chunk 2 at offset ${whole.chunks[2]!.offset} cannot be read: the file ends inside it\n` +
        `ringback: cut.trace: the recording was not finished; it holds ${kept()} events in 2 whole chunks\n`,
    );
    expect(cut.out).toContain("identical");
  });

  it("is shown as far as it goes", async () => {
    const { status, out } = await ringback("events", "cut.trace");
    expect(status).toBe(2);
    expect(out.trimEnd().split("\n")).toHaveLength(kept());
    expect((await ringback("info", "cut.trace")).out).toMatch(/^ {2}end +none$/m);
  });
});

describe("a replay", () => {
  it("that diverges has status 1 and prints its report", async () => {
    const { status, out, err } = await ringback("replay", "tampered.trace");
    expect({ status, err }).toEqual({ status: 1, err: "" });
    expect(out).toMatch(/^diverged behind event \d+: all events of chunk 0 agree/);
  });

  it("that diverges says when another version recorded", async () => {
    const { bytes } = recordedConsole();
    const older = { header: (header: TraceHeader) => ({ ...header, product: "ringback 0.0.1" }) };
    write("older.trace", rewritten(bytes, { ...older, digest: () => new Uint8Array(16) }));
    expect((await ringback("replay", "older.trace")).out).toContain(
      `\nThe trace was recorded by ringback 0.0.1; this is ${PRODUCT}.\n`,
    );
    write("same.trace", rewritten(bytes, older));
    expect(await ringback("replay", "same.trace")).toMatchObject({ status: 0, err: "" });
  });

  it("wants the scenario that was recorded", async () => {
    const names = bundledScenarios().join(", ");
    expect(await ringback("replay", "renamed.trace")).toEqual({
      status: 2,
      out: "",
      err: `ringback: scenario no-such-scenario: unknown; there are ${names}, or give a path to a module\n`,
    });
  });

  it("lets no file steer the terminal", async () => {
    const { status, err } = await ringback("replay", "steering.trace");
    expect(status).toBe(2);
    expect(err).toMatch(/^ringback: scenario {2}\]0;mine 2J: unknown; /);
  });

  it("wants the images that were recorded", async () => {
    const { status, err } = await ringback("replay", "image.trace");
    expect(status).toBe(2);
    expect(err).toMatch(
      /^ringback: image guest: differs from the one the trace was recorded with \(SHA-256 [0-9a-f]{64}, \d+ bytes; recorded 0{64}, \d+ bytes\)\n$/,
    );
  });
});

describe("a recording", () => {
  it("replaces no file that exists, unless it is told to", async () => {
    write("kept.trace", "precious");
    expect(await ringback("record", "console-input", "-o", "kept.trace")).toMatchObject({
      status: 2,
      err: "ringback: kept.trace: exists already; --force replaces it\n",
    });
    expect(readFileSync(join(folder.path, "kept.trace"), "utf8")).toBe("precious");
    expect(await ringback("record", "console-input", "-o", "kept.trace", "--force")).toMatchObject({
      status: 0,
      err: "",
    });
    expect((await ringback("replay", "kept.trace")).status).toBe(0);
  });

  it("wants to know where to", async () => {
    expect(await ringback("record", "console-input")).toMatchObject({
      status: 2,
      err: "ringback: required option '-o, --output <file>' not specified\n",
    });
  });

  it("into a folder that is not there says so", async () => {
    expect(await ringback("record", "console-input", "-o", "nowhere/a.trace")).toMatchObject({
      status: 2,
      err: "ringback: nowhere/a.trace: no such file or folder\n",
    });
  });

  it("of a machine that cannot be built leaves no file behind", async () => {
    write("no-elf.js", module({ images: "{ guest: { build: () => new Uint8Array(100) } }" }));
    const before = readdirSync(folder.path);
    const { status, err } = await ringback("record", "./no-elf.js", "-o", "none.trace");
    expect(status).toBe(2);
    expect(err).toMatch(/^ringback: .*\n$/);
    expect(readdirSync(folder.path)).toEqual(before);
  });

  it("at the console of a domain that there is not says which there are", async () => {
    expect(await ringback("record", "console-input", "-o", "none.trace", "-i", "--domain", "other")).toMatchObject({
      status: 2,
      err: "ringback: domain other: the scenario has no such domain; it has guest\n",
    });
  });
});

/** A user's module, in JavaScript, with some of its parts replaced. */
function module(parts: Readonly<Record<string, string>> = {}): string {
  const all: Record<string, string> = {
    name: '"mine"',
    why: '"to be wrong"',
    images: '{ guest: { guest: "first-light" } }',
    machine: '{ domains: [{ name: "guest", kernel: "guest", commandLine: "mode=console", memoryMiB: 16 }] }',
    expect: "{ fails: () => false }",
    ...parts,
  };
  const text = Object.entries(all).map(([key, value]) => `${key}: ${value}`);
  return `export default { ${text.join(", ")} };\n`;
}

describe("a scenario", () => {
  it.each([
    [
      "unknown",
      undefined,
      () => `scenario unknown: unknown; there are ${bundledScenarios().join(", ")}, or give a path to a module`,
    ],
    ["./missing.ts", undefined, () => "./missing.ts: no such file or folder"],
    ["./syntax.js", "export default {", () => /^ringback: \.\/syntax\.js: the module cannot be loaded: .+\n$/],
    ["./throws.ts", 'throw new Error("not today");', () => "./throws.ts: the module cannot be loaded: not today"],
    [
      "./nothing.js",
      "export const x = 1;",
      () => "scenario without a name: its name must be lower-case words joined by hyphens",
    ],
    ["./why.js", module({ why: '""' }), () => "scenario mine: it does not say why it exists"],
    ["./machine.js", module({ machine: "{}" }), () => "scenario mine: it needs images and a machine with domains"],
    ["./expect.js", module({ expect: "{}" }), () => "scenario mine: it expects nothing"],
    [
      "./expectation.js",
      module({ expect: "{ it: true }" }),
      () => 'scenario mine: its expectation "it" is no function',
    ],
    ["./images.js", module({ images: "null" }), () => "scenario mine: it needs images and a machine with domains"],
    [
      "./image.js",
      module({ images: "{ guest: { guest: 1 } }" }),
      () => "scenario mine: its image guest is none of { guest }, { package, path }, { file }, { build }",
    ],
    [
      "./input.js",
      module({ input: '[{ domain: "other", type: "x" }]' }),
      () => "scenario mine: input for the domain other, which it does not have",
    ],
    [
      "./typed.js",
      module({ input: '[{ domain: "guest", type: "\u20ac" }]' }),
      () => 'scenario mine: its input "\u20ac" is no Latin-1 character',
    ],
    [
      "./guest.js",
      module({ images: '{ guest: { guest: "nobody" } }' }),
      () => "guest nobody: ringback has no such guest",
    ],
    ["./kernel.js", module({ images: "{}" }), () => "image guest: the scenario has no such image"],
    [
      "./package.js",
      module({ images: '{ guest: { package: "no-such-package", path: "usr/lib/nothing" } }' }),
      () =>
        "Debian package no-such-package: usr/lib/nothing is not there; scripts/fetch-guests.sh in a checkout of ringback fetches it",
    ],
    [
      "./build.js",
      module({ images: "{ guest: { build: () => null.x } }" }),
      () => /^ringback: image guest: cannot be built: TypeError: .+\n$/,
    ],
    [
      "./bytes.js",
      module({ images: '{ guest: { build: () => "text" } }' }),
      () => "image guest: its build gives no bytes",
    ],
    [
      "./memory.js",
      module({ machine: '{ domains: [{ name: "guest", kernel: "guest", memoryMiB: 1 }] }' }),
      () => "machine configuration, domain guest: must be at least 2 MiB",
    ],
  ])("%s is refused in one line", async (reference, text, expected) => {
    if (text !== undefined) write(reference, text);
    const { status, out, err } = await ringback("run", reference);
    expect({ status, out }).toEqual({ status: 2, out: "" });
    const line = expected();
    if (typeof line === "string") expect(err).toBe(`ringback: ${line}\n`);
    else expect(err).toMatch(line);
  });

  it("whose expectation fails has status 1 and says which", async () => {
    write("fails.js", module());
    const { status, out, err } = await ringback("run", "./fails.js");
    expect({ status, err }).toEqual({ status: 1, err: "" });
    expect(out).toMatch(/^FAILED {2}fails$/m);
  });

  it("whose expectation gives a promise has not held", async () => {
    write("promise.js", module({ expect: "{ later: async () => true }" }));
    const { status, out } = await ringback("run", "./promise.js");
    expect(status).toBe(1);
    expect(out).toMatch(/^FAILED {2}later \(it gives a promise, not true or false\)$/m);
  });
});

describe("a guest that does what ringback does not model", () => {
  // fninit; fldz; fsin; hlt
  const sine = pvhKernel([0xdb, 0xe3, 0xd9, 0xee, 0xd9, 0xfe, 0xf4]);
  const line = "ringback: not modelled: x87 instruction FSIN\n";

  it("ends its run with status 1 and a line; the recording is whole and replays", async () => {
    write("sine.elf", sine);
    write(
      "sine.js",
      module({
        images: '{ guest: { file: "sine.elf" } }',
        machine: '{ domains: [{ name: "guest", kernel: "guest", memoryMiB: 4 }] }',
        expect: '{ "it ends": (run) => run.reason.startsWith("not modelled") }',
      }),
    );
    expect(await ringback("run", "./sine.js")).toMatchObject({ status: 1, err: line });
    expect(await ringback("record", "./sine.js", "-o", "sine.trace")).toMatchObject({ status: 1, err: line });
    expect(await ringback("replay", "sine.trace")).toMatchObject({ status: 0, err: "" });
  });

  it("is not replayed with another file in its image's place, nor without it", async () => {
    write("sine.elf", pvhKernel([0xf4]));
    expect(await ringback("replay", "sine.trace")).toMatchObject({
      status: 2,
      err: expect.stringMatching(/^ringback: image guest: differs from the one the trace was recorded with /),
    });
    rmSync(join(folder.path, "sine.elf"));
    expect(await ringback("replay", "sine.trace")).toMatchObject({
      status: 2,
      err: `ringback: ${join(folder.path, "sine.elf")}: no such file or folder\n`,
    });
    rmSync(join(folder.path, "sine.js"));
    expect(await ringback("replay", "sine.trace")).toMatchObject({
      status: 2,
      err: "ringback: scenario mine: its module sine.js is neither below the working folder nor beside the trace\n",
    });
  });
});

describe("the command line", () => {
  it("suggests the command that was meant", async () => {
    expect(await ringback("reply", "x")).toEqual({
      status: 2,
      out: "",
      err: "ringback: unknown command 'reply' (Did you mean replay?)\n",
    });
  });

  it("refuses unknown options", async () => {
    expect(await ringback("run", "console-input", "--sede", "1")).toEqual({
      status: 2,
      out: "",
      err: "ringback: unknown option '--sede' (Did you mean --seed?)\n",
    });
  });

  it("refuses arguments too many", async () => {
    expect(await ringback("info", "whole.trace", "cut.trace")).toMatchObject({
      status: 2,
      err: "ringback: too many arguments for 'info'. Expected 1 argument but got 2.\n",
    });
  });

  it.each(["debug", "fuzz", "shrink", "export", "view"])("says that %s is not built yet", async (command) => {
    expect(await ringback(command, "x", "--any")).toEqual({
      status: 2,
      out: "",
      err: `ringback: ${command} is not built yet\n`,
    });
    expect((await ringback("--help")).out).not.toContain(command);
  });

  it("without a command shows its help as an error", async () => {
    const { status, out, err } = await ringback();
    expect({ status, out }).toEqual({ status: 2, out: "" });
    expect(err).toMatch(/^Usage: ringback /);
  });

  it("names the kinds of events when it is asked for another", async () => {
    const names = Object.keys(EVENT_KINDS).join(", ");
    expect(await ringback("events", "whole.trace", "--kind", "vm-exit,nonsense")).toEqual({
      status: 2,
      out: "",
      err: `ringback: --kind nonsense: no kind of event; there are ${names}\n`,
    });
  });

  it.each(["5", "1.5 minutes", "-1ms", "1.0000001us", "99999999s"])("refuses the time %s", async (time) => {
    const { status, err } = await ringback("events", "whole.trace", `--from=${time}`);
    expect(status).toBe(2);
    expect(err).toMatch(/^ringback: option '--from <time>' argument '.+' is invalid\. .+\n$/);
  });

  it("refuses a span that ends before it begins", async () => {
    expect(await ringback("events", "whole.trace", "--from", "2ms", "--to", "1ms")).toMatchObject({
      status: 2,
      err: "ringback: --from: is later than --to\n",
    });
  });

  it("calls its own bugs by their name, with what a report needs", async () => {
    const broken = {
      cwd: folder.path,
      progress: () => {
        throw new RangeError("something slipped");
      },
    };
    const { status, err } = await run(broken, "run", "console-input");
    expect(status).toBe(3);
    expect(err).toMatch(/^ringback: this is a bug of ringback's own\. Please report it/);
    expect(err).toContain(PRODUCT);
    expect(err).toContain("ringback run console-input");
    expect(err).toContain("RangeError: something slipped");
  });
});
