// Part: data movement, bits and flag instructions (Intel SDM Vol. 1 §7.3.1, §7.3.7, §7.3.13).

import { type Expr, i32, type Width } from "../ir.ts";
import { STATE_BASE } from "../layout.ts";
import { CONDITIONS } from "../opcodes.ts";
import { CF, DF, EAX, EBP, EBX, EDX, ESP, OFFSET } from "../state.ts";
import { carryFlag } from "./arithmetic.ts";
import type { Context } from "./context.ts";

/** Bit 31 of the lazy carries is CF; inverted by `not`. */
function baseCondition(c: Context, index: number): Expr {
  const result = c.flagResult;
  switch (index) {
    case 0: {
      const carries = c.let(c.flagCarries);
      return carries.xor(carries.shl(1)).ltS(0);
    }
    case 1:
      return c.flagCarries.ltS(0);
    case 2:
      return result.eqz();
    case 3:
      return c.flagCarries.ltS(0).or(result.eqz());
    case 4:
      return result.xor(c.flagCarries.shl(31)).ltS(0);
    case 5:
      return parity(c);
    case 6:
      return less(c, c.let(result));
    default: {
      const named = c.let(result);
      return less(c, named).or(named.eqz());
    }
  }
}

/** SF differs from OF. */
function less(c: Context, result: Expr): Expr {
  const carries = c.let(c.flagCarries);
  return result.xor(carries.shl(31)).xor(carries).xor(carries.shl(1)).ltS(0);
}

function parity(c: Context): Expr {
  const byte = c.let(c.flagResult.xor(c.flagCarries.shrU(8)).and(0xff));
  // One bit for each value of four bits, set where their number of ones is even.
  return i32(0x9669)
    .shrU(byte.xor(byte.shrU(4)).and(15))
    .and(1);
}

/** Condition `index` of table B-1 (SDM Vol. 1 appendix B) as 0 or 1. */
export function condition(c: Context, index: number): Expr {
  const base = c.let(baseCondition(c, index >>> 1));
  return (index & 1) === 0 ? base : base.eqz();
}

/** The low byte of EFLAGS: SF ZF - AF - PF 1 CF. */
function lowFlags(c: Context): Expr {
  const result = c.let(c.flagResult);
  const carries = c.let(c.flagCarries);
  return c
    .let(parity(c))
    .shl(2)
    .or(carries.shrU(31))
    .or(2)
    .or(carries.and(8).shl(1))
    .or(result.eqz().shl(6))
    .or(result.shrU(31).xor(carries.and(1)).shl(7));
}

/** Overflow flag as 0 or 1. */
function overflowFlag(c: Context): Expr {
  const carries = c.let(c.flagCarries);
  return carries.xor(carries.shl(1)).shrU(31);
}

/** Replaces CF and keeps OF, which is stored as its difference from the carry into the top bit. */
function setCarryFlag(c: Context, carry: Expr): void {
  const flag = c.let(carry);
  const overflow = c.let(overflowFlag(c));
  c.setCarries(c.flagCarries.and(0x3fff_ffff).or(flag.shl(31)).or(flag.xor(overflow).shl(30)));
}

/** EAX to EDI. */
const GENERAL = [0, 1, 2, 3, 4, 5, 6, 7];
const FLAGS_REST = STATE_BASE + OFFSET.flagsRest;

function bitTest(change: ((value: Expr, bit: Expr) => Expr) | undefined): (c: Context) => void {
  return (c) => {
    const width = c.width as 16 | 32;
    const index = c.let(c.get(1));
    const inRegister = c.variant.place === "register";
    const bit = c.let(i32(1).shl(index.and(width - 1)));
    const byImmediate = c.opcode.operands[1]?.kind === "I";
    const destination =
      change === undefined && (inRegister || byImmediate)
        ? { value: c.let(c.get(0)), write: () => {} }
        : inRegister || byImmediate
          ? c.modify(0)
          : bitString(c, index, width, change !== undefined);
    const selected = c.let(destination.value.and(bit).ne(0));
    if (change !== undefined) destination.write(change(destination.value, bit));
    setCarryFlag(c, selected);
  };
}

/** The word of a bit string that holds bit `index`, which is signed (SDM Vol. 1 figure "Memory bit indexing"). */
function bitString(c: Context, index: Expr, width: 16 | 32, write: boolean) {
  const byteOffset = index
    .signExtend(width)
    .shrS(width === 32 ? 5 : 4)
    .shl(width === 32 ? 2 : 1);
  const address = c.addressBeside(byteOffset, width, write);
  return write ? c.modifyMemory(width, address) : { value: c.read(width, address), write: () => {} };
}

