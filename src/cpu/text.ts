// Part: the text back end.
// Prints handlers (ir.ts) as JavaScript, in which a developer can step through an instruction; tests compare it with the
// WebAssembly of the same handlers. About a hundred times slower.

import type { Backend } from "./engine.ts";
import { enterHandler, handlerTable } from "./handlers.ts";
import { type Binary, type Expr, type Handler, ROUTINES, type Routine, type Statement, type Unary } from "./ir.ts";
import { RECORD } from "./layout.ts";
import { routines } from "./routines.ts";

/** 32-bit operators on JavaScript numbers from −2^31 to 2^31 − 1. */
const NARROW: Record<Binary, (a: string, b: string) => string> = {
  add: (a, b) => `(${a} + ${b} | 0)`,
  sub: (a, b) => `(${a} - ${b} | 0)`,
  mul: (a, b) => `Math.imul(${a}, ${b})`,
  div_s: (a, b) => `(${a} / ${b} | 0)`,
  div_u: (a, b) => `((${a} >>> 0) / (${b} >>> 0) | 0)`,
  rem_s: (a, b) => `(${a} % ${b} | 0)`,
  rem_u: (a, b) => `((${a} >>> 0) % (${b} >>> 0) | 0)`,
  and: (a, b) => `(${a} & ${b})`,
  or: (a, b) => `(${a} | ${b})`,
  xor: (a, b) => `(${a} ^ ${b})`,
  shl: (a, b) => `(${a} << ${b})`,
  shr_s: (a, b) => `(${a} >> ${b})`,
  shr_u: (a, b) => `(${a} >>> ${b} | 0)`,
  rotl: (a, b) => `rotl(${a}, ${b})`,
  eq: (a, b) => `+(${a} === ${b})`,
  ne: (a, b) => `+(${a} !== ${b})`,
  lt_s: (a, b) => `+(${a} < ${b})`,
  lt_u: (a, b) => `+(${a} >>> 0 < ${b} >>> 0)`,
  gt_s: (a, b) => `+(${a} > ${b})`,
  gt_u: (a, b) => `+(${a} >>> 0 > ${b} >>> 0)`,
  le_u: (a, b) => `+(${a} >>> 0 <= ${b} >>> 0)`,
  ge_s: (a, b) => `+(${a} >= ${b})`,
  ge_u: (a, b) => `+(${a} >>> 0 >= ${b} >>> 0)`,
};

/** 64-bit operators on BigInts from −2^63 to 2^63 − 1. */
const signed = (text: string): string => `BigInt.asIntN(64, ${text})`;
const unsigned = (text: string): string => `BigInt.asUintN(64, ${text})`;
const amount = (text: string): string => `(${text} & 63n)`;
const WIDE: Record<Binary, (a: string, b: string) => string> = {
  add: (a, b) => signed(`${a} + ${b}`),
  sub: (a, b) => signed(`${a} - ${b}`),
  mul: (a, b) => signed(`${a} * ${b}`),
  div_s: (a, b) => signed(`${a} / ${b}`),
  div_u: (a, b) => signed(`${unsigned(a)} / ${unsigned(b)}`),
  rem_s: (a, b) => signed(`${a} % ${b}`),
  rem_u: (a, b) => signed(`${unsigned(a)} % ${unsigned(b)}`),
  and: (a, b) => `(${a} & ${b})`,
  or: (a, b) => `(${a} | ${b})`,
  xor: (a, b) => `(${a} ^ ${b})`,
  shl: (a, b) => signed(`${a} << ${amount(b)}`),
  shr_s: (a, b) => `(${a} >> ${amount(b)})`,
  shr_u: (a, b) => signed(`${unsigned(a)} >> ${amount(b)}`),
  rotl: (a, b) => signed(`(${unsigned(a)} << ${amount(b)}) | (${unsigned(a)} >> ((64n - ${amount(b)}) & 63n))`),
  eq: (a, b) => `+(${a} === ${b})`,
  ne: (a, b) => `+(${a} !== ${b})`,
  lt_s: (a, b) => `+(${a} < ${b})`,
  lt_u: (a, b) => `+(${unsigned(a)} < ${unsigned(b)})`,
  gt_s: (a, b) => `+(${a} > ${b})`,
  gt_u: (a, b) => `+(${unsigned(a)} > ${unsigned(b)})`,
  le_u: (a, b) => `+(${unsigned(a)} <= ${unsigned(b)})`,
  ge_s: (a, b) => `+(${a} >= ${b})`,
  ge_u: (a, b) => `+(${unsigned(a)} >= ${unsigned(b)})`,
};

