// Part: what an instruction's semantics see.
// A Context builds one handler: it hands out operands (operands.ts), memory (memory.ts), the stack, flags and the ways to end an instruction as
// expressions over the decoded record (layout.ts). Everything before the first store may fault, and a fault leaves the
// instruction restartable, so semantics compute first and commit last.

import { GP } from "../context.ts";
import { Builder, type Expr, i32, type Width } from "../ir.ts";
import { ENGINE, RECORD_STRIDE, STATE_BASE, segmentAddress } from "../layout.ts";
import type { Opcode } from "../opcodes.ts";
import { DF, ESP, OFFSET, SS } from "../state.ts";
import { SEGMENT_LIMIT } from "./memory.ts";
import { OperandContext, type Variant } from "./operands.ts";

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

export class Context extends OperandContext {
  #ended = false;
  /** The flags that the instruction before this one in the same handler left. */
  #inherited: KnownFlags | undefined;
  #left: KnownFlags | undefined;

  /** @param previous the first instruction of a handler of two, of which this is the second */
  constructor(opcode: Opcode, variant: Variant, previous?: Context) {
    super(previous?.b ?? new Builder(), opcode, variant);
    if (previous !== undefined) this.#inherited = previous.#left;
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
