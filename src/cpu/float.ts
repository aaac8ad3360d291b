// Part: what connects the x87 unit (src/cpu/x87/) to the processor: #NM, the memory operand, flags and AX.

import type { Cpu, Instruction } from "./context.ts";
import { GP, NM } from "./context.ts";
import { ARITHMETIC_FLAGS, CR0_EM, CR0_MP, CR0_PE, CR0_TS, CS, EAX, type ProcessorState, VM } from "./state.ts";
import type { X87Access } from "./x87/access.ts";
import { executeX87, fxrstor, fxsave, wait } from "./x87/execute.ts";
import type { X87 } from "./x87/unit.ts";

type SlowFunction = (cpu: Cpu, insn: Instruction) => void;

const FXSAVE_ALIGNMENT = 16;

class FloatAccess implements X87Access {
  readonly #cpu: Cpu;
  readonly #state: ProcessorState;

  constructor(cpu: Cpu) {
    this.#cpu = cpu;
    this.#state = cpu.state;
  }

  get operandSize(): 16 | 32 {
    return this.#cpu.insn.operandSize;
  }

  get protectedMode(): boolean {
    return (this.#state.cr0 & CR0_PE) !== 0 && (this.#state.flagsRest & VM) === 0;
  }

  get codeSelector(): number {
    return this.#state.selector(CS);
  }

  get instructionPointer(): number {
    return this.#cpu.insn.eip;
  }

  get operandSelector(): number {
    return this.#state.selector(this.#cpu.insn.segment);
  }

  get operandOffset(): number {
    return this.#cpu.effectiveOffset();
  }

  load(length: number): Uint8Array {
    return this.#cpu.readBytes(this.#cpu.insn.segment, this.#cpu.effectiveOffset(), length);
  }

  store(bytes: Uint8Array): void {
    this.#cpu.writeBytes(this.#cpu.insn.segment, this.#cpu.effectiveOffset(), bytes);
  }

  readFlags(): number {
    return this.#state.eflags & 0xffff;
  }

  writeFlags(flags: number): void {
    this.#state.eflags = (this.#state.eflags & ~ARITHMETIC_FLAGS) | (flags & ARITHMETIC_FLAGS);
  }

  writeAx(value: number): void {
    this.#state.setGpr16(EAX, value);
  }

  fault(vector: 6 | 13 | 16): never {
    throw this.#cpu.fault(vector, vector === GP ? 0 : -1);
  }
}

/** The x87 rows of the opcode map for one processor. */
export function floatInstructions(cpu: Cpu, unit: X87): Readonly<Record<string, SlowFunction>> {
  const access = new FloatAccess(cpu);
  /** #NM when the unit is emulated or belongs to another task (SDM Vol. 3 table 9-1). */
  const requireUnit = (mask: number): void => {
    if ((cpu.state.cr0 & mask) !== 0) throw cpu.fault(NM);
  };
  const requireAligned = (): void => {
    const linear = cpu.state.segmentBase(cpu.insn.segment) + cpu.effectiveOffset();
    if (linear % FXSAVE_ALIGNMENT !== 0) throw cpu.fault(GP, 0);
  };
  return {
    x87: (_, insn) => {
      requireUnit(CR0_EM | CR0_TS);
      executeX87(unit, insn.opcode, insn.modrm, access);
    },
    fwait: () => {
      const { cr0 } = cpu.state;
      if ((cr0 & CR0_MP) !== 0 && (cr0 & CR0_TS) !== 0) throw cpu.fault(NM);
      wait(unit, access);
    },
    fxsave: () => {
      requireUnit(CR0_EM | CR0_TS);
      requireAligned();
      fxsave(unit, access);
    },
    fxrstor: () => {
      requireUnit(CR0_EM | CR0_TS);
      requireAligned();
      fxrstor(unit, access);
    },
  };
}
