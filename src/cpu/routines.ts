// Part: what handlers do with memory when the write tag does not permit the fast path, before they leave WebAssembly.
// A page that holds decoded code has a code tag instead of a write tag. A store there that touches no decoded byte goes on here:
// data lie beside code in firmware, boot loaders and small programs, and a call of TypeScript costs as much as ten instructions.

import { Builder, type Expr, i32, ROUTINES, type Routine, type RoutineName } from "./ir.ts";
import { ENGINE, RAM_BASE, TLB } from "./layout.ts";
import { tlbEntry } from "./semantics/memory.ts";

const PAGE_MASK = ~0xfff;

/** Runs `then` with the arena address if the access of `width` bytes lies in a page that the entry's code tag names. */
function inCodePage(b: Builder, linear: Expr, width: Expr, then: (address: Expr) => void): void {
  const entry = tlbEntry(b, linear);
  const last = linear.add(width).sub(1);
  b.if(last.and(PAGE_MASK).eq(entry.load(32, TLB.codeTag)), () => then(b.let(linear.add(entry.load(32, TLB.addend)))));
}

/** Does `then` for the width that it is, in bytes. */
function byWidth(b: Builder, width: Expr, then: (bits: 8 | 16 | 32) => void): void {
  b.if(width.eq(4), () => then(32));
  b.if(width.eq(2), () => then(16));
  then(8);
}

const BODIES: Readonly<Record<RoutineName, (b: Builder, ...parameters: Expr[]) => void>> = {
  loadForStore: (b, linear, width, record, left) => {
    inCodePage(b, linear as Expr, width as Expr, (address) => {
      byWidth(b, width as Expr, (bits) => b.return(address.load(bits)));
    });
    b.returnCall("readForWrite", [linear, width, record, left] as Expr[]);
  },
  store: (b, linear, width, value, record, left) => {
    inCodePage(b, linear as Expr, width as Expr, (address) => {
      const physical = b.let(address.sub(RAM_BASE));
      // At most four bits from any bit of a byte on: two bytes hold them.
      const map = i32(0).load(32, ENGINE.codeMap).add(physical.shrU(3)).load(16).shrU(physical.and(7));
      const touched = map.and(
        i32(1)
          .shl(width as Expr)
          .sub(1),
      );
      b.if(touched.eqz(), () => {
        byWidth(b, width as Expr, (bits) => {
          b.store(bits, address, value as Expr);
          b.return(i32(0));
        });
      });
    });
    b.returnCall("write", [linear, width, value, record, left] as Expr[]);
  },
};

export function routines(): Routine[] {
  return (Object.keys(ROUTINES) as RoutineName[]).map((name) => {
    const b = new Builder();
    BODIES[name](b, ...b.parameters(ROUTINES[name]));
    return { name, locals: b.locals, body: b.body };
  });
}
