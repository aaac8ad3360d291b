// Part: a vCPU's timers (vcpu.h, sched.h): single-shot and periodic raise VIRQ_TIMER, the third ends a SCHEDOP_poll.

import type { Alarm, Clock } from "../core/clock.ts";
import { XEN_H } from "./abi/constants.ts";
import type { Vcpu } from "./vcpu.ts";

export class VcpuTimers {
  readonly #clock: Clock;
  readonly #vcpu: Vcpu;
  readonly #singleshot: Alarm;
  readonly #periodic: Alarm;
  readonly #poll: Alarm;

  constructor(clock: Clock, vcpu: Vcpu) {
    const name = `dom${vcpu.domid} vcpu${vcpu.id}`;
    const interrupt = () => vcpu.domain.events.raiseVirq(XEN_H.VIRQ_TIMER, vcpu.id);
    this.#clock = clock;
    this.#vcpu = vcpu;
    this.#singleshot = clock.alarm(`${name} singleshot`, interrupt);
    this.#periodic = clock.alarm(`${name} periodic`, () => {
      interrupt();
      this.setPeriodic(vcpu.periodNs);
    });
    this.#poll = clock.alarm(`${name} poll`, () => {
      if (vcpu.polling !== undefined) vcpu.wake();
    });
  }

  /** At a system time in nanoseconds; undefined stops the timer. */
  setSingleshot(timeNs: number | undefined): void {
    if (timeNs === undefined) this.#singleshot.cancel();
    else this.#singleshot.set(timeNs);
  }

  /** 0 stops the timer. */
  setPeriodic(periodNs: number): void {
    this.#vcpu.periodNs = periodNs;
    if (periodNs === 0) this.#periodic.cancel();
    else this.#periodic.set(this.#clock.now + periodNs);
  }

  /** Undefined: the poll has no timeout. */
  setPoll(timeNs: number | undefined): void {
    if (timeNs === undefined) this.#poll.cancel();
    else this.#poll.set(timeNs);
  }

  cancel(): void {
    for (const alarm of [this.#singleshot, this.#periodic, this.#poll]) alarm.cancel();
  }
}
