/** Random programs for comparing executions of the processor with each other. */
import fc from "fast-check";
import { NotModelled } from "../../src/core/errors.ts";
import { Decoder } from "../../src/cpu/decode.ts";
import { type Backend, BOUNDARY } from "../../src/cpu/engine.ts";
import { MODE } from "../../src/cpu/layout.ts";
import { OPCODES } from "../../src/cpu/opcodes.ts";
import { Processor } from "../../src/cpu/processor.ts";
import { CR0_PG, CS, OFFSET, SS } from "../../src/cpu/state.ts";

export const RAM_BYTES = 0x10_0000;
const CODE = 0x4f80;
const CODE_SELECTOR = 0x8;
const DATA_SELECTOR = 0x10;
const PAGE_DIRECTORY = 0x8_0000;
const PAGE_TABLE = 0x8_1000;
/** Below 64 KiB, so that 16-bit registers can point to it. */
const DATA = 0x8000;
const CR0_PE_ET = 0x11;

/** How the segments and paging are set up. */
export type Setting = "flat" | "paged" | "segmented" | "real";

export interface Program {
  readonly setting: Setting;
  /** EAX … EDI. */
  readonly gpr: readonly number[];
  readonly flags: number;
  readonly code: Uint8Array;
  /** Instructions to run. */
  readonly budget: number;
}

/** Slow functions that user programs run into and that leave the processor's mode alone. */
const USER_NAMES: ReadonlySet<string> = new Set([
  ...["enter", "bound", "cmpxchg8b", "daa", "das", "aaa", "aas", "aam", "aad", "x87"],
]);

const opcodeNumbers = [...OPCODES].flatMap(([number, entry]) =>
  (Array.isArray(entry) ? entry : [entry]).flatMap((row, group) =>
    row !== undefined && (!row.slow || USER_NAMES.has(row.name))
      ? [{ number, group, row, isGroup: Array.isArray(entry) }]
      : [],
  ),
);

/** What handlers of two instructions are made for, and conditional jumps between. */
const FREQUENT = /^(cmp|test|add|sub|and|or|xor|inc|dec|mov|movzx|lea|push|pop|jn?[bzsl]e?|jmp|call|ret)$/;
const frequentNumbers = opcodeNumbers.filter(({ row }) => FREQUENT.test(row.name));

const decoder = new Decoder();

/** One instruction: the opcode with random bytes behind it, cut to its length; branches stay near. */
function instruction(setting: Setting, opcodes = opcodeNumbers): fc.Arbitrary<Uint8Array> {
  const mode = setting === "real" ? MODE.general | MODE.legacy : MODE.code32 | MODE.stack32;
  const prefix = fc.oneof(
    { weight: 8, arbitrary: fc.constant<number[]>([]) },
    { weight: 3, arbitrary: fc.constantFrom([0x66], [0x67], [0xf3], [0xf2], [0x66, 0x67]) },
    { weight: 1, arbitrary: fc.constantFrom([0xf0], [0x2e], [0x64], [0x26], [0x36]) },
  );
  return fc
    .tuple(
      fc.constantFrom(...opcodes),
      prefix,
      fc.uint8Array({ minLength: 12, maxLength: 12 }),
      fc.integer({ min: -60, max: 60 }),
      fc.boolean(),
    )
    .map(([{ number, group, row, isGroup }, prefixes, tail, distance, small]) => {
      const opcode = number > 0xff ? [0x0f, number & 0xff] : [number];
      const rest = [...tail];
      if (isGroup) rest[0] = (tail[0]! & ~0x38) | (group << 3);
      // Displacements and immediates are short in half of the cases, so that accesses meet memory and each other.
      if (small) rest.fill(0, 3);
      const bytes = Uint8Array.from([...prefixes, ...opcode, ...rest]);
      decoder.decode(bytes, 0, bytes.length, mode, 0);
      const length = Math.min(decoder.length, bytes.length);
      if (row.operands[0]?.kind === "J") {
        const width = row.operands[0].width === 8 ? 1 : decoder.variant.size / 8;
        for (let index = 0; index < width; index++) bytes[length - width + index] = (distance >> (8 * index)) & 0xff;
      }
      return bytes.slice(0, length);
    });
}

/** A value that points into the data, or any value. */
const register = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: DATA, max: DATA + 0x3000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 12 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
);

export const programs: fc.Arbitrary<Program> = fc
  .constantFrom<Setting>("flat", "paged", "segmented", "real")
  .chain((setting) =>
    fc.record({
      setting: fc.constant(setting),
      gpr: fc.array(register, { minLength: 8, maxLength: 8 }),
      flags: fc.integer({ min: 0, max: 0xfff }).map((flags) => (flags & 0xcd5) | 2),
      code: fc
        .array(instruction(setting), { minLength: 1, maxLength: 40 })
        .map((list) => Uint8Array.from(list.flatMap((bytes) => [...bytes]))),
      budget: fc.integer({ min: 1, max: 300 }),
    }),
  );

/** A value that points into the code: stores change it. */
const pointer = fc.integer({ min: CODE, max: CODE + 0xa0 });

/** No program of {@link frequentPrograms} is written or jumps much farther. */
export const FREQUENT_CODE_END = 0x6000;

