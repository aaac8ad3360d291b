// Part: string instructions (Intel SDM Vol. 1 §7.3.9). One execution of a handler is one iteration: with a REP prefix it
// counts as one instruction, and the next one starts at the same record, so that a run can stop between any two.

import { type Expr, i32 } from "../ir.ts";
import { segmentAddress } from "../layout.ts";
import { EAX, ECX, EDI, ES, ESI } from "../state.ts";
import { subFlags } from "./arithmetic.ts";
import type { Context } from "./context.ts";

function index(c: Context, register: number): Expr {
  return c.let(c.register(register, c.variant.address));
}

function sourceAddress(c: Context, write = false): Expr {
  return c.stringAddress(c.field("segment"), index(c, ESI), write);
}

/** The destination is in ES, whatever the prefixes. */
function destinationAddress(c: Context, write: boolean): Expr {
  return c.stringAddress(i32(segmentAddress(ES)), index(c, EDI), write);
}

function advance(c: Context, register: number, step: Expr): void {
  const { address } = c.variant;
  c.setRegister(register, c.register(register, address).add(step), address);
}

/** Runs one iteration, then goes on with the next one or the next instruction. */
function repeated(iteration: (c: Context) => void, comparing: boolean): (c: Context) => void {
  return (c) => {
    const { address, repeat } = c.variant;
    if (repeat === "once") {
      iteration(c);
      return;
    }
    const count = c.let(c.register(ECX, address));
    c.b.if(count.eqz(), () => c.next());
    iteration(c);
    const rest = c.let(count.sub(1));
    c.setRegister(ECX, rest, address);
    const zero = c.flagResult.eqz();
    const more = comparing ? rest.ne(0).and(repeat === "repe" ? zero : zero.eqz()) : rest;
    c.b.if(more, () => c.retire(c.b.record));
    c.next();
  };
}

export const STRINGS: Record<string, (c: Context) => void> = {
  movs: repeated((c) => {
    const value = c.read(c.width, sourceAddress(c));
    c.write(c.width, destinationAddress(c, true), value);
    const step = c.let(c.step);
    advance(c, ESI, step);
    advance(c, EDI, step);
  }, false),
  cmps: repeated((c) => {
    const a = c.read(c.width, sourceAddress(c));
    const b = c.read(c.width, destinationAddress(c, false));
    const step = c.let(c.step);
    advance(c, ESI, step);
    advance(c, EDI, step);
    subFlags(c, c.let(a.sub(b)), a, b);
  }, true),
  stos: repeated((c) => {
    c.write(c.width, destinationAddress(c, true), c.register(EAX, c.width));
    advance(c, EDI, c.step);
  }, false),
  lods: repeated((c) => {
    c.setRegister(EAX, c.read(c.width, sourceAddress(c)), c.width);
    advance(c, ESI, c.step);
  }, false),
  scas: repeated((c) => {
    const a = c.let(c.register(EAX, c.width));
    const b = c.read(c.width, destinationAddress(c, false));
    advance(c, EDI, c.step);
    subFlags(c, c.let(a.sub(b)), a, b);
  }, true),
};
