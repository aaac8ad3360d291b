// Part: the WebAssembly back end.
// Prints handlers (ir.ts) as one WebAssembly module, W3C core specification 2.0 with the tail-call extension: a handler
// ends in a tail call of the next record's handler, so that no loop stands between two instructions.

import type { HandlerTable } from "./handlers.ts";
import {
  type CallName,
  type Expr,
  type Handler,
  IMPORT_NAMES,
  IMPORTS,
  ROUTINES,
  type RoutineName,
  type Statement,
  type Type,
} from "./ir.ts";
import { RECORD } from "./layout.ts";
import { routines } from "./routines.ts";

const VALUE_TYPE: Record<Type, number> = { i32: 0x7f, i64: 0x7e };

/** Opcodes for i32 and i64 (specification, section 5.4.6). */
const OPERATORS: Record<string, readonly [number, number]> = {
  eqz: [0x45, 0x50],
  eq: [0x46, 0x51],
  ne: [0x47, 0x52],
  lt_s: [0x48, 0x53],
  lt_u: [0x49, 0x54],
  gt_s: [0x4a, 0x55],
  gt_u: [0x4b, 0x56],
  le_u: [0x4d, 0x58],
  ge_s: [0x4e, 0x59],
  ge_u: [0x4f, 0x5a],
  clz: [0x67, 0x79],
  ctz: [0x68, 0x7a],
  add: [0x6a, 0x7c],
  sub: [0x6b, 0x7d],
  mul: [0x6c, 0x7e],
  div_s: [0x6d, 0x7f],
  div_u: [0x6e, 0x80],
  rem_s: [0x6f, 0x81],
  rem_u: [0x70, 0x82],
  and: [0x71, 0x83],
  or: [0x72, 0x84],
  xor: [0x73, 0x85],
  shl: [0x74, 0x86],
  shr_s: [0x75, 0x87],
  shr_u: [0x76, 0x88],
  rotl: [0x77, 0x89],
  extend8: [0xc0, 0xc2],
  extend16: [0xc1, 0xc3],
  wrap: [0xa7, 0xa7],
  widen_s: [0xac, 0xac],
  widen_u: [0xad, 0xad],
};
const LOAD = { 8: 0x2d, 16: 0x2f, 32: 0x28 } as const;
const STORE = { 8: 0x3a, 16: 0x3b, 32: 0x36 } as const;

/** What the module takes, nearly. */
const INITIAL_BYTES = 1 << 19;
/** Bytes of a length that is written after what it counts. */
const LENGTH_BYTES = 4;

class Bytes {
  #bytes = new Uint8Array(INITIAL_BYTES);
  length = 0;

