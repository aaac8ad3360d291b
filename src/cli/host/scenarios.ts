// Part: scenarios by name or by module. Bundled ones are part of ringback; a user's is a TypeScript or JavaScript module that imports "ringback".

import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { InputError } from "../../core/errors.ts";
import { defineScenario, type Scenario } from "../../machine/scenario.ts";
import { libraryEntry, scenariosFolder } from "./package.ts";

export interface LoadedScenario {
  readonly scenario: Scenario;
  /** Path of a user's module, relative to the folder that it was named in, with forward slashes. */
  readonly module?: string;
  /** Folder that its `file` images are relative to. */
  readonly folder: string;
}

const MODULE = /\.[cm]?[jt]s$/;

/** Names of the scenarios that come with ringback, in alphabetical order. */
export function bundledScenarios(): string[] {
  if (!existsSync(scenariosFolder)) return [];
  const names = readdirSync(scenariosFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || (MODULE.test(entry.name) && !entry.name.includes(".d.")))
    .map(({ name }) => name.replace(MODULE, ""));
  return [...new Set(names)].sort();
}

/**
 * @param reference a bundled scenario's name, or a path to a module
 * @param cwd folder that a path is relative to; the process's own by default
 * @throws InputError when there is no such scenario or its module does not give one
 */
export async function loadScenario(reference: string, cwd = process.cwd()): Promise<LoadedScenario> {
  if (MODULE.test(reference) || reference.includes("/") || reference.includes(sep)) return loadModule(reference, cwd);
  const bundled = bundledPath(reference);
  if (bundled === undefined) {
    throw new InputError(
      `unknown; there are ${bundledScenarios().join(", ")}, or give a path to a module`,
      `scenario ${reference}`,
    );
  }
  const module = (await import(pathToFileURL(bundled).href)) as { default: Scenario };
  return { scenario: module.default, folder: dirname(bundled) };
}

/**
 * The scenario that a trace names. A user's module is looked for from the working folder, then from the trace's, then beside the trace.
 * @throws InputError when it is nowhere
 */
export async function loadRecordedScenario(
  recorded: { readonly name: string; readonly module?: string },
  cwd: string,
  trace: string,
): Promise<LoadedScenario> {
  const { name, module } = recorded;
  if (module === undefined) return loadScenario(name, cwd);
  const beside = dirname(resolve(cwd, trace));
  const candidates = [resolve(cwd, module), resolve(beside, module), resolve(beside, basename(module))];
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) {
    throw new InputError(
      `its module ${module} is neither below the working folder nor beside the trace`,
      `scenario ${name}`,
    );
  }
  const loaded = await loadModule(found, cwd);
  if (loaded.scenario.name !== name) {
    throw new InputError(`the module now gives ${loaded.scenario.name}, the trace was recorded from ${name}`, found);
  }
  return loaded;
}

function bundledPath(name: string): string | undefined {
  if (!/^[a-z0-9-]+$/.test(name)) return undefined;
  const stem = join(scenariosFolder, name);
  return [`${stem}.js`, `${stem}.ts`, join(stem, "index.js"), join(stem, "index.ts")].find((path) => existsSync(path));
}

async function loadModule(reference: string, cwd: string): Promise<LoadedScenario> {
  const path = resolve(cwd, reference);
  if (!existsSync(path)) throw new InputError("no such file or folder", reference);
  // The module shares this very library, so that its errors are ours; it need not be installed where the module lies.
  const library: unknown = await import(pathToFileURL(libraryEntry).href);
  const { createJiti } = await import("jiti");
  const jiti = createJiti(pathToFileURL(path).href, {
    virtualModules: { ringback: library },
    fsCache: false,
    moduleCache: false,
  });
  let given: unknown;
  try {
    given = await jiti.import(path, { default: true });
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`the module cannot be loaded: ${firstLine(error)}`, reference, { cause: error });
  }
  const module = relative(cwd, path).replaceAll(sep, "/");
  return { scenario: defineScenario(given as Scenario), module, folder: dirname(path) };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}
