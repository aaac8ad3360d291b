import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { encodePlain } from "../../../src/core/plain-data.ts";
import { multicastBit } from "../../../src/devices/ne2000/filter.ts";
import { encodeFrame, withCheckSequence } from "../../../src/devices/net/ethernet.ts";
import { TEN_MEGABIT } from "../../../src/devices/net/link.ts";
import { ADDRESS, address, BASE, Bench, P0, PAGE1, READ, SEND, START, STOP, TRANSMIT, WRITE } from "./card.ts";

const PEER = "02:00:00:00:00:01";

/** A frame for the card with so many bytes of payload. */
function frameFor(length: number, destination = ADDRESS, fill = 0xa5): Uint8Array {
  return encodeFrame({ destination, source: PEER, etherType: 0x88b5, payload: new Uint8Array(length).fill(fill) });
}

describe("registers", () => {
  test("at power-on the chip is stopped, says so, and keeps its interrupt low", () => {
    const card = new Bench();
    expect(card.in(P0.CR)).toBe(0x21);
    expect(card.in(P0.ISR)).toBe(0x80);
    expect(card.irq.level).toBe(false);
  });

  test("STA stays when the chip is stopped; TXP is the chip's to clear; RST tells of the stop and goes with the start", () => {
    const card = new Bench();
    card.initialise();
    expect(card.in(P0.CR)).toBe(0x22);
    expect(card.in(P0.ISR) & 0x80).toBe(0);
    card.out(P0.CR, STOP);
    expect(card.in(P0.CR)).toBe(0x23);
    expect(card.in(P0.ISR) & 0x80).toBe(0x80);
    card.out(P0.CR, 0x24);
    expect(card.in(P0.CR)).toBe(0x26);
    card.wait(2_000_000);
    expect(card.in(P0.CR)).toBe(0x22);
  });

  test("a stop command lets the frame on the cable finish before RST comes", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.out(P0.CR, TRANSMIT);
    card.out(P0.CR, STOP);
    expect(card.in(P0.ISR)).toBe(0);
    card.wait(100_000);
    expect(card.in(P0.ISR)).toBe(0x82);
    expect(card.seen).toHaveLength(1);
  });

  test("a stop command loses the frame that waits for the cable: neither PTX nor TXE tells of it, and it goes out when it is commanded anew", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.far.begin(new Uint8Array(64));
    card.wait(1_000);
    card.out(P0.CR, TRANSMIT);
    card.out(P0.CR, STOP);
    expect(card.in(P0.ISR)).toBe(0x80);
    card.far.end();
    card.wait(1_600_000);
    expect(card.in(P0.ISR)).toBe(0x80);
    card.out(P0.CR, START);
    card.wait(1_000_000);
    expect(card.seen).toHaveLength(0);
    card.out(P0.CR, TRANSMIT);
    card.wait(1_000_000);
    expect(card.in(P0.ISR)).toBe(0x02);
    expect(card.seen).toHaveLength(1);
  });

  test("a stopped chip does not try again after a collision", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.out(P0.CR, TRANSMIT);
    card.wait(1_000);
    card.out(P0.CR, STOP);
    card.far.begin(new Uint8Array(64));
    card.wait(2_000);
    card.far.cut();
    card.wait(100_000_000);
    expect(card.in(P0.ISR)).toBe(0x80);
    expect(card.seen.filter((frame) => frame.length > 60)).toHaveLength(0);
  });

  test("page 1 keeps addresses, page 2 shows what page 0 takes, with unused bits as ones", () => {
    const card = new Bench();
    card.initialise({ rcr: 0x1d });
    card.out(P0.CR, PAGE1);
    for (let offset = 1; offset < 16; offset++) card.out(offset, 0x10 + offset);
    for (let offset = 1; offset < 16; offset++) expect(card.in(offset)).toBe(0x10 + offset);
    card.out(P0.CR, 0xa2);
    expect([1, 2, 12, 13, 14, 15].map((offset) => card.in(offset))).toEqual([0x46, 0x80, 0xdd, 0xe0, 0xc9, 0xff]);
    expect(card.in(8)).toBe(0xff);
  });

  test("page 3 of a plain DP8390 is not there", () => {
    const card = new Bench();
    card.out(P0.CR, 0xe1);
    for (let offset = 1; offset < 16; offset++) {
      card.out(offset, 0x55);
      expect(card.in(offset)).toBe(0xff);
    }
  });

  test("the reset port stops the chip, masks interrupts and leaves the rest", () => {
    const card = new Bench();
    card.initialise({ tcr: 0x01 });
    card.setRemote(0x4000, 0, READ);
    expect(card.irq.level).toBe(true);
    card.in(0x1f);
    expect(card.irq.level).toBe(false);
    expect(card.in(P0.CR)).toBe(0x21);
    expect(card.in(P0.ISR)).toBe(0xc0);
    expect(card.in(P0.BNRY)).toBe(0x46);
    card.out(P0.CR, 0xa1);
    expect([13, 14, 15].map((offset) => card.in(offset))).toEqual([0xe1, 0xcd, 0x80]);
  });

  test("a wide access to registers is one access to each", () => {
    const card = new Bench();
    card.out(P0.PSTART, 0x8046, 2);
    card.out(P0.CR, 0xa1);
    expect(card.in(P0.PSTART, 2)).toBe(0x8046);
  });
});

