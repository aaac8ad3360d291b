// The x87 unit against vectors taken on a real processor (test/vectors/x87).

import { describe, expect, test } from "vitest";
import type { X87Access } from "../../src/cpu/x87/access.ts";
import { executeX87, fxrstor, fxsave } from "../../src/cpu/x87/execute.ts";
import { decodeState, encodeState } from "../../src/cpu/x87/images.ts";
import { decodeX87 } from "../../src/cpu/x87/opcodes.ts";
import { X87 } from "../../src/cpu/x87/unit.ts";
import { type FinalState, type Form, INITIAL_AX, type InitialState, loadX87Vectors } from "../vectors/x87/load.ts";

const IMAGE = { operandSize: 32, protectedMode: true } as const;
const hex = (bytes: Uint8Array): string =>
  [...bytes]
    .reverse()
    .map((b) => b.toString(16).padStart(2, "0"))
    .join("");

const UNDEFINED_OPCODE = 6;

class Fault extends Error {
  readonly vector: number;
  constructor(vector: number) {
    super(`exception ${vector}`);
    this.vector = vector;
  }
}

/** The tag word of FRSTOR's image that leaves these registers non-empty. */
function tagsFrom(occupied: number): number {
  let tags = 0;
  for (let register = 0; register < 8; register++) if ((occupied & (1 << register)) === 0) tags |= 3 << (2 * register);
  return tags;
}

function unitFrom(initial: InitialState): X87 {
  const image = new Uint8Array(108);
  const view = new DataView(image.buffer);
  view.setUint16(0, initial.control, true);
  view.setUint16(4, initial.status, true);
  view.setUint16(8, tagsFrom(initial.occupied), true);
  image.set(initial.registers, 28);
  const unit = new X87();
  unit.initialize();
  decodeState(unit, IMAGE, image);
  return unit;
}

const ARITHMETIC_FLAGS = 0x8d5;

/** Executes the form's instruction on the initial state as the generator does. */
function execute(form: Form, initial: InitialState): FinalState | number {
  const unit = unitFrom(initial);
  const memory = initial.memory.slice();
  let { flags } = initial;
  let ax = INITIAL_AX;
  const access: X87Access = {
    operandSize: form.bytes[0] === 0x66 ? 16 : 32,
    protectedMode: true,
    codeSelector: 0,
    instructionPointer: 0,
    operandSelector: 0,
    operandOffset: 0,
    load: (length) => {
      const bytes = new Uint8Array(length);
      bytes.set(memory.subarray(0, length));
      return bytes;
    },
    store: (bytes) => memory.set(bytes.subarray(0, memory.length)),
    readFlags: () => flags,
    writeFlags: (value) => {
      flags = (flags & ~ARITHMETIC_FLAGS) | (value & ARITHMETIC_FLAGS);
    },
    writeAx: (value) => {
      ax = value;
    },
    fault: (vector) => {
      throw new Fault(vector);
    },
  };
  const [opcode = 0, modrm = 0] = form.bytes.subarray(-2);
  try {
    if (opcode === 0xae) (modrm === 0x07 ? fxsave : fxrstor)(unit, access);
    else executeX87(unit, opcode, modrm, access);
  } catch (error) {
    if (error instanceof Fault) return error.vector;
    throw error;
  }
  const image = encodeState(unit, IMAGE);
  const view = new DataView(image.buffer);
  const [control, status, tags] = [0, 4, 8].map((offset) => view.getUint16(offset, true));
  return { control: control ?? 0, status: status ?? 0, tags: tags ?? 0, flags, ax, registers: image.slice(28), memory };
}

function print(state: FinalState | InitialState | number): string {
  if (typeof state === "number") return `exception ${state}`;
  const registers = [0, 1, 2, 7].map((i) => `st${i}=${hex(state.registers.subarray(10 * i, 10 * i + 10))}`);
  const tags =
    "tags" in state
      ? `tags=${state.tags.toString(16)} ax=${state.ax.toString(16)}`
      : `occ=${state.occupied.toString(2)}`;
  return `cw=${state.control.toString(16)} sw=${state.status.toString(16)} ${tags} fl=${state.flags.toString(16)} ${registers.join(" ")} mem=${hex(state.memory)}`;
}

function mnemonicOf(form: Form): string {
  const [opcode = 0, modrm = 0] = form.bytes.subarray(-2);
  if (opcode === 0xae) return modrm === 0x07 ? "FXSAVE" : "FXRSTOR";
  return decodeX87(opcode, modrm)?.mnemonic ?? "undefined";
}
const nameOf = (form: Form): string =>
  `${[...form.bytes].map((b) => b.toString(16).toUpperCase().padStart(2, "0")).join(" ")}: ${mnemonicOf(form)}`;

