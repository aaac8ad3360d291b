// Properties of src/core. A failure prints the seed and path with which fast-check replays it.

import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type BusDevice, MmioBus, PortBus } from "../../src/core/bus.ts";
import { Clock } from "../../src/core/clock.ts";
import { PageDigest, Sha256, sha256Hex } from "../../src/core/digest.ts";
import { InputError } from "../../src/core/errors.ts";
import { IrqLine } from "../../src/core/irq.ts";
import { GuestMemory, PAGE_SIZE } from "../../src/core/memory.ts";
import { decodePlain, encodePlain } from "../../src/core/plain-data.ts";
import { RandomStreams } from "../../src/core/random.ts";
import { decodeSnapshot, encodeSnapshot, SnapshotRegistry } from "../../src/core/snapshot.ts";
import { ratio, scaleCeil, scaleFloor } from "../../src/core/units.ts";

test("scaling agrees with integers of any size", () => {
  const positive = fc.integer({ min: 1, max: 2 ** 53 - 1 });
  fc.assert(
    fc.property(fc.nat(2 ** 53 - 1), positive, positive, (amount, a, b) => {
      const rate = ratio(Math.min(a, b), Math.max(a, b));
      const [product, denominator] = [BigInt(amount) * BigInt(rate.numerator), BigInt(rate.denominator)];
      const floor = product / denominator;
      expect(scaleFloor(amount, rate)).toBe(Number(floor));
      expect(scaleCeil(amount, rate)).toBe(Number(product === floor * denominator ? floor : floor + 1n));
    }),
  );
});

// The clock against a list that is searched for its least (deadline, sequence).

type ClockCommand =
  | { do: "set"; alarm: number; delay: number; again: number }
  | { do: "cancel"; alarm: number }
  | { do: "advance"; by: number };

const alarmCount = 5;
const clockCommand: fc.Arbitrary<ClockCommand> = fc.oneof(
  fc.record({
    do: fc.constant("set" as const),
    alarm: fc.nat(alarmCount - 1),
    delay: fc.integer({ min: -3, max: 20 }),
    again: fc.nat(3),
  }),
  fc.record({ do: fc.constant("cancel" as const), alarm: fc.nat(alarmCount - 1) }),
  fc.record({ do: fc.constant("advance" as const), by: fc.nat(15) }),
);

/** The real clock: an alarm re-arms itself `again` times, each time at the current time plus what is left of `again`. */
function runClock(commands: readonly ClockCommand[]): { log: string[]; clock: Clock } {
  const clock = new Clock();
  const log: string[] = [];
  const again = new Array<number>(alarmCount).fill(0);
  const alarms = again.map((_, index) => {
    const alarm = clock.alarm(`alarm${index}`, () => {
      log.push(`${index}@${clock.now}`);
      if (again[index]! > 0) alarm.set(clock.now + --again[index]!);
    });
    return alarm;
  });
  for (const command of commands) {
    if (command.do === "advance") clock.advanceTo(clock.now + command.by);
    else if (command.do === "cancel") alarms[command.alarm]!.cancel();
    else {
      again[command.alarm] = command.again;
      alarms[command.alarm]!.set(Math.max(0, clock.now + command.delay));
    }
    log.push(`next ${clock.nextDeadline()}`);
  }
  return { log, clock };
}

function runModel(commands: readonly ClockCommand[]): string[] {
  const log: string[] = [];
  let [now, sequence] = [0, 0];
  let armed: { index: number; deadline: number; sequence: number }[] = [];
  const again = new Array<number>(alarmCount).fill(0);
  const cancel = (index: number) => {
    armed = armed.filter((alarm) => alarm.index !== index);
  };
  const set = (index: number, deadline: number) => {
    cancel(index);
    armed.push({ index, deadline: Math.max(now, deadline), sequence: sequence++ });
  };
  const first = () => armed.toSorted((a, b) => a.deadline - b.deadline || a.sequence - b.sequence)[0];
  for (const command of commands) {
    if (command.do === "advance") {
      const end = now + command.by;
      for (let next = first(); next !== undefined && next.deadline <= end; next = first()) {
        now = next.deadline;
        cancel(next.index);
        log.push(`${next.index}@${now}`);
        if (again[next.index]! > 0) set(next.index, now + --again[next.index]!);
      }
      now = end;
    } else if (command.do === "cancel") cancel(command.alarm);
    else {
      again[command.alarm] = command.again;
      set(command.alarm, now + command.delay);
    }
    log.push(`next ${first()?.deadline}`);
  }
  return log;
}

