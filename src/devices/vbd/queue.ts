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
    const waiting = this.#waiting;
    let before = waiting.length - 1;
    if (!isOrdered) while (before >= 0 && waiting[before]!.job.operation !== OP.WRITE_BARRIER) before--;
    const dueNs = Math.max(host.clock.now, waiting[before]?.dueNs ?? 0) + time;
    const added = { dueNs, serviceNs: time, job };
    // By hand: `splice` costs more than the search.
    let place = waiting.length;
    waiting.push(added);
    for (; place > 0 && waiting[place - 1]!.dueNs > dueNs; place--) waiting[place] = waiting[place - 1]!;
    waiting[place] = added;
    if (place === 0) this.#alarm.set(dueNs);
  }

  #complete(): void {
    const { now } = this.#options.host.clock;
    const waiting = this.#waiting;
    let count = 0;
    while (count < waiting.length && waiting[count]!.dueNs <= now) count++;
    const due = waiting.splice(0, count);
    this.#options.complete(due);
    const next = waiting[0];
    if (next !== undefined) this.#alarm.set(next.dueNs);
  }

  save(): JobQueueState {
    return { waiting: this.#waiting.map(({ job, ...times }) => ({ ...times, job: saveJob(job) })) };
  }

  load(state: JobQueueState): void {
    this.#waiting = state.waiting.map(({ job, ...times }) => ({ ...times, job: loadJob(job, this.#options.host) }));
  }
}
