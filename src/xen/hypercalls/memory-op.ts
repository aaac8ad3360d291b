// Part: HYPERVISOR_memory_op (memory.h): the guest's physical map and the memory map it is told of.

import { PAGE_SHIFT } from "../../core/memory.ts";
import { ERRNO_H as E, MEMORY_H as M } from "../abi/constants.ts";
import {
  XEN_ADD_TO_PHYSMAP,
  XEN_MEMORY_DOMAIN,
  XEN_MEMORY_MAP,
  XEN_MEMORY_RESERVATION,
  XEN_REMOVE_FROM_PHYSMAP,
} from "../abi/structures.ts";
import { P2M_NONE, P2M_RAM, P2M_SHARED } from "../p2m.ts";
import {
  answer,
  copyIn,
  EFAULT,
  type Hypercall,
  type HypercallHandler,
  readU32,
  refusal,
  subOperation,
} from "./call.ts";

/** An E820 entry as the BIOS gives it: address, size, type without padding. */
const E820_ENTRY_SIZE = 20;
/** Extents in one call: as many as a page of frame numbers holds, so that a call is a bounded amount of work. */
const MAX_EXTENTS = 1024;
/** Xen's limit for an unprivileged domain without passed-through devices (CONFIG_DOMU_MAX_ORDER). */
const MAX_ORDER = 9;

/** Takes a guest frame away; memory of the domain's own goes back to the host (Xen frees it to avoid a leak). */
function dropFrame({ host, domain }: Hypercall, gfn: number): void {
  const frame = domain.p2m.frameOf(gfn);
  const own = domain.p2m.typeOf(gfn) === P2M_RAM;
  domain.p2m.clear(gfn);
  if (own) host.frames.free(frame);
}

/** Sets a guest frame, in place of what was there. */
function place(call: Hypercall, gfn: number, frame: number, type: number): number {
  dropFrame(call, gfn);
  return call.domain.p2m.set(gfn, frame, type) ? 0 : -E.XEN_ENOMEM;
}

function addToPhysmap(call: Hypercall): number {
  const { domain } = call;
  const request = copyIn(call, XEN_ADD_TO_PHYSMAP, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const refused = refusal(call, request.domid);
  if (refused !== 0) return refused;
  switch (request.space) {
    case M.XENMAPSPACE_shared_info:
      return request.idx === 0 ? place(call, request.gpfn, domain.sharedInfoFrame, P2M_SHARED) : -E.XEN_EINVAL;
    case M.XENMAPSPACE_grant_table: {
      // Status frames belong to version 2.
      if ((request.idx & M.XENMAPIDX_grant_table_status) !== 0) return -E.XEN_EINVAL;
      const frame = domain.grants.frame(request.idx);
      if (frame === undefined) return -E.XEN_EINVAL;
      domain.grants.place(request.idx, request.gpfn);
      return place(call, request.gpfn, frame, P2M_SHARED);
    }
    case M.XENMAPSPACE_gmfn: {
      const frame = domain.ownFrame(request.idx);
      if (frame < 0) return -E.XEN_EINVAL;
      if (request.idx === request.gpfn) return 0;
      domain.p2m.clear(request.idx);
      return place(call, request.gpfn, frame, P2M_RAM);
    }
    default:
      return -E.XEN_EINVAL;
  }
}

function removeFromPhysmap(call: Hypercall): number {
  const request = copyIn(call, XEN_REMOVE_FROM_PHYSMAP, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const refused = refusal(call, request.domid);
  if (refused !== 0) return refused;
  if (call.domain.p2m.typeOf(request.gpfn) === P2M_NONE) return -E.XEN_ENOENT;
  dropFrame(call, request.gpfn);
  return 0;
}

function memoryMap(call: Hypercall): number {
  const pointer = call.arguments[1];
  const request = copyIn(call, XEN_MEMORY_MAP, pointer);
  if (request === undefined) return EFAULT;
  const { memoryMap: map, access } = call.domain;
  if (request.nr_entries < map.length) return -E.XEN_EINVAL;
  const bytes = new Uint8Array(map.length * E820_ENTRY_SIZE);
  const view = new DataView(bytes.buffer);
  for (const [index, entry] of map.entries()) {
    view.setBigUint64(index * E820_ENTRY_SIZE, BigInt(entry.address), true);
    view.setBigUint64(index * E820_ENTRY_SIZE + 8, BigInt(entry.size), true);
    view.setUint32(index * E820_ENTRY_SIZE + 16, entry.type, true);
  }
  if (!access.write(request.buffer, bytes)) return EFAULT;
  return answer(call, XEN_MEMORY_MAP, pointer, { nr_entries: map.length });
}

/** Carries out a reservation call extent by extent: the number of extents done, as Xen answers, or an errno. */
function reservation(call: Hypercall, each: (call: Hypercall, first: number, count: number) => boolean): number {
  const request = copyIn(call, XEN_MEMORY_RESERVATION, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const refused = refusal(call, request.domid);
  if (refused !== 0) return refused;
  if (request.extent_order > MAX_ORDER) return 0;
  const extents = Math.min(request.nr_extents, MAX_EXTENTS);
  for (let index = 0; index < extents; index++) {
    const first = readU32(call, request.extent_start + 4 * index);
    if (first === undefined || !each(call, first, 1 << request.extent_order)) return index;
  }
  return extents;
}

function populate({ host, domain }: Hypercall, first: number, count: number): boolean {
  for (let gfn = first; gfn < first + count; gfn++) {
    if (domain.p2m.ramPages >= domain.maxPages || domain.p2m.typeOf(gfn) !== P2M_NONE) return false;
    const frame = host.frames.allocate();
    if (frame === undefined) return false;
    if (!domain.p2m.set(gfn, frame, P2M_RAM)) {
      host.frames.free(frame);
      return false;
    }
  }
  return true;
}

function decrease(call: Hypercall, first: number, count: number): boolean {
  for (let gfn = first; gfn < first + count; gfn++) {
    if (call.domain.p2m.typeOf(gfn) !== P2M_RAM) return false;
    dropFrame(call, gfn);
  }
  return true;
}

/** Queries about a domain's memory, pages. */
function query(value: (call: Hypercall) => number): HypercallHandler {
  return (call) => {
    const request = copyIn(call, XEN_MEMORY_DOMAIN, call.arguments[1]);
    if (request === undefined) return EFAULT;
    return refusal(call, request.domid) || value(call);
  };
}

const OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  // A translated guest has no machine frames to be given.
  [M.XENMEM_increase_reservation, () => 0],
  [M.XENMEM_decrease_reservation, (call) => reservation(call, decrease)],
  [M.XENMEM_populate_physmap, (call) => reservation(call, populate)],
  [M.XENMEM_maximum_ram_page, ({ host }) => (host.processor.memory.size >>> PAGE_SHIFT) - 1],
  [M.XENMEM_current_reservation, query(({ domain }) => domain.p2m.ramPages)],
  [M.XENMEM_maximum_reservation, query(({ domain }) => domain.maxPages)],
  [M.XENMEM_maximum_gpfn, query(({ domain }) => domain.p2m.highestGfn())],
  [M.XENMEM_add_to_physmap, addToPhysmap],
  [M.XENMEM_remove_from_physmap, removeFromPhysmap],
  [M.XENMEM_memory_map, memoryMap],
]);

export function memoryOp(call: Hypercall): number {
  return subOperation(OPERATIONS, call, call.arguments[0]);
}
