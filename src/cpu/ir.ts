// Part: the typed expressions that instruction semantics are written in.
// A handler is a list of statements over expressions of 32 or 64 bits; wasm.ts prints it as WebAssembly and text.ts as
// JavaScript. The operators are WebAssembly's own (W3C core specification 2.0, section 4.3), wrapping included.

import { ENGINE } from "./layout.ts";

export type Type = "i32" | "i64";

export type Unary =
  | "eqz"
  | "clz"
  | "ctz"
  | "extend8"
  | "extend16"
  /** i64 to i32, low half. */
  | "wrap"
  /** i32 to i64. */
  | "widen_u"
  | "widen_s";

export type Binary =
  | "add"
  | "sub"
  | "mul"
  | "div_s"
  | "div_u"
  | "rem_s"
  | "rem_u"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr_s"
  | "shr_u"
  | "rotl"
  | "eq"
  | "ne"
  | "lt_s"
  | "lt_u"
  | "gt_s"
  | "gt_u"
  | "le_u"
  | "ge_s"
  | "ge_u";

export const COMPARISONS: ReadonlySet<string> = new Set([
  "eqz",
  "eq",
  "ne",
  "lt_s",
  "lt_u",
  "gt_s",
  "gt_u",
  "le_u",
  "ge_s",
  "ge_u",
]);

export type Width = 8 | 16 | 32;

export type Node =
  | { kind: "const"; type: Type; value: number }
  | { kind: "local"; type: Type; index: number }
  | { kind: "unary"; type: Type; operator: Unary; a: Expr }
  | { kind: "binary"; type: Type; operator: Binary; a: Expr; b: Expr }
  /** Zero-extending load; address is base + offset. */
  | { kind: "load"; type: "i32"; width: Width; address: Expr; offset: number }
  | { kind: "select"; type: Type; condition: Expr; a: Expr; b: Expr };

/** An expression. It is evaluated each time it appears: name it with `let` to use it twice. */
export class Expr {
  readonly node: Node;

  constructor(node: Node) {
    this.node = node;
  }

  get type(): Type {
    return this.node.type;
  }

  #binary(operator: Binary, other: Expr | number): Expr {
    const type = COMPARISONS.has(operator) ? "i32" : this.type;
    const b = typeof other === "number" ? new Expr({ kind: "const", type: this.type, value: other }) : other;
    return new Expr({ kind: "binary", type, operator, a: this, b });
  }

  #unary(operator: Unary, type: Type = this.type): Expr {
    return new Expr({ kind: "unary", type, operator, a: this });
  }

  add(b: Expr | number): Expr {
    return b === 0 ? this : this.#binary("add", b);
  }
  sub(b: Expr | number): Expr {
    return this.#binary("sub", b);
  }
  mul(b: Expr | number): Expr {
    return this.#binary("mul", b);
  }
  divS(b: Expr | number): Expr {
    return this.#binary("div_s", b);
  }
  divU(b: Expr | number): Expr {
    return this.#binary("div_u", b);
  }
  remS(b: Expr | number): Expr {
    return this.#binary("rem_s", b);
  }
  remU(b: Expr | number): Expr {
    return this.#binary("rem_u", b);
  }
  and(b: Expr | number): Expr {
    return this.#binary("and", b);
  }
  or(b: Expr | number): Expr {
    return this.#binary("or", b);
  }
  xor(b: Expr | number): Expr {
    return this.#binary("xor", b);
  }
  not(): Expr {
    return this.#binary("xor", -1);
  }
  shl(b: Expr | number): Expr {
    return b === 0 ? this : this.#binary("shl", b);
  }
  shrS(b: Expr | number): Expr {
    return b === 0 ? this : this.#binary("shr_s", b);
  }
  shrU(b: Expr | number): Expr {
    return b === 0 ? this : this.#binary("shr_u", b);
  }
  rotl(b: Expr | number): Expr {
    return this.#binary("rotl", b);
  }
  eq(b: Expr | number): Expr {
    return this.#binary("eq", b);
  }
  ne(b: Expr | number): Expr {
    return this.#binary("ne", b);
  }
  ltS(b: Expr | number): Expr {
    return this.#binary("lt_s", b);
  }
  ltU(b: Expr | number): Expr {
    return this.#binary("lt_u", b);
  }
  gtS(b: Expr | number): Expr {
    return this.#binary("gt_s", b);
  }
  gtU(b: Expr | number): Expr {
    return this.#binary("gt_u", b);
  }
  leU(b: Expr | number): Expr {
    return this.#binary("le_u", b);
  }
  geS(b: Expr | number): Expr {
    return this.#binary("ge_s", b);
  }
  geU(b: Expr | number): Expr {
    return this.#binary("ge_u", b);
  }
  eqz(): Expr {
    return this.#unary("eqz", "i32");
  }
  clz(): Expr {
    return this.#unary("clz");
  }
  ctz(): Expr {
    return this.#unary("ctz");
  }
  wrap(): Expr {
    return this.#unary("wrap", "i32");
  }
  widenU(): Expr {
    return this.#unary("widen_u", "i64");
  }
  widenS(): Expr {
    return this.#unary("widen_s", "i64");
  }

  /** The low `width` bits, sign-extended to 32. */
  signExtend(width: Width): Expr {
    if (width === 32) return this;
    return this.#unary(width === 8 ? "extend8" : "extend16");
  }

  /** The low `width` bits, zero-extended to 32. */
  truncate(width: Width): Expr {
    return width === 32 ? this : this.and(width === 8 ? 0xff : 0xffff);
  }

  /** this ? a : b; both are evaluated. */
  select(a: Expr, b: Expr): Expr {
    return new Expr({ kind: "select", type: a.type, condition: this, a, b });
  }

  load(width: Width, offset = 0): Expr {
    return new Expr({ kind: "load", type: "i32", width, address: this, offset });
  }
}

