// Part: a VGA's registers (IBM VGA XGA Technical Reference Manual, May 1992, section 2) at ports 3B0h to 3DFh, and the text screen that they and
// the display memory show. Starts in mode 3, 80×25 color text, as a VGA BIOS leaves it, so that a guest without one has a screen.
// Not modelled: graphics modes as pictures (registers and memory behave), VBE extensions, vertical interrupts, light pen.

import type { AlarmClock } from "../../core/clock.ts";
import { digest64 } from "../../core/digest.ts";
import { encodePlain } from "../../core/plain-data.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";
import { type ByteChip, OPEN_BUS_BYTE } from "./isa.ts";
import { PLANE_SIZE, VgaMemory } from "./vga-memory.ts";

/** Offsets from port 3B0h. */
const PORT = {
  MONO_CRTC: 0x04,
  MONO_STATUS: 0x0a,
  ATTRIBUTE: 0x10,
  ATTRIBUTE_READ: 0x11,
  MISC_WRITE: 0x12,
  SEQUENCER: 0x14,
  PEL_MASK: 0x16,
  PEL_READ: 0x17,
  PEL_WRITE: 0x18,
  PEL_DATA: 0x19,
  FEATURE_READ: 0x1a,
  MISC_READ: 0x1c,
  GRAPHICS: 0x1e,
  COLOR_CRTC: 0x24,
  COLOR_STATUS: 0x2a,
} as const;

/** Miscellaneous output register: bit 0 puts the CRTC at 3D4h. */
const MISC_COLOR = 1;
const CRTC = {
  HORIZONTAL_DISPLAY_END: 0x01,
  OVERFLOW: 0x07,
  MAXIMUM_SCAN_LINE: 0x09,
  CURSOR_START: 0x0a,
  START_ADDRESS: 0x0c,
  CURSOR_LOCATION: 0x0e,
  RETRACE_END: 0x11,
  DISPLAY_END: 0x12,
  OFFSET: 0x13,
} as const;
const CURSOR_OFF = 1 << 5;
/** Retrace end, bit 7: CRTC registers 0 to 7 cannot be written, but for bit 4 of the overflow register. */
const PROTECT = 1 << 7;
const OVERFLOW_LINE_COMPARE = 1 << 4;
/** Input status 1. */
const DISPLAY_DISABLED = 1 << 0;
const VERTICAL_RETRACE = 1 << 3;
/** Mode 3 runs at 70.086 Hz: 449 lines of 31.778 µs, 400 of them displayed. */
const LINE_NS = 31_778;
const LINES = 449;
const DISPLAYED_LINES = 400;
const RETRACE_FIRST = 412;
const RETRACE_LINES = 2;
const DISPLAYED_LINE_NS = 25_422;

/** Registers of mode 3 (IBM VGA BIOS, 400-line text). */
const MODE_3 = {
  misc: 0x67,
  sequencer: [0x03, 0x00, 0x03, 0x00, 0x02],
  // biome-ignore format: the CRTC's 25 registers
  crtc: [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00,
    0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
  ],
  graphics: [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff],
  // biome-ignore format: 16 palette entries and five registers
  attribute: [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
    0x0c, 0x00, 0x0f, 0x08, 0x00,
  ],
};
const PALETTE_SIZE = 768;

/** The largest text screen: 132 columns are common, the registers allow for more than memory holds. */
const MAX_COLUMNS = 256;
const MAX_ROWS = 100;

export interface VgaState {
  misc: number;
  sequencerIndex: number;
  sequencer: number[];
  crtcIndex: number;
  crtc: number[];
  graphicsIndex: number;
  graphics: number[];
  attributeIndex: number;
  attribute: number[];
  /** The next write to 3C0h is data. */
  attributeData: boolean;
  pelMask: number;
  /** Byte position in the palette for reading and writing, three bytes an entry. */
  pelRead: number;
  pelWrite: number;
  palette: Uint8Array;
  latches: number[];
  planes: Uint8Array;
}

export interface TextScreen {
  /** One string for each row, without trailing blanks. */
  readonly rows: readonly string[];
  readonly cursor: { readonly row: number; readonly column: number } | undefined;
}

