// Part: the decoder: bytes to one instruction (Intel SDM Vol. 2 chapter 2).

import { MODE, RECORD_BITS, register8Address, registerAddress, segmentAddress, ZERO_ADDRESS } from "./layout.ts";
import { DECODED_SLOW, OPCODES, type Opcode, type Operand } from "./opcodes.ts";
import type { Environment, Place, Repeat, Variant } from "./semantics/operands.ts";
import { CS, DS, EBP, ES, ESP, FS, GS, SS } from "./state.ts";

/** SDM Vol. 2 §2.3.11: longer instructions raise #GP. */
export const MAX_INSTRUCTION_LENGTH = 15;

/** Base and index registers of 16-bit addressing by r/m (SDM Vol. 2 table 2-1); −1 for none. */
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3] as const;
const INDEX16 = [6, 7, 6, 7, -1, -1, -1, -1] as const;

const SEGMENT_PREFIX = new Map([
  [0x26, ES],
  [0x2e, CS],
  [0x36, SS],
  [0x3e, DS],
  [0x64, FS],
  [0x65, GS],
]);

/** Thrown inside the decoder when it needs a byte past the end of what it was given. */
class OutOfBytes {}
const OUT_OF_BYTES = new OutOfBytes();

export type DecodeResult = "complete" | "short";

/** One decoded instruction; the decoder overwrites it each time. Addresses are those of the arena. */
export class Decoder {
  /** The row of the opcode map, or undefined when `slow` was chosen by the decoder itself. */
  opcode: Opcode | undefined;
  /** Name of the slow function, "" for an instruction that has a handler. */
  slow = "";
  length = 0;
  /** One byte, or 0x0fXX. */
  number = 0;
  modrm = -1;
  variant: Variant = DEFAULT_VARIANT;
  destination = 0;
  source = 0;
  base = ZERO_ADDRESS;
  index = ZERO_ADDRESS;
  shift = 0;
  displacement = 0;
  immediate = 0;
  immediate2 = 0;
  segment = segmentAddress(DS);
  mask = -1;
  bits = 0;
  /** The instruction never falls through to the next one. */
  endsBlock = false;

  #bytes: Uint8Array = new Uint8Array(0);
  #position = 0;
  #end = 0;
  #size: 16 | 32 = 32;
  #address: 16 | 32 = 32;
  #override = -1;
  #operandPrefix = false;
  #repeat = 0;
  #lock = false;
  #place: Place = "register";

  /**
   * Decodes the instruction at `start`; no byte at or after `end` is touched. "short": it needs more bytes than that.
   * @param offset of `start` in its page: a branch is linked when its target is in 0 … 4095
   */
  decode(bytes: Uint8Array, start: number, end: number, mode: number, offset: number): DecodeResult {
    this.#bytes = bytes;
    this.#position = start;
    this.#end = Math.min(end, start + MAX_INSTRUCTION_LENGTH);
    try {
      this.#decode(mode, start, offset);
    } catch (error) {
      if (error !== OUT_OF_BYTES) throw error;
      if (this.#end === end && end < start + MAX_INSTRUCTION_LENGTH) return "short";
      this.#chooseSlow(DECODED_SLOW.tooLong);
    }
    this.length = this.#position - start;
    this.#finish(mode, offset);
    return "complete";
  }

  #byte(): number {
    if (this.#position >= this.#end) throw OUT_OF_BYTES;
    return this.#bytes[this.#position++] as number;
  }

  #signedByte(): number {
    return (this.#byte() << 24) >> 24;
  }

  #word(): number {
    return this.#byte() | (this.#byte() << 8);
  }

