// Part: a learning bridge (IEEE 802.1Q-2018, sections 8.6 to 8.8): it keeps from which port a station was last heard, sends frames for it there and all
// others everywhere. Frames are stored before they are sent on. Not modelled: spanning tree, VLANs, flow control.

import type { Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { RandomStream } from "../../core/random.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { type Nanoseconds, NS_PER_SECOND } from "../../core/units.ts";
import { formatAddress, parseAddress } from "./ethernet.ts";
import type { Medium } from "./medium.ts";
import { Port, type PortState } from "./port.ts";

/** Stations that are remembered; the one not heard for longest goes. As in a small switch. */
const MAX_STATIONS = 1024;
/** The standard's default ageing time. */
const AGEING_NS = 300 * NS_PER_SECOND;

export interface SwitchState {
  ports: PortState[];
  /** The one heard last at the end. */
  stations: { address: string; port: number; heardNs: Nanoseconds }[];
}

export class Switch implements Snapshotable<SwitchState> {
  readonly name: string;
  readonly #clock: Clock;
  readonly #ports: readonly Port[];
  /** By address as a number; the one heard last at the end. */
  readonly #stations = new Map<number, { port: number; heardNs: Nanoseconds }>();
  /** The address heard last; −1 before the first. */
  #newest = -1;

  /** @param media one for each port; `random` is shared by the ports */
  constructor(name: string, wires: { readonly clock: Clock; readonly random: RandomStream }, media: readonly Medium[]) {
    this.name = name;
    this.#clock = wires.clock;
    this.#ports = media.map((medium, index) => {
      const receive = (frame: Uint8Array) => this.#forward(index, frame);
      return new Port(`${name} port ${index}`, { ...wires, medium, receive });
    });
  }

  #learn(source: number, port: number, heardNs: Nanoseconds): void {
    // Frames mostly come in runs from one station, which is at the end already.
    const newest = source === this.#newest ? this.#stations.get(source) : undefined;
    if (newest !== undefined) {
      newest.port = port;
      newest.heardNs = heardNs;
      return;
    }
    this.#newest = source;
    this.#stations.delete(source);
    this.#stations.set(source, { port, heardNs });
    if (this.#stations.size > MAX_STATIONS) this.#stations.delete(this.#stations.keys().next().value!);
  }

  #forward(from: number, frame: Uint8Array): void {
    const now = this.#clock.now;
    const source = addressNumber(frame, 6);
    if ((frame[6]! & 1) === 0) this.#learn(source, from, now);
    const known = this.#stations.get(addressNumber(frame, 0));
    if (known !== undefined && now - known.heardNs <= AGEING_NS) {
      if (known.port !== from) this.#ports[known.port]!.send(frame);
      return;
    }
    for (const [index, port] of this.#ports.entries()) if (index !== from) port.send(frame);
  }

  save(): SwitchState {
    return {
      ports: this.#ports.map((port) => port.save()),
      stations: Array.from(this.#stations, ([address, { port, heardNs }]) => ({
        address: formatAddress(Uint8Array.from({ length: 6 }, (_, byte) => address / 2 ** (40 - 8 * byte))),
        port,
        heardNs,
      })),
    };
  }

  /** @throws InputError when the snapshot is of another switch */
  load({ ports, stations }: SwitchState): void {
    const context = `snapshot of ${this.name}`;
    if (ports.length !== this.#ports.length) throw new InputError(`${ports.length} ports`, context);
    if (stations.length > MAX_STATIONS) throw new InputError(`${stations.length} stations`, context);
    if (stations.some(({ port }) => this.#ports[port] === undefined)) throw new InputError("no such port", context);
    for (const [index, port] of this.#ports.entries()) port.load(ports[index]!);
    this.#stations.clear();
    this.#newest = -1;
    for (const { address, port, heardNs } of stations) {
      this.#stations.set(addressNumber(parseAddress(address), 0), { port, heardNs });
    }
  }
}

/** The six bytes from `at` on as a number of 48 bits. */
function addressNumber(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
  return high * 0x100_0000 + ((bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!);
}
