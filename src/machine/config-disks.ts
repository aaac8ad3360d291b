// Part: the disks of a machine's configuration.

import type { DiskFault } from "../devices/block/faults.ts";
import type { ServiceTime } from "../devices/block/service.ts";
import { virtualDeviceNumber } from "../devices/vbd/device-number.ts";
import { MAX_INDIRECT_SEGMENTS, MAX_RING_PAGE_ORDER, type VbdFeatures } from "../devices/vbd/options.ts";
import { check, isPositive, isWithin } from "./config-shape.ts";

export type { DiskFault as DiskFaultConfig } from "../devices/block/faults.ts";

export interface DiskConfig {
  /** As the guest's toolstack names it: `xvda`, `xvdb`, …, `hda`, `sda`. */
  readonly device: string;
  /** Name of the image it starts with; writes go to an overlay. */
  readonly image?: string;
  /** Size of an empty disk, in sectors of 512 bytes. */
  readonly sectors?: number;
  /** A CD-ROM is read-only and can be taken out. */
  readonly type?: "disk" | "cdrom";
  readonly readOnly?: boolean;
  /** Whether it is there from the beginning, as it is by default; if not, an action attaches it. */
  readonly attached?: boolean;
  /** What its back end offers; by default all that Linux's does. */
  readonly features?: Partial<Omit<VbdFeatures, "readOnly" | "cdrom">>;
  readonly faults?: readonly DiskFault[];
  /** How long its operations take; by default what a solid-state disk takes, with jitter. Without jitter requests that come together end together. */
  readonly service?: ServiceTime;
}

/** 512 TiB: the offset of a disk's last byte is still an exact integer. */
export const MAX_SECTORS = 2 ** 40;
/** A second for an operation, or for a sector: no disk is slower. */
const MAX_SERVICE_NS = 1_000_000_000;
const DISK_OPERATIONS: readonly string[] = ["read", "write", "flush", "discard"];
/** Linux's discard_granularity has 32 bits. */
const MAX_GRANULARITY = 0xffff_ffff;

/** @throws InputError naming the setting */
export function checkDisks(disks: readonly DiskConfig[], where: string): void {
  const devices = new Set<string>();
  for (const disk of disks) {
    const { device, type = "disk", sectors = 1 } = disk;
    const place = `${where}, disk ${device}`;
    const isName = virtualDeviceNumber(device) !== undefined && !devices.has(device);
    check(isName, place, "named xvda, xvdb and so on, hda to hdd or sda to sdp, each once");
    devices.add(device);
    check((disk.image === undefined) !== (disk.sectors === undefined), place, "either an image or a number of sectors");
    check(isWithin(sectors, 1, MAX_SECTORS), place, "1 to 2^40 sectors");
    check(type === "disk" || type === "cdrom", place, "of type disk or cdrom");
    check(type === "disk" || disk.readOnly !== false, place, "read-only as a CD-ROM");
    checkFeatures(disk.features ?? {}, `${place}, features`);
    if (disk.service !== undefined) checkService(disk.service, `${place}, service`);
    for (const fault of disk.faults ?? []) checkFault(fault, `${place}, fault`);
  }
}

function checkFeatures(features: NonNullable<DiskConfig["features"]>, place: string): void {
  const { discardGranularity = 512, discardAlignment = 0, indirectSegments = 0, ringPageOrder = 0 } = features;
  const isGranularity = isWithin(discardGranularity, 512, MAX_GRANULARITY) && discardGranularity % 512 === 0;
  check(isGranularity, place, "a discardGranularity of 512 bytes or a multiple");
  check(
    isWithin(discardAlignment, 0, discardGranularity - 1),
    place,
    "a discardAlignment below the discardGranularity",
  );
  check(isWithin(indirectSegments, 0, MAX_INDIRECT_SEGMENTS), place, `0 to ${MAX_INDIRECT_SEGMENTS} indirectSegments`);
  check(isWithin(ringPageOrder, 0, MAX_RING_PAGE_ORDER), place, `a ringPageOrder of 0 to ${MAX_RING_PAGE_ORDER}`);
}

function checkService({ operationNs, perSectorNs, jitterNs }: ServiceTime, place: string): void {
  check(isWithin(operationNs, 1, MAX_SERVICE_NS), place, "1 to 10^9 operationNs");
  check(isWithin(perSectorNs, 0, MAX_SERVICE_NS), place, "0 to 10^9 perSectorNs");
  check(isWithin(jitterNs, 0, MAX_SERVICE_NS), place, "0 to 10^9 jitterNs");
}

function checkFault({ operation, sector = 0, count = 1, oneIn = 1, times = 1 }: DiskFault, place: string): void {
  check(DISK_OPERATIONS.includes(operation), place, `of an operation: ${DISK_OPERATIONS.join(", ")}`);
  check(isWithin(sector, 0, MAX_SECTORS) && isWithin(count, 1, MAX_SECTORS), place, "of sectors that there can be");
  check(isWithin(oneIn, 1, 2 ** 32), place, "one in 1 to 2^32");
  check(isPositive(times), place, "gone after 1 failure or more");
}
