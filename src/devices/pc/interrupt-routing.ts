// Part: how interrupt lines reach the 8259 pair and the I/O APIC, inside the hypervisor (Xen arch/x86/hvm/irq.c, hvm_irq): ISA interrupts, PCI INTx
// both by their own I/O APIC inputs (GSI 16 and up) and, by way of the chipset's four links, as ISA interrupts, and the callback of event
// channels. Each line is a wired-OR of its sources.

import { InputError } from "../../core/errors.ts";
import { IrqLine, type IrqSource } from "../../core/irq.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { IoApic } from "./ioapic.ts";
import { CASCADE_LEVEL, type PicPair } from "./pic.ts";
import { ROUTABLE } from "./piix3.ts";

const ISA_IRQS = 16;
/** As many as Xen's I/O APIC has inputs (VIOAPIC_NUM_PINS): 16 for ISA, 32 for PCI. */
const GSI_COUNT = 48;
const FIRST_PCI_GSI = 16;
const PCI_GSIS = GSI_COUNT - FIRST_PCI_GSI;
/** The PIT's interrupt arrives at the I/O APIC's input 2 (MultiProcessor Specification 1.4, section 5.1). */
export const PIT_IRQ = 0;
const PIT_GSI = 2;
const LINKS = 4;
const PINS = 4;
/** 32 devices on the bus. */
const INTX_COUNT = 32 * PINS;

export interface InterruptRoutingState {
  /** INTx that are asserted: device number times 4, plus 0 for INTA# to 3 for INTD#. */
  intx: number[];
  /** Where each link is routed, 0 for nowhere. */
  routes: number[];
}

interface PciSources {
  readonly gsis: readonly IrqSource[];
  readonly links: ReadonlyMap<number, IrqSource>;
}

export class InterruptRouting implements Snapshotable<InterruptRoutingState> {
  /** All lines, in the order of snapshots. */
  readonly lines: readonly IrqLine[];
  /** ISA interrupts 0 to 15 as the controllers see them. */
  readonly isa: readonly IrqLine[];
  readonly #deviceModel: readonly IrqSource[];
  readonly #callback: readonly (IrqSource | undefined)[];
  readonly #pci: PciSources | undefined;
  #asserted = new Set<number>();
  #routes: number[] = new Array<number>(LINKS).fill(0);

  /**
   * @param ioApic of boards with PCI
   * @param changed told of each line's edges; `line` is "irq 9" or "gsi 28"
   */
  constructor(pic: PicPair, ioApic: IoApic | undefined, changed: (line: string, level: boolean) => void) {
    const line = (name: string, drive: (level: boolean) => void): IrqLine =>
      new IrqLine(name, (level) => {
        changed(name, level);
        drive(level);
      });
    const toPit =
      ioApic === undefined ? undefined : new IrqLine(`gsi ${PIT_GSI}`, (level) => ioApic.setLine(PIT_GSI, level));
    const pitPin = toPit?.source("irq 0");
    this.isa = Array.from({ length: ISA_IRQS }, (_, irq) =>
      line(`irq ${irq}`, (level) => {
        pic.setLine(irq, level);
        if (irq === PIT_IRQ) pitPin?.set(level);
        else if (irq === CASCADE_LEVEL) return;
        else ioApic?.setLine(irq, level);
      }),
    );
    const pciLines =
      ioApic === undefined
        ? []
        : Array.from({ length: PCI_GSIS }, (_, index) => {
            const gsi = FIRST_PCI_GSI + index;
            return line(`gsi ${gsi}`, (level) => ioApic.setLine(gsi, level));
          });
    this.lines = [...this.isa, ...(toPit === undefined ? [] : [toPit]), ...pciLines];
    this.#deviceModel = this.isa.map((irq) => irq.source("device model"));
    const bySource = (gsi: number): IrqLine | undefined =>
      gsi === PIT_GSI ? toPit : gsi === PIT_IRQ ? undefined : (this.isa[gsi] ?? pciLines[gsi - FIRST_PCI_GSI]);
    this.#callback = Array.from({ length: GSI_COUNT }, (_, gsi) => bySource(gsi)?.source("event channels"));
    if (ioApic !== undefined) {
      this.#pci = {
        gsis: pciLines.map((pin) => pin.source("PCI INTx")),
        links: new Map(ROUTABLE.map((irq) => [irq, this.isa[irq]!.source("PCI links")])),
      };
    }
  }

  /** The device model's drive on an ISA interrupt. */
  setIsaIrqLevel(irq: number, level: boolean): void {
    this.#deviceModel[irq]?.set(level);
  }

  /** @param intx 0 for INTA# to 3 for INTD# */
  setPciIntxLevel(device: number, intx: number, level: boolean): void {
    const index = device * PINS + intx;
    if (this.#asserted.has(index) === level) return;
    if (level) this.#asserted.add(index);
    else this.#asserted.delete(index);
    const gsi = gsiOf(index);
    this.#pci?.gsis[gsi - FIRST_PCI_GSI]?.set(this.#some((other) => gsiOf(other) === gsi));
    this.#driveLinks();
  }

  /** @param irq where the link's interrupt goes, 0 for nowhere */
  setPciLinkRoute(link: number, irq: number): void {
    this.#routes[link] = irq;
    this.#driveLinks();
  }

  /** The callback of event channels by its GSI. */
  setCallbackLevel(gsi: number, level: boolean): void {
    this.#callback[gsi]?.set(level);
  }

  #driveLinks(): void {
    for (const [irq, source] of this.#pci?.links ?? []) {
      source.set(this.#some((index) => this.#routes[linkOf(index)] === irq));
    }
  }

  #some(condition: (index: number) => boolean): boolean {
    for (const index of this.#asserted) if (condition(index)) return true;
    return false;
  }

  save(): InterruptRoutingState {
    return { intx: [...this.#asserted].sort((a, b) => a - b), routes: [...this.#routes] };
  }

  /** The lines restore their own levels. @throws InputError when a number is none of an interrupt */
  load({ intx, routes }: InterruptRoutingState): void {
    const isIntx = (index: number): boolean => Number.isInteger(index) && index >= 0 && index < INTX_COUNT;
    const isRoute = (irq: number): boolean => irq === 0 || ROUTABLE.includes(irq);
    if (!intx.every(isIntx) || routes.length !== LINKS || !routes.every(isRoute)) {
      throw new InputError("not an interrupt", "snapshot of interrupt routing");
    }
    this.#asserted = new Set(intx);
    this.#routes = [...routes];
  }
}

/** The I/O APIC's input of an INTx (Xen: hvm_pci_intx_gsi). */
function gsiOf(index: number): number {
  const device = Math.floor(index / PINS);
  return ((4 * device + (device >>> 3) + (index % PINS)) & (PCI_GSIS - 1)) + FIRST_PCI_GSI;
}

/**
 * The link of an INTx. Slots take turns from the first behind the host bridge on, as on QEMU's pc machine, by which SeaBIOS fills in the
 * interrupt line registers; Xen's own boards count from the host bridge (hvm_pci_intx_link).
 */
function linkOf(index: number): number {
  return (Math.floor(index / PINS) + (index % PINS) + LINKS - 1) % LINKS;
}
