import { expect, test } from "vitest";
import { type Alarm, Clock } from "../../src/core/clock.ts";
import { InputError, InvariantError } from "../../src/core/errors.ts";

/** A clock with alarms that write "name@time" into a log when they run. */
function clockWith(...names: string[]) {
  const clock = new Clock();
  const log: string[] = [];
  const alarms = names.map((name) => clock.alarm(name, () => log.push(`${name}@${clock.now}`)));
  return { clock, log, alarms: alarms as [Alarm, Alarm, Alarm] };
}

test("alarms run at their own deadlines, and time ends where it was sent", () => {
  const { clock, log, alarms } = clockWith("late", "early", "later");
  alarms[0].set(200);
  alarms[1].set(100);
  alarms[2].set(301);
  expect(clock.nextDeadline()).toBe(100);
  clock.advanceTo(300);
  expect(log).toEqual(["early@100", "late@200"]);
  expect(clock.now).toBe(300);
  expect(clock.nextDeadline()).toBe(301);
});

test("alarms with one deadline run in the order in which they were set", () => {
  const { clock, log, alarms } = clockWith("a", "b", "c");
  alarms[2].set(50);
  alarms[0].set(50);
  alarms[1].set(50);
  alarms[2].set(50);
  clock.advanceTo(50);
  expect(log).toEqual(["a@50", "b@50", "c@50"]);
});

test("an alarm has one deadline: setting replaces it, cancelling removes it", () => {
  const { clock, log, alarms } = clockWith("a", "b");
  alarms[0].set(10);
  alarms[0].set(20);
  alarms[1].set(15);
  alarms[1].cancel();
  alarms[1].cancel();
  expect([alarms[0].deadline, alarms[1].deadline]).toEqual([20, undefined]);
  clock.advanceTo(100);
  expect(log).toEqual(["a@20"]);
  expect(alarms[0].deadline).toBeUndefined();
});

test("a handler may arm alarms, also at the current time", () => {
  const clock = new Clock();
  const log: string[] = [];
  const second = clock.alarm("second", () => log.push(`second@${clock.now}`));
  const periodic = clock.alarm("periodic", () => {
    log.push(`periodic@${clock.now}`);
    second.set(clock.now);
    if (clock.now < 20) periodic.set(clock.now + 10);
  });
  periodic.set(10);
  clock.advanceTo(25);
  expect(log).toEqual(["periodic@10", "second@10", "periodic@20", "second@20"]);
});

test("a handler may cancel an alarm that is due at the same time", () => {
  const { clock, log, alarms } = clockWith("victim");
  const first = clock.alarm("first", () => alarms[0].cancel());
  first.set(5);
  alarms[0].set(5);
  clock.advanceTo(5);
  expect(log).toEqual([]);
});

test("a deadline in the past is due now", () => {
  const { clock, log, alarms } = clockWith("a");
  clock.advanceTo(100);
  alarms[0].set(30);
  expect(clock.nextDeadline()).toBe(100);
  clock.advanceTo(100);
  expect(log).toEqual(["a@100"]);
});

test("a handler that throws leaves time at its deadline and the other alarms armed", () => {
  const { clock, log, alarms } = clockWith("after");
  const failing = clock.alarm("failing", () => {
    throw new InputError("no such sector");
  });
  failing.set(10);
  alarms[0].set(20);
  expect(() => clock.advanceTo(50)).toThrow("no such sector");
  expect(clock.now).toBe(10);
  clock.advanceTo(50);
  expect(log).toEqual(["after@20"]);
});

test("time never runs backwards and is never moved by a handler", () => {
  const clock = new Clock();
  clock.advanceTo(10);
  expect(() => clock.advanceTo(9)).toThrow(InvariantError);
  expect(() => clock.advanceTo(10.5)).toThrow(InvariantError);
  clock.alarm("mover", () => clock.advanceTo(30)).set(20);
  expect(() => clock.advanceTo(40)).toThrow("moved the clock");
});

test("an alarm that never lets time pass is caught", () => {
  const clock = new Clock();
  const stuck = clock.alarm("stuck", () => stuck.set(clock.now));
  stuck.set(1);
  expect(() => clock.advanceTo(1)).toThrow("alarm stuck never lets time pass 1");
});

test("alarm names are unique", () => {
  const { clock } = clockWith("a");
  expect(() => clock.alarm("a", () => {})).toThrow(InputError);
});

test("a snapshot re-arms by name with the order kept, and cancels what it does not hold", () => {
  const before = clockWith("a", "b", "c");
  before.clock.advanceTo(5);
  before.alarms[1].set(10);
  before.alarms[0].set(10);
  const state = before.clock.save();
  expect(state).toEqual({
    now: 5,
    sequence: 2,
    alarms: [
      { name: "b", deadline: 10, sequence: 0 },
      { name: "a", deadline: 10, sequence: 1 },
    ],
  });

  const after = clockWith("a", "b", "c");
  after.alarms[2].set(1);
  after.clock.load(state);
  expect(after.clock.save()).toEqual(state);
  expect(after.alarms[2].deadline).toBeUndefined();
  after.clock.advanceTo(10);
  expect(after.log).toEqual(["b@10", "a@10"]);
});

test("a snapshot with an unknown alarm, a repeated one or times out of order is bad input and changes nothing", () => {
  const { clock, alarms } = clockWith("a", "b");
  alarms[0].set(7);
  const before = clock.save();
  const armed = (name: string, deadline: number, sequence: number) => ({ name, deadline, sequence });
  for (const [now, sequence, list] of [
    [0, 1, [armed("stranger", 10, 0)]],
    [0, 2, [armed("a", 10, 0), armed("a", 10, 1)]],
    [0, 2, [armed("a", 10, 0), armed("b", 9, 1)]],
    [0, 2, [armed("a", 10, 1), armed("b", 10, 0)]],
    [0, 2, [armed("a", 10, 1), armed("b", 10, 1)]],
    [20, 1, [armed("a", 10, 0)]],
    [0, 1, [armed("a", 10, 1)]],
    [0, 1, [armed("a", Number.NaN, 0)]],
    [-1, 0, []],
    [0, 0.5, []],
  ] as const) {
    expect(() => clock.load({ now, sequence, alarms: [...list] })).toThrow(InputError);
    expect(clock.save()).toEqual(before);
  }
});
