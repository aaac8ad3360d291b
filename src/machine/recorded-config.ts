// Part: a machine's configuration as it comes back out of a trace's header: of which nothing is known yet.

import { InputError } from "../core/errors.ts";
import { completeConfig, type FullMachineConfig } from "./config.ts";

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => typeof value === "number";
const isBoolean: Check = (value) => typeof value === "boolean";
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
const mapOf =
  (checks: Readonly<Record<string, Check>>): Check =>
  (value) =>
    typeof value === "object" &&
    value !== null &&
    Object.entries(checks).every(([key, check]) => check((value as Readonly<Record<string, unknown>>)[key]));

const isFault = mapOf({
  operation: isText,
  sector: optional(isNumber),
  count: optional(isNumber),
  oneIn: optional(isNumber),
  times: optional(isNumber),
});

const isDisk = mapOf({
  device: isText,
  image: optional(isText),
  sectors: optional(isNumber),
  readOnly: optional(isBoolean),
  faults: optional(listOf(isFault)),
});

const isDomain = mapOf({
  name: isText,
  kernel: isText,
  modules: optional(listOf(isText)),
  commandLine: optional(isText),
  memoryMiB: isNumber,
  disks: optional(listOf(isDisk)),
});

const isMachine = mapOf({ domains: listOf(isDomain), nsPerInstruction: listOf(isNumber) });

/** @throws InputError when it is no configuration, or one that makes no machine */
export function recordedConfig(machine: unknown): FullMachineConfig {
  if (!isMachine(machine)) throw new InputError("not a machine's configuration", "trace header");
  return completeConfig(machine as FullMachineConfig);
}
