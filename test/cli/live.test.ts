// A person at a guest's console: what they type is recorded, and the recording replays without them.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Keyboard, KeyboardListener } from "../../src/cli/host/host.ts";
import { Trace } from "../../src/trace/reader.ts";
import { ringback, temporaryFolder } from "../support/command-line.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

const bytes = (text: string) => new TextEncoder().encode(text);

/** Plays the keyboard: at each pause of the command line the next thing is typed. */
function typist(raw: boolean, typed: readonly (string | "END")[]) {
  const left = [...typed];
  let listener: KeyboardListener | undefined;
  let released = 0;
  const keyboard = (given: KeyboardListener): Keyboard => {
    listener = given;
    return {
      raw,
      release: () => {
        released++;
      },
    };
  };
  const atPause = (): void => {
    const next = left.shift();
    if (next === "END") listener?.end();
    else if (next !== undefined) listener?.bytes(bytes(next));
  };
  return { surroundings: { cwd: folder.path, keyboard, atPause }, left, released: () => released };
}

const inputsOf = (name: string) => {
  const trace = new Trace(new Uint8Array(readFileSync(join(folder.path, name))));
  return [...trace.events()].flatMap((event) =>
    event.kind === "input" ? [Buffer.from(event.data).toString("latin1")] : [],
  );
};

describe("a live recording", () => {
  it("takes what is typed, key by key, and ends with the guest", async () => {
    const keys = [..."sum 20 22\rexit\r"];
    const { surroundings, released } = typist(true, keys);
    const { status, out, err } = await ringback(surroundings, "record", "console-input", "-i", "-o", "keys.trace");
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(out).toContain("\r\n42\r\n");
    expect(out).toContain("domains ended after");
    expect(inputsOf("keys.trace").join("")).toBe("sum 20 22\rexit\r");
    expect(released()).toBe(1);
    expect(await ringback({ cwd: folder.path }, "replay", "keys.trace")).toMatchObject({ status: 0, err: "" });
  });

  it.each([
    ["Ctrl-]", "\x1d"],
    ["Ctrl-C", "\x03"],
  ])("ends with %s; what was typed before it counts, and it replays", async (name, key) => {
    const file = `${name}.trace`;
    const { surroundings, left } = typist(true, ["echo one\r", "", `echo two${key}never\r`, "exit\r"]);
    const { status, out } = await ringback(surroundings, "record", "console-input", "-i", "-o", file);
    expect(status).toBe(0);
    expect(out).toContain("stopped from outside");
    expect(out).not.toContain("never");
    expect(left).toEqual(["exit\r"]);
    expect(await ringback({ cwd: folder.path }, "replay", file)).toMatchObject({ status: 0, err: "" });
  });

  it("from a pipe ends when the guest waits for more than there is", async () => {
    const { surroundings } = typist(false, ["echo from a pipe\n", "END"]);
    const { status, out } = await ringback(surroundings, "record", "console-input", "-i", "-o", "pipe.trace");
    expect(status).toBe(0);
    expect(out).toContain("\nfrom a pipe\n");
    expect(out).toContain("console-input: idle after");
    expect(await ringback({ cwd: folder.path }, "replay", "pipe.trace")).toMatchObject({ status: 0, err: "" });
  });
});
