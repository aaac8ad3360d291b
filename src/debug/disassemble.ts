// Part: machine code as text, by iced-x86, in the notation of the manuals (Intel syntax).

import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Mnemonic } from "iced-x86";

export interface DisassembledInstruction {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly text: string;
}

/**
 * The instructions in `bytes`, in order; an instruction that the bytes do not hold whole is left out.
 * @param address linear address of the first byte
 * @param bits operand and address size of the code segment
 */
export function disassemble(bytes: Uint8Array, address: number, bits: 16 | 32): DisassembledInstruction[] {
  const decoder = new Decoder(bits, bytes, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Intel);
  formatter.spaceAfterOperandSeparator = true;
  formatter.hexPrefix = "0x";
  formatter.hexSuffix = "";
  formatter.uppercaseHex = false;
  formatter.showBranchSize = false;
  decoder.ip = BigInt(address);
  const instructions: DisassembledInstruction[] = [];
  while (decoder.canDecode) {
    const start = decoder.position;
    const instruction = decoder.decode();
    const whole = instruction.mnemonic !== Mnemonic.INVALID || decoder.position < bytes.length;
    if (whole) {
      instructions.push({
        address: (address + start) >>> 0,
        bytes: bytes.slice(start, decoder.position),
        text: instruction.mnemonic === Mnemonic.INVALID ? "(bad)" : formatter.format(instruction),
      });
    }
    instruction.free();
  }
  decoder.free();
  formatter.free();
  return instructions;
}
