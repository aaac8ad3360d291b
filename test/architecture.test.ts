// The import rule over the real import graph of src/: a folder imports only from folders above it and from itself.

import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { describe, expect, test } from "vitest";

/** The rooms from the kernel of determinism down to the command line. */
const ROOMS = ["core", "trace", "cpu", "xen", "devices", "machine", "replay", "fuzz", "debug", "cli"] as const;

/** The only parts of src/devices that may know Xen: the split drivers and the loop that answers ioreqs. */
const DEVICES_THAT_KNOW_XEN = [
  "src/devices/vbd/",
  "src/devices/vnif/",
  "src/devices/split/",
  "src/devices/device-model",
];

/** The only folder that touches files, sockets, terminals and wall-clock time. */
const HOST = "src/cli/host/";

/** Packages that only the command line may use: they parse arguments, draw on terminals or load files. */
const CLI_PACKAGES = ["commander", "cli-progress", "jiti"];

/** What the package exports to others; nobody inside imports it. */
const INDEX = "src/index.ts";

/** What is wrong with `file` importing `specifier`; undefined when nothing is. */
function objection(file: string, specifier: string): string | undefined {
  if (specifier.startsWith("node:")) {
    return file.startsWith(HOST) ? undefined : `only ${HOST} knows the host`;
  }
  if (!specifier.startsWith(".")) {
    const forCli = CLI_PACKAGES.some((name) => specifier === name || specifier.startsWith(`${name}/`));
    return forCli && !file.startsWith("src/cli/") ? "the package is for the command line" : undefined;
  }
  const target = posix.join(posix.dirname(file), specifier);
  if (target === INDEX) return "nothing inside imports what the package exports";
  if (!target.startsWith("src/")) {
    return "src/ imports nothing of the repository's outside itself";
  }
  if (file === INDEX) return undefined;
  const [from, to] = [rank(file), rank(target)];
  if (from === undefined || to === undefined) return "one of the files lies in no room";
  if (to > from) return `${ROOMS[from]} lies above ${ROOMS[to]}`;
  const knowsXen = DEVICES_THAT_KNOW_XEN.some((path) => file.startsWith(path));
  if (ROOMS[from] === "devices" && ROOMS[to] === "xen" && !knowsXen) return "this device may not know Xen";
  return undefined;
}

function rank(file: string): number | undefined {
  const room = ROOMS.findIndex((name) => file.startsWith(`src/${name}/`));
  return room === -1 ? undefined : room;
}

/** The specifiers of all import and export declarations and import() expressions in a TypeScript source. */
function specifiersIn(source: string): string[] {
  const withoutComments = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const declarations = /^\s*(?:import|export)\b[^"';]*?\bfrom\s*["']([^"']+)["']|^\s*import\s*["']([^"']+)["']/gm;
  const expressions = /\bimport\s*\(\s*["'`]([^"'`]+)["'`]/g;
  return [declarations, expressions].flatMap((pattern) =>
    [...withoutComments.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? ""),
  );
}

describe("the import graph of src/", () => {
  const root = posix.join(import.meta.dirname, "..");
  const files = readdirSync(posix.join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((path) => `src/${path.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))
    .sort();

  test("every file lies in a room", () => {
    expect(files.filter((file) => file !== INDEX && rank(file) === undefined)).toEqual([]);
    expect(files).toContain("src/core/clock.ts");
  });

  test("every import keeps to the rule", () => {
    const offences: string[] = [];
    for (const file of files) {
      for (const specifier of specifiersIn(readFileSync(posix.join(root, file), "utf8"))) {
        const problem = objection(file, specifier);
        if (problem !== undefined) offences.push(`${file} imports ${specifier}: ${problem}`);
      }
    }
    expect(offences).toEqual([]);
  });
});

describe("the rule itself", () => {
  test.each([
    ["src/core/clock.ts", "../trace/events.ts"],
    ["src/cpu/vmx/entry.ts", "../../xen/domain.ts"],
    ["src/xen/domain.ts", "../devices/vbd/ring.ts"],
    ["src/machine/machine.ts", "../replay/recorder.ts"],
    ["src/debug/gdb.ts", "../cli/main.ts"],
    ["src/devices/pc/pic.ts", "../../xen/domain.ts"],
    ["src/devices/block/disk.ts", "../../xen/abi.ts"],
    ["src/cli/main.ts", "../index.ts"],
    ["src/index.ts", "./index.ts"],
    ["src/core/clock.ts", "../../test/support/clock.ts"],
    ["src/core/clock.ts", "../loose.ts"],
    ["src/cli/run.ts", "node:fs"],
    ["src/trace/reader.ts", "node:fs/promises"],
    ["src/index.ts", "node:fs"],
    ["src/machine/config.ts", "commander"],
    ["src/fuzz/load.ts", "jiti/register"],
  ])("%s may not import %s", (file, specifier) => {
    expect(objection(file, specifier)).toBeTypeOf("string");
  });

  test.each([
    ["src/core/clock.ts", "./errors.ts"],
    ["src/cpu/vmx/entry.ts", "../state.ts"],
    ["src/xen/domain.ts", "../cpu/state.ts"],
    ["src/devices/vbd/backend.ts", "../../xen/grants.ts"],
    ["src/devices/vbd/backend.ts", "../block/disk.ts"],
    ["src/devices/device-model.ts", "../xen/ioreq.ts"],
    ["src/machine/machine.ts", "../devices/pc/pic.ts"],
    ["src/cli/host/files.ts", "node:fs"],
    ["src/cli/main.ts", "commander"],
    ["src/trace/reader.ts", "cbor-x"],
    ["src/index.ts", "./machine/machine.ts"],
  ])("%s may import %s", (file, specifier) => {
    expect(objection(file, specifier)).toBeUndefined();
  });

  test("imports are found in every form, and not in comments", () => {
    const source = `
      import a from "one";
      import {
        b,
        type C,
      } from './two.ts';
      import type { D } from "three";
      export * from "four";
      export { e } from "five";
      import "six";
      const f = await import("seven");
      // import g from "commented";
      /* import h from "commented"; */
      export const text = "eight";
    `;
    expect(specifiersIn(source).sort()).toEqual(["./two.ts", "five", "four", "one", "seven", "six", "three"].sort());
  });
});
