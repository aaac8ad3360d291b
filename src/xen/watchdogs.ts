// Part: a domain's watchdogs (sched.h, SCHEDOP_watchdog): timers that end the domain unless it sets them again in time.

import type { Alarm, Clock } from "../core/clock.ts";
import { NS_PER_SECOND } from "../core/units.ts";
import { ERRNO_H as E } from "./abi/constants.ts";

/** NR_DOMAIN_WATCHDOG_TIMERS. */
const WATCHDOGS = 2;

export class Watchdogs {
  readonly #clock: Clock;
  readonly #alarms: readonly Alarm[];

  /** @param name of the domain's alarms; @param expired ends the domain */
  constructor(name: string, clock: Clock, expired: () => void) {
    this.#clock = clock;
    this.#alarms = Array.from({ length: WATCHDOGS }, (_, index) =>
      clock.alarm(`${name} watchdog${index + 1}`, expired),
    );
  }

  /**
   * Xen's domain_watchdog.
   * @param id 0 for one that is not in use
   * @param seconds until it ends the domain, 0 to stop it
   * @returns the new one's id, 0, or a negative errno
   */
  set(id: number, seconds: number): number {
    if (id > WATCHDOGS || (id === 0 && seconds === 0)) return -E.XEN_EINVAL;
    const index = id === 0 ? this.#alarms.findIndex(({ deadline }) => deadline === undefined) : id - 1;
    const alarm = this.#alarms[index];
    if (alarm === undefined) return -E.XEN_ENOSPC;
    if (id !== 0 && alarm.deadline === undefined) return -E.XEN_EINVAL;
    if (seconds === 0) alarm.cancel();
    else alarm.set(Math.min(this.#clock.now + seconds * NS_PER_SECOND, Number.MAX_SAFE_INTEGER));
    return id === 0 ? index + 1 : 0;
  }

  cancel(): void {
    for (const alarm of this.#alarms) alarm.cancel();
  }
}
