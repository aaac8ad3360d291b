// Part: ELF32 images with the PVH entry note (System V ABI ch. 4 and 5; Xen's elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY).
// Every number in the file is checked before it is used. Segments are loaded at their physical addresses. Not modelled: ELF64,
// relocation, section-only notes.

import { InputError } from "../core/errors.ts";
import { ELFNOTE_H } from "./abi/constants.ts";

export interface ElfSegment {
  /** Guest-physical address. */
  readonly address: number;
  /** Bytes from the file; the rest up to `memorySize` is zero. */
  readonly bytes: Uint8Array;
  readonly memorySize: number;
}

export interface PvhImage {
  /** Guest-physical address at which the guest starts. */
  readonly entry: number;
  /** In ascending order, not overlapping. */
  readonly segments: readonly ElfSegment[];
  /** One past the last byte. */
  readonly end: number;
}

/** File header fields (figure 4-3 of the ABI). */
const EHDR_SIZE = 52;
const EI_CLASS = 4;
const EI_DATA = 5;
const E_MACHINE = 18;
const E_PHOFF = 28;
const E_PHENTSIZE = 42;
const E_PHNUM = 44;
const ELFCLASS32 = 1;
const ELFDATA2LSB = 1;
const EM_386 = 3;
/** Program header fields (figure 5-1). */
const PHDR_SIZE = 32;
const P_OFFSET = 4;
const P_PADDR = 12;
const P_FILESZ = 16;
const P_MEMSZ = 20;
const PT_LOAD = 1;
const PT_NOTE = 4;
const NOTE_HEADER_SIZE = 12;

/** Linux has 4, GRUB 4; a table of thousands is a broken file. */
const MAX_PROGRAM_HEADERS = 64;

interface ProgramHeader {
  readonly type: number;
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly memorySize: number;
}

/** @throws InputError that names what is wrong; `context` says which image it is about */
export function parsePvhImage(file: Uint8Array, context: string): PvhImage {
  const headers = programHeaders(file, context);
  const entry = headers
    .filter((header) => header.type === PT_NOTE)
    .map((header) => entryNote(header.bytes))
    .find((address) => address !== undefined);
  if (entry === undefined) {
    throw new InputError("no PVH entry note (XEN_ELFNOTE_PHYS32_ENTRY): not a PVH kernel", context);
  }
  const segments = headers
    .filter((header) => header.type === PT_LOAD && header.memorySize > 0)
    .map(({ address, bytes, memorySize }) => ({ address, bytes, memorySize }))
    .sort((a, b) => a.address - b.address);
  let end = 0;
  for (const segment of segments) {
    if (segment.address < end) {
      throw new InputError(`the segment at 0x${segment.address.toString(16)} overlaps the one before`, context);
    }
    end = segment.address + segment.memorySize;
  }
  if (!segments.some(({ address, memorySize }) => entry >= address && entry < address + memorySize)) {
    throw new InputError(`the PVH entry 0x${entry.toString(16)} is in no segment`, context);
  }
  return { entry, segments, end };
}

function programHeaders(file: Uint8Array, context: string): readonly ProgramHeader[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < EHDR_SIZE || view.getUint32(0, false) !== 0x7f454c46)
    throw new InputError("not an ELF file", context);
  if (file[EI_CLASS] !== ELFCLASS32 || file[EI_DATA] !== ELFDATA2LSB || view.getUint16(E_MACHINE, true) !== EM_386) {
    throw new InputError("not a 32-bit x86 ELF file", context);
  }
  const table = view.getUint32(E_PHOFF, true);
  const entrySize = view.getUint16(E_PHENTSIZE, true);
  const count = view.getUint16(E_PHNUM, true);
  if (count > MAX_PROGRAM_HEADERS)
    throw new InputError(`${count} program headers, at most ${MAX_PROGRAM_HEADERS}`, context);
  if (count > 0 && (entrySize < PHDR_SIZE || table + entrySize * count > file.length)) {
    throw new InputError("the program headers leave the file", context);
  }
  return Array.from({ length: count }, (_, index) => {
    const at = table + entrySize * index;
    const offset = view.getUint32(at + P_OFFSET, true);
    const fileSize = view.getUint32(at + P_FILESZ, true);
    const memorySize = view.getUint32(at + P_MEMSZ, true);
    const address = view.getUint32(at + P_PADDR, true);
    const type = view.getUint32(at, true);
    if (type === PT_LOAD || type === PT_NOTE) {
      if (offset + fileSize > file.length)
        throw new InputError(`segment ${index} leaves the file: truncated?`, context);
      if (type === PT_LOAD && fileSize > memorySize) {
        throw new InputError(`segment ${index} has more bytes in the file than in memory`, context);
      }
    }
    return { type, address, memorySize, bytes: file.subarray(offset, offset + fileSize) };
  });
}

/** The value of the PVH entry note in a note segment. */
function entryNote(notes: Uint8Array): number | undefined {
  const view = new DataView(notes.buffer, notes.byteOffset, notes.byteLength);
  const align = (value: number) => (value + 3) & ~3;
  // Each turn consumes at least a header, so the loop is bounded by the segment's length.
  for (let at = 0; at + NOTE_HEADER_SIZE <= notes.length; ) {
    const nameSize = view.getUint32(at, true);
    const descriptionSize = view.getUint32(at + 4, true);
    const type = view.getUint32(at + 8, true);
    const name = at + NOTE_HEADER_SIZE;
    if (nameSize > notes.length || descriptionSize > notes.length) return undefined;
    const description = name + align(nameSize);
    const isXen = nameSize === 4 && name + 4 <= notes.length && view.getUint32(name, false) === 0x58656e00;
    if (
      isXen &&
      type === ELFNOTE_H.XEN_ELFNOTE_PHYS32_ENTRY &&
      description + 4 <= notes.length &&
      descriptionSize >= 4
    ) {
      return view.getUint32(description, true);
    }
    at = description + align(descriptionSize);
  }
  return undefined;
}
