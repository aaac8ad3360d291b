import { expect, test } from "vitest";
import { InputError, InvariantError } from "../../src/core/errors.ts";
import { RandomStreams } from "../../src/core/random.ts";

const draw = (stream: { uint32(): number }, count: number) => Array.from({ length: count }, () => stream.uint32());

test("a stream depends on the seed and its own name alone", () => {
  const alone = draw(new RandomStreams(7).stream("disk"), 20);
  const streams = new RandomStreams("7");
  const net = streams.stream("net");
  const disk = streams.stream("disk");
  net.uint32();
  expect(draw(disk, 20)).toEqual(alone);
  expect(draw(new RandomStreams(7).stream("net"), 20)).not.toEqual(alone);
  expect(draw(new RandomStreams(8).stream("disk"), 20)).not.toEqual(alone);
});

test("the pair of seed and name is not ambiguous", () => {
  expect(draw(new RandomStreams("a").stream("b,c"), 4)).not.toEqual(draw(new RandomStreams("a,b").stream("c"), 4));
  expect(draw(new RandomStreams("1").stream("2"), 4)).not.toEqual(draw(new RandomStreams("12").stream(""), 4));
});

test("the sequence is fixed for ever, because recorded traces depend on it", () => {
  expect(draw(new RandomStreams(1).stream("disk"), 3)).toEqual([313537310, 3500033108, 328153311]);
});

test("draws stay in their range, reach its ends and are even", () => {
  const stream = new RandomStreams(1).stream("dice");
  const counts = new Array<number>(6).fill(0);
  for (let roll = 0; roll < 60_000; roll++) counts[stream.between(1, 6) - 1]!++;
  // Six standard deviations (91 each) around 10,000; the sequence is fixed, so this cannot flicker.
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(550);
});

test("draws below a number that does not divide 2^32 are unbiased", () => {
  // Without rejection, results below 2^30 would come up twice as often as the others.
  const stream = new RandomStreams(1).stream("bias");
  const n = 3 * 2 ** 30;
  let low = 0;
  for (let index = 0; index < 30_000; index++) if (stream.below(n) < 2 ** 30) low++;
  expect(Math.abs(low - 10_000)).toBeLessThan(500);
});

test("the extremes of a draw", () => {
  const stream = new RandomStreams(1).stream("extremes");
  expect(stream.below(1)).toBe(0);
  expect(stream.between(-5, -5)).toBe(-5);
  expect(stream.below(2 ** 32)).toBeGreaterThanOrEqual(0);
  expect(stream.chance(0, 10)).toBe(false);
  expect(stream.chance(10, 10)).toBe(true);
  for (const n of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN]) expect(() => stream.below(n)).toThrow(InvariantError);
});

test("a chance comes true as often as it says", () => {
  const stream = new RandomStreams(1).stream("chance");
  let held = 0;
  for (let index = 0; index < 40_000; index++) if (stream.chance(1, 4)) held++;
  expect(Math.abs(held - 10_000)).toBeLessThan(520);
});

test("a restored stream goes on where it was saved, and the snapshot shares nothing with it", () => {
  const streams = new RandomStreams(3);
  const disk = streams.stream("disk");
  draw(disk, 1000);
  const state = streams.save();
  const expected = draw(disk, 500);

  const restored = new RandomStreams("another seed");
  const again = restored.stream("disk");
  restored.load(state);
  expect(draw(again, 500)).toEqual(expected);
  restored.load(state);
  expect(draw(again, 500)).toEqual(expected);
});

test("two consumers cannot share a stream", () => {
  const streams = new RandomStreams(1);
  streams.stream("disk");
  expect(() => streams.stream("disk")).toThrow(InputError);
});

test("a snapshot of other streams or of no generator is bad input", () => {
  const streams = new RandomStreams(1);
  const { streams: saved } = { ...streams.save() };
  expect(saved).toEqual([]);
  streams.stream("disk");
  expect(() => streams.load({ streams: [] })).toThrow(InputError);
  const [disk] = streams.save().streams;
  for (const broken of [
    { index: 128 },
    { index: -1 },
    { weyl: 0.5 },
    { words: [1, 2] },
    { words: disk!.words.map(() => 2 ** 31) },
  ]) {
    expect(() => streams.load({ streams: [{ ...disk!, ...broken }] })).toThrow(InputError);
  }
});
