// Part: what an instruction's semantics see.
// A Context builds one handler: it hands out operands, memory, the stack, flags and the ways to end an instruction as
// expressions over the decoded record (layout.ts). Everything before the first store may fault, and a fault leaves the
// instruction restartable, so semantics compute first and commit last.

import { GP } from "../context.ts";
import { Builder, type Expr, i32, type Width } from "../ir.ts";
import { ENGINE, RECORD, RECORD_STRIDE, registerAddress, STATE_BASE, segmentAddress } from "../layout.ts";
import type { Opcode, Operand } from "../opcodes.ts";
import { DF, ECX, ESP, OFFSET, SS } from "../state.ts";
import { MemoryContext, type Modification, SEGMENT_LIMIT } from "./memory.ts";

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

const FLAG_RESULT = STATE_BASE + OFFSET.flagResult;
const FLAG_CARRIES = STATE_BASE + OFFSET.flagCarries;
const RIP = STATE_BASE + OFFSET.rip;

/** Flags that a handler has just set, in locals. */
interface KnownFlags {
  readonly result: Expr;
  readonly carries: Expr;
  readonly difference: Difference | undefined;
}

/** a and b, zero-extended from `width` bits, when flags are those of a − b. */
export interface Difference {
  readonly a: Expr;
  readonly b: Expr;
  readonly width: Width;
}

export class Context extends MemoryContext {
  readonly opcode: Opcode;
  readonly variant: Variant;
  /** Width of the operation in bits. */
  readonly width: Width;
  #ended = false;
  /** The flags that the instruction before this one in the same handler left. */
  #inherited: KnownFlags | undefined;
  #left: KnownFlags | undefined;

  /** @param previous the first instruction of a handler of two, of which this is the second */
  constructor(opcode: Opcode, variant: Variant, previous?: Context) {
    super(previous?.b ?? new Builder());
    if (previous !== undefined) this.#inherited = previous.#left;
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

  // The stack (SDM Vol. 1 §6.2).

  /** Linear address of the stack slot at `pointer`. */
  #stackAddress(pointer: Expr, width: Width, write: boolean): Expr {
    return this.general ? this.inSegment(i32(segmentAddress(SS)), pointer, width, write) : pointer;
  }

  stackPointer(): Expr {
    return this.register(ESP, this.variant.environment === "general16" ? 16 : 32);
  }

  setStackPointer(value: Expr): void {
    this.setRegister(ESP, value, this.variant.environment === "general16" ? 16 : 32);
  }

  wrapStackPointer(value: Expr): Expr {
    return this.variant.environment === "general16" ? value.and(0xffff) : value;
  }

