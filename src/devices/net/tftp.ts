// Part: a TFTP server for reading (RFC 1350), with the options blksize (RFC 2348), tsize and timeout (RFC 2349). Files are given by the scenario.
// Not modelled: netascii's translation (files are sent as they are), writing, windowsize.

import type { Alarm, Clock } from "../../core/clock.ts";
import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { type Nanoseconds, NS_PER_SECOND } from "../../core/units.ts";
import type { Host, UdpService } from "./host.ts";
import type { Datagram } from "./ipv4.ts";

const PORT = 69;
const OPCODE = { RRQ: 1, WRQ: 2, DATA: 3, ACK: 4, ERROR: 5, OACK: 6 } as const;
const ERROR = {
  NOT_FOUND: { code: 1, text: "File not found" },
  ACCESS: { code: 2, text: "Access violation" },
  ILLEGAL: { code: 4, text: "Illegal TFTP operation" },
  UNKNOWN_ID: { code: 5, text: "Unknown transfer ID" },
  BUSY: { code: 0, text: "Too many transfers" },
} as const;

const DEFAULT_BLOCK = 512;
const MIN_BLOCK = 8;
/** A block with TFTP, UDP and IP headers in one Ethernet frame. */
const MAX_BLOCK = 1468;
const DEFAULT_TIMEOUT_NS = NS_PER_SECOND;
/** A packet is sent so often before the server gives the transfer up. */
const MAX_TRIES = 5;
/** Transfers at once; a guest that forgets its own is not to fill the memory. */
const MAX_TRANSFERS = 16;
/** Transfers have ports of their own from here on (RFC 1350 section 4; RFC 6335's dynamic ports), used one after another. */
const FIRST_PORT = 49_152;
const PORTS = 16_384;
/** Options of one request that are looked at. */
const MAX_OPTIONS = 8;

interface Transfer {
  port: number;
  client: string;
  clientPort: number;
  file: string;
  blockSize: number;
  /** Nothing has been acknowledged yet. */
  isFirst: boolean;
  /** The block that waits for its acknowledgement; 0 is the option acknowledgement. */
  block: number;
  /** The option acknowledgement; empty when no option was asked for. */
  options: Uint8Array;
  timeoutNs: Nanoseconds;
  dueNs: Nanoseconds;
  tries: number;
}

export interface TftpState {
  nextPort: number;
  transfers: Transfer[];
}

export class TftpServer implements UdpService, Snapshotable<TftpState> {
  readonly #clock: Clock;
  readonly #host: Host;
  readonly #files: ReadonlyMap<string, Uint8Array>;
  readonly #alarm: Alarm;
  #nextPort = 0;
  #transfers: Transfer[] = [];

  /** @param files by their names, without a slash in front */
  constructor(clock: Clock, host: Host, files: ReadonlyMap<string, Uint8Array>) {
    this.#clock = clock;
    this.#host = host;
    this.#files = files;
    this.#alarm = clock.alarm(`${host.name} tftp`, () => this.#repeat());
  }

  handles(port: number): boolean {
    return port === PORT || (port >= FIRST_PORT && port < FIRST_PORT + PORTS);
  }

  receive(datagram: Datagram): void {
    const { payload, source, sourcePort, destinationPort } = datagram;
    if (payload.length < 4) return;
    const opcode = (payload[0]! << 8) | payload[1]!;
    if (destinationPort === PORT) {
      if (opcode === OPCODE.RRQ) this.#request(datagram);
      else if (opcode === OPCODE.WRQ) this.#error(source, sourcePort, PORT, ERROR.ACCESS);
      else if (opcode !== OPCODE.ERROR) this.#error(source, sourcePort, PORT, ERROR.ILLEGAL);
      return;
    }
    const transfer = this.#transfers.find(({ port }) => port === destinationPort);
    if (transfer === undefined || transfer.client !== source || transfer.clientPort !== sourcePort) {
      if (opcode !== OPCODE.ERROR) this.#error(source, sourcePort, destinationPort, ERROR.UNKNOWN_ID);
    } else if (opcode === OPCODE.ACK) this.#acknowledge(transfer, (payload[2]! << 8) | payload[3]!);
    else {
      if (opcode !== OPCODE.ERROR) this.#error(source, sourcePort, destinationPort, ERROR.ILLEGAL);
      this.#close(transfer);
    }
  }

