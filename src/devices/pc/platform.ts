// Part: a board put together from its table: chips created, wired to one another, and attached to the buses of the place where each sits.
// The platform knows no hypervisor: what reaches outside it are the wires it is given.

import type { BusDevice, MmioBus, PortBus } from "../../core/bus.ts";
import type { AlarmClock } from "../../core/clock.ts";
import { assert, InputError } from "../../core/errors.ts";
import { IrqLine, type IrqSource } from "../../core/irq.ts";
import type { Snapshotable, SnapshotRegistry } from "../../core/snapshot.ts";
import { type BoardKind, boardRows, type DeviceName, type Place } from "./board.ts";
import { debugPort } from "./debug-port.ts";
import { DmaControllers } from "./dma.ts";
import { type FirmwareItems, FwCfg, type PhysicalMemory } from "./fw-cfg.ts";
import { I440fx, type MemorySegment } from "./i440fx.ts";
import { I8042 } from "./i8042.ts";
import { InterruptRouting, PIT_IRQ } from "./interrupt-routing.ts";
import { IoApic } from "./ioapic.ts";
import { bytewise } from "./isa.ts";
import { LocalApic } from "./lapic.ts";
import { PciBus, type PciFunction } from "./pci.ts";
import { PicPair } from "./pic.ts";
import { absentDrives, Piix3Ide, Piix3IsaBridge } from "./piix3.ts";
import { Piix4Pm } from "./piix4-pm.ts";
import { Pit } from "./pit.ts";
import { type BootDevice, Rtc } from "./rtc.ts";
import { type TransmitTime, Uart16550 } from "./uart.ts";
import { Vga } from "./vga.ts";
import { XenPlatform } from "./xen-platform.ts";

const RTC_IRQ = 8;
const COM1_IRQ = 4;
const COM2_IRQ = 3;
const SCI_IRQ = 9;
/** The south bridge's device number on QEMU's pc machine. */
const SOUTH_BRIDGE = 1;
/** Where libxl puts the Xen platform device. */
const XEN_PLATFORM = 2;
/** Of what the guest may have taken away: there are no IDE disks. */
const UNPLUG_NETWORK_CARDS = 1 << 1;
/** PCI class and subclass. */
const ETHERNET_CONTROLLER = 0x0200;
const STATE_VERSION = 2;

export interface PlaceBuses {
  readonly ports: PortBus;
  readonly mmio: MmioBus;
}

export interface PlatformWires {
  readonly clock: AlarmClock;
  /** The clock of the timers in the hypervisor, which stop when the domain ends. */
  readonly timers: AlarmClock;
  readonly buses: Readonly<Record<Place, PlaceBuses>>;
  /** The guest's memory for bus masters. */
  readonly memory: PhysicalMemory;
  /**
   * The device model drives an ISA interrupt: the way to {@link PcPlatform.setIsaIrqLevel}, with whatever lies between.
   */
  readonly driveIsaIrq: (irq: number, level: boolean) => void;
  /** The same for an interrupt pin of a PCI slot, 0 for INTA#, to {@link PcPlatform.setPciIntxLevel}. */
  readonly drivePciIntx: (slot: number, pin: number, level: boolean) => void;
  /** A PIRQ goes to another ISA interrupt, 0 for none: to {@link PcPlatform.setPciLinkRoute}. */
  readonly routePciLink: (link: number, irq: number) => void;
  /** A line of the interrupt controllers has changed: "irq 9", "gsi 28", or the 8259 pair's output "INTR". */
  readonly lineChanged: (line: string, level: boolean) => void;
  /** {@link PcPlatform.interruptPending} may have changed. */
  readonly interruptChanged: () => void;
  /** What reads and writes of a part of C0000h to FFFFFh reach, as the host bridge has it now. */
  readonly mapSegment: (segment: MemorySegment) => void;
  /** The guest has its emulated devices of some kinds taken away; see {@link XenPlatformWires.unplug}. */
  readonly unplugged: (mask: number) => void;
  /** A byte written to the Xen platform device's log. */
  readonly platformLog: (byte: number) => void;
  /** A byte has left a UART: 0 is COM1. */
  readonly serialOutput: (port: 0 | 1, byte: number) => void;
  /** A byte written to the debug console. */
  readonly debugOutput: (byte: number) => void;
  /** The processor alone is reset (keyboard controller, port 92h), or the machine (port CF9h). */
  readonly resetProcessor: () => void;
  readonly resetMachine: () => void;
  readonly powerOff: () => void;
}

