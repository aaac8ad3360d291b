// Part: arguments and options that several commands share.

import { type Command, InvalidArgumentError, Option } from "commander";
import { InputError } from "../../core/errors.ts";
import { parseTime } from "../../debug/time.ts";
import { bundledScenarios } from "../host/scenarios.ts";

/** The seed of who does not care. */
export const DEFAULT_SEED = "1";

export function seedOption(command: Command): Command {
  return command.addOption(
    new Option("--seed <text>", "what the machine's random streams grow from").default(DEFAULT_SEED),
  );
}

export function scenarioArgument(command: Command): Command {
  return command
    .argument("<scenario>", "a bundled scenario's name, or a path to a TypeScript or JavaScript module")
    .addHelpText("after", () => `\nBundled scenarios: ${bundledScenarios().join(", ")}`);
}

export const TRACE_ARGUMENT = ["<file>", "a trace"] as const;

/** For options that take a time. */
export function timeArgument(text: string): number {
  try {
    return parseTime(text);
  } catch (error) {
    if (error instanceof InputError) throw new InvalidArgumentError(error.problem);
    throw error;
  }
}
