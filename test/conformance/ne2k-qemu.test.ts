// Our NE2000 beside QEMU's ne2k_isa: the same port accesses and frames, every answer and the interrupt pin compared after each step. Where the two
// differ on purpose, the deviation is listed with the section of the DP8390D data sheet that decides it, shown on both, and kept out of the random runs.

import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Both, Comparison, step, TO, withBoth } from "../devices/ne2000/beside-qemu.ts";
import { P0, PAGE1, READ, SEND, START, TRANSMIT, WRITE } from "../devices/ne2000/card.ts";
import { qemuMissing } from "../devices/ne2000/qtest.ts";

const missing = qemuMissing();
if (missing !== undefined) console.log(`NE2000 beside QEMU: skipped, ${missing}`);

describe.skipIf(missing !== undefined)("NE2000 beside QEMU's ne2k_isa", () => {
  test("random accesses and frames have the same answers, interrupts and frames sent", async () => {
    const total = { reads: 0, data: 0, sent: 0, stored: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 60, maxLength: 160, size: "max" }), async (steps) => {
        await withBoth(async (both) => {
          await both.initialise();
          const comparison = new Comparison(both);
          for (const each of steps) await comparison.apply(each);
          for (const key of ["reads", "data", "sent", "stored"] as const) total[key] += comparison.compared[key];
        });
      }),
      { numRuns: 40, seed: 8390 },
    );
    expect(total.reads).toBeGreaterThan(500);
    expect(total.data).toBeGreaterThan(1000);
    expect(total.sent).toBeGreaterThan(50);
    expect(total.stored).toBeGreaterThan(50);
  });

  test("frames go around the ring at the same places with the same headers", async () => {
    await withBoth(async (both) => {
      await both.initialise();
      for (let number = 0; number < 80; number++) {
        const frame = new Uint8Array(60 + ((number * 211) % 1455)).fill(number);
        frame.set(number % 3 === 0 ? TO.all : TO.card);
        await both.arrive(frame);
        const boundary = both.ours.chip.state.registers.BNRY;
        await both.remote(boundary << 8, 4 + frame.length, READ);
        for (let index = 0; index < (4 + frame.length) >> 1; index++) {
          const [ours, qemus] = await both.in(0x10, 2);
          expect(ours).toBe(qemus);
        }
        await both.out(P0.BNRY, both.ours.chip.state.registers.CURR);
        await both.out(P0.CR, PAGE1);
        expect(new Set(await both.in(7)).size).toBe(1);
        await both.out(P0.CR, START);
      }
    });
  });

  interface Deviation {
    readonly what: string;
    readonly section: string;
    /** Shows it: our answers and QEMU's. */
    readonly show: (both: Both) => Promise<[number, number]>;
    readonly answers: readonly [number, number];
  }

  const DEVIATIONS: readonly Deviation[] = [
    {
      what: "STA stays set beside STP",
      section: "10.3, CR: both bits remain set when a started chip is stopped",
      show: async (both) => {
        await both.out(P0.CR, 0x21);
        return both.in(P0.CR);
      },
      answers: [0x23, 0x21],
    },
    {
      what: "RST tells of a stopped chip",
      section: "10.3, ISR.RST",
      show: async (both) => {
        await both.out(P0.CR, 0x21);
        return both.in(P0.ISR);
      },
      answers: [0x80, 0x00],
    },
    {
      what: "TXP stays until the frame is out",
      section: "10.3, CR.TXP; 8.0, at 10 Mbit/s",
      show: async (both) => {
        await both.out(P0.TPSR, 0x40);
        await both.out(P0.TBCR0, 60);
        await both.out(P0.CR, TRANSMIT);
        return both.in(P0.CR);
      },
      answers: [0x26, 0x22],
    },
    {
      what: "the reset pin stops the chip and masks interrupts",
      section: "11.0, the table of bits that RESET affects",
      show: async (both) => {
        await both.in(0x1f);
        return both.in(P0.CR);
      },
      answers: [0x21, 0x22],
    },
    {
      what: "the check sequence is stored behind a frame",
      section: "7.0, storage format for received packets",
      show: async (both) => {
        await both.arrive(Uint8Array.from([...TO.all, ...new Uint8Array(54)]));
        await both.remote(0x4600 + 64, 2, READ);
        return both.in(0x10, 2);
      },
      answers: [crc32(Uint8Array.from([...TO.all, ...new Uint8Array(54)])) & 0xffff, 0x0000],
    },
    {
      what: "the station's address is in PAR, not in the PROM",
      section: "10.8",
      show: async (both) => {
        await both.out(P0.CR, PAGE1);
        await both.out(6, 0x99);
        await both.out(P0.CR, START);
        await both.arrive(Uint8Array.from([...TO.card, ...new Uint8Array(54)]));
        return both.in(P0.ISR);
      },
      answers: [0x00, 0x01],
    },
    {
      what: "monitor mode stores nothing",
      section: "10.3, RCR.MON",
      show: async (both) => {
        await both.out(P0.RCR, 0x24);
        await both.arrive(Uint8Array.from([...TO.all, ...new Uint8Array(54)]));
        return both.in(P0.RSR);
      },
      answers: [0x70, 0x21],
    },
    {
      what: "runts are refused without AR, not filled up",
      section: "10.3, RCR.AR",
      show: async (both) => {
        await both.arrive(Uint8Array.from([...TO.all, ...new Uint8Array(20)]));
        return both.in(P0.ISR);
      },
      answers: [0x00, 0x01],
    },
    {
      what: "loopback keeps the cable's frames out",
      section: "10.3, TCR.LB1 and LB0; 12.0",
      show: async (both) => {
        await both.out(P0.TCR, 0x02);
        await both.arrive(Uint8Array.from([...TO.all, ...new Uint8Array(54)]));
        return both.in(P0.ISR);
      },
      answers: [0x00, 0x01],
    },
    {
      what: "a full ring raises OVW and counts the frame, which is not kept outside",
      section: "7.0, buffer ring overflow; 10.10, CNTR2",
      show: async (both) => {
        await both.out(P0.PSTOP, 0x4a);
        for (let count = 0; count < 2; count++) await both.arrive(Uint8Array.from([...TO.all, ...new Uint8Array(700)]));
        return both.in(P0.ISR);
      },
      answers: [0x95, 0x00],
    },
    {
      what: "the data port is idle without a command in its direction",
      section: "10.3, CR.RD2 to RD0; 9.0",
      show: async (both) => {
        await both.remote(0x0000, 4, START);
        return both.in(0x10, 2);
      },
      answers: [0xffff, 0x5252],
    },
    {
      what: "send packet needs DCR.ARM and a frame",
      section: "9.0, send packet command; 10.3, DCR.ARM",
      show: async (both) => {
        await both.remote(0x0000, 0, SEND);
        return both.in(P0.ISR);
      },
      answers: [0x00, 0x40],
    },
    {
      what: "aborting without a count completes nothing",
      section: "10.3, CR.RD2",
      show: async (both) => {
        await both.remote(0x0000, 0, 0x2a);
        return both.in(P0.ISR);
      },
      answers: [0x00, 0x40],
    },
    {
      what: "packet memory has 16 KiB",
      section: "Novell NE2000; RTL8029AS data sheet, 16 KiB of SRAM",
      show: async (both) => {
        await both.remote(0x8000, 2, READ);
        return both.in(0x10, 2);
      },
      answers: [0xffff, 0x0000],
    },
    {
      what: "the PROM cannot be written",
      section: "Novell NE2000",
      show: async (both) => {
        await both.remote(0x0000, 2, WRITE);
        await both.out(0x10, 0x1234, 2);
        await both.remote(0x0000, 2, READ);
        return both.in(0x10, 2);
      },
      answers: [0x5252, 0x1234],
    },
    {
      what: "byte order select swaps received words",
      section: "10.3, DCR.BOS; 7.0, storage format for received packets",
      show: async (both) => {
        await both.out(P0.DCR, 0x4b);
        await both.arrive(Uint8Array.from([...TO.all, 0x12, 0x34, ...new Uint8Array(52)]));
        await both.remote(0x460a, 2, READ);
        return both.in(0x10, 2);
      },
      answers: [0x1234, 0x3412],
    },
    {
      what: "a double word in byte mode is two transfers of a byte",
      section: "10.3, DCR.WTS; the card's bus has 16 bits",
      show: async (both) => {
        await both.out(P0.DCR, 0x48);
        await both.remote(0x0000, 8, READ);
        return both.in(0x10, 4);
      },
      answers: [0x0052_0052, 0x5454_5252],
    },
    {
      what: "registers are eight bits wide: a word access reaches two",
      section: "10.1",
      show: (both) => both.in(P0.CR, 2),
      answers: [0x0022, 0xffff],
    },
    {
      what: "page 2 shows the configuration registers",
      section: "10.2",
      show: async (both) => {
        await both.out(P0.CR, 0xa2);
        return both.in(P0.DCR);
      },
      answers: [0xc9, 0x00],
    },
    {
      what: "a plain DP8390 has no Realtek identification",
      section: "10.2: page 0, 0Ah is reserved",
      show: (both) => both.in(0x0a),
      answers: [0xff, 0x50],
    },
    {
      what: "the data port answers at eight addresses",
      section: "Novell NE2000: the lower address lines are not decoded",
      show: async (both) => {
        await both.remote(0x0000, 2, READ);
        return both.in(0x12, 2);
      },
      answers: [0x5252, 0xffff],
    },
  ];

  test.each(DEVIATIONS)("deviation: $what ($section)", async ({ show, answers }) => {
    await withBoth(async (both) => {
      await both.initialise();
      expect(await show(both)).toEqual(answers);
    });
  });
});
