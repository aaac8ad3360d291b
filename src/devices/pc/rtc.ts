// Part: the MC146818 real-time clock with 128 bytes of CMOS memory (Motorola MC146818 data sheet; Dallas DS12887 for the PC's use of it), at
// ports 70h and 71h. Time is the virtual clock's. Registers are counted up once a second as the chip does it, in the format that is set,
// so nonsense that a guest writes counts on as nonsense. Not modelled: daylight saving, square-wave output, NMI mask (bit 7 of port 70h).

import type { Alarm, AlarmClock } from "../../core/clock.ts";
import type { IrqSource } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { KIB, MIB, NS_PER_MS, NS_PER_SECOND, NS_PER_US, ratio, scaleCeil, scaleFloor } from "../../core/units.ts";
import { adoptState, copyState } from "./chip-state.ts";
import { type ByteChip, OPEN_BUS_BYTE } from "./isa.ts";

const CMOS_SIZE = 128;

/** Register numbers (data sheet, "Address map"). */
export const RTC = {
  SECONDS: 0x00,
  SECONDS_ALARM: 0x01,
  MINUTES: 0x02,
  MINUTES_ALARM: 0x03,
  HOURS: 0x04,
  HOURS_ALARM: 0x05,
  DAY_OF_WEEK: 0x06,
  DAY_OF_MONTH: 0x07,
  MONTH: 0x08,
  YEAR: 0x09,
  A: 0x0a,
  B: 0x0b,
  C: 0x0c,
  D: 0x0d,
  CENTURY: 0x32,
} as const;

const A_UIP = 0x80;
const B = { SET: 0x80, PIE: 0x40, AIE: 0x20, UIE: 0x10, DM_BINARY: 0x04, HOURS_24: 0x02 } as const;
const C = { IRQF: 0x80, PF: 0x40, AF: 0x20, UF: 0x10 } as const;
const C_FLAGS = C.PF | C.AF | C.UF;
const D_VRT = 0x80;
const PM = 0x80;
/** An alarm byte from C0h on matches anything. */
const DONT_CARE = 0xc0;

/** Divider field of register A: the 32,768-Hz time base; 11x holds the divider in reset. */
const DV_32768_HZ = 2;
const DV_RESET = 6;
/** From the end of divider reset to the first update. */
const FIRST_UPDATE_NS = 500 * NS_PER_MS;
/** UIP rises t_BUC before an update cycle and falls at its end, t_UC later ("Update cycle"). */
const UIP_NS = (244 + 1984) * NS_PER_US;
const CRYSTAL = ratio(32_768, NS_PER_SECOND);
const CRYSTAL_PERIOD = ratio(NS_PER_SECOND, 32_768);

/** CMOS bytes by which QEMU's machines tell the firmware the size of memory and what is plugged in (QEMU hw/i386/pc.c). */
const CMOS = {
  EQUIPMENT: 0x14,
  BASE_MEMORY_KIB: 0x15,
  EXTENDED_KIB: 0x17,
  EXTENDED_KIB_POST: 0x30,
  ABOVE_16_MIB_IN_64_KIB: 0x34,
  BOOT_FLAG_1: 0x38,
  BOOT_FLAG_2: 0x3d,
  CPUS_LESS_ONE: 0x5f,
} as const;
/** Equipment: display type VGA, 80×25 color without one, coprocessor present; a mouse port. */
const EQUIPMENT_FPU = 0x02;
const EQUIPMENT_PS2_MOUSE = 0x04;

export interface RtcState {
  index: number;
  /** All 128 bytes; registers C and D are not kept here. */
  cmos: Uint8Array;
  flags: number;
  /** When the registers are next counted up; divider edges are whole seconds before it. */
  updateAt: number;
  /** Periods of the periodic interrupt that register C has told of. */
  periodsSeen: number;
}

/** Codes of the boot order nibbles (QEMU hw/i386/pc.c, boot_device2nibble). */
const BOOT_DEVICES = { floppy: 1, disk: 2, cdrom: 3, network: 4 } as const;
export type BootDevice = keyof typeof BOOT_DEVICES;