export interface PlatformOptions {
  readonly kind: BoardKind;
  readonly memorySize: number;
  readonly vcpus: number;
  readonly startDateSeconds: number;
  readonly firmware: FirmwareItems;
  /** C0000h to FFFFFh is RAM from the start: a board without firmware. */
  readonly unlocked: boolean;
  /** With the Xen platform device; of boards with PCI. */
  readonly xenPlatform: boolean;
  readonly serialTransmitTime: TransmitTime;
  /** What the firmware boots from when nothing else says so. */
  readonly bootDevices: readonly BootDevice[];
}

/** A part with its name in snapshots. */
interface Part {
  readonly name: string;
  readonly part: Snapshotable<unknown>;
  /** Takes it back to power-on, without an edge on any line. */
  readonly reset: () => void;
  /** Of the part's state, where the part keeps one because its state is large. */
  readonly digest: (() => bigint) | undefined;
}

export class PcPlatform {
  readonly kind: BoardKind;
  /** ISA interrupts as cards in the device model drive them, 0 to 15. */
  readonly isaIrqs: readonly IrqLine[];
  readonly keyboard: I8042;
  readonly vga: Vga;
  readonly com1: Uart16550;
  readonly com2: Uart16550;
  readonly dma: DmaControllers = new DmaControllers();
  /** Present on boards with PCI. */
  readonly pci: PciBus | undefined;
  readonly #pic: PicPair;
  readonly #lapic: LocalApic | undefined;
  readonly #routing: InterruptRouting;
  readonly #drivePciIntx: PlatformWires["drivePciIntx"];
  readonly #parts: Part[] = [];

