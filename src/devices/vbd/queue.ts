// Part: the operations that a disk has under way: each is due after its service time, short ones before long ones that came earlier.
// A flush is done when everything before it is, and nothing that comes after a barrier is done before it.

import type { Alarm } from "../../core/clock.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Nanoseconds } from "../../core/units.ts";
import type { DomainServices } from "../../xen/backend-host.ts";
import { type ServiceTime, serviceNs } from "../block/service.ts";
import { OP } from "./protocol.ts";
import { type Job, type JobState, loadJob, saveJob } from "./requests.ts";

export interface Waiting {
  readonly dueNs: Nanoseconds;
  readonly serviceNs: Nanoseconds;
  readonly job: Job;
}

export interface JobQueueState {
  /** In the order in which they will be done. */
  waiting: { dueNs: number; serviceNs: number; job: JobState }[];
}

export interface JobQueueOptions {
  readonly host: DomainServices;
  readonly alarm: string;
  readonly service: ServiceTime;
  readonly random: RandomStream;
  /** Takes what is due, one or more at a time. */
  readonly complete: (due: readonly Waiting[]) => void;
}

export class JobQueue {
  readonly #options: JobQueueOptions;
  readonly #alarm: Alarm;
  /** In the order in which they will be done. */
  #waiting: Waiting[] = [];

  constructor(options: JobQueueOptions) {
    this.#options = options;
    this.#alarm = options.host.clock.alarm(options.alarm, () => this.#complete());
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0;
  }

  add(job: Job): void {
    const { service, random, host } = this.#options;
    const isOrdered = job.operation === OP.FLUSH_DISKCACHE || job.operation === OP.WRITE_BARRIER;
    // A discard moves no data.
    const time = serviceNs(service, job.operation === OP.DISCARD ? 0 : job.count, random);
    const last = isOrdered
      ? this.#waiting.at(-1)
      : this.#waiting.findLast((one) => one.job.operation === OP.WRITE_BARRIER);
    const dueNs = Math.max(host.clock.now, last?.dueNs ?? 0) + time;
    let place = this.#waiting.length;
    while (place > 0 && (this.#waiting[place - 1] as Waiting).dueNs > dueNs) place--;
    this.#waiting.splice(place, 0, { dueNs, serviceNs: time, job });
    this.#arm();
  }

  #complete(): void {
    const { now } = this.#options.host.clock;
    const later = this.#waiting.findIndex(({ dueNs }) => dueNs > now);
    const due = this.#waiting.splice(0, later < 0 ? this.#waiting.length : later);
    this.#options.complete(due);
    this.#arm();
  }

  #arm(): void {
    const next = this.#waiting[0];
    if (next === undefined) this.#alarm.cancel();
    else this.#alarm.set(next.dueNs);
  }

  save(): JobQueueState {
    return { waiting: this.#waiting.map(({ job, ...times }) => ({ ...times, job: saveJob(job) })) };
  }

  load(state: JobQueueState): void {
    this.#waiting = state.waiting.map(({ job, ...times }) => ({ ...times, job: loadJob(job, this.#options.host) }));
  }
}