export interface RtcOptions {
  /** Seconds since 1970-01-01 UTC at power-on. */
  readonly startDateSeconds: number;
  /** Bytes of memory below 4 GiB. */
  readonly memorySize: number;
  readonly vcpus: number;
  /** What the firmware boots from, first choice first. */
  readonly bootDevices: readonly BootDevice[];
}

export interface RtcWires {
  readonly clock: AlarmClock;
  readonly irq8: IrqSource;
}

const toBcd = (value: number): number => (Math.floor(value / 10) << 4) | (value % 10);

export class Rtc implements ByteChip, Snapshotable<RtcState> {
  readonly name = "MC146818 RTC";
  readonly #clock: AlarmClock;
  readonly #irq8: IrqSource;
  readonly #update: Alarm;
  readonly #periodic: Alarm;
  readonly #options: RtcOptions;
  #state: RtcState;

  constructor({ clock, irq8 }: RtcWires, options: RtcOptions) {
    this.#clock = clock;
    this.#irq8 = irq8;
    this.#update = clock.alarm("rtc update", () => this.#endUpdate());
    this.#periodic = clock.alarm("rtc periodic", () => this.#periodicTick());
    this.#options = options;
    this.#state = this.#powerOn();
  }

  /** As the toolstack sets it up: at the date that it is now. Its line is reset with it. */
  reset(): void {
    this.#periodic.cancel();
    this.#state = this.#powerOn();
  }

  #powerOn(): RtcState {
    const { now } = this.#clock;
    const startDateSeconds = this.#options.startDateSeconds + Math.floor(now / NS_PER_SECOND);
    const updateAt = now + NS_PER_SECOND;
    this.#update.set(updateAt);
    return { index: 0, cmos: powerOnCmos({ ...this.#options, startDateSeconds }), flags: 0, updateAt, periodsSeen: 0 };
  }

  readByte(offset: number): number {
    if (offset === 0) return OPEN_BUS_BYTE;
    const { index, cmos } = this.#state;
    switch (index) {
      case RTC.A:
        return cmos[RTC.A]! | (this.#isUpdating() ? A_UIP : 0);
      case RTC.C:
        return this.#readC();
      case RTC.D:
        return D_VRT;
      default:
        return cmos[index]!;
    }
  }

  writeByte(offset: number, value: number): void {
    const state = this.#state;
    if (offset === 0) {
      state.index = value & (CMOS_SIZE - 1);
      return;
    }
    switch (state.index) {
      case RTC.A:
        this.#writeA(value & ~A_UIP);
        break;
      case RTC.B:
        this.#writeB(value);
        break;
      case RTC.C:
      case RTC.D:
        return;
      default:
        state.cmos[state.index] = value;
    }
  }

  get #isRunning(): boolean {
    return ((this.#state.cmos[RTC.A]! >>> 4) & 7) === DV_32768_HZ;
  }

  #isUpdating(): boolean {
    const { cmos, updateAt } = this.#state;
    return this.#isRunning && (cmos[RTC.B]! & B.SET) === 0 && updateAt - this.#clock.now <= UIP_NS;
  }

  /** Reading clears the flags and releases IRQ 8. */
  #readC(): number {
    this.#notePeriods();
    const { flags } = this.#state;
    const requested = (flags & this.#state.cmos[RTC.B]! & C_FLAGS) !== 0;
    this.#state.flags = 0;
    this.#irq8.set(false);
    return flags | (requested ? C.IRQF : 0);
  }

  #writeA(value: number): void {
    const state = this.#state;
    this.#notePeriods();
    const before = (state.cmos[RTC.A]! >>> 4) & 7;
    const after = value >>> 4;
    state.cmos[RTC.A] = value;
    if (after !== DV_32768_HZ) this.#update.cancel();
    else if (before !== DV_32768_HZ) {
      state.updateAt = this.#clock.now + (before >= DV_RESET ? FIRST_UPDATE_NS : NS_PER_SECOND);
      this.#update.set(state.updateAt);
    }
    state.periodsSeen = this.#periods();
    this.#armPeriodic();
  }

  #writeB(value: number): void {
    this.#notePeriods();
    // SET ends an update that is under way and clears UIE ("Register B").
    this.#state.cmos[RTC.B] = (value & B.SET) !== 0 ? value & ~B.UIE : value;
    this.#drive();
    this.#armPeriodic();
  }

  #drive(): void {
    const { flags, cmos } = this.#state;
    this.#irq8.set((flags & cmos[RTC.B]! & C_FLAGS) !== 0);
  }

