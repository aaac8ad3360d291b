// Part: HYPERVISOR_grant_table_op (grant_table.h). Each element of the batch gets its own GNTST_ status; the call itself fails only
// when an element cannot be read or written. Transfers and version 2 are not supported and answered as a Xen without them does.

import { PAGE_SHIFT, PAGE_SIZE } from "../../core/memory.ts";
import { ERRNO_H as E, GRANT_TABLE_H as G, XEN_H } from "../abi/constants.ts";
import { decode, type Members, type RecordOf, type Structure } from "../abi/layout.ts";
import {
  GNTTAB_COPY,
  GNTTAB_COPY_PTR,
  GNTTAB_DUMP_TABLE,
  GNTTAB_GET_VERSION,
  GNTTAB_MAP_GRANT_REF,
  GNTTAB_QUERY_SIZE,
  GNTTAB_SET_VERSION,
  GNTTAB_SETUP_TABLE,
  GNTTAB_UNMAP_GRANT_REF,
} from "../abi/structures.ts";
import { MAX_GRANT_FRAMES } from "../grant-table.ts";
import { P2M_GRANT, P2M_GRANT_READ_ONLY, P2M_NONE } from "../p2m.ts";
import {
  answer,
  copyIn,
  EFAULT,
  type Hypercall,
  type HypercallHandler,
  refusal,
  subOperation,
  writeU32,
} from "./call.ts";

/** Elements in one call: as many as a full grant table has entries. Xen would work off any number piece by piece. */
const MAX_BATCH = 32_768;

/** Works off a batch of structures that carry a status. */
function batch<M extends Members>(
  structure: Structure<M>,
  each: (call: Hypercall, request: RecordOf<M>, bytes: Uint8Array) => Partial<RecordOf<M>>,
): HypercallHandler {
  return (call) => {
    const [, pointer, count] = call.arguments;
    if (count > MAX_BATCH) return -E.XEN_EINVAL;
    for (let index = 0; index < count; index++) {
      const at = pointer + index * structure.layouts.x86_32.size;
      const bytes = call.domain.access.read(at, structure.layouts.x86_32.size);
      if (bytes === undefined) return EFAULT;
      if (answer(call, structure, at, each(call, decode(structure, bytes), bytes)) !== 0) return EFAULT;
    }
    return 0;
  };
}

/** Guest frame of a guest-physical address; numbers past the p2m stay past it. */
const frameNumber = (address: bigint): number => Number(address >> BigInt(PAGE_SHIFT));

const map = batch(GNTTAB_MAP_GRANT_REF, (call, request) => {
  const { host, domain } = call;
  const readOnly = (request.flags & G.GNTMAP_readonly) !== 0;
  const result = mapOne(call, request, readOnly);
  const status = Math.min(result, 0);
  const handle = Math.max(result, 0);
  const at = host.clock.now;
  host.emit({
    kind: "grant-map",
    at,
    domain: domain.domid,
    owner: request.dom,
    ref: request.ref,
    readOnly,
    handle,
    status,
  });
  return status < 0 ? { status } : { status, handle, dev_bus_addr: request.host_addr };
});

/** A handle, or a negative status. */
function mapOne(
  { host, domain }: Hypercall,
  request: RecordOf<typeof GNTTAB_MAP_GRANT_REF.members>,
  readOnly: boolean,
): number {
  const flags = G.GNTMAP_host_map | G.GNTMAP_readonly;
  if ((request.flags & ~flags) !== 0 || (request.flags & G.GNTMAP_host_map) === 0) return G.GNTST_general_error;
  const owner = host.grantOwner(request.dom);
  if (owner === undefined) return G.GNTST_bad_domain;
  const gfn = frameNumber(request.host_addr);
  if (Number(request.host_addr) % PAGE_SIZE !== 0 || domain.p2m.typeOf(gfn) !== P2M_NONE) return G.GNTST_bad_virt_addr;
  const handle = domain.mappings.map(domain.domid, owner, request.ref, readOnly);
  const entry = domain.mappings.get(handle);
  if (entry === undefined) return handle;
  if (!domain.p2m.set(gfn, entry.frame, readOnly ? P2M_GRANT_READ_ONLY : P2M_GRANT)) {
    domain.mappings.unmap(handle, owner);
    return G.GNTST_no_space;
  }
  entry.gfn = gfn;
  return handle;
}

const unmap = batch(GNTTAB_UNMAP_GRANT_REF, ({ host, domain }, request) => {
  const { handle } = request;
  const entry = domain.mappings.get(handle);
  let status: number = G.GNTST_bad_handle;
  if (entry !== undefined && entry.gfn === frameNumber(request.host_addr)) {
    domain.p2m.clear(entry.gfn);
    status = domain.mappings.unmap(handle, host.grantOwner(entry.owner));
  } else if (entry !== undefined) {
    status = G.GNTST_bad_virt_addr;
  }
  host.emit({ kind: "grant-unmap", at: host.clock.now, domain: domain.domid, handle, status });
  return { status };
});

/** As `refusal`, in grant_table.h's terms. */
function refusedStatus(call: Hypercall, domid: number): number {
  const refused = refusal(call, domid);
  return refused === 0 ? G.GNTST_okay : refused === -E.XEN_ESRCH ? G.GNTST_bad_domain : G.GNTST_permission_denied;
}