const UNARY: Record<Unary, (a: string) => string> = {
  eqz: (a) => `+!(${a})`,
  clz: (a) => `Math.clz32(${a})`,
  ctz: (a) => `ctz(${a})`,
  extend8: (a) => `(${a} << 24 >> 24)`,
  extend16: (a) => `(${a} << 16 >> 16)`,
  wrap: (a) => `Number(BigInt.asIntN(32, ${a}))`,
  widen_u: (a) => `BigInt(${a} >>> 0)`,
  widen_s: (a) => `BigInt(${a})`,
};

const LOAD = { 8: "getUint8", 16: "getUint16", 32: "getInt32" } as const;
const STORE = { 8: "setUint8", 16: "setUint16", 32: "setInt32" } as const;

function address(base: Expr, offset: number): string {
  return offset === 0 ? `${expression(base)} >>> 0` : `(${expression(base)} >>> 0) + ${offset}`;
}

function expression(value: Expr): string {
  const { node } = value;
  switch (node.kind) {
    case "const":
      return node.type === "i32" ? `${node.value}` : `${node.value}n`;
    case "local":
      return `v${node.index}`;
    case "unary":
      return UNARY[node.operator](expression(node.a));
    case "binary":
      return (node.a.type === "i32" ? NARROW : WIDE)[node.operator](expression(node.a), expression(node.b));
    case "load":
      return `memory.${LOAD[node.width]}(${address(node.address, node.offset)}, true)`;
    case "select":
      return `(${expression(node.condition)} ? ${expression(node.a)} : ${expression(node.b)})`;
    default:
      return node satisfies never;
  }
}

function statements(list: readonly Statement[], indent: string): string {
  return list.map((statement) => `${indent}${line(statement, indent)}\n`).join("");
}

/** A handler returns the record of the next one, after it has left the budget in `left`; 0 for `enter`, −1 to leave. */
function line(statement: Statement, indent: string): string {
  switch (statement.kind) {
    case "set":
      return `v${statement.index} = ${expression(statement.value)};`;
    case "store": {
      const at = address(statement.address, statement.offset);
      return `memory.${STORE[statement.width]}(${at}, ${expression(statement.value)}, true);`;
    }
    case "if": {
      const inner = `${indent}  `;
      const otherwise =
        statement.whenFalse.length === 0 ? "" : ` else {\n${statements(statement.whenFalse, inner)}${indent}}`;
      return `if (${expression(statement.condition)}) {\n${statements(statement.whenTrue, inner)}${indent}}${otherwise}`;
    }
    case "loop":
      return `do {\n${statements(statement.body, `${indent}  `)}${indent}} while (${expression(statement.condition)});`;
    case "call":
      return `v${statement.result} = calls.${statement.name}(${statement.args.map(expression).join(", ")}) | 0;`;
    case "return":
      return `return ${expression(statement.value)};`;
    case "dispatch":
      return `left = ${expression(statement.left)}; return ${expression(statement.record)};`;
    case "enter":
      return `left = ${expression(statement.left)}; return 0;`;
    case "leave":
      return "return -1;";
    default:
      return statement satisfies never;
  }
}

/** The source of one handler: a function of its record. */
export function printHandler(handler: Handler): string {
  const locals = handler.locals.slice(2).map((type, index) => `v${index + 2} = ${type === "i32" ? "0" : "0n"}`);
  const declared = ["v1 = left", ...locals].join(", ");
  return `function (v0) { // ${handler.name}\n  let ${declared};\n${statements(handler.body, "  ")}}`;
}

function printRoutine({ name, locals, body }: Routine): string {
  const names = locals.map((_, index) => `v${index}`);
  const parameters = names.splice(0, ROUTINES[name]).join(", ");
  const declared = names.length === 0 ? "" : `  let ${names.join(", ")};\n`;
  return `${name}(${parameters}) {\n${declared}${statements(body, "  ")}}`;
}

/** Runs the handlers as JavaScript. */
export const javaScript: Backend = (memory, imports) => {
  const source = `"use strict";
let left = 0;
const rotl = (a, b) => a << b | a >>> (32 - b & 31);
const ctz = (a) => a === 0 ? 32 : 31 - Math.clz32(a & -a);
const calls = { ...host, ${routines().map(printRoutine).join(", ")} };
const enter = ${printHandler(enterHandler())};
const handlers = [${[...handlerTable().handlers()].map(printHandler).join(",\n")}];
return (budget) => {
  left = budget;
  for (let record = 0; record !== -1; ) {
    record = record === 0 ? enter(0) : handlers[memory.getInt32(record + ${RECORD.handler}, true)](record);
  }
};`;
  const create = new Function("memory", "host", source) as (
    view: DataView,
    host: typeof imports,
  ) => (left: number) => void;
  return create(new DataView(memory.buffer), imports);
};
