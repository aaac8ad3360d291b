/**
 * The processor's architectural state as plain data in WebAssembly memory.
 *
 * Intel SDM Vol. 1 §3.4, Vol. 3 §2. Every general register is an 8-byte slot, so that long mode needs no second
 * processor; today the upper halves stay zero. Handlers in WebAssembly and slow functions in TypeScript read and write
 * the same bytes. Segment registers hold the VMX access-rights format (SDM Vol. 3 §25.4.1, "Access rights"), so that
 * entering and leaving VMX non-root operation copies nothing it has to translate.
 */

import type { LinearMemory } from "../core/memory.ts";

/** Bytes reserved for the state block. */
export const STATE_SIZE = 4096;

/** General registers in encoding order (SDM Vol. 2 table 2-2). */
export const EAX = 0;
export const ECX = 1;
export const EDX = 2;
export const EBX = 3;
export const ESP = 4;
export const EBP = 5;
export const ESI = 6;
export const EDI = 7;

/** Segment registers in encoding order, then the two system segments. */
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;
export const LDTR = 6;
export const TR = 7;

/** EFLAGS bits (SDM Vol. 1 §3.4.3). */
export const CF = 1 << 0;
export const PF = 1 << 2;
export const AF = 1 << 4;
export const ZF = 1 << 6;
export const SF = 1 << 7;
export const TF = 1 << 8;
export const IF = 1 << 9;
export const DF = 1 << 10;
export const OF = 1 << 11;
export const IOPL = 3 << 12;
export const NT = 1 << 14;
export const RF = 1 << 16;
export const VM = 1 << 17;
export const AC = 1 << 18;
export const VIF = 1 << 19;
export const VIP = 1 << 20;
export const ID = 1 << 21;
export const ARITHMETIC_FLAGS = CF | PF | AF | ZF | SF | OF;

/** Control register bits (SDM Vol. 3 §2.5). */
export const CR0_PE = 1 << 0;
export const CR0_MP = 1 << 1;
export const CR0_EM = 1 << 2;
export const CR0_TS = 1 << 3;
export const CR0_ET = 1 << 4;
export const CR0_NE = 1 << 5;
export const CR0_WP = 1 << 16;
export const CR0_AM = 1 << 18;
export const CR0_NW = 1 << 29;
export const CR0_CD = 1 << 30;
export const CR0_PG = 1 << 31;
export const CR4_VME = 1 << 0;
export const CR4_PVI = 1 << 1;
export const CR4_TSD = 1 << 2;
export const CR4_DE = 1 << 3;
export const CR4_PSE = 1 << 4;
export const CR4_PAE = 1 << 5;
export const CR4_MCE = 1 << 6;
export const CR4_PGE = 1 << 7;
export const CR4_PCE = 1 << 8;
export const CR4_OSFXSR = 1 << 9;
export const CR4_OSXMMEXCPT = 1 << 10;
export const CR4_VMXE = 1 << 13;

/** Access rights in VMX format (SDM Vol. 3 table 25-2). */
export const AR_TYPE = 0xf;
export const AR_S = 1 << 4;
export const AR_DPL_SHIFT = 5;
export const AR_P = 1 << 7;
export const AR_AVL = 1 << 12;
export const AR_L = 1 << 13;
export const AR_DB = 1 << 14;
export const AR_G = 1 << 15;
export const AR_UNUSABLE = 1 << 16;

/** Interruptibility state (SDM Vol. 3 table 25-3). */
export const BLOCKING_BY_STI = 1 << 0;
export const BLOCKING_BY_MOV_SS = 1 << 1;
export const BLOCKING_BY_SMI = 1 << 2;
export const BLOCKING_BY_NMI = 1 << 3;

/** Activity states (SDM Vol. 3 §25.4.2). */
export const ACTIVE = 0;
export const HLT = 1;
export const SHUTDOWN = 2;
export const WAIT_FOR_SIPI = 3;

/**
 * Byte offsets in the state block. Registers that are 64 bits wide architecturally have 8-byte slots; the rest are
 * 32-bit words.
 */
