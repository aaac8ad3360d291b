// Part: the device model of an HVM domain, a program of the control domain (QEMU's xen-hvm.c): it takes I/O requests out of the shared page, has its
// devices carry them out, and answers. Each field of a request is fetched once; nonsense is answered with all ones, and recorded. Writes that
// nobody waits for are taken before the request that may depend on them.

import type { AccessWidth, MmioBus, PortBus } from "../../core/bus.ts";
import { assert } from "../../core/errors.ts";
import { PAGE_SIZE } from "../../core/memory.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { IOREQ_H as R } from "../../xen/abi/constants.ts";
import { IOREQ } from "../../xen/abi/structures.ts";
import type { DeviceModelHost, SharedPage } from "../../xen/device-model-host.ts";
import {
  BUFFERED_RING,
  DATA_IS_PTR,
  DF,
  DIR_READ,
  decodeBuffered,
  IOREQ_SIZE,
  nextPointer,
  STATE_MASK,
  slotsBetween,
} from "../../xen/ioreq.ts";
import type { DeviceModelFault } from "./faults.ts";

const FIELD = IOREQ.layouts.x86_32.offset;
const CONTROL = FIELD["#control"];

/** Accesses of one request: the hypervisor ends a request at the page of its data. */
const MAX_COUNT = 4096;
const MAX_PORT = 0xffff;
const ALL_ONES = 0xffff_ffff;

export interface DeviceModelState {
  /** Local ports: one for each vCPU, and that of the buffered requests. */
  ports: number[];
  bufferedPort: number;
}

/** A request as it was fetched. */
interface Request {
  address: number;
  data: number;
  count: number;
  size: number;
  type: number;
  read: boolean;
  pointer: boolean;
  down: boolean;
}

