// Part: a PC domain put together: the board's chips in the hypervisor and in the device model, and what comes out of them as text.

import { MmioBus, PortBus } from "../core/bus.ts";
import { type Clock, OwnedClock } from "../core/clock.ts";
import { assert } from "../core/errors.ts";
import type { IrqLine } from "../core/irq.ts";
import type { RandomStreams } from "../core/random.ts";
import type { Snapshotable, SnapshotRegistry } from "../core/snapshot.ts";
import { MIB } from "../core/units.ts";
import { DeviceModel } from "../devices/device-model/device-model.ts";
import type { DeviceModelFault } from "../devices/device-model/faults.ts";
import type { Ne2000Fault } from "../devices/ne2000/faults.ts";
import { plugIsaCard } from "../devices/ne2000/isa.ts";
import { Rtl8029Card } from "../devices/ne2000/pci.ts";
import type { Network } from "../devices/net/network.ts";
import { firmwareItems } from "../devices/pc/firmware.ts";
import { PcPlatform } from "../devices/pc/platform.ts";
import type { Emit } from "../trace/events.ts";
import type { Domain } from "../xen/domain.ts";
import type { XenFault } from "../xen/faults.ts";
import type { XenHypervisor } from "../xen/xen.ts";
import type { BoardConfig, DomainConfig, NicConfig } from "./config.ts";
import type { Images } from "./images.ts";

const VCPUS = 1;
const COM1_PORT = 0x3f8;
/** Where a card goes unless the configuration says so: as QEMU's first card. */
export const PCI_SLOT = 3;
export const ISA_PORT = 0x300;
const ISA_IRQ = 9;

/** What a domain's card is called: its alarm, random stream, part of the snapshot and station have this name. */
export function cardName({ name }: DomainConfig, index: number): string {
  return `${name} net${index}`;
}

export interface PcWires {
  readonly hypervisor: XenHypervisor;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly images: Images;
  readonly startDateSeconds: number;
  readonly random: RandomStreams;
  readonly network: Network;
  /** Names of faults that are switched on. */
  readonly faults: readonly string[];
}

interface Card extends Snapshotable<unknown> {
  reset(): void;
}

export interface PcTextState {
  serial: string[];
  debug: string;
}

/** The PC of one domain. */
export class Pc implements Snapshotable<PcTextState> {
  readonly platform: PcPlatform;
  readonly #deviceModel: DeviceModel;
  /** What COM1 and COM2 have sent, and what was written to the debug console, as Latin-1 text. */
  #serial: string[] = ["", ""];
  #debug = "";
  readonly #clock: OwnedClock;
  readonly #timers: OwnedClock;
  readonly #cards: { readonly name: string; readonly card: Card }[] = [];

  /** @throws InputError when an image cannot be used */
  constructor(domain: Domain, board: BoardConfig, config: DomainConfig, wires: PcWires) {
    const { clock, emit, hypervisor, startDateSeconds } = wires;
    const { domid } = domain;
    this.#clock = new OwnedClock(config.name, clock);
    this.#timers = new OwnedClock(config.name, clock);
    const host = hypervisor.deviceModelHost(domid);
    const buses = { ports: new PortBus(), mmio: new MmioBus() };
    const memorySize = config.memoryMiB * MIB;
    const text = (device: string, byte: number) =>
      emit({ kind: "device-output", at: clock.now, domain: domid, device, data: Uint8Array.of(byte) });
    this.platform = new PcPlatform(
      {
        clock: this.#clock,
        timers: this.#timers,
        buses: { hypervisor: host.inHypervisor, "device-model": buses },
        memory: host.memory,
        mapSegment: ({ address, size, reads, writes }) => host.mapBiosArea(address, size, reads, writes),
        unplugged: (mask) => emit({ kind: "emulated-unplug", at: clock.now, domain: domid, mask }),
        platformLog: (byte) => text("xen-platform", byte),
        driveIsaIrq: (irq, level) => host.setIsaIrqLevel(irq, level),
        drivePciIntx: (slot, pin, level) => host.setPciIntxLevel(slot, pin, level),
        routePciLink: (link, irq) => host.setPciLinkRoute(link, irq),
        lineChanged: (line, level) => emit({ kind: "irq-line", at: clock.now, line: `dom${domid} ${line}`, level }),
        interruptChanged: () => host.interruptChanged(),
        serialOutput: (port, byte) => {
          text(`com${port + 1}`, byte);
          this.#serial[port] += String.fromCharCode(byte);
        },
        debugOutput: (byte) => {
          text("debug", byte);
          this.#debug += String.fromCharCode(byte);
        },
        resetProcessor: () => host.reset(),
        resetMachine: () => host.reset(),
        powerOff: () => host.powerOff(),
      },
      {
        kind: board.kind,
        memorySize,
        vcpus: VCPUS,
        startDateSeconds,
        firmware: firmwareItems(firmwareOptions(board, config, wires.images)),
        unlocked: board.firmware === undefined,
        xenPlatform: board.xenPlatform ?? false,
        // The firmware's serial console sends twice what it is kept waiting with.
        serialTransmitTime: board.serialConsole === true ? "instant" : "line",
        bootDevices: ["disk", "network"],
      },
    );
    host.connect(this.platform);
    for (const [index, nic] of (board.nics ?? []).entries())
      this.#plug(cardName(config, index), nic, buses.ports, wires);
    host.setFaults(new Set(wires.faults as readonly XenFault[]));
    const faults = new Set(wires.faults as readonly DeviceModelFault[]);
    this.#deviceModel = new DeviceModel(host, buses.ports, buses.mmio, faults);
    hypervisor.watchDomains((ended, event) => {
      if (ended !== domain) return;
      if (event === "shutdown") this.#stop();
      if (event === "destroyed") {
        this.#clock.cancelAll();
        this.#deviceModel.close();
      }
    });
  }