  // The periodic interrupt. PF is set at the selected rate whether or not it interrupts; only an interrupt needs an alarm.

  /** Crystal cycles of one period; 0 when none is selected (data sheet, table 5). */
  get #periodCycles(): number {
    const rate = this.#state.cmos[RTC.A]! & 15;
    if (rate === 0 || !this.#isRunning) return 0;
    return 1 << ((rate <= 2 ? rate + 7 : rate) - 1);
  }

  /** Periods that have ended, counted from an edge of the divider far enough in the past. */
  #periods(): number {
    const cycles = this.#periodCycles;
    return cycles === 0 ? 0 : Math.floor(scaleFloor(this.#clock.now, CRYSTAL) / cycles);
  }

  #notePeriods(): void {
    const periods = this.#periods();
    if (periods > this.#state.periodsSeen) this.#state.flags |= C.PF;
    this.#state.periodsSeen = periods;
  }

  #periodicTick(): void {
    this.#notePeriods();
    this.#drive();
    this.#armPeriodic();
  }

  #armPeriodic(): void {
    const cycles = this.#periodCycles;
    if (cycles === 0 || (this.#state.cmos[RTC.B]! & B.PIE) === 0) this.#periodic.cancel();
    else this.#periodic.set(scaleCeil((this.#periods() + 1) * cycles, CRYSTAL_PERIOD));
  }

  // The update cycle.

  #endUpdate(): void {
    const state = this.#state;
    state.updateAt = this.#clock.now + NS_PER_SECOND;
    this.#update.set(state.updateAt);
    if ((state.cmos[RTC.B]! & B.SET) !== 0) return;
    this.#countUp();
    state.flags |= C.UF;
    if (this.#alarmMatches()) state.flags |= C.AF;
    this.#drive();
  }

  #alarmMatches(): boolean {
    const { cmos } = this.#state;
    return [RTC.SECONDS, RTC.MINUTES, RTC.HOURS].every((register) => {
      const alarm = cmos[register + 1]!;
      return alarm >= DONT_CARE || alarm === cmos[register];
    });
  }

  #get(register: number): number {
    const value = this.#state.cmos[register]!;
    return (this.#state.cmos[RTC.B]! & B.DM_BINARY) !== 0 ? value : (value >>> 4) * 10 + (value & 15);
  }

