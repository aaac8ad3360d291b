// Part: memory as handlers reach it: segment checks and the fast path of the software TLB, inline in every handler.

import { type Builder, type CallName, type Expr, i32, type Width } from "../ir.ts";
import { ENGINE, TLB, TLB_ENTRIES, TLB_STRIDE } from "../layout.ts";
import { AR_UNUSABLE } from "../state.ts";

/** A memory operand that is read, then written. */
export interface Modification {
  readonly value: Expr;
  write(value: Expr): void;
}

const SEGMENT_RIGHTS = 4;
export const SEGMENT_LIMIT = 8;
const SEGMENT_BASE = 16;
/** Access-rights type bits of a data segment: expand-down, writable; and bit 3, code (SDM Vol. 3 table 3-1). */
const TYPE_WRITABLE = 2;
const TYPE_EXPAND_DOWN = 4;
const TYPE_CODE = 8;
const PAGE_MASK = ~0xfff;
const TLB_STRIDE_BITS = 31 - Math.clz32(TLB_STRIDE);
/** Shifts a linear address so that its page number counts TLB entries. */
const TLB_SHIFT = 12 - TLB_STRIDE_BITS;
const TLB_INDEX_MASK = (TLB_ENTRIES - 1) << TLB_STRIDE_BITS;

/** Arena address of the TLB entry that `linear` can be in. */
export function tlbEntry(b: Builder, linear: Expr): Expr {
  return b.let(linear.shrU(TLB_SHIFT).and(TLB_INDEX_MASK).add(i32(0).load(32, ENGINE.tlb)));
}

/** Builds the memory accesses of one handler. */
export class MemoryContext {
  readonly b: Builder;
  /** A local that is not 0 after an access has left the fast path; undefined when none can. */
  protected leftFastPath: Expr | undefined;

  constructor(b: Builder) {
    this.b = b;
  }

  let(value: Expr): Expr {
    return this.b.let(value);
  }

  /** The 32-bit word at an arena address. */
  word(address: number): Expr {
    return i32(0).load(32, address);
  }

  /** Linear address of `offset` in the segment whose block is at `segment`, checked (SDM Vol. 3 §5.3). */
  inSegment(segment: Expr, offset: Expr, width: Width, write: boolean): Expr {
    const rights = segment.load(32, SEGMENT_RIGHTS);
    const limit = this.let(segment.load(32, SEGMENT_LIMIT));
    const mask = AR_UNUSABLE | TYPE_CODE | TYPE_EXPAND_DOWN | (write ? TYPE_WRITABLE : 0);
    let refused = rights
      .and(mask)
      .ne(write ? TYPE_WRITABLE : 0)
      .or(offset.gtU(limit));
    if (width > 8) refused = refused.or(limit.sub(offset).ltU(width / 8 - 1));
    this.b.if(refused, () => {
      this.call("checkSegment", [segment, offset, i32(width / 8), i32(write ? 1 : 0)]);
    });
    return this.let(segment.load(32, SEGMENT_BASE).add(offset));
  }

  // Memory by linear address.

  call(name: CallName, args: Expr[]): Expr {
    this.leftFastPath ??= this.b.local("i32");
    this.b.assign(this.leftFastPath, i32(1));
    return this.b.call(name, [...args, this.b.record, this.b.left]);
  }

  #tlbEntry(linear: Expr): Expr {
    return tlbEntry(this.b, linear);
  }

  /** Whether no byte of the access leaves the page that the tag names. */
  #hits(linear: Expr, width: Width, tag: Expr): Expr {
    return linear
      .add(width / 8 - 1)
      .and(PAGE_MASK)
      .eq(tag);
  }

  /** For accesses inside the page of `linear`: whether the tag permits the fast path, and the arena address. */
  inPage(linear: Expr, write: boolean): { permitted: Expr; address: Expr } {
    const entry = this.#tlbEntry(linear);
    const tag = entry.load(32, write ? TLB.writeTag : TLB.readTag);
    return { permitted: this.#hits(linear, 8, tag), address: linear.add(entry.load(32, TLB.addend)) };
  }

  read(width: Width, address: Expr): Expr {
    const linear = this.let(address);
    const entry = this.#tlbEntry(linear);
    const value = this.b.variable(i32(0));
    this.b.if(
      this.#hits(linear, width, entry.load(32, TLB.readTag)),
      () => this.b.assign(value, linear.add(entry.load(32, TLB.addend)).load(width)),
      () => this.b.assign(value, this.call("read", [linear, i32(width / 8)])),
    );
    return value;
  }

  write(width: Width, address: Expr, value: Expr): void {
    const linear = this.let(address);
    const stored = this.let(value);
    const entry = this.#tlbEntry(linear);
    this.b.if(
      this.#hits(linear, width, entry.load(32, TLB.writeTag)),
      () => this.b.store(width, linear.add(entry.load(32, TLB.addend)), stored),
      () => this.call("store", [linear, i32(width / 8), stored]),
    );
  }

  modifyMemory(width: Width, address: Expr): Modification {
    const linear = this.let(address);
    const entry = this.#tlbEntry(linear);
    const value = this.b.variable(i32(0));
    /** Arena address of the operand, 0 when the write has to go through TypeScript. */
    const place = this.b.variable(i32(0));
    this.b.if(
      this.#hits(linear, width, entry.load(32, TLB.writeTag)),
      () => {
        this.b.assign(place, linear.add(entry.load(32, TLB.addend)));
        this.b.assign(value, place.load(width));
      },
      () => this.b.assign(value, this.call("loadForStore", [linear, i32(width / 8)])),
    );
    return {
      value,
      write: (result) => {
        const stored = this.let(result);
        this.b.if(
          place,
          () => this.b.store(width, place, stored),
          () => this.call("store", [linear, i32(width / 8), stored]),
        );
      },
    };
  }
}
