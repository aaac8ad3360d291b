// Part: the memory of a PC's adapters and BIOS, C0000h to FFFFFh: RAM, and in front of it, as the chipset says, what the bus has there (82441FX
// data sheet 290549-001, section 3.2.17: attributes read enable and write enable). Each page is one of four EPT mappings. A read of the bus
// finds the firmware's end at E0000h to FFFFFh and ones below; a write to the bus finds nothing.

import { assert } from "../core/errors.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import type { FrameAllocator } from "./frames.ts";
import { P2M_RAM, P2M_ROM, P2M_ROM_OVER_RAM, type P2m } from "./p2m.ts";

export const BIOS_AREA_START = 0xc_0000;
export const BIOS_AREA_END = 0x10_0000;
const FIRST_GFN = BIOS_AREA_START / PAGE_SIZE;
const PAGES = (BIOS_AREA_END - BIOS_AREA_START) / PAGE_SIZE;
/** The end of the firmware as far as it is seen below 1 MiB (QEMU: isa-bios). */
const ROM_PAGES = 0x2_0000 / PAGE_SIZE;

export interface BiosAreaState {
  ram: number[];
  bus: number[];
}

export class BiosArea implements Snapshotable<BiosAreaState> {
  readonly #frames: FrameAllocator;
  readonly #p2m: P2m;
  /**
   * Frames of the RAM, and of what the bus has in front of it; the bus begins with the page of ones. They are held, so that a guest that gives
   * a page away does not give its frame away.
   */
  #ram: number[];
  #bus: number[];

  private constructor(frames: FrameAllocator, p2m: P2m, ram: number[], bus: number[]) {
    this.#frames = frames;
    this.#p2m = p2m;
    this.#ram = ram;
    this.#bus = bus;
    for (const frame of [...ram, ...bus]) frames.hold(frame);
  }

  /**
   * Of a domain whose RAM and firmware are in place.
   * @param firmwarePages of the firmware, which ends at 4 GiB
   * @returns undefined when the host's memory is used up
   */
  static create(memory: GuestMemory, frames: FrameAllocator, p2m: P2m, firmwarePages: number): BiosArea | undefined {
    const ones = frames.allocate();
    if (ones === undefined) return undefined;
    memory.write(ones << PAGE_SHIFT, new Uint8Array(PAGE_SIZE).fill(0xff));
    const ram = Array.from({ length: PAGES }, (_, page) => p2m.frameOf(FIRST_GFN + page));
    const rom = Math.min(firmwarePages, ROM_PAGES);
    const bus = ram.map((_, page) => (page < PAGES - rom ? ones : p2m.frameOf(2 ** 20 - PAGES + page)));
    return new BiosArea(frames, p2m, ram, bus);
  }

  /**
   * Sets the attributes of a range: whether reads and writes reach RAM, or else the bus.
   * @returns false when the range has them already
   */
  set(address: number, size: number, readsRam: boolean, writesRam: boolean): boolean {
    const first = address / PAGE_SIZE - FIRST_GFN;
    const count = size / PAGE_SIZE;
    assert(Number.isInteger(first) && Number.isInteger(count) && first >= 0 && first + count <= PAGES, "no such pages");
    const type = readsRam ? (writesRam ? P2M_RAM : P2M_ROM) : writesRam ? P2M_ROM_OVER_RAM : P2M_ROM;
    let changed = false;
    for (let page = first; page < first + count; page++) {
      const frame = (readsRam ? this.#ram : this.#bus)[page]!;
      const gfn = FIRST_GFN + page;
      if (this.#p2m.frameOf(gfn) === frame && this.#p2m.typeOf(gfn) === type) continue;
      // The area's tables exist since the domain was built.
      assert(this.#p2m.set(gfn, frame, type), "no tables for the first megabyte");
      changed = true;
    }
    return changed;
  }

  /** Host-physical address of the RAM behind an address. */
  ramAt(address: number): number {
    return (this.#ram[Math.floor(address / PAGE_SIZE) - FIRST_GFN]! << PAGE_SHIFT) + (address % PAGE_SIZE);
  }

  /** Maps all RAM, as it has to be before the domain's memory is freed. */
  mapRam(): void {
    this.set(BIOS_AREA_START, BIOS_AREA_END - BIOS_AREA_START, true, true);
  }

  /** Lets go of the frames, after the domain's memory was freed. */
  release(): void {
    this.#frames.free(this.#bus[0]!);
    for (const frame of [...this.#ram, ...this.#bus]) this.#frames.release(frame);
    this.#ram = [];
    this.#bus = [];
  }

  save(): BiosAreaState {
    return { ram: [...this.#ram], bus: [...this.#bus] };
  }

  /** The mappings themselves are in memory, the holds with the frames. */
  load(state: BiosAreaState): void {
    this.#ram = [...state.ram];
    this.#bus = [...state.bus];
  }
}
