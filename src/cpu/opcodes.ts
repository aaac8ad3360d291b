// Part: the opcode map of an i686 as data (Intel SDM Vol. 2, appendix A, tables ).
// One row: opcode (0fXX for the two-byte map; /n: the reg field of ModRM selects), name, operands, remarks.
//
// Operands, as in the SDM: E r/m, M r/m that has to be memory, R r/m that has to be a register, G reg, Z the register in
// the opcode, N the segment register in the opcode, A the accumulator, C CL, I immediate, S sign-extended immediate byte, U immediate 1, O memory at an offset,
// J branch displacement, P far pointer. Widths: b 8, w 16, d 32, v the operand size.
// Remarks: "lock": LOCK is permitted where the destination is memory. "stack": uses the stack or jumps, so that its form
// depends on SS and CS. "string": uses ESI, EDI and the REP prefixes. "slow": a TypeScript function of that name.
// "usual": a handler for the usual case, which leaves the others to the TypeScript function of that name.
// "protected": does not exist in real and virtual-8086 mode. What is missing raises #UD.

const ARITHMETIC = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];
const SHIFTS = ["rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"];
export const CONDITIONS = ["o", "no", "b", "nb", "z", "nz", "be", "nbe", "s", "ns", "p", "np", "l", "nl", "le", "nle"];
const lock = (name: string): string => (name === "cmp" ? "" : "lock");
const hex = (opcode: number): string => opcode.toString(16).padStart(2, "0");

