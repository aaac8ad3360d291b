// Part: all handlers, one for each form of each instruction of the opcode map that runs in WebAssembly.

import { Builder, type Expr, type Handler, i32 } from "./ir.ts";
import {
  ENGINE,
  JUMP,
  JUMP_BASE,
  JUMP_ENTRIES,
  JUMP_STRIDE,
  MODE,
  RECORD,
  STATE_BASE,
  segmentAddress,
  TLB,
} from "./layout.ts";
import { ALL_OPCODES, type Opcode } from "./opcodes.ts";
import { type Pair, pairsOf } from "./pairs.ts";
import { ARITHMETIC } from "./semantics/arithmetic.ts";
import { Context } from "./semantics/context.ts";
import { CONTROL } from "./semantics/control.ts";
import { DATA } from "./semantics/data.ts";
import { FLAGS } from "./semantics/flags.ts";
import { tlbEntry } from "./semantics/memory.ts";
import { MULTIPLY } from "./semantics/multiply.ts";
import type { Environment, Place, Repeat, Variant } from "./semantics/operands.ts";
import { SHIFTS } from "./semantics/shifts.ts";
import { STRINGS } from "./semantics/strings.ts";
import { CS, OFFSET } from "./state.ts";

const SEMANTICS: Readonly<Record<string, (c: Context) => void>> = {
  ...ARITHMETIC,
  ...CONTROL,
  ...DATA,
  ...FLAGS,
  ...MULTIPLY,
  ...SHIFTS,
  ...STRINGS,
};

const PLACES: readonly Place[] = ["register", "base", "indexed", "general"];
const ENVIRONMENTS: readonly Environment[] = ["flat", "general32", "general16"];
const REPEATS: readonly Repeat[] = ["once", "repe", "repne"];

/** Handlers that belong to no opcode, and their indices. */
export const SPECIAL = {
  /** Goes on at the record's own address, by lookup. Takes the place of a record whose bytes were overwritten. */
  lookup: 0,
  /** An instruction that reaches into the next page. */
  cross: 1,
  /** A slow function. */
  slow: 2,
  /** Goes on at the record in `link`. */
  goto: 3,
  /** The stub of a jump inside the page (layout.ts). */
  link: 4,
} as const;
const SPECIALS = Object.keys(SPECIAL).length;

/** (opcode id, variant) as a number; whatever does not matter to the opcode has to be at its default. */
function key(id: number, variant: Variant): number {
  let packed = id;
  packed = packed * 2 + (variant.size === 32 ? 1 : 0);
  packed = packed * 4 + PLACES.indexOf(variant.place);
  packed = packed * 3 + ENVIRONMENTS.indexOf(variant.environment);
  packed = packed * 2 + (variant.linked ? 1 : 0);
  packed = packed * 2 + (variant.address === 32 ? 1 : 0);
  return packed * 3 + REPEATS.indexOf(variant.repeat);
}

interface Matters {
  size: boolean;
  places: readonly Place[];
  environment: boolean;
  linked: boolean;
  address: boolean;
  repeat: boolean;
}

/** Which parts of a variant an opcode's handlers differ by. */
function whatMatters(opcode: Opcode): Matters {
  const kinds = opcode.operands.map(({ kind }) => kind);
  const branch = kinds.includes("J");
  let places: readonly Place[] = ["register"];
  if (kinds.includes("E")) places = PLACES;
  else if (kinds.includes("M")) places = ["base", "indexed", "general"];
  else if (kinds.includes("O") || opcode.string) places = ["base", "general"];
  return {
    size: opcode.width === "v" || opcode.stack || opcode.operands.some(({ width }) => width === "v"),
    places,
    environment: opcode.stack,
    linked: branch,
    address: opcode.string || opcode.name.startsWith("loop") || opcode.name === "jecxz",
    repeat: opcode.string,
  };
}

const MATTERS = ALL_OPCODES.map(whatMatters);

export interface Form {
  readonly index: number;
  readonly name: string;
  readonly opcode: Opcode;
  readonly operands: string;
  readonly variant: Variant;
}

export class HandlerTable {
  /** What the handlers after the special ones are built from. */
  readonly #forms: Form[] = [];
  readonly #index = new Map<number, number>();
  readonly #pairs: Pair[] = [];
  /** Index of a pair's handler by {@link pairKey}. */
  readonly #pairIndex = new Map<number, number>();

