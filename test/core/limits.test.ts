import { expect, test } from "vitest";
import { checkLimit } from "../../src/core/limits.ts";

const disks = { of: "disks", maximum: 16, because: "xvda to xvdp have one-letter names" };

test("an amount at its limit is fine, one more names the limit and its reason", () => {
  expect(() => checkLimit(disks, 16, "machine")).not.toThrow();
  expect(() => checkLimit(disks, 17, "machine")).toThrow(
    "machine: 17 disks, at most 16 because xvda to xvdp have one-letter names",
  );
});
