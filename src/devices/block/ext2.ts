// Part: a builder of ext2 file systems (revision 1, blocks of 1 KiB, file types in directories), for disks that a scenario fills itself. The
// same files, size and time give the same bytes. Layout after the kernel's Documentation/filesystems/ext2.rst and e2fsprogs' ext2_fs.h.
// Not modelled: sparse files, links, sizes past the 2 GiB that need the large_file feature.

import { Sha256 } from "../../core/digest.ts";
import { InputError } from "../../core/errors.ts";
import { checkLimit, type Limit } from "../../core/limits.ts";
import { KIB } from "../../core/units.ts";

export interface Ext2File {
  /** Absolute, "/" between names. Directories are made as they are needed. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface Ext2Options {
  readonly files: readonly Ext2File[];
  /** Size of the file system in blocks of 1 KiB. */
  readonly blockCount: number;
  /** All times of the file system, seconds since 1970-01-01 00:00 UTC. */
  readonly timestampSeconds: number;
}

const BLOCK = KIB;
/** One bit for each in a group's bitmap of one block. */
const BLOCKS_PER_GROUP = 8 * BLOCK;
/** Block 0 is left to a boot loader. */
const FIRST_BLOCK = 1;
const INODE_SIZE = 128;
const INODES_PER_BLOCK = BLOCK / INODE_SIZE;
const DESCRIPTOR_SIZE = 32;
/** One inode for 4 KiB, the ratio of `mke2fs -T small`. */
const BLOCKS_PER_INODE = 4;
const ROOT_INODE = 2;
/** Also the number of lost+found's inode. */
const FIRST_FREE_INODE = 11;
const POINTERS_PER_BLOCK = BLOCK / 4;
/** How many blocks of pointers stand between each of an inode's 15 pointers and the data. */
const POINTER_DEPTHS = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3];
const NAME_MAX = 255;
const DIRECTORY_MODE = 0o040_755;
const FILE_MODE = 0o100_644;
const FILE_TYPE = { file: 1, directory: 2 } as const;
const ALL_ONES = 0xff;

const BLOCK_LIMIT: Limit = {
  of: "blocks",
  maximum: 1 << 20,
  because: "a disk image is kept whole in memory",
};

interface Node {
  readonly name: string;
  readonly inode: number;
  readonly parent: number;
  /** A directory has children, a file has bytes. */
  readonly children: Map<string, Node> | undefined;
  readonly bytes: Uint8Array;
}

const utf8 = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** An image of `blockCount` KiB. @throws InputError on a path that is none, or when the files do not fit */
export function buildExt2({ files, blockCount, timestampSeconds }: Ext2Options): Uint8Array {
  checkLimit(BLOCK_LIMIT, blockCount, "ext2 image");
  return new Builder(plant(files), blockCount, timestampSeconds).build(identity(files));
}

/** The tree of directories and files, in the order of their inodes. */
function plant(files: readonly Ext2File[]): Node[] {
  const directory = (name: string, inode: number, parent: number): Node => ({
    name,
    inode,
    parent,
    children: new Map(),
    bytes: NOTHING,
  });
  const root = directory("", ROOT_INODE, ROOT_INODE);
  const nodes = [root];
  const add = (into: Node, node: Node): Node => {
    into.children?.set(node.name, node);
    nodes.push(node);
    return node;
  };
  const nextInode = () => FIRST_FREE_INODE + nodes.length - 1;
  add(root, directory("lost+found", nextInode(), ROOT_INODE));
  for (const { path, bytes } of files) {
    const names = splitPath(path);
    const last = names.pop() ?? "";
    let at = root;
    for (const name of names) {
      at = at.children?.get(name) ?? add(at, directory(name, nextInode(), at.inode));
      if (at.children === undefined) throw new InputError("one of its directories is a file", `ext2 path ${path}`);
    }
    if (at.children?.has(last)) throw new InputError("is there already", `ext2 path ${path}`);
    add(at, { name: last, inode: nextInode(), parent: at.inode, children: undefined, bytes });
  }
  return nodes;
}

