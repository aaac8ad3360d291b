// Part: a bzImage (Linux boot protocol, Documentation/arch/x86/boot.rst) as items of fw_cfg, laid out as QEMU does for -kernel, and an option
// ROM of our own that a BIOS starts as a boot device: it fetches the items by fw_cfg DMA and enters the kernel's real-mode part.

import { InputError } from "../../core/errors.ts";
import { ascii, FW_CFG, u32 } from "./fw-cfg.ts";

/** Header fields (boot.rst, "The Real-Mode Kernel Header"). */
const HEADER = {
  SETUP_SECTS: 0x1f1,
  SIGNATURE: 0x202,
  VERSION: 0x206,
  TYPE_OF_LOADER: 0x210,
  LOADFLAGS: 0x211,
  CODE32_START: 0x214,
  RAMDISK_IMAGE: 0x218,
  RAMDISK_SIZE: 0x21c,
  HEAP_END_PTR: 0x224,
  CMD_LINE_PTR: 0x228,
  INITRD_ADDR_MAX: 0x22c,
} as const;
const HEADER_END = 0x230;
const HDRS = 0x5372_6448;
/** bzImage with cmd_line_ptr, the oldest that is supported. */
const VERSION_2_02 = 0x202;
const VERSION_2_03 = 0x203;
const LOADED_HIGH = 1 << 0;
const CAN_USE_HEAP = 1 << 7;
/** The loader id that QEMU has in the protocol. */
const LOADER_QEMU = 0xb0;
const SECTOR = 512;
const DEFAULT_SETUP_SECTS = 4;

const SETUP_ADDRESS = 0x1_0000;
const COMMAND_LINE_ADDRESS = 0x2_0000;
const KERNEL_ADDRESS = 0x10_0000;
/** Before version 2.03 a kernel looked for its initial RAM disk below this address. */
const OLD_INITRD_MAX = 0x37ff_ffff;
/** What the BIOS keeps at the end of memory; the RAM disk lies below it. */
const FIRMWARE_RESERVE = 0x2_0000;
/** The real-mode part and its stack and heap end where the command line starts. */
const SETUP_LIMIT = COMMAND_LINE_ADDRESS - SETUP_ADDRESS;
/** From the command line to where a BIOS may keep its extended data area. */
const COMMAND_LINE_LIMIT = 0x1_0000;

export interface LinuxImage {
  readonly kernel: Uint8Array;
  readonly commandLine: string;
  readonly initrd?: Uint8Array;
  /** Bytes of memory below 4 GiB. */
  readonly memorySize: number;
}

/** @throws InputError when the kernel is no bzImage or something does not fit into memory; `context` names the image */
export function linuxItems(
  { kernel, commandLine, initrd, memorySize }: LinuxImage,
  context: string,
): Map<number, Uint8Array> {
  if (kernel.length < HEADER_END) throw new InputError("too short for a bzImage", context);
  const source = new DataView(kernel.buffer, kernel.byteOffset, kernel.length);
  const version = source.getUint16(HEADER.VERSION, true);
  const isBzImage = source.getUint32(HEADER.SIGNATURE, true) === HDRS && version >= VERSION_2_02;
  if (!isBzImage || (source.getUint8(HEADER.LOADFLAGS) & LOADED_HIGH) === 0) {
    throw new InputError("not a bzImage of boot protocol 2.02 or later", context);
  }
  const setupSize = ((source.getUint8(HEADER.SETUP_SECTS) || DEFAULT_SETUP_SECTS) + 1) * SECTOR;
  if (setupSize > kernel.length || setupSize > SETUP_LIMIT)
    throw new InputError("its setup sectors do not fit", context);
  const commandBytes = ascii(`${commandLine}\0`);
  if (commandBytes.length > COMMAND_LINE_LIMIT) throw new InputError("the command line is too long", context);
  const setup = kernel.slice(0, setupSize);
  const data = kernel.subarray(setupSize);
  const header = new DataView(setup.buffer);
  header.setUint8(HEADER.TYPE_OF_LOADER, LOADER_QEMU);
  header.setUint8(HEADER.LOADFLAGS, source.getUint8(HEADER.LOADFLAGS) | CAN_USE_HEAP);
  header.setUint16(HEADER.HEAP_END_PTR, SETUP_LIMIT - SECTOR, true);
  header.setUint32(HEADER.CMD_LINE_PTR, COMMAND_LINE_ADDRESS, true);
  header.setUint32(HEADER.CODE32_START, KERNEL_ADDRESS, true);
  let initrdAddress = 0;
  let memoryEnd = KERNEL_ADDRESS + data.length;
  if (initrd !== undefined) {
    const maximum = version >= VERSION_2_03 ? source.getUint32(HEADER.INITRD_ADDR_MAX, true) : OLD_INITRD_MAX;
    const end = Math.min(maximum + 1, memorySize - FIRMWARE_RESERVE);
    initrdAddress = Math.floor((end - initrd.length) / 4096) * 4096;
    if (initrdAddress < memoryEnd) throw new InputError("no room for the initial RAM disk", context);
    header.setUint32(HEADER.RAMDISK_IMAGE, initrdAddress, true);
    header.setUint32(HEADER.RAMDISK_SIZE, initrd.length, true);
    memoryEnd = initrdAddress + initrd.length;
  }
  if (memoryEnd > memorySize - FIRMWARE_RESERVE) throw new InputError("larger than the machine's memory", context);
  return new Map([
    [FW_CFG.SETUP_ADDR, u32(SETUP_ADDRESS)],
    [FW_CFG.SETUP_SIZE, u32(setup.length)],
    [FW_CFG.SETUP_DATA, setup],
    [FW_CFG.CMDLINE_ADDR, u32(COMMAND_LINE_ADDRESS)],
    [FW_CFG.CMDLINE_SIZE, u32(commandBytes.length)],
    [FW_CFG.CMDLINE_DATA, commandBytes],
    [FW_CFG.KERNEL_ADDR, u32(KERNEL_ADDRESS)],
    [FW_CFG.KERNEL_SIZE, u32(data.length)],
    [FW_CFG.KERNEL_DATA, data],
    [FW_CFG.INITRD_ADDR, u32(initrdAddress)],
    [FW_CFG.INITRD_SIZE, u32(initrd?.length ?? 0)],
    [FW_CFG.INITRD_DATA, initrd ?? new Uint8Array(0)],
  ]);
}

/** Name of the option ROM among fw_cfg's files, and the path by which a boot order names it. */
export const BOOT_ROM_FILE = "genroms/bzimage.rom";
export const BOOT_ROM_DEVICE = `/rom@${BOOT_ROM_FILE}`;
