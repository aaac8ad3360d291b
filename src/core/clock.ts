// Part: the one virtual clock of a machine and its event queue.
// Time moves only in `advanceTo`. Alarms run in the order (deadline, sequence), where the sequence counts the calls of
// `set`, so ties run in the order in which they were armed. Alarms have names, so a snapshot holds no closure.

import { assert, InputError, InvariantError } from "./errors.ts";
import type { Snapshotable } from "./snapshot.ts";
import type { Nanoseconds } from "./units.ts";

/** Alarms that may run at one instant. More means that a handler re-arms itself without letting time pass. */
const MAX_ALARMS_AT_ONE_INSTANT = 1_000_000;

export interface Alarm {
  readonly name: string;
  /** When the alarm is due, or undefined while it is not armed. */
  readonly deadline: Nanoseconds | undefined;
  /** Arms the alarm, replacing an earlier deadline. A deadline in the past is due now. */
  set(deadlineNs: Nanoseconds): void;
  cancel(): void;
}

/** What a device needs of the clock. */
export interface AlarmClock {
  readonly now: Nanoseconds;
  /** Creates an alarm that is not armed. @throws InputError when the name is taken */
  alarm(name: string, handler: () => void): Alarm;
}

/** The clock as the devices of one owner see it, of which there are several: the names of their alarms begin with its. */
export class OwnedClock implements AlarmClock {
  readonly #owner: string;
  readonly #clock: AlarmClock;
  readonly #alarms: Alarm[] = [];

  constructor(owner: string, clock: AlarmClock) {
    this.#owner = owner;
    this.#clock = clock;
  }

  get now(): Nanoseconds {
    return this.#clock.now;
  }

  alarm(name: string, handler: () => void): Alarm {
    const alarm = this.#clock.alarm(`${this.#owner} ${name}`, handler);
    this.#alarms.push(alarm);
    return alarm;
  }

  cancelAll(): void {
    for (const alarm of this.#alarms) alarm.cancel();
  }
}

export interface ClockState {
  now: Nanoseconds;
  /** The sequence number that the next `set` takes. */
  sequence: number;
  /** The armed alarms in the order in which they are due. */
  alarms: { name: string; deadline: Nanoseconds; sequence: number }[];
}

/** A number all the same, so that an alarm keeps its deadline in place and arming makes no garbage. */
const NOT_ARMED = Number.POSITIVE_INFINITY;

class QueuedAlarm implements Alarm {
  readonly name: string;
  readonly run: () => void;
  /** NOT_ARMED outside of the queue. */
  due: Nanoseconds = NOT_ARMED;
  sequence = 0;
  readonly #queue: AlarmQueue;

  constructor(name: string, run: () => void, queue: AlarmQueue) {
    this.name = name;
    this.run = run;
    this.#queue = queue;
  }

  get deadline(): Nanoseconds | undefined {
    return this.due === NOT_ARMED ? undefined : this.due;
  }

  set(deadlineNs: Nanoseconds): void {
    this.#queue.arm(this, deadlineNs);
  }

  cancel(): void {
    this.#queue.disarm(this);
  }
}

/** The time and what is armed. Places are moved by hand: `splice` costs more than the search for them. */
class AlarmQueue {
  now: Nanoseconds = 0;
  sequence = 0;
  /** The armed alarms, sorted by (deadline, sequence); at most one entry an alarm, so a plain array is quick enough. */
  alarms: QueuedAlarm[] = [];

  arm(alarm: QueuedAlarm, deadlineNs: Nanoseconds): void {
    if (!Number.isSafeInteger(deadlineNs)) throw new InvariantError(`alarm ${alarm.name}: ${deadlineNs} is not a time`);
    this.disarm(alarm);
    const { alarms } = this;
    const deadline = Math.max(deadlineNs, this.now);
    alarm.due = deadline;
    alarm.sequence = this.sequence++;
    // The newest sequence is the highest, so the deadline alone decides the place.
    let place = alarms.length;
    alarms.push(alarm);
    for (; place > 0 && alarms[place - 1]!.due > deadline; place--) alarms[place] = alarms[place - 1]!;
    alarms[place] = alarm;
  }

