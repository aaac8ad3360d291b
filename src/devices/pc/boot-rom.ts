// Part: the option ROM that boots the kernel which fw_cfg holds (see linux-boot.ts), as machine code with its assembly beside it.
// Layout: option ROM header, PnP expansion header with a boot entry vector (BIOS Boot Specification 1.01, section 3.3; Plug and Play BIOS
// Specification 1.0A, section 3.2), code from 50h on, the list of items.

import { ascii, FW_CFG, u16 } from "./fw-cfg.ts";

const ROM_SIZE = 512;
const PNP_POINTER = 0x1a;
const PNP = 0x20;
const PNP_SIZE = 32;
const PNP_CHECKSUM = 9;
const PNP_PRODUCT = 16;
const PNP_BOOT_VECTOR = 26;
const PRODUCT = 0x40;
const ROM_CHECKSUM = ROM_SIZE - 1;

/** Where {@link BOOT_CODE} begins. */
export const BOOT_CODE_OFFSET = 0x50;

/** Machine code in hexadecimal and the instruction that it is, in the order in which they lie. */
// biome-ignore format: one instruction a row
export const BOOT_CODE: readonly (readonly [bytes: string, assembly: string])[] = [
  // Entered by the BIOS as a boot device (BEV).
  ["31c0", "xor ax,ax"],
  ["8ed0", "mov ss,ax"],
  ["bc007c", "mov sp,0x7c00"],
  ["8cc8", "mov ax,cs"],
  ["8ed8", "mov ds,ax"],
  ["fc", "cld"],
  ["beed00", "mov si,0xed"],
  // Next item: the keys of its data, size and address; 0 ends the list.
  ["ad", "lods ax,WORD PTR ds:[si]"],
  ["85c0", "test ax,ax"],
  ["7418", "je 0x7c"],
  ["89c5", "mov bp,ax"],
  ["ad", "lods ax,WORD PTR ds:[si]"],
  ["89c3", "mov bx,ax"],
  ["e82600", "call 0x92"],
  ["6689c1", "mov ecx,eax"],
  ["ad", "lods ax,WORD PTR ds:[si]"],
  ["89c3", "mov bx,ax"],
  ["e81d00", "call 0x92"],
  ["89eb", "mov bx,bp"],
  ["e83100", "call 0xab"],
  ["ebe3", "jmp 0x5f"],
  // All is loaded: the real-mode part at 10000h is entered at segment 1020h (boot.rst, "Running the Kernel").
  ["b80010", "mov ax,0x1000"],
  ["8ed8", "mov ds,ax"],
  ["8ec0", "mov es,ax"],
  ["8ee0", "mov fs,ax"],
  ["8ee8", "mov gs,ax"],
  ["8ed0", "mov ss,ax"],
  ["bcf0ff", "mov sp,0xfff0"],
  ["fa", "cli"],
  ["ea00002010", "jmp 0x1020:0x0"],
  // Subroutine: EAX = the double word that is the item with key BX.
  ["6651", "push ecx"],
  ["66b904000000", "mov ecx,0x4"],
  ["66b800700000", "mov eax,0x7000"],
  ["e80800", "call 0xab"],
  ["3666a10070", "mov eax,ss:0x7000"],
  ["6659", "pop ecx"],
  ["c3", "ret"],
  // Subroutine: fetches ECX bytes of the item with key BX to physical address EAX; FWCfgDmaAccess lies at 7010h.
  ["89da", "mov dx,bx"],
  ["66c1e210", "shl edx,0x10"],
  ["b20a", "mov dl,0xa"],
  ["660fca", "bswap edx"],
  ["366689161070", "mov DWORD PTR ss:0x7010,edx"],
  ["660fc9", "bswap ecx"],
  ["3666890e1470", "mov DWORD PTR ss:0x7014,ecx"],
  ["660fc8", "bswap eax"],
  ["3666a31c70", "mov ss:0x701c,eax"],
  ["6631c0", "xor eax,eax"],
  ["3666a31870", "mov ss:0x7018,eax"],
  ["ba1805", "mov dx,0x518"],
  ["66b800007010", "mov eax,0x10700000"],
  ["66ef", "out dx,eax"],
  // Done when the control word is zero but for its error bit.
  ["3666f7061070fffffffe", "test DWORD PTR ss:0x7010,0xfeffffff"],
  ["75f4", "jne 0xe0"],
  ["c3", "ret"],
];

/** The items in the order of loading: keys of data, size and address. The list follows the code, at offset EDh. */
const ITEMS = [
  [FW_CFG.SETUP_DATA, FW_CFG.SETUP_SIZE, FW_CFG.SETUP_ADDR],
  [FW_CFG.CMDLINE_DATA, FW_CFG.CMDLINE_SIZE, FW_CFG.CMDLINE_ADDR],
  [FW_CFG.INITRD_DATA, FW_CFG.INITRD_SIZE, FW_CFG.INITRD_ADDR],
  [FW_CFG.KERNEL_DATA, FW_CFG.KERNEL_SIZE, FW_CFG.KERNEL_ADDR],
] as const;

/** The ROM's 512 bytes. */
export function bootRom(): Uint8Array {
  const rom = new Uint8Array(ROM_SIZE);
  const code = BOOT_CODE.flatMap(([bytes]) => (bytes.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)));
  // Signature, length in sectors, and an initialization entry that only returns.
  rom.set([0x55, 0xaa, ROM_SIZE / 512, 0xcb]);
  rom.set(u16(PNP), PNP_POINTER);
  rom.set([...ascii("$PnP"), 1, PNP_SIZE / 16], PNP);
  rom.set(u16(PRODUCT), PNP + PNP_PRODUCT);
  rom.set(u16(BOOT_CODE_OFFSET), PNP + PNP_BOOT_VECTOR);
  rom[PNP + PNP_CHECKSUM] = negativeSum(rom.subarray(PNP, PNP + PNP_SIZE));
  rom.set(ascii("Linux bzImage\0"), PRODUCT);
  rom.set([...code, ...ITEMS.flat().flatMap((key) => [...u16(key)])], BOOT_CODE_OFFSET);
  rom[ROM_CHECKSUM] = negativeSum(rom);
  return rom;
}

/** The byte that makes the sum of all a multiple of 256. */
function negativeSum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}
