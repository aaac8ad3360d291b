/** The decoder against an independent one (iced-x86): the same length, for whatever both of them know. */
import fc from "fast-check";
import { DecoderOptions, Mnemonic, Decoder as Reference } from "iced-x86";
import { expect, test } from "vitest";
import { Decoder, MAX_INSTRUCTION_LENGTH } from "../../src/cpu/decode.ts";
import { MODE } from "../../src/cpu/layout.ts";
import { DECODED_SLOW } from "../../src/cpu/opcodes.ts";

const MODES = { 16: MODE.general, 32: MODE.code32 | MODE.stack32 } as const;
const UNKNOWN: ReadonlySet<string> = new Set([DECODED_SLOW.undefined, DECODED_SLOW.tooLong]);

/** SSE4a, which only AMD has, in the place of VMREAD and VMWRITE: with those prefixes there is nothing else there. */
const AMD_ONLY: ReadonlySet<Mnemonic> = new Set([Mnemonic.Extrq, Mnemonic.Insertq]);

const decoder = new Decoder();

/** Prefixes, the escape to the two-byte map half of the time, and any bytes. */
const instructions = fc
  .tuple(
    fc.array(fc.constantFrom(0x66, 0x67, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65), { maxLength: 3 }),
    fc.boolean(),
    fc.uint8Array({ minLength: MAX_INSTRUCTION_LENGTH, maxLength: MAX_INSTRUCTION_LENGTH }),
  )
  .map(([prefixes, escaped, tail]) => Uint8Array.from([...prefixes, ...(escaped ? [0x0f] : []), ...tail]));

for (const bits of [16, 32] as const) {
  test(`${bits}-bit instructions have the length that another decoder finds`, () => {
    let compared = 0;
    fc.assert(
      fc.property(instructions, (bytes) => {
        const reference = new Reference(bits, bytes.slice(0, MAX_INSTRUCTION_LENGTH), DecoderOptions.None);
        const instruction = reference.decode();
        const expected = instruction.isInvalid || AMD_ONLY.has(instruction.mnemonic) ? 0 : instruction.length;
        instruction.free();
        reference.free();
        decoder.decode(bytes, 0, bytes.length, MODES[bits], 0);
        if (expected === 0 || UNKNOWN.has(decoder.slow)) return;
        compared++;
        expect(decoder.length).toBe(expected);
      }),
      { numRuns: 20_000 },
    );
    expect(compared).toBeGreaterThan(1000);
  });
}

test("an instruction that needs a byte which is not there is short, wherever the bytes end", () => {
  fc.assert(
    fc.property(instructions, (bytes) => {
      decoder.decode(bytes, 0, bytes.length, MODES[32], 0);
      if (decoder.slow === DECODED_SLOW.tooLong) return;
      const { length } = decoder;
      for (let end = 0; end < length; end++) expect(decoder.decode(bytes, 0, end, MODES[32], 0)).toBe("short");
      expect(decoder.decode(bytes, 0, length, MODES[32], 0)).toBe("complete");
    }),
    { numRuns: 3000 },
  );
});