  #request({ payload, source, sourcePort }: Datagram): void {
    const fields = new TextDecoder("latin1").decode(payload.subarray(2)).split("\0");
    const [name = "", mode = ""] = fields;
    const file = name.replace(/^\/+/, "");
    const bytes = this.#files.get(file);
    // Every field ends with a zero byte, so the last one is empty.
    if (fields.length < 3 || fields.at(-1) !== "" || !/^(octet|netascii)$/i.test(mode)) {
      this.#error(source, sourcePort, PORT, ERROR.ILLEGAL);
    } else if (bytes === undefined) this.#error(source, sourcePort, PORT, ERROR.NOT_FOUND);
    else {
      // A client that asks again before it acknowledged anything has not had the first packet, or its request was duplicated on the way.
      const again = this.#transfers.find(
        (other) => other.client === source && other.clientPort === sourcePort && other.file === file && other.isFirst,
      );
      if (again !== undefined) this.#send(again);
      else if (this.#transfers.length >= MAX_TRANSFERS) this.#error(source, sourcePort, PORT, ERROR.BUSY);
      else this.#open(source, sourcePort, file, bytes.length, fields.slice(2, 2 + 2 * MAX_OPTIONS));
    }
  }

  #open(client: string, clientPort: number, file: string, size: number, asked: readonly string[]): void {
    let blockSize = DEFAULT_BLOCK;
    let timeoutNs = DEFAULT_TIMEOUT_NS;
    let granted = "";
    for (let index = 0; index + 1 < asked.length; index += 2) {
      const option = asked[index]!.toLowerCase();
      const value = /^\d{1,9}$/.test(asked[index + 1]!) ? Number(asked[index + 1]) : -1;
      if (option === "blksize" && value >= MIN_BLOCK) {
        blockSize = Math.min(value, MAX_BLOCK);
        granted += `blksize\0${blockSize}\0`;
      } else if (option === "tsize" && value >= 0) granted += `tsize\0${size}\0`;
      else if (option === "timeout" && value >= 1 && value <= 255) {
        timeoutNs = value * NS_PER_SECOND;
        granted += `timeout\0${value}\0`;
      }
    }
    const transfer: Transfer = {
      port: FIRST_PORT + this.#nextPort,
      client,
      clientPort,
      file,
      blockSize,
      isFirst: true,
      block: granted === "" ? 1 : 0,
      options: new TextEncoder().encode(granted),
      timeoutNs,
      dueNs: 0,
      tries: 0,
    };
    this.#nextPort = (this.#nextPort + 1) % PORTS;
    this.#transfers.push(transfer);
    this.#send(transfer);
  }

  #acknowledge(transfer: Transfer, number: number): void {
    // An acknowledgement of an earlier block is not answered: it would double every packet from there on (RFC 1123 section 4.2.3.1).
    if (number !== (transfer.block & 0xffff)) return;
    const size = this.#files.get(transfer.file)!.length;
    if (transfer.block > 0 && transfer.block * transfer.blockSize > size) {
      this.#close(transfer);
      return;
    }
    transfer.block++;
    transfer.isFirst = false;
    transfer.tries = 0;
    this.#send(transfer);
  }

  #send(transfer: Transfer): void {
    const { block, blockSize, file, client, clientPort, port, options } = transfer;
    const from = (block - 1) * blockSize;
    const packet =
      block === 0
        ? Uint8Array.of(0, OPCODE.OACK, ...options)
        : Uint8Array.of(0, OPCODE.DATA, block >> 8, block, ...this.#files.get(file)!.subarray(from, from + blockSize));
    transfer.tries++;
    transfer.dueNs = this.#clock.now + transfer.timeoutNs;
    this.#host.sendUdp(client, clientPort, port, packet);
    this.#arm();
  }

  /** Sends again what has waited too long, one transfer at a time. */
  #repeat(): void {
    const late = this.#transfers.find(({ dueNs }) => dueNs <= this.#clock.now);
    if (late !== undefined && late.tries < MAX_TRIES) this.#send(late);
    else if (late !== undefined) this.#close(late);
  }

  #close(transfer: Transfer): void {
    this.#transfers = this.#transfers.filter((other) => other !== transfer);
    this.#arm();
  }

  #arm(): void {
    if (this.#transfers.length === 0) this.#alarm.cancel();
    else this.#alarm.set(Math.min(...this.#transfers.map(({ dueNs }) => dueNs)));
  }

  #error(client: string, clientPort: number, port: number, { code, text }: { code: number; text: string }): void {
    this.#host.sendUdp(
      client,
      clientPort,
      port,
      Uint8Array.of(0, OPCODE.ERROR, 0, code, ...new TextEncoder().encode(`${text}\0`)),
    );
  }

  save(): TftpState {
    return { nextPort: this.#nextPort, transfers: this.#transfers.map(copy) };
  }

  /** @throws InputError when a transfer is of a file that this server does not have */
  load({ nextPort, transfers }: TftpState): void {
    const unknown = transfers.find(({ file }) => !this.#files.has(file));
    if (unknown !== undefined || transfers.length > MAX_TRANSFERS) {
      throw new InputError(`transfers of other files`, `snapshot of ${this.#host.name} tftp`);
    }
    this.#nextPort = nextPort;
    this.#transfers = transfers.map(copy);
  }
}

function copy(transfer: Transfer): Transfer {
  return { ...transfer, options: transfer.options.slice() };
}

/** What a packet says: its opcode's name, and of a request the file's; undefined when it is no TFTP. */
export function tftpMessage(payload: Uint8Array): { readonly name: string; readonly file?: Uint8Array } | undefined {
  const opcode = payload.length < 4 ? 0 : (payload[0]! << 8) | payload[1]!;
  const name = Object.entries(OPCODE).find(([, number]) => number === opcode)?.[0];
  if (name === undefined) return undefined;
  const end = payload.indexOf(0, 2);
  const isRequest = (opcode === OPCODE.RRQ || opcode === OPCODE.WRQ) && end >= 0;
  return isRequest ? { name, file: payload.slice(2, end) } : { name };
}
