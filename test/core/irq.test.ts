import { expect, test } from "vitest";
import { InputError } from "../../src/core/errors.ts";
import { IrqLine } from "../../src/core/irq.ts";

function lineWithTwoSources() {
  const edges: boolean[] = [];
  const line = new IrqLine("irq5", (level) => edges.push(level));
  return { line, edges, disk: line.source("disk"), net: line.source("net") };
}

test("the line is high while any source is high, and the sink hears only of its edges", () => {
  const { line, edges, disk, net } = lineWithTwoSources();
  disk.set(true);
  disk.set(true);
  net.set(true);
  disk.set(false);
  expect([line.level, edges]).toEqual([true, [true]]);
  net.set(false);
  net.set(false);
  expect([line.level, edges]).toEqual([false, [true, false]]);
});

test("restoring a line makes no edge, and the next change is seen against the restored level", () => {
  const saved = lineWithTwoSources();
  saved.net.set(true);

  const { line, edges, disk, net } = lineWithTwoSources();
  disk.set(true);
  line.load(saved.line.save());
  expect([line.level, disk.level, net.level, edges]).toEqual([true, false, true, [true]]);
  disk.set(true);
  disk.set(false);
  expect(edges).toEqual([true]);
  net.set(false);
  expect(edges).toEqual([true, false]);
});

test("a snapshot of other sources is bad input", () => {
  const { line } = lineWithTwoSources();
  expect(() => line.load({ sources: [{ name: "disk", level: true }] })).toThrow(InputError);
});

test("two sources cannot share a name", () => {
  expect(() => lineWithTwoSources().line.source("net")).toThrow("irq5: the line has a source net already");
});
