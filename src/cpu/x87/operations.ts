// Part: what the x87 instructions do to the unit: stack faults, exceptions and their masked answers, condition codes
// (SDM Vol. 1, 8.1.3, 8.4 to 8.6). The opcode map (opcodes.ts) combines these with the arithmetic.
//
// Every operation is restartable: loads come first, then the computation, then the store, then changes of the unit.

import { NotModelled } from "../../core/errors.ts";
import type { X87Access } from "./access.ts";
import { compare, nanResult, noteDenormal, type Relation } from "./arithmetic.ts";
import {
  type Extended,
  INDEFINITE,
  isDenormal,
  isInfinity,
  isNan,
  isNegative,
  isUnsupported,
  isZero,
  zero,
} from "./extended.ts";
import { extract, remainder } from "./remainder.ts";
import { type Arithmetic, BEFORE_COMPUTATION, IE, NEAREST, OE, UE, UP } from "./rounding.ts";
import { BUSY, C0, C1, C2, C3, CONDITION_CODES, ES, SF, type X87 } from "./unit.ts";

/** One instruction under way. */
export interface Step {
  readonly unit: X87;
  readonly access: X87Access;
  readonly arithmetic: Arithmetic;
  /** i of ST(i): the low three bits of ModRM. */
  readonly index: number;
  stackFault: boolean;
}

export type Operation = (step: Step) => void;
export type Unary = (a: Arithmetic, x: Extended) => Extended;
export type Binary = (a: Arithmetic, x: Extended, y: Extended) => Extended;

/** A memory operand: its length in bytes and the number it stands for. */
export interface Source {
  readonly length: number;
  readonly widen: (bytes: Uint8Array) => Extended;
}

/** A memory destination: the bytes a register becomes, and those stored when ST(0) is empty. */
export type Destination = (a: Arithmetic, x: Extended) => Uint8Array;

/** Adds the exceptions to the status word, sets C1, and makes unmasked exceptions pending. */
function finish({ unit, arithmetic, stackFault }: Step): void {
  const c1 = arithmetic.roundedUp ? C1 : 0;
  unit.status = (unit.status & ~C1) | c1 | arithmetic.exceptions | (stackFault ? SF : 0);
  if ((arithmetic.exceptions & arithmetic.unmasked) !== 0) unit.status |= ES | BUSY;
}

/** Raises a stack fault (SDM Vol. 1, 8.5.1.1); C1 tells overflow from underflow. @returns whether it is masked */
function stackFault(step: Step, overflow: boolean): boolean {
  step.stackFault = true;
  step.arithmetic.exceptions |= IE;
  step.arithmetic.roundedUp = overflow;
  return (step.arithmetic.unmasked & IE) === 0;
}

/** Whether an unmasked exception found before the computation ends the instruction: then nothing computed counts. */
function abandoned({ arithmetic }: Step): boolean {
  if ((arithmetic.exceptions & arithmetic.unmasked & BEFORE_COMPUTATION) === 0) return false;
  arithmetic.exceptions &= BEFORE_COMPUTATION;
  arithmetic.roundedUp = false;
  return true;
}

/** Computes into ST(destination) unless an operand register is empty or an exception forbids it; then pops. */
function computeInto(step: Step, destination: number, empty: boolean, compute: () => Extended, pops: number): void {
  const { unit } = step;
  let result: Extended | undefined;
  if (empty) result = stackFault(step, false) ? INDEFINITE : undefined;
  else {
    const value = compute();
    result = abandoned(step) ? undefined : value;
  }
  finish(step);
  if (result === undefined) return;
  unit.write(destination, result);
  for (let i = 0; i < pops; i++) unit.pop();
}

/** ST(0) := op(ST(0)) */
export const unary =
  (operate: Unary): Operation =>
  (step) => {
    const { unit, arithmetic } = step;
    computeInto(step, 0, unit.isEmpty(0), () => operate(arithmetic, unit.read(0)), 0);
  };

