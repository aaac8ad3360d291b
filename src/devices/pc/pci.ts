// Part: PCI bus 0 behind configuration mechanism #1 (PCI Local Bus Specification 2.1, section 3.7.4.1) and the I/O space of its functions.
// Ranges of ports move when the guest writes base address registers, so the bus owns all ports that functions may take and hands accesses on.
// Not modelled: type 1 cycles and bridges (buses other than 0 are empty), memory base address registers, special cycles.

import type { AccessWidth, BusDevice } from "../../core/bus.ts";
import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { copyState } from "./chip-state.ts";
import { PCI } from "./config-space.ts";

/** What sits on the bus; cards of other parts fit it as they are. */
export interface PciFunction {
  readonly name: string;
  /** @param offset 0 to 255; an access does not cross a double word */
  readConfig(offset: number, width: AccessWidth): number;
  writeConfig(offset: number, width: AccessWidth, value: number): void;
  /** The ports that it answers now. They move when the guest writes the configuration space. */
  ioRange(): { readonly first: number; readonly length: number } | undefined;
  /** What answers there. */
  readonly io: BusDevice;
  /** It is taken out of its slot: from here on it drives no wire. A function without is never taken out. */
  unplug?(): void;
}

/** 32 devices of 8 functions. */
const FUNCTION_COUNT = 256;
const ALL_ONES = 0xffff_ffff;
const ones = (width: AccessWidth): number => ALL_ONES >>> (32 - 8 * width);

/** CONFADD: enable, bus, device and function, register. */
const ENABLE = 0x8000_0000;
const CONFADD_MASK = 0x80ff_fffc;
const CONFIG_ADDRESS = 0;
/** PIIX3 turbo and reset control register at port CF9h (82371SB data sheet, section 2.5.9). */
const RESET_CONTROL = 1;
const RESET_CPU = 1 << 2;
const RESET_CONTROL_MASK = 0x0e;
const CONFIG_DATA = 4;

export interface PciBusState {
  address: number;
  resetControl: number;
  /** Places that functions were taken out of. */
  unplugged: number[];
}

export class PciBus implements Snapshotable<PciBusState> {
  readonly #functions: (PciFunction | undefined)[] = new Array(FUNCTION_COUNT).fill(undefined);
  readonly #resetMachine: () => void;
  /** For each port the place of the function that answers, plus one; for each place its first port. */
  readonly #owner = new Uint16Array(0x1_0000);
  readonly #base = new Uint32Array(FUNCTION_COUNT);
  /** `#owner` is of the functions as they are. */
  #decoded = false;
  #state: PciBusState = { address: 0, resetControl: 0, unplugged: [] };

  /** @param resetMachine called when port CF9h resets the machine */
  constructor(resetMachine: () => void) {
    this.#resetMachine = resetMachine;
  }

  /**
   * @param slot device number, 0 to 31
   * @throws InputError when the place is taken or does not exist
   */
  plug(slot: number, number: number, pciFunction: PciFunction): void {
    const place = slot * 8 + number;
    const exists =
      Number.isInteger(slot) && slot >= 0 && slot < 32 && Number.isInteger(number) && number >= 0 && number < 8;
    if (!exists || this.#functions[place] !== undefined) {
      throw new InputError(`00:${slot.toString(16)}.${number} is no free place on the PCI bus`, pciFunction.name);
    }
    this.#functions[place] = pciFunction;
    this.#decoded = false;
  }

  /** Takes out all functions of a class that can be. @param classCode base class and subclass (section 6.2.1) */
  unplug(classCode: number): void {
    for (const [place, target] of this.#functions.entries()) {
      if (target?.unplug === undefined || target.readConfig(PCI.CLASS + 1, 2) !== classCode) continue;
      if (this.#state.unplugged.includes(place)) continue;
      target.unplug();
      this.#state.unplugged.push(place);
      this.#decoded = false;
    }
  }

  #function(place: number): PciFunction | undefined {
    return this.#state.unplugged.includes(place) ? undefined : this.#functions[place];
  }

  /** Works out anew who answers which port. Where two functions claim a port, the lower number has it. */
  #decode(): void {
    if (this.#decoded) return;
    this.#decoded = true;
    this.#owner.fill(0);
    for (let place = FUNCTION_COUNT - 1; place >= 0; place--) {
      const range = this.#function(place)?.ioRange();
      if (range === undefined) continue;
      this.#base[place] = range.first;
      this.#owner.fill(place + 1, range.first, range.first + range.length);
    }
  }