/** Flat programs of the most frequent instructions, which write to their own code now and then. */
export const frequentPrograms: fc.Arbitrary<Program> = fc.constantFrom<Setting>("flat", "paged").chain((setting) =>
  fc.record({
    setting: fc.constant(setting),
    gpr: fc.array(fc.oneof({ weight: 4, arbitrary: register }, { weight: 1, arbitrary: pointer }), {
      minLength: 8,
      maxLength: 8,
    }),
    flags: fc.integer({ min: 0, max: 0xfff }).map((flags) => (flags & 0xcd5) | 2),
    code: fc
      .array(instruction(setting, frequentNumbers), { minLength: 1, maxLength: 40 })
      .map((list) => Uint8Array.from(list.flatMap((bytes) => [...bytes]))),
    budget: fc.integer({ min: 1, max: 150 }),
  }),
);

/** Programs of any bytes, system instructions included; the two-byte map comes up often. */
export const byteStrings: fc.Arbitrary<Program> = fc
  .tuple(programs, fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.boolean())
  .map(([program, bytes, escaped]) => ({
    ...program,
    code: escaped
      ? Uint8Array.from([...bytes].flatMap((byte, index) => (index % 5 === 0 ? [0x0f, byte] : [byte])))
      : bytes,
  }));

export function createProcessor(backend?: Backend): Processor {
  const platform = {
    readTsc: () => 0n,
    instructionsUntilTsc: () => Number.MAX_SAFE_INTEGER,
    portRead: () => 0xff,
    portWrite: () => {},
  };
  return new Processor({ ramBytes: RAM_BYTES, platform, ...(backend === undefined ? {} : { backend }) });
}

/** Puts a processor into the program's initial state; nothing of an earlier program is left. */
export function prepare(processor: Processor, program: Program): void {
  const { state, memory } = processor;
  const { setting } = program;
  processor.reset();
  // An INT whose delivery faulted: outside of VMX operation nobody takes the fault up.
  processor.vmx.endDelivery();
  const data = new Uint8Array(RAM_BYTES);
  for (let index = DATA; index < DATA + 0x4000; index++) data[index] = (index * 7) ^ (index >> 8);
  memory.write(0, data);
  memory.write(CODE, program.code);
  const real = setting === "real";
  for (let segment = 0; segment < 6; segment++) {
    const base = real ? 0 : setting === "segmented" && segment !== CS ? 0x100 * segment : 0;
    state.setSelector(segment, real ? 0 : segment === CS ? CODE_SELECTOR : DATA_SELECTOR);
    state.setSegmentBase(segment, base);
    state.setLimit(segment, real ? 0xffff : setting === "segmented" ? 0x1_3fff : 0xffff_ffff);
    state.setAccessRights(segment, real ? 0x93 : segment === CS ? 0xc09b : 0xc093);
  }
  if (!real) state.set(OFFSET.cr0, CR0_PE_ET);
  if (setting === "segmented") state.setAccessRights(SS, 0x93);
  if (setting === "paged") {
    memory.store32(PAGE_DIRECTORY, PAGE_TABLE | 7);
    // Every other page of the data is read-only to CR0.WP-less supervisors, every eighth is not there.
    for (let page = 0; page < RAM_BYTES / 4096; page++) {
      memory.store32(PAGE_TABLE + 4 * page, page % 8 === 7 ? 0 : (page * 4096) | 3);
    }
    state.set(OFFSET.cr3, PAGE_DIRECTORY);
    state.set(OFFSET.cr0, (CR0_PE_ET | CR0_PG) >>> 0);
  }
  for (const [index, value] of program.gpr.entries()) state.setGpr(index, value);
  state.eflags = program.flags;
  state.eip = CODE;
  processor.flushTlb(true);
  processor.modeChanged();
}

/** Runs in pieces of the given sizes, then whatever is left of the budget, until the end or a fault. */
export function run(processor: Processor, program: Program, pieces: readonly number[] = []): void {
  const end = processor.retired + program.budget;
  for (const piece of [...pieces, program.budget]) {
    while (processor.retired < end) {
      const before = processor.retired;
      if (stops(processor, Math.min(piece, end - before))) return;
      if (piece !== program.budget) break;
    }
  }
}

function stops(processor: Processor, budget: number): boolean {
  try {
    return processor.execute(budget) !== BOUNDARY;
  } catch (error) {
    // An x87 instruction that is not modelled ends a run as a fault does.
    if (error instanceof NotModelled) return true;
    throw error;
  }
}

/** Everything that two executions of a program have to agree on. `since`: `retired` before the run. */
export function outcome(processor: Processor, since: number): Record<string, unknown> {
  const { state } = processor;
  return {
    retired: processor.retired - since,
    eip: state.eip.toString(16),
    eflags: state.eflags.toString(16),
    gpr: Array.from({ length: 8 }, (_, index) => state.gpr(index).toString(16)),
    fault: { ...processor.pendingFault },
    memory: differencesFrom(processor),
    tlb: processor.save().tlb.entries.join(),
  };
}

function differencesFrom(processor: Processor): string {
  return Buffer.from(processor.memory.read(0, 0x1_8000)).toString("base64");
}
