// Part: the x87 opcode map, D8 to DF (SDM Vol. 2D, appendix A.5, tables; semantics: SDM Vol. 2A, page named by each group).
// FISTTP is left out: it belongs to SSE3, which CPUID does not announce. Encodings that the manual reserves but
// processors execute as aliases of another instruction are marked `alias`.

import type { X87Access } from "./access.ts";
import { add, divide, multiply, squareRoot, subtract } from "./arithmetic.ts";
import { fromBcd, fromFloat32, fromFloat64, fromInteger, toBcd, toFloat32, toFloat64, toInteger } from "./convert.ts";
import { one, readExtended, toBytes, zero } from "./extended.ts";
import {
  decodeEnvironment,
  decodeState,
  encodeEnvironment,
  encodeState,
  environmentLength,
  stateLength,
} from "./images.ts";
import {
  absoluteValue,
  changeSign,
  compareMemory,
  compareRegister,
  compareRegisterToFlags,
  compareWithZero,
  type Destination,
  examine,
  exchange,
  extractParts,
  FCMOV_FLAGS,
  freeRegister,
  intoRegister,
  loadConstant,
  loadConverted,
  loadExact,
  loadExactConstant,
  loadRegister,
  moveIf,
  noOperation,
  type Operation,
  partialRemainder,
  reversed,
  rotateStack,
  type Source,
  storeMemory,
  storeRegister,
  storeRegisterUnchecked,
  transcendental,
  unary,
  withMemory,
  withNext,
  withRegister,
} from "./operations.ts";
import { roundToInteger, scale } from "./remainder.ts";
import { BUSY, ES, SF } from "./unit.ts";

const m32fp: Source = { length: 4, widen: fromFloat32 };
const m64fp: Source = { length: 8, widen: fromFloat64 };
const m80fp: Source = {
  length: 10,
  widen: (bytes) => readExtended(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0),
};
const m16int: Source = { length: 2, widen: fromInteger };
const m32int: Source = { length: 4, widen: fromInteger };
const m64int: Source = { length: 8, widen: fromInteger };
const m80bcd: Source = { length: 10, widen: fromBcd };

const integer =
  (length: 2 | 4 | 8): Destination =>
  (a, x) =>
    toInteger(a, x, length);
const exact: Destination = (_, x) => toBytes(x);

const storeWord = (access: X87Access, value: number): void => access.store(Uint8Array.of(value & 0xff, value >> 8));

const loadControlWord: Operation = ({ unit, access }) => {
  const [low = 0, high = 0] = access.load(2);
  unit.loadControl(low | (high << 8));
};
const storeControlWord: Operation = ({ unit, access }) => storeWord(access, unit.control);
const storeStatusWord: Operation = ({ unit, access }) => storeWord(access, unit.status);
const storeStatusWordAx: Operation = ({ unit, access }) => access.writeAx(unit.status);
const clearExceptions: Operation = ({ unit }) => {
  unit.status &= ~(0x3f | SF | ES | BUSY);
};
const initialize: Operation = ({ unit }) => unit.initialize();
const storeEnvironment: Operation = ({ unit, access }) => {
  access.store(encodeEnvironment(unit, access));
  unit.loadControl(unit.control | 0x3f);
};
const loadEnvironment: Operation = ({ unit, access }) => {
  decodeEnvironment(unit, access, access.load(environmentLength(access)));
};
const saveState: Operation = ({ unit, access }) => {
  access.store(encodeState(unit, access));
  unit.initialize();
};
const restoreState: Operation = ({ unit, access }) => decodeState(unit, access, access.load(stateLength(access)));

/**
 * What happens around an instruction.
 * `numeric`: waits for a pending exception, then updates the last-instruction pointers; `control`: waits and leaves the pointers;
 * `no-wait`: neither (SDM Vol. 1, 8.1.8, 8.3.11, 8.3.12).
 */
export type Kind = "numeric" | "control" | "no-wait";

export interface Instruction {
  readonly mnemonic: string;
  /** The heading of its page in SDM Vol. 2A. */
  readonly page: string;
  readonly kind: Kind;
  /** A memory operand: the data pointer is updated too. */
  readonly memory: boolean;
  readonly execute: Operation;
}

/** "D8 /0" is a memory form, "D8 C0+i" eight register forms, "D9 E0" one. */
type Row = readonly [encoding: string, mnemonic: string, execute: Operation];
interface Group {
  readonly page: string;
  readonly kind?: Kind;
  readonly rows: readonly Row[];
}

