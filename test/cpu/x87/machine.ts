// Part: an x87 unit with one memory operand, for the unit tests.

import type { X87Access } from "../../../src/cpu/x87/access.ts";
import { executeX87 } from "../../../src/cpu/x87/execute.ts";
import { type Extended, toBytes } from "../../../src/cpu/x87/extended.ts";
import { X87 } from "../../../src/cpu/x87/unit.ts";

export class Fault extends Error {
  readonly vector: number;
  constructor(vector: number) {
    super(`exception ${vector}`);
    this.vector = vector;
  }
}

/** A processor around the unit: one operand of up to 512 bytes, which can be made to fault. */
export class Machine implements X87Access {
  readonly unit = new X87();
  readonly memory = new Uint8Array(512);
  operandSize: 16 | 32 = 32;
  protectedMode = true;
  codeSelector = 0x1234;
  instructionPointer = 0x8765_4321;
  operandSelector = 0xabcd;
  operandOffset = 0xfedc_ba98;
  flags = 0;
  ax = 0;
  pageFaults = false;

  constructor() {
    this.unit.initialize();
  }

  execute(opcode: number, modrm: number): void {
    executeX87(this.unit, opcode, modrm, this);
  }

  /** The numbers on the stack, ST(0) first. */
  get stack(): number[] {
    return [0, 1, 2, 3, 4, 5, 6, 7].filter((i) => !this.unit.isEmpty(i)).map((i) => toDouble(this.unit.read(i)));
  }

  /** Pushes a number with FLD m64fp. */
  push(value: number): void {
    this.putDouble(value);
    this.execute(0xdd, 0x07);
  }

  putDouble(value: number): void {
    new DataView(this.memory.buffer).setFloat64(0, value, true);
  }

  get double(): number {
    return new DataView(this.memory.buffer).getFloat64(0, true);
  }

  load(length: number): Uint8Array {
    if (this.pageFaults) throw new Fault(14);
    return this.memory.slice(0, length);
  }

  store(bytes: Uint8Array): void {
    if (this.pageFaults) throw new Fault(14);
    this.memory.set(bytes);
  }

  readFlags(): number {
    return this.flags;
  }

  writeFlags(flags: number): void {
    this.flags = flags;
  }

  writeAx(value: number): void {
    this.ax = value;
  }

  fault(vector: 6 | 13 | 16): never {
    throw new Fault(vector);
  }
}

/** The vector of the exception that the action raises. */
export function exceptionOf(action: () => void): number | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof Fault) return error.vector;
    throw error;
  }
  return undefined;
}

/** A register as a JavaScript number, rounded by the host: an oracle of its own, with none of the unit's code but the bytes. */
export function toDouble(x: Extended): number {
  const view = new DataView(toBytes(x).buffer);
  const signExponent = view.getUint16(8, true);
  const sign = signExponent & 0x8000 ? -1 : 1;
  const exponent = signExponent & 0x7fff;
  const significand = view.getBigUint64(0, true);
  if (exponent === 0x7fff) return significand === 1n << 63n ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * Number(significand) * 2 ** (exponent - 16383 - 63);
}
