// Part: a model domain's memory as its kernel sees it: pages by guest frame number, through the p2m as the processor's accesses go through the
// EPT. Translations are kept until the p2m says that one was taken away.

import { OutOfRange } from "../../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../../core/memory.ts";
import { shortCopy } from "../../core/slab.ts";
import type { P2m } from "../p2m.ts";

const WRITABLE = 1;

export class ModelMemory {
  readonly host: GuestMemory;
  readonly #p2m: P2m;
  /** By guest frame: host-physical address of the page, and WRITABLE. 0 for what was not looked up. */
  #translations: number[] = [];

  constructor(host: GuestMemory, p2m: P2m) {
    this.host = host;
    this.#p2m = p2m;
  }

  /**
   * Host-physical address of `width` bytes of a page.
   * @throws OutOfRange when they leave the page, or the domain has no such page or may not write to it
   */
  address(gfn: number, offset: number, width: number, write: boolean): number {
    if (this.#p2m.stale) this.flush();
    const entry = this.#translations[gfn] || this.#look(gfn);
    if (entry === 0 || (write && (entry & WRITABLE) === 0) || !(offset >= 0 && offset + width <= PAGE_SIZE)) {
      throw new OutOfRange(gfn * PAGE_SIZE + offset, width, "memory of a model domain");
    }
    return (entry & ~WRITABLE) + offset;
  }

  /** Forgets all translations. */
  flush(): void {
    this.#translations = [];
    this.#p2m.stale = false;
  }

  #look(gfn: number): number {
    const frame = this.#p2m.frameOf(gfn);
    if (frame < 0) return 0;
    const entry = (frame << PAGE_SHIFT) + (this.#p2m.writable(gfn) ? WRITABLE : 0);
    this.#translations[gfn] = entry;
    return entry;
  }
}

/** A page of a model domain. Offsets are bytes from 0 to 4095; numbers are little-endian and unsigned; all accesses throw OutOfRange. */
export class Page {
  readonly gfn: number;
  readonly #memory: ModelMemory;
  readonly #host: GuestMemory;

  constructor(memory: ModelMemory, gfn: number) {
    this.gfn = gfn;
    this.#memory = memory;
    this.#host = memory.host;
  }

  load8(offset: number): number {
    return this.#host.load8(this.#memory.address(this.gfn, offset, 1, false));
  }

  load16(offset: number): number {
    return this.#host.load16(this.#memory.address(this.gfn, offset, 2, false));
  }

  load32(offset: number): number {
    return this.#host.load32(this.#memory.address(this.gfn, offset, 4, false));
  }

  load64(offset: number): bigint {
    const address = this.#memory.address(this.gfn, offset, 8, false);
    return (BigInt(this.#host.load32(address + 4)) << 32n) | BigInt(this.#host.load32(address));
  }

  store8(offset: number, value: number): void {
    this.#host.store8(this.#memory.address(this.gfn, offset, 1, true), value);
  }

  store16(offset: number, value: number): void {
    this.#host.store16(this.#memory.address(this.gfn, offset, 2, true), value);
  }

  store32(offset: number, value: number): void {
    this.#host.store32(this.#memory.address(this.gfn, offset, 4, true), value);
  }

  store64(offset: number, value: bigint): void {
    const address = this.#memory.address(this.gfn, offset, 8, true);
    this.#host.store32(address, Number(value & 0xffff_ffffn));
    this.#host.store32(address + 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  /** Copies `count` 32-bit words to `target`, from its word `from` on; the offset is a multiple of 4. */
  loadWords(offset: number, target: Uint32Array, from: number, count: number): void {
    this.#host.loadWords(this.#memory.address(this.gfn, offset, 4 * count, false), target, from, count);
  }

  /** A copy, which no peer can change any more. */
  read(offset: number, length: number): Uint8Array {
    const address = this.#memory.address(this.gfn, offset, length, false);
    return shortCopy(this.#host.bytes, address, address + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#host.write(this.#memory.address(this.gfn, offset, bytes.length, true), bytes);
  }
}
