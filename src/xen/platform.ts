// Part: what an HVM domain has beyond a PVH one: devices inside the hypervisor, interrupt controllers, and a device model for all other I/O.

import { MmioBus, PortBus } from "../core/bus.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import type { BiosArea, BiosAreaState } from "./bios-area.ts";
import type { XenFault } from "./faults.ts";
import type { IoreqServer, IoreqServerState } from "./ioreq.ts";

export const ISA_IRQS = 16;
/** Inputs of Xen's I/O APIC (VIOAPIC_NUM_PINS): 16 for ISA, 32 for PCI. */
export const GSIS = 48;
export const PCI_DEVICES = 32;
export const PCI_PINS = 4;
export const PCI_LINKS = 4;

/** The interrupt controllers of a domain's board: lines go in, one request comes out. */
export interface InterruptControllers {
  /** The device model's drive on an ISA interrupt line. */
  setIsaIrqLevel(irq: number, level: boolean): void;
  /** A drive on an interrupt pin of a PCI device: 0 for INTA# to 3 for INTD#. */
  setPciIntxLevel(device: number, intx: number, level: boolean): void;
  /** Routes one of the chipset's four PCI interrupt links to an ISA interrupt, 0 for none. */
  setPciLinkRoute(link: number, irq: number): void;
  /** The event channels' drive on a GSI. */
  setCallbackLevel(gsi: number, level: boolean): void;
  /** An edge-triggered vector for the local APIC; false when there is none. */
  requestVector(vector: number): boolean;
  /** An interrupt waits that the processor could take. */
  readonly interruptPending: boolean;
  /** The processor takes it: its vector. */
  acknowledgeInterrupt(): number;
}

/** Until the board is built. */
const NO_CONTROLLERS: InterruptControllers = {
  setIsaIrqLevel: () => undefined,
  setPciIntxLevel: () => undefined,
  setPciLinkRoute: () => undefined,
  setCallbackLevel: () => undefined,
  requestVector: () => false,
  interruptPending: false,
  acknowledgeInterrupt: () => 0,
};

export interface PlatformState {
  ioreqs: IoreqServerState;
  biosArea: BiosAreaState | null;
}

export class Platform implements Snapshotable<PlatformState> {
  /** Devices that the hypervisor emulates itself: their accesses are over before the guest goes on, without a request. */
  readonly ports = new PortBus();
  /** The same by guest-physical address. */
  readonly mmio = new MmioBus();
  readonly ioreqs: IoreqServer;
  /** The guest sees Xen's CPUID leaves and may make hypercalls. */
  readonly showsXen: boolean;
  /** The board's; set once, before the domain runs. */
  controllers: InterruptControllers = NO_CONTROLLERS;
  /** What the hypervisor is to do wrong for this domain; set once, before it runs. */
  faults: ReadonlySet<XenFault> = new Set();
  /** Undefined until the domain's memory is built. */
  biosArea: BiosArea | undefined = undefined;

  constructor(ioreqs: IoreqServer, showsXen: boolean) {
    this.ioreqs = ioreqs;
    this.showsXen = showsXen;
  }

  save(): PlatformState {
    return { ioreqs: this.ioreqs.save(), biosArea: this.biosArea?.save() ?? null };
  }

  load(state: PlatformState): void {
    this.ioreqs.load(state.ioreqs);
    if (state.biosArea !== null) this.biosArea?.load(state.biosArea);
  }
}
