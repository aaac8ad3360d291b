// Part: the shape of a machine's configuration, as tables: what settings there are and what kind of value each takes. A configuration comes
// from a scenario's module or out of a trace's header, and of neither is anything known before. What the values mean is checked in config.ts.

import { InputError } from "../core/errors.ts";

/** @throws InputError unless `value` has the shape; `where` names the setting */
type Shape = (value: unknown, where: string) => void;

/** A setting that may be left out. */
interface Optional {
  readonly optional: Shape;
}

export function check(condition: boolean, where: string, wanted: string): void {
  if (!condition) throw new InputError(`must be ${wanted}`, `machine configuration, ${where}`);
}

export function isPositive(value: number): boolean {
  return isWithin(value, 1, Number.MAX_SAFE_INTEGER);
}

/** Of an integer. */
export function isWithin(value: number, low: number, high: number): boolean {
  return value >= low && value <= high;
}

const text: Shape = (value, where) => check(typeof value === "string", where, "text");
const integer: Shape = (value, where) => check(Number.isSafeInteger(value), where, "an integer");
const flag: Shape = (value, where) => check(typeof value === "boolean", where, "true or false");
const plain: Shape = (value, where) =>
  check(
    ["string", "boolean"].includes(typeof value) || Number.isSafeInteger(value),
    where,
    "text, an integer or a flag",
  );
const optional = (shape: Shape): Optional => ({ optional: shape });

const listOf =
  (shape: Shape): Shape =>
  (value, where) => {
    check(Array.isArray(value), where, "a list");
    for (const [index, element] of (value as readonly unknown[]).entries()) shape(element, `${where}[${index}]`);
  };

/** Values by names of the user's own. */
const tableOf =
  (shape: Shape): Shape =>
  (value, where) => {
    check(isTable(value), where, "a table");
    for (const [name, element] of Object.entries(value as object)) shape(element, `${where}.${name}`);
  };

/** Settings by their names, and no others: a misspelt one would be silently without effect. */
const settings =
  (shapes: Readonly<Record<string, Shape | Optional>>): Shape =>
  (value, where) => {
    check(isTable(value), where, "a table of settings");
    const given = value as Readonly<Record<string, unknown>>;
    const within = (name: string) => (where === "" ? name : `${where}.${name}`);
    for (const name of Object.keys(given)) {
      check(Object.hasOwn(shapes, name), within(name), `one of the settings ${Object.keys(shapes).join(", ")}`);
    }
    for (const [name, shape] of Object.entries(shapes)) {
      if (typeof shape === "function") shape(given[name], within(name));
      else if (given[name] !== undefined) shape.optional(given[name], within(name));
    }
  };

function isTable(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const FAULT = settings({
  operation: text,
  sector: optional(integer),
  count: optional(integer),
  oneIn: optional(integer),
  times: optional(integer),
});

const DISK = settings({
  device: text,
  image: optional(text),
  sectors: optional(integer),
  type: optional(text),
  readOnly: optional(flag),
  attached: optional(flag),
  features: optional(
    settings({
      flush: optional(flag),
      barrier: optional(flag),
      discard: optional(flag),
      discardGranularity: optional(integer),
      discardAlignment: optional(integer),
      persistentGrants: optional(flag),
      indirectSegments: optional(integer),
      ringPageOrder: optional(integer),
    }),
  ),
  faults: optional(listOf(FAULT)),
  service: optional(settings({ operationNs: integer, perSectorNs: integer, jitterNs: integer })),
});

const ACTION = settings({
  action: text,
  domain: text,
  disk: optional(text),
  sectors: optional(integer),
  atNs: optional(integer),
  after: optional(text),
});

const LINK = settings({
  bitsPerSecond: optional(integer),
  latencyNs: optional(integer),
  fullDuplex: optional(flag),
  maxFrame: optional(integer),
  faults: optional(tableOf(integer)),
});

const NIC = settings({
  model: text,
  address: text,
  link: optional(LINK),
  port: optional(integer),
  irq: optional(integer),
  slot: optional(integer),
});

const DHCP = settings({
  first: text,
  count: integer,
  leaseSeconds: integer,
  netmask: text,
  router: optional(text),
  dns: optional(text),
  nextServer: optional(text),
  bootFile: optional(text),
});

const HOST = settings({
  name: text,
  address: text,
  ip: text,
  link: optional(LINK),
  dhcp: optional(DHCP),
  tftp: optional(tableOf(text)),
  dns: optional(tableOf(text)),
  udpEcho: optional(flag),
  ping: optional(settings({ to: text, sizes: listOf(integer), startNs: integer, intervalNs: integer })),
});

const NETWORK = settings({
  hosts: optional(listOf(HOST)),
  peers: optional(listOf(settings({ name: text, capture: text, link: optional(LINK) }))),
});

const BOARD = settings({
  kind: text,
  firmware: optional(text),
  optionRoms: optional(tableOf(text)),
  serialConsole: optional(flag),
  bootMenuMs: optional(integer),
  showsXen: optional(flag),
  xenPlatform: optional(flag),
  nics: optional(listOf(NIC)),
});

const VIF = settings({
  address: text,
  link: optional(LINK),
  rate: optional(settings({ bytes: integer, microseconds: integer })),
});

const DOMAIN = settings({
  name: text,
  kernel: optional(text),
  board: optional(BOARD),
  onReboot: optional(text),
  modules: optional(listOf(text)),
  commandLine: optional(text),
  memoryMiB: integer,
  weight: optional(integer),
  cap: optional(integer),
  disks: optional(listOf(DISK)),
  vifs: optional(listOf(VIF)),
});

const MODEL = settings({
  name: text,
  program: text,
  parameters: optional(tableOf(plain)),
  pages: optional(integer),
  disks: optional(listOf(DISK)),
  vifs: optional(listOf(VIF)),
});

const MACHINE = settings({
  domains: listOf(DOMAIN),
  models: optional(listOf(MODEL)),
  network: optional(NETWORK),
  actions: optional(listOf(ACTION)),
  faults: optional(listOf(text)),
  nsPerInstruction: optional(listOf(integer)),
  tscKhz: optional(integer),
  exitCostNs: optional(integer),
  quantumNs: optional(integer),
  controlDomainLatencyNs: optional(integer),
  startDateSeconds: optional(integer),
  timeLimitNs: optional(integer),
});

/**
 * A copy of a configuration that has the right shape; settings that are there and undefined are left out.
 * @throws InputError naming the first setting that is none, is missing, or is of another kind
 */
export function checkedShape<T>(machine: T): T {
  MACHINE(machine, "");
  return withoutUndefined(machine) as T;
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, element]) => element !== undefined);
  return Object.fromEntries(entries.map(([name, element]) => [name, withoutUndefined(element)]));
}
