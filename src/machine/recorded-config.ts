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
const recordOf =
  (check: Check): Check =>
  (value) =>
    typeof value === "object" && value !== null && Object.values(value).every(check);
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

const isNic = mapOf({
  model: isText,
  address: isText,
  network: isText,
  port: optional(isNumber),
  irq: optional(isNumber),
  slot: optional(isNumber),
});

const isLink = mapOf({
  bitsPerSecond: optional(isNumber),
  latencyNs: optional(isNumber),
  fullDuplex: optional(isBoolean),
  faults: optional(recordOf(isNumber)),
});

const isHost = mapOf({
  name: isText,
  address: isText,
  ip: isText,
  dhcp: optional(
    mapOf({
      first: isText,
      count: isNumber,
      leaseSeconds: isNumber,
      netmask: isText,
      router: optional(isText),
      dns: optional(isText),
      nextServer: optional(isText),
      bootFile: optional(isText),
    }),
  ),
  tftp: optional(recordOf(isText)),
  dns: optional(recordOf(isText)),
  udpEcho: optional(isBoolean),
  ping: optional(mapOf({ to: isText, sizes: listOf(isNumber), startNs: isNumber, intervalNs: isNumber })),
});

const isNetwork = mapOf({
  name: isText,
  link: optional(isLink),
  hosts: optional(listOf(isHost)),
  peers: optional(listOf(mapOf({ name: isText, capture: isText }))),
});

const isBoard = mapOf({
  kind: isText,
  firmware: isText,
  optionRoms: optional(recordOf(isText)),
  serialConsole: optional(isBoolean),
  bootMenuMs: optional(isNumber),
  showsXen: optional(isBoolean),
  nics: optional(listOf(isNic)),
});

const isDomain = mapOf({
  name: isText,
  kernel: optional(isText),
  board: optional(isBoard),
  modules: optional(listOf(isText)),
  commandLine: optional(isText),
  memoryMiB: isNumber,
  disks: optional(listOf(isDisk)),
});

const isMachine = mapOf({
  domains: listOf(isDomain),
  networks: optional(listOf(isNetwork)),
  nsPerInstruction: listOf(isNumber),
});

/** @throws InputError when it is no configuration, or one that makes no machine */
export function recordedConfig(machine: unknown): FullMachineConfig {
  if (!isMachine(machine)) throw new InputError("not a machine's configuration", "trace header");
  return completeConfig(machine as FullMachineConfig);
}