export const OFFSET = {
  gpr: 0,
  rip: 128,
  /** Always zero: the base or index register of an address that has none. */
  zero: 136,
  /** Lazy arithmetic flags: the sign-extended result and the carry-out vector, see {@link ProcessorState.eflags}. */
  flagResult: 144,
  flagCarries: 148,
  /** EFLAGS without the six arithmetic flags; bit 1 is always set. */
  flagsRest: 152,
  cpl: 156,
  interruptibility: 160,
  activity: 164,
  /** Pending debug exceptions in DR6's format (SDM Vol. 3 table 25-4). */
  pendingDebug: 168,
  /** 8 × 32 bytes: selector, access rights, limit in bytes, reserved, base (8 bytes), reserved. */
  segment: 256,
  cr0: 512,
  cr2: 520,
  cr3: 528,
  cr4: 536,
  dr: 544,
  gdtrBase: 608,
  gdtrLimit: 616,
  idtrBase: 624,
  idtrLimit: 632,
  sysenterCs: 640,
  sysenterEsp: 648,
  sysenterEip: 656,
  efer: 664,
  pat: 672,
  /** Four PDPTEs of PAE paging, loaded by MOV CR3 and VM entry (SDM Vol. 3 §4.4.1). */
  pdpte: 680,
  /** Written by the execution engine; private to it. */
  engine: 1024,
} as const;

export const SEGMENT_STRIDE = 32;

/** Typed view of the state block at `base` of `memory`. All numbers are unsigned 32-bit unless stated otherwise. */
export class ProcessorState {
  readonly words: Uint32Array;
  readonly base: number;

  constructor(memory: LinearMemory, base: number) {
    this.base = base;
    this.words = new Uint32Array(memory.buffer, base, STATE_SIZE / 4);
  }

  /** The word at byte offset `offset` of the block. */
  get(offset: number): number {
    return this.words[offset >>> 2] as number;
  }

  set(offset: number, value: number): void {
    this.words[offset >>> 2] = value;
  }

  /** 64-bit slot as a BigInt; only for registers that need it (MSRs, PDPTEs). */
  get64(offset: number): bigint {
    return (BigInt(this.get(offset + 4)) << 32n) | BigInt(this.get(offset));
  }

