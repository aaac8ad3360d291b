// Part: instructions of user programs that are rare or long and so are plain functions (Intel SDM Vol. 2).

import { BR, type Cpu, DE, GP, type Instruction, UD } from "./context.ts";
import { AF, AR_DB, CF, EAX, EBP, EBX, ECX, EDX, ESP, OF, PF, SF, SS, ZF } from "./state.ts";

type SlowFunction = (cpu: Cpu, insn: Instruction) => void;

function stackMask(cpu: Cpu): number {
  return (cpu.state.accessRights(SS) & AR_DB) !== 0 ? 0xffff_ffff : 0xffff;
}

function setStackPointer(cpu: Cpu, value: number): void {
  if (stackMask(cpu) === 0xffff) cpu.state.setGpr16(ESP, value);
  else cpu.state.setGpr(ESP, value);
}

/** Writes slots of `width` bytes upwards from `top`; a 16-bit stack may wrap round between two slots, not inside one. */
function writeStackBlock(cpu: Cpu, top: number, bytes: Uint8Array, width: number): void {
  const before = stackMask(cpu) + 1 - top;
  if (before >= bytes.length || before % width !== 0) {
    cpu.writeBytes(SS, top, bytes);
    return;
  }
  // Both parts are checked before one is stored.
  const rest = bytes.subarray(before);
  cpu.readBytes(SS, 0, rest.length);
  cpu.probeLinear(cpu.state.segmentBase(SS), rest.length, true, false);
  cpu.writeBytes(SS, top, bytes.subarray(0, before));
  cpu.writeBytes(SS, 0, rest);
}

/** The frame is composed first, so that a fault leaves the stack as it was. */
function enter(cpu: Cpu, insn: Instruction): void {
  const { state } = cpu;
  const width = insn.operandSize >>> 3;
  const mask = stackMask(cpu);
  const level = insn.immediate2 & 31;
  const frame = ((state.gpr(ESP) & mask) - width) & mask;
  const words = [state.gpr(EBP)];
  for (let index = 1; index < level; index++) {
    words.push(cpu.read(SS, ((state.gpr(EBP) - index * width) & mask) >>> 0, width));
  }
  if (level > 0) words.push(frame);
  const bytes = new Uint8Array(words.length * width);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) {
    const at = bytes.length - (index + 1) * width;
    if (width === 4) view.setUint32(at, word, true);
    else view.setUint16(at, word & 0xffff, true);
  }
  const top = ((frame + width - bytes.length) & mask) >>> 0;
  const end = ((top - insn.immediate) & mask) >>> 0;
  writeStackBlock(cpu, top, bytes, width);
  if (insn.operandSize === 16 || mask === 0xffff) state.setGpr16(EBP, frame);
  else state.setGpr(EBP, frame);
  setStackPointer(cpu, end);
}

function bound(cpu: Cpu, insn: Instruction): void {
  const width = insn.operandSize >>> 3;
  const offset = cpu.effectiveOffset();
  const shift = 32 - insn.operandSize;
  const mask = insn.addressSize === 32 ? 0xffff_ffff : 0xffff;
  const index = (cpu.state.gpr((insn.modrm >> 3) & 7) << shift) >> shift;
  const lower = (cpu.read(insn.segment, offset, width) << shift) >> shift;
  const upper = (cpu.read(insn.segment, ((offset + width) & mask) >>> 0, width) << shift) >> shift;
  if (index < lower || index > upper) throw cpu.fault(BR);
}

function cmpxchg8b(cpu: Cpu, insn: Instruction): void {
  const { state } = cpu;
  const bytes = cpu.readBytes(insn.segment, cpu.effectiveOffset(), 8);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const low = view.getUint32(0, true);
  const high = view.getUint32(4, true);
  const equal = low === state.gpr(EAX) && high === state.gpr(EDX);
  if (equal) {
    view.setUint32(0, state.gpr(EBX), true);
    view.setUint32(4, state.gpr(ECX), true);
  }
  // The destination is written either way.
  cpu.writeBytes(insn.segment, cpu.effectiveOffset(), bytes);
  if (!equal) {
    state.setGpr(EAX, low);
    state.setGpr(EDX, high);
  }
  state.eflags = equal ? state.eflags | ZF : state.eflags & ~ZF;
}

/** SF, ZF and PF of a byte. */
function resultFlags(value: number): number {
  let parity = value ^ (value >>> 4);
  parity ^= parity >>> 2;
  parity ^= parity >>> 1;
  return ((value & 0x80) !== 0 ? SF : 0) | (value === 0 ? ZF : 0) | ((parity & 1) === 0 ? PF : 0);
}

const STATUS = CF | PF | AF | ZF | SF | OF;

function setStatus(cpu: Cpu, flags: number): void {
  cpu.state.eflags = (cpu.state.eflags & ~STATUS) | flags;
}

/** DAA and DAS: `sign` is 1 or −1. */
function decimalAdjust(cpu: Cpu, sign: 1 | -1): void {
  const { state } = cpu;
  const old = state.gpr8(EAX);
  const flags = state.eflags;
  const oldCarry = flags & CF;
  const adjust = (old & 0xf) > 9 || (flags & AF) !== 0;
  let value = adjust ? old + 6 * sign : old;
  // DAS keeps a borrow of this step; DAA's carry is decided by the next one alone.
  let carry = sign < 0 && adjust && (oldCarry !== 0 || value < 0) ? CF : 0;
  if (old > 0x99 || oldCarry !== 0) {
    value += 0x60 * sign;
    carry = CF;
  }
  state.setGpr8(EAX, value);
  setStatus(cpu, resultFlags(value & 0xff) | (adjust ? AF : 0) | carry);
}

/** AAA and AAS: SF, ZF, PF and OF are undefined; they are those of the result. */
function asciiAdjust(cpu: Cpu, sign: 1 | -1): void {
  const { state } = cpu;
  const flags = state.eflags;
  const adjust = (state.gpr8(EAX) & 0xf) > 9 || (flags & AF) !== 0;
  if (adjust) state.setGpr16(EAX, (state.gpr(EAX) & 0xffff) + 0x106 * sign);
  state.setGpr8(EAX, state.gpr8(EAX) & 0xf);
  setStatus(cpu, resultFlags(state.gpr8(EAX)) | (adjust ? AF | CF : 0));
}

export const USER_INSTRUCTIONS: Readonly<Record<string, SlowFunction>> = {
  enter,
  bound,
  cmpxchg8b,
  daa: (cpu) => decimalAdjust(cpu, 1),
  das: (cpu) => decimalAdjust(cpu, -1),
  aaa: (cpu) => asciiAdjust(cpu, 1),
  aas: (cpu) => asciiAdjust(cpu, -1),
  aam: (cpu, insn) => {
    const base = insn.immediate & 0xff;
    if (base === 0) throw cpu.fault(DE);
    const value = cpu.state.gpr8(EAX);
    const low = value % base;
    cpu.state.setGpr16(EAX, (((value - low) / base) << 8) | low);
    setStatus(cpu, resultFlags(low));
  },
  aad: (cpu, insn) => {
    const { state } = cpu;
    const value = (state.gpr8(EAX) + state.gpr8(4) * (insn.immediate & 0xff)) & 0xff;
    state.setGpr16(EAX, value);
    setStatus(cpu, resultFlags(value));
  },
  /** Longer than 15 bytes (SDM Vol. 3 table 6-2). */
  too_long: (cpu) => {
    throw cpu.fault(GP, 0);
  },
  ud: (cpu) => {
    throw cpu.fault(UD);
  },
};