  byte(value: number): void {
    if (this.length === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.length);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.length++] = value;
  }

  unsigned(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of an integer below 2^53. */
  signed(value: number): void {
    if ((value | 0) === value) {
      this.#signed32(value);
      return;
    }
    let rest = BigInt(value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  #signed32(value: number): void {
    let rest = value;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  text(value: string): void {
    this.unsigned(value.length);
    for (let index = 0; index < value.length; index++) this.byte(value.charCodeAt(index));
  }

  /** What `content` writes, after its length. */
  sized(content: () => void): void {
    const at = this.length;
    for (let index = 0; index < LENGTH_BYTES; index++) this.byte(0);
    content();
    let rest = this.length - at - LENGTH_BYTES;
    for (let index = 0; index < LENGTH_BYTES; index++) {
      this.#bytes[at + index] = (rest & 0x7f) | (index < LENGTH_BYTES - 1 ? 0x80 : 0);
      rest >>>= 7;
    }
  }

  section(id: number, content: () => void): void {
    this.byte(id);
    this.sized(content);
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

/** Index of each import and routine; then comes `enter`, then the handlers. */
const ROUTINE_NAMES = Object.keys(ROUTINES) as RoutineName[];
const callIndex = new Map<CallName, number>([...IMPORT_NAMES, ...ROUTINE_NAMES].map((name, index) => [name, index]));
const ENTER_INDEX = callIndex.size;
/** Type 0 is a handler, type 1 `enter` and `run`; type 2 + n takes n numbers. */
const HANDLER_TYPE = 0;
const ENTER_TYPE = 1;
const IMPORT_TYPES = 2;
const MOST_ARGUMENTS = 6;

/**
 * The module of all handlers. It imports `host.memory` and the functions of {@link IMPORTS} from `host`, and exports
 * `run(left)`, which goes on at state.eip and returns when the budget is used up or a slow function asks for it.
 * @param enter the lookup of state.eip; it has the local 1 only
 */
export function emitModule(enter: Handler, table: HandlerTable): Uint8Array {
  const bytes = new Bytes();
  for (const byte of [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]) bytes.byte(byte);
  const emitter = new FunctionEmitter(bytes);
  const { size } = table;

  bytes.section(1, () => {
    const signature = (count: number): void => {
      bytes.byte(0x60);
      bytes.unsigned(count);
      for (let index = 0; index < count; index++) bytes.byte(VALUE_TYPE.i32);
      bytes.unsigned(1);
      bytes.byte(VALUE_TYPE.i32);
    };
    bytes.unsigned(IMPORT_TYPES + MOST_ARGUMENTS + 1);
    signature(2);
    signature(1);
    for (let count = 0; count <= MOST_ARGUMENTS; count++) signature(count);
  });
  // Imports
  bytes.section(2, () => {
    bytes.unsigned(IMPORT_NAMES.length + 1);
    for (const name of IMPORT_NAMES) {
      bytes.text("host");
      bytes.text(name);
      bytes.byte(0x00);
      bytes.unsigned(IMPORT_TYPES + IMPORTS[name]);
    }
    bytes.text("host");
    bytes.text("memory");
    bytes.byte(0x02);
    bytes.byte(0x00);
    bytes.unsigned(1);
  });
  // The types of the functions
  bytes.section(3, () => {
    bytes.unsigned(ROUTINE_NAMES.length + 1 + size);
    for (const name of ROUTINE_NAMES) bytes.unsigned(IMPORT_TYPES + ROUTINES[name]);
    bytes.unsigned(ENTER_TYPE);
    for (let index = 0; index < size; index++) bytes.unsigned(HANDLER_TYPE);
  });
  // The table
  bytes.section(4, () => {
    bytes.unsigned(1);
    bytes.byte(0x70);
    bytes.byte(0x01);
    bytes.unsigned(size);
    bytes.unsigned(size);
  });
  // Exports
  bytes.section(7, () => {
    bytes.unsigned(1);
    bytes.text("run");
    bytes.byte(0x00);
    bytes.unsigned(ENTER_INDEX);
  });
  // What is in the table
  bytes.section(9, () => {
    bytes.unsigned(1);
    bytes.unsigned(0);
    bytes.byte(0x41);
    bytes.signed(0);
    bytes.byte(0x0b);
    bytes.unsigned(size);
    for (let index = 0; index < size; index++) bytes.unsigned(ENTER_INDEX + 1 + index);
  });
  // Code
  bytes.section(10, () => {
    bytes.unsigned(ROUTINE_NAMES.length + 1 + size);
    for (const routine of routines()) emitter.emit(routine, ROUTINES[routine.name]);
    emitter.emitEnter(enter);
    for (const handler of table.handlers()) emitter.emit(handler, 2);
  });
  return bytes.view();
}

class FunctionEmitter {
  readonly bytes: Bytes;
  /** `enter` has no record, so that its locals are numbered from 1. */
  #shift = 0;

  constructor(bytes: Bytes) {
    this.bytes = bytes;
  }

  emitEnter(enter: Handler): void {
    this.#shift = 1;
    this.emit(enter, 2);
    this.#shift = 0;
  }

  /** @param parameters how many of the locals are parameters */
  emit({ locals, body }: Pick<Handler, "locals" | "body">, parameters: number): void {
    const { bytes } = this;
    bytes.sized(() => {
      bytes.unsigned(locals.length - parameters);
      for (let index = parameters; index < locals.length; index++) {
        bytes.unsigned(1);
        bytes.byte(VALUE_TYPE[locals[index] as Type]);
      }
      this.statements(body);
      bytes.byte(0x00); // unreachable: every path ends in a tail call or a return
      bytes.byte(0x0b);
    });
  }

  statements(list: readonly Statement[]): void {
    for (const statement of list) this.#statement(statement);
  }

  #statement(statement: Statement): void {
    const bytes = this.bytes;
    switch (statement.kind) {
      case "set":
        this.#expression(statement.value);
        this.#local(0x21, statement.index);
        return;
      case "store":
        this.#expression(statement.address);
        this.#expression(statement.value);
        this.#memory(STORE[statement.width], statement.offset);
        return;
      case "if":
        this.#expression(statement.condition);
        bytes.byte(0x04);
        bytes.byte(0x40);
        this.statements(statement.whenTrue);
        if (statement.whenFalse.length > 0) {
          bytes.byte(0x05);
          this.statements(statement.whenFalse);
        }
        bytes.byte(0x0b);
        return;
      case "loop":
        bytes.byte(0x03);
        bytes.byte(0x40);
        this.statements(statement.body);
        this.#expression(statement.condition);
        bytes.byte(0x0d); // br_if
        bytes.byte(0);
        bytes.byte(0x0b);
        return;
      case "call":
        for (const argument of statement.args) this.#expression(argument);
        bytes.byte(0x10);
        bytes.unsigned(callIndex.get(statement.name) as number);
        if (statement.result < 0) bytes.byte(0x1a);
        else this.#local(0x21, statement.result);
        return;
      case "dispatch": {
        this.#expression(statement.record);
        this.#expression(statement.left);
        this.#expression(statement.record);
        this.#memory(LOAD[32], RECORD.handler);
        bytes.byte(0x13); // return_call_indirect
        bytes.unsigned(HANDLER_TYPE);
        bytes.unsigned(0);
        return;
      }
      case "enter":
        this.#expression(statement.left);
        bytes.byte(0x12); // return_call
        bytes.unsigned(ENTER_INDEX);
        return;
      case "return":
        this.#expression(statement.value);
        bytes.byte(0x0f);
        return;
      case "leave":
        bytes.byte(0x41);
        bytes.byte(0);
        bytes.byte(0x0f);
        return;
      default:
        statement satisfies never;
    }
  }

  #local(opcode: number, index: number): void {
    this.bytes.byte(opcode);
    this.bytes.unsigned(index - this.#shift);
  }

  #memory(opcode: number, offset: number): void {
    this.bytes.byte(opcode);
    this.bytes.unsigned(0);
    this.bytes.unsigned(offset);
  }

  #expression(expression: Expr): void {
    const node = expression.node;
    switch (node.kind) {
      case "const":
        this.bytes.byte(node.type === "i32" ? 0x41 : 0x42);
        this.bytes.signed(node.type === "i32" ? node.value | 0 : node.value);
        return;
      case "local":
        this.#local(0x20, node.index);
        return;
      case "unary":
        this.#expression(node.a);
        this.#operator(node.operator, node.a.type);
        return;
      case "binary":
        this.#expression(node.a);
        this.#expression(node.b);
        this.#operator(node.operator, node.a.type);
        return;
      case "load":
        this.#expression(node.address);
        this.#memory(LOAD[node.width], node.offset);
        return;
      case "select":
        this.#expression(node.a);
        this.#expression(node.b);
        this.#expression(node.condition);
        this.bytes.byte(0x1b);
        return;
      default:
        node satisfies never;
    }
  }

  #operator(operator: string, type: Type): void {
    const [narrow, wide] = OPERATORS[operator] as readonly [number, number];
    this.bytes.byte(type === "i32" ? narrow : wide);
  }
}