  push(value: Expr, width: Width = this.variant.size): void {
    const stored = this.let(value);
    const pointer = this.let(this.wrapStackPointer(this.stackPointer().sub(width / 8)));
    this.write(width, this.#stackAddress(pointer, width, true), stored);
    this.setStackPointer(pointer);
  }

  /** Pushes several values, the first one deepest; all of the stores are checked before one is made. */
  pushAll(values: readonly Expr[]): void {
    const width = this.variant.size;
    let pointer = this.let(this.stackPointer());
    const slots = values.map(() => {
      pointer = this.let(this.wrapStackPointer(pointer.sub(width / 8)));
      return this.modifyMemory(width, this.#stackAddress(pointer, width, true));
    });
    for (const [index, slot] of slots.entries()) slot.write(values[index] as Expr);
    this.setStackPointer(pointer);
  }

  /** The value on top; `pop` removes it. */
  top(width: Width = this.variant.size): Expr {
    const pointer = this.let(this.stackPointer());
    return this.read(width, this.#stackAddress(pointer, width, false));
  }

  /** The value in the stack segment at a stack pointer of the instruction's own. */
  readStack(pointer: Expr, width: Width = this.variant.size): Expr {
    return this.read(width, this.#stackAddress(this.let(pointer), width, false));
  }

  /**
   * POP to r/m: an address that uses ESP is computed with the incremented ESP (SDM Vol. 2, POP), and a store that faults
   * leaves ESP alone.
   */
  popToOperand(): void {
    const width = this.variant.size;
    const value = this.top();
    const before = this.let(this.register(ESP));
    this.release(width / 8);
    if (this.variant.place === "register") {
      this.set(0, value);
      return;
    }
    const after = this.let(this.register(ESP));
    const offset = this.let(this.offset());
    this.setRegister(ESP, before);
    const address =
      this.variant.place === "general" ? this.inSegment(this.let(this.field("segment")), offset, width, true) : offset;
    this.write(width, address, value);
    this.setRegister(ESP, after);
  }

  release(bytes: Expr | number): void {
    this.setStackPointer(this.stackPointer().add(bytes));
  }

  // Flags: the lazy form of state.ts.

  /** @param difference the operands when the flags are those of a − b, zero-extended */
  setFlags(result: Expr, carries: Expr, difference?: Difference): void {
    const flags = { result: this.let(result), carries: this.let(carries), difference };
    this.b.store(32, i32(0), flags.result, FLAG_RESULT);
    this.b.store(32, i32(0), flags.carries, FLAG_CARRIES);
    this.#left = flags;
    this.#inherited = undefined;
  }

  get flagResult(): Expr {
    return this.#inherited?.result ?? this.word(FLAG_RESULT);
  }

  get flagCarries(): Expr {
    return this.#inherited?.carries ?? this.word(FLAG_CARRIES);
  }

  /** The comparison that the flags are known to come from. */
  get difference(): Difference | undefined {
    return this.#inherited?.difference;
  }

  setCarries(value: Expr): void {
    this.#left = undefined;
    this.#inherited = undefined;
    this.b.store(32, i32(0), value, FLAG_CARRIES);
  }

  /** EFLAGS.DF as the step of a string instruction in bytes. */
  get step(): Expr {
    const bytes = this.width / 8;
    return this.word(STATE_BASE + OFFSET.flagsRest)
      .and(DF)
      .select(i32(-bytes), i32(bytes));
  }

  // The end of the instruction. Each of these is the last thing on its path.

  get ended(): boolean {
    return this.#ended;
  }

  /** EIP of the next instruction. */
  nextEip(): Expr {
    return this.word(ENGINE.codeBase).add(this.field("offset")).add(this.field("length"));
  }

  next(): void {
    this.retire(this.b.record.add(RECORD_STRIDE));
  }

  /**
   * The instruction is complete, and the next one is in the same handler. After an access that left the fast path it is dispatched
   * anew: the store, or the flags that a page walk set, may have changed its bytes.
   */
  followOn(): void {
    const { b, leftFastPath } = this;
    b.assign(b.record, b.record.add(RECORD_STRIDE));
    b.assign(b.left, b.left.sub(1));
    this.#leaveAtEnd(b.record, b.left);
    if (leftFastPath !== undefined) b.if(leftFastPath, () => b.dispatch(b.record));
  }

  #leaveAtEnd(following: Expr, left: Expr): void {
    this.b.if(left.eqz(), () => {
      this.b.store(32, i32(0), following, ENGINE.current);
      this.b.leave();
    });
  }

  /** The instruction, or `count` iterations of it, is complete; `record` follows it. */
  retire(record: Expr, count: Expr | number = 1): void {
    this.#ended = true;
    const following = this.let(record);
    const left = this.let(this.b.left.sub(count));
    this.#leaveAtEnd(following, left);
    this.b.dispatch(following, left);
  }

  /** The instruction is complete; it jumps to `eip`, which is checked against the limit of CS. */
  jump(eip: Expr): void {
    this.checkTarget(eip);
    this.transfer(eip);
  }

  checkTarget(eip: Expr): void {
    if (!this.general) return;
    const limit = i32(0).load(32, segmentAddress(1) + SEGMENT_LIMIT);
    this.b.if(eip.gtU(limit), () => this.fault(GP, 0));
  }

  transfer(eip: Expr): void {
    this.#ended = true;
    this.b.store(32, i32(0), eip, RIP);
    this.retireAtEip();
  }

  retireAtEip(): void {
    this.#ended = true;
    const left = this.let(this.b.left.sub(1));
    this.#leaveAtEnd(i32(0), left);
    this.b.enter(left);
  }

  /** Target of a relative branch that is not linked. */
  relativeTarget(): Expr {
    return this.let(this.nextEip().add(this.field("immediate")).truncate(this.variant.size));
  }

  /** Takes the relative branch; `before` runs when the target is known to be good. */
  branch(before: (() => void) | undefined = undefined): void {
    if (!this.variant.linked) {
      const target = this.relativeTarget();
      this.checkTarget(target);
      before?.();
      this.transfer(target);
      return;
    }
    before?.();
    this.retire(this.field("link"));
  }

  /** Leaves the instruction to its TypeScript function; nothing of it is done yet. */
  leaveToFunction(): void {
    const left = this.let(this.b.call("slow", [this.b.record, this.b.left]));
    this.b.if(left.eqz(), () => this.b.leave());
    this.b.enter(left);
  }

  fault(vector: number, errorCode = -1): void {
    this.call("fault", [i32(vector), i32(errorCode)]);
  }
}
