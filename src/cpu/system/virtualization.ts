/** The VMX instructions, which all exit from VMX non-root operation. SDM Vol. 3 chapter 31, §26.1.2, tables 28-13, 28-14. */

import { type Instruction, UD } from "../context.ts";
import { EXIT } from "../vmx/exit-reasons.ts";
import type { SystemCpu, SystemInstruction } from "./cpu.ts";
import { describeOperand } from "./instruction-information.ts";
import { regField, requireMemory } from "./operands.ts";
import { usesDescriptors } from "./segments.ts";

/** VMCALL exits in every mode and at every privilege level. */
const vmcall: SystemInstruction = (cpu) => {
  cpu.vmx.exit(EXIT.VMCALL);
};

/** The others are #UD in real-address and virtual-8086 mode; the exit comes before the check of CPL. */
function requireProtected(cpu: SystemCpu): void {
  if (!usesDescriptors(cpu.state)) throw cpu.fault(UD);
}

const plain =
  (reason: number): SystemInstruction =>
  (cpu) => {
    requireProtected(cpu);
    throw cpu.vmx.exit(reason);
  };

function exitWithOperand(cpu: SystemCpu, insn: Instruction, reason: number, reg2: number): never {
  requireProtected(cpu);
  const { information, displacement } = describeOperand(cpu, insn);
  const instructionInformation = (information | (reg2 << 28)) >>> 0;
  throw cpu.vmx.exit(reason, displacement, { instructionInformation });
}

const withMemory =
  (reason: number): SystemInstruction =>
  (cpu, insn) => {
    requireMemory(cpu, insn);
    exitWithOperand(cpu, insn, reason, 0);
  };

/** VMREAD, VMWRITE, INVEPT and INVVPID name a second operand in the reg field. */
const withRegister =
  (reason: number): SystemInstruction =>
  (cpu, insn) =>
    exitWithOperand(cpu, insn, reason, regField(insn));

const withMemoryAndRegister =
  (reason: number): SystemInstruction =>
  (cpu, insn) => {
    requireMemory(cpu, insn);
    exitWithOperand(cpu, insn, reason, regField(insn));
  };

export const VMX_INSTRUCTIONS = {
  vmcall,
  vmlaunch: plain(EXIT.VMLAUNCH),
  vmresume: plain(EXIT.VMRESUME),
  vmxoff: plain(EXIT.VMXOFF),
  vmxon: withMemory(EXIT.VMXON),
  vmclear: withMemory(EXIT.VMCLEAR),
  vmptrld: withMemory(EXIT.VMPTRLD),
  vmptrst: withMemory(EXIT.VMPTRST),
  vmread: withRegister(EXIT.VMREAD),
  vmwrite: withRegister(EXIT.VMWRITE),
  invept: withMemoryAndRegister(EXIT.INVEPT),
  invvpid: withMemoryAndRegister(EXIT.INVVPID),
} satisfies Record<string, SystemInstruction>;
