// Part: a DHCP server (RFC 2131, RFC 2132) that also tells a boot file, as network boot programs ask. Leases never end: the virtual day is short.
// Answered: DISCOVER, REQUEST, INFORM, RELEASE, DECLINE. Not modelled: relay agents, BOOTP clients without a message type.

import { InputError } from "../../core/errors.ts";
import type { Snapshotable } from "../../core/snapshot.ts";
import { formatAddress } from "./ethernet.ts";
import type { Host, UdpService } from "./host.ts";
import { type Datagram, formatIpv4, LIMITED_BROADCAST, parseIpv4 } from "./ipv4.ts";

const SERVER_PORT = 67;
const CLIENT_PORT = 68;

/** Fields of a message (RFC 2131 section 2) by their offsets. */
const FIELD = {
  op: 0,
  xid: 4,
  flags: 10,
  ciaddr: 12,
  yiaddr: 16,
  siaddr: 20,
  chaddr: 28,
  file: 108,
  cookie: 236,
  options: 240,
};
const FILE_SIZE = 128;
const MAGIC_COOKIE = 0x6382_5363;
/** The least that every client takes (RFC 2131 section 2, 576 bytes with IP and UDP headers). */
const MAX_MESSAGE = 548;
const REQUEST = 1;
const REPLY = 2;

/** Message types (RFC 2132 section 9.6). */
export const DHCP = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const;

/** Options (RFC 2132). */
export const OPTION = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  DNS: 6,
  REQUESTED_IP: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER_ID: 54,
  TFTP_SERVER: 66,
  BOOT_FILE: 67,
  END: 255,
} as const;

export interface DhcpOptions {
  /** The first address to give away, and how many. */
  readonly first: string;
  readonly count: number;
  readonly netmask: string;
  readonly router?: string;
  readonly dns?: string;
  readonly leaseSeconds: number;
  /** Where the boot file is fetched from by TFTP, and its name. */
  readonly nextServer?: string;
  readonly bootFile?: string;
}

export interface DhcpState {
  /** Who has each address of the range; null: free. "declined" is never given away again. */
  leases: (string | null)[];
}

/** Addresses that one server gives away: a class C network. */
const MAX_LEASES = 254;

export class DhcpServer implements UdpService, Snapshotable<DhcpState> {
  readonly #options: DhcpOptions;
  readonly #first: number;
  #leases: (string | null)[];

  /** @throws InputError on an address, a count or a file name that is none */
  constructor(options: DhcpOptions) {
    const { first, count, netmask, router, dns, nextServer, bootFile } = options;
    this.#first = parseIpv4(first);
    for (const address of [netmask, router, dns, nextServer]) if (address !== undefined) parseIpv4(address);
    if (!Number.isInteger(count) || count < 1 || count > MAX_LEASES) {
      throw new InputError(`${count} addresses, not from 1 to ${MAX_LEASES}`, "DHCP server");
    }
    if (bootFile !== undefined && !/^[\x20-\x7e]{1,127}$/.test(bootFile)) {
      throw new InputError("not a file name of up to 127 ASCII characters", `DHCP server, ${bootFile}`);
    }
    this.#options = options;
    this.#leases = Array.from({ length: count }, () => null);
  }

  handles(port: number): boolean {
    return port === SERVER_PORT;
  }

  receive({ payload }: Datagram, host: Host): void {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    if (payload.length < FIELD.options || payload[FIELD.op] !== REQUEST) return;
    // Hardware type Ethernet with addresses of six bytes.
    if (payload[1] !== 1 || payload[2] !== 6 || view.getUint32(FIELD.cookie) !== MAGIC_COOKIE) return;
    const options = decodeOptions(payload.subarray(FIELD.options));
    const serverId = addressOption(options, OPTION.SERVER_ID);
    const isOurs = serverId === undefined || serverId === host.ip;
    const client = formatAddress(payload.subarray(FIELD.chaddr, FIELD.chaddr + 6));
    const held = view.getUint32(FIELD.ciaddr);
    const wanted = addressOption(options, OPTION.REQUESTED_IP) ?? (held === 0 ? undefined : formatIpv4(held));
    switch (options.get(OPTION.MESSAGE_TYPE)?.[0]) {
      case DHCP.DISCOVER: {
        const offered = this.#leaseFor(client, wanted);
        if (offered !== undefined) this.#reply(host, payload, DHCP.OFFER, offered);
        break;
      }
      case DHCP.REQUEST: {
        if (!isOurs) break;
        const leased = this.#leaseFor(client, wanted);
        if (leased !== undefined && leased === wanted) this.#reply(host, payload, DHCP.ACK, leased);
        else this.#reply(host, payload, DHCP.NAK, undefined);
        break;
      }
      case DHCP.INFORM:
        this.#reply(host, payload, DHCP.ACK, undefined);
        break;
      case DHCP.RELEASE:
        this.#give(client, null);
        break;
      case DHCP.DECLINE:
        this.#give(client, "declined");
        break;
      default:
        break;
    }
  }