export function i32(value: number): Expr {
  return new Expr({ kind: "const", type: "i32", value: value | 0 });
}

export function i64(value: number): Expr {
  return new Expr({ kind: "const", type: "i64", value });
}

export type Statement =
  | { kind: "set"; index: number; value: Expr }
  | { kind: "store"; width: Width; address: Expr; offset: number; value: Expr }
  | { kind: "if"; condition: Expr; whenTrue: Statement[]; whenFalse: Statement[] }
  /** Runs the body, and again as long as the condition holds after it. */
  | { kind: "loop"; body: Statement[]; condition: Expr }
  /** Calls an import or a routine; its result goes to a local unless `result` is −1. */
  | { kind: "call"; name: CallName; args: Expr[]; result: number }
  /** Goes on with the handler of a record; nothing after it is reached. */
  | { kind: "dispatch"; record: Expr; left: Expr }
  /** Goes on with the lookup of state.eip. */
  | { kind: "enter"; left: Expr }
  /** Leaves the run. */
  | { kind: "leave" }
  /** Leaves a routine. */
  | { kind: "return"; value: Expr };

/**
 * What handlers call in TypeScript, with the number of 32-bit arguments. Each returns one 32-bit number. Faults and VM exits are
 * not thrown through handlers, which is slow: the import sets `ENGINE.stopped`, and {@link Builder.call} leaves the run.
 */
export const IMPORTS = {
  /** (linear, width in bytes, record, left): the value, zero-extended. */
  read: 4,
  /** As `read`, and faults as a write would. */
  readForWrite: 4,
  /** (linear, width in bytes, value, record, left). */
  write: 5,
  /** (segment block, offset, width, write, record, left): faults unless the segment permits it. */
  checkSegment: 6,
  /** (vector, error code or −1, record, left): the fault. */
  fault: 4,
  /** (stub): the record that the jump leads to; remembers it as the jump's link. */
  link: 1,
  /** (left): the record at state.eip; fetches, decodes, may fault. */
  fetch: 1,
  /** (record, left): the record of an instruction that reaches into the next page. */
  cross: 2,
  /** (record, left): runs the slow function; returns what is left, 0 to leave the run. */
  slow: 2,
} as const;
/** Functions of the same module that handlers call; arguments and results are those of the imports that they spare. */
export const ROUTINES = {
  /** {@link IMPORTS}.readForWrite */
  loadForStore: 4,
  /** {@link IMPORTS}.write */
  store: 5,
} as const;
export type RoutineName = keyof typeof ROUTINES;

