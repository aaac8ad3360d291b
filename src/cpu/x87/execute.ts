// Part: the entries through which the processor executes the x87 instructions.

import type { X87Access } from "./access.ts";
import { decodeFxsave, encodeFxsave, FXSAVE_LENGTH } from "./images.ts";
import { decodeX87 } from "./opcodes.ts";
import { arithmeticFor } from "./rounding.ts";
import type { X87 } from "./unit.ts";

/**
 * Executes one instruction with opcode D8 to DF. Whatever access throws leaves the unit unchanged.
 * @param opcode the first opcode byte
 * @throws NotModelled for a transcendental instruction
 */
export function executeX87(unit: X87, opcode: number, modrm: number, access: X87Access): void {
  const instruction = decodeX87(opcode, modrm);
  if (instruction === undefined) access.fault(6);
  if (instruction.kind !== "no-wait") wait(unit, access);
  const arithmetic = arithmeticFor(unit.control);
  instruction.execute({ unit, access, arithmetic, index: modrm & 7, stackFault: false });
  if (instruction.kind !== "numeric") return;
  unit.opcode = ((opcode & 7) << 8) | modrm;
  unit.instructionSelector = access.codeSelector;
  unit.instructionOffset = access.instructionPointer;
  if (!instruction.memory) return;
  unit.operandSelector = access.operandSelector;
  unit.operandOffset = access.operandOffset;
}

/** FWAIT (9B), and the start of every waiting instruction: raises a pending unmasked exception. */
export function wait(unit: X87, access: X87Access): void {
  if (unit.exceptionPending) access.fault(16);
}

/** FXSAVE (0F AE /0); the caller has checked the alignment of the operand to 16 bytes. */
export function fxsave(unit: X87, access: X87Access): void {
  access.store(encodeFxsave(unit));
}

/** FXRSTOR (0F AE /1); the caller has checked the alignment of the operand to 16 bytes. #GP(0) for reserved bits in MXCSR. */
export function fxrstor(unit: X87, access: X87Access): void {
  if (!decodeFxsave(unit, access.load(FXSAVE_LENGTH))) access.fault(13);
}
