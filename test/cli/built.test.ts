// The program as it is installed: compiled, started as a process, with real files, pipes and signals.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { Trace } from "../../src/trace/reader.ts";
import { program } from "../support/build.ts";
import { temporaryFolder } from "../support/command-line.ts";

const folder = temporaryFolder();
const cwd = folder.path;
afterAll(() => folder.remove());

const ringback = (args: readonly string[], input = "") => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { cwd, input, encoding: "utf8" });
  return { status, out: stdout, err: stderr };
};

/** Three guests, each with a disk of its own and much to do on it: some seconds of work. */
const LONG = `import { defineScenario } from "ringback";

const names = ["one", "two", "three"];

export default defineScenario({
  name: "long",
  why: "To be killed in the middle.",
  images: { guest: { guest: "first-light" } },
  machine: {
    domains: names.map((name) => ({
      name,
      kernel: "guest",
      commandLine: "sectors=30000",
      memoryMiB: 16,
      disks: [{ device: "xvda", sectors: 65536 }],
    })),
  },
  expect: { "all power off": (run) => names.every((name) => run.ended(name) === "poweroff") },
});
`;

/** What the README shows under its two commands. */
const readmeDemo =
  /npm start\n([\s\S]*?)```/.exec(readFileSync(join(import.meta.dirname, "../../README.md"), "utf8"))?.[1] ?? "missing";

/** Figures change with every change of the machine; the words must not drift apart. */
function withoutNumbers(text: string): string {
  return text
    .replaceAll(/\b[0-9a-f]{8,64}\b|\d+(\.\d+)?/g, "N")
    .replaceAll(/[ \t]+/g, " ")
    .trim();
}

async function exited(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const [code] = (await once(child, "exit")) as [number | null];
  return code;
}

/** Starts a recording of the long scenario and waits until the file holds more than one chunk. */
async function recording(file: string): Promise<ChildProcess> {
  writeFileSync(join(cwd, "long.ts"), LONG);
  const child = spawn(process.execPath, [program, "record", "./long.ts", "-o", file], { cwd, stdio: "ignore" });
  const path = join(cwd, file);
  while (!existsSync(path) || statSync(path).size < 600_000) {
    expect(child.exitCode).toBeNull();
    await wait(5);
  }
  return child;
}

describe("the installed program", () => {
  it("shows in its demo that a recording replays", () => {
    const { status, out, err } = ringback(["demo"]);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain("xvda: verified");
    expect(out).toMatch(/^ {2}blkif-request +\d+$/m);
    expect(out).toMatch(/^identical {2}\d+ events in \d+ chunks?\nSHA-256 {4}[0-9a-f]{64}$/m);
    // In any order: the table of kinds is sorted by figures. (npx jiti scripts/readme-demo.ts writes the README's.)
    expect(withoutNumbers(out).split("\n")).toEqual(expect.arrayContaining(withoutNumbers(readmeDemo).split("\n")));
    const trace = /ringback events (\S+)/.exec(out)?.[1];
    expect(ringback(["replay", trace ?? ""])).toMatchObject({ status: 0 });
  });

  it("says its version", () => {
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"));
    expect(ringback(["--version"])).toEqual({ status: 0, out: `ringback ${version}\n`, err: "" });
  });

  it("records what comes through a pipe, and replays it without", () => {
    expect(ringback(["record", "console-input", "-i", "-o", "piped.trace"], "sum 1 2\nexit\n")).toMatchObject({
      status: 0,
      out: expect.stringContaining("\n3\n"),
    });
    expect(ringback(["replay", "piped.trace"])).toMatchObject({ status: 0, err: "" });
  });

  it("killed in mid-run leaves a trace that replays up to its last whole chunk", async () => {
    const child = await recording("killed.trace");
    child.kill("SIGKILL");
    await exited(child);
    const trace = new Trace(new Uint8Array(readFileSync(join(cwd, "killed.trace"))));
    expect(trace.end).toBeUndefined();
    expect(trace.chunks.length).toBeGreaterThan(1);
    const events = trace.chunks.reduce((sum, chunk) => sum + chunk.events, 0);
    const { status, out, err } = ringback(["replay", "killed.trace"]);
    expect(status).toBe(2);
    expect(out).toContain(`identical  ${events} events in ${trace.chunks.length} chunks up to the last whole chunk\n`);
    expect(err).toContain("killed.trace: the recording was not finished");
  });

  it("interrupted closes its trace, which replays as a whole", async () => {
    const child = await recording("interrupted.trace");
    child.kill("SIGINT");
    expect(await exited(child)).toBe(1);
    const { status, out } = ringback(["replay", "interrupted.trace"]);
    expect(status).toBe(0);
    expect(out).toMatch(/^identical {2}\d+ events in \d+ chunks\n/);
    expect(ringback(["info", "interrupted.trace"]).out).toMatch(/^ {2}end +stopped from outside, /m);
  });

  it("is silent when its reader has seen enough", () => {
    const command = `"${process.execPath}" "${program}" events interrupted.trace | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync("bash", ["-c", command], { cwd, encoding: "utf8" });
    expect(stderr).toBe("");
    expect(stdout.split("\n")).toHaveLength(3);
    expect(stdout).toMatch(/\n0\n$/);
  });
});
