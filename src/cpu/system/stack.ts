/**
 * A stack that a far transfer, an event or an IRET fills or empties before it becomes, or stops being, SS:ESP. Pushes are
 * checked one by one (segment limit, paging) and stored together, so that a fault leaves memory and registers alone.
 */

import { SS_FAULT } from "../context.ts";
import { AR_DB, ESP, SS } from "../state.ts";
import { type SystemCpu, selectorFault } from "./cpu.ts";
import { baseOf, type Descriptor, limitOf, rightsOf } from "./descriptors.ts";
import { insideSegment } from "./segments.ts";

export class Stack {
  private readonly cpu: SystemCpu;
  private readonly base: number;
  private readonly limit: number;
  private readonly rights: number;
  /** Named in the error code of a #SS; 0 for the stack that is already in SS. */
  private readonly selector: number;
  private readonly supervisor: boolean;
  /** Checked pushes; made by the first one, since most stacks are only popped from. */
  private pending: { linear: number; width: number; value: number }[] | undefined;
  /** ESP, of which only the low 16 bits count for a 16-bit stack. */
  private pointer: number;

  private constructor(
    cpu: SystemCpu,
    base: number,
    limit: number,
    rights: number,
    selector: number,
    cpl: number,
    pointer: number,
  ) {
    this.cpu = cpu;
    this.base = base;
    this.limit = limit;
    this.rights = rights;
    this.selector = selector;
    this.supervisor = cpl !== 3;
    this.pointer = pointer;
  }

  /** The stack in SS:ESP. */
  static current(cpu: SystemCpu): Stack {
    const { state } = cpu;
    const rights = state.accessRights(SS);
    return new Stack(cpu, state.segmentBase(SS), state.limit(SS), rights, 0, state.cpl, state.gpr(ESP));
  }

  /** A stack for privilege level `cpl` that is about to be switched to. */
  static of(cpu: SystemCpu, descriptor: Descriptor, pointer: number, cpl: number): Stack {
    const rights = rightsOf(descriptor);
    return new Stack(cpu, baseOf(descriptor), limitOf(descriptor), rights, descriptor.selector, cpl, pointer);
  }

  /** Checks and remembers one push of 2 or 4 bytes. */
  push(width: number, value: number): void {
    this.advance(-width);
    const linear = this.address(width);
    this.cpu.probeLinear(linear, width, true, this.supervisor);
    this.pending ??= [];
    this.pending.push({ linear, width, value });
  }

  /** A push that is alone in its instruction: stored at once, the pointer written back, or a fault with nothing done. */
  pushAlone(width: number, value: number): void {
    this.advance(-width);
    this.cpu.writeLinear(this.address(width), width, value, this.supervisor);
    this.commitPointer();
  }

  /** Stores what was pushed; cannot fault. */
  store(): void {
    for (const { linear, width, value } of this.pending ?? []) {
      this.cpu.writeLinear(linear, width, value, this.supervisor);
    }
    this.pending = undefined;
  }

  pop(width: number): number {
    const value = this.cpu.readLinear(this.address(width), width, this.supervisor);
    this.advance(width);
    return value;
  }

  /** Drops `bytes` bytes (RET n). */
  skip(bytes: number): void {
    this.advance(bytes);
  }

  /** Writes the stack pointer back: all of ESP, or SP when the stack is a 16-bit one. */
  commitPointer(): void {
    const { state } = this.cpu;
    if (this.big) state.setGpr(ESP, this.pointer);
    else state.setGpr16(ESP, this.pointer);
  }

  private get big(): boolean {
    return (this.rights & AR_DB) !== 0;
  }

  private advance(bytes: number): void {
    this.pointer = (this.pointer + bytes) >>> 0;
  }

  /** Linear address of `width` bytes at the top of the stack. */
  private address(width: number): number {
    const offset = this.big ? this.pointer : this.pointer & 0xffff;
    if (!insideSegment(this.rights, this.limit, offset, width)) throw selectorFault(this.cpu, SS_FAULT, this.selector);
    return (this.base + offset) >>> 0;
  }
}