const subtractReversed = reversed(subtract);
const divideReversed = reversed(divide);

export const GROUPS: readonly Group[] = [
  {
    page: "FADD/FADDP/FIADD",
    rows: [
      ["D8 /0", "FADD m32fp", withMemory(add, m32fp)],
      ["DC /0", "FADD m64fp", withMemory(add, m64fp)],
      ["D8 C0+i", "FADD ST(0), ST(i)", withRegister(add)],
      ["DC C0+i", "FADD ST(i), ST(0)", intoRegister(add, 0)],
      ["DE C0+i", "FADDP ST(i), ST(0)", intoRegister(add, 1)],
      ["DA /0", "FIADD m32int", withMemory(add, m32int)],
      ["DE /0", "FIADD m16int", withMemory(add, m16int)],
    ],
  },
  {
    page: "FMUL/FMULP/FIMUL",
    rows: [
      ["D8 /1", "FMUL m32fp", withMemory(multiply, m32fp)],
      ["DC /1", "FMUL m64fp", withMemory(multiply, m64fp)],
      ["D8 C8+i", "FMUL ST(0), ST(i)", withRegister(multiply)],
      ["DC C8+i", "FMUL ST(i), ST(0)", intoRegister(multiply, 0)],
      ["DE C8+i", "FMULP ST(i), ST(0)", intoRegister(multiply, 1)],
      ["DA /1", "FIMUL m32int", withMemory(multiply, m32int)],
      ["DE /1", "FIMUL m16int", withMemory(multiply, m16int)],
    ],
  },
  {
    page: "FSUB/FSUBP/FISUB",
    rows: [
      ["D8 /4", "FSUB m32fp", withMemory(subtract, m32fp)],
      ["DC /4", "FSUB m64fp", withMemory(subtract, m64fp)],
      ["D8 E0+i", "FSUB ST(0), ST(i)", withRegister(subtract)],
      ["DC E8+i", "FSUB ST(i), ST(0)", intoRegister(subtract, 0)],
      ["DE E8+i", "FSUBP ST(i), ST(0)", intoRegister(subtract, 1)],
      ["DA /4", "FISUB m32int", withMemory(subtract, m32int)],
      ["DE /4", "FISUB m16int", withMemory(subtract, m16int)],
    ],
  },
  {
    page: "FSUBR/FSUBRP/FISUBR",
    rows: [
      ["D8 /5", "FSUBR m32fp", withMemory(subtractReversed, m32fp)],
      ["DC /5", "FSUBR m64fp", withMemory(subtractReversed, m64fp)],
      ["D8 E8+i", "FSUBR ST(0), ST(i)", withRegister(subtractReversed)],
      ["DC E0+i", "FSUBR ST(i), ST(0)", intoRegister(subtractReversed, 0)],
      ["DE E0+i", "FSUBRP ST(i), ST(0)", intoRegister(subtractReversed, 1)],
      ["DA /5", "FISUBR m32int", withMemory(subtractReversed, m32int)],
      ["DE /5", "FISUBR m16int", withMemory(subtractReversed, m16int)],
    ],
  },
  {
    page: "FDIV/FDIVP/FIDIV",
    rows: [
      ["D8 /6", "FDIV m32fp", withMemory(divide, m32fp)],
      ["DC /6", "FDIV m64fp", withMemory(divide, m64fp)],
      ["D8 F0+i", "FDIV ST(0), ST(i)", withRegister(divide)],
      ["DC F8+i", "FDIV ST(i), ST(0)", intoRegister(divide, 0)],
      ["DE F8+i", "FDIVP ST(i), ST(0)", intoRegister(divide, 1)],
      ["DA /6", "FIDIV m32int", withMemory(divide, m32int)],
      ["DE /6", "FIDIV m16int", withMemory(divide, m16int)],
    ],
  },
  {
    page: "FDIVR/FDIVRP/FIDIVR",
    rows: [
      ["D8 /7", "FDIVR m32fp", withMemory(divideReversed, m32fp)],
      ["DC /7", "FDIVR m64fp", withMemory(divideReversed, m64fp)],
      ["D8 F8+i", "FDIVR ST(0), ST(i)", withRegister(divideReversed)],
      ["DC F0+i", "FDIVR ST(i), ST(0)", intoRegister(divideReversed, 0)],
      ["DE F0+i", "FDIVRP ST(i), ST(0)", intoRegister(divideReversed, 1)],
      ["DA /7", "FIDIVR m32int", withMemory(divideReversed, m32int)],
      ["DE /7", "FIDIVR m16int", withMemory(divideReversed, m16int)],
    ],
  },
  { page: "FSQRT", rows: [["D9 FA", "FSQRT", unary(squareRoot)]] },
  { page: "FRNDINT", rows: [["D9 FC", "FRNDINT", unary(roundToInteger)]] },
  { page: "FSCALE", rows: [["D9 FD", "FSCALE", withNext(scale)]] },
  { page: "FXTRACT", rows: [["D9 F4", "FXTRACT", extractParts]] },
  { page: "FPREM", rows: [["D9 F8", "FPREM", partialRemainder(false)]] },
  { page: "FPREM1", rows: [["D9 F5", "FPREM1", partialRemainder(true)]] },
  { page: "FABS", rows: [["D9 E1", "FABS", unary(absoluteValue)]] },
  { page: "FCHS", rows: [["D9 E0", "FCHS", unary(changeSign)]] },
  {
    page: "FCOM/FCOMP/FCOMPP",
    rows: [
      ["D8 /2", "FCOM m32fp", compareMemory(m32fp, 0)],
      ["DC /2", "FCOM m64fp", compareMemory(m64fp, 0)],
      ["D8 D0+i", "FCOM ST(i)", compareRegister({ quiet: false, pops: 0 })],
      ["DC D0+i", "FCOM ST(i), alias", compareRegister({ quiet: false, pops: 0 })],
      ["D8 /3", "FCOMP m32fp", compareMemory(m32fp, 1)],
      ["DC /3", "FCOMP m64fp", compareMemory(m64fp, 1)],
      ["D8 D8+i", "FCOMP ST(i)", compareRegister({ quiet: false, pops: 1 })],
      ["DC D8+i", "FCOMP ST(i), alias", compareRegister({ quiet: false, pops: 1 })],
      ["DE D0+i", "FCOMP ST(i), alias", compareRegister({ quiet: false, pops: 1 })],
      ["DE D9", "FCOMPP", compareRegister({ quiet: false, pops: 2 })],
    ],
  },
  {
    page: "FICOM/FICOMP",
    rows: [
      ["DE /2", "FICOM m16int", compareMemory(m16int, 0)],
      ["DA /2", "FICOM m32int", compareMemory(m32int, 0)],
      ["DE /3", "FICOMP m16int", compareMemory(m16int, 1)],
      ["DA /3", "FICOMP m32int", compareMemory(m32int, 1)],
    ],
  },
  {
    page: "FUCOM/FUCOMP/FUCOMPP",
    rows: [
      ["DD E0+i", "FUCOM ST(i)", compareRegister({ quiet: true, pops: 0 })],
      ["DD E8+i", "FUCOMP ST(i)", compareRegister({ quiet: true, pops: 1 })],
      ["DA E9", "FUCOMPP", compareRegister({ quiet: true, pops: 2 })],
    ],
  },
  {
    page: "FCOMI/FCOMIP/FUCOMI/FUCOMIP",
    rows: [
      ["DB F0+i", "FCOMI ST(0), ST(i)", compareRegisterToFlags({ quiet: false, pops: 0 })],
      ["DF F0+i", "FCOMIP ST(0), ST(i)", compareRegisterToFlags({ quiet: false, pops: 1 })],
      ["DB E8+i", "FUCOMI ST(0), ST(i)", compareRegisterToFlags({ quiet: true, pops: 0 })],
      ["DF E8+i", "FUCOMIP ST(0), ST(i)", compareRegisterToFlags({ quiet: true, pops: 1 })],
    ],
  },
  { page: "FTST", rows: [["D9 E4", "FTST", compareWithZero]] },
  { page: "FXAM", rows: [["D9 E5", "FXAM", examine]] },
  {
    page: "FLD",
    rows: [
      ["D9 /0", "FLD m32fp", loadConverted(m32fp)],
      ["DD /0", "FLD m64fp", loadConverted(m64fp)],
      ["DB /5", "FLD m80fp", loadExact(m80fp)],
      ["D9 C0+i", "FLD ST(i)", loadRegister],
    ],
  },
  {
    page: "FLD1/FLDL2T/FLDL2E/FLDPI/FLDLG2/FLDLN2/FLDZ",
    rows: [
      ["D9 E8", "FLD1", loadExactConstant(one)],
      ["D9 E9", "FLDL2T", loadConstant(0x4000, 0xd49a784bcd1b8afen, false)],
      ["D9 EA", "FLDL2E", loadConstant(0x3fff, 0xb8aa3b295c17f0bbn, true)],
      ["D9 EB", "FLDPI", loadConstant(0x4000, 0xc90fdaa22168c234n, true)],
      ["D9 EC", "FLDLG2", loadConstant(0x3ffd, 0x9a209a84fbcff798n, true)],
      ["D9 ED", "FLDLN2", loadConstant(0x3ffe, 0xb17217f7d1cf79abn, true)],
      ["D9 EE", "FLDZ", loadExactConstant(zero(false))],
    ],
  },
  {
    page: "FILD",
    rows: [
      ["DF /0", "FILD m16int", loadExact(m16int)],
      ["DB /0", "FILD m32int", loadExact(m32int)],
      ["DF /5", "FILD m64int", loadExact(m64int)],
    ],
  },
  { page: "FBLD", rows: [["DF /4", "FBLD m80bcd", loadExact(m80bcd)]] },
  {
    page: "FST/FSTP",
    rows: [
      ["D9 /2", "FST m32fp", storeMemory(toFloat32, 0)],
      ["DD /2", "FST m64fp", storeMemory(toFloat64, 0)],
      ["DD D0+i", "FST ST(i)", storeRegister(0)],
      ["D9 /3", "FSTP m32fp", storeMemory(toFloat32, 1)],
      ["DD /3", "FSTP m64fp", storeMemory(toFloat64, 1)],
      ["DB /7", "FSTP m80fp", storeMemory(exact, 1)],
      ["DD D8+i", "FSTP ST(i)", storeRegister(1)],
      ["D9 D8+i", "FSTPNCE ST(i), alias", storeRegisterUnchecked],
      ["DF D0+i", "FSTP ST(i), alias", storeRegister(1)],
      ["DF D8+i", "FSTP ST(i), alias", storeRegister(1)],
    ],
  },
  {
    page: "FIST/FISTP",
    rows: [
      ["DF /2", "FIST m16int", storeMemory(integer(2), 0)],
      ["DB /2", "FIST m32int", storeMemory(integer(4), 0)],
      ["DF /3", "FISTP m16int", storeMemory(integer(2), 1)],
      ["DB /3", "FISTP m32int", storeMemory(integer(4), 1)],
      ["DF /7", "FISTP m64int", storeMemory(integer(8), 1)],
    ],
  },
  { page: "FBSTP", rows: [["DF /6", "FBSTP m80bcd", storeMemory(toBcd, 1)]] },
  {
    page: "FXCH",
    rows: [
      ["D9 C8+i", "FXCH ST(i)", exchange],
      ["DD C8+i", "FXCH ST(i), alias", exchange],
      ["DF C8+i", "FXCH ST(i), alias", exchange],
    ],
  },
  {
    page: "FCMOVcc",
    rows: [
      ["DA C0+i", "FCMOVB ST(0), ST(i)", moveIf(FCMOV_FLAGS.B, true)],
      ["DA C8+i", "FCMOVE ST(0), ST(i)", moveIf(FCMOV_FLAGS.E, true)],
      ["DA D0+i", "FCMOVBE ST(0), ST(i)", moveIf(FCMOV_FLAGS.BE, true)],
      ["DA D8+i", "FCMOVU ST(0), ST(i)", moveIf(FCMOV_FLAGS.U, true)],
      ["DB C0+i", "FCMOVNB ST(0), ST(i)", moveIf(FCMOV_FLAGS.B, false)],
      ["DB C8+i", "FCMOVNE ST(0), ST(i)", moveIf(FCMOV_FLAGS.E, false)],
      ["DB D0+i", "FCMOVNBE ST(0), ST(i)", moveIf(FCMOV_FLAGS.BE, false)],
      ["DB D8+i", "FCMOVNU ST(0), ST(i)", moveIf(FCMOV_FLAGS.U, false)],
    ],
  },
  { page: "FINCSTP", rows: [["D9 F7", "FINCSTP", rotateStack(1)]] },
  { page: "FDECSTP", rows: [["D9 F6", "FDECSTP", rotateStack(-1)]] },
  {
    page: "FFREE",
    rows: [
      ["DD C0+i", "FFREE ST(i)", freeRegister(0)],
      ["DF C0+i", "FFREEP ST(i), alias", freeRegister(1)],
    ],
  },
  { page: "FNOP", rows: [["D9 D0", "FNOP", noOperation]] },
  { page: "F2XM1", rows: [["D9 F0", "F2XM1", transcendental("F2XM1")]] },
  { page: "FYL2X", rows: [["D9 F1", "FYL2X", transcendental("FYL2X")]] },
  { page: "FPTAN", rows: [["D9 F2", "FPTAN", transcendental("FPTAN")]] },
  { page: "FPATAN", rows: [["D9 F3", "FPATAN", transcendental("FPATAN")]] },
  { page: "FYL2XP1", rows: [["D9 F9", "FYL2XP1", transcendental("FYL2XP1")]] },
  { page: "FSINCOS", rows: [["D9 FB", "FSINCOS", transcendental("FSINCOS")]] },
  { page: "FSIN", rows: [["D9 FE", "FSIN", transcendental("FSIN")]] },
  { page: "FCOS", rows: [["D9 FF", "FCOS", transcendental("FCOS")]] },
  { page: "FLDCW", kind: "control", rows: [["D9 /5", "FLDCW m2byte", loadControlWord]] },
  { page: "FLDENV", kind: "control", rows: [["D9 /4", "FLDENV m14/28byte", loadEnvironment]] },
  { page: "FRSTOR", kind: "control", rows: [["DD /4", "FRSTOR m94/108byte", restoreState]] },
  { page: "FSTCW/FNSTCW", kind: "no-wait", rows: [["D9 /7", "FNSTCW m2byte", storeControlWord]] },
  { page: "FSTENV/FNSTENV", kind: "no-wait", rows: [["D9 /6", "FNSTENV m14/28byte", storeEnvironment]] },
  { page: "FSAVE/FNSAVE", kind: "no-wait", rows: [["DD /6", "FNSAVE m94/108byte", saveState]] },
  {
    page: "FSTSW/FNSTSW",
    kind: "no-wait",
    rows: [
      ["DD /7", "FNSTSW m2byte", storeStatusWord],
      ["DF E0", "FNSTSW AX", storeStatusWordAx],
    ],
  },
  { page: "FCLEX/FNCLEX", kind: "no-wait", rows: [["DB E2", "FNCLEX", clearExceptions]] },
  { page: "FINIT/FNINIT", kind: "no-wait", rows: [["DB E3", "FNINIT", initialize]] },
  {
    // Instructions of the 8087 and 287 that later units ignore (SDM Vol. 3B, "Obsolete Instructions" of the x87 compatibility section).
    page: "Intel 8087 and 287 compatibility",
    kind: "no-wait",
    rows: [
      ["DB E0", "FNENI", noOperation],
      ["DB E1", "FNDISI", noOperation],
      ["DB E4", "FNSETPM", noOperation],
    ],
  },
];

