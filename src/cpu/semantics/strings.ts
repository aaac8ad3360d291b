// Part: string instructions (Intel SDM Vol. 1 §7.3.9).
// With a REP prefix each iteration counts as one instruction, and a run can stop between any two. Iterations that go upwards
// in pages that the TLB's tags permit run in a loop inside the handler, as many as count, budget and page ends allow; else
// one execution of a handler is one iteration, and the next one starts at the same record.

import { type Expr, i32 } from "../ir.ts";
import { RECORD_STRIDE, STATE_BASE, segmentAddress } from "../layout.ts";
import { DF, EAX, ECX, EDI, ES, ESI, OFFSET } from "../state.ts";
import { subFlags } from "./arithmetic.ts";
import type { Context } from "./context.ts";

/** The elements of one iteration, wherever they are. */
interface Elements {
  /** That at ESI. */
  source(): Expr;
  /** That at EDI. */
  destination(): Expr;
  store(value: Expr): void;
}

interface StringInstruction {
  /** The registers that advance. */
  readonly pointers: readonly (typeof ESI | typeof EDI)[];
  readonly stores: boolean;
  /** Moves one element, or returns the two values to compare. */
  readonly iterate: (c: Context, elements: Elements) => readonly [Expr, Expr] | undefined;
}

const INSTRUCTIONS: Readonly<Record<string, StringInstruction>> = {
  movs: {
    pointers: [ESI, EDI],
    stores: true,
    iterate: (_, elements) => {
      elements.store(elements.source());
      return undefined;
    },
  },
  stos: {
    pointers: [EDI],
    stores: true,
    iterate: (c, elements) => {
      elements.store(c.register(EAX, c.width));
      return undefined;
    },
  },
  lods: {
    pointers: [ESI],
    stores: false,
    iterate: (c, elements) => {
      c.setRegister(EAX, elements.source(), c.width);
      return undefined;
    },
  },
  cmps: {
    pointers: [ESI, EDI],
    stores: false,
    iterate: (_, elements) => [elements.source(), elements.destination()],
  },
  scas: {
    pointers: [EDI],
    stores: false,
    iterate: (c, elements) => [c.let(c.register(EAX, c.width)), elements.destination()],
  },
};

/** Through segments and the TLB. */
function checkedElements(c: Context): Elements {
  const index = (register: number): Expr => c.let(c.register(register, c.variant.address));
  /** The destination is in ES, whatever the prefixes. */
  const destination = (write: boolean): Expr => c.stringAddress(i32(segmentAddress(ES)), index(EDI), write);
  return {
    source: () => c.read(c.width, c.stringAddress(c.field("segment"), index(ESI), false)),
    destination: () => c.read(c.width, destination(false)),
    store: (value) => c.write(c.width, destination(true), value),
  };
}

function advance(c: Context, instruction: StringInstruction, step: Expr): void {
  const { address } = c.variant;
  for (const pointer of instruction.pointers) c.setRegister(pointer, c.register(pointer, address).add(step), address);
}

/** One iteration; whether it compares. */
function iterateOnce(c: Context, instruction: StringInstruction): boolean {
  const compared = instruction.iterate(c, checkedElements(c));
  advance(c, instruction, c.let(c.step));
  if (compared !== undefined) compare(c, compared);
  return compared !== undefined;
}

function compare(c: Context, [a, b]: readonly [Expr, Expr]): void {
  subFlags(c, c.let(a.sub(b)), a, b);
}

/** After `done` iterations of `count`, with flags and registers set: the next iteration or the next instruction. */
function goOn(c: Context, compares: boolean, count: Expr, done: Expr | number): void {
  const { address, repeat } = c.variant;
  const rest = c.let(count.sub(done));
  c.setRegister(ECX, rest, address);
  const zero = c.flagResult.eqz();
  const more = compares ? rest.ne(0).and(repeat === "repe" ? zero : zero.eqz()) : rest;
  c.retire(more.select(c.b.record, c.b.record.add(RECORD_STRIDE)), done);
}

const smaller = (c: Context, a: Expr, b: Expr): Expr => c.let(a.ltU(b).select(a, b));

/** The iterations that need no look at TLB, budget or count between them, if there is one. */
function iterateInPages(c: Context, instruction: StringInstruction, count: Expr): void {
  const { b, width } = c;
  const bytes = width / 8;
  let possible = smaller(c, count, b.left);
  let permitted = c
    .word(STATE_BASE + OFFSET.flagsRest)
    .and(DF)
    .eqz();
  const places = new Map<number, Expr>();
  for (const pointer of instruction.pointers) {
    const linear = c.let(c.register(pointer));
    const place = c.inPage(linear, instruction.stores && pointer === EDI);
    permitted = permitted.and(place.permitted);
    places.set(pointer, place.address);
    const bytesLeft = i32(4096).sub(linear.and(0xfff));
    possible = smaller(c, possible, c.let(bytesLeft.shrU(31 - Math.clz32(bytes))));
  }
  b.if(permitted.and(possible.ne(0)), () => {
    const at = new Map([...places].map(([pointer, address]) => [pointer, b.variable(address)]));
    const place = (pointer: number): Expr => at.get(pointer) as Expr;
    const elements: Elements = {
      source: () => c.let(place(ESI).load(width)),
      destination: () => c.let(place(EDI).load(width)),
      store: (value) => b.store(width, place(EDI), value),
    };
    const rest = b.variable(possible);
    let compared: readonly [Expr, Expr] | undefined;
    b.loop(() => {
      compared = instruction.iterate(c, elements);
      for (const pointer of at.values()) b.assign(pointer, pointer.add(bytes));
      b.assign(rest, rest.sub(1));
      if (compared === undefined) return rest;
      const equal = compared[0].eq(compared[1]);
      return rest.ne(0).and(c.variant.repeat === "repe" ? equal : equal.eqz());
    });
    const done = c.let(possible.sub(rest));
    advance(c, instruction, c.let(done.mul(bytes)));
    if (compared !== undefined) compare(c, compared);
    goOn(c, compared !== undefined, count, done);
  });
}

function handler(instruction: StringInstruction): (c: Context) => void {
  return (c) => {
    const { address, repeat, place } = c.variant;
    if (repeat === "once") {
      iterateOnce(c, instruction);
      return;
    }
    const count = c.let(c.register(ECX, address));
    c.b.if(count.eqz(), () => c.next());
    if (place === "base" && address === 32) iterateInPages(c, instruction, count);
    goOn(c, iterateOnce(c, instruction), count, 1);
  };
}

export const STRINGS: Record<string, (c: Context) => void> = Object.fromEntries(
  Object.entries(INSTRUCTIONS).map(([name, instruction]) => [name, handler(instruction)]),
);