describe("interrupts", () => {
  test("a cause raises the line while its mask bit is set, and writing a one clears that cause only", () => {
    const card = new Bench();
    card.initialise({ imr: 0x40 });
    card.setRemote(0x4000, 0, READ);
    card.arrive(frameFor(100));
    expect(card.in(P0.ISR)).toBe(0x41);
    expect(card.edges).toEqual([true]);
    card.out(P0.ISR, 0x40);
    expect(card.in(P0.ISR)).toBe(0x01);
    expect(card.edges).toEqual([true, false]);
    card.out(P0.IMR, 0x01);
    expect(card.irq.level).toBe(true);
  });

  test("no cause is lost when one that is raised meets the acknowledgement of another at the same instant", () => {
    const card = new Bench();
    card.initialise();
    card.arrive(frameFor(100));
    const whole = frameFor(200);
    card.wait(card.far.begin(whole));
    card.far.end();
    const acknowledge = card.clock.alarm("driver", () => card.out(P0.ISR, 0x7e));
    acknowledge.set(card.clock.now + 500);
    card.wait(500);
    expect(card.in(P0.ISR)).toBe(0x01);
    card.out(P0.ISR, 0x01);
    expect(card.irq.level).toBe(false);
  });

  test("RST never interrupts and cannot be written away", () => {
    const card = new Bench();
    card.out(P0.IMR, 0xff);
    card.out(P0.ISR, 0xff);
    expect(card.in(P0.ISR)).toBe(0x80);
    expect(card.irq.level).toBe(false);
  });
});

