// Part: what lies on a NE2000's local bus: the station address PROM at 0 and 16 KiB of packet memory at 0x4000 (Novell NE2000 schematic; the same on
// RTL8029 cards). Everywhere else reads give all ones and writes vanish.

const PROM_SIZE = 32;
const PACKET_MEMORY_START = 0x4000;
const PACKET_MEMORY_SIZE = 0x4000;
/** Pages of 256 bytes: the first of the packet memory and the first behind it. */
export const FIRST_PAGE = PACKET_MEMORY_START >> 8;
export const END_PAGE = (PACKET_MEMORY_START + PACKET_MEMORY_SIZE) >> 8;

/** "W" twice at the PROM's end tells drivers of a card with a 16-bit bus. */
const WORD_WIDE = 0x57;

/** The PROM: eight bits wide, so on the 16-bit bus every byte is there twice. */
export function promImage(address: Uint8Array): Uint8Array {
  const prom = new Uint8Array(PROM_SIZE);
  for (let index = 0; index < PROM_SIZE / 2; index++) {
    prom[2 * index] = prom[2 * index + 1] = index < address.length ? address[index]! : index >= 14 ? WORD_WIDE : 0;
  }
  return prom;
}

export function newMemory(): Uint8Array {
  return new Uint8Array(PACKET_MEMORY_SIZE);
}

export function memoryIsWhole(memory: Uint8Array): boolean {
  return memory.length === PACKET_MEMORY_SIZE;
}

/** @param address 16 bits */
export function readLocal(memory: Uint8Array, prom: Uint8Array, address: number): number {
  const offset = address - PACKET_MEMORY_START;
  if (offset >= 0 && offset < PACKET_MEMORY_SIZE) return memory[offset]!;
  return address < PROM_SIZE ? prom[address]! : 0xff;
}

/** Packet memory from a local address on, at most so many bytes, as a view; empty where no packet memory is. */
export function packetMemory(memory: Uint8Array, address: number, length: number): Uint8Array {
  const offset = address - PACKET_MEMORY_START;
  return offset >= 0 ? memory.subarray(offset, offset + length) : memory.subarray(0, 0);
}

/** @param address 16 bits */
export function writeLocal(memory: Uint8Array, address: number, value: number): void {
  const offset = address - PACKET_MEMORY_START;
  if (offset >= 0 && offset < PACKET_MEMORY_SIZE) memory[offset] = value;
}