  disarm(alarm: QueuedAlarm): void {
    if (alarm.due === NOT_ARMED) return;
    alarm.due = NOT_ARMED;
    const { alarms } = this;
    const last = alarms.length - 1;
    for (let place = alarms.indexOf(alarm); place < last; place++) alarms[place] = alarms[place + 1]!;
    alarms.pop();
  }
}

export class Clock implements AlarmClock, Snapshotable<ClockState> {
  #advancing = false;
  readonly #alarms = new Map<string, QueuedAlarm>();
  readonly #queue = new AlarmQueue();

  get now(): Nanoseconds {
    return this.#queue.now;
  }

  /** Creates an alarm that is not armed. @throws InputError when the name is taken */
  alarm(name: string, handler: () => void): Alarm {
    if (this.#alarms.has(name)) throw new InputError("the clock has an alarm of this name already", name);
    const alarm = new QueuedAlarm(name, handler, this.#queue);
    this.#alarms.set(name, alarm);
    return alarm;
  }

  /** When the first armed alarm is due; never before `now`. */
  nextDeadline(): Nanoseconds | undefined {
    return this.#queue.alarms[0]?.due;
  }

  /**
   * Moves time to `timeNs` and runs each alarm that is due on the way at its own deadline. Handlers may arm and cancel
   * alarms, also at the current time. When a handler throws, time stays at its deadline and the other alarms stay armed.
   */
  advanceTo(timeNs: Nanoseconds): void {
    const queue = this.#queue;
    if (!(Number.isSafeInteger(timeNs) && timeNs >= queue.now)) {
      throw new InvariantError(`time cannot move from ${queue.now} to ${timeNs}`);
    }
    assert(!this.#advancing, "an alarm's handler moved the clock");
    const first = queue.alarms[0];
    if (first !== undefined && first.due <= timeNs) this.#runAlarms(timeNs);
    queue.now = timeNs;
  }

  #runAlarms(timeNs: Nanoseconds): void {
    const queue = this.#queue;
    this.#advancing = true;
    try {
      let ranNow = 0;
      for (let first = queue.alarms[0]; first !== undefined && first.due <= timeNs; first = queue.alarms[0]) {
        const { due } = first;
        ranNow = due === queue.now ? ranNow + 1 : 1;
        if (ranNow > MAX_ALARMS_AT_ONE_INSTANT) {
          throw new InvariantError(`alarm ${first.name} never lets time pass ${due}`);
        }
        queue.now = due;
        queue.disarm(first);
        first.run();
      }
    } finally {
      this.#advancing = false;
    }
  }

  save(): ClockState {
    return {
      now: this.#queue.now,
      sequence: this.#queue.sequence,
      alarms: this.#queue.alarms.map(({ name, due, sequence }) => ({ name, deadline: due, sequence })),
    };
  }

  /**
   * Re-arms by name; alarms that the snapshot does not hold are cancelled.
   * @throws InputError on a name that this machine does not know, on times that are none, or out of order
   */
  load(state: ClockState): void {
    if (!isCount(state.now) || !isCount(state.sequence)) throw new InputError("not a time", "clock snapshot");
    const queue: QueuedAlarm[] = [];
    let before = { deadline: state.now, sequence: -1 };
    for (const saved of state.alarms) {
      const context = `clock snapshot, ${saved.name}`;
      const alarm = this.#alarms.get(saved.name);
      if (alarm === undefined) throw new InputError("this machine has no such alarm", context);
      if (queue.includes(alarm)) throw new InputError("armed twice", context);
      if (!isCount(saved.deadline) || !isCount(saved.sequence) || saved.sequence >= state.sequence) {
        throw new InputError("not a time", context);
      }
      if (compare(before, saved) >= 0) throw new InputError("not in the order of deadlines", context);
      queue.push(alarm);
      before = saved;
    }
    for (const alarm of this.#queue.alarms) alarm.due = NOT_ARMED;
    for (const [index, alarm] of queue.entries()) {
      alarm.due = state.alarms[index]!.deadline;
      alarm.sequence = state.alarms[index]!.sequence;
    }
    this.#queue.now = state.now;
    this.#queue.sequence = state.sequence;
    this.#queue.alarms = queue;
  }
}

interface Due {
  readonly deadline: Nanoseconds;
  readonly sequence: number;
}

/** Negative when `a` runs before `b`. */
function compare(a: Due, b: Due): number {
  return a.deadline - b.deadline || a.sequence - b.sequence;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
