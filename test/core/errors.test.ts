import { expect, test } from "vitest";
import { assert, InputError, InvariantError, NotModelled, OutOfRange } from "../../src/core/errors.ts";

test("an input error joins the place and the problem", () => {
  const error = new InputError("expected an ELF file", "guest.elf");
  expect(error.message).toBe("guest.elf: expected an ELF file");
  expect([error.context, error.problem]).toEqual(["guest.elf", "expected an ELF file"]);
  expect(new InputError("no scenario named").message).toBe("no scenario named");
});

test("an input error keeps its cause", () => {
  const cause = new Error("no such file");
  expect(new InputError("cannot be read", "a.trace", { cause }).cause).toBe(cause);
});

test("an access out of range is an input error that names address and length", () => {
  const error = new OutOfRange(0x1000, 4, "guest memory");
  expect(error).toBeInstanceOf(InputError);
  expect(error.message).toBe("guest memory: 4 bytes at 0x1000 are out of range");
  expect([error.address, error.length]).toEqual([0x1000, 4]);
});

test("what is not modelled is no input error", () => {
  expect(new NotModelled("FSIN")).not.toBeInstanceOf(InputError);
  expect(new NotModelled("FSIN").message).toBe("not modelled: FSIN");
});

test("an assertion throws only when its condition is false", () => {
  expect(() => assert(true, "never")).not.toThrow();
  expect(() => assert(false, "queue is sorted")).toThrow(new InvariantError("queue is sorted"));
});
