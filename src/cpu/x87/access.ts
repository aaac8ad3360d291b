// Part: what an x87 instruction needs from the processor around it.
// The caller has already raised #NM (CR0.EM, CR0.TS) and decoded prefixes, ModRM and the effective address.

export interface X87Access {
  /** The operand size in bits, which selects the image formats of FSTENV, FLDENV, FSAVE and FRSTOR. */
  readonly operandSize: 16 | 32;
  /** CR0.PE set and not in virtual-8086 mode: the image formats hold selectors instead of linear addresses. */
  readonly protectedMode: boolean;
  /** CS selector and offset of the instruction's first byte, prefixes included. */
  readonly codeSelector: number;
  readonly instructionPointer: number;
  /** Segment selector and offset of the memory operand; read only for instructions that have one. */
  readonly operandSelector: number;
  readonly operandOffset: number;
  /** Reads the memory operand, segment-checked; throws the processor's fault. At most one call an instruction. */
  load(length: number): Uint8Array;
  /** Writes the memory operand whole or throws the processor's fault having written nothing. At most one call an instruction. */
  store(bytes: Uint8Array): void;
  /** The low 16 bits of EFLAGS. */
  readFlags(): number;
  /** Replaces CF, PF, AF, ZF, SF and OF; other bits of the argument are ignored. */
  writeFlags(flags: number): void;
  writeAx(value: number): void;
  /** Raises #UD (6), #GP(0) (13) or the pending x87 exception (16: #MF, or FERR# when CR0.NE is clear) by throwing. */
  fault(vector: 6 | 13 | 16): never;
}