test("the clock runs alarms as a searched list of (deadline, sequence) does", () => {
  fc.assert(
    fc.property(fc.array(clockCommand, { maxLength: 60 }), (commands) => {
      expect(runClock(commands).log).toEqual(runModel(commands));
    }),
  );
});

// The buses against a map from each address to its owner.

const ranges = fc.array(fc.record({ first: fc.nat(40), length: fc.integer({ min: 1, max: 9 }) }), { maxLength: 8 });
const accesses = fc.array(
  fc.record({ address: fc.nat(50), width: fc.constantFrom(1 as const, 2 as const, 4 as const) }),
);

test("a bus answers each byte from the owner of its address, and refuses exactly the ranges that overlap", () => {
  fc.assert(
    fc.property(fc.constantFrom("ports", "mmio"), ranges, accesses, (kind, wanted, reads) => {
      const bus = kind === "ports" ? new PortBus() : new MmioBus();
      const owned = new Map<number, number>();
      const written = new Map<number, number>();
      for (const [index, { first, length }] of wanted.entries()) {
        const byteAt = (address: number) => (address * 7 + index * 31) & 0xff;
        const device: BusDevice = {
          name: `device${index}`,
          read: (offset, width) =>
            Array.from({ length: width }, (_, byte) => byteAt(first + offset + byte) * 2 ** (8 * byte)).reduce(
              (sum, part) => sum + part,
            ),
          write: (offset, width, value) => {
            for (let byte = 0; byte < width; byte++) written.set(first + offset + byte, (value >>> (8 * byte)) & 0xff);
          },
        };
        const addresses = Array.from({ length }, (_, offset) => first + offset);
        if (addresses.some((address) => owned.has(address))) {
          expect(() => bus.register(first, length, device)).toThrow(InputError);
          continue;
        }
        bus.register(first, length, device);
        for (const address of addresses) owned.set(address, byteAt(address));
      }
      for (const { address, width } of reads) {
        const bytes = Array.from({ length: width }, (_, byte) => owned.get(address + byte) ?? 0xff);
        expect(bus.read(address, width)).toBe(bytes.reduceRight((value, byte) => value * 256 + byte, 0));
        written.clear();
        bus.write(address, width, 0x04030201);
        const expected = bytes.flatMap((_, byte) => (owned.has(address + byte) ? [[address + byte, byte + 1]] : []));
        expect([...written]).toEqual(expected);
      }
    }),
  );
});

test("a line is the OR of its sources, and its sink sees every change once", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ source: fc.nat(3), level: fc.boolean() })), (changes) => {
      let heard = false;
      const line = new IrqLine("line", (level) => {
        expect(level).toBe(!heard);
        heard = level;
      });
      const levels = [false, false, false, false];
      const sources = levels.map((_, index) => line.source(`source${index}`));
      for (const { source, level } of changes) {
        levels[source] = level;
        sources[source]!.set(level);
        expect([line.level, heard]).toEqual([levels.includes(true), levels.includes(true)]);
      }
    }),
  );
});

test("a page digest kept up to date is the digest of the contents", () => {
  const pages = 4;
  const store = fc.record({ address: fc.nat(pages * PAGE_SIZE - 1), value: fc.constantFrom(0, 1, 255) });
  fc.assert(
    fc.property(fc.array(store, { maxLength: 30 }), (stores) => {
      const bytes = new Uint8Array(pages * PAGE_SIZE);
      const kept = new PageDigest(bytes);
      for (const { address, value } of stores) {
        bytes[address] = value;
        kept.update(Math.floor(address / PAGE_SIZE));
      }
      const fresh = new PageDigest(bytes);
      fresh.updateAll();
      expect(kept.value()).toBe(fresh.value());
    }),
  );
});

