/**
 * The VM-exit instruction information and exit qualification of instructions that exit with a ModRM operand. SDM Vol. 3
 * §28.2.1, tables 28-9 to 28-14. The ModRM, SIB and displacement bytes are read again from the code.
 */

import type { Instruction } from "../context.ts";
import { CS } from "../state.ts";
import type { SystemCpu } from "./cpu.ts";
import { isRegister, rmField } from "./operands.ts";

const PREFIXES: ReadonlySet<number> = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

const ADDRESS_32 = 1 << 7;
const REGISTER_OPERAND = 1 << 10;
const INDEX_INVALID = 1 << 22;
const BASE_INVALID = 1 << 27;

/** Base and index registers of 16-bit addressing by r/m (SDM Vol. 2 table 2-1); −1 for none. */
const ADDRESSING_16: readonly (readonly [base: number, index: number])[] = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, -1],
  [7, -1],
  [5, -1],
  [3, -1],
];

export interface OperandInformation {
  /** Scaling, address size, segment, index and base in the common places; for a register, bit 10 and Reg1 in bits 6:3. */
  information: number;
  /** Unsigned 32-bit displacement, the exit qualification; 0 for a register. */
  displacement: number;
}

export function describeOperand(cpu: SystemCpu, insn: Instruction): OperandInformation {
  if (isRegister(insn)) return { information: REGISTER_OPERAND | (rmField(insn) << 3), displacement: 0 };
  const wide = insn.addressSize === 32;
  const common = (wide ? ADDRESS_32 : 0) | (insn.segment << 15);
  const at = modrmOffset(cpu, insn);
  const { information, displacement } = wide ? describe32(cpu, insn, at) : describe16(cpu, insn, at);
  return { information: common | information, displacement };
}

/** A byte of the instruction's code. */
function codeByte(cpu: SystemCpu, insn: Instruction, offset: number): number {
  return cpu.readLinear((cpu.state.segmentBase(CS) + insn.eip + offset) >>> 0, 1, true);
}

/** A little-endian signed displacement of 0, 1, 2 or 4 bytes, as unsigned 32 bits. */
function readDisplacement(cpu: SystemCpu, insn: Instruction, offset: number, length: number): number {
  let value = 0;
  for (let index = 0; index < length; index++) value |= codeByte(cpu, insn, offset + index) << (8 * index);
  const unused = 32 - 8 * length;
  return length === 0 ? 0 : ((value << unused) >> unused) >>> 0;
}

/** Offset of the ModRM byte: after the prefixes and an opcode of one, two or three bytes. */
function modrmOffset(cpu: SystemCpu, insn: Instruction): number {
  let offset = 0;
  while (offset < insn.length && PREFIXES.has(codeByte(cpu, insn, offset))) offset++;
  if (codeByte(cpu, insn, offset) !== 0x0f) return offset + 1;
  return codeByte(cpu, insn, offset + 1) === 0x38 ? offset + 3 : offset + 2;
}

function describe16(cpu: SystemCpu, insn: Instruction, at: number): OperandInformation {
  const mod = insn.modrm >>> 6;
  const absolute = mod === 0 && rmField(insn) === 6;
  const [base, index] = absolute ? [-1, -1] : (ADDRESSING_16[rmField(insn)] ?? [-1, -1]);
  const length = absolute ? 2 : mod;
  return {
    information: registerFields(base, index, 0),
    displacement: readDisplacement(cpu, insn, at + 1, length),
  };
}

function describe32(cpu: SystemCpu, insn: Instruction, at: number): OperandInformation {
  const mod = insn.modrm >>> 6;
  const hasSib = rmField(insn) === 4;
  const sib = hasSib ? codeByte(cpu, insn, at + 1) : 0;
  const encodedBase = hasSib ? sib & 7 : rmField(insn);
  const absolute = mod === 0 && encodedBase === 5;
  const encodedIndex = (sib >>> 3) & 7;
  const index = hasSib && encodedIndex !== 4 ? encodedIndex : -1;
  const length = absolute || mod === 2 ? 4 : mod;
  return {
    information: registerFields(absolute ? -1 : encodedBase, index, index < 0 ? 0 : sib >>> 6),
    displacement: readDisplacement(cpu, insn, at + (hasSib ? 2 : 1), length),
  };
}

function registerFields(base: number, index: number, scale: number): number {
  return scale | (index < 0 ? INDEX_INVALID : index << 18) | (base < 0 ? BASE_INVALID : base << 23);
}