/** What may find a fault or an exit. `slow` says so by leaving 0 of the budget. */
const MAY_STOP: ReadonlySet<string> = new Set([
  "read",
  "loadForStore",
  "store",
  "checkSegment",
  "fault",
  "fetch",
  "cross",
] satisfies CallName[]);
export type ImportName = keyof typeof IMPORTS;
export type CallName = ImportName | RoutineName;
export const IMPORT_NAMES = Object.keys(IMPORTS) as ImportName[];

const LEAVE_WHEN_STOPPED: Statement = {
  kind: "if",
  condition: i32(0).load(32, ENGINE.stopped),
  whenTrue: [{ kind: "leave" }],
  whenFalse: [],
};

/** A handler. Local 0 is the record, local 1 the instructions that are left in the budget (at least 1). */
export interface Handler {
  name: string;
  /** Types of all locals, the two parameters included. */
  locals: Type[];
  body: Statement[];
}

/** Local 0 and those after it are the parameters. */
export interface Routine {
  readonly name: RoutineName;
  readonly locals: Type[];
  readonly body: Statement[];
}

/** Collects the statements of one handler or routine. */
export class Builder {
  readonly locals: Type[] = ["i32", "i32"];
  readonly body: Statement[] = [];
  #block: Statement[] = this.body;
  readonly record: Expr = this.#local(0);
  readonly left: Expr = this.#local(1);

  #local(index: number): Expr {
    return new Expr({ kind: "local", type: this.locals[index] as Type, index });
  }

  /** Evaluates now, and names the value. */
  let(value: Expr): Expr {
    const kind = value.node.kind;
    if (kind === "const" || (kind === "local" && value.node.index > 1)) return value;
    return this.variable(value);
  }

  /** A local that is 0 until it is assigned to. */
  local(type: Type): Expr {
    return this.#local(this.locals.push(type) - 1);
  }

  /** A local that `assign` may change. */
  variable(value: Expr): Expr {
    const variable = this.local(value.type);
    this.assign(variable, value);
    return variable;
  }

  assign(variable: Expr, value: Expr): void {
    if (variable.node.kind !== "local") throw new TypeError("only locals can be assigned");
    this.#block.push({ kind: "set", index: variable.node.index, value });
  }

  store(width: Width, address: Expr, value: Expr, offset = 0): void {
    this.#block.push({ kind: "store", width, address, offset, value });
  }

  if(condition: Expr, then: () => void, otherwise?: () => void): void {
    const statement = { kind: "if" as const, condition, whenTrue: [] as Statement[], whenFalse: [] as Statement[] };
    this.#block.push(statement);
    const outer = this.#block;
    this.#block = statement.whenTrue;
    then();
    this.#block = statement.whenFalse;
    otherwise?.();
    this.#block = outer;
  }

  /** Runs `body`, which returns the condition for running again. */
  loop(body: () => Expr): void {
    const outer = this.#block;
    const statements: Statement[] = [];
    this.#block = statements;
    const condition = body();
    this.#block = outer;
    outer.push({ kind: "loop", body: statements, condition });
  }

  /** Calls an import or a routine and names its result. */
  call(name: CallName, args: Expr[]): Expr {
    const result = this.#call(name, args);
    if (MAY_STOP.has(name)) this.#block.push(LEAVE_WHEN_STOPPED);
    return result;
  }

  #call(name: CallName, args: Expr[]): Expr {
    const result = this.locals.push("i32") - 1;
    this.#block.push({ kind: "call", name, args, result });
    return this.#local(result);
  }

  /** The parameters of a routine; before any local. */
  parameters(count: number): Expr[] {
    while (this.locals.length < count) this.locals.push("i32");
    return Array.from({ length: count }, (_, index) => this.#local(index));
  }

  /** Leaves a routine. */
  return(value: Expr): void {
    this.#block.push({ kind: "return", value });
  }

  /** Leaves a routine with what an import returns; whoever called the routine sees whether it stopped. */
  returnCall(name: ImportName, args: Expr[]): void {
    this.return(this.#call(name, args));
  }

  dispatch(record: Expr, left: Expr = this.left): void {
    this.#block.push({ kind: "dispatch", record, left });
  }

  enter(left: Expr = this.left): void {
    this.#block.push({ kind: "enter", left });
  }

  leave(): void {
    this.#block.push({ kind: "leave" });
  }
}