  /** Ports CF8h to CFFh. */
  readonly config: BusDevice = {
    name: "PCI configuration",
    read: (offset, width) => {
      const { address, resetControl } = this.#state;
      if (offset === CONFIG_ADDRESS && width === 4) return address;
      if (offset === RESET_CONTROL && width === 1) return resetControl;
      if (offset < CONFIG_DATA) return ones(width);
      const target = this.#selected();
      return target === undefined ? ones(width) : target.readConfig((address & 0xfc) + offset - CONFIG_DATA, width);
    },
    write: (offset, width, value) => {
      const state = this.#state;
      if (offset === CONFIG_ADDRESS && width === 4) state.address = (value & CONFADD_MASK) >>> 0;
      else if (offset === RESET_CONTROL && width === 1) this.#resetControl(value & RESET_CONTROL_MASK);
      if (offset < CONFIG_DATA) return;
      const target = this.#selected();
      if (target === undefined) return;
      const before = target.ioRange();
      target.writeConfig((state.address & 0xfc) + offset - CONFIG_DATA, width, value);
      const after = target.ioRange();
      if (before?.first !== after?.first || before?.length !== after?.length) this.#decoded = false;
    },
  };

  #resetControl(value: number): void {
    const isRising = (value & ~this.#state.resetControl & RESET_CPU) !== 0;
    this.#state.resetControl = value;
    if (isRising) this.#resetMachine();
  }

  #selected(): PciFunction | undefined {
    const { address } = this.#state;
    const isBusZero = ((address >>> 16) & 0xff) === 0;
    return (address & ENABLE) !== 0 && isBusZero ? this.#function((address >>> 8) & 0xff) : undefined;
  }

  /** The ports from `first` on as functions answer them; reads of nobody's ports give all ones. */
  window(first: number): BusDevice {
    return {
      name: "PCI I/O space",
      read: (offset, width) => this.#readPort(first + offset, width),
      write: (offset, width, value) => this.#writePort(first + offset, width, value),
      readBlock: (offset, width, bytes) => {
        const owner = this.#ownerOf(first + offset, width);
        const port = first + offset - this.#base[owner - 1]!;
        return this.#functions[owner - 1]?.io.readBlock?.(port, width, bytes) ?? 0;
      },
      writeBlock: (offset, width, bytes) => {
        const owner = this.#ownerOf(first + offset, width);
        const port = first + offset - this.#base[owner - 1]!;
        return this.#functions[owner - 1]?.io.writeBlock?.(port, width, bytes) ?? 0;
      },
    };
  }

  /** One more than the place of the function that answers the whole access; 0 for none. */
  #ownerOf(port: number, width: AccessWidth): number {
    this.#decode();
    const owner = this.#owner[port]!;
    return owner === this.#owner[port + width - 1] ? owner : 0;
  }

  #readPort(port: number, width: AccessWidth): number {
    this.#decode();
    const owner = this.#owner[port]!;
    const last = this.#owner[port + width - 1];
    if (owner === last) {
      const target = this.#functions[owner - 1];
      return target === undefined ? ones(width) : target.io.read(port - this.#base[owner - 1]!, width) >>> 0;
    }
    let value = 0;
    for (let index = 0; index < width; index++) value |= this.#readPort(port + index, 1) << (8 * index);
    return value >>> 0;
  }

  #writePort(port: number, width: AccessWidth, value: number): void {
    this.#decode();
    const owner = this.#owner[port]!;
    if (owner === this.#owner[port + width - 1]) {
      const target = this.#functions[owner - 1];
      target?.io.write(port - this.#base[owner - 1]!, width, value);
      return;
    }
    for (let index = 0; index < width; index++) this.#writePort(port + index, 1, (value >>> (8 * index)) & 0xff);
  }

  save(): PciBusState {
    return copyState(this.#state);
  }

  /** The functions may be loaded before or afterwards. @throws InputError when a place is none that a function can be taken out of */
  load({ address, resetControl, unplugged }: PciBusState): void {
    if (!unplugged.every((place) => this.#functions[place]?.unplug !== undefined)) {
      throw new InputError("nothing can be taken out there", "snapshot of the PCI bus");
    }
    this.#state = {
      address: (address & CONFADD_MASK) >>> 0,
      resetControl: resetControl & RESET_CONTROL_MASK,
      unplugged: [...unplugged],
    };
    this.#decoded = false;
  }
}
