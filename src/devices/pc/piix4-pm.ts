// Part: the PIIX4's power management function (Intel 82371AB data sheet 290562-001, chapter 7) as QEMU's pc machine has it at 00:01.3: the ACPI
// fixed registers with the power management timer, and the APM ports B2h and B3h.
// There is no SMM: DEVACTB.APMC_EN reads as set, which tells SeaBIOS that SMM has been set up already, as QEMU does without SMM. Not modelled:
// SMBus, general purpose events, the device monitors, sleep states other than soft off.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import type { Alarm, AlarmClock } from "../../core/clock.ts";
import type { IrqSource } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { inverse, ratio, scaleCeil, scaleFloor } from "../../core/units.ts";
import { adoptState } from "./chip-state.ts";
import { BAR_IO, type ConfigRow, ConfigSpace, PCI } from "./config-space.ts";
import type { ByteChip } from "./isa.ts";
import type { PciFunction } from "./pci.ts";

const PMBA = 0x40;
const DEVACTB = 0x58;
const PMREGMISC = 0x80;
const PMIOSE = 1 << 0;

const ROWS: readonly ConfigRow[] = [
  { offset: PCI.VENDOR_ID, name: "VID, DID", bytes: [0x86, 0x80, 0x13, 0x71], section: "7.1.1" },
  { offset: PCI.COMMAND, name: "PCICMD", bytes: [0x00, 0x00], writable: [0x01, 0x00], section: "7.1.3" },
  { offset: PCI.STATUS, name: "PCISTS", bytes: [0x80, 0x02], clearable: [0x00, 0x08], section: "7.1.4" },
  { offset: PCI.REVISION, name: "RID, CLASSC: bridge, other", bytes: [0x03, 0x00, 0x80, 0x06], section: "7.1.5" },
  {
    offset: PCI.SUBSYSTEM_VENDOR_ID,
    name: "subsystem",
    bytes: [0xf4, 0x1a, 0x00, 0x11],
    section: "QEMU docs/specs/pci-ids",
  },
  { offset: PCI.INTERRUPT_LINE, name: "INTLN, INTPN", bytes: [0x09, 0x01], writable: [0xff, 0x00], section: "7.1.8" },
  { offset: PMBA, name: "PMBA", bytes: [BAR_IO, 0, 0, 0], writable: [0xc0, 0xff, 0, 0], section: "7.1.10" },
  { offset: 0x44, name: "CNTA", bytes: [0, 0, 0, 0], writable: [0xff, 0xff, 0xff, 0xff], section: "7.1.11" },
  { offset: 0x48, name: "CNTB", bytes: [0, 0, 0, 0], writable: [0xff, 0xff, 0x7f, 0x00], section: "7.1.12" },
  { offset: 0x4c, name: "GPICTL", bytes: [0, 0, 0, 0], writable: [0xff, 0xff, 0xff, 0xff], section: "7.1.13" },
  { offset: 0x50, name: "DEVRESD", bytes: [0, 0, 0, 0], writable: [0xff, 0xff, 0xff, 0x00], section: "7.1.14" },
  { offset: 0x54, name: "DEVACTA", bytes: [0, 0, 0, 0], writable: [0xff, 0xff, 0xff, 0xff], section: "7.1.15" },
  { offset: DEVACTB, name: "DEVACTB", bytes: [0, 0, 0, 0x02], writable: [0xff, 0xff, 0xff, 0x01], section: "7.1.16" },
  {
    offset: 0x5c,
    name: "DEVRESA to DEVRESJ",
    bytes: new Array(32).fill(0),
    writable: new Array(32).fill(0xff),
    section: "7.1.17",
  },
  { offset: PMREGMISC, name: "PMREGMISC", bytes: [0x00], writable: [PMIOSE], section: "7.1.26" },
  { offset: 0x90, name: "SMBBA", bytes: [BAR_IO, 0, 0, 0], writable: [0xf0, 0xff, 0, 0], section: "7.1.27" },
  {
    offset: 0xd2,
    name: "SMBHSTCFG to SMBREV",
    bytes: [0, 0, 0, 0],
    writable: [0x0f, 0xff, 0xff, 0xff],
    section: "7.1.28",
  },
];

/** Power management registers by offset from PMBA (section 7.2). */
const PM_PORTS = 64;
const PMSTS = 0x00;
const PMEN = 0x02;
const PMCNTRL = 0x04;
const PMTMR = 0x08;
const TMROF = 1 << 0;
const PMSTS_CLEARABLE = 0x8d21;
const PMEN_WRITABLE = 0x0521;
const SCI_EN = 1 << 0;
const PMCNTRL_WRITABLE = 0x1c03;
const SUS_EN = 1 << 13;
const SUS_TYP_SHIFT = 10;
/** SUS_TYP 0: soft off (section 7.2.3). */
const SOFT_OFF = 0;

/** 14.31818 MHz / 4: 315 ticks in 88,000 ns; 24 bits; TMROF_STS is set when bit 23 changes. */
const TICKS_PER_NS = ratio(315, 88_000);
const NS_PER_TICK = inverse(TICKS_PER_NS);
const TIMER_MODULUS = 2 ** 24;
const OVERFLOW_TICKS = 2 ** 23;

const APMC = 0;
const APM_PORTS = 2;

export interface Piix4PmState {
  config: Uint8Array;
  pmsts: number;
  pmen: number;
  pmcntrl: number;
  /** Changes of the timer's bit 23 that PMSTS has told of. */
  overflowsSeen: number;
  apm: number[];
}

