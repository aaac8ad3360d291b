// Program: records every bundled scenario on this Node, a newer Node and Bun, and compares the SHA-256 of the traces: a table, and exit status 1
// on a difference. The other engines are npm packages, installed where git does not look, and never a dependency.
//
//   npm run build && npx jiti scripts/compare-engines.ts
//
// A scenario that needs Debian's packages is left out, with a word, where scripts/fetch-guests.sh has not run.

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../src/cli/host/package.ts";
import { bundledScenarios, loadScenario } from "../src/cli/host/scenarios.ts";

const cache = join(packageRoot, "bench", ".cache");
const ringback = join(packageRoot, "dist", "src", "cli", "main.js");

/** npm packages, and the programs that they install. */
const PACKAGES = [
  { name: "node@24", program: "node" },
  { name: "bun@1", program: "bun" },
] as const;
/** A recording takes some seconds; an engine that needs this long does not work. */
const LONGEST_RECORDING_MS = 120_000;

interface Engine {
  readonly name: string;
  readonly path: string;
}

function installedEngines(): Engine[] {
  const programs = PACKAGES.map(({ name, program }) => ({ name, path: join(cache, "node_modules", ".bin", program) }));
  const missing = programs.filter(({ path }) => !existsSync(path)).map(({ name }) => name);
  if (missing.length > 0) {
    execFileSync("npm", ["install", "--prefix", cache, "--no-audit", "--no-fund", ...missing], { stdio: "inherit" });
  }
  return [{ name: "node", path: process.execPath }, ...programs].map(({ name, path }) => {
    const version = execFileSync(path, ["--version"], { encoding: "utf8" }).trim();
    return { name: `${name.replace(/@.*/, "")} ${version}`, path };
  });
}

/** SHA-256 of the trace that the engine records, or why there is none. */
function traceHash(engine: Engine, scenario: string, folder: string): string {
  const trace = join(folder, `${scenario}.trace`);
  rmSync(trace, { force: true });
  const { status, signal, stderr } = spawnSync(engine.path, [ringback, "record", scenario, "-o", trace], {
    encoding: "utf8",
    timeout: LONGEST_RECORDING_MS,
  });
  if (status !== 0) return `failed (${signal ?? `status ${status}`}): ${stderr.trim().split("\n").at(-1)}`;
  return createHash("sha256").update(readFileSync(trace)).digest("hex");
}

async function needsPackages(name: string): Promise<boolean> {
  const { scenario } = await loadScenario(name, packageRoot);
  return Object.values(scenario.images).some((source) => "package" in source);
}

const engines = installedEngines();
const folder = mkdtempSync(join(tmpdir(), "ringback-engines-"));
let different = 0;
for (const scenario of bundledScenarios()) {
  if ((await needsPackages(scenario)) && !existsSync(join(packageRoot, "guests", ".cache", "usr"))) {
    console.log(`${scenario}: skipped, scripts/fetch-guests.sh has not run`);
    continue;
  }
  const hashes = engines.map((engine) => traceHash(engine, scenario, folder));
  const same = hashes.every((hash) => hash === hashes[0] && /^[0-9a-f]{64}$/.test(hash));
  console.log(`${scenario}: ${same ? "identical" : "DIFFERENT"}`);
  for (const [index, { name }] of engines.entries()) console.log(`  ${name.padEnd(16)} ${hashes[index]}`);
  if (!same) different++;
}
rmSync(folder, { recursive: true });
process.exitCode = different === 0 ? 0 : 1;
