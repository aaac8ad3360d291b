// Part: named limits. Every buffer, queue and loop that somebody else can make grow has one, with the reason beside it.

import { InputError } from "./errors.ts";

export interface Limit {
  /** What is counted, in the plural: "grant entries". */
  readonly of: string;
  readonly maximum: number;
  /** Why the maximum is what it is; ends the sentence "at most ... because ...". */
  readonly because: string;
}

/** @throws InputError when `amount` is above the limit; `context` says whose amount it is */
export function checkLimit(limit: Limit, amount: number, context: string): void {
  if (amount <= limit.maximum) return;
  throw new InputError(`${amount} ${limit.of}, at most ${limit.maximum} because ${limit.because}`, context);
}
