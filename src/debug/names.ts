// Part: names for the numbers in events, from the tables of the parts that own them. A number without a name is shown as a number: a guest
// may use any.

import { XENBUS_NAMES } from "../devices/split/xenbus.ts";
import { virtualDeviceName } from "../devices/vbd/device-number.ts";
import { OP, RSP } from "../devices/vbd/protocol.ts";
import { EXTRA, RSP as NETIF_RSP, RXF, TXF } from "../devices/vnif/protocol.ts";
import {
  DM_OP_H,
  ERRNO_H,
  EVENT_CHANNEL_H,
  GRANT_TABLE_H,
  HVM_OP_H,
  IOREQ_H,
  MEMORY_H,
  PHYSDEV_H,
  SCHED_H,
  VCPU_H,
  VERSION_H,
  XEN_H,
} from "../xen/abi/constants.ts";
import { XS } from "../xen/xenstore/wire.ts";

type Constants = Readonly<Record<string, number>>;
type Names = ReadonlyMap<number, string>;

/** Value → name of the constants that begin with `prefix`; the name without what `drop` says of it. */
function namesOf(constants: Constants, prefix: string, drop = ""): Names {
  return new Map(
    Object.entries(constants)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [value, name.slice(drop.length)]),
  );
}

const HYPERCALLS = namesOf(XEN_H, "__HYPERVISOR_", "__HYPERVISOR_");

/** Names of a hypercall's first argument, its operation. */
const SUB_OPERATIONS: ReadonlyMap<number, Names> = new Map([
  [XEN_H.__HYPERVISOR_memory_op, namesOf(MEMORY_H, "XENMEM_")],
  [XEN_H.__HYPERVISOR_xen_version, namesOf(VERSION_H, "XENVER_")],
  [XEN_H.__HYPERVISOR_console_io, namesOf(XEN_H, "CONSOLEIO_")],
  [XEN_H.__HYPERVISOR_grant_table_op, namesOf(GRANT_TABLE_H, "GNTTABOP_")],
  [XEN_H.__HYPERVISOR_vcpu_op, namesOf(VCPU_H, "VCPUOP_")],
  [XEN_H.__HYPERVISOR_sched_op, namesOf(SCHED_H, "SCHEDOP_")],
  [XEN_H.__HYPERVISOR_event_channel_op, namesOf(EVENT_CHANNEL_H, "EVTCHNOP_")],
  [XEN_H.__HYPERVISOR_physdev_op, namesOf(PHYSDEV_H, "PHYSDEVOP_")],
  [XEN_H.__HYPERVISOR_hvm_op, namesOf(HVM_OP_H, "HVMOP_")],
  [XEN_H.__HYPERVISOR_dm_op, namesOf(DM_OP_H, "XEN_DMOP_")],
]);

const ERRNO = namesOf(ERRNO_H, "XEN_", "XEN_");
const GRANT_STATUS = namesOf(GRANT_TABLE_H, "GNTST_");
const XENSTORE_TYPES = namesOf(XS, "");
const BLOCK_OPERATIONS = namesOf(OP, "");
const BLOCK_STATUS = namesOf(RSP, "");
const NETIF_STATUS = namesOf(NETIF_RSP, "");
const NETIF_EXTRA = namesOf(EXTRA, "");
const DISK_OPERATIONS: Names = new Map([...["read", "write", "flush", "discard"].entries()]);
const IO_REQUEST_TYPES = namesOf(IOREQ_H, "IOREQ_TYPE_", "IOREQ_TYPE_");
const SHUTDOWN_REASONS = namesOf(SCHED_H, "SHUTDOWN_", "SHUTDOWN_");

/** "grant_table_op", or "hypercall 55". */
export function hypercallName(number: number): string {
  return HYPERCALLS.get(number) ?? `hypercall ${number}`;
}

/** "GNTTABOP_setup_table"; undefined for a hypercall without operations and for an operation without a name. */
export function subOperationName(hypercall: number, operation: number): string | undefined {
  return SUB_OPERATIONS.get(hypercall)?.get(operation);
}

/** "0", "5" or "-EFAULT". */
export function resultName(result: number): string {
  return result < 0 ? (negativeErrno(result) ?? String(result)) : String(result);
}

function negativeErrno(value: number): string | undefined {
  const name = ERRNO.get(-value);
  return name === undefined ? undefined : `-${name}`;
}

/** "0" when all is well, else "-EIO" or the number. */
export function statusName(status: number): string {
  // The disks' own error; Xen's list of errors has it, but no hypercall of ringback answers with it.
  return status === -5 ? "-EIO" : resultName(status);
}

export function grantStatusName(status: number): string {
  return GRANT_STATUS.get(status) ?? `status ${status}`;
}

export function xenstoreTypeName(type: number): string {
  return XENSTORE_TYPES.get(type) ?? `type ${type}`;
}

export function blockOperationName(operation: number): string {
  return BLOCK_OPERATIONS.get(operation) ?? `operation ${operation}`;
}

export function blockStatusName(status: number): string {
  return BLOCK_STATUS.get(status) ?? `status ${status}`;
}

export function netifStatusName(status: number): string {
  return NETIF_STATUS.get(status) ?? `status ${status}`;
}

export function netifExtraName(type: number): string {
  return NETIF_EXTRA.get(type) ?? `type ${type}`;
}

/** ", csum_blank more_data" for the flags of a request or response; nothing for none. */
export function netifFlags(ring: "tx" | "rx", flags: number): string {
  const names = Object.entries(ring === "tx" ? TXF : RXF).filter(([, bit]) => (flags & bit) !== 0);
  return names.length === 0 ? "" : `, ${names.map(([name]) => name).join(" ")}`;
}

export function diskOperationName(operation: number): string {
  return DISK_OPERATIONS.get(operation) ?? `operation ${operation}`;
}

export function ioRequestTypeName(type: number): string {
  return IO_REQUEST_TYPES.get(type) ?? `type ${type}`;
}

export function xenbusStateName(state: number): string {
  return XENBUS_NAMES[state] ?? `state ${state}`;
}

/** Of a SHUTDOWN_ value in decimal digits; a text that is none of them is given back. */
export function shutdownReasonName(reason: string): string {
  return /^\d+$/.test(reason) ? (SHUTDOWN_REASONS.get(Number(reason)) ?? `reason ${reason}`) : reason;
}

/** "xvda" for 51712; other numbers as they are. */
export function blockDeviceName(device: number): string {
  return virtualDeviceName(device) ?? `vbd ${device}`;
}