describe("remote DMA", () => {
  test("the PROM shows the station address twice, byte by byte, and W W at its end", () => {
    const card = new Bench();
    card.out(P0.DCR, 0x48);
    card.setRemote(0, 32, READ);
    const bytes = Array.from({ length: 32 }, () => card.in(0x10));
    expect(bytes).toEqual([...address(), 0, 0, 0, 0, 0, 0, 0, 0, 0x57, 0x57].flatMap((byte) => [byte, byte]));
    expect(card.in(P0.ISR)).toBe(0x40);
  });

  test.each([
    ["bytes", 0x48, 1],
    ["words", 0x49, 2],
    ["double words", 0x49, 4],
  ] as const)("packet memory takes and gives %s", (_name, dcr, width) => {
    const card = new Bench();
    card.initialise({ dcr });
    const values = [0x11, 0x22, 0x33, 0x44].map((seed) => (seed * 0x01030507) & (2 ** (8 * width) - 1));
    card.setRemote(0x4100, 4 * width, WRITE);
    for (const value of values) card.out(0x10, value >>> 0, width);
    expect(card.in(P0.ISR)).toBe(0x40);
    card.out(P0.ISR, 0x40);
    card.setRemote(0x4100, 4 * width, READ);
    expect(values.map(() => card.in(0x10, width))).toEqual(values.map((value) => value >>> 0));
    expect(card.in(P0.ISR)).toBe(0x40);
  });

  test("a byte read of the data port in word mode takes the whole word", () => {
    const card = new Bench();
    card.initialise();
    card.writeMemory(0x4000, Uint8Array.of(1, 2, 3, 4));
    card.setRemote(0x4000, 4, READ);
    expect([card.in(0x10), card.in(0x10)]).toEqual([1, 3]);
  });

  test("outside PROM and packet memory there is nothing, and the PROM cannot be written", () => {
    const card = new Bench();
    card.initialise({ pstop: 0x70 });
    for (const start of [0, 0x3ffe, 0x8000]) card.writeMemory(start, Uint8Array.of(0xaa, 0xbb, 0xcc, 0xdd));
    expect([...card.readMemory(0, 4)]).toEqual([0x52, 0x52, 0x54, 0x54]);
    expect([...card.readMemory(0x3ffe, 4)]).toEqual([0xff, 0xff, 0xcc, 0xdd]);
    expect([...card.readMemory(0x7ffc, 6)]).toEqual([0, 0, 0, 0, 0xff, 0xff]);
  });

  test("at PSTOP the address goes on at PSTART", () => {
    const card = new Bench();
    card.initialise();
    card.writeMemory(0x7ffe, Uint8Array.of(1, 2, 3, 4));
    expect([...card.readMemory(0x4600, 2)]).toEqual([3, 4]);
    expect([...card.readMemory(0x7ffe, 4)]).toEqual([1, 2, 3, 4]);
  });

  test("the data port is idle without a command, after its count, after an abort and in the wrong direction", () => {
    const card = new Bench();
    card.initialise();
    card.writeMemory(0x4000, Uint8Array.of(1, 2, 3, 4));
    expect(card.in(0x10, 2)).toBe(0xffff);
    card.setRemote(0x4000, 4, READ);
    card.out(0x10, 0xeeee, 2);
    expect(card.in(0x10, 4)).toBe(0x04030201);
    expect(card.in(0x10, 2)).toBe(0xffff);
    card.setRemote(0x4000, 4, READ);
    card.out(P0.CR, START);
    expect(card.in(0x10, 2)).toBe(0xffff);
    expect(card.in(P0.RSAR0)).toBe(0);
  });

  test("send packet reads the frame at BNRY and moves BNRY on", () => {
    const card = new Bench();
    card.initialise({ dcr: 0x59 });
    card.arrive(frameFor(300, ADDRESS, 0x77));
    const next = card.page1(7);
    card.out(P0.RBCR1, 0x0f);
    card.out(P0.CR, SEND);
    const words = Array.from({ length: 159 }, () => card.in(0x10, 2));
    expect(words.slice(0, 2)).toEqual([0x0001 | (next << 8), 318]);
    expect(words[20]).toBe(0x7777);
    expect(card.in(P0.BNRY)).toBe(next);
    card.out(P0.CR, SEND);
    expect(card.in(0x10, 2)).toBe(0xffff);
  });

  test("send packet makes room: RST of an overflow goes with the frame", () => {
    const card = new Bench();
    card.initialise({ dcr: 0x59, pstart: 0x50, pstop: 0x52 });
    card.arrive(frameFor(100));
    card.out(P0.CR, SEND);
    card.arrive(frameFor(100));
    expect(card.in(P0.ISR) & 0x80).toBe(0x80);
    for (let word = 0; word < 59; word++) card.in(0x10, 2);
    expect(card.in(P0.ISR) & 0xc0).toBe(0x40);
  });

  test("nothing to transfer is complete at once, but not for a stopped chip", () => {
    const card = new Bench();
    card.initialise();
    card.setRemote(0x4000, 0, 0x09);
    expect(card.in(P0.ISR) & 0x40).toBe(0);
    card.setRemote(0x4000, 0, READ);
    expect(card.in(P0.ISR) & 0x40).toBe(0x40);
  });

  test("send packet does nothing unless the data configuration allows it", () => {
    const card = new Bench();
    card.initialise();
    card.arrive(frameFor(300));
    card.out(P0.CR, SEND);
    expect(card.in(0x10, 2)).toBe(0xffff);
    expect(card.in(P0.BNRY)).toBe(0x46);
  });
});

