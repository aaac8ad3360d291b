import { describe, expect, test } from "vitest";
import { multicastBit } from "../../../src/devices/ne2000/filter.ts";
import { encodeFrame, withCheckSequence } from "../../../src/devices/net/ethernet.ts";
import { ADDRESS, Bench, P0, PAGE1, START, STOP } from "./card.ts";

const PEER = "02:00:00:00:00:01";
const BROADCAST = "ff:ff:ff:ff:ff:ff";
const GROUP = "01:00:5e:00:00:01";

function frameFor(payload: number, destination = ADDRESS, fill = 0xa5): Uint8Array {
  return encodeFrame({ destination, source: PEER, etherType: 0x88b5, payload: new Uint8Array(payload).fill(fill) });
}

/** A frame of so many bytes with its check sequence. */
function frameOf(length: number, fill: number): Uint8Array {
  return withCheckSequence(frameFor(2000, ADDRESS, fill).subarray(0, length - 4));
}

function withBadCheckSequence(frame: Uint8Array): Uint8Array {
  const bad = frame.slice();
  bad[20]! ^= 1;
  return bad;
}

describe("the ring", () => {
  test("a frame lies behind its header: status, next page, length with the check sequence", () => {
    const card = new Bench();
    card.initialise();
    const frame = frameFor(300);
    card.arrive(frame);
    expect(card.in(P0.ISR)).toBe(0x01);
    expect(card.in(P0.RSR)).toBe(0x01);
    expect([...card.readMemory(0x4600, 4)]).toEqual([0x01, 0x48, 318 & 0xff, 318 >> 8]);
    expect(card.readMemory(0x4604, 318)).toEqual(frame);
    expect(card.page1(7)).toBe(0x48);
  });

  test("the four bytes of a header lie together wherever in the ring a frame begins, and the frame goes around", () => {
    const card = new Bench();
    card.initialise({ pstart: 0x50, pstop: 0x57 });
    for (let number = 0; number < 40; number++) {
      const frame = frameOf(64 + ((number * 97) % 1200), number);
      card.arrive(frame);
      const before = card.in(P0.BNRY);
      const taken = card.take();
      expect(taken?.frame).toEqual(frame);
      expect(taken?.status).toBe(0x01);
      expect(taken?.next).toBe(0x50 + ((before - 0x50 + Math.ceil((frame.length + 4) / 256)) % 7));
    }
  });

  test("raises OVW and keeps CURR when the ring is full, and what was acknowledged stays", () => {
    const card = new Bench();
    card.initialise({ pstart: 0x50, pstop: 0x54 });
    const frames = [1, 2, 3].map((fill) => frameOf(252, fill));
    for (const frame of frames) card.arrive(frame);
    expect(card.in(P0.ISR)).toBe(0x01);
    card.arrive(frameOf(252, 4));
    expect(card.in(P0.ISR)).toBe(0x95);
    expect(card.in(P0.RSR)).toBe(0x10);
    expect(card.in(15)).toBe(1);
    expect(card.in(15)).toBe(0);
    expect(card.page1(7)).toBe(0x53);
    expect(frames.map(() => card.take()?.frame)).toEqual(frames);
    expect(card.take()).toBeUndefined();
  });

  test("once room is made RST goes and the next frame comes in", () => {
    const card = new Bench();
    card.initialise({ pstart: 0x50, pstop: 0x52 });
    card.arrive(frameOf(252, 1));
    card.arrive(frameOf(252, 2));
    expect(card.in(P0.ISR) & 0x90).toBe(0x90);
    card.take();
    expect(card.in(P0.ISR) & 0x80).toBe(0);
    card.arrive(frameOf(252, 3));
    expect(card.take()?.frame).toEqual(frameOf(252, 3));
  });

  test("RST of a stopped chip stays when frames are taken out", () => {
    const card = new Bench();
    card.initialise();
    card.arrive(frameFor(100));
    card.out(P0.CR, STOP);
    card.out(P0.BNRY, 0x47);
    expect(card.in(P0.ISR) & 0x80).toBe(0x80);
  });

  test("a driver that keeps BNRY one page behind its next frame is served as well", () => {
    const card = new Bench();
    card.initialise({ pstart: 0x50, pstop: 0x56 });
    card.out(P0.CR, PAGE1);
    card.out(7, 0x51);
    card.out(P0.CR, START);
    let next = 0x51;
    for (let number = 0; number < 30; number++) {
      const frame = frameOf(100 + 30 * number, number);
      card.arrive(frame);
      const header = card.readMemory(next << 8, 4);
      expect(header[2]! | (header[3]! << 8)).toBe(frame.length);
      next = header[1]!;
      card.out(P0.BNRY, next === 0x50 ? 0x55 : next - 1);
    }
    expect(card.in(P0.ISR)).toBe(0x41);
  });

  test.each([
    ["PSTART above PSTOP", 0x70, 0x50, 0x70],
    ["PSTART equal to PSTOP", 0x50, 0x50, 0x50],
    ["PSTOP behind packet memory", 0x50, 0x90, 0x50],
    ["PSTART before packet memory", 0x10, 0x50, 0x10],
    ["CURR before PSTART", 0x50, 0x60, 0x4f],
    ["CURR at PSTOP", 0x50, 0x60, 0x60],
  ])("with %s no frame fits and nothing is written", (_name, pstart, pstop, curr) => {
    const card = new Bench();
    card.initialise({ pstart, pstop });
    card.out(P0.CR, PAGE1);
    card.out(7, curr);
    card.out(P0.CR, START);
    const before = card.chip.save().memory;
    card.arrive(frameFor(300));
    expect(card.in(P0.ISR)).toBe(0x94);
    expect(card.chip.save().memory).toEqual(before);
    expect(card.page1(7)).toBe(curr);
  });

  test("a frame larger than the ring is refused whole", () => {
    const card = new Bench();
    card.initialise({ pstart: 0x50, pstop: 0x54 });
    card.arrive(frameOf(1514, 1));
    expect(card.in(P0.ISR) & 0x11).toBe(0x10);
    expect(card.take()).toBeUndefined();
  });

  test("byte order select swaps words, but not status and next page", () => {
    const card = new Bench();
    card.initialise({ dcr: 0x4b });
    const frame = frameFor(46);
    card.arrive(frame);
    const words = card.readMemory(0x4600, 10);
    expect([...words]).toEqual([0x01, 0x47, 0, 64, frame[1], frame[0], frame[3], frame[2], frame[5], frame[4]]);
  });
});

