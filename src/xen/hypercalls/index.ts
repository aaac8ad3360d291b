// Part: the table of hypercalls (xen.h). A number without a row is -ENOSYS; so is a sub-operation without one.

import { ERRNO_H as E, XEN_H } from "../abi/constants.ts";
import type { Hypercall, HypercallRow } from "./call.ts";
import { consoleIo } from "./console-io.ts";
import { eventChannelOp } from "./event-channel-op.ts";
import { grantTableOp } from "./grant-table-op.ts";
import { hvmOp } from "./hvm-op.ts";
import { memoryOp } from "./memory-op.ts";
import { schedOp } from "./sched-op.ts";
import { setTimerOp, vcpuOp } from "./vcpu-op.ts";
import { xenVersion } from "./xen-version.ts";

/**
 * Of the assists a translated guest has one (Xen's HVM_VM_ASSIST_VALID): marking its runstate area while it is updated. An update is one step
 * here, so that no guest ever sees the mark.
 */
function vmAssist({ arguments: [command, type] }: Hypercall): number {
  if (type !== XEN_H.VMASST_TYPE_runstate_update_flag) return -E.XEN_EINVAL;
  return command === XEN_H.VMASST_CMD_enable || command === XEN_H.VMASST_CMD_disable ? 0 : -E.XEN_ENOSYS;
}

const HYPERCALLS: ReadonlyMap<number, HypercallRow> = new Map<number, HypercallRow>([
  [XEN_H.__HYPERVISOR_memory_op, { name: "memory_op", arguments: 2, handler: memoryOp }],
  [XEN_H.__HYPERVISOR_set_timer_op, { name: "set_timer_op", arguments: 2, handler: setTimerOp }],
  [XEN_H.__HYPERVISOR_xen_version, { name: "xen_version", arguments: 2, handler: xenVersion }],
  [XEN_H.__HYPERVISOR_console_io, { name: "console_io", arguments: 3, handler: consoleIo }],
  [XEN_H.__HYPERVISOR_grant_table_op, { name: "grant_table_op", arguments: 3, handler: grantTableOp }],
  [XEN_H.__HYPERVISOR_vm_assist, { name: "vm_assist", arguments: 2, handler: vmAssist }],
  [XEN_H.__HYPERVISOR_vcpu_op, { name: "vcpu_op", arguments: 3, handler: vcpuOp }],
  [XEN_H.__HYPERVISOR_sched_op, { name: "sched_op", arguments: 2, handler: schedOp }],
  [XEN_H.__HYPERVISOR_event_channel_op, { name: "event_channel_op", arguments: 2, handler: eventChannelOp }],
  // A PVH domain has no physical interrupts to map (Xen: -ENOSYS without XEN_X86_EMU_USE_PIRQ).
  [XEN_H.__HYPERVISOR_physdev_op, { name: "physdev_op", arguments: 2, handler: () => -E.XEN_ENOSYS }],
  [XEN_H.__HYPERVISOR_hvm_op, { name: "hvm_op", arguments: 2, handler: hvmOp }],
]);

/** Arguments that the trace records of a number that names no hypercall. */
const UNKNOWN_ARGUMENTS = 2;

/**
 * Carries out a hypercall and tells the trace.
 * @param permitted false when the caller's privilege does not allow hypercalls
 * @returns 0 or more, or a negative errno
 */
export function carryOut(number: number, call: Hypercall, permitted: boolean): number {
  const row = HYPERCALLS.get(number);
  const result = !permitted ? -E.XEN_EPERM : row === undefined ? -E.XEN_ENOSYS : row.handler(call);
  call.host.emit({
    kind: "hypercall",
    at: call.host.clock.now,
    domain: call.domain.domid,
    vcpu: call.vcpu.id,
    number,
    arguments: call.arguments.slice(0, row?.arguments ?? UNKNOWN_ARGUMENTS),
    result,
  });
  return result;
}
