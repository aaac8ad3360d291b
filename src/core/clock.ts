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
export function clockOf(owner: string, clock: AlarmClock): AlarmClock {
  return {
    get now() {
      return clock.now;
    },
    alarm: (name, handler) => clock.alarm(`${owner} ${name}`, handler),
  };
}

export interface ClockState {
  now: Nanoseconds;
  /** The sequence number that the next `set` takes. */
  sequence: number;
  /** The armed alarms in the order in which they are due. */
  alarms: { name: string; deadline: Nanoseconds; sequence: number }[];
}

interface QueuedAlarm extends Alarm {
  readonly run: () => void;
  deadline: Nanoseconds | undefined;
  sequence: number;
}

export class Clock implements AlarmClock, Snapshotable<ClockState> {
  #now: Nanoseconds = 0;
  #sequence = 0;
  #advancing = false;
  readonly #alarms = new Map<string, QueuedAlarm>();
  /** The armed alarms, sorted by (deadline, sequence); at most one entry an alarm, so a plain array is quick enough. */
  #queue: QueuedAlarm[] = [];

  get now(): Nanoseconds {
    return this.#now;
  }

  /** Creates an alarm that is not armed. @throws InputError when the name is taken */
  alarm(name: string, handler: () => void): Alarm {
    if (this.#alarms.has(name)) throw new InputError("the clock has an alarm of this name already", name);
    const alarm: QueuedAlarm = {
      name,
      run: handler,
      deadline: undefined,
      sequence: 0,
      set: (deadlineNs) => this.#arm(alarm, deadlineNs),
      cancel: () => this.#disarm(alarm),
    };
    this.#alarms.set(name, alarm);
    return alarm;
  }

  /** When the first armed alarm is due; never before `now`. */
  nextDeadline(): Nanoseconds | undefined {
    return this.#queue[0]?.deadline;
  }

  /**
   * Moves time to `timeNs` and runs each alarm that is due on the way at its own deadline. Handlers may arm and cancel
   * alarms, also at the current time. When a handler throws, time stays at its deadline and the other alarms stay armed.
   */
  advanceTo(timeNs: Nanoseconds): void {
    if (!(Number.isSafeInteger(timeNs) && timeNs >= this.#now)) {
      throw new InvariantError(`time cannot move from ${this.#now} to ${timeNs}`);
    }
    assert(!this.#advancing, "an alarm's handler moved the clock");
    const first = this.#queue[0];
    if (first !== undefined && due(first) <= timeNs) this.#runAlarms(timeNs);
    this.#now = timeNs;
  }

  #runAlarms(timeNs: Nanoseconds): void {
    this.#advancing = true;
    try {
      let ranNow = 0;
      for (let first = this.#queue[0]; first !== undefined && due(first) <= timeNs; first = this.#queue[0]) {
        const deadline = due(first);
        ranNow = deadline === this.#now ? ranNow + 1 : 1;
        if (ranNow > MAX_ALARMS_AT_ONE_INSTANT) {
          throw new InvariantError(`alarm ${first.name} never lets time pass ${deadline}`);
        }
        this.#now = deadline;
        this.#disarm(first);
        first.run();
      }
    } finally {
      this.#advancing = false;
    }
  }

  #arm(alarm: QueuedAlarm, deadlineNs: Nanoseconds): void {
    if (!Number.isSafeInteger(deadlineNs)) throw new InvariantError(`alarm ${alarm.name}: ${deadlineNs} is not a time`);
    this.#disarm(alarm);
    const deadline = Math.max(deadlineNs, this.#now);
    alarm.deadline = deadline;
    alarm.sequence = this.#sequence++;
    // The newest sequence is the highest, so the deadline alone decides the place. Moved by hand: `splice` costs more than the search.
    const queue = this.#queue;
    let place = queue.length;
    queue.push(alarm);
    for (; place > 0 && due(queue[place - 1]!) > deadline; place--) queue[place] = queue[place - 1]!;
    queue[place] = alarm;
  }

  #disarm(alarm: QueuedAlarm): void {
    if (alarm.deadline === undefined) return;
    alarm.deadline = undefined;
    const queue = this.#queue;
    for (let place = queue.indexOf(alarm); place + 1 < queue.length; place++) queue[place] = queue[place + 1]!;
    queue.pop();
  }

  save(): ClockState {
    return {
      now: this.#now,
      sequence: this.#sequence,
      alarms: this.#queue.map((alarm) => ({ name: alarm.name, deadline: due(alarm), sequence: alarm.sequence })),
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
    for (const alarm of this.#queue) alarm.deadline = undefined;
    for (const [index, alarm] of queue.entries()) {
      alarm.deadline = state.alarms[index]!.deadline;
      alarm.sequence = state.alarms[index]!.sequence;
    }
    this.#now = state.now;
    this.#sequence = state.sequence;
    this.#queue = queue;
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

function due(alarm: QueuedAlarm): Nanoseconds {
  const { deadline } = alarm;
  if (deadline === undefined) throw new InvariantError(`alarm ${alarm.name} is queued without a deadline`);
  return deadline;
}