  #plug(name: string, nic: NicConfig, ports: PortBus, { clock, faults, network, random }: PcWires): void {
    const wires = {
      clock,
      medium: network.card(name),
      random: random.stream(name),
      faults: new Set(faults as readonly Ne2000Fault[]),
    };
    if (nic.model === "rtl8029") {
      const plug = (inta: IrqLine) => new Rtl8029Card(name, { ...wires, inta }, nic.address);
      this.#cards.push({ name, card: this.platform.plugPciCard(nic.slot ?? PCI_SLOT, plug) });
      return;
    }
    const irq = this.platform.isaIrqs[nic.irq ?? ISA_IRQ];
    assert(irq !== undefined, () => `${name} has no interrupt`);
    this.#cards.push({ name, card: plugIsaCard(name, { ...wires, ports, irq }, nic.port ?? ISA_PORT, nic.address) });
  }

  /** Power-on of all devices. What they have said so far stays. */
  reset(): void {
    this.#stop();
    this.#clock.cancelAll();
    this.platform.reset();
  }

  /** The domain has ended: its timers and cards do nothing any more. What is on its way out of a UART still comes out. */
  #stop(): void {
    for (const { card } of this.#cards) card.reset();
    this.#timers.cancelAll();
  }

  /** @param port 0 for COM1 */
  serial(port: 0 | 1): string {
    return this.#serial[port] ?? "";
  }

  /** The rows of the text screen. */
  screen(): readonly string[] {
    return this.platform.vga.screen().rows;
  }

  get debug(): string {
    return this.#debug;
  }

  /** Adds all parts, in the order in which they are to be loaded. */
  register(name: string, registry: SnapshotRegistry): void {
    registry.register(`device model ${name}`, 1, this.#deviceModel);
    this.platform.registerParts(name, registry);
    for (const card of this.#cards) registry.register(`card ${card.name}`, 1, card.card);
    registry.register(`text ${name}`, 1, this);
  }

  save(): PcTextState {
    return { serial: [...this.#serial], debug: this.#debug };
  }

  load(state: PcTextState): void {
    this.#serial = [...state.serial];
    this.#debug = state.debug;
  }
}

function firmwareOptions(board: BoardConfig, config: DomainConfig, images: Images) {
  const { commandLine = "", modules = [], memoryMiB } = config;
  const kernel = board.firmware === undefined ? undefined : config.kernel;
  const initrd = modules[0] === undefined ? {} : { initrd: images.bytes(modules[0]) };
  const roms = Object.entries(board.optionRoms ?? {}).map(([name, image]) => [name, images.bytes(image)] as const);
  return {
    memorySize: memoryMiB * MIB,
    vcpus: VCPUS,
    optionRoms: new Map(roms),
    ...(kernel === undefined ? {} : { kernel: { name: kernel, image: images.bytes(kernel), commandLine, ...initrd } }),
    ...(board.bootMenuMs === undefined ? {} : { bootMenuMs: board.bootMenuMs }),
    ...(board.serialConsole === true ? { serialConsole: COM1_PORT } : {}),
  };
}