function scan(forward: boolean): (c: Context) => void {
  return (c) => {
    const source = c.let(c.get(1));
    c.b.if(source, () => c.set(0, forward ? source.ctz() : i32(31).sub(source.clz())));
    // Only ZF is defined; the source is the result that the flags describe.
    c.setFlags(source.signExtend(c.width), i32(0));
  };
}

function extend(signed: boolean): (c: Context) => void {
  return (c) => {
    const from = c.operandWidth(c.opcode.operands[1] as never) as Width;
    const value = c.get(1);
    c.set(0, signed ? value.signExtend(from) : value);
  };
}

const conditional: Record<string, (c: Context) => void> = {};
for (const [index, name] of CONDITIONS.entries()) {
  conditional[`set${name}`] = (c) => c.set(0, condition(c, index));
  conditional[`cmov${name}`] = (c) => {
    // The source is read, and may fault, whatever the condition (SDM Vol. 2, CMOVcc).
    const value = c.let(c.get(1));
    c.b.if(condition(c, index), () => c.set(0, value));
  };
}

export const DATA: Record<string, (c: Context) => void> = {
  ...conditional,
  mov: (c) => c.set(0, c.get(1)),
  lea: (c) => c.set(0, c.offset()),
  movzx: extend(false),
  movsx: extend(true),
  nop: () => {},
  xchg: (c) => {
    const b = c.let(c.get(1));
    const destination = c.modify(0);
    destination.write(b);
    c.set(1, destination.value);
  },
  bswap: (c) => {
    // With a 16-bit operand the result is undefined; processors are seen to clear the register.
    const value = c.let(c.get(0));
    c.set(
      0,
      c.width === 16
        ? i32(0)
        : value
            .rotl(8)
            .and(0x00ff_00ff)
            .or(value.rotl(24).and(0xff00_ff00 | 0)),
    );
  },
  xlat: (c) => c.setRegister(EAX, c.read(8, c.xlatAddress(c.register(EBX).add(c.register(EAX, 8)))), 8),
  cbw: (c) =>
    c.width === 16
      ? c.setRegister(EAX, c.register(EAX, 8).signExtend(8), 16)
      : c.setRegister(EAX, c.register(EAX, 16).signExtend(16)),
  cwd: (c) => c.setRegister(EDX, c.register(EAX, c.width).signExtend(c.width).shrS(31), c.width),
  salc: (c) => c.setRegister(EAX, i32(0).sub(carryFlag(c)), 8),
  lahf: (c) => c.setAh(lowFlags(c)),
  sahf: (c) => {
    const flags = c.let(c.ah);
    const overflow = c.let(overflowFlag(c));
    const carry = c.let(flags.and(CF));
    c.setFlags(
      flags.and(0x40).select(i32(0), i32(0x100)),
      carry
        .shl(31)
        .or(carry.xor(overflow).shl(30))
        .or(flags.shrU(4).and(1).shl(3))
        .or(flags.and(4).eqz().shl(8))
        .or(flags.shrU(7)),
    );
  },
  clc: (c) => setCarryFlag(c, i32(0)),
  stc: (c) => setCarryFlag(c, i32(1)),
  cmc: (c) => setCarryFlag(c, carryFlag(c).xor(1)),
  cld: (c) => c.b.store(32, i32(0), c.word(FLAGS_REST).and(~DF), FLAGS_REST),
  std: (c) => c.b.store(32, i32(0), c.word(FLAGS_REST).or(DF), FLAGS_REST),
  bt: bitTest(undefined),
  bts: bitTest((value, bit) => value.or(bit)),
  btr: bitTest((value, bit) => value.and(bit.not())),
  btc: bitTest((value, bit) => value.xor(bit)),
  bsf: scan(true),
  bsr: scan(false),
  push: (c) => c.push(c.get(0)),
  pop: (c) => {
    if (c.opcode.operands[0]?.kind === "Z") {
      const value = c.top();
      c.release(c.width / 8);
      c.set(0, value);
      return;
    }
    c.popToOperand();
  },
  pusha: (c) => c.pushAll(GENERAL.map((register) => c.let(c.register(register, c.width)))),
  popa: (c) => {
    const bytes = c.width / 8;
    const pointer = c.let(c.stackPointer());
    const values = GENERAL.map((_, index) => c.readStack(c.wrapStackPointer(pointer.add((7 - index) * bytes))));
    for (const register of GENERAL) {
      if (register !== ESP) c.setRegister(register, values[register] as Expr, c.width);
    }
    c.release(8 * bytes);
  },
  leave: (c) => {
    const frame = c.let(c.register(EBP, c.variant.environment === "general16" ? 16 : 32));
    const value = c.readStack(frame);
    c.setStackPointer(frame.add(c.variant.size / 8));
    c.setRegister(EBP, value, c.variant.size);
  },
};
