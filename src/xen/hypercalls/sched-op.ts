// Part: HYPERVISOR_sched_op (sched.h), HYPERVISOR_set_timer_op and HYPERVISOR_vcpu_op (vcpu.h).

import { PAGE_SHIFT, PAGE_SIZE } from "../../core/memory.ts";
import { ERRNO_H as E, SCHED_H as S, VCPU_H as V } from "../abi/constants.ts";
import { decode } from "../abi/layout.ts";
import {
  SCHED_POLL,
  SCHED_SHUTDOWN,
  VCPU_REGISTER_VCPU_INFO,
  VCPU_SET_PERIODIC_TIMER,
  VCPU_SET_SINGLESHOT_TIMER,
} from "../abi/structures.ts";
import { VCPU_INFO_SIZE } from "../shared-info.ts";
import { copyIn, EFAULT, type Hypercall, type HypercallHandler, readU32, subOperation } from "./call.ts";

/** As in Xen's do_poll: more ports in one call are refused. */
const MAX_POLLED_PORTS = 128;
/** Periods that Xen refuses: shorter than this would be interrupts without end. */
const MIN_PERIOD_NS = 1_000_000;
/** Longer ones too; 52 days, so that the next tick is still a time. */
const MAX_PERIOD_NS = 2 ** 52;
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

const time = (value: bigint): number => Number(value > BigInt(MAX_TIME_NS) ? BigInt(MAX_TIME_NS) : value);

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
]);

export function schedOp(call: Hypercall): number {
  return subOperation(SCHED_OPERATIONS, call, call.arguments[0]);
}

/** The timeout is a 64-bit system time in EBX (low) and ECX (high); zero stops the timer. */
export function setTimerOp({ host, vcpu, arguments: [low, high] }: Hypercall): number {
  const timeout = (BigInt(high) << 32n) | BigInt(low);
  host.setSingleshotTimer(vcpu, timeout === 0n ? undefined : time(timeout));
  return 0;
}

function registerVcpuInfo(call: Hypercall): number {
  const { host, domain, vcpu } = call;
  const request = copyIn(call, VCPU_REGISTER_VCPU_INFO, call.arguments[2]);
  if (request === undefined) return EFAULT;
  if (request.offset > PAGE_SIZE - VCPU_INFO_SIZE) return -E.XEN_EINVAL;
  // Once only, as in Xen; and only in the domain's own memory.
  if (vcpu.vcpuInfoMoved) return -E.XEN_EINVAL;
  const frame = request.mfn < 2n ** 36n ? domain.ownFrame(Number(request.mfn)) : -1;
  if (frame < 0) return -E.XEN_EINVAL;
  const { memory } = host.processor;
  const address = frame * 2 ** PAGE_SHIFT + request.offset;
  memory.write(address, memory.read(vcpu.vcpuInfo, VCPU_INFO_SIZE));
  host.frames.hold(frame);
  vcpu.vcpuInfo = address;
  vcpu.vcpuInfoMoved = true;
  domain.shared.selectAll(address);
  if (domain.shared.raiseUpcall(address)) host.assertUpcall(vcpu);
  return 0;
}

function setPeriodicTimer(call: Hypercall): number {
  const request = copyIn(call, VCPU_SET_PERIODIC_TIMER, call.arguments[2]);
  if (request === undefined) return EFAULT;
  const period = time(request.period_ns);
  if (period < MIN_PERIOD_NS || period > MAX_PERIOD_NS) return -E.XEN_EINVAL;
  call.host.setPeriodicTimer(call.vcpu, period);
  return 0;
}

function setSingleshotTimer(call: Hypercall): number {
  const { host, vcpu } = call;
  const pointer = call.arguments[2];
  const bytes = call.domain.access.read(pointer, VCPU_SET_SINGLESHOT_TIMER.layouts.x86_32.size);
  if (bytes === undefined) return EFAULT;
  const request = decode(VCPU_SET_SINGLESHOT_TIMER, bytes);
  const timeout = time(request.timeout_abs_ns);
  if ((request.flags & V.VCPU_SSHOTTMR_future) !== 0 && timeout < host.clock.now) return -E.XEN_ETIME;
  host.setSingleshotTimer(vcpu, timeout);
  return 0;
}

/** Timers are the calling vCPU's own (Xen answers -EINVAL for another's). */
const own =
  (handler: HypercallHandler): HypercallHandler =>
  (call) =>
    call.arguments[1] === call.vcpu.id ? handler(call) : -E.XEN_EINVAL;

/** Without rows: run-state areas and bringing up further vCPUs, answered -ENOSYS. */
const VCPU_OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  [V.VCPUOP_is_up, ({ domain, arguments: [, id] }) => (domain.vcpus[id]?.run === "down" ? 0 : 1)],
  [V.VCPUOP_set_periodic_timer, own(setPeriodicTimer)],
  [
    V.VCPUOP_stop_periodic_timer,
    own(({ host, vcpu }) => {
      host.setPeriodicTimer(vcpu, 0);
      return 0;
    }),
  ],
  [V.VCPUOP_set_singleshot_timer, own(setSingleshotTimer)],
  [
    V.VCPUOP_stop_singleshot_timer,
    own(({ host, vcpu }) => {
      host.setSingleshotTimer(vcpu, undefined);
      return 0;
    }),
  ],
  [V.VCPUOP_register_vcpu_info, own(registerVcpuInfo)],
]);

export function vcpuOp(call: Hypercall): number {
  const [operation, id] = call.arguments;
  if (call.domain.vcpus[id] === undefined) return -E.XEN_ENOENT;
  return subOperation(VCPU_OPERATIONS, call, operation);
}
