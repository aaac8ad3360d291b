import { beforeEach, describe, expect, test } from "vitest";
import { Rig } from "./rig.ts";

const TEXT = 0xb8000;

describe("the VGA", () => {
  let rig: Rig;
  const put = (row: number, column: number, text: string): void => {
    for (const [index, character] of [...text].entries()) {
      rig.mmio.write(TEXT + 2 * (80 * row + column + index), 2, 0x0700 | character.charCodeAt(0));
    }
  };
  const register = (port: number, index: number, value: number): void => {
    rig.out(port, index);
    rig.out(port + 1, value);
  };

  beforeEach(() => {
    rig = new Rig();
  });

  test("shows what is written to B8000h, as 25 rows of 80", () => {
    put(0, 0, "Hello");
    put(24, 75, "world");
    const { rows } = rig.platform.vga.screen();
    expect(rows.length).toBe(25);
    expect(rows[0]).toBe("Hello");
    expect(rows[24]).toBe(`${" ".repeat(75)}world`);
    expect(rig.mmio.read(TEXT, 2)).toBe(0x0748);
  });

  test("follows the start address and shows the cursor while it is on", () => {
    put(1, 0, "second");
    register(0x3d4, 0x0d, 80);
    register(0x3d4, 0x0e, 0);
    register(0x3d4, 0x0f, 80 + 3);
    expect(rig.platform.vga.screen().rows[0]).toBe("second");
    expect(rig.platform.vga.screen().cursor).toEqual({ row: 0, column: 3 });
    register(0x3d4, 0x0a, 0x2d);
    expect(rig.platform.vga.screen().cursor).toBeUndefined();
  });

  test("line drawing characters are those of code page 437", () => {
    put(0, 0, "\u00c9\u00cd\u00bb\u0001\u00db");
    expect(rig.platform.vga.screen().rows[0]).toBe("╔═╗ █");
  });

  test("a font goes into plane 2 without touching the text", () => {
    put(0, 0, "Hello");
    register(0x3c4, 2, 0x04);
    register(0x3c4, 4, 0x06);
    register(0x3ce, 4, 0x02);
    register(0x3ce, 5, 0x00);
    register(0x3ce, 6, 0x04);
    for (let line = 0; line < 16; line++) rig.mmio.write(0xa0000 + 32 * 0x48 + line, 1, 0x80 + line);
    expect(rig.mmio.read(0xa0000 + 32 * 0x48 + 5, 1)).toBe(0x85);
    expect(rig.mmio.read(TEXT, 1)).toBe(0xff);
    expect(rig.platform.vga.screen().rows[0]).toBe("Hello");
  });

  test("write modes combine data with the latches", () => {
    register(0x3c4, 2, 0x0f);
    register(0x3c4, 4, 0x06);
    register(0x3ce, 6, 0x05);
    register(0x3ce, 5, 0x00);
    rig.mmio.write(0xa0000, 1, 0b1100_1100);
    rig.mmio.read(0xa0000, 1);
    // Bit mask: only the low half is replaced, the rest comes from the latches.
    register(0x3ce, 8, 0x0f);
    rig.mmio.write(0xa0000, 1, 0b0101_0101);
    expect(rig.mmio.read(0xa0000, 1)).toBe(0b1100_0101);
    // Mode 1 copies the latches.
    register(0x3ce, 5, 0x01);
    rig.mmio.write(0xa0010, 1, 0);
    expect(rig.mmio.read(0xa0010, 1)).toBe(0b1100_0101);
    // Mode 2 writes a color, here planes 0 and 2.
    register(0x3ce, 8, 0xff);
    register(0x3ce, 5, 0x02);
    rig.mmio.write(0xa0020, 1, 0b0101);
    const planes = [0, 1, 2, 3].map((plane) => {
      register(0x3ce, 4, plane);
      return rig.mmio.read(0xa0020, 1);
    });
    expect(planes).toEqual([0xff, 0, 0xff, 0]);
    // Read mode 1 compares with a color.
    register(0x3ce, 5, 0x08);
    register(0x3ce, 2, 0b0101);
    register(0x3ce, 7, 0x0f);
    expect(rig.mmio.read(0xa0020, 1)).toBe(0xff);
    register(0x3ce, 2, 0b0111);
    expect(rig.mmio.read(0xa0020, 1)).toBe(0);
  });

  test("CRTC registers 0 to 7 are protected, index and data of the attribute controller take turns", () => {
    register(0x3d4, 0x01, 0x10);
    expect(rig.in(0x3d5)).toBe(0x4f);
    register(0x3d4, 0x11, 0x0e);
    register(0x3d4, 0x01, 0x27);
    expect(rig.in(0x3d5)).toBe(0x27);
    rig.in(0x3da);
    rig.out(0x3c0, 0x31);
    rig.out(0x3c0, 0x2a);
    rig.out(0x3c0, 0x31);
    expect(rig.in(0x3c1)).toBe(0x2a);
  });

  test("the CRTC moves with the miscellaneous register's address select", () => {
    expect(rig.in(0x3b4)).toBe(0xff);
    rig.out(0x3c2, 0x66);
    expect(rig.in(0x3cc)).toBe(0x66);
    rig.out(0x3b4, 0x0f);
    expect(rig.in(0x3b4)).toBe(0x0f);
    expect(rig.in(0x3d4)).toBe(0xff);
  });

  test("vertical retrace comes 70 times a second", () => {
    let retraces = 0;
    let before = 0;
    for (let step = 0; step < 100_000; step++) {
      const now = rig.in(0x3da) & 8;
      if (now > before) retraces++;
      before = now;
      rig.pass(10_000);
    }
    expect(retraces).toBe(70);
  });

  test("the palette is read and written in turns of three", () => {
    rig.out(0x3c8, 5);
    for (const value of [1, 2, 0xff]) rig.out(0x3c9, value);
    expect(rig.in(0x3c8)).toBe(6);
    rig.out(0x3c7, 5);
    expect([rig.in(0x3c9), rig.in(0x3c9), rig.in(0x3c9)]).toEqual([1, 2, 0x3f]);
  });
});
