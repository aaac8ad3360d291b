/**
 * What the processor says of itself. SDM Vol. 2 "CPUID".
 *
 * CPUID always exits from VMX non-root operation (SDM Vol. 3 §26.1.2), so no guest reads this table; the hypervisor
 * does, and composes its answer from it.
 */

/** EAX, EBX, ECX, EDX. */
export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

const bits = (...positions: number[]): number => positions.reduce((word, bit) => word | (1 << bit), 0) >>> 0;

function text(value: string): number[] {
  const words: number[] = [];
  for (let at = 0; at < value.length; at += 4) {
    const [a = 0, b = 0, c = 0, d = 0] = [0, 1, 2, 3].map((index) => value.charCodeAt(at + index) || 0);
    words.push((a | (b << 8) | (c << 16) | (d << 24)) >>> 0);
  }
  return words;
}

const word = (words: readonly number[], index: number): number => words[index] ?? 0;
const VENDOR = text("GenuineIntel");
const BRAND = text("ringback i686".padEnd(48, "\0"));
const brand = (leaf: number): CpuidResult => [
  word(BRAND, 4 * leaf),
  word(BRAND, 4 * leaf + 1),
  word(BRAND, 4 * leaf + 2),
  word(BRAND, 4 * leaf + 3),
];

/** Family 6, model 8, stepping 3, the same as in EDX after RESET. */
const SIGNATURE = 0x683;
/** ECX bit 5: VMX. */
const FEATURES_ECX = bits(5);
/** FPU 0, DE 2, PSE 3, TSC 4, MSR 5, PAE 6, MCE 7, CX8 8, SEP 11, PGE 13, CMOV 15, PAT 16, FXSR 24. */
const FEATURES_EDX = bits(0, 2, 3, 4, 5, 6, 7, 8, 11, 13, 15, 16, 24);
/** Execute-disable. */
const EXTENDED_FEATURES_EDX = bits(20);
/** 36 bits of physical and 32 of linear address. */
const ADDRESS_SIZES = 36 | (32 << 8);

const LEAVES: ReadonlyMap<number, CpuidResult> = new Map<number, CpuidResult>([
  [0, [1, word(VENDOR, 0), word(VENDOR, 2), word(VENDOR, 1)]],
  [1, [SIGNATURE, 0, FEATURES_ECX, FEATURES_EDX]],
  [0x8000_0000, [0x8000_0008, 0, 0, 0]],
  [0x8000_0001, [0, 0, 0, EXTENDED_FEATURES_EDX]],
  [0x8000_0002, brand(0)],
  [0x8000_0003, brand(1)],
  [0x8000_0004, brand(2)],
  [0x8000_0008, [ADDRESS_SIZES, 0, 0, 0]],
]);

const NOTHING: CpuidResult = [0, 0, 0, 0];

/** The leaf `leaf` (unsigned). Leaves that do not exist, also those beyond the highest one, are all zeros. */
export function cpuid(leaf: number): CpuidResult {
  return LEAVES.get(leaf) ?? NOTHING;
}
