// Part: virtual time as people write it. A time is shown in milliseconds with all its nanoseconds, and read with any of four units.

import { InputError } from "../core/errors.ts";
import { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, NS_PER_US } from "../core/units.ts";

const UNITS: Readonly<Record<string, number>> = { ns: 1, us: NS_PER_US, ms: NS_PER_MS, s: NS_PER_SECOND };

/** 1234567 is "1.234567 ms". */
export function formatTime(ns: Nanoseconds): string {
  const whole = Math.floor(ns / NS_PER_MS);
  return `${whole}.${String(ns % NS_PER_MS).padStart(6, "0")} ms`;
}

/**
 * A time as a whole number of nanoseconds: "1.5ms" is 1500000. What is finer than a nanosecond is refused, not rounded.
 * @throws InputError on anything but a decimal number with the unit ns, us, ms or s
 */
export function parseTime(text: string): Nanoseconds {
  const match = /^(\d{1,15})(?:\.(\d{1,9}))? ?(ns|us|ms|s)$/.exec(text);
  if (match === null) throw new InputError("not a time such as 1.5ms (units: ns, us, ms, s)", JSON.stringify(text));
  const [, whole = "", fraction = "", unit = ""] = match;
  const unitNs = UNITS[unit]!;
  const scaled = BigInt(whole + fraction) * BigInt(unitNs);
  const divisor = 10n ** BigInt(fraction.length);
  if (scaled % divisor !== 0n) throw new InputError("finer than a nanosecond", JSON.stringify(text));
  const ns = scaled / divisor;
  if (ns > BigInt(Number.MAX_SAFE_INTEGER)) throw new InputError("beyond 2^53 ns", JSON.stringify(text));
  return Number(ns);
}
