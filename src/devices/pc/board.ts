// Part: the boards as a table: each device, the ports and addresses it answers, and whether it sits in the hypervisor or in the device model.
// As in Xen (xen/arch/x86/hvm): interrupt controllers, PIT and RTC are emulated where their exits arrive, all else by the device model.

import { InputError } from "../../core/errors.ts";

export type BoardKind =
  /** QEMU's `pc`: i440FX and PIIX3. */
  | "pc"
  /** QEMU's `isapc`: no PCI, no APICs. */
  | "isapc";

export type Place = "hypervisor" | "device-model";

/** First and number of ports or addresses. */
export type Range = readonly [first: number, length: number];

export interface BoardRow {
  readonly device: DeviceName;
  readonly place: Place;
  readonly boards: readonly BoardKind[];
  readonly ports?: readonly Range[];
  readonly addresses?: readonly Range[];
  /** ISA interrupts that it may raise. */
  readonly irqs?: readonly number[];
  /** A board may be without. */
  readonly optional?: boolean;
  /** Where Xen or QEMU says so. */
  readonly source: string;
}

const BOTH: readonly BoardKind[] = ["pc", "isapc"];
const PC: readonly BoardKind[] = ["pc"];

export const DEVICE_NAMES = [
  "pic-master",
  "pic-slave",
  "elcr",
  "pit",
  "port-61",
  "rtc",
  "local-apic",
  "io-apic",
  "xen-platform",
  "dma-1",
  "dma-2",
  "dma-pages",
  "i8042",
  "port-92",
  "apm",
  "com1",
  "com2",
  "debug-console",
  "fw-cfg",
  "fw-cfg-dma",
  "ide-primary",
  "ide-secondary",
  "vga",
  "vga-memory",
  "pci-configuration",
  "pci-io",
] as const;
export type DeviceName = (typeof DEVICE_NAMES)[number];

/** A device may have several ranges; `i8042` sees offsets from port 60h in both of its. */
export const BOARD: readonly BoardRow[] = [
  { device: "pic-master", place: "hypervisor", boards: BOTH, ports: [[0x20, 2]], source: "xen/arch/x86/hvm/vpic.c" },
  { device: "pic-slave", place: "hypervisor", boards: BOTH, ports: [[0xa0, 2]], source: "xen/arch/x86/hvm/vpic.c" },
  { device: "elcr", place: "hypervisor", boards: BOTH, ports: [[0x4d0, 2]], source: "xen/arch/x86/hvm/vpic.c" },
  {
    device: "pit",
    place: "hypervisor",
    boards: BOTH,
    ports: [[0x40, 4]],
    irqs: [0],
    source: "xen/arch/x86/emul-i8254.c",
  },
  { device: "port-61", place: "hypervisor", boards: BOTH, ports: [[0x61, 1]], source: "xen/arch/x86/emul-i8254.c" },
  { device: "rtc", place: "hypervisor", boards: BOTH, ports: [[0x70, 2]], irqs: [8], source: "xen/arch/x86/hvm/rtc.c" },
  {
    device: "local-apic",
    place: "hypervisor",
    boards: PC,
    addresses: [[0xfee0_0000, 0x1000]],
    source: "xen/arch/x86/hvm/vlapic.c",
  },
  {
    device: "io-apic",
    place: "hypervisor",
    boards: PC,
    addresses: [[0xfec0_0000, 0x1000]],
    source: "xen/arch/x86/hvm/vioapic.c",
  },
  {
    device: "xen-platform",
    place: "device-model",
    boards: PC,
    ports: [[0x10, 0x10]],
    optional: true,
    source: "qemu hw/i386/xen/xen_platform.c",
  },
  { device: "dma-1", place: "device-model", boards: BOTH, ports: [[0x00, 0x10]], source: "qemu hw/dma/i8257.c" },
  { device: "dma-2", place: "device-model", boards: BOTH, ports: [[0xc0, 0x20]], source: "qemu hw/dma/i8257.c" },
  { device: "dma-pages", place: "device-model", boards: BOTH, ports: [[0x80, 0x10]], source: "qemu hw/dma/i8257.c" },
  {
    device: "i8042",
    place: "device-model",
    boards: BOTH,
    ports: [
      [0x60, 1],
      [0x64, 1],
    ],
    irqs: [1, 12],
    source: "qemu hw/input/pckbd.c",
  },
  { device: "port-92", place: "device-model", boards: BOTH, ports: [[0x92, 1]], source: "qemu hw/i386/port92.c" },
  { device: "apm", place: "device-model", boards: PC, ports: [[0xb2, 2]], source: "qemu hw/isa/apm.c" },
  {
    device: "com1",
    place: "device-model",
    boards: BOTH,
    ports: [[0x3f8, 8]],
    irqs: [4],
    source: "qemu hw/char/serial-isa.c",
  },
  {
    device: "com2",
    place: "device-model",
    boards: BOTH,
    ports: [[0x2f8, 8]],
    irqs: [3],
    source: "qemu hw/char/serial-isa.c",
  },
  {
    device: "debug-console",
    place: "device-model",
    boards: BOTH,
    ports: [[0x402, 1]],
    source: "qemu hw/char/debugcon.c",
  },
  { device: "fw-cfg", place: "device-model", boards: BOTH, ports: [[0x510, 2]], source: "qemu docs/specs/fw_cfg.rst" },
  {
    device: "fw-cfg-dma",
    place: "device-model",
    boards: BOTH,
    ports: [[0x514, 8]],
    source: "qemu docs/specs/fw_cfg.rst",
  },
  {
    device: "ide-primary",
    place: "device-model",
    boards: BOTH,
    ports: [
      [0x1f0, 8],
      [0x3f6, 1],
    ],
    source: "qemu hw/ide/core.c",
  },
  {
    device: "ide-secondary",
    place: "device-model",
    boards: BOTH,
    ports: [
      [0x170, 8],
      [0x376, 1],
    ],
    source: "qemu hw/ide/core.c",
  },
  { device: "vga", place: "device-model", boards: BOTH, ports: [[0x3b0, 0x30]], source: "qemu hw/display/vga.c" },
  {
    device: "vga-memory",
    place: "device-model",
    boards: BOTH,
    addresses: [[0xa_0000, 0x2_0000]],
    source: "qemu hw/display/vga.c",
  },
  {
    device: "pci-configuration",
    place: "device-model",
    boards: PC,
    ports: [[0xcf8, 8]],
    irqs: [9, 10, 11],
    source: "qemu hw/pci-host/i440fx.c",
  },
  // Where functions may put their ports: SeaBIOS places them from C000h on and the power management block at 600h or B000h.
  {
    device: "pci-io",
    place: "device-model",
    boards: PC,
    ports: [
      [0x600, 0x100],
      [0x1000, 0xf000],
    ],
    source: "qemu hw/pci-host/i440fx.c",
  },
];

export function boardRows(kind: BoardKind): readonly BoardRow[] {
  return BOARD.filter((row) => row.boards.includes(kind));
}

/** @throws InputError unless `text` names a board; `context` says where it stands */
export function boardKind(text: string, context: string): BoardKind {
  if (text === "pc" || text === "isapc") return text;
  throw new InputError(`${text} is no board; there are pc and isapc`, context);
}
