// Part: where everything lies in the processor's one WebAssembly.Memory (the arena).
// Null page, state block, software TLB, jump cache, decoded records, host-physical memory, the map of decoded bytes. Handlers compiled to
// WebAssembly address all of it with 32-bit numbers that are fixed here; TypeScript sees the same bytes through views.

import type { LinearMemory } from "../core/memory.ts";
import { OFFSET, SEGMENT_STRIDE, STATE_SIZE } from "./state.ts";

/** The state block (state.ts). Address 0 stays unused, so that 0 can mean "no address". */
export const STATE_BASE = 0x1000;

/** Software TLB: direct mapped, one half for CPL 0 to 2, one for CPL 3, and one that stays empty (see tlb.ts). */
export const TLB_ENTRIES = 1024;
export const TLB_STRIDE = 32;
const TLB_HALF_SIZE = TLB_ENTRIES * TLB_STRIDE;
export const TLB_SUPERVISOR = 0x1_0000;
export const TLB_USER = TLB_SUPERVISOR + TLB_HALF_SIZE;
/** Selected when every access has to take the slow path: alignment checks are on, or the hypervisor emulates. */
export const TLB_EMPTY = TLB_USER + TLB_HALF_SIZE;

/** Offsets in a TLB entry. A tag is the linear page address, or {@link NO_TAG}. */
export const TLB = {
  readTag: 0,
  writeTag: 4,
  executeTag: 8,
  /** Arena address minus linear address. */
  addend: 12,
  /** Host-physical page address. */
  physical: 16,
  /** What the walk permitted, see tlb.ts; 0 in an empty entry. */
  flags: 20,
  /** The linear page that the entry is about. */
  linear: 24,
  /** As `writeTag`, for a page that holds decoded code: a store has to look at the map of decoded bytes. */
  codeTag: 28,
} as const;

/** Never equal to a page address. */
export const NO_TAG = 1;

/** Jump cache: (host-physical address, mode) to decoded record, direct mapped. */
export const JUMP_ENTRIES = 16_384;
export const JUMP_STRIDE = 16;
export const JUMP_BASE = 0x4_0000;
export const JUMP = { physical: 0, mode: 4, record: 8 } as const;

/** Decoded records: first the scratch records of instructions that are not kept, then the arena proper. */
export const RECORD_STRIDE = 64;
export const SCRATCH_RECORD = 0x9_0000;
export const RECORD_BASE = 0x10_0000;
export const RECORD_END = RECORD_BASE + 16 * 1024 * 1024;

/** Host-physical address 0; 64 KiB aligned. */
export const RAM_BASE = RECORD_END;
const WASM_PAGE = 0x1_0000;

/** Offsets in a decoded record; words of 32 bits. Register operands are arena addresses inside the state block. */
export const RECORD = {
  /** Index of the handler in the table. */
  handler: 0,
  /** Offset of the instruction in its code page. */
  offset: 4,
  /** Bytes, prefixes included. */
  length: 8,
  /** Register operands: the one named by r/m (or fixed by the opcode) and the one named by reg. */
  destination: 12,
  source: 16,
  /** The memory operand: ((base + (index << shift) + displacement) & mask) in the segment whose block is `segment`. */
  base: 20,
  index: 24,
  shift: 28,
  displacement: 32,
  immediate: 36,
  segment: 40,
  mask: 44,
  /**
   * The record that a taken jump inside the page leads to: the jump's own stub before its first use. In a `cross` record
   * that of the whole instruction, which is good while the second page is at the host-physical address in `immediate`.
   */
  link: 48,
  /** opcode (16 bits) | ModRM << 16 | {@link RECORD_BITS} << 24. */
  opcode: 52,
  immediate2: 56,
  /** Index into the table of slow functions. */
  slow: 60,
} as const;

/**
 * A jump inside the page uses the words from here on as a second record, which finds the target and is the target for as long: its
 * handler and its offset lie in `destination` and `source`, which no jump has.
 */
export const STUB = RECORD.destination;

export const RECORD_BITS = {
  operand32: 1,
  address32: 2,
  repne: 4,
  rep: 8,
  lock: 16,
  modrm: 32,
} as const;

/** The engine's own words in the state block. */
const engine = STATE_BASE + OFFSET.engine;
export const ENGINE = {
  /** Linear address of the page that instructions are being fetched from, or {@link NO_TAG}. */
  codeLinear: engine,
  /** Its host-physical address. */
  codePhysical: engine + 4,
  /** EIP of its first byte: codeLinear − CS.base. */
  codeBase: engine + 8,
  /** Decoding mode in the current code page, see {@link MODE}. */
  mode: engine + 12,
  /** The half of the TLB in use. */
  tlb: engine + 16,
  /** After a run: the record of the next instruction, or 0 when state.eip holds it. */
  current: engine + 20,
  /** Decoding mode in pages that lie in the code segment as a whole. */
  baseMode: engine + 24,
  /** One more than the greatest `codeBase` of such a page (unsigned), 0 when there is none. */
  codeBaseEnd: engine + 28,
  /** Bits of EFLAGS that end the run when an instruction sets them: IF, if an event may wait for it. */
  awaitedFlags: engine + 32,
  /** Arena address of the map of decoded bytes: one bit for each byte of host-physical memory. */
  codeMap: engine + 40,
  /** Not 0 after an import found a fault or a VM exit: the handler leaves, with nothing of the instruction done. */
  stopped: engine + 36,
} as const;

/** Bits of the decoding mode: what besides the bytes decides how an instruction is decoded. */
export const MODE = {
  /** CS.D: 32-bit operands and addresses. */
  code32: 1,
  /** SS.B: the stack pointer is ESP. */
  stack32: 2,
  /** Some of CS, DS, ES, SS is not flat, so operands are checked and relocated. */
  general: 4,
  /** Real or virtual-8086 mode: some opcodes of protected mode do not exist. */
  legacy: 8,
  /** The page begins before the code segment, so that a branch in it may wrap round: none is linked. */
  unlinked: 16,
} as const;

/** Arena address of general register `index`. */
export function registerAddress(index: number): number {
  return STATE_BASE + OFFSET.gpr + 8 * index;
}

/** Arena address of an 8-bit register by encoding: AL CL DL BL AH CH DH BH. */
export function register8Address(index: number): number {
  return registerAddress(index & 3) + (index >>> 2);
}

export function segmentAddress(segment: number): number {
  return STATE_BASE + OFFSET.segment + SEGMENT_STRIDE * segment;
}

export const ZERO_ADDRESS = STATE_BASE + OFFSET.zero;

/** Where the map of decoded bytes is: behind host-physical memory, whose size is a multiple of 8. */
export function codeMapBase(ramBytes: number): number {
  return RAM_BASE + ramBytes;
}

/** Whoever looks at the map's last byte reads two. */
const CODE_MAP_END = 1;

/** Bytes of the arena for `ramBytes` of host-physical memory. */
export function arenaSize(ramBytes: number): number {
  return codeMapBase(ramBytes) + ramBytes / 8 + CODE_MAP_END;
}

/** A memory for a processor with `ramBytes` of host-physical memory; it never grows, so views of it stay valid. */
export function createArena(ramBytes: number): LinearMemory {
  const pages = Math.ceil(arenaSize(ramBytes) / WASM_PAGE);
  return new WebAssembly.Memory({ initial: pages, maximum: pages });
}

/** Bytes of state that precede the engine's own words. */
export const ARCHITECTURAL_STATE_SIZE = OFFSET.engine;
export { STATE_SIZE };