  #dword(): number {
    return this.#word() | (this.#word() << 16);
  }

  #chooseSlow(name: string): void {
    this.opcode = undefined;
    this.slow = name;
  }

  #reset(mode: number): void {
    const wide = (mode & MODE.code32) !== 0;
    this.#size = wide ? 32 : 16;
    this.#address = wide ? 32 : 16;
    this.#override = -1;
    this.#operandPrefix = false;
    this.#repeat = 0;
    this.#lock = false;
    this.#place = "register";
    this.opcode = undefined;
    this.slow = "";
    this.number = 0;
    this.modrm = -1;
    this.destination = ZERO_ADDRESS;
    this.source = ZERO_ADDRESS;
    this.base = ZERO_ADDRESS;
    this.index = ZERO_ADDRESS;
    this.shift = 0;
    this.displacement = 0;
    this.immediate = 0;
    this.immediate2 = 0;
    this.segment = segmentAddress(DS);
    this.mask = -1;
  }

  #decode(mode: number, start: number, offset: number): void {
    this.#reset(mode);
    let byte = this.#prefixes(mode);
    if (byte === 0x0f) {
      byte = 0x0f00 | this.#byte();
      if (byte === 0x0f38) byte = 0x0f3800 | this.#byte();
    }
    this.number = byte;
    const found = OPCODES.get(byte);
    if (Array.isArray(found)) {
      this.modrm = this.#byte();
      this.opcode = found[(this.modrm >> 3) & 7];
    } else {
      this.opcode = found;
      if (found?.modrm) this.modrm = this.#byte();
    }
    this.#respectPrefixes(byte);
    const { opcode } = this;
    if (opcode === undefined) {
      if (this.slow === "") this.slow = DECODED_SLOW.undefined;
      else if (this.modrm >= 0 && this.modrm < 0xc0) this.#memoryOperand(mode);
      return;
    }
    if (opcode.slow) this.slow = opcode.name;
    if (this.modrm >= 0 && !opcode.operands.some(({ kind }) => kind === "R")) {
      if (this.modrm < 0xc0) this.#memoryOperand(mode);
      else if (opcode.operands.some(({ kind }) => kind === "M")) this.#chooseSlow(DECODED_SLOW.undefined);
    }
    if (opcode.protectedOnly && (mode & MODE.legacy) !== 0) this.#chooseSlow(DECODED_SLOW.undefined);
    for (const operand of opcode.operands) this.#operand(operand, opcode, mode);
    if (opcode.string || /^(ins|outs)$/.test(opcode.name)) this.#stringOperand(mode);
    if (this.#lock && !(opcode.lock && this.modrm >= 0 && this.modrm < 0xc0)) this.#chooseSlow(DECODED_SLOW.undefined);
    if (opcode.operands[0]?.kind === "J") this.#branchTarget(this.#position - start, offset);
  }

  /** Consumes the prefixes; returns the byte after them. */
  #prefixes(mode: number): number {
    const wide = (mode & MODE.code32) !== 0;
    for (;;) {
      const byte = this.#byte();
      const segment = SEGMENT_PREFIX.get(byte);
      if (segment !== undefined) this.#override = segment;
      else if (byte === 0x66) {
        this.#operandPrefix = true;
        this.#size = wide ? 16 : 32;
      } else if (byte === 0x67) this.#address = wide ? 16 : 32;
      else if (byte === 0xf0) this.#lock = true;
      else if (byte === 0xf2 || byte === 0xf3) this.#repeat = byte;
      else return byte;
    }
  }

  /** Opcodes that a mandatory prefix or a register form makes another instruction of. */
  #respectPrefixes(byte: number): void {
    if (byte === 0x90 && this.#repeat === 0xf3) this.#chooseSlow(DECODED_SLOW.pause);
    else if (byte === 0x0f01 && this.modrm >= 0xc1 && this.modrm <= 0xc4) {
      const names = [DECODED_SLOW.vmcall, DECODED_SLOW.vmlaunch, DECODED_SLOW.vmresume, DECODED_SLOW.vmxoff];
      this.#chooseSlow(names[this.modrm - 0xc1] as string);
    } else if (byte === 0x0fc7 && this.modrm >= 0 && this.modrm < 0xc0 && ((this.modrm >> 3) & 7) === 6) {
      if (this.#repeat === 0xf3) this.#chooseSlow(DECODED_SLOW.vmxon);
      else if (this.#operandPrefix) this.#chooseSlow(DECODED_SLOW.vmclear);
    } else if ((byte === 0x0f3880 || byte === 0x0f3881) && this.#operandPrefix) {
      this.modrm = this.#byte();
      if (this.modrm < 0xc0) this.#chooseSlow(byte === 0x0f3880 ? DECODED_SLOW.invept : DECODED_SLOW.invvpid);
    }
  }

  #memoryOperand(mode: number): void {
    const mod = this.modrm >> 6;
    const rm = this.modrm & 7;
    const segment = this.#address === 16 ? this.#memory16(mod, rm) : this.#memory32(mod, rm);
    this.#setSegment(this.#override < 0 ? segment : this.#override, mode);
    if (this.#address === 16) this.#place = "general";
    else if (this.#place !== "general" && this.index !== ZERO_ADDRESS) this.#place = "indexed";
  }

  /** The segment of a memory operand; whether it needs the general form. */
  #setSegment(segment: number, mode: number): void {
    this.segment = segmentAddress(segment);
    const flat = (mode & MODE.general) === 0 && (segment === DS || segment === SS || segment === ES);
    this.#place = flat ? "base" : "general";
  }

  /** Returns the default segment. */
  #memory16(mod: number, rm: number): number {
    this.mask = 0xffff;
    if (mod === 0 && rm === 6) {
      this.displacement = this.#word();
      return DS;
    }
    const base = BASE16[rm] as number;
    const index = INDEX16[rm] as number;
    this.base = registerAddress(base);
    if (index >= 0) this.index = registerAddress(index);
    if (mod === 1) this.displacement = this.#signedByte();
    else if (mod === 2) this.displacement = this.#word();
    return base === EBP ? SS : DS;
  }

  #memory32(mod: number, rm: number): number {
    let base = rm;
    if (rm === 4) {
      const sib = this.#byte();
      base = sib & 7;
      const index = (sib >> 3) & 7;
      if (index !== 4) {
        this.index = registerAddress(index);
        this.shift = sib >> 6;
      }
    }
    if (mod === 0 && base === EBP) {
      this.displacement = this.#dword();
      return DS;
    }
    this.base = registerAddress(base);
    if (mod === 1) this.displacement = this.#signedByte();
    else if (mod === 2) this.displacement = this.#dword();
    return base === EBP || base === ESP ? SS : DS;
  }

  #operand(operand: Operand, opcode: Opcode, mode: number): void {
    const width = operand.width === "v" ? this.#size : operand.width;
    const register = (index: number): number => (width === 8 ? register8Address(index) : registerAddress(index));
    switch (operand.kind) {
      case "E":
      case "R":
        if (this.modrm >= 0xc0 || operand.kind === "R") this.destination = register(this.modrm & 7);
        return;
      case "G":
        this.source = register((this.modrm >> 3) & 7);
        return;
      case "Z":
        this.destination = register(this.number & 7);
        return;
      case "N":
        this.segment = segmentAddress((this.number >> 3) & 7);
        return;
      case "O":
        this.#setSegment(this.#override < 0 ? DS : this.#override, mode);
        if (this.#address === 16) {
          this.#place = "general";
          this.mask = 0xffff;
        }
        if (opcode.name !== "xlat") this.displacement = this.#address === 16 ? this.#word() : this.#dword();
        return;
      case "I":
        if (opcode.name === "enter" && width === 8) this.immediate2 = this.#byte();
        else this.immediate = width === 8 ? this.#byte() : width === 16 ? this.#word() : this.#dword();
        return;
      case "S":
        this.immediate = this.#signedByte() & (this.#size === 16 ? 0xffff : -1);
        return;
      case "J":
        this.immediate = width === 8 ? this.#signedByte() : width === 16 ? (this.#word() << 16) >> 16 : this.#dword();
        return;
      case "P":
        this.immediate = this.#size === 16 ? this.#word() : this.#dword();
        this.immediate2 = this.#word();
        return;
      default:
        return;
    }
  }

  #stringOperand(mode: number): void {
    this.#setSegment(this.#override < 0 ? DS : this.#override, mode);
    this.mask = this.#address === 16 ? 0xffff : -1;
  }

  #linked = false;

  /** A branch inside the page has the target's offset as its immediate; another keeps the displacement. */
  #branchTarget(length: number, offset: number): void {
    const target = offset + length + this.immediate;
    this.#linked = target >= 0 && target <= 0xfff;
    if (this.#linked) this.immediate = target;
  }

  #finish(mode: number, offset: number): void {
    const { opcode } = this;
    const branch = opcode?.operands[0]?.kind === "J" && this.slow === "";
    if (branch && this.#linked) {
      // A 16-bit operand size outside 16-bit code cuts the target to 64 KiB.
      const cuts = this.#size === 16 && (mode & MODE.code32) !== 0;
      if (cuts || (mode & MODE.unlinked) !== 0) {
        this.#linked = false;
        this.immediate -= offset + this.length;
      }
    }
    this.bits =
      (this.#size === 32 ? RECORD_BITS.operand32 : 0) |
      (this.#address === 32 ? RECORD_BITS.address32 : 0) |
      (this.#repeat === 0xf2 ? RECORD_BITS.repne : 0) |
      (this.#repeat === 0xf3 ? RECORD_BITS.rep : 0) |
      (this.#lock ? RECORD_BITS.lock : 0) |
      (this.modrm >= 0 ? RECORD_BITS.modrm : 0);
    this.variant = {
      size: this.#size,
      place: this.#place,
      environment: environmentOf(mode),
      linked: branch && this.#linked,
      address: this.#address,
      repeat: REPEAT_OF[this.#repeat] ?? "once",
    };
    this.endsBlock = this.slow !== "" || UNCONDITIONAL.has(opcode?.name ?? "");
    this.#linked = false;
  }
}

const REPEAT_OF: Record<number, Repeat> = { 0: "once", 242: "repne", 243: "repe" };
const UNCONDITIONAL: ReadonlySet<string> = new Set(["jmp", "jmp_indirect", "call", "call_indirect", "ret"]);

const DEFAULT_VARIANT: Variant = {
  size: 32,
  place: "register",
  environment: "flat",
  linked: false,
  address: 32,
  repeat: "once",
};

function environmentOf(mode: number): Environment {
  if ((mode & MODE.general) === 0) return "flat";
  return (mode & MODE.stack32) !== 0 ? "general32" : "general16";
}
