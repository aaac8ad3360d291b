// Part: INS and OUTS of HVM domains (Xen: hvmemul_rep_ins, hvmemul_rep_outs). One exit moves as many data as lie in the page of the first one; the
// instruction then runs again for the rest, so that interrupts come between. The device model gets the data's guest-physical address, count
// and direction; a single datum, and one in two pages or outside of memory, goes as a value. Not modelled: data in devices' memory, which
// reads all ones and takes no writes; I/O breakpoints.

import type { AccessWidth } from "../../core/bus.ts";
import { PAGE_SIZE } from "../../core/memory.ts";
import { PAGE_FAULT } from "../../cpu/context.ts";
import { DF, ECX, EDI, ES, ESI, OFFSET } from "../../cpu/state.ts";
import { VMCS } from "../../cpu/vmx/fields.ts";
import { IOREQ_H as R } from "../abi/constants.ts";
import type { Platform } from "../platform.ts";
import type { HypervisorServices } from "../services.ts";
import type { Vcpu } from "../vcpu.ts";
import { hostAddress, INPUT, portOf, REP, request, widthOf } from "./io-request.ts";

/** VM-exit instruction information (SDM Vol. 3 table 28-8): address size 32, segment register. */
const ADDRESS_32 = 1 << 7;
const SEGMENT_SHIFT = 15;
const ALL_ONES = 0xffff_ffff;

/** The exit's operands. */
interface StringOperands {
  readonly port: number;
  readonly width: AccessWidth;
  readonly input: boolean;
  readonly repeated: boolean;
  readonly down: boolean;
  /** Of the registers that the address size uses. */
  readonly mask: number;
  readonly segment: number;
  readonly offset: number;
  readonly linear: number;
}

function operands({ processor }: HypervisorServices, qualification: number): StringOperands {
  const { state, vmx } = processor;
  const information = vmx.vmread(VMCS.EXIT_INSTRUCTION_INFORMATION);
  const input = (qualification & INPUT) !== 0;
  const mask = (information & ADDRESS_32) !== 0 ? ALL_ONES : 0xffff;
  return {
    port: portOf(qualification),
    width: widthOf(qualification),
    input,
    repeated: (qualification & REP) !== 0,
    down: (state.flagsRest & DF) !== 0,
    mask,
    segment: input ? ES : (information >>> SEGMENT_SHIFT) & 7,
    offset: (state.gpr(input ? EDI : ESI) & mask) >>> 0,
    linear: vmx.vmread(VMCS.GUEST_LINEAR_ADDRESS),
  };
}

/** Iterations whose data lie in the page of the first one and whose offsets do not wrap; at least one. */
function iterations({ processor }: HypervisorServices, given: StringOperands): number {
  if (!given.repeated) return 1;
  const { width, down, mask, offset, linear, segment, input } = given;
  const inPage = linear % PAGE_SIZE;
  const before = Math.floor(Math.min(inPage, offset) / width) + 1;
  const after = Math.floor(Math.min(PAGE_SIZE - inPage, mask + 1 - offset) / width);
  const left = (processor.state.gpr(ECX) & mask) >>> 0;
  const count = Math.max(1, Math.min(left, down ? before : after));
  const first = down ? offset - (count - 1) * width : offset;
  // The segment may end inside the page: then one at a time.
  return count === 1 || processor.probe(segment, first, count * width, input) ? count : 1;
}

export function stringIo(host: HypervisorServices, vcpu: Vcpu, platform: Platform, qualification: number): void {
  const { processor } = host;
  const given = operands(host, qualification);
  const { port, width, input, down, segment, offset, linear } = given;
  if (!processor.probe(segment, offset, width, input)) {
    const { vector, errorCode, address } = processor.pendingFault;
    if (vector === PAGE_FAULT) processor.state.set(OFFSET.cr2, address);
    host.inject(vcpu, vector, errorCode);
    return;
  }
  const count = iterations(host, given);
  const physical = vcpu.domain.access.guestPhysical(linear, input);
  const inMemory = hostAddress(vcpu, physical, input) >= 0;
  const pointer = count > 1 && inMemory;
  vcpu.io.count = pointer ? count : 1;
  vcpu.io.pointer = pointer;
  if (platform.ports.owns(port, width)) {
    for (let index = 0; index < vcpu.io.count; index++) {
      const at = (linear + (down ? -index : index) * width) >>> 0;
      if (input) store(vcpu, at, width, platform.ports.read(port, width));
      else platform.ports.write(port, width, load(vcpu, at, width));
    }
    advance(host, vcpu, given);
    return;
  }
  const data = pointer ? physical : input ? 0 : load(vcpu, linear, width);
  const wanted = {
    type: R.IOREQ_TYPE_PIO,
    read: input,
    address: port,
    size: width,
    count: vcpu.io.count,
    data,
    pointer,
    down: down && pointer,
  };
  vcpu.io.instruction = "string";
  request(host, vcpu, platform, wanted);
}

/** The device model has moved the data, or gives the single datum. */
export function completeString(host: HypervisorServices, vcpu: Vcpu, qualification: number, answer: number): void {
  const given = operands(host, qualification);
  if (given.input && !vcpu.io.pointer) store(vcpu, given.linear, given.width, answer);
  advance(host, vcpu, given);
}

/** Moves the registers on, and past the instruction when nothing is left (SDM Vol. 2, INS and OUTS). */
function advance(
  host: HypervisorServices,
  vcpu: Vcpu,
  { width, input, repeated, down, mask, offset }: StringOperands,
): void {
  const { state } = host.processor;
  const { count } = vcpu.io;
  const index = input ? EDI : ESI;
  const moved = offset + (down ? -count : count) * width;
  if (mask === ALL_ONES) state.setGpr(index, moved >>> 0);
  else state.setGpr16(index, moved & mask);
  if (!repeated) {
    host.skip(vcpu);
    return;
  }
  const left = (state.gpr(ECX) & mask) - count;
  if (mask === ALL_ONES) state.setGpr(ECX, left >>> 0);
  else state.setGpr16(ECX, left & mask);
  if ((left & mask) === 0) host.skip(vcpu);
}

function load({ domain }: Vcpu, linear: number, width: AccessWidth): number {
  const bytes = domain.access.read(linear, width);
  if (bytes === undefined) return ALL_ONES >>> (32 - 8 * width);
  let value = 0;
  for (let index = 0; index < width; index++) value |= (bytes[index] ?? 0) << (8 * index);
  return value >>> 0;
}

function store({ domain }: Vcpu, linear: number, width: AccessWidth, value: number): void {
  const bytes = Uint8Array.from({ length: width }, (_, index) => (value >>> (8 * index)) & 0xff);
  domain.access.write(linear, bytes);
}
