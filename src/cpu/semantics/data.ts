// Part: data movement and bits (Intel SDM Vol. 1 §7.3.1, §7.3.7).

import { type Expr, i32, type Width } from "../ir.ts";
import { CONDITIONS } from "../opcodes.ts";
import { EAX, EBP, EBX, EDX, ESP } from "../state.ts";
import { carryFlag } from "./arithmetic.ts";
import type { Context, Difference } from "./context.ts";
import { parity, setCarryFlag } from "./flags.ts";

/** As {@link baseCondition}, for flags that are known to come from a comparison; undefined where those are no shorter. */
function comparedCondition({ a, b, width }: Difference, index: number): Expr | undefined {
  switch (index) {
    case 1:
      return a.ltU(b);
    case 2:
      return a.eq(b);
    case 3:
      return a.leU(b);
    case 6:
      return a.signExtend(width).ltS(b.signExtend(width));
    case 7:
      return a.signExtend(width).gtS(b.signExtend(width)).eqz();
    default:
      return undefined;
  }
}

/** Bit 31 of the lazy carries is CF; inverted by `not`. */
function baseCondition(c: Context, index: number): Expr {
  const compared = c.difference === undefined ? undefined : comparedCondition(c.difference, index);
  if (compared !== undefined) return compared;
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

/** Condition `index` of table B-1 (SDM Vol. 1 appendix B) as 0 or 1. */
export function condition(c: Context, index: number): Expr {
  const base = c.let(baseCondition(c, index >>> 1));
  return (index & 1) === 0 ? base : base.eqz();
}

/** EAX to EDI. */
const GENERAL = [0, 1, 2, 3, 4, 5, 6, 7];

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