describe("transmission", () => {
  test("takes 10 Mbit/s with preamble and check sequence, then says PTX", () => {
    const card = new Bench();
    card.initialise();
    const bytes = Uint8Array.from({ length: 60 }, (_, index) => index);
    card.writeMemory(0x4000, bytes);
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.out(P0.TBCR1, 0);
    card.out(P0.ISR, 0xff);
    card.out(P0.CR, TRANSMIT);
    card.wait((8 + 64) * 800 - 1);
    expect(card.in(P0.CR)).toBe(TRANSMIT);
    expect(card.in(P0.ISR)).toBe(0);
    card.wait(1);
    expect(card.in(P0.CR)).toBe(START);
    expect(card.in(P0.ISR)).toBe(0x02);
    expect(card.in(P0.TSR)).toBe(0x01);
    card.wait(500);
    expect(card.seen).toEqual([withCheckSequence(bytes)]);
  });

  test("frames follow each other after the gap of 9.6 microseconds", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    for (let sent = 0; sent < 2; sent++) {
      card.out(P0.CR, TRANSMIT);
      while (card.in(P0.CR) === TRANSMIT) card.wait(100);
    }
    const sent = card.events.filter(({ kind }) => kind === "frame-sent").map(({ at }) => at);
    expect(sent[1]! - sent[0]!).toBe(72 * 800 + 9_600);
  });

  test("leaves the check sequence to software when TCR.CRC is set", () => {
    const card = new Bench();
    card.initialise({ tcr: 0x01 });
    const whole = frameFor(100, PEER);
    card.writeMemory(0x4000, whole);
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, whole.length);
    card.out(P0.CR, TRANSMIT);
    card.wait(200_000);
    expect(card.seen).toEqual([whole]);
  });

  test("byte order select swaps the words of what goes out", () => {
    const card = new Bench();
    card.initialise({ dcr: 0x4b });
    card.writeMemory(
      0x4000,
      Uint8Array.from({ length: 60 }, (_, index) => index),
    );
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.out(P0.CR, TRANSMIT);
    card.wait(200_000);
    expect([...card.seen[0]!.subarray(0, 6)]).toEqual([1, 0, 3, 2, 5, 4]);
  });

  test("waits for another's carrier and the gap behind it", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    const busyNs = card.far.begin(frameFor(46, PEER));
    card.wait(1_000);
    expect(card.in(P0.RSR) & 0x80).toBe(0x80);
    card.out(P0.CR, TRANSMIT);
    card.wait(busyNs - 1_000);
    card.far.end();
    card.wait(500 + 9_600 + 72 * 800);
    expect(card.in(P0.TSR)).toBe(0x01);
    expect(card.in(P0.NCR)).toBe(0);
    expect(card.in(P0.RSR) & 0x80).toBe(0);
  });

  test("after a collision it backs off, tries again and counts", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.out(P0.CR, TRANSMIT);
    card.far.begin(frameFor(46, PEER));
    card.wait(600);
    card.far.cut();
    card.wait(2_000_000);
    expect(card.in(P0.TSR)).toBe(0x05);
    expect(card.in(P0.NCR)).toBe(1);
    expect(card.in(P0.ISR)).toBe(0x02);
    expect(card.seen.at(-1)).toHaveLength(64);
  });

  test("with TCR.OFST the first backoffs are drawn from a longer range", () => {
    const longestWait = (tcr: number) => {
      const card = new Bench();
      card.initialise({ tcr });
      card.out(P0.TPSR, 0x40);
      card.out(P0.TBCR0, 60);
      const starts: number[] = [];
      let cut = false;
      card.onCarrier = () => {
        if (!card.far.carrier) return;
        starts.push(card.clock.now);
        if (cut) return;
        cut = true;
        card.far.begin(frameFor(46, PEER));
        card.far.cut();
      };
      const waits: number[] = [];
      for (let sent = 0; sent < 40; sent++) {
        starts.length = 0;
        cut = false;
        card.out(P0.CR, TRANSMIT);
        card.wait(10_000_000);
        waits.push(starts[1]! - starts[0]!);
      }
      return Math.max(...waits) / 51_200;
    };
    expect(longestWait(0x00)).toBeLessThan(2);
    expect(longestWait(0x10)).toBeGreaterThan(8);
    expect(longestWait(0x10)).toBeLessThan(17);
  });

  test("gives up after sixteen collisions", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    let collisions = 0;
    // The other end answers every signal with its own.
    card.onCarrier = () => {
      if (!card.far.carrier) return;
      card.far.begin(frameFor(46, PEER));
      card.far.cut();
      collisions++;
    };
    card.out(P0.CR, TRANSMIT);
    card.wait(1_000_000_000);
    expect(collisions).toBe(16);
    expect(card.in(P0.TSR)).toBe(0x0c);
    expect(card.in(P0.NCR)).toBe(0);
    expect(card.in(P0.ISR)).toBe(0x08);
    expect(card.in(P0.CR)).toBe(START);
  });

  test("a collision after the slot time is an out-of-window collision", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 0);
    card.out(P0.TBCR1, 2);
    card.out(P0.CR, TRANSMIT);
    card.wait(60_000);
    card.far.begin(frameFor(46, PEER));
    card.far.cut();
    card.wait(100_000_000);
    expect(card.in(P0.TSR)).toBe(0x85);
  });

  test("with full duplex both ends send at once", () => {
    const card = new Bench({ ...TEN_MEGABIT, fullDuplex: true });
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.out(P0.CR, TRANSMIT);
    card.arrive(frameFor(100));
    expect(card.in(P0.ISR)).toBe(0x03);
    expect(card.in(P0.TSR)).toBe(0x01);
    expect(card.seen).toHaveLength(1);
  });

  test("a frame that leaves packet memory goes out with ones where there is nothing", () => {
    const card = new Bench();
    card.initialise();
    card.writeMemory(0x7f00, new Uint8Array(256).fill(0x33));
    card.out(P0.TPSR, 0x7f);
    card.out(P0.TBCR1, 0x04);
    card.out(P0.CR, TRANSMIT);
    card.wait(2_000_000);
    expect(card.seen[0]!.subarray(0, 256)).toEqual(new Uint8Array(256).fill(0x33));
    expect(card.seen[0]!.subarray(256, 1024)).toEqual(new Uint8Array(768).fill(0xff));
  });

  test("a multicast frame that hashes to bit 62 disables the transmitter, one that hashes to 63 enables it", () => {
    const hashing = (bit: number) => {
      for (let last = 0; last < 0x10000; last++) {
        const bytes = Uint8Array.of(1, 0, 0, 0, last >> 8, last & 0xff);
        if (multicastBit(bytes) === bit)
          return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
      }
      throw new Error(`no address hashes to ${bit}`);
    };
    const card = new Bench();
    card.initialise({ rcr: 0x08, tcr: 0x08 });
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.arrive(frameFor(46, hashing(62)));
    card.out(P0.CR, TRANSMIT);
    card.wait(1_000_000);
    expect(card.seen).toHaveLength(0);
    expect(card.in(P0.CR)).toBe(TRANSMIT);
    card.arrive(frameFor(46, hashing(63)));
    card.wait(1_000_000);
    expect(card.seen).toHaveLength(1);
  });

  test("what the reset port interrupts is not told, and the next command is carried out", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, 60);
    card.out(P0.CR, TRANSMIT);
    card.in(0x18);
    card.out(P0.CR, START);
    card.out(P0.CR, TRANSMIT);
    card.wait(60_000);
    expect(card.seen).toHaveLength(1);
    expect(card.in(P0.ISR)).toBe(0);
    card.wait(100_000);
    expect(card.seen).toHaveLength(2);
    expect(card.in(P0.ISR)).toBe(0x02);
  });
});