export class DeviceModel implements Snapshotable<DeviceModelState> {
  readonly #host: DeviceModelHost;
  readonly #ports: PortBus;
  readonly #mmio: MmioBus;
  /** What was fetched last; reused. */
  readonly #request: Request = {
    address: 0,
    data: 0,
    count: 0,
    size: 1,
    type: 0,
    read: false,
    pointer: false,
    down: false,
  };
  /** What a string instruction reads; reused. */
  readonly #string = new Uint8Array(PAGE_SIZE);
  readonly #fetchesTwice: boolean;
  #bound: number[] = [];
  #bufferedBound: number;

  /** Connects to the domain's event channels. */
  constructor(host: DeviceModelHost, ports: PortBus, mmio: MmioBus, faults: ReadonlySet<DeviceModelFault> = new Set()) {
    this.#host = host;
    this.#fetchesTwice = faults.has("device-model.double-fetch");
    this.#ports = ports;
    this.#mmio = mmio;
    for (let vcpu = 0; vcpu < host.vcpuCount; vcpu++) {
      const port = host.bind(host.ioreqs.load32(vcpu * IOREQ_SIZE + FIELD.vp_eport), () => this.#serve(vcpu));
      assert(port > 0, `no event channel for vCPU ${vcpu} of domain ${host.domid}`);
      this.#bound[vcpu] = port;
    }
    this.#bufferedBound = host.bind(host.bufferedPort, () => this.#drain());
    assert(this.#bufferedBound > 0, `no event channel for buffered requests of domain ${host.domid}`);
  }

  /** The domain is gone: nothing of its memory is touched any more, whatever has been notified before. */
  close(): void {
    for (const port of [...this.#bound, this.#bufferedBound]) this.#host.unbind(port);
  }

  /** The request of a vCPU, if there is one: a notification may come without. */
  #serve(vcpu: number): void {
    const { clock, domid, emit, ioreqs } = this.#host;
    const at = vcpu * IOREQ_SIZE;
    const control = ioreqs.load8(at + CONTROL);
    if ((control & STATE_MASK) !== R.STATE_IOREQ_READY) return;
    this.#drain();
    const request = this.#fetch(at, control);
    const flags = control & ~STATE_MASK;
    ioreqs.store8(at + CONTROL, flags | R.STATE_IOREQ_INPROCESS);
    const refused = refusal(request);
    if (this.#fetchesTwice) this.#fetch(at, control);
    if (refused === undefined) this.#carryOut(request);
    else request.data = ALL_ONES;
    const answers = request.read && !request.pointer;
    if (answers) ioreqs.store32(at + FIELD.data, request.data);
    ioreqs.store8(at + CONTROL, flags | R.STATE_IORESP_READY);
    if (refused !== undefined) emit({ kind: "ioreq-answer", at: clock.now, domain: domid, vcpu, refused });
    else if (answers) emit({ kind: "ioreq-answer", at: clock.now, domain: domid, vcpu, data: request.data });
    else emit({ kind: "ioreq-answer", at: clock.now, domain: domid, vcpu });
    this.#host.notify(this.#bound[vcpu]!);
  }

  #fetch(at: number, control: number): Request {
    const { ioreqs } = this.#host;
    const request = this.#request;
    request.address = ioreqs.load32(at + FIELD.addr) + ioreqs.load32(at + FIELD.addr + 4) * 2 ** 32;
    request.data = ioreqs.load32(at + FIELD.data);
    if ((control & DATA_IS_PTR) !== 0) request.data += ioreqs.load32(at + FIELD.data + 4) * 2 ** 32;
    request.count = ioreqs.load32(at + FIELD.count);
    request.size = ioreqs.load32(at + FIELD.size);
    request.type = ioreqs.load8(at + FIELD.type);
    request.read = (control & DIR_READ) !== 0;
    request.pointer = (control & DATA_IS_PTR) !== 0;
    request.down = (control & DF) !== 0;
    return request;
  }

  #carryOut(request: Request): void {
    const { address, size, count, type, read, pointer, down } = request;
    const width = size as AccessWidth;
    if (!pointer) {
      if (read) request.data = this.#access(type, address, width);
      else this.#store(type, address, width, request.data);
      return;
    }
    const { memory } = this.#host;
    // The hypervisor asks for the data of one page at a time.
    const page = memory.page(request.data - (down ? (count - 1) * size : 0), count * size, read);
    const first = request.data % PAGE_SIZE;
    if (page !== undefined && type === R.IOREQ_TYPE_PIO && !down) {
      this.#moveString(request, page, first);
      return;
    }
    for (let index = 0; index < count; index++) {
      const step = (down ? -index : index) * size;
      // Ports stay, memory moves on with the data (Xen: REP MOVS to devices' memory).
      const place = type === R.IOREQ_TYPE_PIO ? address : address + step;
      if (page !== undefined) {
        if (read) page.store(first + step, width, this.#access(type, place, width));
        else this.#store(type, place, width, page.load(first + step, width));
      } else if (read) memory.write(request.data + step, encode(this.#access(type, place, width), size));
      else this.#store(type, place, width, decode(memory.read(request.data + step, size)));
    }
  }

  /** Data of string instructions that move upwards in one page, which is how drivers fill and empty their devices' data ports. */
  #moveString({ address, size, count, read }: Request, page: SharedPage, first: number): void {
    const width = size as AccessWidth;
    if (!read) {
      this.#ports.writeString(address, width, page.view(first, count * size));
      return;
    }
    const bytes = this.#string.subarray(0, count * size);
    this.#ports.readString(address, width, bytes);
    page.write(first, bytes);
  }

  #access(type: number, address: number, width: AccessWidth): number {
    return type === R.IOREQ_TYPE_COPY ? this.#mmio.read(address, width) : this.#ports.read(address, width);
  }

  #store(type: number, address: number, width: AccessWidth, value: number): void {
    if (type === R.IOREQ_TYPE_COPY) this.#mmio.write(address, width, value);
    else this.#ports.write(address, width, value);
  }

  /** Takes the writes that nobody waits for. */
  #drain(): void {
    const page = this.#host.bufferedIoreqs;
    const written = page.load32(BUFFERED_RING.write);
    let next = page.load32(BUFFERED_RING.read);
    const waiting = slotsBetween(next, written);
    // More than the ring holds is nonsense, and none of it is taken.
    for (let left = waiting <= R.IOREQ_BUFFER_SLOT_NUM ? waiting : 0; left > 0; left--) {
      const slot = BUFFERED_RING.slots + (next % R.IOREQ_BUFFER_SLOT_NUM) * BUFFERED_RING.slotSize;
      const { type, size, address } = decodeBuffered(page.load32(slot));
      const data = page.load32(slot + 4);
      if (size <= 4) this.#store(type, address, size as AccessWidth, data);
      next = nextPointer(next);
    }
    if (waiting > 0) page.store32(BUFFERED_RING.read, next);
  }

  save(): DeviceModelState {
    return { ports: [...this.#bound], bufferedPort: this.#bufferedBound };
  }

  load(state: DeviceModelState): void {
    this.#bound = [...state.ports];
    this.#bufferedBound = state.bufferedPort;
    for (const [vcpu, port] of this.#bound.entries()) this.#host.adopt(port, () => this.#serve(vcpu));
    this.#host.adopt(this.#bufferedBound, () => this.#drain());
  }
}

/** Why a request is nonsense; undefined when it is none. */
function refusal({ type, size, count, address, pointer }: Request): string | undefined {
  if (type !== R.IOREQ_TYPE_PIO && type !== R.IOREQ_TYPE_COPY) return `type ${type}`;
  if (size !== 1 && size !== 2 && size !== 4) return `${size} bytes wide`;
  if (count < 1 || count > MAX_COUNT || (count > 1 && !pointer)) return `${count} times`;
  if (type === R.IOREQ_TYPE_PIO && address > MAX_PORT) return `port 0x${address.toString(16)}`;
  return undefined;
}

function encode(value: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let index = 0; index < size; index++) bytes[index] = (value >>> (8 * index)) & 0xff;
  return bytes;
}

/** What is read where no memory is has all bits set. */
function decode(bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return ALL_ONES;
  let value = 0;
  for (const [index, byte] of bytes.entries()) value |= byte << (8 * index);
  return value >>> 0;
}
