// Invariants of I/O that a device model carries out, for any program of I/O instructions. Each holds as things are, and is broken by the fault that broke it
// elsewhere: a property that cannot tell them apart says nothing.

import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { SharedPage } from "../../src/xen/device-model-host.ts";
import { HvmMachine, INNER_PORT, PORT } from "../devices/device-model/hvm-machine.ts";

interface Instruction {
  readonly width: 1 | 2 | 4;
  readonly input: boolean;
  /** Of a device inside the hypervisor: no request. */
  readonly inner: boolean;
  /** REP INS or REP OUTS of so many data; 0 for IN or OUT. */
  readonly repeated: number;
}

const program = fc.array(
  fc.record<Instruction>({
    width: fc.constantFrom(1, 2, 4),
    input: fc.boolean(),
    inner: fc.boolean(),
    repeated: fc.oneof(fc.constant(0), fc.nat(20)),
  }),
  { minLength: 1, maxLength: 12 },
);

/** MOV DX, port; the instruction; INC BX, in real mode. */
function encode({ width, input, inner, repeated }: Instruction): number[] {
  const port = inner ? INNER_PORT : PORT;
  const size = width === 4 ? [0x66] : [];
  const opcode = (repeated > 0 ? (input ? 0x6c : 0x6e) : input ? 0xec : 0xee) + (width === 1 ? 0 : 1);
  const string = repeated > 0 ? [0xb9, repeated, 0, 0xbe, 0, 0x40, 0xbf, 0, 0x50, 0xfc, 0xf3] : [];
  return [0xba, port & 0xff, port >> 8, ...string, ...size, opcode, 0x43];
}

/** XOR BX, BX; DS = ES = 0. */
const BEGINNING = [0x31, 0xdb, 0x8e, 0xdb, 0x8e, 0xc3];
const code = (instructions: readonly Instruction[]): number[] => [...BEGINNING, ...instructions.flatMap(encode)];
const EBX = 3;
const RUNS = 60;

afterEach(() => vi.restoreAllMocks());

describe("X6: each emulated instruction retires once", () => {
  const property = (faults: { readonly xen?: readonly ["xen.io-retired-twice"] }) =>
    fc.property(program, (instructions) => {
      const machine = new HvmMachine(code(instructions), faults).run();
      expect(machine.processor.state.gpr(EBX) & 0xffff).toBe(instructions.length);
      const accesses = instructions.flatMap(({ width, input, inner, repeated }) => {
        const place = `${input ? "in" : "out"}${width} ${(inner ? INNER_PORT : PORT).toString(16)}`;
        return Array.from({ length: Math.max(1, repeated) }, () => place);
      });
      expect(machine.accesses.map((access) => access.split(" ").slice(0, 2).join(" "))).toEqual(accesses);
    });

  test("holds", () => {
    fc.assert(property({}), { numRuns: RUNS });
  });

  test("is broken by xen.io-retired-twice", () => {
    const assertion = () => fc.assert(property({ xen: ["xen.io-retired-twice"] }), { numRuns: RUNS, seed: 166 });
    expect(assertion).toThrow("Property failed");
  });
});

describe("X2: the device model fetches each field of a request once: what it checked is what it carries out", () => {
  const property = (faults: { readonly deviceModel?: readonly ["device-model.double-fetch"] }) =>
    fc.property(program, (instructions) => {
      const machine = new HvmMachine(code(instructions), faults);
      const { ioreqs } = machine.host;
      let most = 0;
      let request = 0;
      let fetched = new Map<number, number>();
      for (const name of ["load8", "load32"] as const) {
        const load = SharedPage.prototype[name];
        vi.spyOn(SharedPage.prototype, name).mockImplementation(function (this: SharedPage, offset) {
          const requests = machine.of("ioreq").length;
          if (requests !== request) fetched = new Map();
          request = requests;
          if (this === ioreqs) fetched.set(offset, (fetched.get(offset) ?? 0) + 1);
          most = Math.max(most, ...fetched.values());
          return load.call(this, offset);
        });
      }
      machine.run();
      vi.restoreAllMocks();
      expect(most).toBeLessThanOrEqual(1);
      expect(machine.of("ioreq-answer")).toHaveLength(machine.of("ioreq").length);
    });

  test("holds", () => {
    fc.assert(property({}), { numRuns: RUNS });
  });

  test("is broken by device-model.double-fetch", () => {
    const assertion = () =>
      fc.assert(property({ deviceModel: ["device-model.double-fetch"] }), { numRuns: RUNS, seed: 166 });
    expect(assertion).toThrow("Property failed");
  });
});
