// Part: the 82441FX host bridge (Intel 440FX PCIset data sheet 290549-001, section 3.2), function 00:00.0, as QEMU's pc machine presents it.
// SMRAM is a register only: there is no SMM.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { type ConfigRow, ConfigSpace, PCI } from "./config-space.ts";
import type { PciFunction } from "./pci.ts";

const PAM = 0x59;
const PAM_REGISTERS = 7;
/** A segment's attributes: reads, writes reach DRAM (table 3-4). */
const READ_ENABLE = 1 << 0;
const WRITE_ENABLE = 1 << 1;
const SEGMENT_SIZE = 0x4000;
const FIRST_SEGMENT = 0xc_0000;

/** A part of C0000h to FFFFFh, and whether reads and writes of it reach DRAM; else the bus. */
export interface MemorySegment {
  readonly address: number;
  readonly size: number;
  readonly reads: boolean;
  readonly writes: boolean;
}

const ROWS: readonly ConfigRow[] = [
  { offset: PCI.VENDOR_ID, name: "VID, DID", bytes: [0x86, 0x80, 0x37, 0x12], section: "3.2.1" },
  { offset: PCI.COMMAND, name: "PCICMD", bytes: [0x06, 0x00], writable: [0x00, 0x01], section: "3.2.3" },
  { offset: PCI.STATUS, name: "PCISTS", bytes: [0x00, 0x02], clearable: [0x00, 0xf9], section: "3.2.4" },
  { offset: PCI.REVISION, name: "RID, CLASSC: host bridge", bytes: [0x02, 0x00, 0x00, 0x06], section: "3.2.5" },
  { offset: 0x0d, name: "MLT", bytes: [0x00], writable: [0xf8], section: "3.2.7" },
  // QEMU's subsystem, by which SeaBIOS knows the machine and looks for fw_cfg.
  {
    offset: PCI.SUBSYSTEM_VENDOR_ID,
    name: "SVID, SID",
    bytes: [0xf4, 0x1a, 0x00, 0x11],
    section: "QEMU docs/specs/pci-ids",
  },
  { offset: 0x50, name: "PMCCFG", bytes: [0x00, 0x00], writable: [0xff, 0xff], section: "3.2.10" },
  { offset: 0x52, name: "DETURBO", bytes: [0x00], writable: [0xff], section: "3.2.11" },
  { offset: 0x53, name: "DBC", bytes: [0x80], writable: [0x74], section: "3.2.12" },
  { offset: 0x57, name: "DRAMC", bytes: [0x01], writable: [0x3f], section: "3.2.15" },
  { offset: 0x58, name: "DRAMT", bytes: [0x00], writable: [0xff], section: "3.2.16" },
  { offset: PAM, name: "PAM0", bytes: [0x00], writable: [0x30], section: "3.2.17" },
  {
    offset: PAM + 1,
    name: "PAM1 to PAM6",
    bytes: [0, 0, 0, 0, 0, 0],
    writable: [0x33, 0x33, 0x33, 0x33, 0x33, 0x33],
    section: "3.2.17",
  },
  { offset: 0x60, name: "DRB", bytes: [1, 1, 1, 1, 1, 1, 1, 1], writable: new Array(8).fill(0xff), section: "3.2.18" },
  { offset: 0x68, name: "FDHC", bytes: [0x00], writable: [0xc0], section: "3.2.19" },
  { offset: 0x72, name: "SMRAM", bytes: [0x02], writable: [0x78], section: "3.2.21" },
  { offset: 0x90, name: "ERRCMD", bytes: [0x00], writable: [0x1b], section: "3.2.22" },
  { offset: 0x91, name: "ERRSTS", bytes: [0x00], clearable: [0x11], section: "3.2.23" },
];

/** The bridge claims no ports of its own besides those of the configuration mechanism. */
export const NO_PORTS: BusDevice = {
  name: "no ports",
  read: (_offset, width) => 0xffff_ffff >>> (32 - 8 * width),
  write: () => undefined,
};

export class I440fx implements PciFunction, Snapshotable<Uint8Array> {
  readonly name = "82441FX host bridge";
  readonly io: BusDevice = NO_PORTS;
  readonly #config: ConfigSpace = new ConfigSpace(this.name, ROWS);
  readonly #segmentsChanged: () => void;

  /**
   * @param unlocked all segments are DRAM from the start, as firmware leaves them, on a board that has none
   * @param segmentsChanged {@link segments} has changed
   */
  constructor(unlocked: boolean, segmentsChanged: () => void) {
    this.#segmentsChanged = segmentsChanged;
    if (unlocked) for (let index = 0; index < PAM_REGISTERS; index++) this.#config.write(PAM + index, 1, 0xff);
  }

  /** In ascending order of addresses (table 3-3). */
  segments(): readonly MemorySegment[] {
    const small = Array.from({ length: 2 * (PAM_REGISTERS - 1) }, (_, index) => {
      const register = this.#config.read(PAM + 1 + (index >>> 1), 1);
      const attributes = register >>> (4 * (index & 1));
      return segment(FIRST_SEGMENT + index * SEGMENT_SIZE, SEGMENT_SIZE, attributes);
    });
    return [...small, segment(0xf_0000, 0x1_0000, this.#config.read(PAM, 1) >>> 4)];
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config.write(offset, width, value);
    if (offset + width > PAM && offset < PAM + PAM_REGISTERS) this.#segmentsChanged();
  }

  ioRange(): undefined {
    return undefined;
  }

  save(): Uint8Array {
    return this.#config.save();
  }

  load(state: Uint8Array): void {
    this.#config.load(state);
  }
}

function segment(address: number, size: number, attributes: number): MemorySegment {
  return { address, size, reads: (attributes & READ_ENABLE) !== 0, writes: (attributes & WRITE_ENABLE) !== 0 };
}