test("SHA-256 agrees with OpenSSL's, in whatever pieces the bytes come", () => {
  // Around the ends of blocks, and more than is hashed at a time.
  const length = fc.oneof(fc.nat(200), fc.integer({ min: 65_000, max: 200_000 }));
  fc.assert(
    fc.property(fc.array(length, { maxLength: 5 }), fc.nat(255), (lengths, first) => {
      const [ours, theirs] = [new Sha256(), createHash("sha256")];
      for (const [piece, size] of lengths.entries()) {
        const bytes = Uint8Array.from({ length: size }, (_, index) => first + piece + 3 * index);
        ours.update(bytes);
        theirs.update(bytes);
      }
      expect(ours.hex()).toBe(theirs.digest("hex"));
    }),
  );
});

// Plain data.

const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(undefined, null, true, false),
    fc.maxSafeInteger().map((value) => value + 0),
    fc.bigInt(),
    fc.string({ unit: "grapheme" }),
    fc.uint8Array(),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(fc.string({ unit: "grapheme" }), tie("value"), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;

test("plain data comes back from its bytes, and equal data has equal bytes", () => {
  fc.assert(
    fc.property(plain, (value) => {
      const bytes = encodePlain(value);
      const decoded = decodePlain(bytes, "property");
      expect(decoded).toEqual(value);
      expect(encodePlain(decoded)).toEqual(bytes);
      expect(encodePlain(reversedKeys(value))).toEqual(bytes);
    }),
  );
});

function reversedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversedKeys);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, reversedKeys(item)]),
  );
}

test("any bytes decode to data with exactly these bytes or are bad input", () => {
  const damaged = fc.tuple(plain, fc.nat(), fc.nat(255)).map(([value, place, byte]) => {
    const bytes = encodePlain(value);
    bytes[place % bytes.length] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 40 }), damaged), (bytes) => {
      let decoded: unknown;
      try {
        decoded = decodePlain(bytes, "property");
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        return;
      }
      expect(encodePlain(decoded)).toEqual(bytes);
    }),
    { numRuns: 500 },
  );
});

test("save, load, save gives the same bytes for every part of the core", () => {
  const store = fc.record({ address: fc.nat(0xfffc), value: fc.nat(0xffffffff) });
  fc.assert(
    fc.property(
      fc.string(),
      fc.nat(300),
      fc.array(clockCommand, { maxLength: 30 }),
      fc.array(store, { maxLength: 10 }),
      (seed, draws, commands, stores) => {
        const build = () => {
          const registry = new SnapshotRegistry();
          const random = new RandomStreams(seed);
          const stream = random.stream("one");
          const memory = new GuestMemory(new WebAssembly.Memory({ initial: 1, maximum: 1 }), 0, 0x10000);
          const { clock } = runClock(commands);
          const line = new IrqLine("line", () => expect.fail("restoring made an edge"));
          line.source("only");
          registry.register("random", 1, random);
          registry.register("memory", 1, memory);
          registry.register("clock", 1, clock);
          registry.register("line", 1, line);
          return { registry, stream, memory, clock };
        };
        const saved = build();
        for (let draw = 0; draw < draws; draw++) saved.stream.uint32();
        for (const { address, value } of stores) saved.memory.store32(address, value);
        const bytes = encodeSnapshot(saved.registry.save());

        const restored = build();
        restored.clock.advanceTo(restored.clock.now + 50);
        restored.memory.store32(0x1000, 1);
        restored.stream.uint32();
        restored.registry.load(decodeSnapshot(bytes, "property"));
        expect(sha256Hex(encodeSnapshot(restored.registry.save()))).toBe(sha256Hex(bytes));
        expect(restored.stream.uint32()).toBe(saved.stream.uint32());
      },
    ),
  );
});