function splitPath(path: string): string[] {
  const [before, ...names] = path.split("/");
  const isName = (name: string) => {
    const { length } = utf8.encode(name);
    return length > 0 && length <= NAME_MAX && name !== "." && name !== ".." && !name.includes("\0");
  };
  if (before !== "" || names.length === 0 || !names.every(isName)) {
    throw new InputError("not an absolute path of names of 1 to 255 bytes", `ext2 path ${path}`);
  }
  return names;
}

/** A UUID (RFC 9562, version 8) that depends on the files alone. */
function identity(files: readonly Ext2File[]): Uint8Array {
  const digest = new Sha256();
  for (const { path, bytes } of files) digest.update(utf8.encode(`${path}\0${bytes.length}\0`)).update(bytes);
  const uuid = digest.digest().slice(0, 16);
  uuid[6] = 0x80 | (uuid[6]! & 0x0f);
  uuid[8] = 0x80 | (uuid[8]! & 0x3f);
  return uuid;
}

interface Group {
  readonly first: number;
  readonly end: number;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
  readonly data: number;
}

class Builder {
  readonly #nodes: readonly Node[];
  readonly #blockCount: number;
  readonly #timestampSeconds: number;
  readonly #image: Uint8Array;
  readonly #view: DataView;
  readonly #groups: readonly Group[];
  readonly #inodesPerGroup: number;
  /** The block that the next allocation looks at; everything before it is in use. */
  #nextBlock = FIRST_BLOCK;

