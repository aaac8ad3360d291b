// Part: HYPERVISOR_vcpu_op and HYPERVISOR_set_timer_op (vcpu.h), as Xen's common_vcpu_op carries them out for a domain of one vCPU.

import { PAGE_SHIFT, PAGE_SIZE } from "../../core/memory.ts";
import { ERRNO_H as E, SCHED_H, VCPU_H as V } from "../abi/constants.ts";
import { decode } from "../abi/layout.ts";
import {
  VCPU_REGISTER_RUNSTATE_MEMORY_AREA,
  VCPU_REGISTER_VCPU_INFO,
  VCPU_SET_PERIODIC_TIMER,
  VCPU_SET_SINGLESHOT_TIMER,
} from "../abi/structures.ts";
import { RUNSTATE_SIZE } from "../runstate.ts";
import { VCPU_INFO_SIZE } from "../shared-info.ts";
import { copyIn, EFAULT, type Hypercall, type HypercallHandler, subOperation } from "./call.ts";
import { time } from "./sched-op.ts";

/** Periods that Xen refuses: shorter than this would be interrupts without end. */
const MIN_PERIOD_NS = 1_000_000;
/** Longer ones too; 52 days, so that the next tick is still a time. */
const MAX_PERIOD_NS = 2 ** 52;

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

/** The guest's copy is filled in at once, then whenever the vCPU gets the processor. */
function registerRunstateArea(call: Hypercall): number {
  const { host, domain, vcpu } = call;
  const request = copyIn(call, VCPU_REGISTER_RUNSTATE_MEMORY_AREA, call.arguments[2]);
  if (request === undefined) return EFAULT;
  const linear = request["addr.h"];
  const offset = linear % PAGE_SIZE;
  const places = offset + RUNSTATE_SIZE > PAGE_SIZE ? [linear, (linear - offset + PAGE_SIZE) >>> 0] : [linear];
  const area = places.map((address) => domain.access.guestPhysical(address, true));
  if (area.some((address) => address < 0 || !domain.p2m.writable(address >>> PAGE_SHIFT))) return EFAULT;
  vcpu.runstate.register(area);
  vcpu.runstate.publish(host.processor.memory, domain.p2m);
  return 0;
}

/** The last vCPU that goes down ends its domain (Xen: common_vcpu_op). */
function down({ host, domain }: Hypercall): number {
  host.shutdown(domain, SCHED_H.SHUTDOWN_poweroff);
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

/**
 * A domain has one vCPU, which its builder has initialised and which is up as long as the domain is. Without rows: what PV guests alone have
 * (get_physid, send_nmi), time in the guest's own area (register_vcpu_time_memory_area), answered -ENOSYS.
 */
const VCPU_OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  [V.VCPUOP_initialise, () => -E.XEN_EEXIST],
  [V.VCPUOP_up, () => 0],
  [V.VCPUOP_down, down],
  [V.VCPUOP_is_up, ({ vcpu }) => (vcpu.run === "down" ? 0 : 1)],
  [
    V.VCPUOP_get_runstate_info,
    ({ domain, vcpu, arguments: [, , pointer] }) => (domain.access.write(pointer, vcpu.runstate.info()) ? 0 : EFAULT),
  ],
  [V.VCPUOP_register_runstate_memory_area, registerRunstateArea],
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