  set64(offset: number, value: bigint): void {
    this.set(offset, Number(value & 0xffff_ffffn));
    this.set(offset + 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  gpr(index: number): number {
    return this.words[index << 1] as number;
  }

  setGpr(index: number, value: number): void {
    this.words[index << 1] = value;
  }

  /** Low 16 bits of a general register; the upper ones are kept. */
  setGpr16(index: number, value: number): void {
    this.words[index << 1] = ((this.words[index << 1] as number) & 0xffff_0000) | (value & 0xffff);
  }

  /** 8-bit register by encoding: AL CL DL BL AH CH DH BH. */
  gpr8(index: number): number {
    const word = this.words[(index & 3) << 1] as number;
    return index < 4 ? word & 0xff : (word >>> 8) & 0xff;
  }

  setGpr8(index: number, value: number): void {
    const slot = (index & 3) << 1;
    const word = this.words[slot] as number;
    this.words[slot] = index < 4 ? (word & 0xffff_ff00) | (value & 0xff) : (word & 0xffff_00ff) | ((value & 0xff) << 8);
  }

  get eip(): number {
    return this.get(OFFSET.rip);
  }

  set eip(value: number) {
    this.set(OFFSET.rip, value);
  }

  get cpl(): number {
    return this.get(OFFSET.cpl);
  }

  set cpl(value: number) {
    this.set(OFFSET.cpl, value);
  }

  get cr0(): number {
    return this.get(OFFSET.cr0);
  }

  set cr0(value: number) {
    this.set(OFFSET.cr0, value);
  }

  get cr3(): number {
    return this.get(OFFSET.cr3);
  }

  set cr3(value: number) {
    this.set(OFFSET.cr3, value);
  }

  get cr4(): number {
    return this.get(OFFSET.cr4);
  }

  set cr4(value: number) {
    this.set(OFFSET.cr4, value);
  }

  dr(index: number): number {
    return this.get(OFFSET.dr + 8 * index);
  }

  setDr(index: number, value: number): void {
    this.set(OFFSET.dr + 8 * index, value);
  }

  selector(segment: number): number {
    return this.get(OFFSET.segment + SEGMENT_STRIDE * segment);
  }

  setSelector(segment: number, value: number): void {
    this.set(OFFSET.segment + SEGMENT_STRIDE * segment, value & 0xffff);
  }

  accessRights(segment: number): number {
    return this.get(OFFSET.segment + SEGMENT_STRIDE * segment + 4);
  }

  setAccessRights(segment: number, value: number): void {
    this.set(OFFSET.segment + SEGMENT_STRIDE * segment + 4, value);
  }

  /** Limit in bytes (granularity already applied): the last valid offset of an expand-up segment. */
  limit(segment: number): number {
    return this.get(OFFSET.segment + SEGMENT_STRIDE * segment + 8);
  }

  setLimit(segment: number, value: number): void {
    this.set(OFFSET.segment + SEGMENT_STRIDE * segment + 8, value);
  }

  segmentBase(segment: number): number {
    return this.get(OFFSET.segment + SEGMENT_STRIDE * segment + 16);
  }

  setSegmentBase(segment: number, value: number): void {
    this.set(OFFSET.segment + SEGMENT_STRIDE * segment + 16, value);
  }

  /** Blocking by STI, MOV SS, SMI, NMI. */
  get interruptibility(): number {
    return this.get(OFFSET.interruptibility);
  }

  set interruptibility(value: number) {
    this.set(OFFSET.interruptibility, value);
  }

  get activity(): number {
    return this.get(OFFSET.activity);
  }

  set activity(value: number) {
    this.set(OFFSET.activity, value);
  }

  get pendingDebug(): number {
    return this.get(OFFSET.pendingDebug);
  }

  set pendingDebug(value: number) {
    this.set(OFFSET.pendingDebug, value);
  }

  /** EFLAGS without the arithmetic flags; cheap. Test IF, DF, VM, IOPL, TF, NT here. */
  get flagsRest(): number {
    return this.get(OFFSET.flagsRest);
  }

  set flagsRest(value: number) {
    this.set(OFFSET.flagsRest, (value & ~ARITHMETIC_FLAGS) | 2);
  }

  /**
   * The whole EFLAGS, with the arithmetic flags worked out of the lazy form: `flagResult` is the operation's result
   * sign-extended to 32 bits; in `flagCarries` bit 31 is the carry out of the operand's top bit, bit 30 the carry into
   * it (OF is their difference), bit 3 the carry out of bit 3, bits 15:8 are XORed into the result's low byte before
   * parity is taken, bit 0 is XORed into the sign. The last two exist so that any flag combination can be stored.
   */
  get eflags(): number {
    const result = this.get(OFFSET.flagResult);
    const carries = this.get(OFFSET.flagCarries);
    let parity = (result ^ (carries >>> 8)) & 0xff;
    parity ^= parity >>> 4;
    return (
      this.flagsRest |
      (carries >>> 31) |
      (((0x9669 >>> (parity & 15)) & 1) << 2) |
      (((carries >>> 3) & 1) << 4) |
      (result === 0 ? ZF : 0) |
      (((result >>> 31) ^ (carries & 1)) << 7) |
      (((carries >>> 31) ^ ((carries >>> 30) & 1)) << 11)
    );
  }

  set eflags(value: number) {
    this.flagsRest = value;
    const carry = value & CF;
    const overflow = (value >>> 11) & 1;
    const zero = (value & ZF) !== 0;
    this.set(OFFSET.flagResult, zero ? 0 : 0x100);
    this.set(
      OFFSET.flagCarries,
      (carry << 31) |
        ((carry ^ overflow) << 30) |
        (((value >>> 4) & 1) << 3) |
        ((value & PF) === 0 ? 0x100 : 0) |
        ((value >>> 7) & 1),
    );
  }
}