  constructor() {
    const named = new Map<string, number>();
    for (const opcode of ALL_OPCODES) {
      if (opcode.slow) continue;
      for (const variant of variantsOf(opcode)) {
        const name = nameOf(opcode, variant);
        let index = named.get(name);
        if (index === undefined) {
          index = SPECIALS + this.#forms.length;
          this.#forms.push({ index, name, opcode, operands: operandsOf(opcode), variant });
          named.set(name, index);
        }
        this.#index.set(key(opcode.id, variant), index);
      }
    }
    for (const pair of pairsOf(this.#forms)) {
      this.#pairIndex.set(pairKey(pair.first.index, pair.second.index), this.size);
      this.#pairs.push(pair);
    }
  }

  get size(): number {
    return SPECIALS + this.#forms.length + this.#pairs.length;
  }

  /** The handler of two consecutive instructions; that of the first one when there is none. */
  fuse(first: number, second: number): number {
    return this.#pairIndex.get(pairKey(first, second)) ?? first;
  }

  /** What {@link fuse} was given as the first, for any handler. */
  first(handler: number): number {
    return this.#pairs[handler - SPECIALS - this.#forms.length]?.first.index ?? handler;
  }

  /** All handlers by index. Built as they are asked for, as they are needed once and large together. */
  *handlers(): Generator<Handler> {
    yield* specialHandlers();
    for (const form of this.#forms) yield build(form);
    for (const pair of this.#pairs) yield buildPair(pair);
  }

  /** Index of the handler of a form of an instruction. */
  find(opcode: Opcode, variant: Variant): number {
    const matters = MATTERS[opcode.id] as Matters;
    const index = this.#index.get(
      key(opcode.id, {
        size: matters.size ? variant.size : 32,
        place: matters.places.length === 1 ? "register" : variant.place,
        environment: matters.environment ? variant.environment : "flat",
        linked: matters.linked && variant.linked,
        address: matters.address ? variant.address : 32,
        repeat: matters.repeat ? variant.repeat : "once",
      }),
    );
    if (index === undefined) throw new TypeError(`no handler for ${opcode.name}`);
    return index;
  }
}

let table: HandlerTable | undefined;

/** The one table: it depends on nothing but the opcode map. */
export function handlerTable(): HandlerTable {
  table ??= new HandlerTable();
  return table;
}

function* variantsOf(opcode: Opcode): Generator<Variant> {
  const matters = MATTERS[opcode.id] as Matters;
  for (const size of matters.size ? ([16, 32] as const) : ([32] as const))
    for (const place of matters.places)
      for (const environment of matters.environment ? ENVIRONMENTS : (["flat"] as const))
        for (const linked of matters.linked ? [false, true] : [false])
          for (const address of matters.address ? ([16, 32] as const) : ([32] as const))
            for (const repeat of matters.repeat ? REPEATS : (["once"] as const))
              yield { size, place, environment, linked, address, repeat };
}

/** The operands as the opcode map writes them, where what differs means the same to a handler. */
function operandsOf(opcode: Opcode): string {
  const operands = opcode.operands.map(({ kind, width }) => {
    const shared = kind === "S" ? "I" : kind === "Z" ? "R" : kind;
    return kind === "J" ? shared : `${shared}${width}`;
  });
  return operands.join(",");
}

/** Two opcodes with the same name and operands share their handlers. */
function nameOf(opcode: Opcode, variant: Variant): string {
  const operands = operandsOf(opcode);
  const width = operands === "" ? opcode.width : "";
  const parts = [opcode.name, operands, width, variant.size, variant.place, variant.environment];
  if (variant.linked) parts.push("linked");
  if (variant.address === 16) parts.push("a16");
  if (variant.repeat !== "once") parts.push(variant.repeat);
  return parts.join(" ");
}

function pairKey(first: number, second: number): number {
  return first * 0x1_0000 + second;
}

function semanticsOf({ name }: Opcode): (c: Context) => void {
  const semantics = SEMANTICS[name];
  if (semantics === undefined) throw new TypeError(`${name} has no semantics`);
  return semantics;
}

function build({ name, opcode, variant }: Form): Handler {
  const c = new Context(opcode, variant);
  semanticsOf(opcode)(c);
  // Semantics that end no path themselves go on with the next instruction.
  if (!c.ended) c.next();
  return { name, locals: c.b.locals, body: c.b.body };
}

function buildPair({ first, second }: Pair): Handler {
  const name = `${first.name}; ${second.name}`;
  const c = new Context(first.opcode, first.variant);
  semanticsOf(first.opcode)(c);
  if (c.ended) throw new TypeError(`${name}: the first does not always go on with the second`);
  c.followOn();
  const after = new Context(second.opcode, second.variant, c);
  semanticsOf(second.opcode)(after);
  if (!after.ended) after.next();
  return { name, locals: c.b.locals, body: c.b.body };
}

function specialHandlers(): Handler[] {
  const handler = (name: string, body: (b: Builder) => void): Handler => {
    const b = new Builder();
    body(b);
    return { name, locals: b.locals, body: b.body };
  };
  return [
    handler("lookup", (b) => {
      const eip = i32(0).load(32, ENGINE.codeBase).add(b.record.load(32, RECORD.offset));
      b.store(32, i32(0), eip, STATE_BASE + OFFSET.rip);
      b.enter();
    }),
    handler("cross", (b) => {
      // Known, with flat segments, and the next page is still where it was: its execute tag says so.
      const next = b.let(i32(0).load(32, ENGINE.codeLinear).add(4096));
      const entry = tlbEntry(b, next);
      const link = b.let(b.record.load(32, RECORD.link));
      const known = link
        .ne(0)
        .and(entry.load(32, TLB.executeTag).eq(next))
        .and(entry.load(32, TLB.physical).eq(b.record.load(32, RECORD.immediate)))
        .and(i32(0).load(32, ENGINE.mode).and(MODE.general).eqz());
      b.if(known, () => b.dispatch(link));
      b.dispatch(b.call("cross", [b.record, b.left]));
    }),
    handler("slow", (b) => {
      const left = b.call("slow", [b.record, b.left]);
      b.if(left.eqz(), () => b.leave());
      b.enter(left);
    }),
    handler("goto", (b) => b.dispatch(b.let(b.record.load(32, RECORD.link)))),
    handler("link", (b) => b.dispatch(b.call("link", [b.record]))),
  ];
}

/**
 * The lookup of state.eip: in the current code page without asking the TLB, else by the TLB's execute tag; then in the jump
 * cache. What is not there goes to TypeScript. Local 0 does not exist in it.
 */
export function enterHandler(): Handler {
  const b = new Builder();
  const word = (address: number): Expr => i32(0).load(32, address);
  const fetch = (): void => b.dispatch(b.call("fetch", [b.left]));
  const base = b.let(word(segmentAddress(CS) + 16));
  const linear = b.let(word(STATE_BASE + OFFSET.rip).add(base));
  const page = b.let(linear.and(~0xfff));
  b.if(page.ne(word(ENGINE.codeLinear)), () => {
    const entry = tlbEntry(b, linear);
    const codeBase = b.let(page.sub(base));
    b.if(
      entry
        .load(32, TLB.executeTag)
        .ne(page)
        .or(codeBase.geU(word(ENGINE.codeBaseEnd))),
      fetch,
    );
    b.store(32, i32(0), page, ENGINE.codeLinear);
    b.store(32, i32(0), codeBase, ENGINE.codeBase);
    b.store(32, i32(0), entry.load(32, TLB.physical), ENGINE.codePhysical);
    b.store(32, i32(0), word(ENGINE.baseMode), ENGINE.mode);
  });
  const physical = b.let(word(ENGINE.codePhysical).or(linear.and(0xfff)));
  const slot = b.let(
    physical
      .and(JUMP_ENTRIES - 1)
      .mul(JUMP_STRIDE)
      .add(JUMP_BASE),
  );
  const miss = slot
    .load(32, JUMP.physical)
    .ne(physical)
    .or(slot.load(32, JUMP.mode).ne(word(ENGINE.mode)));
  b.if(miss, fetch);
  b.dispatch(b.let(slot.load(32, JUMP.record)));
  return { name: "enter", locals: b.locals, body: b.body };
}
