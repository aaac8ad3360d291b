/**
 * Real-mode instructions against vectors captured from a real 80286 (SingleStepTests/80286, MIT). They are not part of
 * the repository: they are read from ../shared/real-mode-286 beside it, and without them the tests are skipped.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";
import { createProcessorUnderTest, type ProcessorUnderTest } from "../support/processor.ts";
import { dependsOnCount, undefinedBy } from "./undefined-flags.ts";

const DIRECTORY = fileURLToPath(new URL("../../../shared/real-mode-286/", import.meta.url));
const SUFFIX = ".json.gz";

/** 16-bit registers; `flags` and `ip` included. */
type Registers286 = Readonly<Record<string, number>>;
/** Physical address and byte. */
type Bytes286 = readonly (readonly [address: number, byte: number])[];

interface Vector286 {
  readonly idx: number;
  readonly name: string;
  readonly bytes: readonly number[];
  readonly initial: { readonly regs: Registers286; readonly ram: Bytes286 };
  readonly final: { readonly regs: Registers286; readonly ram: Bytes286 };
  readonly exception?: { readonly number: number; readonly flag_address: number };
}

/** Opcode files that are not run at all. */
const LEFT_OUT_OPCODES: Readonly<Record<string, string>> = {
  D8: "x87: the 286 of the vectors had no coprocessor and took the escape for a no-operation",
  F4: "HLT is how the vectors end",
};

