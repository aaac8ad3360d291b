// Part: an instruction's operands as handlers reach them: registers, immediates, and memory by the r/m byte's address (SDM Vol. 2 §2.1.5).

import { type Builder, type Expr, i32, type Width } from "../ir.ts";
import { RECORD, registerAddress } from "../layout.ts";
import type { Opcode, Operand } from "../opcodes.ts";
import { ECX } from "../state.ts";
import { MemoryContext, type Modification } from "./memory.ts";

/** Where the r/m operand is: a register, or memory by way of reaching it. */
export type Place = "register" | "base" | "indexed" | "general";
/** Flat code and stack; or checked against CS and SS, with ESP or SP. */
export type Environment = "flat" | "general32" | "general16";
export type Repeat = "once" | "repe" | "repne";

/** What besides the opcode selects a handler. */
export interface Variant {
  /** Operand size in bits. */
  readonly size: 16 | 32;
  readonly place: Place;
  readonly environment: Environment;
  /** A branch whose target is in the same page. */
  readonly linked: boolean;
  /** ECX, ESI and EDI, or CX, SI and DI. */
  readonly address: 16 | 32;
  readonly repeat: Repeat;
}

/** Builds the operands of one instruction. */
export class OperandContext extends MemoryContext {
  readonly opcode: Opcode;
  readonly variant: Variant;
  /** Width of the operation in bits. */
  readonly width: Width;

  constructor(b: Builder, opcode: Opcode, variant: Variant) {
    super(b);
    this.opcode = opcode;
    this.variant = variant;
    this.width = opcode.width === "v" ? variant.size : opcode.width;
  }

  get general(): boolean {
    return this.variant.environment !== "flat";
  }

  field(name: keyof typeof RECORD): Expr {
    return this.b.record.load(32, RECORD[name]);
  }

  // Registers.

  register(index: number, width: Width = 32): Expr {
    return i32(0).load(width, registerAddress(index));
  }

  setRegister(index: number, value: Expr, width: Width = 32): void {
    this.b.store(width, i32(0), value, registerAddress(index));
  }

  /** AH, the second byte of EAX. */
  get ah(): Expr {
    return i32(0).load(8, registerAddress(0) + 1);
  }

  setAh(value: Expr): void {
    this.b.store(8, i32(0), value, registerAddress(0) + 1);
  }

  // Operands.

  operandWidth(operand: Operand): Width {
    return operand.width === "v" ? this.variant.size : operand.width;
  }

  #operand(index: number): Operand {
    return this.opcode.operands[index] as Operand;
  }

  #inMemory(operand: Operand): boolean {
    return operand.kind === "M" || operand.kind === "O" || (operand.kind === "E" && this.variant.place !== "register");
  }

  #registerOf(operand: Operand): Expr {
    return operand.kind === "G" ? this.field("source") : this.field("destination");
  }

  /** The operand's value, zero-extended. */
  get(index: number): Expr {
    const operand = this.#operand(index);
    const width = this.operandWidth(operand);
    switch (operand.kind) {
      case "I":
      case "S":
        return this.let(this.field("immediate"));
      case "U":
        return i32(1);
      case "N":
        return this.let(this.field("segment").load(16));
      case "C":
        return this.register(ECX, 8);
      case "A":
        return this.register(0, width);
      default:
        return this.#inMemory(operand)
          ? this.read(width, this.operandAddress(width, false))
          : this.let(this.#registerOf(operand).load(width));
    }
  }

  set(index: number, value: Expr): void {
    const operand = this.#operand(index);
    const width = this.operandWidth(operand);
    if (operand.kind === "A") this.setRegister(0, value, width);
    else if (this.#inMemory(operand)) this.write(width, this.operandAddress(width, true), value);
    else this.b.store(width, this.#registerOf(operand), value);
  }

  /** Reads an operand that will be written: a write that would fault does so now. */
  modify(index: number): Modification {
    const operand = this.#operand(index);
    const width = this.operandWidth(operand);
    if (operand.kind === "A") {
      return { value: this.let(this.register(0, width)), write: (value) => this.setRegister(0, value, width) };
    }
    if (this.#inMemory(operand)) return this.modifyMemory(width, this.operandAddress(width, true));
    const address = this.let(this.#registerOf(operand));
    return { value: this.let(address.load(width)), write: (value) => this.b.store(width, address, value) };
  }

  /** Offset of the memory operand in its segment. */
  offset(): Expr {
    const base = this.field("base").load(32);
    const displacement = this.field("displacement");
    if (this.variant.place === "base") return base.add(displacement);
    const sum = base.add(this.field("index").load(32).shl(this.field("shift"))).add(displacement);
    return this.variant.place === "indexed" ? sum : sum.and(this.field("mask"));
  }

  /** Linear address of the memory operand, checked against its segment. */
  operandAddress(width: Width, write: boolean): Expr {
    if (this.variant.place !== "general") return this.let(this.offset());
    return this.inSegment(this.let(this.field("segment")), this.let(this.offset()), width, write);
  }

  /** Linear address of a word of a bit string: the operand's offset and `distance` bytes more. */
  addressBeside(distance: Expr, width: Width, write: boolean): Expr {
    const offset = this.offset().add(distance);
    if (this.variant.place !== "general") return this.let(offset);
    const wrapped = this.let(offset.and(this.field("mask")));
    return this.inSegment(this.let(this.field("segment")), wrapped, width, write);
  }

  /** Linear address of an element of a string: `segment` is the address of a segment block. */
  stringAddress(segment: Expr, offset: Expr, write: boolean): Expr {
    if (this.variant.place !== "general") return offset;
    return this.inSegment(this.let(segment), offset, this.width, write);
  }

  /** Linear address of XLAT's operand in the segment that prefixes choose. */
  xlatAddress(sum: Expr): Expr {
    if (this.variant.place !== "general") return this.let(sum);
    return this.inSegment(this.let(this.field("segment")), this.let(sum.and(this.field("mask"))), 8, false);
  }
}