  constructor(wires: PlatformWires, options: PlatformOptions) {
    const { clock, timers } = wires;
    const { kind, firmware, serialTransmitTime } = options;
    this.kind = kind;
    this.#drivePciIntx = wires.drivePciIntx;
    const hasPci = kind === "pc";

    // In the hypervisor.
    this.#pic = new PicPair((level) => {
      wires.lineChanged("INTR", level);
      wires.interruptChanged();
    });
    let ioApic: IoApic | undefined;
    if (hasPci) {
      const lapic = new LocalApic({
        clock: timers,
        changed: () => wires.interruptChanged(),
        endOfInterrupt: (vector) => ioApic?.endOfInterrupt(vector),
      });
      ioApic = new IoApic((...message) => lapic.accept(...message));
      this.#lapic = lapic;
    }
    const routing = new InterruptRouting(this.#pic, ioApic, wires.lineChanged);
    this.#routing = routing;
    const pit = new Pit({ clock: timers, irq0: routing.isa[PIT_IRQ]!.source("8254") });
    const rtc = new Rtc({ clock: timers, irq8: routing.isa[RTC_IRQ]!.source("rtc") }, options);

    // In the device model.
    this.isaIrqs = routing.isa.map((_, irq) => new IrqLine(`isa irq ${irq}`, (level) => wires.driveIsaIrq(irq, level)));
    const pin = (irq: number, name: string): IrqSource => this.isaIrqs[irq]!.source(name);
    this.keyboard = new I8042({ irq1: pin(1, "8042"), irq12: pin(12, "8042"), resetProcessor: wires.resetProcessor });
    const transmit = (port: 0 | 1) => (byte: number) => wires.serialOutput(port, byte);
    this.com1 = new Uart16550("com1", { clock, irq: pin(COM1_IRQ, "com1"), transmit: transmit(0) }, serialTransmitTime);
    this.com2 = new Uart16550("com2", { clock, irq: pin(COM2_IRQ, "com2"), transmit: transmit(1) }, serialTransmitTime);
    const fwCfg = new FwCfg(wires.memory, firmware);
    this.vga = new Vga(clock);
    const ide = bytewise(absentDrives);

    const chips = new Map<DeviceName, BusDevice | ((firstAddress: number) => BusDevice)>([
      ["pic-master", bytewise(this.#pic.command(0))],
      ["pic-slave", bytewise(this.#pic.command(1))],
      ["elcr", bytewise(this.#pic.elcr)],
      ["pit", bytewise(pit)],
      ["port-61", bytewise(pit.port61)],
      ["rtc", bytewise(rtc)],
      ["dma-1", bytewise(this.dma.controller(0))],
      ["dma-2", bytewise(this.dma.controller(1))],
      ["dma-pages", bytewise(this.dma.pages)],
      ["i8042", (first) => bytewise(this.keyboard, first - I8042_BASE)],
      ["port-92", bytewise(this.keyboard.port92)],
      ["com1", bytewise(this.com1)],
      ["com2", bytewise(this.com2)],
      ["debug-console", bytewise(debugPort(wires.debugOutput))],
      ["fw-cfg", fwCfg.ports],
      ["fw-cfg-dma", fwCfg.dma],
      ["ide-primary", ide],
      ["ide-secondary", ide],
      ["vga", bytewise(this.vga)],
      ["vga-memory", this.vga.memory],
    ]);
    this.#keep("8259A", this.#pic);
    this.#keep("8254", pit);
    this.#keep("rtc", rtc);
    this.#keep("8237A", this.dma);
    this.#keep("8042", this.keyboard);
    this.#keep("com1", this.com1);
    this.#keep("com2", this.com2);
    this.#keep("fw_cfg", fwCfg);
    this.#keep("vga", this.vga, () => this.vga.digest());
    this.#keep("interrupt routing", routing);
    for (const line of [...routing.lines, ...this.isaIrqs]) this.#keep(line.name, line);

    if (this.#lapic !== undefined && ioApic !== undefined) {
      chips.set("local-apic", this.#lapic.mmio);
      chips.set("io-apic", ioApic.mmio);
      this.#keep("local apic", this.#lapic);
      this.#keep("i/o apic", ioApic);
    }
    if (hasPci) {
      this.pci = this.#buildPci(wires, options, pin(SCI_IRQ, "piix4"), chips);
    }
    attach(kind, chips, wires.buses);
  }

  #buildPci(
    wires: PlatformWires,
    options: PlatformOptions,
    sci: IrqSource,
    chips: Map<DeviceName, BusDevice | ((firstAddress: number) => BusDevice)>,
  ): PciBus {
    const bus = new PciBus(wires.resetMachine);
    let xenPlatform: XenPlatform | undefined;
    const mapSegments = (): void => {
      const locked = xenPlatform?.romLocked === true;
      for (const segment of hostBridge.segments()) {
        wires.mapSegment(locked ? { ...segment, writes: false } : segment);
      }
    };
    const hostBridge = new I440fx(options.unlocked, mapSegments);
    const isaBridge = new Piix3IsaBridge(wires.routePciLink);
    const ide = new Piix3Ide();
    const pm = new Piix4Pm({ clock: wires.clock, sci, powerOff: wires.powerOff });
    bus.plug(0, 0, hostBridge);
    bus.plug(SOUTH_BRIDGE, 0, isaBridge);
    bus.plug(SOUTH_BRIDGE, 1, ide);
    bus.plug(SOUTH_BRIDGE, 3, pm);
    chips.set("apm", bytewise(pm.apm));
    chips.set("pci-configuration", bus.config);
    chips.set("pci-io", (first) => bus.window(first));
    this.#keep("i440fx", hostBridge);
    this.#keep("piix3 isa", isaBridge);
    this.#keep("piix3 ide", ide);
    this.#keep("piix4 pm", pm);
    if (options.xenPlatform) {
      xenPlatform = new XenPlatform({
        romLockChanged: mapSegments,
        unplug: (mask) => {
          wires.unplugged(mask);
          if ((mask & UNPLUG_NETWORK_CARDS) !== 0) bus.unplug(ETHERNET_CONTROLLER);
        },
        log: wires.platformLog,
      });
      bus.plug(XEN_PLATFORM, 0, xenPlatform);
      chips.set("xen-platform", xenPlatform.fixed);
      this.#keep("xen platform", xenPlatform);
    }
    this.#keep("pci", bus);
    return bus;
  }

  /** Adds a part, which is as at power-on now. What it is then is what it says itself, or its state now. */
  #keep<State>(name: string, part: Snapshotable<State> & { reset?(): void }, digest?: () => bigint): void {
    const powerOn = part.reset === undefined ? part.save() : undefined;
    const reset = (): void => {
      if (part.reset !== undefined) part.reset();
      else if (powerOn !== undefined) part.load(powerOn);
    };
    this.#parts.push({ name, part: part as Snapshotable<unknown>, reset, digest });
  }

  /** Takes all chips and lines back to power-on. Cards are reset by whoever has them; alarms are cancelled before. */
  reset(): void {
    for (const { reset } of this.#parts) reset();
  }

  /**
   * Plugs a card into a PCI slot, as function 0.
   * @param create makes the card, given the line of its slot's INTA#
   * @throws InputError when the board has no PCI or the slot is taken
   */
  plugPciCard<Card extends PciFunction>(slot: number, create: (inta: IrqLine) => Card): Card {
    if (this.pci === undefined) throw new InputError("the board has no PCI bus", `card in slot ${slot}`);
    const inta = new IrqLine(`pci slot ${slot} INTA#`, (level) => this.#drivePciIntx(slot, 0, level));
    const card = create(inta);
    this.pci.plug(slot, 0, card);
    this.#keep(inta.name, inta);
    return card;
  }

  // Interrupt lines, as they reach the controllers in the hypervisor.

  setIsaIrqLevel(irq: number, level: boolean): void {
    this.#routing.setIsaIrqLevel(irq, level);
  }

  setPciIntxLevel(device: number, intx: number, level: boolean): void {
    this.#routing.setPciIntxLevel(device, intx, level);
  }

  setPciLinkRoute(link: number, irq: number): void {
    this.#routing.setPciLinkRoute(link, irq);
  }

  setCallbackLevel(gsi: number, level: boolean): void {
    this.#routing.setCallbackLevel(gsi, level);
  }

  /** An edge-triggered vector straight to the local APIC; false when the board has none. */
  requestVector(vector: number): boolean {
    this.#lapic?.request(vector);
    return this.#lapic !== undefined;
  }

  /** Whether an interrupt waits for the processor: the 8259 pair's through LINT0, or the local APIC's. */
  get interruptPending(): boolean {
    return this.#acceptsPic || (this.#lapic !== undefined && this.#lapic.pending() >= 0);
  }

  get #acceptsPic(): boolean {
    return this.#pic.intr && (this.#lapic?.acceptsExternal ?? true);
  }

  /** The acknowledge cycle of a processor that takes the interrupt: its vector. The 8259 pair comes first, as in Xen. */
  acknowledgeInterrupt(): number {
    if (this.#acceptsPic || this.#lapic === undefined) return this.#pic.acknowledge();
    return this.#lapic.acknowledge();
  }

  /** Adds the platform's parts, whose names begin with their owner's, before those of cards, whose interrupt pins the lines keep. */
  registerParts(owner: string, registry: SnapshotRegistry): void {
    for (const { name, part, digest } of this.#parts)
      registry.register(`${owner} ${name}`, STATE_VERSION, part, digest);
  }
}

const I8042_BASE = 0x60;

/** Registers each device of the board's table on the buses of its place. */
function attach(
  kind: BoardKind,
  chips: ReadonlyMap<DeviceName, BusDevice | ((firstAddress: number) => BusDevice)>,
  buses: Readonly<Record<Place, PlaceBuses>>,
): void {
  for (const { device, place, ports, addresses, optional } of boardRows(kind)) {
    const chip = chips.get(device);
    if (chip === undefined && optional === true) continue;
    assert(chip !== undefined, `nothing on the board is ${device}`);
    const at = (first: number): BusDevice => (typeof chip === "function" ? chip(first) : chip);
    for (const [first, length] of ports ?? []) buses[place].ports.register(first, length, at(first));
    for (const [first, length] of addresses ?? []) buses[place].mmio.register(first, length, at(first));
  }
}
