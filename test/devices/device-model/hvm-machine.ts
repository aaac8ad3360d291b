// An HVM domain with a few lines of real-mode firmware, and a device model that notes every access.

import { type AccessWidth, MmioBus, PortBus } from "../../../src/core/bus.ts";
import { Clock } from "../../../src/core/clock.ts";
import { ratio } from "../../../src/core/units.ts";
import { Processor } from "../../../src/cpu/processor.ts";
import { DeviceModel } from "../../../src/devices/device-model/device-model.ts";
import type { DeviceModelFault } from "../../../src/devices/device-model/faults.ts";
import type { EventOf, TraceEvent } from "../../../src/trace/events.ts";
import type { DeviceModelHost } from "../../../src/xen/device-model-host.ts";
import type { XenFault } from "../../../src/xen/faults.ts";
import { XenHypervisor } from "../../../src/xen/xen.ts";

const MIB = 1024 * 1024;
/** From a notification until the device model runs. */
export const LATENCY_NS = 1_000;
const FIRMWARE_SIZE = 65_536;
/** Ports and addresses of the noting device; it reads as the complement of the low address bits. */
export const PORT = 0x300;
export const MMIO = 0xb_8000;
/** A port of a device inside the hypervisor. */
export const INNER_PORT = 0x40;

/** Real-mode code that is entered at F000:0000, in RAM, and ends with HLT with interrupts off. */
export class HvmMachine {
  readonly clock = new Clock();
  readonly events: TraceEvent[] = [];
  /** What devices saw: `out2 300 1234`, `in1 300`. */
  readonly accesses: string[] = [];
  readonly processor: Processor;
  readonly hypervisor: XenHypervisor;
  readonly deviceModel: DeviceModel;
  readonly domid: number;

  readonly host: DeviceModelHost;

  constructor(
    code: readonly number[],
    faults: { readonly xen?: readonly XenFault[]; readonly deviceModel?: readonly DeviceModelFault[] } = {},
  ) {
    const { clock } = this;
    this.processor = new Processor({
      ramBytes: 12 * MIB,
      platform: {
        readTsc: () => this.hypervisor.readTsc(),
        instructionsUntilTsc: (tsc) => this.hypervisor.instructionsUntilTsc(tsc),
        portRead: () => 0xffff_ffff,
        portWrite: () => undefined,
      },
    });
    this.hypervisor = new XenHypervisor({
      processor: this.processor,
      clock,
      emit: (event) => this.events.push(event),
      nsPerInstruction: ratio(1, 1),
      exitCostNs: 100,
      tscKhz: 1_000_000,
      startDateSeconds: 0,
      serviceDomainLatencyNs: LATENCY_NS,
    });
    const firmware = new Uint8Array(FIRMWARE_SIZE);
    firmware.set([...code, 0xfa, 0xf4]);
    // JMP F000:0000
    firmware.set([0xea, 0x00, 0x00, 0x00, 0xf0], FIRMWARE_SIZE - 16);
    const domain = this.hypervisor.createDomain({
      kind: "hvm",
      name: "pc",
      memorySize: 2 * MIB,
      boot: { firmware },
      shadowed: true,
      showsXen: false,
    });
    this.domid = domain.domid;
    const host = this.hypervisor.deviceModelHost(domain.domid);
    this.host = host;
    host.setFaults(new Set(faults.xen));
    const ports = new PortBus();
    const mmio = new MmioBus();
    ports.register(PORT, 32, this.#device("outer", PORT));
    mmio.register(MMIO, 0x8000, this.#device("memory", MMIO));
    host.inHypervisor.ports.register(INNER_PORT, 4, this.#device("inner", INNER_PORT));
    this.deviceModel = new DeviceModel(host, ports, mmio, new Set(faults.deviceModel));
  }

  #device(name: string, first: number) {
    const hex = (value: number) => value.toString(16);
    return {
      name,
      read: (offset: number, width: AccessWidth) => {
        this.accesses.push(`in${width} ${hex(first + offset)}`);
        return (~(first + offset) & (0xffff_ffff >>> (32 - 8 * width))) >>> 0;
      },
      write: (offset: number, width: AccessWidth, value: number) => {
        this.accesses.push(`out${width} ${hex(first + offset)} ${hex(value)}`);
      },
    };
  }

  run(untilNs = 100_000_000): this {
    const { clock, hypervisor } = this;
    while (clock.now < untilNs && hypervisor.endOf(this.domid) === "running") {
      const [vcpu] = hypervisor.runnable();
      const deadline = clock.nextDeadline();
      if (vcpu !== undefined) hypervisor.runVcpu(vcpu, untilNs - clock.now);
      else if (deadline === undefined) break;
      else clock.advanceTo(Math.min(deadline, untilNs));
    }
    // The control domain goes on without the guest: writes that nobody waits for are still under way.
    clock.advanceTo(clock.now + LATENCY_NS);
    return this;
  }

  of<K extends TraceEvent["kind"]>(kind: K): EventOf<K>[] {
    return this.events.filter((event): event is EventOf<K> => event.kind === kind);
  }

  memory(address: number, length: number): number[] {
    return [...(this.hypervisor.deviceModelHost(this.domid).memory.read(address, length) ?? [])];
  }
}
