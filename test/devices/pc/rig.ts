// A platform on buses of its own, without a processor: what tests of single chips read and write.

import { type AccessWidth, MmioBus, PortBus } from "../../../src/core/bus.ts";
import { Clock } from "../../../src/core/clock.ts";
import { SnapshotRegistry } from "../../../src/core/snapshot.ts";
import { MIB } from "../../../src/core/units.ts";
import type { BoardKind } from "../../../src/devices/pc/board.ts";
import { type FirmwareOptions, firmwareItems } from "../../../src/devices/pc/firmware.ts";
import type { MemorySegment } from "../../../src/devices/pc/i440fx.ts";
import { PcPlatform } from "../../../src/devices/pc/platform.ts";
import type { TransmitTime } from "../../../src/devices/pc/uart.ts";

export interface RigOptions extends Partial<FirmwareOptions> {
  readonly kind?: BoardKind;
  readonly serialTransmitTime?: TransmitTime;
  readonly startDateSeconds?: number;
  readonly xenPlatform?: boolean;
}

export const MEMORY_SIZE = MIB;

export class Rig {
  readonly clock = new Clock();
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly memory = new Uint8Array(MEMORY_SIZE);
  readonly snapshots = new SnapshotRegistry();
  readonly platform: PcPlatform;
  readonly serial: number[][] = [[], []];
  readonly debug: number[] = [];
  readonly happened: string[] = [];
  readonly segments: MemorySegment[] = [];

  constructor(options: RigOptions = {}) {
    const buses = { ports: this.ports, mmio: this.mmio };
    const inside = (address: number, length: number): boolean => address + length <= this.memory.length;
    this.platform = new PcPlatform(
      {
        clock: this.clock,
        timers: this.clock,
        buses: { hypervisor: buses, "device-model": buses },
        memory: {
          read: (address, length) =>
            inside(address, length) ? this.memory.slice(address, address + length) : undefined,
          write: (address, bytes) => {
            if (!inside(address, bytes.length)) return false;
            this.memory.set(bytes, address);
            return true;
          },
        },
        mapSegment: (segment) => this.segments.push(segment),
        unplugged: (mask) => this.happened.push(`unplug ${mask}`),
        platformLog: (byte) => this.debug.push(byte),
        driveIsaIrq: (irq, level) => this.platform.setIsaIrqLevel(irq, level),
        drivePciIntx: (slot, pin, level) => this.platform.setPciIntxLevel(slot, pin, level),
        routePciLink: (link, irq) => this.platform.setPciLinkRoute(link, irq),
        lineChanged: () => undefined,
        interruptChanged: () => undefined,
        serialOutput: (port, byte) => this.serial[port]?.push(byte),
        debugOutput: (byte) => this.debug.push(byte),
        resetProcessor: () => this.happened.push("processor reset"),
        resetMachine: () => this.happened.push("machine reset"),
        powerOff: () => this.happened.push("power off"),
      },
      {
        kind: options.kind ?? "pc",
        memorySize: MEMORY_SIZE,
        vcpus: 1,
        startDateSeconds: options.startDateSeconds ?? 0,
        firmware: firmwareItems({ ...options, memorySize: MEMORY_SIZE, vcpus: 1 }),
        unlocked: false,
        xenPlatform: options.xenPlatform ?? false,
        serialTransmitTime: options.serialTransmitTime ?? "line",
        bootDevices: ["disk", "floppy", "cdrom"],
      },
    );
    this.platform.registerParts("pc", this.snapshots);
    this.snapshots.register("clock", 1, this.clock);
  }

  in(port: number, width: AccessWidth = 1): number {
    return this.ports.read(port, width);
  }

  out(port: number, value: number, width: AccessWidth = 1): void {
    this.ports.write(port, width, value);
  }

  pass(nanoseconds: number): void {
    this.clock.advanceTo(this.clock.now + nanoseconds);
  }

  /** Both 8259As as a PC's BIOS programs them: vectors 08h and 70h, everything unmasked. */
  initializePics(): void {
    for (const [command, vector, wiring] of [
      [0x20, 0x08, 4],
      [0xa0, 0x70, 2],
    ] as const) {
      this.out(command, 0x11);
      this.out(command + 1, vector);
      this.out(command + 1, wiring);
      this.out(command + 1, 0x01);
      this.out(command + 1, 0x00);
    }
  }

  /** The vectors of all interrupts that are waiting, each acknowledged and ended with a non-specific EOI. */
  interrupts(): number[] {
    const vectors: number[] = [];
    while (this.platform.interruptPending && vectors.length < 100) {
      const vector = this.platform.acknowledgeInterrupt();
      vectors.push(vector);
      if (vector >= 0x70) this.out(0xa0, 0x20);
      this.out(0x20, 0x20);
    }
    return vectors;
  }
}

/** A PCI configuration address. */
export const configAddress = (slot: number, number: number, register: number): number =>
  (0x8000_0000 | (slot << 11) | (number << 8) | (register & 0xfc)) >>> 0;

export function readConfig(rig: Rig, slot: number, number: number, register: number, width: AccessWidth = 4): number {
  rig.out(0xcf8, configAddress(slot, number, register), 4);
  return rig.in(0xcfc + (register & 3), width);
}

export function writeConfig(
  rig: Rig,
  slot: number,
  number: number,
  register: number,
  value: number,
  width: AccessWidth = 4,
): void {
  rig.out(0xcf8, configAddress(slot, number, register), 4);
  rig.out(0xcfc + (register & 3), value, width);
}
