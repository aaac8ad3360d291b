// Part: what a device model, a program of the control domain, may do with the one domain that it serves: the pages of I/O requests
// (XENMEM_acquire_resource), the guest's memory (foreign mappings), interrupt lines (DMOP_ operations, hvm/dm_op.h), its end.

import type { AccessWidth, MmioBus, PortBus } from "../core/bus.ts";
import type { Clock } from "../core/clock.ts";
import { type GuestMemory, PAGE_SHIFT, PAGE_SIZE } from "../core/memory.ts";
import type { Emit } from "../trace/events.ts";
import { DM_OP_H as D, ERRNO_H as E, SCHED_H, XEN_H } from "./abi/constants.ts";
import type { DomainServices } from "./backend-host.ts";
import type { Domain } from "./domain.ts";
import type { XenFault } from "./faults.ts";
import { type InterruptControllers, ISA_IRQS, PCI_DEVICES, PCI_LINKS, PCI_PINS, type Platform } from "./platform.ts";
import type { HypervisorServices } from "./services.ts";

export class DeviceModelHost {
  /** The domain that is served. */
  readonly domid: number;
  readonly clock: Clock;
  readonly emit: Emit;
  /** Guest-physical memory of the domain: what DMA reaches. */
  readonly memory: ForeignMemory;
  readonly ioreqs: SharedPage;
  readonly bufferedIoreqs: SharedPage;
  /** The domain's port for buffered requests (HVM_PARAM_BUFIOREQ_EVTCHN). */
  readonly bufferedPort: number;
  readonly #domain: Domain;
  readonly #platform: Platform;
  readonly #services: DomainServices;
  readonly #hypervisor: HypervisorServices;

  constructor(domain: Domain, platform: Platform, services: DomainServices, hypervisor: HypervisorServices) {
    const { memory } = hypervisor.processor;
    this.domid = domain.domid;
    this.clock = services.clock;
    this.emit = services.emit;
    this.memory = new ForeignMemory(memory, domain);
    this.ioreqs = new SharedPage(memory, platform.ioreqs.page);
    this.bufferedIoreqs = new SharedPage(memory, platform.ioreqs.bufferedPage);
    this.bufferedPort = platform.ioreqs.bufferedPort;
    this.#domain = domain;
    this.#platform = platform;
    this.#services = services;
    this.#hypervisor = hypervisor;
  }

  /** The buses of the devices that the hypervisor emulates itself. */
  get inHypervisor(): { readonly ports: PortBus; readonly mmio: MmioBus } {
    return this.#platform;
  }

  /** Gives the domain its interrupt controllers, before it runs. */
  connect(controllers: InterruptControllers): void {
    this.#platform.controllers = controllers;
  }

  /** Has the hypervisor do something wrong for the domain, before it runs. */
  setFaults(faults: ReadonlySet<XenFault>): void {
    this.#platform.faults = faults;
  }