describe("what is accepted", () => {
  const arrives = (rcr: number, frame: Uint8Array, multicast: number[] = []) => {
    const card = new Bench();
    card.initialise({ rcr });
    card.out(P0.CR, PAGE1);
    for (const bit of multicast) card.out(8 + (bit >> 3), 1 << (bit & 7));
    card.out(P0.CR, START);
    card.arrive(frame);
    return card.take()?.status;
  };
  const bit = multicastBit(Uint8Array.of(1, 0, 0x5e, 0, 0, 1));

  test.each([
    ["its own address", 0x00, ADDRESS, 0x01],
    ["another's address", 0x0c, PEER, undefined],
    ["another's address, promiscuous", 0x10, PEER, 0x01],
    ["broadcast", 0x04, BROADCAST, 0x21],
    ["broadcast without AB", 0x18, BROADCAST, undefined],
    ["a group whose bit is set", 0x08, GROUP, 0x21],
    ["a group without AM", 0x14, GROUP, undefined],
    ["a group whose bit is not set", 0x08, "01:00:5e:00:00:02", undefined],
  ])("%s", (_name, rcr, destination, status) => {
    expect(arrives(rcr, frameFor(100, destination), [bit])).toBe(status);
  });

  test("the hash is the one that drivers for this chip compute", () => {
    // Linux 8390.c and iPXE take ether_crc >> 26; values from that formula.
    const hash = (text: string) => multicastBit(Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16)));
    const etherCrc = (bytes: number[]) => {
      let crc = 0xffffffff;
      for (const byte of bytes) {
        for (let index = 0; index < 8; index++) {
          const carry = (crc >>> 31) ^ ((byte >> index) & 1);
          crc = ((crc << 1) ^ (carry ? 0x04c11db7 : 0)) >>> 0;
        }
      }
      return crc >>> 26;
    };
    for (const text of [GROUP, "33:33:00:00:00:01", "01:80:c2:00:00:00"]) {
      expect(hash(text)).toBe(etherCrc(text.split(":").map((byte) => Number.parseInt(byte, 16))));
    }
  });

  test("runts only with AR, frames with errors only with SEP", () => {
    const runt = withCheckSequence(frameFor(100).subarray(0, 30));
    expect(arrives(0x00, runt)).toBeUndefined();
    expect(arrives(0x02, runt)).toBe(0x01);
    const bad = withBadCheckSequence(frameFor(100));
    expect(arrives(0x00, bad)).toBeUndefined();
    expect(arrives(0x01, bad)).toBe(0x02);
  });

  test("errors are told and counted; reading a tally clears it; past 127 CNT calls, at 192 it stops", () => {
    const card = new Bench();
    card.initialise();
    const bad = withBadCheckSequence(frameFor(46));
    for (let count = 1; count <= 127; count++) card.arrive(bad);
    expect(card.in(P0.ISR)).toBe(0x04);
    card.arrive(bad);
    expect(card.in(P0.ISR)).toBe(0x24);
    for (let count = 129; count <= 300; count++) card.arrive(bad);
    expect(card.in(14)).toBe(192);
    expect(card.in(14)).toBe(0);
    expect(card.in(13)).toBe(0);
  });

  test("a frame that ends within a byte and fails its check is misaligned as well", () => {
    const card = new Bench();
    card.initialise();
    card.chip.receive(withBadCheckSequence(frameFor(100)), 3);
    expect(card.in(P0.RSR)).toBe(0x06);
    expect([card.in(13), card.in(14)]).toEqual([1, 1]);
    card.chip.receive(frameFor(100), 3);
    expect(card.in(P0.RSR)).toBe(0x01);
  });

  test("monitor mode checks and counts but stores nothing", () => {
    const card = new Bench();
    card.initialise({ rcr: 0x24 });
    card.arrive(frameFor(100));
    expect(card.in(P0.RSR)).toBe(0x50);
    expect(card.in(15)).toBe(1);
    expect(card.take()).toBeUndefined();
    card.out(P0.RCR, 0x04);
    expect(card.in(P0.RSR) & 0x40).toBe(0);
  });

  test("a stopped chip hears nothing", () => {
    const card = new Bench();
    card.initialise();
    card.out(P0.CR, STOP);
    card.arrive(frameFor(100));
    expect(card.take()).toBeUndefined();
    expect(card.in(P0.ISR) & 0x3f).toBe(0);
  });
});
