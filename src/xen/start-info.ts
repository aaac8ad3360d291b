// Part: the boot data of a PVH domain: hvm_start_info version 1 with memory map, modules and command lines
// (arch-x86/hvm/start_info.h, docs/misc/pvh.pandoc).

import { PAGE_SIZE } from "../core/memory.ts";
import { START_INFO_H as S } from "./abi/constants.ts";
import { create } from "./abi/layout.ts";
import { HVM_MEMMAP_TABLE_ENTRY, HVM_MODLIST_ENTRY, HVM_START_INFO } from "./abi/structures.ts";

/** A range of guest-physical memory. Types are those of the E820 interface. */
export interface MemoryMapEntry {
  readonly address: number;
  readonly size: number;
  readonly type: number;
}

/** The special pages of an HVM domain end where Xen's tool stack puts them (libxenguest, xg_dom_x86.c). */
const SPECIAL_END_GFN = 0xff000;
const SPECIAL_PAGES = 8;
export const BUFFERED_IOREQ_GFN = SPECIAL_END_GFN - SPECIAL_PAGES + 3;
export const STORE_GFN = SPECIAL_END_GFN - SPECIAL_PAGES + 4;
export const IOREQ_GFN = SPECIAL_END_GFN - SPECIAL_PAGES + 5;
export const CONSOLE_GFN = SPECIAL_END_GFN - SPECIAL_PAGES + 7;

/** The guest's RAM must end below the special pages and leave room for what a guest maps itself. */
export const MAX_MEMORY_SIZE = 0xc000_0000;

/** @param hole what a PC's video memory and ROMs take, first address and one past the last */
export function memoryMap(memorySize: number, hole?: readonly [number, number]): readonly MemoryMapEntry[] {
  const type = S.XEN_HVM_MEMMAP_TYPE_RAM;
  const ram =
    hole === undefined
      ? [{ address: 0, size: memorySize, type }]
      : [
          { address: 0, size: hole[0], type },
          { address: hole[1], size: memorySize - hole[1], type },
        ];
  return [
    ...ram,
    {
      address: (SPECIAL_END_GFN - SPECIAL_PAGES) * PAGE_SIZE,
      size: SPECIAL_PAGES * PAGE_SIZE,
      type: S.XEN_HVM_MEMMAP_TYPE_RESERVED,
    },
  ];
}

export interface PlacedModule {
  readonly address: number;
  readonly size: number;
  readonly commandLine: string;
}

/** The structure and all it points to, for guest-physical address `base`. */
export function startInfo(
  base: number,
  commandLine: string,
  modules: readonly PlacedModule[],
  map: readonly MemoryMapEntry[],
): Uint8Array {
  const parts: Uint8Array[] = [];
  let end = HVM_START_INFO.layouts.x86_32.size;
  const place = (part: Uint8Array): bigint => {
    const address = base + end;
    parts.push(part);
    end += part.length;
    return BigInt(address);
  };
  const memmap = place(
    concat(
      map.map(({ address, size, type }) =>
        create(HVM_MEMMAP_TABLE_ENTRY, { addr: BigInt(address), size: BigInt(size), type }),
      ),
    ),
  );
  const entries = modules.map((module) =>
    create(HVM_MODLIST_ENTRY, {
      paddr: BigInt(module.address),
      size: BigInt(module.size),
      cmdline_paddr: module.commandLine === "" ? 0n : place(text(module.commandLine)),
    }),
  );
  const modlist = modules.length === 0 ? 0n : place(concat(entries));
  const cmdline = commandLine === "" ? 0n : place(text(commandLine));
  const header = create(HVM_START_INFO, {
    magic: S.XEN_HVM_START_MAGIC_VALUE,
    version: 1,
    nr_modules: modules.length,
    modlist_paddr: modlist,
    cmdline_paddr: cmdline,
    memmap_paddr: memmap,
    memmap_entries: map.length,
  });
  return concat([header, ...parts]);
}

/** NUL-terminated and padded to 8 bytes, so that the structure after it stays aligned. */
function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  const padded = new Uint8Array((bytes.length + 8) & ~7);
  padded.set(bytes);
  return padded;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