const ROWS: string[] = [
  ...ARITHMETIC.flatMap((name, index) => [
    `${hex(8 * index)} ${name} Eb,Gb ${lock(name)}`,
    `${hex(8 * index + 1)} ${name} Ev,Gv ${lock(name)}`,
    `${hex(8 * index + 2)} ${name} Gb,Eb`,
    `${hex(8 * index + 3)} ${name} Gv,Ev`,
    `${hex(8 * index + 4)} ${name} Ab,Ib`,
    `${hex(8 * index + 5)} ${name} Av,Iv`,
    `80/${index} ${name} Eb,Ib ${lock(name)}`,
    `81/${index} ${name} Ev,Iv ${lock(name)}`,
    `82/${index} ${name} Eb,Ib ${lock(name)}`,
    `83/${index} ${name} Ev,Sv ${lock(name)}`,
  ]),
  ...SHIFTS.flatMap((name, index) => [
    `c0/${index} ${name} Eb,Ib`,
    `c1/${index} ${name} Ev,Ib`,
    `d0/${index} ${name} Eb,Ub`,
    `d1/${index} ${name} Ev,Ub`,
    `d2/${index} ${name} Eb,Cb`,
    `d3/${index} ${name} Ev,Cb`,
  ]),
  ...CONDITIONS.flatMap((name, index) => [
    `${hex(0x70 + index)} j${name} Jb stack`,
    `0f${hex(0x80 + index)} j${name} Jv stack`,
    `0f${hex(0x90 + index)} set${name} Eb`,
    `0f${hex(0x40 + index)} cmov${name} Gv,Ev`,
  ]),
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((index) => [
    `${hex(0x40 + index)} inc Zv`,
    `${hex(0x48 + index)} dec Zv`,
    `${hex(0x50 + index)} push Zv stack`,
    `${hex(0x58 + index)} pop Zv stack`,
    `${hex(0xb0 + index)} mov Zb,Ib`,
    `${hex(0xb8 + index)} mov Zv,Iv`,
    `0f${hex(0xc8 + index)} bswap Zv`,
    ...(index > 0 ? [`${hex(0x90 + index)} xchg Zv,Av`] : []),
  ]),
  "90 nop",
  "27 daa - slow",
  "2f das - slow",
  "37 aaa - slow",
  "3f aas - slow",
  "d4 aam Ib slow",
  "d5 aad Ib slow",
  "60 pusha - stack",
  "61 popa - stack",
  "62 bound Gv,Mv slow",
  "68 push Iv stack",
  "6a push Sv stack",
  "69 imul Gv,Ev,Iv",
  "6b imul Gv,Ev,Sv",
  "0faf imul Gv,Ev",
  "84 test Eb,Gb",
  "85 test Ev,Gv",
  "a8 test Ab,Ib",
  "a9 test Av,Iv",
  "f6/0 test Eb,Ib",
  "f6/1 test Eb,Ib",
  "f7/0 test Ev,Iv",
  "f7/1 test Ev,Iv",
  "86 xchg Eb,Gb lock",
  "87 xchg Ev,Gv lock",
  "88 mov Eb,Gb",
  "89 mov Ev,Gv",
  "8a mov Gb,Eb",
  "8b mov Gv,Ev",
  "8d lea Gv,Mv",
  "8f/0 pop Ev stack",
  "98 cbw",
  "99 cwd",
  "9e sahf",
  "9f lahf",
  "a0 mov Ab,Ob",
  "a1 mov Av,Ov",
  "a2 mov Ob,Ab",
  "a3 mov Ov,Av",
  "a4 movs b string",
  "a5 movs v string",
  "a6 cmps b string",
  "a7 cmps v string",
  "aa stos b string",
  "ab stos v string",
  "ac lods b string",
  "ad lods v string",
  "ae scas b string",
  "af scas v string",
  "c2 ret Iw stack",
  "c3 ret - stack",
  "c6/0 mov Eb,Ib",
  "c7/0 mov Ev,Iv",
  "c8 enter Iw,Ib slow",
  "c9 leave - stack",
  "d6 salc",
  "d7 xlat Ob",
  "e0 loopne Jb stack",
  "e1 loope Jb stack",
  "e2 loop Jb stack",
  "e3 jecxz Jb stack",
  "e8 call Jv stack",
  "e9 jmp Jv stack",
  "eb jmp Jb stack",
  "f5 cmc",
  "f8 clc",
  "f9 stc",
  "fc cld",
  "fd std",
  "f6/2 not Eb lock",
  "f7/2 not Ev lock",
  "f6/3 neg Eb lock",
  "f7/3 neg Ev lock",
  "f6/4 mul Eb",
  "f7/4 mul Ev",
  "f6/5 imul1 Eb",
  "f7/5 imul1 Ev",
  "f6/6 div Eb",
  "f7/6 div Ev",
  "f6/7 idiv Eb",
  "f7/7 idiv Ev",
  "fe/0 inc Eb lock",
  "fe/1 dec Eb lock",
  "ff/0 inc Ev lock",
  "ff/1 dec Ev lock",
  "ff/2 call_indirect Ev stack",
  "ff/4 jmp_indirect Ev stack",
  "ff/6 push Ev stack",
  "0fa3 bt Ev,Gv",
  "0fab bts Ev,Gv lock",
  "0fb3 btr Ev,Gv lock",
  "0fbb btc Ev,Gv lock",
  "0fba/4 bt Ev,Ib",
  "0fba/5 bts Ev,Ib lock",
  "0fba/6 btr Ev,Ib lock",
  "0fba/7 btc Ev,Ib lock",
  "0fbc bsf Gv,Ev",
  "0fbd bsr Gv,Ev",
  "0fa4 shld Ev,Gv,Ib",
  "0fa5 shld Ev,Gv,Cb",
  "0fac shrd Ev,Gv,Ib",
  "0fad shrd Ev,Gv,Cb",
  "0fb6 movzx Gv,Eb",
  "0fb7 movzx Gv,Ew",
  "0fbe movsx Gv,Eb",
  "0fbf movsx Gv,Ew",
  "0fb0 cmpxchg Eb,Gb lock",
  "0fb1 cmpxchg Ev,Gv lock",
  "0fc0 xadd Eb,Gb lock",
  "0fc1 xadd Ev,Gv lock",
  "0fc7/1 cmpxchg8b Mv lock,slow",
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((reg) => [`0f1f/${reg} nop Ev`, `0f18/${reg} nop Mv`]),

  // Segments, far transfers, interrupts (part "system").
  ...["06", "0e", "16", "1e", "0fa0", "0fa8"].map((opcode) => `${opcode} push Nw stack`),
  ...["07", "17", "1f", "0fa1", "0fa9"].map((opcode) => `${opcode} pop_segment - slow`),
  "8c mov_from_segment Ev slow",
  "8e mov_to_segment Ev slow",
  "c4 les Gv,Mv slow",
  "c5 lds Gv,Mv slow",
  "0fb2 lss Gv,Mv slow",
  "0fb4 lfs Gv,Mv slow",
  "0fb5 lgs Gv,Mv slow",
  "9a call_far Pv slow",
  "ea jmp_far Pv slow",
  "ff/3 call_far_memory Mv slow",
  "ff/5 jmp_far_memory Mv slow",
  "ca ret_far Iw slow",
  "cb ret_far - slow",
  "cc int3 - slow",
  "cd int Ib slow",
  "ce into - slow",
  "cf iret - slow",
  "f1 int1 - slow",
  "63 arpl Ew,Gw slow,protected",
  "9c pushf - stack,usual",
  "9d popf - stack,usual",
  "fa cli - usual",
  "fb sti - usual",
  "f4 hlt - slow",
  "6c ins b slow",
  "6d ins v slow",
  "6e outs b slow",
  "6f outs v slow",
  "e4 in Ib slow",
  "e5 in Ib slow",
  "e6 out Ib slow",
  "e7 out Ib slow",
  "ec in - slow",
  "ed in - slow",
  "ee out - slow",
  "ef out - slow",
  "0f00/0 sldt Ev slow,protected",
  "0f00/1 str Ev slow,protected",
  "0f00/2 lldt Ew slow,protected",
  "0f00/3 ltr Ew slow,protected",
  "0f00/4 verr Ew slow,protected",
  "0f00/5 verw Ew slow,protected",
  "0f01/0 sgdt Mv slow",
  "0f01/1 sidt Mv slow",
  "0f01/2 lgdt Mv slow",
  "0f01/3 lidt Mv slow",
  "0f01/4 smsw Ev slow",
  "0f01/6 lmsw Ew slow",
  "0f01/7 invlpg Mv slow",
  "0f02 lar Gv,Ew slow,protected",
  "0f03 lsl Gv,Ew slow,protected",
  "0f06 clts - slow",
  "0f08 invd - slow",
  "0f09 wbinvd - slow",
  "0f20 mov_from_cr R slow",
  "0f21 mov_from_dr R slow",
  "0f22 mov_to_cr R slow",
  "0f23 mov_to_dr R slow",
  "0f30 wrmsr - slow",
  "0f31 rdtsc - slow",
  "0f32 rdmsr - slow",
  "0f33 rdpmc - slow",
  "0f34 sysenter - slow",
  "0f35 sysexit - slow",
  "0fa2 cpuid - slow",
  "0faa rsm - slow",
  "0fc7/6 vmptrld Mv slow,protected",
  "0fc7/7 vmptrst Mv slow,protected",
  "0f78 vmread Ed,Gd slow,protected",
  "0f79 vmwrite Gd,Ed slow,protected",

  // x87 (part "x87"): opcode and ModRM decide.
  ...[0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf].map((opcode) => `${hex(opcode)} x87 Ev slow`),
  "9b fwait - slow",
  "0fae/0 fxsave Mv slow",
  "0fae/1 fxrstor Mv slow",
  // LFENCE, MFENCE, SFENCE: memory is always in order. GRUB issues them without asking CPUID for SSE2.
  ...[5, 6, 7].map((reg) => `0fae/${reg} nop Ev`),
];

