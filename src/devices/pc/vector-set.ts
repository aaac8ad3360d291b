// Part: a 256-bit register of the local APIC, a bit for each vector (SDM Vol. 3 §11.8.4), as eight words.

export const noVectors = (): number[] => [0, 0, 0, 0, 0, 0, 0, 0];

/** The highest vector in the set, -1 for none. */
export function highestVector(words: readonly number[]): number {
  for (let index = 7; index >= 0; index--) {
    const word = words[index] ?? 0;
    if (word !== 0) return index * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

export function hasVector(words: readonly number[], vector: number): boolean {
  return (((words[vector >>> 5] ?? 0) >>> (vector & 31)) & 1) === 1;
}

export function addVector(words: number[], vector: number): void {
  words[vector >>> 5] = (words[vector >>> 5] ?? 0) | (1 << (vector & 31));
}

export function removeVector(words: number[], vector: number): void {
  words[vector >>> 5] = (words[vector >>> 5] ?? 0) & ~(1 << (vector & 31));
}
