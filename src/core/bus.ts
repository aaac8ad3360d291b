// Part: the port and memory-mapped I/O buses.
// Devices own ranges that never overlap. Where nobody answers, reads give all ones and writes vanish, as on an ISA bus
// whose data lines are pulled up. An access that straddles two ranges is split into bytes, also as on ISA.
// Not modelled: ranges that move after registration, subtractive decoding, wait states.

import { InputError } from "./errors.ts";

/** Bytes of one access. */
export type AccessWidth = 1 | 2 | 4;

/** What a bus talks to. Offsets count from the start of the registered range; values are unsigned and `width` bytes long. */
export interface BusDevice {
  readonly name: string;
  read(offset: number, width: AccessWidth): number;
  write(offset: number, width: AccessWidth, value: number): void;
  /**
   * Devices that take long strings may carry out many accesses at one offset at once, their data one after another in `bytes`. They give the
   * bytes that they have moved, whole accesses from the start on; 0 when they want the next access by itself.
   */
  readBlock?(offset: number, width: AccessWidth, bytes: Uint8Array): number;
  writeBlock?(offset: number, width: AccessWidth, bytes: Uint8Array): number;
}

interface Range {
  readonly device: BusDevice;
  readonly first: number;
  readonly last: number;
}

abstract class Bus {
  readonly #kind: string;
  readonly #addressEnd: number;

  /** @param addressEnd one past the highest address */
  constructor(kind: string, addressEnd: number) {
    this.#kind = kind;
    this.#addressEnd = addressEnd;
  }

  /** The range that owns an address; addresses past the end of the bus have no owner. */
  protected abstract find(address: number): Range | undefined;
  protected abstract overlapping(first: number, last: number): Range | undefined;
  protected abstract insert(range: Range): void;

  /**
   * Gives `length` addresses from `first` on to a device; one device may own several ranges.
   * @throws InputError when the range is empty, leaves the bus or overlaps another
   */
  register(first: number, length: number, device: BusDevice): void {
    const last = first + length - 1;
    const context = `${device.name} at ${this.#kind} ${hex(first)}..${hex(last)}`;
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(length) || first < 0 || length < 1) {
      throw new InputError("not a range", context);
    }
    if (last >= this.#addressEnd) throw new InputError(`the bus ends at ${hex(this.#addressEnd - 1)}`, context);
    const other = this.overlapping(first, last);
    if (other !== undefined) {
      throw new InputError(`overlaps ${other.device.name} at ${hex(other.first)}..${hex(other.last)}`, context);
    }
    this.insert({ device, first, last });
  }

  /** Whether one device answers the whole access. */
  owns(address: number, width: AccessWidth): boolean {
    const range = this.find(address);
    return range !== undefined && address + width - 1 <= range.last;
  }

  read(address: number, width: AccessWidth): number {
    const range = this.find(address);
    if (range !== undefined && address + width - 1 <= range.last) {
      return range.device.read(address - range.first, width) >>> 0;
    }
    let value = 0;
    for (let index = 0; index < width; index++) {
      const owner = this.find(address + index);
      const byte = owner === undefined ? 0xff : owner.device.read(address + index - owner.first, 1) & 0xff;
      value |= byte << (8 * index);
    }
    return value >>> 0;
  }

  write(address: number, width: AccessWidth, value: number): void {
    const range = this.find(address);
    if (range !== undefined && address + width - 1 <= range.last) {
      range.device.write(address - range.first, width, value);
      return;
    }
    for (let index = 0; index < width; index++) {
      const owner = this.find(address + index);
      owner?.device.write(address + index - owner.first, 1, (value >>> (8 * index)) & 0xff);
    }
  }

  /** One access after another at the same address, until `bytes`, a whole number of them, are full. */
  readString(address: number, width: AccessWidth, bytes: Uint8Array): void {
    const range = this.owns(address, width) ? this.find(address) : undefined;
    for (let done = 0; done < bytes.length; ) {
      const moved = range?.device.readBlock?.(address - range.first, width, bytes.subarray(done)) ?? 0;
      if (moved === 0) {
        const value = this.read(address, width);
        for (let index = 0; index < width; index++) bytes[done + index] = value >>> (8 * index);
      }
      done += moved === 0 ? width : moved;
    }
  }

  /** The same with writes. */
  writeString(address: number, width: AccessWidth, bytes: Uint8Array): void {
    const range = this.owns(address, width) ? this.find(address) : undefined;
    for (let done = 0; done < bytes.length; ) {
      const moved = range?.device.writeBlock?.(address - range.first, width, bytes.subarray(done)) ?? 0;
      if (moved === 0) {
        let value = 0;
        for (let index = 0; index < width; index++) value |= bytes[done + index]! << (8 * index);
        this.write(address, width, value >>> 0);
      }
      done += moved === 0 ? width : moved;
    }
  }
}

const PORT_COUNT = 0x1_0000;

/** The 65,536 I/O ports. */
export class PortBus extends Bus {
  /** For each port the index of its range in `#ranges`; index 0 is no range. */
  readonly #owner = new Uint16Array(PORT_COUNT);
  readonly #ranges: (Range | undefined)[] = [undefined];

  constructor() {
    super("port", PORT_COUNT);
  }

  protected override find(port: number): Range | undefined {
    return this.#ranges[this.#owner[port] ?? 0];
  }

  protected override overlapping(first: number, last: number): Range | undefined {
    const owned = this.#owner.subarray(first, last + 1).find((index) => index !== 0);
    return owned === undefined ? undefined : this.#ranges[owned];
  }

  protected override insert(range: Range): void {
    this.#owner.fill(this.#ranges.push(range) - 1, range.first, range.last + 1);
  }
}

/** Physical address bits of the processor that ringback models (CPUID leaf 0x80000008 reports at most 52). */
const PHYSICAL_ADDRESS_END = 2 ** 52;

/** Memory-mapped I/O in the guest-physical address space. */
export class MmioBus extends Bus {
  /** Sorted by address. */
  readonly #ranges: Range[] = [];

  constructor() {
    super("address", PHYSICAL_ADDRESS_END);
  }

  protected override find(address: number): Range | undefined {
    const range = this.#ranges[this.#countUpTo(address) - 1];
    return range !== undefined && address <= range.last ? range : undefined;
  }

  protected override overlapping(first: number, last: number): Range | undefined {
    const range = this.#ranges[this.#countUpTo(last) - 1];
    return range !== undefined && range.last >= first ? range : undefined;
  }

  protected override insert(range: Range): void {
    this.#ranges.splice(this.#countUpTo(range.first), 0, range);
  }

  /** How many ranges start at or below an address. */
  #countUpTo(address: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]!.first <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
