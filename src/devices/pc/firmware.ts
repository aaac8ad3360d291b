// Part: what the machine tells its firmware through fw_cfg: memory, processors, boot order, console, a kernel (QEMU hw/i386/fw_cfg.c and
// hw/i386/pc.c; SeaBIOS docs/Runtime_config.md).

import { InputError } from "../../core/errors.ts";
import { bootRom } from "./boot-rom.ts";
import { ascii, type FirmwareItems, FW_CFG, u16, u32, u64 } from "./fw-cfg.ts";
import { BOOT_ROM_DEVICE, BOOT_ROM_FILE, linuxItems } from "./linux-boot.ts";

export interface FirmwareOptions {
  /** Bytes of memory; all of it lies below 4 GiB. */
  readonly memorySize: number;
  readonly vcpus: number;
  /** A bzImage that is booted before anything else. */
  readonly kernel?: {
    readonly name: string;
    readonly image: Uint8Array;
    readonly commandLine: string;
    readonly initrd?: Uint8Array;
  };
  /** Option ROMs by the name under which they appear, such as `vgaroms/vgabios.bin` or `genroms/pxe.rom`. */
  readonly optionRoms?: ReadonlyMap<string, Uint8Array>;
  /** How long the boot menu waits, in milliseconds; absent: no menu. */
  readonly bootMenuMs?: number;
  /** First port of the UART that SeaBIOS mirrors the screen to (and takes keys from). */
  readonly serialConsole?: number;
  /** Device paths in SeaBIOS's notation, first choice first; the kernel comes before them. */
  readonly bootOrder?: readonly string[];
  /** Boot nothing but what the boot order names. */
  readonly strictBoot?: boolean;
}

const E820_RAM = 1;
/** Where PCI memory begins, at the lowest (QEMU's pc machine). */
const PCI_HOLE = 0xe000_0000;

/** With nothing to boot SeaBIOS stops, as under QEMU, and does not start anew after a minute. */
const NEVER_REBOOT = 0xffff_ffff;

/** @throws InputError when memory reaches into the PCI hole or the kernel cannot be booted */
export function firmwareItems(options: FirmwareOptions): FirmwareItems {
  const { memorySize, vcpus, kernel, optionRoms, bootMenuMs, serialConsole, bootOrder, strictBoot } = options;
  if (memorySize > PCI_HOLE)
    throw new InputError(`at most ${PCI_HOLE} bytes lie below the PCI hole`, "memory of the machine");
  const items = new Map<number, Uint8Array>([
    [FW_CFG.UUID, new Uint8Array(16)],
    [FW_CFG.RAM_SIZE, u64(memorySize)],
    [FW_CFG.NOGRAPHIC, u16(serialConsole === undefined ? 0 : 1)],
    [FW_CFG.NB_CPUS, u16(vcpus)],
    [FW_CFG.MAX_CPUS, u16(vcpus)],
    [FW_CFG.BOOT_DEVICE, u16(0)],
    [FW_CFG.NUMA, new Uint8Array(16)],
    [FW_CFG.BOOT_MENU, u16(bootMenuMs === undefined ? 0 : 1)],
  ]);
  const files = new Map<string, Uint8Array>([
    ["etc/e820", Uint8Array.of(...u64(0), ...u64(memorySize), ...u32(E820_RAM))],
    ["etc/boot-fail-wait", u32(NEVER_REBOOT)],
    ...(optionRoms ?? []),
  ]);
  const order = [...(bootOrder ?? [])];
  if (kernel !== undefined) {
    const { name, image, commandLine, initrd } = kernel;
    const linux = { kernel: image, commandLine, memorySize, ...(initrd === undefined ? {} : { initrd }) };
    for (const [key, bytes] of linuxItems(linux, name)) items.set(key, bytes);
    files.set(BOOT_ROM_FILE, bootRom());
    order.unshift(BOOT_ROM_DEVICE);
  }
  if (strictBoot === true) order.push("HALT");
  if (order.length > 0) files.set("bootorder", ascii(`${order.join("\n")}\0`));
  if (bootMenuMs !== undefined) files.set("etc/boot-menu-wait", u64(bootMenuMs));
  if (serialConsole !== undefined) files.set("etc/sercon-port", u64(serialConsole));
  return { items, files };
}
