// Part: a guest's physical memory, as the hypervisor and the devices see it.
// It is a window into the one WebAssembly.Memory that the processor shares; that memory never grows, so views of it stay
// valid. The processor's own loads and stores do not come through here, and it learns of all others from `writeObserver`,
// because they may overwrite code that it has decoded. Numbers are little-endian, as on x86.

import { assert, InputError, OutOfRange } from "./errors.ts";
import type { Snapshotable } from "./snapshot.ts";

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;

/** The runs of pages that are not all zeros, in ascending order; everything between them is zero. */
export interface GuestMemoryState {
  /** Bytes. */
  size: number;
  runs: { address: number; bytes: Uint8Array }[];
}

/**
 * What ringback uses of a WebAssembly.Memory. The package's declarations name this one: not every program that imports it has that name among
 * its types.
 */
export interface LinearMemory {
  readonly buffer: ArrayBuffer;
}

/** Called after a store with the guest-physical address of its first byte and its length in bytes. */
export type WriteObserver = (address: number, length: number) => void;

export class GuestMemory implements Snapshotable<GuestMemoryState> {
  /** Bytes; a whole number of pages. */
  readonly size: number;
  /** The window itself. For reading only: what is stored here, `writeObserver` does not hear of. */
  readonly bytes: Uint8Array;
  /** Installed by the processor. */
  writeObserver: WriteObserver | undefined;
  readonly #words: Int32Array;
  readonly #view: DataView;

  /**
   * @param memory created with `initial` equal to `maximum`
   * @param byteOffset where guest-physical address 0 lies in `memory`; a multiple of the page size
   * @param size bytes; a multiple of the page size
   */
  constructor(memory: LinearMemory, byteOffset: number, size: number) {
    assert(byteOffset % PAGE_SIZE === 0 && size % PAGE_SIZE === 0, "guest memory is made of whole pages");
    this.size = size;
    this.bytes = new Uint8Array(memory.buffer, byteOffset, size);
    this.#words = new Int32Array(memory.buffer, byteOffset, size >> 2);
    this.#view = new DataView(memory.buffer, byteOffset, size);
  }

  /** @throws OutOfRange, as all accesses do when they leave the window */
  load8(address: number): number {
    this.#check(address, 1);
    return this.#view.getUint8(address);
  }

  load16(address: number): number {
    this.#check(address, 2);
    return this.#view.getUint16(address, true);
  }

  load32(address: number): number {
    this.#check(address, 4);
    return this.#view.getUint32(address, true);
  }

  store8(address: number, value: number): void {
    this.#check(address, 1);
    this.#view.setUint8(address, value);
    this.writeObserver?.(address, 1);
  }

  store16(address: number, value: number): void {
    this.#check(address, 2);
    this.#view.setUint16(address, value, true);
    this.writeObserver?.(address, 2);
  }

  store32(address: number, value: number): void {
    this.#check(address, 4);
    this.#view.setUint32(address, value, true);
    this.writeObserver?.(address, 4);
  }

  /** Stores 32-bit words one after the other; the address is a multiple of 4. */
  storeWords(address: number, words: Uint32Array): void {
    this.#check(address, 4 * words.length);
    const first = address >>> 2;
    for (let index = 0; index < words.length; index++) this.#words[first + index] = words[index]!;
    this.writeObserver?.(address, 4 * words.length);
  }

  /** Copies `count` 32-bit words to `target`, from its word `from` on; the address is a multiple of 4. */
  loadWords(address: number, target: Uint32Array, from: number, count: number): void {
    this.#check(address, 4 * count);
    const first = address >>> 2;
    for (let index = 0; index < count; index++) target[from + index] = this.#words[first + index]!;
  }

  /** A copy, which the guest cannot change any more. */
  read(address: number, length: number): Uint8Array {
    this.#check(address, length);
    return this.bytes.slice(address, address + length);
  }

  write(address: number, bytes: Uint8Array): void {
    this.#check(address, bytes.length);
    this.bytes.set(bytes, address);
    this.writeObserver?.(address, bytes.length);
  }

  save(): GuestMemoryState {
    const runs: GuestMemoryState["runs"] = [];
    const end = this.size / PAGE_SIZE;
    for (let page = 0; page < end; page++) {
      if (isZeroPage(this.#words, page)) continue;
      const first = page;
      while (page + 1 < end && !isZeroPage(this.#words, page + 1)) page++;
      const address = first * PAGE_SIZE;
      runs.push({ address, bytes: this.bytes.slice(address, (page + 1) * PAGE_SIZE) });
    }
    return { size: this.size, runs };
  }

  /** @throws InputError when the snapshot is of a memory of another size or its runs are not ascending inside it */
  load(state: GuestMemoryState): void {
    if (state.size !== this.size) {
      throw new InputError(`${state.size} bytes, this machine has ${this.size}`, "snapshot of guest memory");
    }
    let end = 0;
    for (const { address, bytes } of state.runs) {
      if (!(address >= end && address + bytes.length <= this.size)) {
        throw new InputError(`the run at 0x${address.toString(16)} is out of place`, "snapshot of guest memory");
      }
      end = address + bytes.length;
    }
    let zeroFrom = 0;
    for (const { address, bytes } of state.runs) {
      this.bytes.fill(0, zeroFrom, address);
      this.bytes.set(bytes, address);
      zeroFrom = address + bytes.length;
    }
    this.bytes.fill(0, zeroFrom);
    this.writeObserver?.(0, this.size);
  }

  #check(address: number, length: number): void {
    if (!(address >= 0 && address + length <= this.size)) throw new OutOfRange(address, length, "guest memory");
  }
}

/** Whether a page of a memory, given as words, holds nothing but zeros. */
export function isZeroPage(words: Int32Array, page: number): boolean {
  const end = ((page + 1) * PAGE_SIZE) >> 2;
  for (let word = (page * PAGE_SIZE) >> 2; word < end; word += 4) {
    if ((words[word]! | words[word + 1]! | words[word + 2]! | words[word + 3]!) !== 0) return false;
  }
  return true;
}