  /** The controllers' `interruptPending` may have changed: a request ends HLT. */
  interruptChanged(): void {
    if (this.#platform.controllers.interruptPending) this.#domain.vcpus[0]?.wake();
  }

  get vcpuCount(): number {
    return this.#domain.vcpuCount;
  }

  /** Binds to a port of the domain: the local port, or a negative errno. */
  bind(port: number, handler: () => void): number {
    return this.#services.bindInterdomain(this.domid, port, handler);
  }

  /** After a snapshot was loaded: gives a bound port its handler again. */
  adopt(port: number, handler: () => void): void {
    this.#services.adoptPort(port, handler);
  }

  unbind(port: number): void {
    this.#services.unbind(port);
  }

  notify(port: number): void {
    this.#services.notify(port);
  }

  /** XEN_DMOP_set_isa_irq_level: drives an ISA interrupt line of the domain's controllers. */
  setIsaIrqLevel(irq: number, level: boolean): void {
    const exists = irq >= 0 && irq < ISA_IRQS;
    if (!this.#operation(exists, [D.XEN_DMOP_set_isa_irq_level, this.domid, irq, Number(level)])) return;
    this.#platform.controllers.setIsaIrqLevel(irq, level);
  }

  /** XEN_DMOP_set_pci_intx_level: drives an interrupt pin of a device on PCI bus 0, 0 for INTA#. */
  setPciIntxLevel(device: number, intx: number, level: boolean): void {
    const exists = device >= 0 && device < PCI_DEVICES && intx >= 0 && intx < PCI_PINS;
    if (!this.#operation(exists, [D.XEN_DMOP_set_pci_intx_level, this.domid, device, intx, Number(level)])) return;
    this.#platform.controllers.setPciIntxLevel(device, intx, level);
  }

  /** XEN_DMOP_set_pci_link_route: routes a PCI interrupt link to an ISA interrupt, 0 for none. */
  setPciLinkRoute(link: number, irq: number): void {
    const exists = link >= 0 && link < PCI_LINKS && irq >= 0 && irq < ISA_IRQS;
    if (!this.#operation(exists, [D.XEN_DMOP_set_pci_link_route, this.domid, link, irq])) return;
    this.#platform.controllers.setPciLinkRoute(link, irq);
  }

  /** Records an operation of the device model's; false when it is refused. */
  #operation(exists: boolean, given: readonly number[]): boolean {
    this.emit({
      kind: "hypercall",
      at: this.clock.now,
      domain: this.#services.domid,
      vcpu: 0,
      number: XEN_H.__HYPERVISOR_dm_op,
      arguments: given,
      result: exists ? 0 : -E.XEN_EINVAL,
    });
    return exists;
  }

  /** Sets whether reads and writes of a part of C0000h to FFFFFh, whole pages, reach RAM or the bus. */
  mapBiosArea(address: number, size: number, readsRam: boolean, writesRam: boolean): void {
    const { clock, domid: domain, emit } = this;
    if (this.#platform.biosArea?.set(address, size, readsRam, writesRam) !== true) return;
    emit({ kind: "bios-area", at: clock.now, domain, address, size, readsRam, writesRam });
  }

  /** The domain's processor was reset by a device (SCHEDOP_remote_shutdown): Xen's tool stack would build it anew. */
  reset(): void {
    this.#hypervisor.shutdown(this.#domain, SCHED_H.SHUTDOWN_reboot);
  }

  powerOff(): void {
    this.#hypervisor.shutdown(this.#domain, SCHED_H.SHUTDOWN_poweroff);
  }
}

/** A page of the hypervisor's, mapped. Numbers are little-endian and unsigned. */
export class SharedPage {
  readonly #memory: GuestMemory;
  readonly #base: number;

  constructor(memory: GuestMemory, frame: number) {
    this.#memory = memory;
    this.#base = frame << PAGE_SHIFT;
  }

  load8(offset: number): number {
    return this.#memory.load8(this.#base + offset);
  }

  load32(offset: number): number {
    return this.#memory.load32(this.#base + offset);
  }

  store8(offset: number, value: number): void {
    this.#memory.store8(this.#base + offset, value);
  }

  store32(offset: number, value: number): void {
    this.#memory.store32(this.#base + offset, value);
  }

  load(offset: number, width: AccessWidth): number {
    const at = this.#base + offset;
    if (width === 2) return this.#memory.load16(at);
    return width === 1 ? this.#memory.load8(at) : this.#memory.load32(at);
  }

  store(offset: number, width: AccessWidth, value: number): void {
    const at = this.#base + offset;
    if (width === 2) this.#memory.store16(at, value);
    else if (width === 1) this.#memory.store8(at, value);
    else this.#memory.store32(at, value);
  }

  /** What lies there, without a copy: it may change. */
  view(offset: number, length: number): Uint8Array {
    return this.#memory.bytes.subarray(this.#base + offset, this.#base + offset + length);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#memory.write(this.#base + offset, bytes);
  }
}

/** A guest's memory by guest-physical address. */
export class ForeignMemory {
  readonly #memory: GuestMemory;
  readonly #domain: Domain;

  constructor(memory: GuestMemory, domain: Domain) {
    this.#memory = memory;
    this.#domain = domain;
  }

  /** A copy, undefined when a byte of it is no memory. */
  read(address: number, length: number): Uint8Array | undefined {
    const bytes = new Uint8Array(length);
    const moved = this.#pages(address, length, false, (host, done, count) => {
      bytes.set(this.#memory.bytes.subarray(host, host + count), done);
    });
    return moved ? bytes : undefined;
  }

  /** False, with nothing written, when a byte is no memory that may be written. */
  write(address: number, bytes: Uint8Array): boolean {
    const exists = this.#pages(address, bytes.length, true, () => undefined);
    if (!exists) return false;
    return this.#pages(address, bytes.length, true, (host, done, count) => {
      this.#memory.write(host, bytes.subarray(done, done + count));
    });
  }

  /** The page of bytes that all lie in one, for accesses that follow at once; undefined when they do not, or are no memory (that may be written). */
  page(address: number, length: number, write: boolean): SharedPage | undefined {
    const { p2m } = this.#domain;
    const gfn = Math.floor(address / PAGE_SIZE);
    const frame = (address % PAGE_SIZE) + length > PAGE_SIZE ? -1 : p2m.frameOf(gfn);
    return frame < 0 || (write && !p2m.writable(gfn)) ? undefined : new SharedPage(this.#memory, frame);
  }

  #pages(
    address: number,
    length: number,
    write: boolean,
    move: (host: number, done: number, count: number) => void,
  ): boolean {
    const { p2m } = this.#domain;
    for (let done = 0; done < length; ) {
      const at = address + done;
      const gfn = Math.floor(at / PAGE_SIZE);
      const count = Math.min(length - done, PAGE_SIZE - (at % PAGE_SIZE));
      const frame = p2m.frameOf(gfn);
      if (frame < 0 || (write && !p2m.writable(gfn))) return false;
      move((frame << PAGE_SHIFT) + (at % PAGE_SIZE), done, count);
      done += count;
    }
    return true;
  }
}