  constructor(nodes: readonly Node[], blockCount: number, timestampSeconds: number) {
    this.#nodes = nodes;
    this.#blockCount = blockCount;
    this.#timestampSeconds = timestampSeconds;
    const groupCount = Math.max(1, Math.ceil((blockCount - FIRST_BLOCK) / BLOCKS_PER_GROUP));
    const inodes = Math.max(blockCount / BLOCKS_PER_INODE, FIRST_FREE_INODE + nodes.length) / groupCount;
    this.#inodesPerGroup = Math.ceil(inodes / INODES_PER_BLOCK) * INODES_PER_BLOCK;
    if (this.#inodesPerGroup > BLOCKS_PER_GROUP) this.#doesNotFit();
    const descriptorBlocks = Math.ceil((groupCount * DESCRIPTOR_SIZE) / BLOCK);
    this.#groups = Array.from({ length: groupCount }, (_, index) => {
      const first = FIRST_BLOCK + index * BLOCKS_PER_GROUP;
      const blockBitmap = first + 1 + descriptorBlocks;
      const inodeTable = blockBitmap + 2;
      const data = inodeTable + this.#inodesPerGroup / INODES_PER_BLOCK;
      const end = Math.min(first + BLOCKS_PER_GROUP, blockCount);
      if (data >= end) throw new InputError("its last block group has no room for its own tables", "ext2 image");
      return { first, end, blockBitmap, inodeBitmap: blockBitmap + 1, inodeTable, data };
    });
    this.#image = new Uint8Array(blockCount * BLOCK);
    this.#view = new DataView(this.#image.buffer);
  }

  build(uuid: Uint8Array): Uint8Array {
    for (const node of this.#nodes) this.#writeNode(node);
    const descriptors = this.#groups.map((group, index) => this.#writeBitmaps(group, index));
    for (const [index, { first }] of this.#groups.entries()) {
      this.#writeSuperblock(first * BLOCK, index, descriptors, uuid);
      for (const [other, descriptor] of descriptors.entries()) {
        const at = (first + 1) * BLOCK + other * DESCRIPTOR_SIZE;
        const { blockBitmap, inodeBitmap, inodeTable } = this.#groups[other]!;
        for (const [word, block] of [blockBitmap, inodeBitmap, inodeTable].entries()) {
          this.#view.setUint32(at + 4 * word, block, true);
        }
        this.#view.setUint16(at + 12, descriptor.freeBlocks, true);
        this.#view.setUint16(at + 14, descriptor.freeInodes, true);
        this.#view.setUint16(at + 16, descriptor.directories, true);
      }
    }
    return this.#image;
  }

  /** Lays out a node's data and fills in its inode (`struct ext2_inode`). */
  #writeNode(node: Node): void {
    const { children } = node;
    const bytes = children === undefined ? node.bytes : directoryBytes(node, children);
    const at = this.#inodeOffset(node.inode);
    const subdirectories = Array.from(children?.values() ?? []).filter((child) => child.children !== undefined).length;
    this.#view.setUint16(at, children === undefined ? FILE_MODE : DIRECTORY_MODE, true);
    this.#view.setUint32(at + 4, bytes.length, true);
    for (const time of [8, 12, 16]) this.#view.setUint32(at + time, this.#timestampSeconds, true);
    this.#view.setUint16(at + 26, children === undefined ? 1 : 2 + subdirectories, true);
    const source = { bytes, at: 0, blocks: 0 };
    for (const [index, depth] of POINTER_DEPTHS.entries()) {
      if (source.at < bytes.length) this.#view.setUint32(at + 40 + 4 * index, this.#place(source, depth), true);
    }
    if (source.at < bytes.length) this.#doesNotFit();
    this.#view.setUint32(at + 28, source.blocks * (BLOCK / 512), true);
  }

  /** Allocates a block and puts the next data in it, through `depth` levels of pointers; its number. */
  #place(source: { readonly bytes: Uint8Array; at: number; blocks: number }, depth: number): number {
    const block = this.#allocate();
    source.blocks++;
    if (depth === 0) {
      this.#image.set(source.bytes.subarray(source.at, source.at + BLOCK), block * BLOCK);
      source.at += BLOCK;
    } else {
      for (let index = 0; index < POINTERS_PER_BLOCK && source.at < source.bytes.length; index++) {
        this.#view.setUint32(block * BLOCK + 4 * index, this.#place(source, depth - 1), true);
      }
    }
    return block;
  }

  #allocate(): number {
    const group = this.#groups[Math.floor((this.#nextBlock - FIRST_BLOCK) / BLOCKS_PER_GROUP)];
    if (group === undefined || this.#nextBlock >= this.#blockCount) this.#doesNotFit();
    const block = Math.max(this.#nextBlock, group.data);
    this.#nextBlock = block + 1;
    return block;
  }

  #writeBitmaps(group: Group, index: number): { freeBlocks: number; freeInodes: number; directories: number } {
    const usedEnd = Math.min(Math.max(this.#nextBlock, group.data), group.end);
    this.#mark(group.blockBitmap, 0, usedEnd - group.first);
    this.#mark(group.blockBitmap, group.end - group.first, BLOCKS_PER_GROUP);
    const firstInode = index * this.#inodesPerGroup;
    const lastInode = FIRST_FREE_INODE + this.#nodes.length - 2;
    const usedInodes = Math.min(Math.max(lastInode - firstInode, 0), this.#inodesPerGroup);
    this.#mark(group.inodeBitmap, 0, usedInodes);
    this.#mark(group.inodeBitmap, this.#inodesPerGroup, BLOCKS_PER_GROUP);
    const directories = this.#nodes.filter(
      ({ inode, children }) => children !== undefined && Math.floor((inode - 1) / this.#inodesPerGroup) === index,
    ).length;
    return { freeBlocks: group.end - usedEnd, freeInodes: this.#inodesPerGroup - usedInodes, directories };
  }

  /** Sets bits `from` to `end` of a bitmap block. */
  #mark(block: number, from: number, end: number): void {
    const at = block * BLOCK;
    let bit = from;
    for (; bit < end && bit % 8 !== 0; bit++) this.#image[at + (bit >> 3)]! |= 1 << (bit & 7);
    this.#image.fill(ALL_ONES, at + (bit >> 3), at + Math.max(end >> 3, bit >> 3));
    for (bit = Math.max(bit, end & ~7); bit < end; bit++) this.#image[at + (bit >> 3)]! |= 1 << (bit & 7);
  }

  /** `struct ext2_super_block`: what is not named is 0. */
  #writeSuperblock(
    at: number,
    group: number,
    descriptors: readonly { readonly freeBlocks: number; readonly freeInodes: number }[],
    uuid: Uint8Array,
  ): void {
    const words: Readonly<Record<number, number>> = {
      0: this.#inodesPerGroup * this.#groups.length, // s_inodes_count
      4: this.#blockCount, // s_blocks_count
      12: descriptors.reduce((sum, { freeBlocks }) => sum + freeBlocks, 0), // s_free_blocks_count
      16: descriptors.reduce((sum, { freeInodes }) => sum + freeInodes, 0), // s_free_inodes_count
      20: FIRST_BLOCK, // s_first_data_block
      32: BLOCKS_PER_GROUP, // s_blocks_per_group
      36: BLOCKS_PER_GROUP, // s_frags_per_group
      40: this.#inodesPerGroup, // s_inodes_per_group
      48: this.#timestampSeconds, // s_wtime
      64: this.#timestampSeconds, // s_lastcheck
      76: 1, // s_rev_level: EXT2_DYNAMIC_REV
      84: FIRST_FREE_INODE, // s_first_ino
      96: 2, // s_feature_incompat: FILETYPE
      264: this.#timestampSeconds, // s_mkfs_time
    };
    const halfWords: Readonly<Record<number, number>> = {
      54: 0xffff, // s_max_mnt_count: never checked for it
      56: 0xef53, // s_magic
      58: 1, // s_state: EXT2_VALID_FS
      60: 1, // s_errors: EXT2_ERRORS_CONTINUE
      88: INODE_SIZE, // s_inode_size
      90: group, // s_block_group_nr
    };
    for (const [offset, value] of Object.entries(words)) this.#view.setUint32(at + Number(offset), value, true);
    for (const [offset, value] of Object.entries(halfWords)) this.#view.setUint16(at + Number(offset), value, true);
    this.#image.set(uuid, at + 104);
  }

  #inodeOffset(inode: number): number {
    const group = this.#groups[Math.floor((inode - 1) / this.#inodesPerGroup)];
    if (group === undefined) this.#doesNotFit();
    return group.inodeTable * BLOCK + ((inode - 1) % this.#inodesPerGroup) * INODE_SIZE;
  }

  #doesNotFit(): never {
    throw new InputError(`the files do not fit in ${this.#blockCount} blocks`, "ext2 image");
  }
}