/** ST(0) := op(ST(0), ST(i)) */
export const withRegister =
  (operate: Binary): Operation =>
  (step) => {
    const { unit, arithmetic, index } = step;
    const empty = unit.isEmpty(0) || unit.isEmpty(index);
    computeInto(step, 0, empty, () => operate(arithmetic, unit.read(0), unit.read(index)), 0);
  };

/** ST(i) := op(ST(i), ST(0)), then pops */
export const intoRegister =
  (operate: Binary, pops: 0 | 1): Operation =>
  (step) => {
    const { unit, arithmetic, index } = step;
    const empty = unit.isEmpty(0) || unit.isEmpty(index);
    computeInto(step, index, empty, () => operate(arithmetic, unit.read(index), unit.read(0)), pops);
  };

/** ST(0) := op(ST(0), memory) */
export const withMemory =
  (operate: Binary, source: Source): Operation =>
  (step) => {
    const { unit, access, arithmetic } = step;
    const bytes = access.load(source.length);
    computeInto(step, 0, unit.isEmpty(0), () => operate(arithmetic, unit.read(0), source.widen(bytes)), 0);
  };

/** ST(0) := op(ST(0), ST(1)) */
export const withNext =
  (operate: Binary): Operation =>
  (step) =>
    withRegister(operate)({ ...step, index: 1 });

export const reversed =
  (operate: Binary): Binary =>
  (a, x, y) =>
    operate(a, y, x);

/** Pushes a number unless ST(7) is in use. An unmasked DE does not keep it from being pushed, as processors do. */
function pushValue(step: Step, compute: () => Extended): void {
  const { unit, arithmetic } = step;
  let result: Extended | undefined;
  if (!unit.isEmpty(-1)) result = stackFault(step, true) ? INDEFINITE : undefined;
  else {
    const value = compute();
    result = (arithmetic.exceptions & arithmetic.unmasked & IE) !== 0 ? undefined : value;
  }
  finish(step);
  if (result !== undefined) unit.push(result);
}

/** FLD of a format in which NaNs and denormals are operands and not mere bits: float32 and float64. */
export const loadConverted =
  (source: Source): Operation =>
  (step) => {
    const value = source.widen(step.access.load(source.length));
    pushValue(step, () => {
      noteDenormal(step.arithmetic, value);
      return isNan(value) ? (nanResult(step.arithmetic, value) ?? value) : value;
    });
  };

/** FLD m80, FILD, FBLD: exact and without numeric exceptions. */
export const loadExact =
  (source: Source): Operation =>
  (step) => {
    const value = source.widen(step.access.load(source.length));
    pushValue(step, () => value);
  };

export const loadRegister: Operation = (step) => {
  const { unit, index } = step;
  if (unit.isEmpty(index)) {
    const masked = stackFault(step, false);
    finish(step);
    if (masked) unit.push(INDEFINITE);
    return;
  }
  pushValue(step, () => unit.read(index));
};

/**
 * FLDPI and its like: a constant held in more than 64 bits and rounded by RC (SDM Vol. 1, 8.3.2).
 * @param chopped the first 64 significant bits
 * @param nearestIsAbove whether the number is nearer to chopped + 1
 */
export const loadConstant =
  (signExponent: number, chopped: bigint, nearestIsAbove: boolean): Operation =>
  (step) => {
    const { rounding } = step.arithmetic;
    const above = rounding === UP || (rounding === NEAREST && nearestIsAbove);
    pushValue(step, () => ({ signExponent, significand: above ? chopped + 1n : chopped }));
  };

/** FLD1 and FLDZ. */
export const loadExactConstant =
  (value: Extended): Operation =>
  (step) =>
    pushValue(step, () => value);

/** FST, FIST, FBSTP and their like: an unmasked exception other than PE stores nothing and pops nothing (SDM Vol. 1, 8.6). */
export const storeMemory =
  (destination: Destination, pops: 0 | 1): Operation =>
  (step) => {
    const { unit, access, arithmetic } = step;
    let bytes: Uint8Array | undefined;
    if (unit.isEmpty(0)) bytes = stackFault(step, false) ? destination({ ...arithmetic }, INDEFINITE) : undefined;
    else {
      const value = destination(arithmetic, unit.read(0));
      bytes = abandoned(step) || (arithmetic.exceptions & arithmetic.unmasked & (OE | UE)) !== 0 ? undefined : value;
    }
    if (bytes !== undefined) access.store(bytes);
    finish(step);
    if (bytes !== undefined && pops === 1) unit.pop();
  };