const MEMORY_FORMS: (Instruction | undefined)[] = new Array(8 * 8).fill(undefined);
const REGISTER_FORMS: (Instruction | undefined)[] = new Array(8 * 64).fill(undefined);

for (const { page, kind = "numeric", rows } of GROUPS) {
  for (const [encoding, mnemonic, execute] of rows) {
    const column = Number.parseInt(encoding.slice(0, 2), 16) & 7;
    const memory = encoding.charAt(3) === "/";
    const instruction: Instruction = { mnemonic, page, kind, memory, execute };
    if (memory) {
      MEMORY_FORMS[8 * column + Number(encoding.slice(4))] = instruction;
      continue;
    }
    const first = Number.parseInt(encoding.slice(3, 5), 16) & 0x3f;
    REGISTER_FORMS.fill(instruction, 64 * column + first, 64 * column + first + (encoding.endsWith("+i") ? 8 : 1));
  }
}

/**
 * @param opcode D8 to DF
 * @returns undefined for an encoding that raises #UD
 */
export function decodeX87(opcode: number, modrm: number): Instruction | undefined {
  const column = opcode & 7;
  return modrm < 0xc0 ? MEMORY_FORMS[8 * column + ((modrm >> 3) & 7)] : REGISTER_FORMS[64 * column + (modrm & 0x3f)];
}
