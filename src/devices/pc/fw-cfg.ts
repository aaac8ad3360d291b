// Part: QEMU's firmware configuration device (QEMU docs/specs/fw_cfg.rst) with DMA: selector 510h, data 511h, DMA address 514h and 518h.
// Items are fixed when the machine is built and cannot be written, as in QEMU since 2.4.

import type { BusDevice } from "../../core/bus.ts";
import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";

/** Selector keys (include/standard-headers/linux/qemu_fw_cfg.h, include/hw/nvram/fw_cfg_keys.h). */
export const FW_CFG = {
  SIGNATURE: 0x00,
  ID: 0x01,
  UUID: 0x02,
  RAM_SIZE: 0x03,
  NOGRAPHIC: 0x04,
  NB_CPUS: 0x05,
  KERNEL_ADDR: 0x07,
  KERNEL_SIZE: 0x08,
  INITRD_ADDR: 0x0a,
  INITRD_SIZE: 0x0b,
  BOOT_DEVICE: 0x0c,
  NUMA: 0x0d,
  BOOT_MENU: 0x0e,
  MAX_CPUS: 0x0f,
  KERNEL_DATA: 0x11,
  INITRD_DATA: 0x12,
  CMDLINE_ADDR: 0x13,
  CMDLINE_SIZE: 0x14,
  CMDLINE_DATA: 0x15,
  SETUP_ADDR: 0x16,
  SETUP_SIZE: 0x17,
  SETUP_DATA: 0x18,
  FILE_DIR: 0x19,
  FILE_FIRST: 0x20,
} as const;

const ID_TRADITIONAL = 1 << 0;
const ID_DMA = 1 << 1;
const SIGNATURE = "QEMU";
/** What reading the DMA address register gives. */
const DMA_SIGNATURE = "QEMU CFG";

/** Bits of FWCfgDmaAccess.control; the selector is in bits 31:16. */
const DMA = { ERROR: 1 << 0, READ: 1 << 1, SKIP: 1 << 2, SELECT: 1 << 3, WRITE: 1 << 4 } as const;
const DMA_ACCESS_SIZE = 16;
/** Bytes moved at a time, so that a length that the guest makes up costs no more than the memory it can fill. */
const DMA_CHUNK = 65_536;

/** Offsets are 32 bits; everything that far out reads as zeros. */
const MAX_OFFSET = 0xffff_ffff;

const FILE_ENTRY_SIZE = 64;
/** Including the terminating NUL. */
const FILE_NAME_SIZE = 56;
/** Keys 20h to 3FFFh are files. */
const FILE_LIMIT = 0x3fe0;

const DATA_PORT = 1;

/** The guest's physical memory as a bus master sees it. */
export interface PhysicalMemory {
  /** Bytes of its own, or undefined when some of them are not memory. */
  read(address: number, length: number): Uint8Array | undefined;
  /** False, with nothing written, when some of the bytes are not memory. */
  write(address: number, bytes: Uint8Array): boolean;
}

export interface FirmwareItems {
  /** By selector key. */
  readonly items: ReadonlyMap<number, Uint8Array>;
  /** By name, such as `etc/e820`. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export interface FwCfgState {
  key: number;
  offset: number;
  dmaAddressHigh: number;
}

export const u16 = (value: number): Uint8Array => Uint8Array.of(value & 0xff, (value >>> 8) & 0xff);
export const u32 = (value: number): Uint8Array => Uint8Array.from([0, 8, 16, 24], (shift) => (value >>> shift) & 0xff);
/** Little-endian; `value` is an integer below 2^53. */
export const u64 = (value: number): Uint8Array =>
  Uint8Array.of(...u32(value >>> 0), ...u32(Math.floor(value / 2 ** 32)));
export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

export class FwCfg implements Snapshotable<FwCfgState> {
  readonly #memory: PhysicalMemory;
  readonly #items: ReadonlyMap<number, Uint8Array>;
  #state: FwCfgState = { key: FW_CFG.SIGNATURE, offset: 0, dmaAddressHigh: 0 };