const LOCK = 0xf0;
const HLT = 0xf4;
const PREFIXES: ReadonlySet<number> = new Set([0x26, 0x2e, 0x36, 0x3e, LOCK, 0xf2, 0xf3]);
/** SDM Vol. 3 §23.15 (lengths): ten bytes on the 286, fifteen later. The vectors add a HLT. */
const LONGEST_286_INSTRUCTION = 10;
const STRING_INSTRUCTION = /\b(ins|outs|movs|cmps|stos|lods|scas)[bw]\b/;
/** Disassembled memory operands in the stack segment, and instructions whose only memory operand is the stack. */
const STACK_SEGMENT = /\[ss:|\[bp|^(leave|retf?|pop)\b(?!.*\[)/;
const FS_OR_GS = /\b[fg]s\b/;
const GP = 13;

/** Single vectors that a later processor answers differently, each kind with its reason. */
const LEFT_OUT_VECTORS: readonly { readonly reason: string; readonly applies: (vector: Vector286) => boolean }[] = [
  {
    reason: "LOCK: the 286 takes it before any instruction, later processors raise #UD (the integer vectors cover it)",
    applies: ({ bytes }) => prefixesOf(bytes).includes(LOCK),
  },
  {
    reason: "longer than ten bytes: #GP on the 286 only",
    applies: ({ bytes }) => bytes.length - 1 > LONGEST_286_INSTRUCTION,
  },
  {
    reason: "FS and GS: undefined on the 286",
    applies: ({ name }) => FS_OR_GS.test(name),
  },
  {
    reason: "a limit violation in SS: vector 13 on the 286, 12 later",
    applies: ({ name, exception }) => exception?.number === GP && STACK_SEGMENT.test(name),
  },
  {
    reason:
      "a limit violation in a string instruction: the 286 has already advanced SI and DI, later processors restart it",
    applies: ({ name, exception }) => exception?.number === GP && STRING_INSTRUCTION.test(name),
  },
];

/** Bits 12 to 15 of FLAGS differ between the 286 in real mode and later processors. */
const COMPARED_FLAGS = 0x0fff;
const FLAGS_ALWAYS_SET = 2;
/** CX holds at most 65535, and every iteration is a step. */
const MAX_STEPS = 65_536;
/** Upper halves of the 32-bit registers, which 16-bit code neither reads nor changes. */
const UPPER_HALF = 0xa5a5_0000;

const GENERAL = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"] as const;
const SEGMENTS = ["es", "cs", "ss", "ds"] as const;
const CS = 1;
const SS = 2;
const SP = 4;

function prefixesOf(bytes: readonly number[]): readonly number[] {
  const end = bytes.findIndex((byte) => !PREFIXES.has(byte));
  return bytes.slice(0, end);
}

const linear = (selector: number, offset: number): number => selector * 16 + (offset & 0xffff);
const hex = (value: number): string => value.toString(16).padStart(4, "0");

/** FLAGS bits that the instruction leaves undefined. The opcode says where a shift takes its count from. */
function undefinedFlags(vector: Vector286): number {
  const prefixes = prefixesOf(vector.bytes).length;
  const opcode = vector.bytes[prefixes]!;
  const mnemonic = vector.name.split(" ").find((word) => !/^(rep(ne|e)?|es|cs|ss|ds)$/.test(word)) ?? "";
  if (!dependsOnCount(mnemonic)) return undefinedBy(mnemonic, 16, 0).flags;
  const bits = (opcode & 1) === 0 ? 8 : 16;
  // C0 and C1 by an immediate, D0 and D1 by 1, D2 and D3 by CL.
  const count = opcode < 0xd0 ? vector.bytes.at(-2)! : opcode < 0xd2 ? 1 : vector.initial.regs.cx! & 0xff;
  return undefinedBy(mnemonic, bits, count).flags;
}

function load(processor: ProcessorUnderTest, { regs, ram }: Vector286["initial"]): void {
  for (const [address, byte] of ram) processor.write(address, Uint8Array.of(byte));
  processor.setRegisters({
    gpr: GENERAL.map((name) => (UPPER_HALF | regs[name]!) >>> 0),
    eip: regs.ip!,
    eflags: (regs.flags! & COMPARED_FLAGS) | FLAGS_ALWAYS_SET,
    segments: SEGMENTS.map((name) => regs[name]!),
  });
}

/** Steps until a HLT comes next, which stands behind the instruction, at a jump's target, or at an exception handler's start. */
function runToHalt(processor: ProcessorUnderTest): void {
  for (let steps = 0; steps < MAX_STEPS; steps++) {
    processor.step();
    const { eip, segments } = processor.getRegisters();
    if (processor.read(linear(segments[CS]!, eip), 1)[0] === HLT) return;
  }
}

/** Runs one vector; the differences from the 80286, in words. */
function differences(processor: ProcessorUnderTest, vector: Vector286): string[] {
  load(processor, vector.initial);
  runToHalt(processor);
  const after = processor.getRegisters();

  const found: string[] = [];
  const compare = (what: string, actual: number, expected: number) => {
    if (actual !== expected) found.push(`${what} is ${hex(actual)}, should be ${hex(expected)}`);
  };
  const expected = { ...vector.initial.regs, ...vector.final.regs };
  for (const [i, name] of GENERAL.entries()) compare(name, after.gpr[i]!, (UPPER_HALF | expected[name]!) >>> 0);
  for (const [i, name] of SEGMENTS.entries()) compare(name, after.segments[i]!, expected[name]!);
  compare("ip after the HLT", (after.eip + 1) & 0xffff, expected.ip!);
  const flagsMask = COMPARED_FLAGS & ~undefinedFlags(vector);
  compare("flags", after.eflags & flagsMask, (expected.flags! | FLAGS_ALWAYS_SET) & flagsMask);

  // A FLAGS image on the stack is masked as FLAGS itself: the frame of an exception, or what PUSHF pushed.
  const image = linear(after.segments[SS]!, after.gpr[SP]! + (vector.exception === undefined ? 0 : 4));
  const hasImage = vector.exception !== undefined || vector.name.endsWith("pushf");
  const maskOf = (address: number): number => {
    if (!hasImage || address < image || address > image + 1) return 0xff;
    return address === image ? flagsMask & 0xff : flagsMask >>> 8;
  };
  const memory = new Map([...vector.initial.ram, ...vector.final.ram]);
  for (const [address, byte] of memory) {
    const mask = maskOf(address);
    compare(`memory at ${address.toString(16)}`, processor.read(address, 1)[0]! & mask, byte & mask);
  }
  for (const address of memory.keys()) processor.write(address, Uint8Array.of(0));
  return found;
}

function describeVector(vector: Vector286): string {
  const bytes = Buffer.from(vector.bytes).toString("hex");
  const registers = Object.entries(vector.initial.regs).map(([name, value]) => `${name}=${hex(value)}`);
  return `#${vector.idx} ${vector.name}, bytes ${bytes}\n  ${registers.join(" ")}`;
}

const present = existsSync(DIRECTORY);
if (!present) console.log(`real-mode 80286 vectors: skipped, there is no ${DIRECTORY}`);
const opcodes = present
  ? readdirSync(DIRECTORY).flatMap((file) => (file.endsWith(SUFFIX) ? [file.slice(0, -SUFFIX.length)] : []))
  : [];

describe.skipIf(!present)("real-mode instructions do what an 80286 did", () => {
  let processor: ProcessorUnderTest;

  beforeAll(() => {
    processor = createProcessorUnderTest();
    processor.reset("real16");
    processor.write(0, new Uint8Array(processor.memorySize));
  });

  test("all opcode files are there", () => {
    expect(opcodes).toHaveLength(325);
    expect(opcodes).toEqual(expect.arrayContaining(Object.keys(LEFT_OUT_OPCODES)));
  });

  test.each(opcodes.filter((opcode) => !(opcode in LEFT_OUT_OPCODES)))("%s", (opcode) => {
    const vectors = JSON.parse(gunzipSync(readFileSync(`${DIRECTORY}${opcode}${SUFFIX}`)).toString()) as Vector286[];
    const compared = vectors.filter((vector) => !LEFT_OUT_VECTORS.some(({ applies }) => applies(vector)));
    expect(compared.length).toBeGreaterThan(vectors.length / 2);
    const failures = compared.flatMap((vector) => {
      const found = differences(processor, vector);
      return found.length === 0 ? [] : [`${describeVector(vector)}\n  ${found.join("\n  ")}`];
    });
    if (failures.length > 0)
      expect.fail(`${failures.length} of ${compared.length} vectors differ; the first:\n${failures[0]}`);
  });
});
