import { describe, expect, test } from "vitest";
import { Rig, type RigOptions } from "./rig.ts";

const COM1 = 0x3f8;
/** One character of 10 bits at 115,200 baud. */
const CHARACTER_NS = 86_806;
const IRQ4 = 0x0c;

function uart(options: RigOptions = {}): Rig {
  const rig = new Rig(options);
  rig.initializePics();
  rig.out(COM1 + 3, 0x83);
  rig.out(COM1, 1);
  rig.out(COM1 + 1, 0);
  rig.out(COM1 + 3, 0x03);
  rig.out(COM1 + 4, 0x0b);
  return rig;
}
const sendTo = (rig: Rig, text: string): number => rig.platform.com1.send(new TextEncoder().encode(text));
const sent = (rig: Rig): string => String.fromCharCode(...rig.serial[0]!);

describe("the 16550A", () => {
  test("a byte leaves after ten bit times; THRE is back as soon as it is in the shift register", () => {
    const rig = uart();
    rig.out(COM1, 0x41);
    expect(rig.in(COM1 + 5)).toBe(0x20);
    rig.out(COM1, 0x42);
    expect(rig.in(COM1 + 5)).toBe(0x00);
    rig.pass(CHARACTER_NS - 1);
    expect(sent(rig)).toBe("");
    rig.pass(1);
    expect(sent(rig)).toBe("A");
    rig.pass(CHARACTER_NS);
    expect(sent(rig)).toBe("AB");
    expect(rig.in(COM1 + 5)).toBe(0x60);
  });

  test("an instant transmitter is always empty", () => {
    const rig = uart({ serialTransmitTime: "instant" });
    for (const byte of [0x61, 0x62, 0x63]) {
      rig.out(COM1, byte);
      expect(rig.in(COM1 + 5)).toBe(0x60);
    }
    expect(sent(rig)).toBe("abc");
  });

  test("a full transmitter FIFO loses what comes after its 16 bytes", () => {
    const rig = uart();
    rig.out(COM1 + 2, 0x01);
    for (let byte = 0; byte < 20; byte++) rig.out(COM1, 0x41 + byte);
    rig.pass(30 * CHARACTER_NS);
    // One byte is in the shift register, sixteen in the FIFO.
    expect(sent(rig)).toBe("ABCDEFGHIJKLMNOPQ");
  });

  test("the THRE interrupt comes when it is enabled, goes by reading IIR, and comes again after a byte", () => {
    const rig = uart();
    rig.out(COM1 + 1, 0x02);
    expect(rig.interrupts()).toEqual([IRQ4]);
    expect(rig.in(COM1 + 2)).toBe(0x02);
    expect(rig.in(COM1 + 2)).toBe(0x01);
    rig.out(COM1, 0x41);
    expect(rig.in(COM1 + 2)).toBe(0x02);
    rig.out(COM1, 0x42);
    expect(rig.in(COM1 + 2)).toBe(0x01);
    rig.pass(CHARACTER_NS);
    expect(rig.in(COM1 + 2)).toBe(0x02);
  });

  test("without OUT2 no interrupt leaves the card", () => {
    const rig = uart();
    rig.out(COM1 + 4, 0x03);
    rig.out(COM1 + 1, 0x02);
    expect(rig.interrupts()).toEqual([]);
    expect(rig.in(COM1 + 2)).toBe(0x02);
  });

  test("bytes arrive one after another at the line's speed and interrupt", () => {
    const rig = uart();
    rig.out(COM1 + 1, 0x01);
    expect(sendTo(rig, "hi")).toBe(2);
    rig.pass(CHARACTER_NS);
    expect(rig.interrupts()).toEqual([IRQ4]);
    expect(rig.in(COM1 + 2)).toBe(0x04);
    expect(rig.in(COM1)).toBe(0x68);
    expect(rig.in(COM1 + 5) & 1).toBe(0);
    rig.pass(CHARACTER_NS);
    expect(rig.in(COM1)).toBe(0x69);
  });

  test("without FIFOs a byte that nobody read is overwritten, and OE says so once", () => {
    const rig = uart();
    sendTo(rig, "xyz");
    rig.pass(3 * CHARACTER_NS);
    expect(rig.in(COM1 + 5)).toBe(0x63);
    expect(rig.in(COM1 + 5)).toBe(0x61);
    expect(rig.in(COM1)).toBe(0x7a);
  });

  test("the FIFO interrupts at its trigger level, and by time-out below it", () => {
    const rig = uart();
    rig.out(COM1 + 2, 0x81);
    rig.out(COM1 + 1, 0x01);
    sendTo(rig, "12345678");
    rig.pass(7 * CHARACTER_NS);
    expect(rig.in(COM1 + 2)).toBe(0xc1);
    rig.pass(CHARACTER_NS);
    expect(rig.in(COM1 + 2)).toBe(0xc4);
    expect(rig.in(COM1)).toBe(0x31);
    expect(rig.in(COM1 + 2)).toBe(0xc1);
    rig.pass(4 * CHARACTER_NS);
    expect(rig.in(COM1 + 2)).toBe(0xcc);
    expect(rig.in(COM1)).toBe(0x32);
    expect(rig.in(COM1 + 2)).toBe(0xc1);
  });

  test("a FIFO that overflows keeps its sixteen oldest bytes", () => {
    const rig = uart();
    rig.out(COM1 + 2, 0x01);
    sendTo(rig, "abcdefghijklmnopqrst");
    rig.pass(20 * CHARACTER_NS);
    expect(rig.in(COM1 + 5)).toBe(0x63);
    let text = "";
    while ((rig.in(COM1 + 5) & 1) !== 0) text += String.fromCharCode(rig.in(COM1));
    expect(text).toBe("abcdefghijklmnop");
  });

  test("in loopback bytes and modem signals come back and nothing leaves", () => {
    const rig = uart();
    rig.out(COM1 + 4, 0x1a);
    expect(rig.in(COM1 + 6) >>> 4).toBe(0b1001);
    rig.out(COM1, 0x55);
    rig.pass(CHARACTER_NS);
    expect(rig.in(COM1)).toBe(0x55);
    expect(sent(rig)).toBe("");
    rig.out(COM1 + 4, 0x0b);
    expect(rig.in(COM1 + 6)).toBe(0xb0 | 0x02);
    expect(rig.in(COM1 + 6)).toBe(0xb0);
  });

  test("the divisor latch is behind DLAB, the scratch register keeps what it is given", () => {
    const rig = uart();
    rig.out(COM1 + 3, 0x83);
    expect([rig.in(COM1), rig.in(COM1 + 1)]).toEqual([1, 0]);
    rig.out(COM1 + 7, 0x5a);
    expect(rig.in(COM1 + 7)).toBe(0x5a);
  });
});