  /** The client's address: what it has, else what it wants and is free, else the first that is free. */
  #leaseFor(client: string, wanted: string | undefined): string | undefined {
    let index = this.#leases.indexOf(client);
    if (index === -1 && wanted !== undefined) {
      const asked = parseIpv4(wanted) - this.#first;
      if (this.#leases[asked] === null) index = asked;
    }
    if (index === -1) index = this.#leases.indexOf(null);
    if (index === -1) return undefined;
    this.#leases[index] = client;
    return formatIpv4(this.#first + index);
  }

  #give(client: string, to: string | null): void {
    const index = this.#leases.indexOf(client);
    if (index !== -1) this.#leases[index] = to;
  }

  #reply(host: Host, request: Uint8Array, type: number, leased: string | undefined): void {
    const { netmask, router, dns, leaseSeconds, nextServer, bootFile } = this.#options;
    const bytes = new Uint8Array(MAX_MESSAGE);
    const view = new DataView(bytes.buffer);
    bytes.set(request.subarray(0, FIELD.options));
    bytes.fill(0, FIELD.ciaddr, FIELD.chaddr);
    bytes.fill(0, FIELD.chaddr + 16, FIELD.cookie);
    bytes[FIELD.op] = REPLY;
    bytes[3] = 0;
    const held = formatIpv4(new DataView(request.buffer, request.byteOffset).getUint32(FIELD.ciaddr));
    const options: [number, Uint8Array][] = [
      [OPTION.MESSAGE_TYPE, Uint8Array.of(type)],
      [OPTION.SERVER_ID, addressBytes(host.ip)],
    ];
    if (type !== DHCP.NAK) {
      view.setUint32(FIELD.ciaddr, parseIpv4(held));
      if (leased !== undefined) {
        view.setUint32(FIELD.yiaddr, parseIpv4(leased));
        const seconds = new Uint8Array(4);
        new DataView(seconds.buffer).setUint32(0, leaseSeconds);
        options.push([OPTION.LEASE_TIME, seconds]);
      }
      options.push([OPTION.SUBNET_MASK, addressBytes(netmask)]);
      if (router !== undefined) options.push([OPTION.ROUTER, addressBytes(router)]);
      if (dns !== undefined) options.push([OPTION.DNS, addressBytes(dns)]);
      if (nextServer !== undefined) view.setUint32(FIELD.siaddr, parseIpv4(nextServer));
      if (bootFile !== undefined) {
        const name = new TextEncoder().encode(bootFile);
        bytes.set(name.subarray(0, FILE_SIZE), FIELD.file);
        options.push([OPTION.BOOT_FILE, name]);
        if (nextServer !== undefined) options.push([OPTION.TFTP_SERVER, new TextEncoder().encode(nextServer)]);
      }
    }
    let at = FIELD.options;
    for (const [code, value] of options) {
      bytes.set([code, value.length, ...value], at);
      at += 2 + value.length;
    }
    bytes[at] = OPTION.END;
    // A client without an address hears broadcasts only; one that holds an address and is content with it hears its own.
    const destination = held === "0.0.0.0" || type === DHCP.NAK ? LIMITED_BROADCAST : held;
    host.sendUdp(destination, CLIENT_PORT, SERVER_PORT, bytes);
  }

  save(): DhcpState {
    return { leases: [...this.#leases] };
  }

  /** @throws InputError when the snapshot is of another range */
  load({ leases }: DhcpState): void {
    if (leases.length !== this.#leases.length)
      throw new InputError(`${leases.length} leases`, "snapshot of a DHCP server");
    this.#leases = [...leases];
  }
}

/** The options up to the end or to where they are damaged; of one that comes twice the first counts. */
export function decodeOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at < bytes.length && bytes[at] !== OPTION.END; ) {
    const code = bytes[at]!;
    if (code === OPTION.PAD) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (at + 2 + length > bytes.length) break;
    if (!options.has(code)) options.set(code, bytes.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}

/** The type of a message; undefined when the bytes are no DHCP. */
export function dhcpMessageType(payload: Uint8Array): number | undefined {
  if (payload.length < FIELD.options) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (view.getUint32(FIELD.cookie) !== MAGIC_COOKIE) return undefined;
  return decodeOptions(payload.subarray(FIELD.options)).get(OPTION.MESSAGE_TYPE)?.[0];
}

function addressOption(options: ReadonlyMap<number, Uint8Array>, code: number): string | undefined {
  const value = options.get(code);
  return value?.length === 4 ? value.join(".") : undefined;
}

function addressBytes(address: string): Uint8Array {
  return Uint8Array.from(address.split("."), Number);
}
