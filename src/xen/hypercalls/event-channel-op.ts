// Part: HYPERVISOR_event_channel_op (event_channel.h). The operations themselves are in event-channels.ts.

import { ERRNO_H as E, EVENT_CHANNEL_H as O } from "../abi/constants.ts";
import {
  EVTCHN_ALLOC_UNBOUND,
  EVTCHN_BIND_INTERDOMAIN,
  EVTCHN_BIND_IPI,
  EVTCHN_BIND_VCPU,
  EVTCHN_BIND_VIRQ,
  EVTCHN_RESET,
  EVTCHN_STATUS,
} from "../abi/structures.ts";
import {
  answer,
  copyIn,
  EFAULT,
  type Hypercall,
  type HypercallHandler,
  isSelf,
  readU32,
  refusal,
  subOperation,
} from "./call.ts";

function allocUnbound(call: Hypercall): number {
  const request = copyIn(call, EVTCHN_ALLOC_UNBOUND, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const refused = refusal(call, request.dom);
  if (refused !== 0) return refused;
  const remote = isSelf(call, request.remote_dom) ? call.domain.domid : request.remote_dom;
  const port = call.domain.events.allocUnbound(remote);
  return port < 0 ? port : answer(call, EVTCHN_ALLOC_UNBOUND, call.arguments[1], { port });
}

function bindInterdomain(call: Hypercall): number {
  const request = copyIn(call, EVTCHN_BIND_INTERDOMAIN, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const remote = isSelf(call, request.remote_dom) ? call.domain.domid : request.remote_dom;
  const port = call.domain.events.bindInterdomain(remote, request.remote_port);
  return port < 0 ? port : answer(call, EVTCHN_BIND_INTERDOMAIN, call.arguments[1], { local_port: port });
}

function bindVirq(call: Hypercall): number {
  const request = copyIn(call, EVTCHN_BIND_VIRQ, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const port = call.domain.events.bindVirq(request.virq, request.vcpu);
  return port < 0 ? port : answer(call, EVTCHN_BIND_VIRQ, call.arguments[1], { port });
}

function bindIpi(call: Hypercall): number {
  const request = copyIn(call, EVTCHN_BIND_IPI, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const port = call.domain.events.bindIpi(request.vcpu);
  return port < 0 ? port : answer(call, EVTCHN_BIND_IPI, call.arguments[1], { port });
}

function status(call: Hypercall): number {
  const request = copyIn(call, EVTCHN_STATUS, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const refused = refusal(call, request.dom);
  if (refused !== 0) return refused;
  const found = call.domain.events.status(request.port);
  if (found === undefined) return -E.XEN_EINVAL;
  const { channel, vcpu } = found;
  const more =
    channel.state === "unbound"
      ? { "u.unbound.dom": channel.remoteDomain }
      : channel.state === "interdomain"
        ? { "u.interdomain.dom": channel.remoteDomain, "u.interdomain.port": channel.remotePort }
        : channel.state === "virq"
          ? { "u.virq": channel.virq }
          : {};
  return answer(call, EVTCHN_STATUS, call.arguments[1], { status: found.status, vcpu, ...more });
}

function bindVcpu(call: Hypercall): number {
  const request = copyIn(call, EVTCHN_BIND_VCPU, call.arguments[1]);
  return request === undefined ? EFAULT : call.domain.events.bindVcpu(request.port, request.vcpu);
}

function reset(call: Hypercall): number {
  const request = copyIn(call, EVTCHN_RESET, call.arguments[1]);
  if (request === undefined) return EFAULT;
  const refused = refusal(call, request.dom);
  if (refused !== 0) return refused;
  call.domain.events.reset();
  return 0;
}

/** An operation whose structure is one port: struct evtchn_close, evtchn_send, evtchn_unmask. */
function onPort(act: (call: Hypercall, port: number) => number): HypercallHandler {
  return (call) => {
    const port = readU32(call, call.arguments[1]);
    return port === undefined ? EFAULT : act(call, port);
  };
}

/** Without rows: bind_pirq (no physical interrupts), init_control and the other FIFO operations, answered -ENOSYS. */
const OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  [O.EVTCHNOP_alloc_unbound, allocUnbound],
  [O.EVTCHNOP_bind_interdomain, bindInterdomain],
  [O.EVTCHNOP_bind_virq, bindVirq],
  [O.EVTCHNOP_bind_ipi, bindIpi],
  [O.EVTCHNOP_close, onPort(({ domain }, port) => domain.events.close(port))],
  [O.EVTCHNOP_send, onPort(({ domain }, port) => domain.events.send(port))],
  [O.EVTCHNOP_unmask, onPort(({ domain }, port) => domain.events.unmask(port))],
  [O.EVTCHNOP_status, status],
  [O.EVTCHNOP_bind_vcpu, bindVcpu],
  [O.EVTCHNOP_reset, reset],
]);

export function eventChannelOp(call: Hypercall): number {
  return subOperation(OPERATIONS, call, call.arguments[0]);
}
