import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { encodePlain } from "../../../src/core/plain-data.ts";
import { checkSequenceIsGood, encodeFrame, withCheckSequence } from "../../../src/devices/net/ethernet.ts";
import { type LinkFaults, TEN_MEGABIT } from "../../../src/devices/net/link.ts";
import { Port } from "../../../src/devices/net/port.ts";
import { Switch } from "../../../src/devices/net/switch.ts";
import { FULL, Lan } from "./lan.ts";

function frame(number: number, length = 46, source = 1, destination = "02:00:00:00:00:02"): Uint8Array {
  const payload = new Uint8Array(length).fill(number);
  return encodeFrame({ destination, source: `02:00:00:00:00:0${source}`, etherType: 0x88b5, payload });
}

/** Two ports on a link. */
function pair(lan: Lan, options = FULL) {
  const link = lan.link("cable", options);
  const got: Uint8Array[][] = [[], []];
  const ports = link.ends.map((medium, index) => {
    const random = lan.random.stream(`port ${index}`);
    return new Port(`port ${index}`, { clock: lan.clock, medium, random, receive: (each) => got[index]!.push(each) });
  });
  return { link, got, ports: ports as [Port, Port] };
}

describe("a link", () => {
  test("takes bandwidth and latency", () => {
    const lan = new Lan();
    const { got, ports } = pair(lan, { bitsPerSecond: 100_000_000, latencyNs: 700, fullDuplex: true });
    ports[0].send(frame(1));
    lan.wait(72 * 80 + 700 - 1);
    expect(got[1]).toEqual([]);
    lan.wait(1);
    expect(got[1]).toEqual([frame(1)]);
    expect(lan.of("frame-sent")).toEqual([
      { kind: "frame-sent", at: 5760, link: "cable", end: 0, number: 0, whole: true, data: frame(1) },
    ]);
    expect(lan.of("frame-arrival")).toEqual([{ kind: "frame-arrival", at: 6460, link: "cable", end: 1, number: 0 }]);
  });

  const faulty = (faults: LinkFaults, count = 400) => {
    const lan = new Lan();
    const { got, ports } = pair(lan, { ...FULL, faults });
    for (let number = 0; number < count; number++) {
      ports[0].send(frame(number & 0xff));
      lan.wait(200_000);
    }
    lan.wait(10_000_000);
    const damaged = ports[1].save().damaged;
    return { lan, got: got[1]!, damaged };
  };

  test("loses", () => {
    const { lan, got } = faulty({ lossPpm: 250_000 });
    const lost = lan.of("fault-injected").length;
    expect(got.length + lost).toBe(400);
    expect(lost).toBeGreaterThan(60);
    expect(lost).toBeLessThan(140);
  });

  test("duplicates", () => {
    const { lan, got } = faulty({ duplicationPpm: 250_000 });
    expect(got.length).toBe(400 + lan.of("fault-injected").length);
    expect(got.length).toBeGreaterThan(460);
  });

  test("reorders, and loses nothing by it", () => {
    const { got } = faulty({ reorderingPpm: 100_000, reorderingNs: 900_000 });
    const order = got.map((each) => each[20]!);
    expect(order).toHaveLength(400);
    expect(order.some((number, index) => index > 0 && number < order[index - 1]! && order[index - 1] !== 255)).toBe(
      true,
    );
  });

  test("corrupts and misaligns so that the check sequence tells", () => {
    const { lan, got, damaged } = faulty({ corruptionPpm: 200_000, misalignmentPpm: 100_000 });
    expect(damaged).toBeGreaterThan(60);
    expect(got.length + damaged).toBe(400);
    const changed = lan.of("frame-arrival").filter(({ data }) => data !== undefined);
    expect(changed).toHaveLength(damaged);
    for (const { data } of changed) expect(checkSequenceIsGood(data!)).toBe(false);
  });

  test("one fault's rate does not move another's draws", () => {
    const struck = (faults: LinkFaults) =>
      faulty(faults)
        .lan.of("fault-injected")
        .filter(({ name }) => name === "cable loss")
        .map(({ at }) => at).length;
    expect(struck({ lossPpm: 100_000 })).toBeGreaterThan(0);
    expect(() => faulty({ lossPpm: 1_000_001 })).toThrow(InputError);
    expect(() => faulty({ reorderingNs: -1 })).toThrow(InputError);
  });

  test("two stations on half duplex that begin together collide, back off, and both get through", () => {
    const lan = new Lan();
    const { got, ports } = pair(lan, TEN_MEGABIT);
    for (let number = 0; number < 20; number++) {
      ports[0].send(frame(number));
      ports[1].send(frame(100 + number));
    }
    lan.wait(100_000_000);
    expect(got[1]!.map((each) => each[20])).toEqual(Array.from({ length: 20 }, (_, number) => number));
    expect(got[0]!.map((each) => each[20])).toEqual(Array.from({ length: 20 }, (_, number) => 100 + number));
    expect(lan.of("frame-sent").some(({ whole }) => !whole)).toBe(true);
  });

  test("a port queues 64 frames and drops what comes on top", () => {
    const lan = new Lan();
    const { got, ports } = pair(lan);
    const accepted = Array.from({ length: 80 }, (_, number) => ports[0].send(frame(number))).filter(Boolean);
    expect(accepted).toHaveLength(65);
    lan.wait(100_000_000);
    expect(got[1]).toHaveLength(65);
    expect(ports[0].save().dropped).toBe(15);
  });

  test("ports drop runts and giants", () => {
    const lan = new Lan();
    const { got, ports } = pair(lan);
    for (const length of [59, 60, 1514, 1515]) ports[0].send(withCheckSequence(new Uint8Array(length)));
    lan.wait(10_000_000);
    expect(got[1]!.map((each) => each.length)).toEqual([64, 1518]);
    expect(ports[1].save().damaged).toBe(2);
  });

  test("a snapshot at any time continues as the original", () => {
    fc.assert(
      fc.property(
        fc.nat(3_000_000),
        fc.array(fc.record({ end: fc.nat(1), at: fc.nat(2_000_000), length: fc.nat(1400) }), { maxLength: 20 }),
        (cut, sends) => {
          const build = () => {
            const lan = new Lan();
            const faults = { lossPpm: 100_000, duplicationPpm: 100_000, corruptionPpm: 100_000 };
            return { lan, ...pair(lan, { ...TEN_MEGABIT, faults }) };
          };
          const first = build();
          for (const { end, at, length } of [...sends].sort((a, b) => a.at - b.at)) {
            if (at > cut) break;
            first.lan.wait(at - first.lan.clock.now);
            first.ports[end]!.send(frame(1, length));
          }
          first.lan.wait(cut - first.lan.clock.now);
          const second = build();
          second.link.load(first.link.save());
          for (const index of [0, 1] as const) second.ports[index].load(first.ports[index].save());
          second.lan.random.load(first.lan.random.save());
          second.lan.clock.load(first.lan.clock.save());
          for (const got of first.got) got.length = 0;
          first.lan.wait(50_000_000);
          second.lan.wait(50_000_000);
          expect(encodePlain(second.got)).toEqual(encodePlain(first.got));
          expect(second.link.save()).toEqual(first.link.save());
        },
      ),
      { numRuns: 60, seed: 3 },
    );
  });
});

