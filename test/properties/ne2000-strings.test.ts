// String instructions on the data port move what as many single accesses would, wherever the transfer lies and however it is set up.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { AccessWidth } from "../../src/core/bus.ts";
import { BASE, Bench, P0, READ, SEND, START, WRITE } from "../devices/ne2000/card.ts";

const DATA_PORT = 0x10;

const page = fc.oneof(fc.nat(255), fc.constantFrom(0x40, 0x46, 0x7f, 0x80));
const transfer = fc.record({
  command: fc.constantFrom(READ, WRITE, SEND),
  // The whole range, and the ends of packet memory.
  address: fc.oneof(fc.nat(0xffff), fc.integer({ min: 0x3fe0, max: 0x4100 }), fc.integer({ min: 0x7f00, max: 0x8010 })),
  count: fc.oneof(fc.nat(40), fc.nat(2000)),
  pstart: page,
  pstop: page,
  dcr: fc.constantFrom(0x48, 0x49, 0x4b, 0x59),
  width: fc.constantFrom<AccessWidth[]>(1, 2, 4),
  accesses: fc.nat(800),
  input: fc.boolean(),
});
type Transfer = typeof transfer extends fc.Arbitrary<infer Value> ? Value : never;

/** A card with a pattern in its memory, about to make the transfer. */
function card({ command, address, count, pstart, pstop, dcr }: Transfer): Bench {
  const bench = new Bench();
  bench.initialise();
  const pattern = Uint8Array.from({ length: 0x4000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff);
  bench.writeMemory(0x4000, pattern);
  bench.out(P0.PSTART, pstart);
  bench.out(P0.PSTOP, pstop);
  bench.out(P0.BNRY, address >> 8);
  bench.out(P0.DCR, dcr);
  bench.out(P0.CR, START);
  bench.setRemote(address, count, command);
  return bench;
}

test("a string of accesses to the data port is what single accesses are", () => {
  let long = 0;
  fc.assert(
    fc.property(transfer, (given) => {
      const { width, accesses, input } = given;
      const [whole, single] = [card(given), card(given)];
      const bytes = Uint8Array.from({ length: accesses * width }, (_, index) => (index * 13) & 0xff);
      const expected = bytes.slice();
      const before = whole.chip.state.registers.CRDA;
      const view = new DataView(expected.buffer);
      for (let at = 0; at < expected.length; at += width) {
        const value = input
          ? single.in(DATA_PORT, width)
          : width === 1
            ? view.getUint8(at)
            : width === 2
              ? view.getUint16(at, true)
              : view.getUint32(at, true);
        if (!input) single.out(DATA_PORT, value, width);
        else for (let index = 0; index < width; index++) expected[at + index] = value >>> (8 * index);
      }
      if (input) whole.ports.readString(BASE + DATA_PORT, width, bytes);
      else whole.ports.writeString(BASE + DATA_PORT, width, bytes);
      expect(bytes).toEqual(expected);
      expect(whole.chip.save()).toEqual(single.chip.save());
      expect(whole.edges).toEqual(single.edges);
      if (Math.abs(whole.chip.state.registers.CRDA - before) > 256) long++;
    }),
    { numRuns: 400 },
  );
  // It would say nothing if hardly any transfer took place.
  expect(long).toBeGreaterThan(40);
});
