// Part: disk errors on demand: a layer that answers some operations with EIO instead of passing them on.

import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import type { Disk, DiskStatus } from "./disk.ts";
import { SECTOR_SIZE } from "./disk.ts";

const EIO = 5;

export interface DiskFault {
  /** Which operations fail. */
  readonly operation: "read" | "write" | "flush" | "discard";
  /** First sector and number of sectors (512 bytes) that are bad; the whole disk by default. */
  readonly sector?: number;
  readonly count?: number;
  /** One in so many of the operations that fit fails, drawn from the disk's random stream; 1, the default, fails them all. */
  readonly oneIn?: number;
  /** Failures after which the fault is gone; without it, it stays. */
  readonly times?: number;
}

export interface FaultyDiskState {
  /** How often each fault has struck. */
  struck: number[];
}

export class FaultyDisk implements Disk, Snapshotable<FaultyDiskState> {
  readonly #disk: Disk;
  readonly #faults: readonly DiskFault[];
  readonly #random: RandomStream;
  readonly #onFault: (detail: string) => void;
  #struck: number[];

  /** @param onFault told of every failure, as text */
  constructor(disk: Disk, faults: readonly DiskFault[], random: RandomStream, onFault: (detail: string) => void) {
    this.#disk = disk;
    this.#faults = faults;
    this.#random = random;
    this.#onFault = onFault;
    this.#struck = faults.map(() => 0);
  }

  get sectorCount(): number {
    return this.#disk.sectorCount;
  }

  read(sector: number, count: number): Uint8Array | DiskStatus {
    return this.#fails("read", sector, count) ? -EIO : this.#disk.read(sector, count);
  }

  write(sector: number, bytes: Uint8Array): DiskStatus {
    return this.#fails("write", sector, bytes.length / SECTOR_SIZE) ? -EIO : this.#disk.write(sector, bytes);
  }

  flush(): DiskStatus {
    return this.#fails("flush", 0, this.sectorCount) ? -EIO : this.#disk.flush();
  }

  discard(sector: number, count: number): DiskStatus {
    return this.#fails("discard", sector, count) ? -EIO : this.#disk.discard(sector, count);
  }

  #fails(operation: DiskFault["operation"], sector: number, count: number): boolean {
    for (const [index, fault] of this.#faults.entries()) {
      const first = fault.sector ?? 0;
      const end = fault.count === undefined ? this.sectorCount : first + fault.count;
      const struck = this.#struck[index] ?? 0;
      if (fault.operation !== operation || count === 0 || sector >= end || sector + count <= first) continue;
      if (fault.times !== undefined && struck >= fault.times) continue;
      if (!this.#random.chance(1, fault.oneIn ?? 1)) continue;
      this.#struck[index] = struck + 1;
      this.#onFault(`${operation} of ${count} sectors at ${sector}: EIO`);
      return true;
    }
    return false;
  }

  save(): FaultyDiskState {
    return { struck: [...this.#struck] };
  }

  /** @throws InputError when the snapshot is of other faults */
  load(state: FaultyDiskState): void {
    if (state.struck.length !== this.#faults.length) {
      throw new InputError(`${state.struck.length} faults, this disk has ${this.#faults.length}`, "snapshot of a disk");
    }
    this.#struck = [...state.struck];
  }
}
