// Part: HYPERVISOR_xen_version (version.h): who the hypervisor is and what it offers.

import { PAGE_SIZE } from "../../core/memory.ts";
import { ERRNO_H as E, FEATURES_H as F, VERSION_H as V } from "../abi/constants.ts";
import { XEN_COMPILE_INFO, XEN_FEATURE_INFO } from "../abi/structures.ts";
import { XEN_MAJOR, XEN_MINOR } from "../cpuid.ts";
import { answer, copyIn, EFAULT, type Hypercall, type HypercallHandler, subOperation, writeU32 } from "./call.ts";

/** Lengths of the character arrays of version.h. */
const EXTRAVERSION_LENGTH = 16;
const CAPABILITIES_LENGTH = 1024;
const CHANGESET_LENGTH = 64;
const DOMAIN_HANDLE_LENGTH = 16;

/** A PVH domain's features: translated physical map, upcalls by vector, a time-stamp counter to trust. */
const FEATURES: number = (
  [
    F.XENFEAT_writable_page_tables,
    F.XENFEAT_auto_translated_physmap,
    F.XENFEAT_supervisor_mode_kernel,
    F.XENFEAT_hvm_callback_vector,
    F.XENFEAT_hvm_safe_pvclock,
    F.XENFEAT_memory_op_vnode_supported,
  ] as readonly number[]
).reduce((bits, feature) => bits | (1 << feature), 0);

/** A NUL-padded character array. */
function characters(value: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(new TextEncoder().encode(value).subarray(0, length - 1));
  return bytes;
}

const put =
  (bytes: Uint8Array): HypercallHandler =>
  ({ domain, arguments: [, pointer] }) =>
    domain.access.write(pointer, bytes) ? 0 : EFAULT;

function compileInfo(): Uint8Array {
  const { size, offset } = XEN_COMPILE_INFO.layouts.x86_32;
  const bytes = new Uint8Array(size);
  bytes.set(characters("ringback", 64), offset.compiler);
  return bytes;
}

function getFeatures(call: Hypercall): number {
  const request = copyIn(call, XEN_FEATURE_INFO, call.arguments[1]);
  if (request === undefined) return EFAULT;
  if (request.submap_idx !== 0) return -E.XEN_EINVAL;
  return answer(call, XEN_FEATURE_INFO, call.arguments[1], { submap: FEATURES });
}

/** Without rows: build_id, answered -ENOSYS. The command line is for privileged domains. */
const OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  [V.XENVER_version, () => (XEN_MAJOR << 16) | XEN_MINOR],
  [V.XENVER_extraversion, put(characters(".0", EXTRAVERSION_LENGTH))],
  [V.XENVER_compile_info, put(compileInfo())],
  [V.XENVER_capabilities, put(characters("hvm-3.0-x86_32 hvm-3.0-x86_32p", CAPABILITIES_LENGTH))],
  [V.XENVER_changeset, put(characters("", CHANGESET_LENGTH))],
  // Where a PV guest's hypervisor hole begins; a translated guest has none.
  [V.XENVER_platform_parameters, (call) => (writeU32(call, call.arguments[1], 0) ? 0 : EFAULT)],
  [V.XENVER_get_features, getFeatures],
  [V.XENVER_pagesize, () => PAGE_SIZE],
  [
    V.XENVER_guest_handle,
    ({ domain, arguments: [, pointer] }) => {
      const handle = new Uint8Array(DOMAIN_HANDLE_LENGTH);
      new DataView(handle.buffer).setUint32(DOMAIN_HANDLE_LENGTH - 4, domain.domid, false);
      return domain.access.write(pointer, handle) ? 0 : EFAULT;
    },
  ],
  [V.XENVER_commandline, () => -E.XEN_EPERM],
]);

export function xenVersion(call: Hypercall): number {
  return subOperation(OPERATIONS, call, call.arguments[0]);
}
