// Xen's public headers are the truth about sizes, offsets and constants; our tables must say the same.

import { describe, expect, test } from "vitest";
import { checkAbi } from "../../scripts/abi-check.ts";
import { type Abi, structure } from "../../src/xen/abi/layout.ts";

describe.each<Abi>(["x86_32", "x86_64"])("Xen's ABI for %s", (abi) => {
  test("has the sizes, offsets and constants of our tables", (context) => {
    const result = checkAbi(abi);
    if ("skipped" in result) return context.skip(result.skipped);
    expect(result.differences).toEqual([]);
    expect(result.checked).toBeGreaterThan(300);
  });

  test("a wrong table is found", (context) => {
    const wrong = structure("struct evtchn_close", "event_channel.h", { port: "u64" });
    const result = checkAbi(abi, [wrong], { "xen.h": { DOMID_SELF: 0 } });
    if ("skipped" in result) return context.skip(result.skipped);
    expect(result.differences).toHaveLength(2);
  });
});