const setupTable = batch(GNTTAB_SETUP_TABLE, (call, request) => {
  const { grants } = call.domain;
  const refused = refusedStatus(call, request.dom);
  if (refused !== G.GNTST_okay) return { status: refused };
  if (!grants.grow(request.nr_frames)) return { status: G.GNTST_general_error };
  for (let index = 0; index < request.nr_frames; index++) {
    if (!writeU32(call, request.frame_list + 4 * index, grants.placeOf(index))) {
      return { status: G.GNTST_bad_virt_addr };
    }
  }
  return { status: G.GNTST_okay };
});

const querySize = batch(GNTTAB_QUERY_SIZE, (call, request) => {
  const status = refusedStatus(call, request.dom);
  if (status !== G.GNTST_okay) return { status };
  return { nr_frames: call.domain.grants.frameCount, max_nr_frames: MAX_GRANT_FRAMES, status };
});

const dumpTable = batch(GNTTAB_DUMP_TABLE, (call, request) => ({
  status: refusedStatus(call, request.dom),
}));

/** One side of a copy, between checks and use. */
interface CopySide {
  readonly address: number;
  readonly release: () => void;
}

function copySide(
  { host, domain }: Hypercall,
  pointer: RecordOf<typeof GNTTAB_COPY_PTR.members>,
  byReference: boolean,
  write: boolean,
): CopySide | number {
  if (!byReference) {
    if (!(pointer.domid === XEN_H.DOMID_SELF || pointer.domid === domain.domid)) return G.GNTST_permission_denied;
    const frame = domain.p2m.frameOf(pointer["u.gmfn"]);
    if (frame < 0 || (write && !domain.p2m.writable(pointer["u.gmfn"]))) return G.GNTST_bad_page;
    return { address: frame * 2 ** PAGE_SHIFT + pointer.offset, release: () => undefined };
  }
  const owner = host.grantOwner(pointer.domid === XEN_H.DOMID_SELF ? domain.domid : pointer.domid);
  if (owner === undefined) return G.GNTST_bad_domain;
  const frame = owner.grants.acquire(pointer["u.ref"], domain.domid, !write);
  if (frame < 0) return frame;
  const release = () => owner.grants.release(pointer["u.ref"], !write);
  return { address: frame * 2 ** PAGE_SHIFT + pointer.offset, release };
}

const copy = batch(GNTTAB_COPY, (call, request, bytes) => {
  const { offset } = GNTTAB_COPY.layouts.x86_32;
  const source = decode(GNTTAB_COPY_PTR, bytes, "x86_32", offset.source);
  const dest = decode(GNTTAB_COPY_PTR, bytes, "x86_32", offset.dest);
  const status = copyOne(call, source, dest, request.len, request.flags);
  const { host, domain } = call;
  const toGrant = (request.flags & G.GNTCOPY_dest_gref) !== 0;
  const granted = toGrant ? dest : source;
  host.emit({
    kind: "grant-copy",
    at: host.clock.now,
    domain: domain.domid,
    owner: granted.domid,
    ref: granted["u.ref"],
    toGrant,
    offset: granted.offset,
    length: request.len,
    status,
  });
  return { status };
});

function copyOne(
  call: Hypercall,
  source: RecordOf<typeof GNTTAB_COPY_PTR.members>,
  dest: RecordOf<typeof GNTTAB_COPY_PTR.members>,
  length: number,
  flags: number,
): number {
  if ((flags & ~(G.GNTCOPY_source_gref | G.GNTCOPY_dest_gref)) !== 0) return G.GNTST_bad_copy_arg;
  if (source.offset + length > PAGE_SIZE || dest.offset + length > PAGE_SIZE) return G.GNTST_bad_copy_arg;
  const from = copySide(call, source, (flags & G.GNTCOPY_source_gref) !== 0, false);
  if (typeof from === "number") return from;
  const to = copySide(call, dest, (flags & G.GNTCOPY_dest_gref) !== 0, true);
  if (typeof to !== "number") {
    const { memory } = call.host.processor;
    memory.write(to.address, memory.read(from.address, length));
    to.release();
  }
  from.release();
  return typeof to === "number" ? to : G.GNTST_okay;
}

function setVersion(call: Hypercall): number {
  const request = copyIn(call, GNTTAB_SET_VERSION, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const result = request.version === 1 ? 0 : request.version === 2 ? -E.XEN_ENOSYS : -E.XEN_EINVAL;
  return answer(call, GNTTAB_SET_VERSION, call.arguments[1], { version: 1 }) === 0 ? result : EFAULT;
}

function getVersion(call: Hypercall): number {
  const request = copyIn(call, GNTTAB_GET_VERSION, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const refused = refusal(call, request.dom);
  if (refused !== 0) return refused;
  return answer(call, GNTTAB_GET_VERSION, call.arguments[1], { version: 1 });
}

const OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  [G.GNTTABOP_map_grant_ref, map],
  [G.GNTTABOP_unmap_grant_ref, unmap],
  [G.GNTTABOP_setup_table, setupTable],
  [G.GNTTABOP_dump_table, dumpTable],
  [G.GNTTABOP_copy, copy],
  [G.GNTTABOP_query_size, querySize],
  [G.GNTTABOP_set_version, setVersion],
  [G.GNTTABOP_get_version, getVersion],
]);

export function grantTableOp(call: Hypercall): number {
  return subOperation(OPERATIONS, call, call.arguments[0]);
}
