// Part: what a front end leaves to the hardware (io/netif.h: NETTXF_csum_blank, XEN_NETIF_EXTRA_TYPE_GSO), done by the back end: TCP and UDP
// checksums over IPv4, and the segmentation of large TCP packets. Frames are bytes without check sequence. Not modelled: IPv6, VLAN tags,
// tunnels; the back end does not offer them.

import { HEADER_SIZE } from "../net/ethernet.ts";
import { checksum } from "../net/ipv4.ts";

const TCP = 6;
const UDP = 17;
/** Where the checksum stands in the header, by protocol. */
const CHECKSUM_AT: Readonly<Record<number, number>> = { [TCP]: 16, [UDP]: 6 };
const TCP_HEADER_SIZE = 20;
const FIN = 0x01;
const PSH = 0x08;
const CWR = 0x80;

/** Segments of one packet: 64 KiB in the smallest segments that every host has to take (RFC 9293 section 3.7.1: 536 bytes). */
export const MAX_SEGMENTS = 128;

/** TCP or UDP in IPv4, not fragmented. Offsets count from the frame's first byte. */
interface Transport {
  readonly protocol: number;
  readonly header: number;
  readonly end: number;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function transportOf(frame: Uint8Array): Transport | undefined {
  if (frame.length < HEADER_SIZE + 20) return undefined;
  const view = viewOf(frame);
  const version = frame[HEADER_SIZE]!;
  const header = HEADER_SIZE + (version & 15) * 4;
  const end = HEADER_SIZE + view.getUint16(HEADER_SIZE + 2);
  const protocol = frame[HEADER_SIZE + 9]!;
  const at = CHECKSUM_AT[protocol];
  const isWhole = (view.getUint16(HEADER_SIZE + 6) & 0x3fff) === 0;
  if (view.getUint16(12) !== 0x0800 || version >> 4 !== 4 || header < HEADER_SIZE + 20 || !isWhole) return undefined;
  if (at === undefined || end > frame.length || header + at + 2 > end) return undefined;
  return { protocol, header, end };
}

/** The sum over pseudo header, header and data (RFC 793, RFC 768). */
function sumOf(frame: Uint8Array, { protocol, header, end }: Transport): number {
  const pseudo = new Uint8Array(12);
  pseudo.set(frame.subarray(HEADER_SIZE + 12, HEADER_SIZE + 20));
  pseudo[9] = protocol;
  viewOf(pseudo).setUint16(10, end - header);
  return checksum(pseudo, frame.subarray(header, end));
}

function fill(frame: Uint8Array, transport: Transport): void {
  const view = viewOf(frame);
  const at = transport.header + CHECKSUM_AT[transport.protocol]!;
  view.setUint16(at, 0);
  // Of UDP a sum of zero is sent as ones: zero means that there is none.
  view.setUint16(at, sumOf(frame, transport) || (transport.protocol === UDP ? 0xffff : 0));
}

/** Fills in the checksum of a TCP or UDP packet; false for any other frame. */
export function fillChecksum(frame: Uint8Array): boolean {
  const transport = transportOf(frame);
  if (transport === undefined) return false;
  fill(frame, transport);
  return true;
}

/** Whether the frame holds TCP or UDP whose checksum is there and right. */
export function isValidated(frame: Uint8Array): boolean {
  const transport = transportOf(frame);
  if (transport === undefined) return false;
  const field = viewOf(frame).getUint16(transport.header + CHECKSUM_AT[transport.protocol]!);
  return (transport.protocol === TCP || field !== 0) && sumOf(frame, transport) === 0;
}

/**
 * Cuts a TCP packet into frames with at most `size` bytes of payload each: identification, length, sequence number and flags go on as the
 * packets' own sender would have them, checksums are made anew. Undefined when it is no TCP over IPv4, or makes more than MAX_SEGMENTS.
 */
export function segment(frame: Uint8Array, size: number): Uint8Array[] | undefined {
  const transport = transportOf(frame);
  if (transport?.protocol !== TCP || transport.header + TCP_HEADER_SIZE > transport.end) return undefined;
  const { header, end } = transport;
  const view = viewOf(frame);
  const data = header + (frame[header + 12]! >> 4) * 4;
  if (data < header + TCP_HEADER_SIZE || data > end || size < 1 || end - data > size * MAX_SEGMENTS) return undefined;
  const identification = view.getUint16(HEADER_SIZE + 4);
  const sequence = view.getUint32(header + 4);
  const flags = frame[header + 13]!;
  const segments: Uint8Array[] = [];
  for (let from = data; from < end || segments.length === 0; from += size) {
    const part = frame.subarray(from, Math.min(from + size, end));
    const bytes = new Uint8Array(data + part.length);
    bytes.set(frame.subarray(0, data));
    bytes.set(part, data);
    const out = viewOf(bytes);
    out.setUint16(HEADER_SIZE + 2, bytes.length - HEADER_SIZE);
    out.setUint16(HEADER_SIZE + 4, identification + segments.length);
    out.setUint16(HEADER_SIZE + 10, 0);
    out.setUint16(HEADER_SIZE + 10, checksum(bytes.subarray(HEADER_SIZE, header)));
    out.setUint32(header + 4, sequence + (from - data));
    const isLast = from + size >= end;
    bytes[header + 13] = flags & ~(segments.length === 0 ? 0 : CWR) & ~(isLast ? 0 : FIN | PSH);
    fill(bytes, { protocol: TCP, header, end: bytes.length });
    segments.push(bytes);
  }
  return segments;
}