/**
 * Where the processor of the vectors (AMD) and the SDM differ, or the SDM leaves bits undefined: what is not compared.
 * `codes` are status word bits, `flags` EFLAGS bits.
 */
interface Mask {
  readonly mnemonics: RegExp;
  readonly applies?: (outcome: FinalState) => boolean;
  readonly codes?: number;
  readonly flags?: number;
  readonly memory?: readonly [from: number, to: number];
}
const [C0, C1, C2, C3] = [0x0100, 0x0200, 0x0400, 0x4000] as const;
const unmaskedOperandException = ({ control, status }: FinalState): boolean => (status & ~control & 3) !== 0;
const MASKS: readonly Mask[] = [
  // SDM Vol. 2A, FCOM, FTST, FUCOM: the condition codes are not set if an unmasked #IA is generated; AMD sets them.
  { mnemonics: /^(FU?COM|FICOM|FTST)/, applies: unmaskedOperandException, codes: C0 | C2 | C3 },
  // SDM Vol. 2A, FCOMI: EFLAGS are set only if the exception is masked; AMD sets them.
  { mnemonics: /^FU?COMI/, applies: unmaskedOperandException, flags: 0x8d5 },
  // SDM Vol. 2A, FCOMI: C1 is cleared; AMD leaves it.
  { mnemonics: /^FU?COMI/, codes: C1 },
  // MXCSR_MASK tells the processor's features; the modelled one has no denormals-are-zeros.
  { mnemonics: /^FXSAVE/, memory: [28, 32] },
];

function masked(mnemonic: string, hardware: FinalState | number, state: FinalState | number): FinalState | number {
  if (typeof hardware === "number" || typeof state === "number") return state;
  let { status, flags } = state;
  const memory = state.memory.slice();
  for (const mask of MASKS) {
    if (!mask.mnemonics.test(mnemonic) || mask.applies?.(hardware) === false) continue;
    status &= ~(mask.codes ?? 0);
    flags &= ~(mask.flags ?? 0);
    if (mask.memory !== undefined) memory.fill(0, ...mask.memory);
  }
  return { ...state, status, flags, memory };
}

/** FISTTP came with SSE3, which the processor of the vectors has and CPUID does not announce: opcodes of the memory forms /1. */
const SSE3_OPCODES: readonly number[] = [0xdb, 0xdd, 0xdf];
const isSse3 = (opcode: number, modrm: number): boolean =>
  SSE3_OPCODES.includes(opcode) && modrm < 0xc0 && ((modrm >> 3) & 7) === 1;
const formIsSse3 = ({ bytes }: Form): boolean => isSse3(bytes.at(-2) ?? 0, bytes.at(-1) ?? 0);

const vectors = loadX87Vectors();
const { exists } = vectors;
const forms = vectors.forms.filter((form) => !formIsSse3(form));

describe("x87 against a real processor", () => {
  test.each(forms.map((form) => [nameOf(form), form] as const))("%s", (_, form) => {
    const wrong: string[] = [];
    for (const vector of form.vectors) {
      const { initial, outcome } = vector;
      const got = print(masked(mnemonicOf(form), outcome, execute(form, initial)));
      const wanted = print(masked(mnemonicOf(form), outcome, outcome));
      if (got !== wanted) wrong.push(`before    ${print(initial)}\nprocessor ${wanted}\nringback  ${got}`);
    }
    expect(wrong.length, `${wrong.length} of ${form.vectors.length} differ\n\n${wrong.slice(0, 3).join("\n\n")}`).toBe(
      0,
    );
  });

  test("has no FISTTP", () => {
    const fisttp = vectors.forms.filter(formIsSse3);
    expect(fisttp).toHaveLength(SSE3_OPCODES.length);
    for (const form of fisttp) expect(execute(form, form.vectors[0]!.initial)).toBe(UNDEFINED_OPCODE);
  });

  test("decodes the encodings that it executes but for SSE3's, and no others", () => {
    const different: string[] = [];
    for (const [index, executes] of exists.entries()) {
      const opcode = 0xd8 + Math.floor(index / 72);
      const slot = index % 72;
      const modrm = slot < 64 ? 0xc0 + slot : ((slot - 64) << 3) | 7;
      if ((executes && !isSse3(opcode, modrm)) !== (decodeX87(opcode, modrm) !== undefined))
        different.push(`${opcode.toString(16)} ${modrm.toString(16)}`);
    }
    expect(different).toEqual([]);
  });
});