/** Slow functions that have no row of their own: the decoder chooses them. */
export const DECODED_SLOW = {
  /** Undefined opcode, or a LOCK prefix that is not permitted. */
  undefined: "ud",
  /** More than 15 bytes. */
  tooLong: "too_long",
  /** F3 90. */
  pause: "pause",
  /** 0F 01 with a register r/m, by ModRM. */
  vmcall: "vmcall",
  vmlaunch: "vmlaunch",
  vmresume: "vmresume",
  vmxoff: "vmxoff",
  /** 66 and F3 0F C7 /6. */
  vmclear: "vmclear",
  vmxon: "vmxon",
  /** 66 0F 38 80 and 81. */
  invept: "invept",
  invvpid: "invvpid",
} as const;

export type OperandKind = "E" | "M" | "R" | "G" | "Z" | "N" | "A" | "C" | "I" | "S" | "U" | "O" | "J" | "P";
/** Bits, or "v" for the operand size. */
export type OperandWidth = 8 | 16 | 32 | "v";

export interface Operand {
  readonly kind: OperandKind;
  readonly width: OperandWidth;
}

export interface Opcode {
  /** Number among all rows. */
  readonly id: number;
  readonly name: string;
  readonly operands: readonly Operand[];
  /** Width of the operation: that of the first operand. */
  readonly width: OperandWidth;
  readonly modrm: boolean;
  readonly lock: boolean;
  readonly stack: boolean;
  readonly string: boolean;
  readonly slow: boolean;
  readonly usual: boolean;
  readonly protectedOnly: boolean;
}

