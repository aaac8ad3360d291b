// Part: Ethernet frames (IEEE 802.3-2018, section 3.1.1) as bytes without preamble: addresses, type, payload, check sequence.

import { InputError } from "../../core/errors.ts";

const ADDRESS_SIZE = 6;
export const HEADER_SIZE = 14;
export const FCS_SIZE = 4;
/** minFrameSize and maxBasicFrameSize (IEEE 802.3 section 4.4.2), both with the check sequence. */
export const MIN_FRAME = 64;
export const MAX_FRAME = 1518;
/** Preamble and start-of-frame delimiter. */
export const PREAMBLE_SIZE = 8;

export const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** Ethernet II types. */
export const ETHER_TYPE = { IPV4: 0x0800, ARP: 0x0806 } as const;

/** A frame taken apart. Addresses as `52:54:00:12:34:56`, in lower case. */
export interface Frame {
  readonly destination: string;
  readonly source: string;
  readonly etherType: number;
  /** With whatever padding the frame had. */
  readonly payload: Uint8Array;
}

/** Six bytes in hexadecimal with colons between them. */
export function isAddress(text: string): boolean {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text);
}

/** @throws InputError unless the text is an address */
export function parseAddress(text: string): Uint8Array {
  if (!isAddress(text)) throw new InputError("not an Ethernet address", text);
  return Uint8Array.from(text.split(":"), (byte) => Number.parseInt(byte, 16));
}

export function formatAddress(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** A frame with its check sequence; the payload is padded to the least length. */
export function encodeFrame({ destination, source, etherType, payload }: Frame): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + payload.length);
  bytes.set(parseAddress(destination), 0);
  bytes.set(parseAddress(source), ADDRESS_SIZE);
  bytes[12] = etherType >> 8;
  bytes[13] = etherType;
  bytes.set(payload, HEADER_SIZE);
  return withCheckSequence(bytes, MIN_FRAME);
}

/** Takes a frame with its check sequence apart; undefined when it is too short to be one. The check sequence is not looked at. */
export function decodeFrame(bytes: Uint8Array): Frame | undefined {
  if (bytes.length < HEADER_SIZE + FCS_SIZE) return undefined;
  return {
    destination: formatAddress(bytes.subarray(0, ADDRESS_SIZE)),
    source: formatAddress(bytes.subarray(ADDRESS_SIZE, 2 * ADDRESS_SIZE)),
    etherType: (bytes[12]! << 8) | bytes[13]!,
    payload: bytes.slice(HEADER_SIZE, -FCS_SIZE),
  };
}

/** CRC-32 with the bits reversed (polynomial 0x04C11DB7, IEEE 802.3 section 3.2.9), for each byte. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});
const nextTable = (table: Int32Array): Int32Array => table.map((crc) => (crc >>> 8) ^ CRC_TABLE[crc & 0xff]!);
/** For a byte that has one, two and three more behind it: four bytes are looked up at once. */
const CRC_TABLE_1 = nextTable(CRC_TABLE);
const CRC_TABLE_2 = nextTable(CRC_TABLE_1);
const CRC_TABLE_3 = nextTable(CRC_TABLE_2);

/** The CRC register behind the first `length` of these bytes, before it is complemented and sent. */
export function crcRegister(bytes: Uint8Array, length = bytes.length): number {
  let crc = -1;
  let at = 0;
  for (const end = length - 3; at < end; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      CRC_TABLE_3[crc & 0xff]! ^
      CRC_TABLE_2[(crc >>> 8) & 0xff]! ^
      CRC_TABLE_1[(crc >>> 16) & 0xff]! ^
      CRC_TABLE[crc >>> 24]!;
  }
  for (; at < length; at++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[at]!) & 0xff]!;
  return crc >>> 0;
}

/** The bytes with their check sequence behind them, padded with zeros before it to `least` bytes in all. */
export function withCheckSequence(bytes: Uint8Array, least = 0): Uint8Array {
  const framed = new Uint8Array(Math.max(bytes.length + FCS_SIZE, least));
  const end = framed.length - FCS_SIZE;
  framed.set(bytes);
  const crc = ~crcRegister(framed, end) >>> 0;
  for (let index = 0; index < FCS_SIZE; index++) framed[end + index] = crc >>> (8 * index);
  return framed;
}

/** What a receiver's CRC register holds behind a frame and its right check sequence. */
const RESIDUE = 0xdebb20e3;

export function checkSequenceIsGood(bytes: Uint8Array): boolean {
  return bytes.length >= FCS_SIZE && crcRegister(bytes) === RESIDUE;
}
