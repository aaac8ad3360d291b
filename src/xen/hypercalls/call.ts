// Part: one hypercall as its handler sees it, and how handlers take structures from guest memory: copied once, used from the copy.

import { ERRNO_H as E, XEN_H } from "../abi/constants.ts";
import { decode, encode, type Members, type RecordOf, type Structure, sizeOf } from "../abi/layout.ts";
import type { Domain } from "../domain.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";

export interface Hypercall {
  readonly host: HypervisorServices;
  readonly vcpu: Vcpu;
  readonly domain: Domain;
  /** EBX, ECX, EDX, ESI, EDI (arch-x86/xen-x86_32.h): guest pointers are guest-linear addresses. */
  readonly arguments: readonly [number, number, number, number, number];
}

/** Returns the value for EAX: 0 or more, or a negative errno. */
export type HypercallHandler = (call: Hypercall) => number;

export interface HypercallRow {
  readonly name: string;
  /** Arguments that the call has: what the trace records. */
  readonly arguments: number;
  readonly handler: HypercallHandler;
}

export const EFAULT: number = -E.XEN_EFAULT;

/** A copy of a guest's structure, undefined when it is not in the guest's memory. */
export function copyIn<M extends Members>(
  call: Hypercall,
  structure: Structure<M>,
  pointer: number,
): RecordOf<M> | undefined {
  const bytes = call.domain.access.read(pointer, structure.layouts.x86_32.size);
  return bytes === undefined ? undefined : decode(structure, bytes);
}

/** Stores members into a guest's structure; false when it is not in the guest's memory. */
export function copyOut<M extends Members>(
  call: Hypercall,
  structure: Structure<M>,
  pointer: number,
  values: Partial<RecordOf<M>>,
): boolean {
  const { size, offset } = structure.layouts.x86_32;
  const bytes = encode(structure, new Uint8Array(size), values);
  return Object.keys(values).every((name) => {
    const type = structure.members[name];
    const at = offset[name];
    if (typeof type !== "string" || at === undefined) return true;
    return call.domain.access.write(pointer + at, bytes.subarray(at, at + sizeOf(type, "x86_32")));
  });
}

/** 0 when the members could be stored, else -EFAULT. */
export function answer<M extends Members>(
  call: Hypercall,
  structure: Structure<M>,
  pointer: number,
  values: Partial<RecordOf<M>>,
): number {
  return copyOut(call, structure, pointer, values) ? 0 : EFAULT;
}

/** DOMID_SELF and the caller's own number are the caller; everything else is another domain. */
export function isSelf(call: Hypercall, domid: number): boolean {
  return domid === XEN_H.DOMID_SELF || domid === call.domain.domid;
}

/** Why a guest may not act on `domid`: 0 when it is itself, −ESRCH for a domain that is not there, −EPERM for any other. */
export function refusal(call: Hypercall, domid: number): number {
  if (isSelf(call, domid)) return 0;
  return call.host.exists(domid) ? -E.XEN_EPERM : -E.XEN_ESRCH;
}

/** A table of sub-operations: an unknown one is -ENOSYS. */
export function subOperation(table: ReadonlyMap<number, HypercallHandler>, call: Hypercall, number: number): number {
  return table.get(number)?.(call) ?? -E.XEN_ENOSYS;
}

export function readU32(call: Hypercall, pointer: number): number | undefined {
  const bytes = call.domain.access.read(pointer, 4);
  return bytes === undefined ? undefined : new DataView(bytes.buffer).getUint32(0, true);
}

export function writeU32(call: Hypercall, pointer: number, value: number): boolean {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return call.domain.access.write(pointer, bytes);
}
