// Part: the Xen platform device (QEMU hw/i386/xen/xen_platform.c; Xen docs/misc/hvm-emulated-unplug.pandoc): a PCI function by which an HVM guest
// finds Xen, with room in its memory range for the pages that the guest maps, and ports 10h to 1Fh, by which its drivers have the emulated
// devices taken away that they replace. Its interrupt is Xen's: the callback of event channels. Not modelled: a list of refused drivers.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { adoptState, copyState } from "./chip-state.ts";
import { BAR_IO, COMMAND_IO, type ConfigRow, ConfigSpace, PCI } from "./config-space.ts";
import type { PciFunction } from "./pci.ts";

/** XenSource's vendor number and the device's, little-endian. */
const IDENTITY = [0x53, 0x58, 0x01, 0x00] as const;
const BAR0 = 0x10;
const BAR1 = 0x14;
const COMMAND_MEMORY = 1 << 1;
const BAR_PREFETCHABLE = 1 << 3;
const PORT_COUNT = 0x100;

const ROWS: readonly ConfigRow[] = [
  { offset: PCI.VENDOR_ID, name: "VID, DID", bytes: IDENTITY, section: "PCI 6.2.1" },
  {
    offset: PCI.COMMAND,
    name: "COMMAND",
    bytes: [COMMAND_IO | COMMAND_MEMORY, 0x00],
    writable: [COMMAND_IO | COMMAND_MEMORY, 0x04],
    section: "PCI 6.2.2",
  },
  // Unassigned class, FFh.
  { offset: PCI.REVISION, name: "RID, CLASS", bytes: [0x01, 0x00, 0x80, 0xff], section: "PCI 6.2.1" },
  { offset: BAR0, name: "ports", bytes: [BAR_IO, 0, 0, 0], writable: [0, 0xff, 0xff, 0xff], section: "PCI 6.2.5" },
  // 16 MiB.
  { offset: BAR1, name: "memory", bytes: [BAR_PREFETCHABLE, 0, 0, 0], writable: [0, 0, 0, 0xff], section: "PCI 6.2.5" },
  { offset: PCI.SUBSYSTEM_VENDOR_ID, name: "SVID, SID", bytes: IDENTITY, section: "PCI 6.2.4" },
  { offset: PCI.INTERRUPT_LINE, name: "ILR", bytes: [0x00], writable: [0xff], section: "PCI 6.2.4" },
  { offset: PCI.INTERRUPT_PIN, name: "IPR: INTA#", bytes: [0x01], section: "PCI 6.2.4" },
];

/** Offsets of the fixed ports, which begin at 10h. */
const MAGIC_OR_UNPLUG = 0;
const VERSION_PRODUCT_LOG = 2;
/** By which drivers know that the ports are there, and their protocol's version. */
const MAGIC = 0x49d2;
const PROTOCOL_VERSION = 1;
/** Platform flags: C0000h to FFFFFh is read only. */
const ROM_LOCK = 1 << 0;
/** Offset of the log port among those of BAR0. */
const BAR0_LOG = 8;

const ones = (width: AccessWidth): number => 0xffff_ffff >>> (32 - 8 * width);

export interface XenPlatformWires {
  /** {@link XenPlatform.romLocked} has changed. */
  readonly romLockChanged: () => void;
  /** The guest's drivers take over: bit 0 all IDE disks, 1 all network cards, 2 the IDE disks but the first. */
  readonly unplug: (mask: number) => void;
  /** A character for the log. */
  readonly log: (byte: number) => void;
}

export interface XenPlatformState {
  flags: number;
  /** What the driver says of itself. */
  product: number;
  build: number;
}

export class XenPlatform implements PciFunction, Snapshotable<XenPlatformState & { config: Uint8Array }> {
  readonly name = "Xen platform device";
  readonly #config: ConfigSpace = new ConfigSpace(this.name, ROWS);
  readonly #wires: XenPlatformWires;
  #state: XenPlatformState = { flags: 0, product: 0, build: 0 };

  constructor(wires: XenPlatformWires) {
    this.#wires = wires;
  }

  get romLocked(): boolean {
    return (this.#state.flags & ROM_LOCK) !== 0;
  }

  /** Ports 10h to 1Fh. */
  readonly fixed: BusDevice = {
    name: this.name,
    read: (offset, width) => {
      if (width === 1 && offset === MAGIC_OR_UNPLUG) return this.#state.flags;
      if (width === 1 && offset === VERSION_PRODUCT_LOG) return PROTOCOL_VERSION;
      return width === 2 && offset === MAGIC_OR_UNPLUG ? MAGIC : ones(width);
    },
    write: (offset, width, value) => {
      if (offset === MAGIC_OR_UNPLUG) this.#writeFirst(width, value);
      else if (offset !== VERSION_PRODUCT_LOG) return;
      else if (width === 1) this.#wires.log(value);
      else if (width === 2) this.#state.product = value;
    },
  };

  #writeFirst(width: AccessWidth, value: number): void {
    if (width === 1) this.#writeFlags(value);
    else if (width === 2) this.#wires.unplug(value);
    else this.#state.build = value;
  }

  #writeFlags(value: number): void {
    this.#state.flags = value & ROM_LOCK;
    this.#wires.romLockChanged();
  }

  /** BAR0: the flags and the log once more. */
  readonly io: BusDevice = {
    name: this.name,
    read: (offset, width) => (width === 1 && offset === 0 ? this.#state.flags : ones(width)),
    write: (offset, _width, value) => {
      if (offset === 0) this.#writeFlags(value & 0xff);
      else if (offset === BAR0_LOG) this.#wires.log(value & 0xff);
    },
  };

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config.write(offset, width, value);
  }

  ioRange(): { readonly first: number; readonly length: number } | undefined {
    if ((this.#config.read(PCI.COMMAND, 1) & COMMAND_IO) === 0) return undefined;
    const first = (this.#config.read(BAR0, 4) & ~(PORT_COUNT - 1)) >>> 0;
    return first > 0 && first <= 0x1_0000 - PORT_COUNT ? { first, length: PORT_COUNT } : undefined;
  }

  save(): XenPlatformState & { config: Uint8Array } {
    return { ...copyState(this.#state), config: this.#config.save() };
  }

  /** @throws InputError when the snapshot is not the device's */
  load({ config, ...state }: XenPlatformState & { config: Uint8Array }): void {
    const adopted = adoptState(this.#state, state, this.name);
    this.#config.load(config);
    this.#state = adopted;
  }
}