  #put(register: number, value: number): void {
    this.#state.cmos[register] = (this.#state.cmos[RTC.B]! & B.DM_BINARY) !== 0 ? value : toBcd(value);
  }

  /** One register up; true when it wraps from `last` to `first`. */
  #carry(register: number, first: number, last: number): boolean {
    const value = this.#get(register);
    const wraps = value >= last;
    this.#put(register, wraps ? first : value + 1);
    return wraps;
  }

  #countUp(): void {
    if (!this.#carry(RTC.SECONDS, 0, 59) || !this.#carry(RTC.MINUTES, 0, 59) || !this.#carryHours()) return;
    this.#carry(RTC.DAY_OF_WEEK, 1, 7);
    const month = this.#get(RTC.MONTH);
    if (!this.#carry(RTC.DAY_OF_MONTH, 1, daysInMonth(month, this.#get(RTC.YEAR)))) return;
    if (this.#carry(RTC.MONTH, 1, 12)) this.#carry(RTC.YEAR, 0, 99);
  }

  /** In 12-hour format 12 comes before 1 and bit 7 is PM. */
  #carryHours(): boolean {
    const { cmos } = this.#state;
    if ((cmos[RTC.B]! & B.HOURS_24) !== 0) return this.#carry(RTC.HOURS, 0, 23);
    const isPm = (cmos[RTC.HOURS]! & PM) !== 0;
    cmos[RTC.HOURS] = cmos[RTC.HOURS]! & ~PM;
    const hour = this.#get(RTC.HOURS);
    this.#put(RTC.HOURS, hour >= 12 ? 1 : hour + 1);
    const passesTwelve = hour === 11;
    if (isPm !== passesTwelve) cmos[RTC.HOURS] = cmos[RTC.HOURS]! | PM;
    return isPm && passesTwelve;
  }

  save(): RtcState {
    return copyState(this.#state);
  }

  /** @throws InputError when the state is not a clock's */
  load(state: RtcState): void {
    const adopted = adoptState(this.#state, state, this.name);
    adopted.index &= CMOS_SIZE - 1;
    this.#state = adopted;
  }
}

/** The chip's calendar: every year divisible by four is a leap year. */
function daysInMonth(month: number, year: number): number {
  if (month === 2) return year % 4 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

const SECONDS_PER_DAY = 86_400;
/** 1970-01-01 was a Thursday; day 1 is Sunday. */
const EPOCH_DAY_OF_WEEK = 4;

/** BCD, 24 hours, 1.024 kHz: how PC firmware leaves registers A and B. */
function powerOnCmos({ startDateSeconds, memorySize, vcpus, bootDevices }: RtcOptions): Uint8Array {
  const cmos = new Uint8Array(CMOS_SIZE);
  const days = Math.floor(startDateSeconds / SECONDS_PER_DAY);
  const seconds = startDateSeconds - days * SECONDS_PER_DAY;
  const { year, month, day } = civilDate(days);
  cmos[RTC.SECONDS] = toBcd(seconds % 60);
  cmos[RTC.MINUTES] = toBcd(Math.floor(seconds / 60) % 60);
  cmos[RTC.HOURS] = toBcd(Math.floor(seconds / 3600));
  cmos[RTC.DAY_OF_WEEK] = ((days + EPOCH_DAY_OF_WEEK) % 7) + 1;
  cmos[RTC.DAY_OF_MONTH] = toBcd(day);
  cmos[RTC.MONTH] = toBcd(month);
  cmos[RTC.YEAR] = toBcd(year % 100);
  cmos[RTC.CENTURY] = toBcd(Math.floor(year / 100));
  cmos[RTC.A] = (DV_32768_HZ << 4) | 6;
  cmos[RTC.B] = B.HOURS_24;
  const word = (at: number, value: number): void => {
    cmos[at] = value & 0xff;
    cmos[at + 1] = value >>> 8;
  };
  const extendedKib = Math.min(0xffff, Math.max(0, memorySize / KIB - KIB));
  word(CMOS.BASE_MEMORY_KIB, 640);
  word(CMOS.EXTENDED_KIB, extendedKib);
  word(CMOS.EXTENDED_KIB_POST, extendedKib);
  word(CMOS.ABOVE_16_MIB_IN_64_KIB, Math.min(0xffff, Math.max(0, (memorySize - 16 * MIB) / (64 * KIB))));
  const [first = 0, second = 0, third = 0] = bootDevices.map((device) => BOOT_DEVICES[device]);
  cmos[CMOS.BOOT_FLAG_2] = (second << 4) | first;
  cmos[CMOS.BOOT_FLAG_1] = third << 4;
  cmos[CMOS.EQUIPMENT] = EQUIPMENT_FPU | EQUIPMENT_PS2_MOUSE;
  cmos[CMOS.CPUS_LESS_ONE] = vcpus - 1;
  return cmos;
}

/** Days since 1970-01-01 in the Gregorian calendar, counted in 400-year eras from 0000-03-01. */
function civilDate(daysSinceEpoch: number): { year: number; month: number; day: number } {
  const days = daysSinceEpoch + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const leaps = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leaps) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1,
  };
}
