// Part: address resolution for IPv4 over Ethernet (RFC 826) as bytes.

import { formatAddress, parseAddress } from "./ethernet.ts";
import { formatIpv4, parseIpv4 } from "./ipv4.ts";

const SIZE = 28;

export interface Arp {
  readonly operation: "request" | "reply";
  readonly senderAddress: string;
  readonly senderIp: string;
  readonly targetAddress: string;
  readonly targetIp: string;
}

/** Hardware type Ethernet, protocol type IPv4, and the sizes of their addresses. */
const FIXED = [0, 1, 8, 0, 6, 4] as const;

export function encodeArp({ operation, senderAddress, senderIp, targetAddress, targetIp }: Arp): Uint8Array {
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  bytes.set(FIXED);
  view.setUint16(6, operation === "request" ? 1 : 2);
  bytes.set(parseAddress(senderAddress), 8);
  view.setUint32(14, parseIpv4(senderIp));
  bytes.set(parseAddress(targetAddress), 18);
  view.setUint32(24, parseIpv4(targetIp));
  return bytes;
}

/** Undefined when the bytes are not ARP for IPv4 over Ethernet. */
export function decodeArp(bytes: Uint8Array): Arp | undefined {
  if (bytes.length < SIZE || FIXED.some((byte, index) => bytes[index] !== byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const operation = view.getUint16(6);
  if (operation !== 1 && operation !== 2) return undefined;
  return {
    operation: operation === 1 ? "request" : "reply",
    senderAddress: formatAddress(bytes.subarray(8, 14)),
    senderIp: formatIpv4(view.getUint32(14)),
    targetAddress: formatAddress(bytes.subarray(18, 24)),
    targetIp: formatIpv4(view.getUint32(24)),
  };
}
