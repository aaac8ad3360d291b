// The examples, run as a user runs them: the package by its name, out of the build.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { program } from "../support/build.ts";
import { temporaryFolder } from "../support/command-line.ts";

const root = join(import.meta.dirname, "..", "..");
const folder = temporaryFolder();
afterAll(() => folder.remove());

function node(...args: string[]): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder.path, encoding: "utf8" });
  return { status, out: stdout, err: stderr };
}

const jiti = join(root, "node_modules", "jiti", "lib", "jiti-cli.mjs");
const example = (name: string, ...args: string[]) => node(jiti, join(root, "examples", name), ...args);

/** What shows that each example did what it says. */
const EXAMPLES: Readonly<Record<string, () => { status: number | null; out: string; err: string }>> = {
  "count-exits.ts": () => {
    const ran = example("count-exits.ts");
    expect(ran.out).toMatch(/^ +\d+ {2}VMCALL$/m);
    expect(ran.out).toMatch(/^trace [0-9a-f]{64}$/m);
    return ran;
  },
  "own-scenario.ts": () => {
    const ran = node(program, "run", join(root, "examples", "own-scenario.ts"));
    expect(ran.out).toMatch(/^held {2}only one met errors$/m);
    expect(ran.out).toMatch(/^shaky: xvda: survived \d+ disk errors?$/m);
    return ran;
  },
  "read-trace.ts": () => {
    expect(node(program, "record", "first-light", "-o", "first-light.trace").status).toBe(0);
    const ran = example("read-trace.ts", "first-light.trace");
    expect(ran.out).toMatch(/^first-light, seed 1: \d+ events$/m);
    expect(ran.out).toMatch(/xenstore +d1 -> DIRECTORY request 1 "device\/vbd\\0"$/m);
    return ran;
  },
  "replay-and-report.ts": () => {
    const ran = example("replay-and-report.ts");
    expect(ran.out).toMatch(/^identical\ndiverged /);
    expect(ran.out).toMatch(/^> [0-9a-f]{8} /m);
    return ran;
  },
};

describe("the examples", () => {
  it("are all run here", () => {
    expect(readdirSync(join(root, "examples")).sort()).toEqual(Object.keys(EXAMPLES).sort());
  });

  it.each(Object.keys(EXAMPLES))("%s does what it says", (name) => {
    expect(EXAMPLES[name]!()).toMatchObject({ status: 0, err: "" });
  });
});
