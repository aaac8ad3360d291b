// Part: IPv4 (RFC 791), UDP (RFC 768) and ICMP echo (RFC 792) as bytes. Options are skipped; fragments are not put together, since nothing that hosts
// here speak needs them: they do not decode.

import { InputError } from "../../core/errors.ts";

export const PROTOCOL = { ICMP: 1, UDP: 17 } as const;
const HEADER_SIZE = 20;
const UDP_HEADER_SIZE = 8;
const TIME_TO_LIVE = 64;
/** More-fragments flag and fragment offset. */
const FRAGMENT_MASK = 0x3fff;

export const LIMITED_BROADCAST = "255.255.255.255";

/** Addresses as `10.0.2.15`. */
export interface Ipv4Packet {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly payload: Uint8Array;
}

export interface Datagram {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

/** The address as a 32-bit number. @throws InputError unless the text is four numbers up to 255 with points between them */
export function parseIpv4(text: string): number {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) {
    throw new InputError("not an IPv4 address", text);
  }
  return parts.reduce((value, part) => value * 256 + Number(part), 0);
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

/** The Internet checksum (RFC 1071) over all parts, each but the last of even length. */
export function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let index = 0; index < part.length; index += 2) sum += (part[index]! << 8) | (part[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function encodeIpv4({ source, destination, protocol, payload }: Ipv4Packet): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  const view = viewOf(bytes);
  view.setUint8(0, 0x45);
  view.setUint16(2, bytes.length);
  view.setUint8(8, TIME_TO_LIVE);
  view.setUint8(9, protocol);
  view.setUint32(12, parseIpv4(source));
  view.setUint32(16, parseIpv4(destination));
  view.setUint16(10, checksum(bytes.subarray(0, HEADER_SIZE)));
  bytes.set(payload, HEADER_SIZE);
  return bytes;
}

/** Takes a packet apart, without the padding behind it; undefined when it is damaged or a fragment. */
export function decodeIpv4(bytes: Uint8Array): Ipv4Packet | undefined {
  if (bytes.length < HEADER_SIZE || bytes[0]! >> 4 !== 4) return undefined;
  const view = viewOf(bytes);
  const headerSize = (bytes[0]! & 15) * 4;
  const total = view.getUint16(2);
  if (headerSize < HEADER_SIZE || total < headerSize || total > bytes.length) return undefined;
  if (checksum(bytes.subarray(0, headerSize)) !== 0 || (view.getUint16(6) & FRAGMENT_MASK) !== 0) return undefined;
  return {
    source: formatIpv4(view.getUint32(12)),
    destination: formatIpv4(view.getUint32(16)),
    protocol: view.getUint8(9),
    payload: bytes.slice(headerSize, total),
  };
}

function pseudoHeader(source: string, destination: string, length: number): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = viewOf(bytes);
  view.setUint32(0, parseIpv4(source));
  view.setUint32(4, parseIpv4(destination));
  view.setUint8(9, PROTOCOL.UDP);
  view.setUint16(10, length);
  return bytes;
}

export function encodeUdp({ source, sourcePort, destination, destinationPort, payload }: Datagram): Ipv4Packet {
  const bytes = new Uint8Array(UDP_HEADER_SIZE + payload.length);
  const view = viewOf(bytes);
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  view.setUint16(4, bytes.length);
  bytes.set(payload, UDP_HEADER_SIZE);
  // A sum of zero is sent as ones: zero means that there is none.
  view.setUint16(6, checksum(pseudoHeader(source, destination, bytes.length), bytes) || 0xffff);
  return { source, destination, protocol: PROTOCOL.UDP, payload: bytes };
}

/** Undefined when the packet is not UDP or damaged. */
export function decodeUdp({ source, destination, protocol, payload }: Ipv4Packet): Datagram | undefined {
  if (protocol !== PROTOCOL.UDP || payload.length < UDP_HEADER_SIZE) return undefined;
  const view = viewOf(payload);
  const length = view.getUint16(4);
  if (length < UDP_HEADER_SIZE || length > payload.length) return undefined;
  const bytes = payload.subarray(0, length);
  if (view.getUint16(6) !== 0 && checksum(pseudoHeader(source, destination, length), bytes) !== 0) return undefined;
  return {
    source,
    sourcePort: view.getUint16(0),
    destination,
    destinationPort: view.getUint16(2),
    payload: bytes.slice(UDP_HEADER_SIZE),
  };
}

export const ECHO_REPLY = 0;
export const ECHO_REQUEST = 8;

export interface Echo {
  readonly type: typeof ECHO_REPLY | typeof ECHO_REQUEST;
  readonly identifier: number;
  readonly sequence: number;
  readonly data: Uint8Array;
}

export function encodeEcho({ type, identifier, sequence, data }: Echo): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  const view = viewOf(bytes);
  view.setUint8(0, type);
  view.setUint16(4, identifier);
  view.setUint16(6, sequence);
  bytes.set(data, 8);
  view.setUint16(2, checksum(bytes));
  return bytes;
}

/** Undefined when the packet is no echo or damaged. */
export function decodeEcho({ protocol, payload }: Ipv4Packet): Echo | undefined {
  if (protocol !== PROTOCOL.ICMP || payload.length < 8 || checksum(payload) !== 0 || payload[1] !== 0) return undefined;
  const type = payload[0];
  if (type !== ECHO_REPLY && type !== ECHO_REQUEST) return undefined;
  const view = viewOf(payload);
  return { type, identifier: view.getUint16(4), sequence: view.getUint16(6), data: payload.slice(8) };
}
