// Part: the domains' disks: each is an overlay over its image, with the faults that the configuration asks for, behind a block back end. They
// are attached, detached, removed and resized while the machine runs.

import type { Clock } from "../core/clock.ts";
import { assert } from "../core/errors.ts";
import type { RandomStreams } from "../core/random.ts";
import type { SnapshotRegistry } from "../core/snapshot.ts";
import { type Disk, OverlayDisk } from "../devices/block/disk.ts";
import { FaultyDisk } from "../devices/block/faults.ts";
import { SOLID_STATE } from "../devices/block/service.ts";
import type { VbdFault } from "../devices/vbd/faults.ts";
import { DEFAULT_FEATURES } from "../devices/vbd/options.ts";
import { Vbd } from "../devices/vbd/vbd.ts";
import type { Emit } from "../trace/events.ts";
import type { Hypervisor } from "../xen/hypervisor.ts";
import type { XenstoreDaemon } from "../xen/xenstore/daemon.ts";
import type { DiskAction } from "./config-actions.ts";
import type { DiskConfig } from "./config-disks.ts";
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
}

interface Attached {
  readonly plain: OverlayDisk;
  /** The same with its faults. */
  readonly disk: Disk;
  readonly vbd: Vbd;
}

export class Disks {
  readonly #parts: DisksParts;
  readonly #disks = new Map<string, Attached>();

  constructor(parts: DisksParts) {
    this.#parts = parts;
  }

  /** Makes a domain's disk, and attaches it unless that is an action's. A domain that has migrated finds the disk that it had. */
  add(domain: string, domid: number, config: DiskConfig): void {
    const { hypervisor, xenstore, random, snapshots, faults } = this.#parts;
    const name = `${domid}/${config.device}`;
    const { plain, disk } = this.#disks.get(diskKey(domain, config.device)) ?? this.#make(name, config);
    const isCd = config.type === "cdrom";
    const vbd = new Vbd(hypervisor.backendHost(xenstore.client()), {
      frontDomid: domid,
      device: config.device,
      disk,
      features: { ...DEFAULT_FEATURES, ...config.features, cdrom: isCd, readOnly: isCd || config.readOnly === true },
      service: config.service ?? SOLID_STATE,
      random: random.stream(`disk service ${name}`),
      grant: (path, owner, reader) => xenstore.grant(path, owner, reader),
      faults: new Set(faults as readonly VbdFault[]),
    });
    snapshots.register(`vbd ${name}`, 2, vbd);
    this.#disks.set(diskKey(domain, config.device), { plain, disk, vbd });
    if (config.attached !== false) vbd.plug();
  }

  #make(name: string, config: DiskConfig): Omit<Attached, "vbd"> {
    const plain = this.#overlay(config);
    this.#parts.snapshots.register(`disk ${name}`, 2, plain, () => plain.digest());
    return { plain, disk: this.#faulty(name, plain, config) };
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

  /** What makes no sense when it is its turn, as detaching what is not attached, changes nothing: xl would refuse it. */
  perform({ action, domain, disk, sectors }: DiskAction): void {
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
}

const diskKey = (domain: string, device: string): string => `${device} of ${domain}`;
