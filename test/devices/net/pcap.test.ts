import fc from "fast-check";
import { expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { withCheckSequence } from "../../../src/devices/net/ethernet.ts";
import { type CapturedFrame, readPcap, writePcap } from "../../../src/devices/net/pcap.ts";
import { ScriptedPeer } from "../../../src/devices/net/scripted-peer.ts";
import { Lan } from "./lan.ts";

const FRAMES: CapturedFrame[] = [
  { atNs: 0, bytes: new Uint8Array(60).fill(1) },
  { atNs: 1_500_000_001, bytes: new Uint8Array(100).fill(2) },
];

test("frames and times survive a file", () => {
  expect(readPcap(writePcap(FRAMES), "x.pcap")).toEqual(FRAMES);
  expect(readPcap(writePcap([]), "x.pcap")).toEqual([]);
});

test("reads microseconds in the other byte order, with times from the first frame on", () => {
  const file = new Uint8Array(24 + 2 * (16 + 14));
  const view = new DataView(file.buffer);
  view.setUint32(0, 0xa1b2c3d4);
  view.setUint16(4, 2);
  view.setUint16(6, 4);
  view.setUint32(16, 65535);
  view.setUint32(20, 1);
  for (const [index, [seconds, micros]] of (
    [
      [1_700_000_000, 999_999],
      [1_700_000_001, 1],
    ] as const
  ).entries()) {
    const at = 24 + 30 * index;
    view.setUint32(at, seconds);
    view.setUint32(at + 4, micros);
    view.setUint32(at + 8, 14);
    view.setUint32(at + 12, 14);
  }
  expect(readPcap(file, "x").map(({ atNs }) => atNs)).toEqual([0, 2_000]);
});

const damaged = (change: (view: DataView) => void, length?: number) => {
  const file = writePcap(FRAMES);
  change(new DataView(file.buffer));
  return () => readPcap(file.subarray(0, length), "x.pcap");
};

test.each([
  ["an empty file", damaged(() => {}, 0), "x.pcap, byte 0: the file ends within its header of 24 bytes"],
  ["another file", damaged((view) => view.setUint32(0, 0)), "x.pcap, byte 0: not a pcap file"],
  ["another version", damaged((view) => view.setUint16(4, 3, true)), "x.pcap, byte 4: version 3, only 2 is known"],
  [
    "another link",
    damaged((view) => view.setUint32(20, 113, true)),
    "x.pcap, byte 20: link type 113, not Ethernet without check sequences (1)",
  ],
  ["a cut header", damaged(() => {}, 110), "x.pcap, record 1, byte 100: the file ends within a record's header"],
  ["a cut frame", damaged(() => {}, 200), "x.pcap, record 1, byte 116: the file ends within a frame of 100 bytes"],
  [
    "a huge frame",
    damaged((view) => view.setUint32(32, 0xffff_ffff, true)),
    "x.pcap, record 0, byte 32: a frame of 4294967295 bytes, at most 262144",
  ],
  [
    "a cut capture",
    damaged((view) => view.setUint32(36, 1500, true)),
    "x.pcap, record 0, byte 36: 60 bytes were kept of a frame of 1500",
  ],
  [
    "a wrong fraction",
    damaged((view) => view.setUint32(28, 1_000_000_000, true)),
    "x.pcap, record 0, byte 28: 1000000000 parts of a second of which it has 1000000000",
  ],
  [
    "time that goes back",
    damaged((view) => view.setUint32(24, 9, true)),
    "x.pcap, record 1, byte 100: a time before the first frame's",
  ],
  [
    "time beyond the clock",
    damaged((view) => view.setUint32(100, 0xffff_ffff, true)),
    "x.pcap, record 1, byte 100: more than 104 days after the first frame",
  ],
])("%s is refused with the place", (_name, read, message) => {
  expect(read).toThrow(InputError);
  expect(read).toThrow(message);
});

test("any damage gives frames or an error that says where", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(215), fc.nat(255)), { maxLength: 5 }), fc.nat(216), (changes, length) => {
      const file = writePcap(FRAMES);
      for (const [at, value] of changes) file[at] = value;
      try {
        expect(readPcap(file.subarray(0, length), "x").length).toBeLessThanOrEqual(2);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        expect((error as Error).message).toMatch(/^x, (record \d, )?byte \d+: /);
      }
    }),
    { numRuns: 2000, seed: 7 },
  );
});

test("a scripted peer sends frames at their times and keeps what it hears", () => {
  const lan = new Lan();
  const link = lan.link("cable");
  const wires = (index: 0 | 1) => ({
    clock: lan.clock,
    medium: link.ends[index],
    random: lan.random.stream(`peer ${index}`),
  });
  const sender = new ScriptedPeer("sender", wires(0), FRAMES);
  const listener = new ScriptedPeer("listener", wires(1), []);
  lan.wait(3_000_000_000);
  expect(listener.heard).toEqual(FRAMES.map(({ bytes }) => withCheckSequence(bytes)));
  expect(lan.of("frame-sent").map(({ at, data }) => at - (8 + data.length) * 800)).toEqual([0, 1_500_000_001]);
  expect(sender.save().sent).toBe(2);
  listener.load({ ...listener.save(), heard: [] });
  expect(listener.heard).toEqual([]);
  expect(() => listener.load(sender.save())).toThrow(InputError);
});

test("a script is checked before it runs", () => {
  const lan = new Lan();
  const peer = (name: string, script: CapturedFrame[]) => () =>
    new ScriptedPeer(
      name,
      { clock: lan.clock, medium: lan.link(name).ends[0], random: lan.random.stream(name) },
      script,
    );
  expect(peer("a", [...FRAMES].reverse())).toThrow("a, frame 1: before the frame ahead of it");
  expect(peer("b", [{ atNs: 0, bytes: new Uint8Array(70_000) }])).toThrow("b, frame 0: 70000 bytes, at most 65535");
});
