// Part: the two 8237A DMA controllers of a PC and their page registers (Intel 8237A data sheet 231466-005; 82371SB data sheet, section 2.5.1).
// All registers, no transfers: no device on the board asks for any. Port 80h is the spare page register that POST codes are written to.

import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";
import type { ByteChip } from "./isa.ts";

/** Registers above the channels' addresses and counts ("Register description"). */
const REGISTER = {
  STATUS_COMMAND: 8,
  REQUEST: 9,
  SINGLE_MASK: 10,
  MODE: 11,
  CLEAR_FLIP_FLOP: 12,
  TEMPORARY_MASTER_CLEAR: 13,
  CLEAR_MASK: 14,
  ALL_MASK: 15,
} as const;
const PAGE_REGISTERS = 16;

interface ControllerState {
  command: number;
  /** Software requests in bits 7:4 as the status register shows them. */
  requests: number;
  mask: number;
  mode: number[];
  address: number[];
  count: number[];
  highByte: boolean;
}

export interface DmaState {
  controllers: ControllerState[];
  pages: number[];
}

const masterClear = (state?: ControllerState): ControllerState => ({
  mode: [0, 0, 0, 0],
  address: [0, 0, 0, 0],
  count: [0, 0, 0, 0],
  ...state,
  command: 0,
  requests: 0,
  mask: 0x0f,
  highByte: false,
});

export class DmaControllers implements Snapshotable<DmaState> {
  #state: DmaState = { controllers: [masterClear(), masterClear()], pages: new Array<number>(PAGE_REGISTERS).fill(0) };

  /** Controller 0 (8-bit channels) at ports 00h to 0Fh, controller 1 at every other port from C0h on. */
  controller(index: 0 | 1): ByteChip {
    return {
      name: `8237A controller ${index + 1}`,
      readByte: (offset) => this.#read(index, index === 0 ? offset : offset >>> 1),
      writeByte: (offset, value) => this.#write(index, index === 0 ? offset : offset >>> 1, value),
    };
  }

  /** Ports 80h to 8Fh. */
  readonly pages: ByteChip = {
    name: "DMA page registers",
    readByte: (offset) => this.#state.pages[offset] ?? 0xff,
    writeByte: (offset, value) => {
      if (offset < PAGE_REGISTERS) this.#state.pages[offset] = value;
    },
  };

  /** The last byte written to port 80h. */
  get postCode(): number {
    return this.#state.pages[0]!;
  }

  #read(index: number, register: number): number {
    const state = this.#state.controllers[index]!;
    if (register < REGISTER.STATUS_COMMAND) {
      const words = (register & 1) === 0 ? state.address : state.count;
      const word = words[register >>> 1] ?? 0;
      const shift = state.highByte ? 8 : 0;
      state.highByte = !state.highByte;
      return (word >>> shift) & 0xff;
    }
    if (register === REGISTER.STATUS_COMMAND) return state.requests;
    // The temporary register is only used by memory-to-memory transfers; of the others nothing can be read but the mask.
    return register === REGISTER.ALL_MASK ? 0xf0 | state.mask : register === REGISTER.TEMPORARY_MASTER_CLEAR ? 0 : 0xff;
  }

  #write(index: number, register: number, value: number): void {
    const state = this.#state.controllers[index]!;
    const channel = value & 3;
    if (register < REGISTER.STATUS_COMMAND) {
      const words = (register & 1) === 0 ? state.address : state.count;
      const old = words[register >>> 1] ?? 0;
      words[register >>> 1] = state.highByte ? (old & 0xff) | (value << 8) : (old & 0xff00) | value;
      state.highByte = !state.highByte;
      return;
    }
    switch (register) {
      case REGISTER.STATUS_COMMAND:
        state.command = value;
        break;
      case REGISTER.REQUEST:
        state.requests = withBit(state.requests, 4 + channel, (value & 4) !== 0);
        break;
      case REGISTER.SINGLE_MASK:
        state.mask = withBit(state.mask, channel, (value & 4) !== 0);
        break;
      case REGISTER.MODE:
        state.mode[channel] = value & 0xfc;
        break;
      case REGISTER.CLEAR_FLIP_FLOP:
        state.highByte = false;
        break;
      case REGISTER.TEMPORARY_MASTER_CLEAR:
        this.#state.controllers[index] = masterClear(state);
        break;
      case REGISTER.CLEAR_MASK:
        state.mask = 0;
        break;
      default:
        state.mask = value & 0x0f;
    }
  }

  save(): DmaState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not these controllers' */
  load(state: DmaState): void {
    this.#state = adoptState(this.#state, state, "the 8237A pair");
  }
}

function withBit(word: number, bit: number, value: boolean): number {
  return value ? word | (1 << bit) : word & ~(1 << bit);
}
