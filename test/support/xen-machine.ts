// A real processor, hypervisor and xenstore daemon with domains that never run: a test plays the guest, on the domain's own memory,
// grant table and event channels.

import { Clock } from "../../src/core/clock.ts";
import { PAGE_SIZE } from "../../src/core/memory.ts";
import { RandomStreams } from "../../src/core/random.ts";
import { SnapshotRegistry } from "../../src/core/snapshot.ts";
import { ratio } from "../../src/core/units.ts";
import { Processor } from "../../src/cpu/processor.ts";
import type { EventOf, TraceEvent } from "../../src/trace/events.ts";
import type { Domain } from "../../src/xen/domain.ts";
import { XenHypervisor } from "../../src/xen/xen.ts";
import { XenstoreDaemon } from "../../src/xen/xenstore/daemon.ts";

const RAM_BYTES = 8 * 1024 * 1024;
const GUEST_BYTES = 256 * 1024;
/** From a notification until the control domain's programs run. */
export const LATENCY_NS = 5_000;

export class XenMachine {
  readonly clock = new Clock();
  readonly events: TraceEvent[] = [];
  readonly processor: Processor;
  readonly hypervisor: XenHypervisor;
  readonly xenstore: XenstoreDaemon;
  readonly random = new RandomStreams("test");
  readonly snapshots = new SnapshotRegistry();

  constructor() {
    const { clock } = this;
    const readTsc = () => BigInt(clock.now);
    const platform = {
      readTsc,
      instructionsUntilTsc: () => Number.MAX_SAFE_INTEGER,
      portRead: () => 0xff,
      portWrite: () => {},
    };
    this.processor = new Processor({ ramBytes: RAM_BYTES, platform });
    this.hypervisor = new XenHypervisor({
      processor: this.processor,
      clock,
      emit: (event) => this.events.push(event),
      nsPerInstruction: ratio(1, 1),
      exitCostNs: 0,
      tscKhz: 1_000_000,
      startDateSeconds: 0,
      serviceDomainLatencyNs: LATENCY_NS,
    });
    this.xenstore = new XenstoreDaemon(this.hypervisor);
    this.snapshots.register("clock", 1, clock);
    this.snapshots.register("random", 1, this.random);
    this.snapshots.register("memory", 1, this.processor.memory);
    this.snapshots.register("processor", 1, this.processor);
    this.snapshots.register("hypervisor", 1, this.hypervisor);
    this.snapshots.register("xenstore", 1, this.xenstore);
  }

  guest(name: string): Guest {
    const kernel = idleKernel();
    return new Guest(this, this.hypervisor.createDomain({ name, memorySize: GUEST_BYTES, kernel, commandLine: "" }));
  }

  /** Lets virtual time pass until nothing is left to do, `limitNs` at the most. */
  settle(limitNs = 1_000_000_000): void {
    const end = this.clock.now + limitNs;
    for (let next = this.clock.nextDeadline(); next !== undefined && next <= end; next = this.clock.nextDeadline()) {
      this.clock.advanceTo(next);
    }
  }

  eventsOf<K extends TraceEvent["kind"]>(kind: K): EventOf<K>[] {
    return this.events.filter((event): event is EventOf<K> => event.kind === kind);
  }
}

/** What a guest does to its memory, its grants and its event channels. */
export class Guest {
  readonly machine: XenMachine;
  readonly domain: Domain;
  readonly domid: number;

  constructor(machine: XenMachine, domain: Domain) {
    this.machine = machine;
    this.domain = domain;
    this.domid = domain.domid;
  }

  address(gfn: number): number {
    return this.domain.p2m.frameOf(gfn) * PAGE_SIZE;
  }

  load32(gfn: number, offset: number): number {
    return this.machine.processor.memory.load32(this.address(gfn) + offset);
  }

  store32(gfn: number, offset: number, value: number): void {
    this.machine.processor.memory.store32(this.address(gfn) + offset, value);
  }

  read(gfn: number, offset: number, length: number): Uint8Array {
    return this.machine.processor.memory.read(this.address(gfn) + offset, length);
  }

  write(gfn: number, offset: number, bytes: Uint8Array): void {
    this.machine.processor.memory.write(this.address(gfn) + offset, bytes);
  }

  /** Writes a version 1 grant entry; all zeros take it back. */
  grant(ref: number, domid: number, gfn: number, flags: number): void {
    const frame = this.domain.grants.frame(ref >> 9);
    if (frame === undefined) throw new Error(`no grant ${ref}`);
    const at = frame * PAGE_SIZE + (ref & 511) * 8;
    const { memory } = this.machine.processor;
    memory.store16(at + 2, domid);
    memory.store32(at + 4, gfn);
    memory.store16(at, flags);
  }

  /** An entry's flags, in which the hypervisor shows its use. */
  grantFlags(ref: number): number {
    const frame = this.domain.grants.frame(ref >> 9) ?? 0;
    return this.machine.processor.memory.load16(frame * PAGE_SIZE + (ref & 511) * 8);
  }

  send(port: number): void {
    this.domain.events.send(port);
  }

  /** Whether an event came in on the port since the last time. */
  takeEvent(port: number): boolean {
    const pending = this.domain.shared.pending(port);
    this.domain.shared.clearPending(port);
    return pending;
  }
}

/** An ELF with a PVH note and one page that holds HLT. */
function idleKernel(): Uint8Array {
  const file = new Uint8Array(0x100);
  const view = new DataView(file.buffer);
  const words = (at: number, values: readonly number[]) => {
    for (const [index, value] of values.entries()) view.setUint32(at + 4 * index, value, true);
  };
  view.setUint32(0, 0x7f454c46, false);
  file.set([1, 1, 1], 4);
  view.setUint16(18, 3, true); // EM_386
  view.setUint32(28, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, 2, true);
  words(52, [1, 0xf0, 0x1000, 0x1000, 16, 16, 7, 4096]); // PT_LOAD
  words(84, [4, 0xc0, 0, 0, 20, 20, 4, 4]); // PT_NOTE
  words(0xc0, [4, 4, 18, 0x006e6558, 0x1000]); // XEN_ELFNOTE_PHYS32_ENTRY
  file[0xf0] = 0xf4;
  return file;
}