/** FST ST(i), FSTP ST(i): a copy of the bits. */
export const storeRegister =
  (pops: 0 | 1): Operation =>
  (step) => {
    const { unit, index } = step;
    computeInto(step, index, unit.isEmpty(0), () => unit.read(0), pops);
  };

/** FSTPNCE, the alias at D9 D8: as FSTP ST(i), but an empty ST(0) is popped without a stack fault. */
export const storeRegisterUnchecked: Operation = (step) => {
  const { unit } = step;
  if (!unit.isEmpty(0)) return storeRegister(1)(step);
  finish(step);
  unit.pop();
};

/** FXCH: empty registers are filled with the indefinite before the exchange. */
export const exchange: Operation = (step) => {
  const { unit, index } = step;
  const [first, second] = [0, index].map((i) => (unit.isEmpty(i) ? INDEFINITE : unit.read(i)));
  const allowed = (!unit.isEmpty(0) && !unit.isEmpty(index)) || stackFault(step, false);
  finish(step);
  if (!allowed || first === undefined || second === undefined) return;
  unit.write(0, second);
  unit.write(index, first);
};

const CF = 0x001;
const PF = 0x004;
const ZF = 0x040;

/** SDM Vol. 1, table 8-6 (condition codes C3, C2, C0) and table 8-7 (ZF, PF, CF). */
const RELATIONS: Record<Relation, { codes: number; flags: number }> = {
  greater: { codes: 0, flags: 0 },
  less: { codes: C0, flags: CF },
  equal: { codes: C3, flags: ZF },
  unordered: { codes: C3 | C2 | C0, flags: ZF | PF | CF },
};

/** Compares ST(0) with something and answers in condition codes or flags, unless an unmasked exception forbids it. */
function compareWith(
  step: Step,
  empty: boolean,
  other: () => Extended,
  quiet: boolean,
  pops: number,
  answer: (relation: Relation) => void,
): void {
  const { unit, arithmetic } = step;
  let relation: Relation | undefined;
  if (empty) relation = stackFault(step, false) ? "unordered" : undefined;
  else {
    const result = compare(arithmetic, unit.read(0), other(), quiet);
    relation = abandoned(step) ? undefined : result;
  }
  finish(step);
  if (relation === undefined) return;
  answer(relation);
  for (let i = 0; i < pops; i++) unit.pop();
}

const setCodes =
  ({ unit }: Step) =>
  (relation: Relation): void => {
    unit.status = (unit.status & ~(C0 | C2 | C3)) | RELATIONS[relation].codes;
  };

const setFlags =
  ({ access }: Step) =>
  (relation: Relation): void =>
    access.writeFlags(RELATIONS[relation].flags);

interface Comparison {
  readonly quiet: boolean;
  readonly pops: 0 | 1 | 2;
}

export const compareRegister =
  ({ quiet, pops }: Comparison): Operation =>
  (step) => {
    const { unit, index } = step;
    const empty = unit.isEmpty(0) || unit.isEmpty(index);
    compareWith(step, empty, () => unit.read(index), quiet, pops, setCodes(step));
  };

export const compareRegisterToFlags =
  ({ quiet, pops }: Comparison): Operation =>
  (step) => {
    const { unit, index } = step;
    const empty = unit.isEmpty(0) || unit.isEmpty(index);
    compareWith(step, empty, () => unit.read(index), quiet, pops, setFlags(step));
  };

export const compareMemory =
  (source: Source, pops: 0 | 1): Operation =>
  (step) => {
    const bytes = step.access.load(source.length);
    compareWith(step, step.unit.isEmpty(0), () => source.widen(bytes), false, pops, setCodes(step));
  };

export const compareWithZero: Operation = (step) =>
  compareWith(step, step.unit.isEmpty(0), () => zero(false), false, 0, setCodes(step));