describe("loopback (AN-937, section 6)", () => {
  const loop = (tcr: number, destination: string, length = 61) => {
    const card = new Bench();
    card.initialise({ rcr: 0x00, dcr: 0x40, tcr });
    const bytes = frameFor(100, destination).subarray(0, length);
    card.setRemote(0x4000, length, WRITE);
    for (const byte of bytes) card.out(0x10, byte);
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, length);
    card.out(P0.ISR, 0xff);
    card.out(P0.CR, TRANSMIT);
    card.wait(1_000_000);
    return { card, bytes, status: [card.in(P0.TSR), card.in(P0.RSR), card.in(P0.ISR)] };
  };

  test.each([
    ["the controller, for this station", 0x02, ADDRESS, [0x51, 0x02, 0x06]],
    ["the controller, for another", 0x02, PEER, [0x51, 0x01, 0x02]],
    ["the encoder, for this station", 0x04, ADDRESS, [0x41, 0x02, 0x06]],
    ["the transceiver, for this station", 0x06, ADDRESS, [0x01, 0x02, 0x06]],
  ])("through %s", (_name, tcr, destination, status) => {
    const { card, status: found } = loop(tcr, destination);
    expect(found).toEqual(status);
    expect(card.seen).toHaveLength(tcr === 0x06 ? 1 : 0);
    expect(card.page1(7)).toBe(0x46);
  });

  test("the FIFO shows the length, the last byte and the check sequence", () => {
    const { card, bytes } = loop(0x02, ADDRESS, 61);
    const fifo = Array.from({ length: 8 }, () => card.in(P0.FIFO));
    const length = 61 + 4;
    expect(fifo).toEqual([length, 0, 0, ...withCheckSequence(bytes).subarray(60)]);
  });

  test("the receiver checks what software appended", () => {
    const card = new Bench();
    card.initialise({ rcr: 0x00, dcr: 0x40, tcr: 0x03 });
    const whole = frameFor(50);
    card.setRemote(0x4000, whole.length, WRITE);
    for (const byte of whole) card.out(0x10, byte);
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, whole.length);
    card.out(P0.CR, TRANSMIT);
    card.wait(1_000_000);
    expect(card.in(P0.RSR)).toBe(0x01);
    expect(card.in(P0.ISR) & 0x04).toBe(0);
  });

  test.each([
    ["odd", 0x41, 1],
    ["even, with byte order select,", 0x43, 0],
  ])("in word mode the %s bytes of words go round", (_name, dcr, lane) => {
    const card = new Bench();
    card.initialise({ rcr: 0x00, dcr, tcr: 0x03 });
    const whole = frameFor(55);
    const spread = new Uint8Array(2 * whole.length);
    for (const [index, byte] of whole.entries()) spread[2 * index + lane] = byte;
    card.writeMemory(0x4000, spread);
    card.out(P0.TPSR, 0x40);
    card.out(P0.TBCR0, spread.length);
    card.out(P0.CR, TRANSMIT);
    card.wait(1_000_000);
    expect([card.in(P0.RSR), card.in(P0.FIFO)]).toEqual([0x01, whole.length]);
  });

  test("frames from the cable do not come in", () => {
    const card = new Bench();
    card.initialise({ tcr: 0x02 });
    card.arrive(frameFor(100));
    expect(card.take()).toBeUndefined();
  });
});

