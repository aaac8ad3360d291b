// Part: disks as a back end sees them: sectors of 512 bytes that can be read, written, flushed and discarded.
// A disk is a layer over another: an image that nothing ever writes to, a copy-on-write overlay, faults. Requests reach a disk with
// their range already checked. Not modelled here: time, which is the back end's business.

import { assert } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";

/** The unit of blkif's sector numbers (io/blkif.h), whatever a device's sector-size says. */
export const SECTOR_SIZE = 512;

/** 0, or a negative errno. */
export type DiskStatus = number;

export interface Disk {
  readonly sectorCount: number;
  /** `count` sectors from `sector` as bytes of their own, or a negative errno. */
  read(sector: number, count: number): Uint8Array | DiskStatus;
  /** Whole sectors. */
  write(sector: number, bytes: Uint8Array): DiskStatus;
  flush(): DiskStatus;
  discard(sector: number, count: number): DiskStatus;
}

/** Sectors are kept in blocks of so many bytes: a page, as guests mostly write them. */
const BLOCK_SIZE = 4096;
const SECTORS_PER_BLOCK = BLOCK_SIZE / SECTOR_SIZE;

export interface OverlayState {
  /** Blocks that differ from the image, in ascending order. */
  blocks: { number: number; bytes: Uint8Array }[];
}

/** A raw image, or an empty disk, with everything written to it kept beside it. */
export class OverlayDisk implements Disk, Snapshotable<OverlayState> {
  readonly sectorCount: number;
  readonly #image: Uint8Array;
  readonly #blocks = new Map<number, Uint8Array>();

  /** @param image never written to; a last part sector is filled up with zeros */
  constructor(image: Uint8Array, sectorCount = Math.ceil(image.length / SECTOR_SIZE)) {
    this.#image = image;
    this.sectorCount = sectorCount;
  }

  read(sector: number, count: number): Uint8Array {
    this.#check(sector, count);
    const bytes = new Uint8Array(count * SECTOR_SIZE);
    for (let done = 0; done < count; ) {
      const number = Math.floor((sector + done) / SECTORS_PER_BLOCK);
      const within = (sector + done) % SECTORS_PER_BLOCK;
      const sectors = Math.min(SECTORS_PER_BLOCK - within, count - done);
      const from = within * SECTOR_SIZE;
      bytes.set(this.#block(number).subarray(from, from + sectors * SECTOR_SIZE), done * SECTOR_SIZE);
      done += sectors;
    }
    return bytes;
  }

  write(sector: number, bytes: Uint8Array): DiskStatus {
    const count = bytes.length / SECTOR_SIZE;
    this.#check(sector, count);
    for (let done = 0; done < count; ) {
      const number = Math.floor((sector + done) / SECTORS_PER_BLOCK);
      const within = (sector + done) % SECTORS_PER_BLOCK;
      const sectors = Math.min(SECTORS_PER_BLOCK - within, count - done);
      const from = done * SECTOR_SIZE;
      this.#own(number).set(bytes.subarray(from, from + sectors * SECTOR_SIZE), within * SECTOR_SIZE);
      done += sectors;
    }
    return 0;
  }

  flush(): DiskStatus {
    return 0;
  }

  /** Discarded sectors read as zeros. */
  discard(sector: number, count: number): DiskStatus {
    return this.write(sector, new Uint8Array(count * SECTOR_SIZE));
  }

  #block(number: number): Uint8Array {
    const own = this.#blocks.get(number);
    if (own !== undefined) return own;
    const block = new Uint8Array(BLOCK_SIZE);
    block.set(this.#image.subarray(number * BLOCK_SIZE, (number + 1) * BLOCK_SIZE));
    return block;
  }

  #own(number: number): Uint8Array {
    const block = this.#block(number);
    this.#blocks.set(number, block);
    return block;
  }

  #check(sector: number, count: number): void {
    assert(
      sector >= 0 && count >= 0 && sector + count <= this.sectorCount,
      `sectors ${sector}+${count} of ${this.sectorCount}`,
    );
  }

  save(): OverlayState {
    const blocks = Array.from(this.#blocks, ([number, bytes]) => ({ number, bytes: bytes.slice() }));
    return { blocks: blocks.sort((a, b) => a.number - b.number) };
  }

  load(state: OverlayState): void {
    this.#blocks.clear();
    for (const { number, bytes } of state.blocks) this.#blocks.set(number, bytes.slice());
  }
}
