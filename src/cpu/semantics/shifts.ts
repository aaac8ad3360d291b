// Part: shifts and rotates (Intel SDM Vol. 1 §7.3.6; Vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).
// A masked count of 0 changes neither operand nor flags. OF is defined for a count of 1 only; the formulas hold for that
// count and are used for all.

import { type Expr, i32 } from "../ir.ts";
import { carryFlag, TOP_CARRIES } from "./arithmetic.ts";
import type { Context } from "./context.ts";

const COUNT_MASK = 31;

/** Opens the destination and runs `shift` for a count that is not 0. */
function counted(countOperand: number, shift: (c: Context, a: Expr, count: Expr, write: (r: Expr) => void) => void) {
  return (c: Context): void => {
    const count = c.let(c.get(countOperand).and(COUNT_MASK));
    const destination = c.modify(0);
    c.b.if(count, () => shift(c, destination.value, count, (r) => destination.write(r)));
  };
}

/** Rotates change CF and OF only. */
function setTopCarries(c: Context, top: Expr): void {
  c.setCarries(c.flagCarries.and(~TOP_CARRIES).or(top.and(TOP_CARRIES)));
}

/** `a` repeated through 32 bits, so that a 32-bit rotate rotates each copy. */
function repeated(c: Context, a: Expr): Expr {
  return c.width === 32 ? a : a.mul(c.width === 8 ? 0x0101_0101 : 0x0001_0001);
}

const rotate = (left: boolean) =>
  counted(1, (c, a, count, write) => {
    const r = c.let(repeated(c, a).rotl(left ? count : i32(0).sub(count)));
    write(r);
    const top = r.shl(32 - c.width);
    // ROL: CF is the bit that came round to bit 0, and OF is CF XOR the top bit. ROR: CF is the top bit.
    setTopCarries(c, left ? r.shl(31).or(top.shrU(1).and(0x4000_0000)) : top);
  });

const rotateThroughCarry = (left: boolean) =>
  counted(1, (c, a, masked, write) => {
    const { width } = c;
    const count = c.let(width === 32 ? masked : masked.remU(width + 1));
    const carry = c.let(carryFlag(c));
    const value = c.let(a.widenU().or(carry.widenU().shl(c64(width))));
    const forth = c.let(count.widenU());
    const back = c.let(
      i32(width + 1)
        .sub(count)
        .widenU(),
    );
    // A count of 0 modulo width + 1 shifts the second half out at width + 1, where nothing of it reaches the result.
    const rotated = c.let(left ? value.shl(forth).or(value.shrU(back)) : value.shrU(forth).or(value.shl(back)));
    const r = c.let(rotated.wrap());
    const newCarry = c.let(rotated.shrU(c64(width)).wrap().and(1));
    write(r);
    const top = r.shl(32 - width);
    // OF: RCL, CF XOR the top bit; RCR, the two top bits. Bit 30 of the vector is CF XOR OF.
    const into = left ? top.shrU(1).and(0x4000_0000) : newCarry.shl(30).xor(top.shrU(1)).xor(top).and(0x4000_0000);
    setTopCarries(c, newCarry.shl(31).or(into));
  });

const c64 = (value: number): Expr => i32(value).widenU();

export const SHIFTS: Record<string, (c: Context) => void> = {
  rol: rotate(true),
  ror: rotate(false),
  rcl: rotateThroughCarry(true),
  rcr: rotateThroughCarry(false),
  shl: counted(1, (c, a, count, write) => {
    const before = c.let(a.shl(count.sub(1)));
    const r = c.let(before.shl(1));
    write(r);
    // The bit that leaves last, and the new top bit, which it is XORed with for OF.
    c.setFlags(r.signExtend(c.width), before.shl(32 - c.width).and(TOP_CARRIES));
  }),
  shr: counted(1, (c, a, count, write) => {
    const before = c.let(a.shrU(count.sub(1)));
    const r = c.let(before.shrU(1));
    write(r);
    // OF is the top bit of the operand, which has moved one down.
    const overflow = c.let(
      r
        .xor(r.shl(1))
        .shrU(c.width - 1)
        .and(1),
    );
    const carry = c.let(before.and(1));
    c.setFlags(r.signExtend(c.width), carry.shl(31).or(carry.xor(overflow).shl(30)));
  }),
  sar: counted(1, (c, a, count, write) => {
    const before = c.let(a.signExtend(c.width).shrS(count.sub(1)));
    const r = c.let(before.shrS(1));
    write(r);
    c.setFlags(r.signExtend(c.width), before.and(1).mul(TOP_CARRIES));
  }),
  shld: counted(2, (c, a, count, write) => {
    const source = c.let(c.get(1));
    const value = joined(c, a, source, a);
    const before = c.let(value.shl(count.sub(1).widenU()));
    const r = c.let(
      before
        .shl(c64(1))
        .shrU(c64(64 - c.width))
        .wrap(),
    );
    write(r);
    c.setFlags(r.signExtend(c.width), before.shrU(c64(32)).wrap().and(TOP_CARRIES));
  }),
  shrd: counted(2, (c, a, count, write) => {
    const source = c.let(c.get(1));
    const value = joined(c, c.width === 32 ? i32(0) : a, source, a, true);
    const before = c.let(value.shrU(count.sub(1).widenU()));
    const r = c.let(before.shrU(c64(1)).wrap());
    write(r);
    const top = c.let(r.shl(32 - c.width));
    const overflow = top.xor(top.shl(1)).shrU(31);
    const carry = c.let(before.wrap().and(1));
    c.setFlags(r.signExtend(c.width), carry.shl(31).or(carry.xor(overflow).shl(30)));
  }),
};

/**
 * The operands side by side in 64 bits: high, middle, low, from the top (SHLD) or from the bottom (SHRD). The third part
 * matters to 16-bit shifts by more than 16 only, whose result is undefined; it is what processors are seen to shift in.
 */
function joined(c: Context, high: Expr, middle: Expr, low: Expr, fromBottom = false): Expr {
  if (c.width === 32) {
    return fromBottom
      ? c.let(middle.widenU().shl(c64(32)).or(low.widenU()))
      : c.let(high.widenU().shl(c64(32)).or(middle.widenU()));
  }
  const [top, centre, bottom] = fromBottom ? [32, 16, 0] : [48, 32, 16];
  return c.let(
    high
      .widenU()
      .shl(c64(top as number))
      .or(middle.widenU().shl(c64(centre as number)))
      .or(low.widenU().shl(c64(bottom as number))),
  );
}
