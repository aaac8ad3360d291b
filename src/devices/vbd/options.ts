// Part: what one virtual block device is and offers, and the nodes in which it says so (io/blkif.h, "Backend XenBus Nodes").

import { type Disk, SECTOR_SIZE } from "../block/disk.ts";
import type { Nodes } from "../split/backend-end.ts";
import { VDISK } from "./protocol.ts";

export interface VbdFeatures {
  readonly readOnly: boolean;
  readonly cdrom: boolean;
  readonly flush: boolean;
  readonly barrier: boolean;
  readonly discard: boolean;
  /** Bytes: what is discarded at least, and where the first such piece begins. Hints; any sectors can be discarded. */
  readonly discardGranularity: number;
  readonly discardAlignment: number;
  readonly persistentGrants: boolean;
  /** Segments of an indirect request; 0: there are none. */
  readonly indirectSegments: number;
  /** Up to 2 to this power pages of ring. */
  readonly ringPageOrder: number;
}

/** MAX_INDIRECT_SEGMENTS of Linux's xen-blkback. */
export const MAX_INDIRECT_SEGMENTS = 256;
/** XENBUS_MAX_RING_GRANT_ORDER of Linux. */
export const MAX_RING_PAGE_ORDER = 4;
/** A CD's sectors, as a hint: requests count in 512 bytes all the same. */
const CD_SECTOR_SIZE = 2048;

/** A writable disk that offers all that Linux's xen-blkback does. */
export const DEFAULT_FEATURES: VbdFeatures = {
  readOnly: false,
  cdrom: false,
  flush: true,
  barrier: true,
  discard: true,
  discardGranularity: SECTOR_SIZE,
  discardAlignment: 0,
  persistentGrants: true,
  indirectSegments: MAX_INDIRECT_SEGMENTS,
  ringPageOrder: MAX_RING_PAGE_ORDER,
};

const bit = (condition: boolean): 0 | 1 => (condition ? 1 : 0);

const deviceType = ({ cdrom }: VbdFeatures): string => (cdrom ? "cdrom" : "disk");

export function frontNodes(number: number, features: VbdFeatures): Nodes {
  return { "virtual-device": number, "device-type": deviceType(features) };
}

export function backNodes(device: string, features: VbdFeatures, disk: Disk): Nodes {
  const { readOnly, cdrom } = features;
  return {
    removable: bit(cdrom),
    bootable: 1,
    dev: device,
    type: "phy",
    mode: readOnly ? "r" : "w",
    "device-type": deviceType(features),
    "feature-flush-cache": bit(features.flush),
    "feature-barrier": bit(features.barrier),
    "feature-discard": bit(features.discard && !readOnly),
    "discard-granularity": features.discardGranularity,
    "discard-alignment": features.discardAlignment,
    "discard-secure": 0,
    "feature-persistent": bit(features.persistentGrants),
    "feature-max-indirect-segments": features.indirectSegments,
    "max-ring-page-order": features.ringPageOrder,
    "sector-size": SECTOR_SIZE,
    "physical-sector-size": cdrom ? CD_SECTOR_SIZE : SECTOR_SIZE,
    info: (cdrom ? VDISK.CDROM | VDISK.REMOVABLE : 0) | (readOnly ? VDISK.READONLY : 0),
    ...sizeNodes(disk),
  };
}

/** What a resize changes. */
export function sizeNodes(disk: Disk): Nodes {
  return { sectors: disk.sectorCount };
}
