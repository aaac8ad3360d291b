// Part: the memory images of the x87 state: the environment (SDM Vol. 1, 8.1.10, figures 8-9 to 8-12), FSAVE's image, which is
// the environment followed by ST(0) to ST(7), and FXSAVE's 512 bytes (SDM Vol. 1, 10.5.1, table 10-2).

import { readExtended, tagOf, writeExtended } from "./extended.ts";
import type { X87 } from "./unit.ts";

/** How an instruction sees the environment: its operand size in bits, and whether addresses are selector and offset. */
export interface ImageFormat {
  readonly operandSize: 16 | 32;
  readonly protectedMode: boolean;
}

export const environmentLength = (format: ImageFormat): number => (format.operandSize === 16 ? 14 : 28);
const REGISTERS_LENGTH = 80;
export const stateLength = (format: ImageFormat): number => environmentLength(format) + REGISTERS_LENGTH;

const EMPTY_TAG = 3;

/** The tag word with two bits a physical register (SDM Vol. 1, figure 8-7). */
function fullTags(unit: X87): number {
  let tags = 0;
  for (let index = 0; index < 8; index++) {
    const tag = unit.isEmpty(index) ? EMPTY_TAG : tagOf(unit.read(index));
    tags |= tag << (2 * ((unit.top + index) & 7));
  }
  return tags;
}

function abridgedTags(tags: number): number {
  let occupied = 0;
  for (let register = 0; register < 8; register++) {
    if (((tags >> (2 * register)) & 3) !== EMPTY_TAG) occupied |= 1 << register;
  }
  return occupied;
}

const linear = (selector: number, offset: number): number => ((selector << 4) + offset) >>> 0;

function writeEnvironment(unit: X87, format: ImageFormat, view: DataView): void {
  const instruction = linear(unit.instructionSelector, unit.instructionOffset);
  const operand = linear(unit.operandSelector, unit.operandOffset);
  const pointers = format.protectedMode
    ? [unit.instructionOffset, unit.instructionSelector, unit.operandOffset, unit.operandSelector]
    : [instruction, 0, operand, 0];
  const [instructionOffset = 0, instructionSelector = 0, operandOffset = 0, operandSelector = 0] = pointers;
  const words = [unit.control, unit.status, fullTags(unit)];
  if (format.operandSize === 16) {
    words.push(instructionOffset, instructionSelector, operandOffset, operandSelector);
    if (!format.protectedMode) {
      words[4] = ((instruction >>> 4) & 0xf000) | unit.opcode;
      words[6] = (operand >>> 4) & 0xf000;
    }
    for (const [index, word] of words.entries()) view.setUint16(2 * index, word & 0xffff, true);
    return;
  }
  // Reserved halves are stored as ones.
  for (const [index, word] of words.entries()) view.setUint32(4 * index, 0xffff_0000 | word, true);
  if (format.protectedMode) {
    view.setUint32(12, instructionOffset, true);
    view.setUint32(16, (unit.opcode << 16) | instructionSelector, true);
    view.setUint32(20, operandOffset, true);
    view.setUint32(24, 0xffff_0000 | operandSelector, true);
  } else {
    view.setUint32(12, 0xffff_0000 | (instruction & 0xffff), true);
    view.setUint32(16, ((instruction >>> 16) << 12) | unit.opcode, true);
    view.setUint32(20, 0xffff_0000 | (operand & 0xffff), true);
    view.setUint32(24, (operand >>> 16) << 12, true);
  }
}

function readEnvironment(unit: X87, format: ImageFormat, view: DataView): void {
  const wide = format.operandSize === 32;
  const word = (index: number): number => view.getUint16((wide ? 4 : 2) * index, true);
  unit.occupied = abridgedTags(word(2));
  unit.control = 0;
  unit.loadStatus(word(1));
  unit.loadControl(word(0));
  if (format.protectedMode) {
    unit.instructionOffset = wide ? view.getUint32(12, true) : word(3);
    unit.instructionSelector = word(4);
    unit.opcode = wide ? view.getUint16(18, true) & 0x7ff : 0;
    unit.operandOffset = wide ? view.getUint32(20, true) : word(5);
    unit.operandSelector = word(6);
    return;
  }
  const high = (index: number): number =>
    wide ? ((view.getUint32(4 * index, true) >>> 12) & 0xffff) << 16 : (word(index) & 0xf000) << 4;
  unit.instructionOffset = (word(3) | high(4)) >>> 0;
  unit.instructionSelector = 0;
  unit.opcode = word(4) & 0x7ff;
  unit.operandOffset = (word(5) | high(6)) >>> 0;
  unit.operandSelector = 0;
}

