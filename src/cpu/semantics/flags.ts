// Part: instructions on EFLAGS (Intel SDM Vol. 1 §7.3.13; Vol. 2, those instructions).
// Where privilege, virtual-8086 mode or an event decide, the handler leaves the instruction to its function in system/flags.ts.

import { type Expr, i32 } from "../ir.ts";
import { ENGINE, STATE_BASE } from "../layout.ts";
import { AC, ARITHMETIC_FLAGS, CF, DF, IF, OFFSET, RF, TF, VM, ZF } from "../state.ts";
import { WRITABLE_FLAGS } from "../system/flags.ts";
import { carryFlag } from "./arithmetic.ts";
import type { Context } from "./context.ts";

const FLAGS_REST = STATE_BASE + OFFSET.flagsRest;
const CPL = STATE_BASE + OFFSET.cpl;
const IOPL_SHIFT = 12;

/** PF as 0 or 1. */
export function parity(c: Context): Expr {
  const byte = c.let(c.flagResult.xor(c.flagCarries.shrU(8)).and(0xff));
  // One bit for each value of four bits, set where their number of ones is even.
  return i32(0x9669)
    .shrU(byte.xor(byte.shrU(4)).and(15))
    .and(1);
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
export function setCarryFlag(c: Context, carry: Expr): void {
  const flag = c.let(carry);
  const overflow = c.let(overflowFlag(c));
  c.setCarries(c.flagCarries.and(0x3fff_ffff).or(flag.shl(31)).or(flag.xor(overflow).shl(30)));
}

/** Replaces the arithmetic flags by those of an image of EFLAGS and by OF as 0 or 1. */
function setArithmeticFlags(c: Context, flags: Expr, overflow: Expr): void {
  const carry = c.let(flags.and(CF));
  c.setFlags(
    flags.and(ZF).select(i32(0), i32(0x100)),
    carry
      .shl(31)
      .or(carry.xor(overflow).shl(30))
      .or(flags.shrU(4).and(1).shl(3))
      .or(flags.and(4).eqz().shl(8))
      .or(flags.shrU(7).and(1)),
  );
}

const flagsRest = (c: Context): Expr => c.word(FLAGS_REST);

function setFlagsRest(c: Context, value: Expr): void {
  c.b.store(32, i32(0), value, FLAGS_REST);
}

/** Whether the privilege level may change IF. */
function mayChangeIf(c: Context): Expr {
  return c.word(CPL).leU(flagsRest(c).shrU(IOPL_SHIFT).and(3));
}

export const FLAGS: Record<string, (c: Context) => void> = {
  lahf: (c) => c.setAh(lowFlags(c)),
  sahf: (c) => setArithmeticFlags(c, c.let(c.ah), c.let(overflowFlag(c))),
  clc: (c) => setCarryFlag(c, i32(0)),
  stc: (c) => setCarryFlag(c, i32(1)),
  cmc: (c) => setCarryFlag(c, carryFlag(c).xor(1)),
  cld: (c) => setFlagsRest(c, flagsRest(c).and(~DF)),
  std: (c) => setFlagsRest(c, flagsRest(c).or(DF)),
  cli: (c) => {
    c.b.if(mayChangeIf(c).eqz(), () => c.leaveToFunction());
    setFlagsRest(c, flagsRest(c).and(~IF));
  },
  /** An IF that is set already stays, and holds no interrupt off. */
  sti: (c) => {
    c.b.if(mayChangeIf(c).and(flagsRest(c).and(IF).ne(0)).eqz(), () => c.leaveToFunction());
  },
  pushf: (c) => {
    c.b.if(flagsRest(c).and(VM), () => c.leaveToFunction());
    const rest = flagsRest(c).and(~(VM | RF));
    c.push(
      c
        .let(lowFlags(c))
        .or(c.let(overflowFlag(c)).shl(11))
        .or(rest),
    );
  },
  /** At CPL 0, when the flags popped neither single-step, change alignment checks nor let an event through that waits. */
  popf: (c) => {
    const { size } = c.variant;
    const rest = c.let(flagsRest(c));
    c.b.if(rest.and(VM).or(c.word(CPL)), () => c.leaveToFunction());
    const value = c.let(c.top());
    const awaited = value.and(rest.not()).and(c.word(ENGINE.awaitedFlags));
    const changed = value.xor(rest).and(size === 32 ? TF | AC : TF);
    c.b.if(awaited.or(changed), () => c.leaveToFunction());
    c.release(size / 8);
    const writable = WRITABLE_FLAGS & ~ARITHMETIC_FLAGS & (size === 32 ? -1 : 0xffff);
    const cleared = writable | (size === 32 ? RF : 0);
    setFlagsRest(c, rest.and(~cleared).or(value.and(writable)));
    setArithmeticFlags(c, value, c.let(value.shrU(11).and(1)));
  },
};