test("a snapshot in the middle of a transmission goes on as the original does", () => {
  const run = (card: Bench) => {
    card.wait(500_000);
    const taken = card.take();
    return encodePlain({ seen: card.seen, taken, state: card.chip.save() });
  };
  const first = new Bench();
  first.initialise();
  first.arrive(frameFor(700));
  first.out(P0.TPSR, 0x46);
  first.out(P0.TBCR0, 200);
  first.out(P0.CR, TRANSMIT);
  first.wait(20_000);
  const saved = { chip: first.chip.save(), link: first.link.save(), clock: first.clock.save(), irq: first.irq.save() };
  const second = new Bench();
  second.chip.load(saved.chip);
  second.link.load(saved.link);
  second.clock.load(saved.clock);
  second.irq.load(saved.irq);
  expect(run(second)).toEqual(run(first));
  const { registers } = saved.chip;
  expect(() => second.chip.load({ ...saved.chip, registers: { ...registers, CURR: 256 } })).toThrow(InputError);
  expect(() => second.chip.load({ ...saved.chip, memory: new Uint8Array(3) })).toThrow(InputError);
});

test("the card has 32 ports and no more", () => {
  const card = new Bench();
  expect(card.ports.read(BASE - 1, 1)).toBe(0xff);
  expect(card.ports.read(BASE + 32, 1)).toBe(0xff);
  expect(card.in(0)).toBe(0x21);
});