export class Vga implements ByteChip, Snapshotable<VgaState> {
  readonly name = "VGA";
  readonly memory: VgaMemory;
  readonly #clock: AlarmClock;
  /** Of the planes, which are large, while nobody writes to them. */
  #planesDigest: bigint | undefined;
  #state: VgaState = {
    misc: MODE_3.misc,
    sequencerIndex: 0,
    sequencer: [...MODE_3.sequencer],
    crtcIndex: 0,
    crtc: [...MODE_3.crtc],
    graphicsIndex: 0,
    graphics: [...MODE_3.graphics],
    attributeIndex: 0x20,
    attribute: [...MODE_3.attribute],
    attributeData: false,
    pelMask: 0xff,
    pelRead: 0,
    pelWrite: 0,
    palette: new Uint8Array(PALETTE_SIZE),
    latches: [0, 0, 0, 0],
    planes: new Uint8Array(4 * PLANE_SIZE),
  };

  constructor(clock: AlarmClock) {
    this.#clock = clock;
    this.memory = new VgaMemory(
      () => this.#state,
      () => {
        this.#planesDigest = undefined;
      },
    );
  }

  readByte(offset: number): number {
    const state = this.#state;
    if (offset === this.#crtcPort) return state.crtcIndex;
    if (offset === this.#crtcPort + 1) return state.crtc[state.crtcIndex] ?? 0;
    if (offset === (this.#isColor ? PORT.COLOR_STATUS : PORT.MONO_STATUS)) return this.#inputStatus();
    switch (offset) {
      case PORT.ATTRIBUTE:
        return state.attributeIndex;
      case PORT.ATTRIBUTE_READ:
        return state.attribute[state.attributeIndex & 31] ?? 0;
      case PORT.MISC_WRITE:
      case PORT.FEATURE_READ:
        return 0;
      case PORT.SEQUENCER:
        return state.sequencerIndex;
      case PORT.SEQUENCER + 1:
        return state.sequencer[state.sequencerIndex] ?? 0;
      case PORT.PEL_MASK:
        return state.pelMask;
      case PORT.PEL_DATA: {
        const value = state.palette[state.pelRead] ?? 0;
        state.pelRead = (state.pelRead + 1) % PALETTE_SIZE;
        return value;
      }
      case PORT.PEL_WRITE:
        return Math.floor(state.pelWrite / 3) & 0xff;
      case PORT.MISC_READ:
        return state.misc;
      case PORT.GRAPHICS:
        return state.graphicsIndex;
      case PORT.GRAPHICS + 1:
        return state.graphics[state.graphicsIndex] ?? 0;
      default:
        return OPEN_BUS_BYTE;
    }
  }

  writeByte(offset: number, value: number): void {
    const state = this.#state;
    if (offset === this.#crtcPort) state.crtcIndex = value;
    else if (offset === this.#crtcPort + 1) this.#writeCrtc(value);
    switch (offset) {
      case PORT.ATTRIBUTE:
        this.#writeAttribute(value);
        break;
      case PORT.MISC_WRITE:
        state.misc = value;
        break;
      case PORT.SEQUENCER:
        state.sequencerIndex = value;
        break;
      case PORT.SEQUENCER + 1:
        setRegister(state.sequencer, state.sequencerIndex, value);
        break;
      case PORT.PEL_MASK:
        state.pelMask = value;
        break;
      case PORT.PEL_READ:
        state.pelRead = value * 3;
        break;
      case PORT.PEL_WRITE:
        state.pelWrite = value * 3;
        break;
      case PORT.PEL_DATA:
        state.palette[state.pelWrite] = value & 0x3f;
        state.pelWrite = (state.pelWrite + 1) % PALETTE_SIZE;
        break;
      case PORT.GRAPHICS:
        state.graphicsIndex = value;
        break;
      case PORT.GRAPHICS + 1:
        setRegister(state.graphics, state.graphicsIndex, value);
        break;
      default: // read only, or nobody's
    }
  }

  get #isColor(): boolean {
    return (this.#state.misc & MISC_COLOR) !== 0;
  }

  get #crtcPort(): number {
    return this.#isColor ? PORT.COLOR_CRTC : PORT.MONO_CRTC;
  }

  #writeCrtc(value: number): void {
    const { crtc, crtcIndex } = this.#state;
    const isProtected = (crtc[CRTC.RETRACE_END]! & PROTECT) !== 0 && crtcIndex <= CRTC.OVERFLOW;
    if (!isProtected) setRegister(crtc, crtcIndex, value);
    else if (crtcIndex === CRTC.OVERFLOW) {
      crtc[CRTC.OVERFLOW] = (crtc[CRTC.OVERFLOW]! & ~OVERFLOW_LINE_COMPARE) | (value & OVERFLOW_LINE_COMPARE);
    }
  }

  /** Index and data share the port; the palette can be written while bit 5 of the index is clear. */
  #writeAttribute(value: number): void {
    const state = this.#state;
    if (!state.attributeData) state.attributeIndex = value & 0x3f;
    else setRegister(state.attribute, state.attributeIndex & 31, value);
    state.attributeData = !state.attributeData;
  }

  /** Reading it makes 3C0h expect an index. */
  #inputStatus(): number {
    this.#state.attributeData = false;
    const inLine = this.#clock.now % LINE_NS;
    const line = Math.floor(this.#clock.now / LINE_NS) % LINES;
    const blank = line >= DISPLAYED_LINES || inLine >= DISPLAYED_LINE_NS ? DISPLAY_DISABLED : 0;
    const retrace = line >= RETRACE_FIRST && line < RETRACE_FIRST + RETRACE_LINES ? VERTICAL_RETRACE : 0;
    return blank | retrace;
  }

  /** The screen as text, from the display memory that the CRTC's start address and offset point at. Characters are code page 437. */
  screen(): TextScreen {
    const { crtc, planes } = this.#state;
    const register = (index: number): number => crtc[index] ?? 0;
    const word = (index: number): number => (register(index) << 8) | register(index + 1);
    const columns = Math.min(MAX_COLUMNS, register(CRTC.HORIZONTAL_DISPLAY_END) + 1);
    const overflow = register(CRTC.OVERFLOW);
    const lines = (register(CRTC.DISPLAY_END) | ((overflow & 0x02) << 7) | ((overflow & 0x40) << 3)) + 1;
    const rowCount = Math.min(MAX_ROWS, Math.floor(lines / ((register(CRTC.MAXIMUM_SCAN_LINE) & 31) + 1)));
    const start = word(CRTC.START_ADDRESS);
    const pitch = 2 * register(CRTC.OFFSET);
    const rows = Array.from({ length: rowCount }, (_, row) => {
      let text = "";
      for (let column = 0; column < columns; column++) {
        text += codePage437(planes[4 * ((start + row * pitch + column) % PLANE_SIZE)]!);
      }
      return text.trimEnd();
    });
    const at = word(CRTC.CURSOR_LOCATION) - start;
    const isOff = (register(CRTC.CURSOR_START) & CURSOR_OFF) !== 0;
    const row = pitch === 0 ? -1 : Math.floor(at / pitch);
    const isVisible = !isOff && row >= 0 && row < rowCount;
    return { rows, cursor: isVisible ? { row, column: at - row * pitch } : undefined };
  }

  /** A digest of what {@link save} gives. */
  digest(): bigint {
    this.#planesDigest ??= digest64(this.#state.planes);
    return digest64(encodePlain({ ...this.#state, planes: this.#planesDigest }));
  }

  save(): VgaState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not a VGA's */
  load(state: VgaState): void {
    this.#state = adoptState(this.#state, state, this.name);
    this.#planesDigest = undefined;
  }
}

/** Index registers hold eight bits; what lies beyond the last register is nothing. */
function setRegister(registers: number[], index: number, value: number): void {
  if (index < registers.length) registers[index] = value;
}

// biome-ignore format: 32 a row
const HIGH_437 =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ" +
  "áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐" +
  "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀" +
  "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

/** Control characters have pictures in the font, but stand for blanks in a text. */
function codePage437(byte: number): string {
  if (byte >= 0x80) return HIGH_437[byte - 0x80] ?? " ";
  return byte < 0x20 || byte === 0x7f ? " " : String.fromCharCode(byte);
}
