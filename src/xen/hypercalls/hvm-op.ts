// Part: HYPERVISOR_hvm_op (hvm/hvm_op.h, hvm/params.h).

import { ERRNO_H as E, HVM_OP_H as O, PARAMS_H as P } from "../abi/constants.ts";
import { XEN_HVM_EVTCHN_UPCALL_VECTOR, XEN_HVM_GET_TIME, XEN_HVM_PARAM } from "../abi/structures.ts";
import { answer, copyIn, EFAULT, type Hypercall, type HypercallHandler, refusal, subOperation } from "./call.ts";

/** Parameters a guest may read of itself (Xen's hvm_allow_get_param). */
const READABLE: ReadonlySet<number> = new Set<number>([
  P.HVM_PARAM_CALLBACK_IRQ,
  P.HVM_PARAM_STORE_PFN,
  P.HVM_PARAM_STORE_EVTCHN,
  P.HVM_PARAM_CONSOLE_PFN,
  P.HVM_PARAM_CONSOLE_EVTCHN,
]);
/** Parameters a guest may set (Xen's hvm_allow_set_param); the tool stack's it may not. */
const WRITABLE: ReadonlySet<number> = new Set<number>([P.HVM_PARAM_CALLBACK_IRQ]);
/** Vectors below are exceptions (SDM Vol. 3 §11.5.2). */
const FIRST_INTERRUPT_VECTOR = 16;

function getParam(call: Hypercall): number {
  const request = copyIn(call, XEN_HVM_PARAM, call.arguments[1]);
  if (request === undefined) return EFAULT;
  if (request.index >= P.HVM_NR_PARAMS) return -E.XEN_EINVAL;
  const refused = refusal(call, request.domid);
  if (refused !== 0) return refused;
  if (!READABLE.has(request.index)) return -E.XEN_EPERM;
  return answer(call, XEN_HVM_PARAM, call.arguments[1], { value: call.domain.params[request.index] ?? 0n });
}

function setParam(call: Hypercall): number {
  const request = copyIn(call, XEN_HVM_PARAM, call.arguments[1]);
  if (request === undefined) return EFAULT;
  if (request.index >= P.HVM_NR_PARAMS) return -E.XEN_EINVAL;
  const refused = refusal(call, request.domid);
  if (refused !== 0) return refused;
  if (!WRITABLE.has(request.index)) return -E.XEN_EPERM;
  // The one that is writable.
  call.host.setCallback(call.domain, request.value);
  return 0;
}

function setUpcallVector(call: Hypercall): number {
  const request = copyIn(call, XEN_HVM_EVTCHN_UPCALL_VECTOR, call.arguments[1]);
  if (request === undefined) return EFAULT;
  if (request.vector < FIRST_INTERRUPT_VECTOR) return -E.XEN_EINVAL;
  const vcpu = call.domain.vcpus[request.vcpu];
  if (vcpu === undefined) return -E.XEN_ENOENT;
  vcpu.upcallVector = request.vector;
  return 0;
}

const OPERATIONS: ReadonlyMap<number, HypercallHandler> = new Map<number, HypercallHandler>([
  [O.HVMOP_set_param, setParam],
  [O.HVMOP_get_param, getParam],
  [
    O.HVMOP_flush_tlbs,
    ({ domain, arguments: [, pointer] }) => {
      if (pointer !== 0) return -E.XEN_EINVAL;
      domain.p2m.stale = true;
      return 0;
    },
  ],
  // A hint for shadow paging; with EPT there is nothing to do.
  [O.HVMOP_pagetable_dying, () => 0],
  [O.HVMOP_get_time, (call) => answer(call, XEN_HVM_GET_TIME, call.arguments[1], { now: BigInt(call.host.clock.now) })],
  [O.HVMOP_set_evtchn_upcall_vector, setUpcallVector],
]);

export function hvmOp(call: Hypercall): number {
  return subOperation(OPERATIONS, call, call.arguments[0]);
}
