// Times, consoles and code as text.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { disassemble } from "../../src/debug/disassemble.ts";
import { PlainConsole, plainConsole, quoted } from "../../src/debug/printable.ts";
import { formatTime, parseTime } from "../../src/debug/time.ts";

describe("a time", () => {
  it.each([
    ["0ns", 0],
    ["1.5ms", 1_500_000],
    ["20us", 20_000],
    ["2 s", 2_000_000_000],
    ["0.000000001s", 1],
  ])("%s is read", (text, ns) => {
    expect(parseTime(text)).toBe(ns);
  });

  it("that is finer than a nanosecond, beyond 2^53 or without a unit is refused", () => {
    expect(() => parseTime("1.5ns")).toThrow("finer than a nanosecond");
    expect(() => parseTime("999999999999s")).toThrow("beyond 2^53 ns");
    for (const text of ["", "1", "ms", "-1ms", "1e3ms", "1..5ms", "1.ms", "0x10ms"]) {
      expect(() => parseTime(text)).toThrow("not a time");
    }
  });

  it("is read back as it was shown", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (ns) => {
        expect(parseTime(formatTime(ns))).toBe(ns);
      }),
    );
  });
});

describe("a guest's console", () => {
  it("is shown without what steers a terminal, and with a new line where the cursor went", () => {
    const grub = "\x1b[30m\x1b[47mWelcome to GRUB!\n\r\x1b[37m\x1b[40m\x1b[3;38H  [ 64B ]\x1b[3;1HReading\n\r";
    expect(plainConsole(grub)).toBe("Welcome to GRUB!\n  [ 64B ]\nReading\n");
    expect(plainConsole("\x1b]0;title\x07a\tb\x9b2J\x08\x00c\x1b")).toBe("a\tb2Jc");
  });

  it("keeps no control character but tab and line feed, whatever it holds", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
        expect(plainConsole(text)).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
      }),
    );
  });

  it("is shown the same however it is cut into pieces", () => {
    const token = fc.oneof(
      fc.constantFrom(
        "\x1b[3;1H",
        "\x1b[47m",
        "\x1b]0;title\x07",
        "\x1b]0;t\x1b\\",
        "\x1b(B",
        "\n",
        "\r",
        "\x01",
        "a",
        "Bc",
      ),
      fc.string({ maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(fc.array(token, { maxLength: 4 })), fc.array(fc.nat(20)), (tokens, cuts) => {
        const text = tokens.flat().join("");
        const screen = new PlainConsole();
        let shown = "";
        let at = 0;
        for (const length of cuts) {
          shown += screen.add(text.slice(at, at + length));
          at = Math.min(at + length, text.length);
        }
        shown += screen.add(text.slice(at));
        expect(shown).toBe(plainConsole(text));
      }),
    );
  });

  it("in quotes keeps every byte", () => {
    expect(quoted(Uint8Array.of(0, 9, 10, 13, 34, 92, 65, 127, 200))).toBe('"\\0\\t\\n\\r\\"\\\\A\\x7f\\xc8"');
  });
});

describe("code", () => {
  it("is shown in the manuals' notation, with its addresses", () => {
    const code = Uint8Array.of(0x0f, 0xa2, 0x8b, 0x44, 0x24, 0x1c, 0x74, 0xf8);
    expect(disassemble(code, 0x100000, 32).map(({ address, text }) => [address, text])).toEqual([
      [0x100000, "cpuid"],
      [0x100002, "mov eax, [esp+0x1c]"],
      [0x100006, "je 0x00100000"],
    ]);
  });

  it("is read with the segment's size", () => {
    expect(disassemble(Uint8Array.of(0xb8, 0x34, 0x12), 0, 16).map(({ text }) => text)).toEqual(["mov ax, 0x1234"]);
  });

  it("that ends inside an instruction ends before it, and bad bytes are said to be bad", () => {
    expect(disassemble(Uint8Array.of(0x90, 0xb8, 0x34), 0, 32).map(({ text }) => text)).toEqual(["nop"]);
    expect(disassemble(Uint8Array.of(0x0f, 0xff, 0xff, 0x90, 0x90, 0x90), 0, 32).length).toBeGreaterThan(0);
    expect(disassemble(new Uint8Array(0), 0, 32)).toEqual([]);
  });
});
