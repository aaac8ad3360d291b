// Part: multiplication and division (Intel SDM Vol. 2, MUL, IMUL, DIV, IDIV).

import { DE } from "../context.ts";
import { type Expr, i64 } from "../ir.ts";
import { EAX, EDX } from "../state.ts";
import type { Context } from "./context.ts";

/** CF and OF both tell whether the product did not fit; the other flags are undefined. */
function productFlags(c: Context, low: Expr, lost: Expr): void {
  c.setFlags(low.signExtend(c.width), lost.shl(31));
}

/** Commits a product of twice the width to AX, DX:AX or EDX:EAX. */
function setWide(c: Context, low: Expr, high: Expr): void {
  if (c.width === 8) {
    c.setRegister(EAX, low.and(0xff).or(high.shl(8)), 16);
    return;
  }
  c.setRegister(EAX, low, c.width);
  c.setRegister(EDX, high, c.width);
}

function wideMultiply(signed: boolean): (c: Context) => void {
  return (c) => {
    const { width } = c;
    const b = c.let(c.get(0));
    const a = c.let(c.register(EAX, width));
    if (width === 32) {
      const extend = (value: Expr): Expr => (signed ? value.widenS() : value.widenU());
      const product = c.let(extend(a).mul(extend(b)));
      const low = c.let(product.wrap());
      const high = c.let(product.shrU(i64(32)).wrap());
      setWide(c, low, high);
      productFlags(c, low, signed ? high.ne(low.shrS(31)) : high.ne(0));
      return;
    }
    const extend = (value: Expr): Expr => (signed ? value.signExtend(width) : value);
    const product = c.let(extend(a).mul(extend(b)));
    const high = c.let(product.shrU(width).truncate(width));
    setWide(c, product, high);
    productFlags(c, product, signed ? product.ne(product.signExtend(width)) : high.ne(0));
  };
}

/** The dividend in DX:AX or AX as 32 bits. */
function dividend32(c: Context): Expr {
  return c.width === 8 ? c.register(EAX, 16) : c.register(EDX, 16).shl(16).or(c.register(EAX, 16));
}

function setQuotient(c: Context, quotient: Expr, remainder: Expr): void {
  if (c.width === 8) {
    c.setRegister(EAX, quotient.and(0xff).or(remainder.and(0xff).shl(8)), 16);
    return;
  }
  c.setRegister(EAX, quotient, c.width);
  c.setRegister(EDX, remainder, c.width);
}

function divide(signed: boolean): (c: Context) => void {
  return (c) => {
    const { width } = c;
    const b = c.let(c.get(0));
    c.b.if(b.eqz(), () => c.fault(DE));
    // One size up, so that a quotient that does not fit is seen and -2^63 / -1 is the only overflow to be kept away.
    const wide =
      width === 32
        ? c.register(EDX).widenU().shl(i64(32)).or(c.register(EAX).widenU())
        : signed && width === 8
          ? dividend32(c).signExtend(16).widenS()
          : signed
            ? dividend32(c).widenS()
            : dividend32(c).widenU();
    const a = c.let(wide);
    const divisor = c.let(signed ? b.signExtend(width).widenS() : b.widenU());
    if (signed && width === 32) {
      c.b.if(a.eq(i64(1).shl(i64(63))), () => c.fault(DE));
    }
    const quotient = c.let(signed ? a.divS(divisor) : a.divU(divisor));
    const low = c.let(quotient.wrap());
    const fits = signed ? low.signExtend(width).widenS() : low.truncate(width).widenU();
    c.b.if(quotient.ne(fits), () => c.fault(DE));
    setQuotient(c, low, c.let((signed ? a.remS(divisor) : a.remU(divisor)).wrap()));
  };
}

export const MULTIPLY: Record<string, (c: Context) => void> = {
  mul: wideMultiply(false),
  imul1: wideMultiply(true),
  imul: (c) => {
    const three = c.opcode.operands.length === 3;
    const b = c.let(three ? c.get(2) : c.get(0));
    const a = c.let(c.get(1));
    const { width } = c;
    if (width === 32) {
      const product = c.let(a.widenS().mul(b.widenS()));
      const low = c.let(product.wrap());
      c.set(0, low);
      productFlags(c, low, product.ne(low.widenS()));
      return;
    }
    const product = c.let(a.signExtend(width).mul(b.signExtend(width)));
    c.set(0, product);
    productFlags(c, product, product.ne(product.signExtend(width)));
  },
  div: divide(false),
  idiv: divide(true),
};