  /** @throws InputError when a file's name is too long or there are too many files */
  constructor(memory: PhysicalMemory, { items, files }: FirmwareItems) {
    this.#memory = memory;
    const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#items = new Map<number, Uint8Array>([
      [FW_CFG.SIGNATURE, ascii(SIGNATURE)],
      [FW_CFG.ID, u32(ID_TRADITIONAL | ID_DMA)],
      ...items,
      [FW_CFG.FILE_DIR, directory(sorted)],
      ...sorted.map(([, bytes], index): [number, Uint8Array] => [FW_CFG.FILE_FIRST + index, bytes]),
    ]);
  }

  /** Ports 510h and 511h. */
  readonly ports: BusDevice = {
    name: "fw_cfg",
    // The selector cannot be read; a word read at its address gives zeros and takes nothing from the item.
    read: (offset) => (offset === DATA_PORT ? this.#nextByte() : 0),
    write: (offset, width, value) => {
      if (offset === 0 && width >= 2) this.#select(value & 0xffff);
    },
  };

  /** Ports 514h to 51Bh: a big-endian address; writing its low half starts the transfer. */
  readonly dma: BusDevice = {
    name: "fw_cfg DMA",
    read: (offset, width) => {
      let value = 0;
      for (let index = 0; index < width; index++) value |= DMA_SIGNATURE.charCodeAt(offset + index) << (8 * index);
      return value >>> 0;
    },
    write: (offset, width, value) => {
      if (width !== 4) return;
      if (offset === 0) this.#state.dmaAddressHigh = swap32(value);
      else if (offset === 4) this.#transfer(this.#state.dmaAddressHigh * 2 ** 32 + swap32(value));
    },
  };

  #select(key: number): void {
    this.#state.key = key;
    this.#state.offset = 0;
  }

  /** Past the end, and for keys that do not exist, zeros. */
  #nextByte(): number {
    const state = this.#state;
    const byte = this.#items.get(state.key)?.[state.offset] ?? 0;
    state.offset = Math.min(state.offset + 1, MAX_OFFSET);
    return byte;
  }

  #transfer(address: number): void {
    this.#state.dmaAddressHigh = 0;
    const access = this.#memory.read(address, DMA_ACCESS_SIZE);
    if (access === undefined) return;
    const view = new DataView(access.buffer, access.byteOffset);
    const control = view.getUint32(0);
    const length = view.getUint32(4);
    const target = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
    if ((control & DMA.SELECT) !== 0) this.#select(control >>> 16);
    const ok = this.#move(control, target, length);
    this.#memory.write(address, Uint8Array.of(0, 0, 0, ok ? 0 : DMA.ERROR));
  }

  /** READ wins over WRITE, WRITE over SKIP, as in QEMU; items cannot be written. */
  #move(control: number, target: number, length: number): boolean {
    if ((control & DMA.READ) !== 0) return this.#copyOut(target, length);
    if ((control & DMA.WRITE) !== 0) return false;
    if ((control & DMA.SKIP) !== 0) this.#state.offset = Math.min(this.#state.offset + length, MAX_OFFSET);
    return true;
  }

  #copyOut(target: number, length: number): boolean {
    const state = this.#state;
    const item = this.#items.get(state.key);
    for (let done = 0; done < length; done += DMA_CHUNK) {
      const chunk = new Uint8Array(Math.min(DMA_CHUNK, length - done));
      const rest = item?.subarray(state.offset, state.offset + chunk.length);
      if (rest !== undefined) chunk.set(rest);
      if (!this.#memory.write(target + done, chunk)) return false;
      state.offset = Math.min(state.offset + chunk.length, MAX_OFFSET);
    }
    return true;
  }

  save(): FwCfgState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not this device's */
  load(state: FwCfgState): void {
    const adopted = adoptState(this.#state, state, "fw_cfg");
    if (adopted.offset < 0) throw new InputError("a negative offset", "snapshot of fw_cfg");
    this.#state = adopted;
  }
}

/** FWCfgFiles: a big-endian count, then for each file size, selector, 16 reserved bits and its name. */
function directory(files: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  if (files.length > FILE_LIMIT) throw new InputError(`${files.length} files, at most ${FILE_LIMIT}`, "fw_cfg");
  const bytes = new Uint8Array(4 + files.length * FILE_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, files.length);
  for (const [index, [name, { length }]] of files.entries()) {
    if (name.length >= FILE_NAME_SIZE)
      throw new InputError(`the name is longer than ${FILE_NAME_SIZE - 1}`, `fw_cfg ${name}`);
    const at = 4 + index * FILE_ENTRY_SIZE;
    view.setUint32(at, length);
    view.setUint16(at + 4, FW_CFG.FILE_FIRST + index);
    bytes.set(ascii(name), at + 8);
  }
  return bytes;
}

function swap32(value: number): number {
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}