describe("a switch", () => {
  const build = () => {
    const lan = new Lan();
    const links = [0, 1, 2].map((index) => lan.link(`cable ${index}`));
    const wires = { clock: lan.clock, random: lan.random.stream("switch") };
    const bridge = new Switch(
      "switch",
      wires,
      links.map((link) => link.ends[1]),
    );
    const got: number[][] = [[], [], []];
    const stations = links.map((link, index) => {
      const receive = (each: Uint8Array) => got[index]!.push(each[20]!);
      const random = lan.random.stream(`station ${index}`);
      return new Port(`station ${index}`, { clock: lan.clock, medium: link.ends[0], random, receive });
    });
    return { lan, bridge, stations, got };
  };

  test("floods what it does not know, and learns where stations are", () => {
    const { lan, bridge, stations, got } = build();
    stations[0]!.send(frame(1, 46, 1, "02:00:00:00:00:02"));
    lan.wait(1_000_000);
    expect(got).toEqual([[], [1], [1]]);
    stations[1]!.send(frame(2, 46, 2, "02:00:00:00:00:01"));
    lan.wait(1_000_000);
    stations[0]!.send(frame(3, 46, 1, "02:00:00:00:00:02"));
    lan.wait(1_000_000);
    expect(got).toEqual([[2], [1, 3], [1]]);
    stations[2]!.send(frame(4, 46, 3, "ff:ff:ff:ff:ff:ff"));
    lan.wait(1_000_000);
    expect(got).toEqual([[2, 4], [1, 3, 4], [1]]);
    expect(bridge.save().stations.map(({ port }) => port)).toEqual([1, 0, 2]);
  });

  test("keeps a frame for a station on the port that it came from", () => {
    const { lan, stations, got } = build();
    stations[0]!.send(frame(1, 46, 2, "02:00:00:00:00:09"));
    lan.wait(1_000_000);
    stations[0]!.send(frame(2, 46, 1, "02:00:00:00:00:02"));
    lan.wait(1_000_000);
    expect(got).toEqual([[], [1], [1]]);
  });

  test("forgets a station after five minutes, and follows one that moves", () => {
    const { lan, stations, got } = build();
    stations[1]!.send(frame(1, 46, 2, "02:00:00:00:00:09"));
    lan.wait(1_000_000);
    stations[2]!.send(frame(2, 46, 2, "02:00:00:00:00:09"));
    lan.wait(1_000_000);
    stations[0]!.send(frame(3));
    lan.wait(1_000_000);
    expect(got[2]).toEqual([1, 3]);
    lan.wait(301_000_000_000);
    stations[0]!.send(frame(4));
    lan.wait(1_000_000);
    expect([got[1]!.at(-1), got[2]!.at(-1)]).toEqual([4, 4]);
  });

  test("remembers 1024 stations at most, and its snapshot fits its ports", () => {
    const { lan, bridge, stations } = build();
    for (let number = 0; number < 1100; number++) {
      const source = Uint8Array.from(frame(0));
      source.set([2, 9, 9, 9, number >> 8, number & 0xff], 6);
      stations[0]!.send(withCheckSequence(source.subarray(0, -4)));
      lan.wait(100_000);
    }
    const saved = bridge.save();
    expect(saved.stations).toHaveLength(1024);
    const { bridge: other } = build();
    other.load(saved);
    expect(other.save()).toEqual(saved);
    expect(() => other.load({ ...saved, ports: [] })).toThrow(InputError);
    expect(() => other.load({ ...saved, stations: [{ address: "x", port: 3, heardNs: 0 }] })).toThrow(InputError);
  });
});