export function encodeEnvironment(unit: X87, format: ImageFormat): Uint8Array {
  const bytes = new Uint8Array(environmentLength(format));
  writeEnvironment(unit, format, new DataView(bytes.buffer));
  return bytes;
}

/** @param bytes environmentLength(format) bytes */
export function decodeEnvironment(unit: X87, format: ImageFormat, bytes: Uint8Array): void {
  readEnvironment(unit, format, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

export function encodeState(unit: X87, format: ImageFormat): Uint8Array {
  const bytes = new Uint8Array(stateLength(format));
  const view = new DataView(bytes.buffer);
  writeEnvironment(unit, format, view);
  const start = environmentLength(format);
  for (let index = 0; index < 8; index++) writeExtended(view, start + 10 * index, unit.read(index));
  return bytes;
}

/** @param bytes stateLength(format) bytes */
export function decodeState(unit: X87, format: ImageFormat, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  readEnvironment(unit, format, view);
  readRegisters(unit, view, environmentLength(format), 10);
}

/** Reads ST(0) to ST(7) and leaves it to the tags which of them are empty. */
function readRegisters(unit: X87, view: DataView, start: number, stride: number): void {
  const { occupied } = unit;
  for (let index = 0; index < 8; index++) unit.write(index, readExtended(view, start + stride * index));
  unit.occupied = occupied;
}

/** FXSAVE's operand is 512 bytes; everything from byte 288 on is reserved outside 64-bit mode and is not written. */
export const FXSAVE_LENGTH = 512;
const FXSAVE_WRITTEN = 288;
/** The MXCSR bits that can be set on a processor without denormals-are-zeros (SDM Vol. 1, 11.6.6). */
export const MXCSR_MASK = 0xffbf;
const FXSAVE_REGISTERS = 32;
const FXSAVE_XMM = 160;

export function encodeFxsave(unit: X87): Uint8Array {
  const bytes = new Uint8Array(FXSAVE_WRITTEN);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, unit.control, true);
  view.setUint16(2, unit.status, true);
  view.setUint8(4, unit.occupied);
  view.setUint16(6, unit.opcode, true);
  view.setUint32(8, unit.instructionOffset, true);
  view.setUint16(12, unit.instructionSelector, true);
  view.setUint32(16, unit.operandOffset, true);
  view.setUint16(20, unit.operandSelector, true);
  view.setUint32(24, unit.mxcsr, true);
  view.setUint32(28, MXCSR_MASK, true);
  for (let index = 0; index < 8; index++) writeExtended(view, FXSAVE_REGISTERS + 16 * index, unit.read(index));
  bytes.set(unit.xmm, FXSAVE_XMM);
  return bytes;
}

/**
 * @param bytes FXSAVE_LENGTH bytes
 * @returns false, and nothing changed, when reserved bits of MXCSR are set: #GP(0)
 */
export function decodeFxsave(unit: X87, bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const mxcsr = view.getUint32(24, true);
  if ((mxcsr & ~MXCSR_MASK) !== 0) return false;
  unit.control = 0;
  unit.loadStatus(view.getUint16(2, true));
  unit.loadControl(view.getUint16(0, true));
  unit.occupied = view.getUint8(4);
  unit.opcode = view.getUint16(6, true) & 0x7ff;
  unit.instructionOffset = view.getUint32(8, true);
  unit.instructionSelector = view.getUint16(12, true);
  unit.operandOffset = view.getUint32(16, true);
  unit.operandSelector = view.getUint16(20, true);
  unit.mxcsr = mxcsr;
  readRegisters(unit, view, FXSAVE_REGISTERS, 16);
  unit.xmm.set(bytes.subarray(FXSAVE_XMM, FXSAVE_WRITTEN));
  return true;
}
