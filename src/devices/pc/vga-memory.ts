// Part: the VGA's display memory, four planes of 64 KiB, as the processor sees it at A0000h to BFFFFh (IBM VGA XGA Technical Reference Manual,
// section 2, "Display memory" and "Graphics controller"): the memory map select, odd/even and chain-4 addressing, latches, write modes 0 to 3,
// read modes 0 and 1. Odd/even addressing puts the byte pair n at offset n of its planes.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";

export const PLANE_SIZE = 65_536;

/** What the memory needs of the chip's state. */
export interface VgaMemoryState {
  readonly sequencer: readonly number[];
  readonly graphics: readonly number[];
  latches: number[];
  /** Interleaved: byte 4 × offset + plane. */
  readonly planes: Uint8Array;
}

const SEQUENCER = { MAP_MASK: 2, MEMORY_MODE: 4 } as const;
const NOT_ODD_EVEN = 1 << 2;
const CHAIN_4 = 1 << 3;
const GRAPHICS = {
  SET_RESET: 0,
  ENABLE_SET_RESET: 1,
  COLOR_COMPARE: 2,
  DATA_ROTATE: 3,
  READ_MAP: 4,
  MODE: 5,
  MISCELLANEOUS: 6,
  COLOR_DO_NOT_CARE: 7,
  BIT_MASK: 8,
} as const;
const READ_COMPARE = 1 << 3;

/** Memory map select (graphics register 6, bits 3:2): first offset from A0000h and length. */
const WINDOWS = [
  [0x0_0000, 0x2_0000],
  [0x0_0000, 0x1_0000],
  [0x1_0000, 0x0_8000],
  [0x1_8000, 0x0_8000],
] as const;

export class VgaMemory implements BusDevice {
  readonly name = "VGA memory";
  readonly #state: () => VgaMemoryState;
  readonly #written: () => void;

  /** @param written called before the planes change */
  constructor(state: () => VgaMemoryState, written: () => void) {
    this.#state = state;
    this.#written = written;
  }

  read(offset: number, width: AccessWidth): number {
    let value = 0;
    for (let index = 0; index < width; index++) value |= this.#readByte(offset + index) << (8 * index);
    return value >>> 0;
  }

  write(offset: number, width: AccessWidth, value: number): void {
    for (let index = 0; index < width; index++) this.#writeByte(offset + index, (value >>> (8 * index)) & 0xff);
  }

  /** The offset within the window that is mapped, or -1. */
  #within(state: VgaMemoryState, offset: number): number {
    const [first, length] = WINDOWS[((state.graphics[GRAPHICS.MISCELLANEOUS] ?? 0) >>> 2) & 3]!;
    const at = offset - first;
    return at >= 0 && at < length ? at : -1;
  }

  #readByte(offset: number): number {
    const state = this.#state();
    const at = this.#within(state, offset);
    if (at < 0) return 0xff;
    const { planes, graphics } = state;
    const mode = state.sequencer[SEQUENCER.MEMORY_MODE] ?? 0;
    const map = (graphics[GRAPHICS.READ_MAP] ?? 0) & 3;
    let plane = map;
    let address = at;
    if ((mode & CHAIN_4) !== 0) {
      plane = at & 3;
      address = at >>> 2;
    } else if ((mode & NOT_ODD_EVEN) === 0) {
      plane = (map & 2) | (at & 1);
      address = at >>> 1;
    }
    const base = 4 * (address % PLANE_SIZE);
    for (let index = 0; index < 4; index++) state.latches[index] = planes[base + index]!;
    if (((graphics[GRAPHICS.MODE] ?? 0) & READ_COMPARE) === 0) return planes[base + plane]!;
    const color = graphics[GRAPHICS.COLOR_COMPARE] ?? 0;
    const cares = graphics[GRAPHICS.COLOR_DO_NOT_CARE] ?? 0;
    let differs = 0;
    for (let index = 0; index < 4; index++) {
      if (((cares >>> index) & 1) === 1) differs |= planes[base + index]! ^ (((color >>> index) & 1) === 1 ? 0xff : 0);
    }
    return ~differs & 0xff;
  }

  #writeByte(offset: number, value: number): void {
    const state = this.#state();
    const at = this.#within(state, offset);
    if (at < 0) return;
    const mode = state.sequencer[SEQUENCER.MEMORY_MODE] ?? 0;
    let enabled = (state.sequencer[SEQUENCER.MAP_MASK] ?? 0) & 15;
    let address = at;
    if ((mode & CHAIN_4) !== 0) {
      enabled &= 1 << (at & 3);
      address = at >>> 2;
    } else if ((mode & NOT_ODD_EVEN) === 0) {
      enabled &= (at & 1) === 0 ? 0b0101 : 0b1010;
      address = at >>> 1;
    }
    const base = 4 * (address % PLANE_SIZE);
    this.#written();
    for (let plane = 0; plane < 4; plane++) {
      if (((enabled >>> plane) & 1) === 1) state.planes[base + plane] = combine(state, plane, value);
    }
  }
}

/** What a plane gets in the write mode that is set ("Graphics mode register"). */
function combine({ graphics, latches }: VgaMemoryState, plane: number, value: number): number {
  const register = (index: number): number => graphics[index] ?? 0;
  const spread = (bits: number): number => (((bits >>> plane) & 1) === 1 ? 0xff : 0);
  const latch = latches[plane] ?? 0;
  const writeMode = register(GRAPHICS.MODE) & 3;
  if (writeMode === 1) return latch;
  const count = register(GRAPHICS.DATA_ROTATE) & 7;
  const rotated = ((value >>> count) | (value << (8 - count))) & 0xff;
  let mask = register(GRAPHICS.BIT_MASK);
  let data: number;
  if (writeMode === 0) {
    const isSet = ((register(GRAPHICS.ENABLE_SET_RESET) >>> plane) & 1) === 1;
    data = isSet ? spread(register(GRAPHICS.SET_RESET)) : rotated;
  } else if (writeMode === 2) data = spread(value);
  else {
    data = spread(register(GRAPHICS.SET_RESET));
    mask &= rotated;
  }
  const operation = (register(GRAPHICS.DATA_ROTATE) >>> 3) & 3;
  if (operation === 1) data &= latch;
  else if (operation === 2) data |= latch;
  else if (operation === 3) data ^= latch;
  return (data & mask) | (latch & ~mask & 0xff);
}
