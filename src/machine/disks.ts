// Part: the domains' disks: each is an overlay over its image, with the faults that the configuration asks for, behind a block back end. And
// the toolstack that attaches, detaches, removes and resizes them while the machine runs, one action of the configuration after the other.

import type { Clock } from "../core/clock.ts";
import { assert, InputError } from "../core/errors.ts";
import type { RandomStreams } from "../core/random.ts";
import type { Snapshotable, SnapshotRegistry } from "../core/snapshot.ts";
import { type Disk, OverlayDisk } from "../devices/block/disk.ts";
import { FaultyDisk } from "../devices/block/faults.ts";
import { SOLID_STATE } from "../devices/block/service.ts";
import type { VbdFault } from "../devices/vbd/faults.ts";
import { DEFAULT_FEATURES } from "../devices/vbd/options.ts";
import { Vbd } from "../devices/vbd/vbd.ts";
import type { Emit } from "../trace/events.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import type { XenstoreDaemon } from "../xen/xenstore/daemon.ts";
import type { DiskAction, DiskConfig } from "./config-disks.ts";
import type { Images } from "./images.ts";

export interface DisksParts {
  readonly hypervisor: Hypervisor;
  readonly xenstore: XenstoreDaemon;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly random: RandomStreams;
  readonly snapshots: SnapshotRegistry;
  readonly images: Images;
  /** Names of faults that are switched on. */
  readonly faults: readonly string[];
  readonly actions: readonly DiskAction[];
  /** What a person at the domain's terminal has seen. */
  readonly terminal: (domain: string) => string;
}

interface Attached {
  readonly plain: OverlayDisk;
  readonly vbd: Vbd;
}

export interface DisksState {
  /** Actions that were taken. */
  taken: number;
  /** How much of each domain's terminal the actions so far have behind them. */
  seen: { domain: string; characters: number }[];
}

export class Disks implements Snapshotable<DisksState> {
  readonly #parts: DisksParts;
  readonly #disks = new Map<string, Attached>();
  readonly #alarm: { set(deadlineNs: number): void };
  #taken = 0;
  readonly #seen = new Map<string, number>();

  constructor(parts: DisksParts) {
    this.#parts = parts;
    this.#alarm = parts.clock.alarm("disk actions", () => this.#take());
    parts.snapshots.register("disk actions", 1, this);
    this.#await();
  }

  /** Makes a domain's disk, and attaches it unless that is an action's. */
  add(domain: string, domid: number, config: DiskConfig): void {
    const { hypervisor, xenstore, random, snapshots, faults } = this.#parts;
    const name = `${domid}/${config.device}`;
    const plain = this.#overlay(config);
    snapshots.register(`disk ${name}`, 2, plain, () => plain.digest());
    const isCd = config.type === "cdrom";
    const vbd = new Vbd(hypervisor.backendHost(xenstore.client()), {
      frontDomid: domid,
      device: config.device,
      disk: this.#faulty(name, plain, config),
      features: { ...DEFAULT_FEATURES, ...config.features, cdrom: isCd, readOnly: isCd || config.readOnly === true },
      service: SOLID_STATE,
      random: random.stream(`disk service ${name}`),
      grant: (path, owner, reader) => xenstore.grant(path, owner, reader),
      faults: new Set(faults as readonly VbdFault[]),
    });
    snapshots.register(`vbd ${name}`, 2, vbd);
    this.#disks.set(diskKey(domain, config.device), { plain, vbd });
    if (config.attached !== false) vbd.plug();
  }

  #overlay({ image, sectors }: DiskConfig): OverlayDisk {
    if (image !== undefined) return new OverlayDisk(this.#parts.images.bytes(image));
    return new OverlayDisk(new Uint8Array(0), sectors);
  }

  #faulty(name: string, plain: OverlayDisk, { faults }: DiskConfig): Disk {
    if (faults === undefined) return plain;
    const { random, clock, emit, snapshots } = this.#parts;
    const disk = new FaultyDisk(plain, faults, random.stream(`disk faults ${name}`), (detail) =>
      emit({ kind: "fault-injected", at: clock.now, name: `disk ${name}`, detail }),
    );
    snapshots.register(`disk faults ${name}`, 1, disk);
    return disk;
  }

  /** A domain's terminal has shown something: an action may wait for it. */
  shown(): void {
    if (this.#parts.actions[this.#taken]?.after !== undefined) this.#alarm.set(this.#parts.clock.now);
  }

  #await(): void {
    const next = this.#parts.actions[this.#taken];
    if (next !== undefined) this.#alarm.set(next.atNs ?? this.#parts.clock.now);
  }

  /** Takes the action that is next, if what it waits for has come. */
  #take(): void {
    const next = this.#parts.actions[this.#taken];
    if (next === undefined || !this.#hasShown(next)) return;
    this.#taken++;
    this.#perform(next);
    this.#await();
  }

  #hasShown({ domain, after }: DiskAction): boolean {
    if (after === undefined) return true;
    const at = this.#parts.terminal(domain).indexOf(after, this.#seen.get(domain) ?? 0);
    if (at >= 0) this.#seen.set(domain, at + after.length);
    return at >= 0;
  }

  /** What makes no sense when it is its turn, as detaching what is not attached, changes nothing: xl would refuse it. */
  #perform({ action, domain, disk, sectors }: DiskAction): void {
    const attached = this.#disks.get(diskKey(domain, disk));
    assert(attached !== undefined, () => `${domain} has no disk ${disk}`);
    const { plain, vbd } = attached;
    switch (action) {
      case "attach":
        if (!vbd.isPlugged) vbd.plug();
        break;
      case "detach":
        if (vbd.isPlugged) vbd.unplug();
        break;
      case "remove":
        if (vbd.isPlugged) vbd.remove();
        break;
      case "resize":
        plain.resize(sectors ?? plain.sectorCount);
        vbd.resized();
        break;
      default:
        action satisfies never;
    }
  }

  save(): DisksState {
    return { taken: this.#taken, seen: Array.from(this.#seen, ([domain, characters]) => ({ domain, characters })) };
  }

  /** @throws InputError when the snapshot is of other actions */
  load(state: DisksState): void {
    if (state.taken > this.#parts.actions.length) {
      throw new InputError(`${state.taken} actions of ${this.#parts.actions.length}`, "snapshot of the disks");
    }
    this.#taken = state.taken;
    this.#seen.clear();
    for (const { domain, characters } of state.seen) this.#seen.set(domain, characters);
  }
}

const diskKey = (domain: string, device: string): string => `${device} of ${domain}`;