const WIDTHS: Record<string, OperandWidth> = { b: 8, w: 16, d: 32, v: "v" };

function parse(row: string, id: number): [number, number, Opcode] {
  const [key, name, list = "-", remarks = ""] = row.trim().split(/\s+/) as [string, string, string?, string?];
  const [opcode, group] = key.split("/") as [string, string?];
  const isRemark = ["lock", "stack", "string", "slow", "usual"].includes(list);
  const plain = list === "-" || isRemark ? "" : list;
  const operands = /^[bv]?$/.test(plain)
    ? []
    : plain.split(",").map((text) => ({
        kind: text[0] as OperandKind,
        width: WIDTHS[text[1] ?? "d"] as OperandWidth,
      }));
  const all = isRemark ? list.split(",") : remarks.split(",");
  return [
    Number.parseInt(opcode, 16),
    group === undefined ? -1 : Number(group),
    {
      id,
      name,
      operands,
      width: plain.length === 1 ? (WIDTHS[plain] as OperandWidth) : (operands[0]?.width ?? "v"),
      modrm: group !== undefined || operands.some(({ kind }) => "EMRG".includes(kind)),
      lock: all.includes("lock"),
      stack: all.includes("stack"),
      string: all.includes("string"),
      slow: all.includes("slow"),
      usual: all.includes("usual"),
      protectedOnly: all.includes("protected"),
    },
  ];
}

/** By opcode (0x0fXX for the two-byte map): one row, or eight for a group. */
export const OPCODES = new Map<number, Opcode | (Opcode | undefined)[]>();
/** In the order of their ids. */
export const ALL_OPCODES: Opcode[] = [];

for (const [id, row] of ROWS.entries()) {
  const [opcode, group, entry] = parse(row, id);
  ALL_OPCODES.push(entry);
  if (group < 0) {
    OPCODES.set(opcode, entry);
    continue;
  }
  let rows = OPCODES.get(opcode);
  if (!Array.isArray(rows)) {
    rows = new Array<Opcode | undefined>(8).fill(undefined);
    OPCODES.set(opcode, rows);
  }
  rows[group] = entry;
}

/** Every name that the table of slow functions has to have. */
export const SLOW_NAMES: readonly string[] = [
  ...new Set([
    ...ALL_OPCODES.filter(({ slow, usual }) => slow || usual).map(({ name }) => name),
    ...Object.values(DECODED_SLOW),
  ]),
];
