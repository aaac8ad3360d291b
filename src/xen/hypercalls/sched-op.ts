// Part: HYPERVISOR_sched_op (sched.h).

import { ERRNO_H as E, SCHED_H as S } from "../abi/constants.ts";
import { SCHED_POLL, SCHED_REMOTE_SHUTDOWN, SCHED_SHUTDOWN, SCHED_WATCHDOG } from "../abi/structures.ts";
import { copyIn, EFAULT, type Hypercall, type HypercallHandler, readU32, subOperation } from "./call.ts";

/** As in Xen's do_poll: more ports in one call are refused. */
const MAX_POLLED_PORTS = 128;
/** Times that a timer can be set to: the machine's clock ends there. */
const MAX_TIME_NS = Number.MAX_SAFE_INTEGER;

function block({ host, vcpu, domain }: Hypercall): number {
  domain.shared.clearUpcallMask(vcpu.vcpuInfo);
  if (!host.eventDeliverable(vcpu)) vcpu.block("an event, in SCHEDOP_block");
  return 0;
}

function shutdown(call: Hypercall): number {
  const request = copyIn(call, SCHED_SHUTDOWN, call.arguments[1]);
  if (request === undefined) return EFAULT;
  if (request.reason > S.SHUTDOWN_MAX) return -E.XEN_EINVAL;
  call.host.shutdown(call.domain, request.reason);
  return 0;
}

function poll(call: Hypercall): number {
  const { host, vcpu, domain } = call;
  const request = copyIn(call, SCHED_POLL, call.arguments[1]);
  if (request === undefined) return EFAULT;
  if (request.nr_ports > MAX_POLLED_PORTS) return -E.XEN_EINVAL;
  const ports: number[] = [];
  for (let index = 0; index < request.nr_ports; index++) {
    const port = readU32(call, request.ports + 4 * index);
    if (port === undefined) return EFAULT;
    if (domain.events.channel(port) === undefined) return -E.XEN_EINVAL;
    ports.push(port);
  }
  if (host.eventDeliverable(vcpu) || ports.some((port) => domain.shared.pending(port))) return 0;
  vcpu.polling = ports;
  host.setPollTimer(vcpu, request.timeout === 0n ? undefined : time(request.timeout));
  vcpu.block(`an event on port ${ports.join(", ")}, in SCHEDOP_poll`);
  return 0;
}

function shutdownCode(call: Hypercall): number {
  const request = copyIn(call, SCHED_SHUTDOWN, call.arguments[1]);
  if (request === undefined) return EFAULT;
  call.domain.shutdownCode = request.reason & 0xff;
  return 0;
}

/** A guest may not end another domain. */
function remoteShutdown(call: Hypercall): number {
  const request = copyIn(call, SCHED_REMOTE_SHUTDOWN, call.arguments[1]);
  if (request === undefined) return EFAULT;
  return call.host.exists(request.domain_id) ? -E.XEN_EPERM : -E.XEN_ESRCH;
}

function watchdog(call: Hypercall): number {
  const request = copyIn(call, SCHED_WATCHDOG, call.arguments[1]);
  return request === undefined ? EFAULT : call.host.setWatchdog(call.domain, request.id, request.timeout);
}

/** A time of 64 bits as one that the clock can be set to. */
export const time = (value: bigint): number => Number(value > BigInt(MAX_TIME_NS) ? BigInt(MAX_TIME_NS) : value);

const SCHED_OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  [
    S.SCHEDOP_yield,
    ({ host, vcpu }) => {
      host.yield(vcpu);
      return 0;
    },
  ],
  [S.SCHEDOP_block, block],
  [S.SCHEDOP_shutdown, shutdown],
  [S.SCHEDOP_poll, poll],
  [S.SCHEDOP_remote_shutdown, remoteShutdown],
  [S.SCHEDOP_shutdown_code, shutdownCode],
  [S.SCHEDOP_watchdog, watchdog],
  // Only a hardware domain may pin itself.
  [S.SCHEDOP_pin_override, () => -E.XEN_EPERM],
]);

export function schedOp(call: Hypercall): number {
  return subOperation(SCHED_OPERATIONS, call, call.arguments[0]);
}
