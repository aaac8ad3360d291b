// A NE2000 on a link whose other end the test holds, driven through its ports as a driver does.

import { type AccessWidth, PortBus } from "../../../src/core/bus.ts";
import { Clock } from "../../../src/core/clock.ts";
import { IrqLine } from "../../../src/core/irq.ts";
import { RandomStreams } from "../../../src/core/random.ts";
import type { Dp8390 } from "../../../src/devices/ne2000/dp8390.ts";
import type { Ne2000Fault } from "../../../src/devices/ne2000/faults.ts";
import { plugIsaCard } from "../../../src/devices/ne2000/isa.ts";
import { Link, type LinkOptions, TEN_MEGABIT } from "../../../src/devices/net/link.ts";
import type { TraceEvent } from "../../../src/trace/events.ts";

export const BASE = 0x300;
export const ADDRESS = "52:54:00:12:34:56";

/** Page 0 offsets that are read or written. */
export const P0 = {
  CR: 0,
  PSTART: 1,
  PSTOP: 2,
  BNRY: 3,
  TSR: 4,
  TPSR: 4,
  NCR: 5,
  TBCR0: 5,
  FIFO: 6,
  TBCR1: 6,
  ISR: 7,
  RSAR0: 8,
  RSAR1: 9,
  RBCR0: 10,
  RBCR1: 11,
  RCR: 12,
  RSR: 12,
  TCR: 13,
  DCR: 14,
  IMR: 15,
} as const;
export const START = 0x22;
export const STOP = 0x21;
export const TRANSMIT = 0x26;
export const READ = 0x0a;
export const WRITE = 0x12;
export const SEND = 0x1a;
export const PAGE1 = 0x62;

export class Bench {
  readonly clock = new Clock();
  readonly events: TraceEvent[] = [];
  readonly random = new RandomStreams("card");
  readonly ports = new PortBus();
  readonly edges: boolean[] = [];
  readonly irq = new IrqLine("IRQ 9", (level) => this.edges.push(level));
  readonly link: Link;
  readonly chip: Dp8390;
  /** Frames that reached the other end. */
  readonly seen: Uint8Array[] = [];
  onCarrier: () => void = () => {};

  constructor(options: LinkOptions = TEN_MEGABIT, faults: readonly Ne2000Fault[] = []) {
    const { clock, random, ports, irq } = this;
    const wires = { clock, random: random.stream("link"), emit: (event: TraceEvent) => this.events.push(event) };
    this.link = new Link("cable", wires, options);
    this.chip = plugIsaCard(
      "ne2000",
      { clock, ports, irq, medium: this.link.ends[0], random: random.stream("card"), faults: new Set(faults) },
      BASE,
      ADDRESS,
    );
    this.far.attach({ receive: (frame) => this.seen.push(frame), carrierChanged: () => this.onCarrier() });
  }

  get far() {
    return this.link.ends[1];
  }

  in(offset: number, width: AccessWidth = 1): number {
    return this.ports.read(BASE + offset, width);
  }

  out(offset: number, value: number, width: AccessWidth = 1): void {
    this.ports.write(BASE + offset, width, value);
  }

  page1(offset: number): number {
    this.out(P0.CR, PAGE1);
    const value = this.in(offset);
    this.out(P0.CR, START);
    return value;
  }

  wait(ns: number): void {
    this.clock.advanceTo(this.clock.now + ns);
  }

  /** As the data sheet's section 11.0 prescribes: ring from 0x46 to 0x80, word transfers, interrupts on. */
  initialise({ rcr = 0x04, dcr = 0x49, tcr = 0, imr = 0x7f, pstart = 0x46, pstop = 0x80 } = {}): void {
    this.out(P0.CR, STOP);
    this.out(P0.DCR, dcr);
    this.out(P0.RBCR0, 0);
    this.out(P0.RBCR1, 0);
    this.out(P0.RCR, rcr);
    this.out(P0.TCR, 0x02);
    this.out(P0.BNRY, pstart);
    this.out(P0.PSTART, pstart);
    this.out(P0.PSTOP, pstop);
    this.out(P0.ISR, 0xff);
    this.out(P0.IMR, imr);
    this.out(P0.CR, 0x61);
    for (const [index, byte] of address().entries()) this.out(1 + index, byte);
    this.out(7, pstart);
    this.out(P0.CR, START);
    this.out(P0.TCR, tcr);
  }

  setRemote(address: number, count: number, command: number): void {
    this.out(P0.RSAR0, address & 0xff);
    this.out(P0.RSAR1, address >> 8);
    this.out(P0.RBCR0, count & 0xff);
    this.out(P0.RBCR1, count >> 8);
    this.out(P0.CR, command);
  }

  readMemory(address: number, count: number): Uint8Array {
    this.setRemote(address, count, READ);
    const bytes = new Uint8Array(count + (count & 1));
    for (let index = 0; index < count; index += 2) {
      const word = this.in(0x10, 2);
      bytes[index] = word & 0xff;
      bytes[index + 1] = word >> 8;
    }
    return bytes.subarray(0, count);
  }

  writeMemory(address: number, bytes: Uint8Array): void {
    this.setRemote(address, bytes.length, WRITE);
    for (let index = 0; index < bytes.length; index += 2) {
      this.out(0x10, (bytes[index] ?? 0) | ((bytes[index + 1] ?? 0) << 8), 2);
    }
  }

  /** A frame from the other end, whole; it has arrived when this returns. */
  arrive(frame: Uint8Array): void {
    this.wait(100_000);
    this.wait(this.far.begin(frame));
    this.far.end();
    this.wait(1_000);
  }

  /** Takes the frame at BNRY as a driver with CURR = BNRY for an empty ring does; undefined when there is none. */
  take(): { status: number; next: number; frame: Uint8Array } | undefined {
    const boundary = this.in(P0.BNRY);
    if (this.page1(7) === boundary) return undefined;
    const header = this.readMemory(boundary << 8, 4);
    const length = header[2]! | (header[3]! << 8);
    const frame = this.readMemory((boundary << 8) + 4, length);
    this.out(P0.BNRY, header[1]!);
    return { status: header[0]!, next: header[1]!, frame };
  }
}

export function address(): Uint8Array {
  return Uint8Array.from(ADDRESS.split(":"), (byte) => Number.parseInt(byte, 16));
}