/** FXAM's classes (SDM Vol. 2A, FXAM): C3, C2, C0; C1 is the sign. */
export const examine: Operation = ({ unit }) => {
  const x = unit.read(0);
  let codes = C2;
  if (unit.isEmpty(0)) codes = C3 | C0;
  else if (isUnsupported(x)) codes = 0;
  else if (isNan(x)) codes = C0;
  else if (isInfinity(x)) codes = C2 | C0;
  else if (isZero(x)) codes = C3;
  else if (isDenormal(x)) codes = C3 | C2;
  unit.status = (unit.status & ~CONDITION_CODES) | codes | (isNegative(x) ? C1 : 0);
};

/** FPREM and FPREM1: C0, C3, C1 are the quotient's bits 2, 1, 0, and C2 tells an incomplete reduction; without a quotient C2 is 0. */
export const partialRemainder =
  (toNearest: boolean): Operation =>
  (step) => {
    const { unit, arithmetic } = step;
    const empty = unit.isEmpty(0) || unit.isEmpty(1);
    let codes: number | undefined;
    const compute = (): Extended => {
      const { value, quotient, incomplete } = remainder(arithmetic, unit.read(0), unit.read(1), toNearest);
      if (quotient === undefined || abandoned(step)) return value;
      codes = ((quotient & 4) !== 0 ? C0 : 0) | ((quotient & 2) !== 0 ? C3 : 0) | (incomplete ? C2 : 0);
      arithmetic.roundedUp = (quotient & 1) !== 0;
      return value;
    };
    computeInto(step, 0, empty, compute, 0);
    unit.status = codes === undefined ? unit.status & ~C2 : (unit.status & ~(C0 | C2 | C3)) | codes;
  };

/** FXTRACT: ST(0) becomes the exponent, then the significand is pushed. */
export const extractParts: Operation = (step) => {
  const { unit, arithmetic } = step;
  let parts: { exponent: Extended; significand: Extended } | undefined;
  const overflow = !unit.isEmpty(0) && !unit.isEmpty(-1);
  if (unit.isEmpty(0) || overflow) {
    parts = stackFault(step, overflow) ? { exponent: INDEFINITE, significand: INDEFINITE } : undefined;
  } else {
    const result = extract(arithmetic, unit.read(0));
    parts = abandoned(step) ? undefined : result;
  }
  finish(step);
  if (parts === undefined) return;
  unit.write(0, parts.exponent);
  unit.push(parts.significand);
};

/** FCMOVcc: moves when any of the flags is set, or none. */
export const moveIf =
  (mask: number, set: boolean): Operation =>
  (step) => {
    const { unit, access, index } = step;
    const empty = unit.isEmpty(0) || unit.isEmpty(index);
    if (!empty) step.arithmetic.roundedUp = (unit.status & C1) !== 0; // C1 stays
    const moves = ((access.readFlags() & mask) !== 0) === set;
    computeInto(step, 0, empty, () => unit.read(moves ? index : 0), 0);
  };
export const FCMOV_FLAGS = { B: CF, E: ZF, BE: CF | ZF, U: PF } as const;

/** FINCSTP and FDECSTP: tags and contents stay. */
export const rotateStack =
  (by: 1 | -1): Operation =>
  ({ unit }) => {
    unit.top += by;
    unit.status &= ~C1;
  };

export const freeRegister =
  (pops: 0 | 1): Operation =>
  ({ unit, index }) => {
    unit.free(index);
    unit.status &= ~C1;
    if (pops === 1) unit.pop();
  };

export const noOperation: Operation = () => {};

/** Bits of the sign only: FABS and FCHS take any register contents (SDM Vol. 2A). */
export const absoluteValue: Unary = (_, x) => ({ ...x, signExponent: x.signExponent & 0x7fff });
export const changeSign: Unary = (_, x) => ({ ...x, signExponent: x.signExponent ^ 0x8000 });

export const transcendental =
  (mnemonic: string): Operation =>
  () => {
    throw new NotModelled(`x87 instruction ${mnemonic}`);
  };