export interface Piix4PmWires {
  readonly clock: AlarmClock;
  /** The SCI, IRQ 9. */
  readonly sci: IrqSource;
  /** Software turns the power off. */
  readonly powerOff: () => void;
}

export class Piix4Pm implements PciFunction, Snapshotable<Piix4PmState> {
  readonly name = "82371AB power management";
  readonly io: BusDevice;
  readonly #wires: Piix4PmWires;
  readonly #overflow: Alarm;
  readonly #config: ConfigSpace = new ConfigSpace(this.name, ROWS);
  #registers: Omit<Piix4PmState, "config"> = { pmsts: 0, pmen: 0, pmcntrl: 0, overflowsSeen: 0, apm: [0, 0] };

  constructor(wires: Piix4PmWires) {
    this.#wires = wires;
    this.#overflow = wires.clock.alarm("pm timer overflow", () => this.#drive());
    this.io = {
      name: this.name,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
    };
  }

  /** Ports B2h and B3h: APMC and APMS, which keep what is written; no SMI follows. */
  readonly apm: ByteChip = {
    name: "APM",
    readByte: (offset) => this.#registers.apm[offset] ?? 0,
    writeByte: (offset, value) => {
      if (offset < APM_PORTS) this.#registers.apm[APMC + offset] = value;
    },
  };

  get #tick(): number {
    return scaleFloor(this.#wires.clock.now, TICKS_PER_NS);
  }

  /** A 32-bit register at a multiple of four; registers that are not modelled read as zeros. */
  #register(at: number): number {
    this.#noteOverflows();
    const { pmsts, pmen, pmcntrl } = this.#registers;
    if (at === PMSTS) return pmsts | (pmen << 16);
    if (at === PMCNTRL) return pmcntrl;
    return at === PMTMR ? this.#tick % TIMER_MODULUS : 0;
  }

  #read(offset: number, width: AccessWidth): number {
    const within = offset & 3;
    const low = this.#register(offset - within) >>> (8 * within);
    // An access that crosses a double word takes the rest from the next one.
    const high = within === 0 ? 0 : this.#register(offset - within + 4) << (32 - 8 * within);
    return ((low | high) & (0xffff_ffff >>> (32 - 8 * width))) >>> 0;
  }

  #write(offset: number, width: AccessWidth, value: number): void {
    this.#noteOverflows();
    for (let index = 0; index < width; index++) {
      const at = offset + index;
      this.#writeByte(at & ~1, (at & 1) * 8, (value >>> (8 * index)) & 0xff);
    }
    this.#drive();
  }

  #writeByte(register: number, shift: number, byte: number): void {
    const registers = this.#registers;
    const bits = byte << shift;
    const merge = (old: number, writable: number): number => {
      const lane = writable & (0xff << shift);
      return (old & ~lane) | (bits & lane);
    };
    if (register === PMSTS) registers.pmsts &= ~(bits & PMSTS_CLEARABLE);
    else if (register === PMEN) registers.pmen = merge(registers.pmen, PMEN_WRITABLE);
    else if (register === PMCNTRL) {
      registers.pmcntrl = merge(registers.pmcntrl, PMCNTRL_WRITABLE);
      const type = (registers.pmcntrl >>> SUS_TYP_SHIFT) & 7;
      if ((bits & SUS_EN) !== 0 && type === SOFT_OFF) this.#wires.powerOff();
    }
  }

  #noteOverflows(): void {
    const overflows = Math.floor(this.#tick / OVERFLOW_TICKS);
    if (overflows > this.#registers.overflowsSeen) this.#registers.pmsts |= TMROF;
    this.#registers.overflowsSeen = overflows;
  }

  /** The SCI, and an alarm for the next overflow while it would interrupt. */
  #drive(): void {
    this.#noteOverflows();
    const { pmsts, pmen, pmcntrl, overflowsSeen } = this.#registers;
    const enabled = (pmcntrl & SCI_EN) !== 0;
    this.#wires.sci.set(enabled && (pmsts & pmen) !== 0);
    if (!enabled || (pmen & TMROF) === 0 || (pmsts & TMROF) !== 0) this.#overflow.cancel();
    else this.#overflow.set(scaleCeil((overflowsSeen + 1) * OVERFLOW_TICKS, NS_PER_TICK));
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config.write(offset, width, value);
  }

  /** The registers answer while PMIOSE is set, whatever the command register says (section 7.1.26). */
  ioRange(): { first: number; length: number } | undefined {
    const first = this.#config.read(PMBA, 4) & ~BAR_IO;
    const enabled = (this.#config.read(PMREGMISC, 1) & PMIOSE) !== 0;
    return enabled && first !== 0 ? { first, length: PM_PORTS } : undefined;
  }

  /** Power-on; the timer goes on, as it has no state of its own. */
  reset(): void {
    this.#config.reset();
    this.#overflow.cancel();
    const overflowsSeen = Math.floor(this.#tick / OVERFLOW_TICKS);
    this.#registers = { pmsts: 0, pmen: 0, pmcntrl: 0, overflowsSeen, apm: [0, 0] };
  }

  save(): Piix4PmState {
    return { config: this.#config.save(), ...this.#registers, apm: [...this.#registers.apm] };
  }

  /** @throws InputError when the state is not this function's */
  load({ config, ...registers }: Piix4PmState): void {
    const adopted = adoptState(this.#registers, registers, this.name);
    this.#config.load(config);
    this.#registers = adopted;
  }
}
