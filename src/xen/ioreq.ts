// Part: the hypervisor's end of the I/O requests to a domain's device model (hvm/ioreq.h; Xen: common/ioreq.c). One page holds a request for
// each vCPU, a second one a ring of writes that nobody waits for. Both are the hypervisor's own frames: the guest does not see them, the
// device model maps them (XENMEM_acquire_resource). Not modelled: several servers for a domain, requests for PCI configuration space.

import type { Clock } from "../core/clock.ts";
import { type GuestMemory, PAGE_SHIFT } from "../core/memory.ts";
import type { Snapshotable } from "../core/snapshot.ts";
import type { Emit } from "../trace/events.ts";
import { IOREQ_H as R } from "./abi/constants.ts";
import { BUF_IOREQ, BUFFERED_IOPAGE, IOREQ } from "./abi/structures.ts";
import type { EventChannels } from "./event-channels.ts";
import type { Vcpu } from "./vcpu.ts";

const FIELD = IOREQ.layouts.x86_32.offset;
const CONTROL = FIELD["#control"];
export const IOREQ_SIZE: number = IOREQ.layouts.x86_32.size;
/** The bit-fields of `#control`. */
export const STATE_MASK = 15;
export const DATA_IS_PTR: number = 1 << 4;
export const DIR_READ: number = 1 << 5;
export const DF: number = 1 << 6;

/** Where these lie in a request's last word, whose lower half is padding. */
const CONTROL_SHIFT = 8 * (CONTROL % 4);
const TYPE_SHIFT = 8 * (FIELD.type % 4);

const RING = BUFFERED_IOPAGE.layouts.x86_32.offset;
const SLOT_SIZE = BUF_IOREQ.layouts.x86_32.size;
/** The bit-fields of a buffered request. */
const SIZE_SHIFT = 10;
const ADDRESS_SHIFT = 12;

/** What a request asks for; one object is reused. */
export interface IoRequest {
  type: number;
  read: boolean;
  /** Port or guest-physical address. */
  address: number;
  /** Bytes of each access: 1, 2 or 4. */
  size: number;
  count: number;
  /** What to write, or with `pointer` the guest-physical address of the first datum. */
  data: number;
  pointer: boolean;
  /** Each further access is below the one before. */
  down: boolean;
}

export interface IoreqServerState {
  page: number;
  bufferedPage: number;
  ports: number[];
  bufferedPort: number;
}

export interface IoreqParts {
  readonly domid: number;
  readonly memory: GuestMemory;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly events: EventChannels;
}

/** What became of a notification by the device model. */
export type Reception = "answered" | "waiting" | "nonsense";

export class IoreqServer implements Snapshotable<IoreqServerState> {
  /** Frame of the page with one request for each vCPU. */
  readonly page: number;
  readonly bufferedPage: number;
  readonly #parts: IoreqParts;
  /** The port of each vCPU. */
  #ports: number[] = [];
  #bufferedPort: number;
  /** A request as it is put together, in little-endian words: the slot is written as a whole, as Xen does. */
  readonly #slot = new Uint32Array(IOREQ_SIZE >> 2);

  /** @param controlDomain where the device model runs */
  constructor(parts: IoreqParts, page: number, bufferedPage: number, controlDomain: number) {
    this.#parts = parts;
    this.page = page;
    this.bufferedPage = bufferedPage;
    this.#bufferedPort = parts.events.allocXen(controlDomain, 0);
  }

  get bufferedPort(): number {
    return this.#bufferedPort;
  }

  addVcpu(id: number, controlDomain: number): void {
    const port = this.#parts.events.allocXen(controlDomain, id);
    this.#ports[id] = port;
    this.#parts.memory.store32(this.#at(id) + FIELD.vp_eport, port);
  }

  /** The vCPU that a port belongs to; undefined for the port of the buffered requests. */
  vcpuOf(port: number): number | undefined {
    const id = this.#ports.indexOf(port);
    return id < 0 ? undefined : id;
  }

  /** Hands a request over; the vCPU waits for its answer. False when the device model has left the slot in another state. */
  send(vcpu: Vcpu, request: IoRequest): boolean {
    const { memory, events } = this.#parts;
    const at = this.#at(vcpu.id);
    if ((memory.load8(at + CONTROL) & STATE_MASK) !== R.STATE_IOREQ_NONE) return false;
    const { pointer, read, down } = request;
    const flags = (pointer ? DATA_IS_PTR : 0) | (read ? DIR_READ : 0) | (down ? DF : 0);
    const port = this.#ports[vcpu.id] ?? 0;
    const slot = this.#slot;
    slot[FIELD.addr >> 2] = request.address;
    slot[(FIELD.addr >> 2) + 1] = Math.floor(request.address / 2 ** 32);
    slot[FIELD.data >> 2] = request.data;
    slot[(FIELD.data >> 2) + 1] = Math.floor(request.data / 2 ** 32);
    slot[FIELD.count >> 2] = request.count;
    slot[FIELD.size >> 2] = request.size;
    slot[FIELD.vp_eport >> 2] = port;
    slot[FIELD._pad0 >> 2] = ((flags | R.STATE_IOREQ_READY) << CONTROL_SHIFT) | (request.type << TYPE_SHIFT);
    memory.storeWords(at, slot);
    this.#emit(vcpu, request);
    vcpu.io.waiting = true;
    vcpu.io.answered = false;
    events.sendXen(port);
    return true;
  }

