/**
 * The flags that the manual leaves undefined, by instruction: vectors from a real processor hold some value there, and
 * a comparison must leave them out. Intel SDM Vol. 1 appendix A ("EFLAGS cross-reference") and Vol. 2, "Flags affected"
 * of each instruction.
 */

const CF = 1 << 0;
const PF = 1 << 2;
const AF = 1 << 4;
const ZF = 1 << 6;
const SF = 1 << 7;
const OF = 1 << 11;

/** Shifts and rotates use the low five bits of their count (SDM Vol. 2, SAL/SAR/SHL/SHR, "IA-32 architecture compatibility"). */
const COUNT_MASK = 0x1f;

const ALWAYS: Readonly<Record<string, number>> = {
  // "The state of the AF flag is undefined."
  and: AF,
  or: AF,
  xor: AF,
  test: AF,
  // "The SF, ZF, AF, and PF flags are undefined."
  mul: SF | ZF | AF | PF,
  imul: SF | ZF | AF | PF,
  // "The CF, OF, SF, ZF, AF, and PF flags are undefined."
  div: CF | OF | SF | ZF | AF | PF,
  idiv: CF | OF | SF | ZF | AF | PF,
  // "The OF flag is undefined."
  daa: OF,
  das: OF,
  // "The OF, SF, ZF, and PF flags are undefined."
  aaa: OF | SF | ZF | PF,
  aas: OF | SF | ZF | PF,
  // "The OF, AF, and CF flags are undefined."
  aam: OF | AF | CF,
  aad: OF | AF | CF,
  // "The OF, SF, AF, and PF flags are undefined"; ZF is unaffected.
  bt: OF | SF | AF | PF,
  bts: OF | SF | AF | PF,
  btr: OF | SF | AF | PF,
  btc: OF | SF | AF | PF,
  // "CF, OF, SF, AF, and PF flags are undefined."
  bsf: CF | OF | SF | AF | PF,
  bsr: CF | OF | SF | AF | PF,
};

const ROTATES: ReadonlySet<string> = new Set(["rol", "ror", "rcl", "rcr"]);
const SHIFTS: ReadonlySet<string> = new Set(["shl", "sal", "shr", "sar"]);
const DOUBLE_SHIFTS: ReadonlySet<string> = new Set(["shld", "shrd"]);

export interface Undefined {
  /** EFLAGS bits not to compare. */
  readonly flags: number;
  /** The destination itself is undefined. */
  readonly result: boolean;
}

/** Whether the instruction shifts or rotates by a count that {@link undefinedBy} needs to know. */
export function dependsOnCount(mnemonic: string): boolean {
  return ROTATES.has(mnemonic) || SHIFTS.has(mnemonic) || DOUBLE_SHIFTS.has(mnemonic);
}

/**
 * @param mnemonic in lower case, without prefixes
 * @param bits operand width; matters for shifts only
 * @param count as in the instruction or CL, before masking; matters for shifts only
 */
export function undefinedBy(mnemonic: string, bits: number, count: number): Undefined {
  const masked = count & COUNT_MASK;
  if (!dependsOnCount(mnemonic)) return { flags: ALWAYS[mnemonic] ?? 0, result: false };
  // "If the count is 0, the flags are not affected."
  if (masked === 0) return { flags: 0, result: false };
  // "The OF flag is affected only on 1-bit shifts" (or rotates); "otherwise, it is undefined."
  const overflow = masked === 1 ? 0 : OF;
  if (ROTATES.has(mnemonic)) return { flags: overflow, result: false };
  if (SHIFTS.has(mnemonic)) {
    // "It is undefined for SHL and SHR instructions where the count is greater than or equal to the size."
    const carry = mnemonic !== "sar" && masked >= bits ? CF : 0;
    return { flags: AF | overflow | carry, result: false };
  }
  // "If the count is greater than the operand size, the result is undefined" and so are all flags.
  if (masked > bits) return { flags: CF | OF | SF | ZF | AF | PF, result: true };
  return { flags: AF | overflow, result: false };
}