/** A directory's entries (`struct ext2_dir_entry_2`): none crosses a block, and the last of each block fills it up. */
function directoryBytes({ inode, parent }: Node, children: ReadonlyMap<string, Node>): Uint8Array {
  const entries = [
    { name: utf8.encode("."), inode, type: FILE_TYPE.directory },
    { name: utf8.encode(".."), inode: parent, type: FILE_TYPE.directory },
    ...Array.from(children.values(), (child) => ({
      name: utf8.encode(child.name),
      inode: child.inode,
      type: child.children === undefined ? FILE_TYPE.file : FILE_TYPE.directory,
    })),
  ];
  const blocks: { readonly entry: (typeof entries)[number]; readonly at: number }[][] = [[]];
  let used = 0;
  for (const entry of entries) {
    const size = (8 + entry.name.length + 3) & ~3;
    if (used + size > BLOCK) {
      blocks.push([]);
      used = 0;
    }
    blocks.at(-1)?.push({ entry, at: used });
    used += size;
  }
  const bytes = new Uint8Array(blocks.length * BLOCK);
  const view = new DataView(bytes.buffer);
  for (const [number, block] of blocks.entries()) {
    for (const [index, { entry, at }] of block.entries()) {
      const offset = number * BLOCK + at;
      view.setUint32(offset, entry.inode, true);
      view.setUint16(offset + 4, (block[index + 1]?.at ?? BLOCK) - at, true);
      view.setUint8(offset + 6, entry.name.length);
      view.setUint8(offset + 7, entry.type);
      bytes.set(entry.name, offset + 8);
    }
  }
  return bytes;
}
