// Part: disks as a back end sees them: sectors of 512 bytes that can be read, written, flushed and discarded.
// A disk is a layer over another: an image that nothing ever writes to, a copy-on-write overlay, faults. Requests reach a disk with
// their range already checked. Not modelled here: time, which is the back end's business.

import { digest64 } from "../../core/digest.ts";
import { assert, InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";

/** The unit of blkif's sector numbers (io/blkif.h), whatever a device's sector-size says. */
export const SECTOR_SIZE = 512;

/** 0, or a negative errno. */
export type DiskStatus = number;

export interface Disk {
  readonly sectorCount: number;
  /** `count` sectors from `sector`, or a negative errno. The bytes may be the disk's own: they are for reading only, before its next write. */
  read(sector: number, count: number): Uint8Array | DiskStatus;
  /** Whole sectors. */
  write(sector: number, bytes: Uint8Array): DiskStatus;
  flush(): DiskStatus;
  discard(sector: number, count: number): DiskStatus;
}

/** Sectors are kept in blocks of so many bytes: a page, as guests mostly write them. */
const BLOCK_SIZE = 4096;
const SECTORS_PER_BLOCK = BLOCK_SIZE / SECTOR_SIZE;
/** What a block without an image, and one that was discarded, holds. Never written to. */
const ZEROS = new Uint8Array(BLOCK_SIZE);
const NOTHING = new Uint8Array(0);

export interface OverlayState {
  sectorCount: number;
  /** Blocks that differ from the image, in ascending order; a discarded one has no bytes. */
  blocks: { number: number; bytes: Uint8Array }[];
}

/** A raw image, or an empty disk, with everything written to it kept beside it. */
export class OverlayDisk implements Disk, Snapshotable<OverlayState> {
  #sectorCount: number;
  readonly #image: Uint8Array;
  /** Blocks that hold anything in the image. */
  readonly #imageBlocks: number;
  readonly #blocks = new Map<number, Uint8Array>();
  /** Digests of the blocks that were not written to since; see {@link digest}. */
  readonly #digests = new Map<number, bigint>();

  /** @param image never written to; a last part sector is filled up with zeros, what lies beyond `sectorCount` is not seen */
  constructor(image: Uint8Array, sectorCount = Math.ceil(image.length / SECTOR_SIZE)) {
    this.#image = image;
    this.#imageBlocks = Math.ceil(image.length / BLOCK_SIZE);
    this.#sectorCount = sectorCount;
  }

  get sectorCount(): number {
    return this.#sectorCount;
  }

  /** What is cut off is lost; what is added reads as zeros. */
  resize(sectorCount: number): void {
    if (sectorCount < this.#sectorCount) {
      const first = Math.ceil(sectorCount / SECTORS_PER_BLOCK);
      const end = Math.min(first * SECTORS_PER_BLOCK, this.#sectorCount);
      this.write(sectorCount, new Uint8Array((end - sectorCount) * SECTOR_SIZE));
      this.#clear(first, Number.POSITIVE_INFINITY);
    }
    this.#sectorCount = sectorCount;
  }

  read(sector: number, count: number): Uint8Array {
    const start = sector % SECTORS_PER_BLOCK;
    if (start + count <= SECTORS_PER_BLOCK) {
      this.#checkInside(sector, count);
      const block = this.#block((sector - start) / SECTORS_PER_BLOCK);
      return count === SECTORS_PER_BLOCK ? block : block.subarray(start * SECTOR_SIZE, (start + count) * SECTOR_SIZE);
    }
    const bytes = new Uint8Array(count * SECTOR_SIZE);
    this.#eachBlock(sector, count, (number, within, from, length) => {
      bytes.set(this.#block(number).subarray(within, within + length), from);
    });
    return bytes;
  }

  write(sector: number, bytes: Uint8Array): DiskStatus {
    this.#eachBlock(sector, bytes.length / SECTOR_SIZE, (number, within, from, length) => {
      this.#own(number).set(bytes.subarray(from, from + length), within);
    });
    return 0;
  }

  flush(): DiskStatus {
    return 0;
  }

  /** Discarded sectors read as zeros. Takes as long as the image and what was written are large, however large the disk is. */
  discard(sector: number, count: number): DiskStatus {
    const first = Math.ceil(sector / SECTORS_PER_BLOCK);
    const end = Math.floor((sector + count) / SECTORS_PER_BLOCK);
    if (first >= end) return this.write(sector, new Uint8Array(count * SECTOR_SIZE));
    this.write(sector, new Uint8Array(first * BLOCK_SIZE - sector * SECTOR_SIZE));
    this.#clear(first, end);
    return this.write(end * SECTORS_PER_BLOCK, new Uint8Array((sector + count) * SECTOR_SIZE - end * BLOCK_SIZE));
  }

  /** Makes the blocks from `first` up to `end` zeros, and forgets what was written to them. */
  #clear(first: number, end: number): void {
    for (const number of [...this.#blocks.keys()]) if (number >= first && number < end) this.#drop(number);
    for (let number = first; number < Math.min(end, this.#imageBlocks); number++) this.#blocks.set(number, ZEROS);
  }

  #checkInside(sector: number, count: number): void {
    const isInside = sector >= 0 && count >= 0 && sector + count <= this.#sectorCount;
    assert(isInside, () => `sectors ${sector}+${count} of ${this.#sectorCount}`);
  }

  /** Calls back for the part of each block: its offset in the block, its offset in the whole, its length, all in bytes. */
  #eachBlock(
    sector: number,
    count: number,
    visit: (number: number, within: number, from: number, length: number) => void,
  ): void {
    this.#checkInside(sector, count);
    for (let done = 0; done < count; ) {
      const within = (sector + done) % SECTORS_PER_BLOCK;
      const sectors = Math.min(SECTORS_PER_BLOCK - within, count - done);
      const number = (sector + done - within) / SECTORS_PER_BLOCK;
      visit(number, within * SECTOR_SIZE, done * SECTOR_SIZE, sectors * SECTOR_SIZE);
      done += sectors;
    }
  }

  /** For reading only. */
  #block(number: number): Uint8Array {
    const own = this.#blocks.get(number);
    if (own !== undefined) return own;
    if (number >= this.#imageBlocks) return ZEROS;
    const image = this.#image.subarray(number * BLOCK_SIZE, (number + 1) * BLOCK_SIZE);
    if (image.length === BLOCK_SIZE) return image;
    const block = new Uint8Array(BLOCK_SIZE);
    block.set(image);
    return block;
  }

  #drop(number: number): void {
    this.#blocks.delete(number);
    this.#digests.delete(number);
  }

  /** For writing. */
  #own(number: number): Uint8Array {
    this.#digests.delete(number);
    const own = this.#blocks.get(number);
    if (own !== undefined && own !== ZEROS) return own;
    const block = this.#block(number).slice();
    this.#blocks.set(number, block);
    return block;
  }

  /** A digest of what {@link save} gives: the sum of the blocks' digests, each seeded with its number. Blocks not written to since are not read. */
  digest(): bigint {
    let sum = BigInt(this.#sectorCount);
    for (const [number, bytes] of this.#blocks) {
      let digest = this.#digests.get(number);
      if (digest === undefined) {
        digest = digest64(bytes === ZEROS ? NOTHING : bytes, number + 1);
        this.#digests.set(number, digest);
      }
      sum += digest;
    }
    return BigInt.asUintN(64, sum);
  }

  save(): OverlayState {
    const blocks = Array.from(this.#blocks, ([number, bytes]) => ({
      number,
      bytes: bytes === ZEROS ? new Uint8Array(0) : bytes.slice(),
    }));
    return { sectorCount: this.#sectorCount, blocks: blocks.sort((a, b) => a.number - b.number) };
  }

  /** @throws InputError when a block is not one of this disk's */
  load({ sectorCount, blocks }: OverlayState): void {
    if (!Number.isSafeInteger(sectorCount) || sectorCount < 1) {
      throw new InputError(`${sectorCount} sectors`, "snapshot of a disk");
    }
    // Of a disk that shrank, what the image had beyond its end is zeros.
    const blockCount = Math.max(Math.ceil(sectorCount / SECTORS_PER_BLOCK), this.#imageBlocks);
    for (const { number, bytes } of blocks) {
      const isInside = number >= 0 && number < blockCount;
      if (!isInside || (bytes.length !== 0 && bytes.length !== BLOCK_SIZE)) {
        throw new InputError(`block ${number} of ${bytes.length} bytes does not fit`, "snapshot of a disk");
      }
    }
    this.#sectorCount = sectorCount;
    this.#blocks.clear();
    this.#digests.clear();
    for (const { number, bytes } of blocks) this.#blocks.set(number, bytes.length === 0 ? ZEROS : bytes.slice());
  }
}