  #emit({ id: vcpu }: Vcpu, { type, read, address, size, count, data, pointer, down }: IoRequest): void {
    const { clock, domid: domain, emit } = this.#parts;
    const at = clock.now;
    if (count === 1 && !pointer) {
      if (read) emit({ kind: "ioreq", at, domain, vcpu, type, read, address, size });
      else emit({ kind: "ioreq", at, domain, vcpu, type, read, address, size, data });
      return;
    }
    const event = { kind: "ioreq", at, domain, vcpu, type, read, address, size, count, data, pointer } as const;
    emit(down ? { ...event, down } : event);
  }

  /** The device model has notified a vCPU's port: takes the answer, once, and lets the vCPU go on. */
  receive(vcpu: Vcpu): Reception {
    const { memory } = this.#parts;
    const at = this.#at(vcpu.id);
    if (!vcpu.io.waiting) return "waiting";
    const state = memory.load8(at + CONTROL) & STATE_MASK;
    if (state === R.STATE_IOREQ_READY || state === R.STATE_IOREQ_INPROCESS) return "waiting";
    if (state !== R.STATE_IORESP_READY) return "nonsense";
    vcpu.io.answer = memory.load32(at + FIELD.data);
    memory.store8(at + CONTROL, R.STATE_IOREQ_NONE);
    vcpu.io.answered = true;
    vcpu.io.waiting = false;
    return "answered";
  }

  /** Puts a write into the ring; false when it has no room, or its pointers are nonsense: then the write has to wait its turn. */
  sendBuffered(vcpu: Vcpu, type: number, address: number, size: number, data: number): boolean {
    const { clock, domid, emit, events, memory } = this.#parts;
    const page = this.bufferedPage << PAGE_SHIFT;
    const written = memory.load32(page + RING.write_pointer);
    const used = slotsBetween(memory.load32(page + RING.read_pointer), written);
    if (!(used >= 0 && used < R.IOREQ_BUFFER_SLOT_NUM)) return false;
    const at = page + RING.buf_ioreq + (written % R.IOREQ_BUFFER_SLOT_NUM) * SLOT_SIZE;
    const sizeCode = size === 4 ? 2 : size - 1;
    memory.store32(at, (type | (sizeCode << SIZE_SHIFT) | (address << ADDRESS_SHIFT)) >>> 0);
    memory.store32(at + 4, data);
    memory.store32(page + RING.write_pointer, nextPointer(written));
    const write = { domain: domid, vcpu: vcpu.id, type, read: false, address, size, data, buffered: true } as const;
    emit({ kind: "ioreq", at: clock.now, ...write });
    events.sendXen(this.#bufferedPort);
    return true;
  }

  #at(vcpu: number): number {
    return (this.page << PAGE_SHIFT) + vcpu * IOREQ_SIZE;
  }

  save(): IoreqServerState {
    return {
      page: this.page,
      bufferedPage: this.bufferedPage,
      ports: [...this.#ports],
      bufferedPort: this.#bufferedPort,
    };
  }

  load(state: IoreqServerState): void {
    this.#ports = [...state.ports];
    this.#bufferedPort = state.bufferedPort;
  }
}

/** Ring pointers run freely modulo 2^32; Xen makes them wrap where slot numbers do not jump. */
const POINTER_END = Math.floor(2 ** 32 / R.IOREQ_BUFFER_SLOT_NUM) * R.IOREQ_BUFFER_SLOT_NUM;

/** The pointer behind `pointer`. */
export function nextPointer(pointer: number): number {
  return (pointer + 1) % POINTER_END;
}

/** Slots between two pointers. */
export function slotsBetween(read: number, written: number): number {
  return (written - read + POINTER_END) % POINTER_END;
}

/** A buffered request's word taken apart. */
export function decodeBuffered(word: number): { type: number; size: number; address: number } {
  return { type: word & 0xff, size: 1 << ((word >>> SIZE_SHIFT) & 3), address: word >>> ADDRESS_SHIFT };
}

export const BUFFERED_RING = {
  read: RING.read_pointer,
  write: RING.write_pointer,
  slots: RING.buf_ioreq,
  slotSize: SLOT_SIZE,
} as const;
