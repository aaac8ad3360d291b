/** A processor that runs bytes in flat 32-bit protected mode at CPL 0, outside of VMX, for tests of the engine. */
import { Processor, type ProcessorPlatform } from "../../src/cpu/processor.ts";
import { CR0_PG, CS, OFFSET } from "../../src/cpu/state.ts";

export const RAM_BYTES = 0x10_0000;
export const CODE = 0x1000;
export const STACK = 0x8000;
const PAGE_DIRECTORY = 0x4_0000;
const PAGE_TABLE = 0x4_1000;
const CR0_PE_ET = 0x11;

export function bareProcessor(platform: Partial<ProcessorPlatform> = {}): Processor {
  const idle: ProcessorPlatform = {
    readTsc: () => 0n,
    instructionsUntilTsc: () => Number.MAX_SAFE_INTEGER,
    portRead: () => 0xff,
    portWrite: () => {},
  };
  const processor = new Processor({ ramBytes: RAM_BYTES, platform: { ...idle, ...platform } });
  const { state } = processor;
  for (let segment = 0; segment < 6; segment++) {
    state.setSelector(segment, segment === CS ? 8 : 16);
    state.setSegmentBase(segment, 0);
    state.setLimit(segment, 0xffff_ffff);
    state.setAccessRights(segment, segment === CS ? 0xc09b : 0xc093);
  }
  state.set(OFFSET.cr0, CR0_PE_ET);
  state.eip = CODE;
  state.setGpr(4, STACK);
  processor.modeChanged();
  return processor;
}

/** Turns on 32-bit paging with the first MiB mapped to itself, readable and writable by all. */
export function enablePaging(processor: Processor): void {
  const { memory, state } = processor;
  memory.store32(PAGE_DIRECTORY, PAGE_TABLE | 7);
  for (let page = 0; page < RAM_BYTES / 4096; page++) mapPage(processor, page * 4096, page * 4096, 7);
  state.cr3 = PAGE_DIRECTORY;
  state.cr0 = (CR0_PE_ET | CR0_PG) >>> 0;
  processor.flushTlb(true);
  processor.modeChanged();
}

/** Maps a linear page; `flags` are those of a page-table entry. The TLB is not told. */
export function mapPage(processor: Processor, linear: number, physical: number, flags: number): void {
  processor.memory.store32(pageTableEntry(linear), physical | flags);
}

export function pageTableEntry(linear: number): number {
  return PAGE_TABLE + 4 * (linear >>> 12);
}

export function load(processor: Processor, address: number, ...bytes: number[]): void {
  processor.memory.write(address, Uint8Array.from(bytes));
}
