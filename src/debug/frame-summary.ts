// Part: an Ethernet frame in a line, as far as the network's own codecs take it apart: ARP, ICMP echo, UDP, DHCP, TFTP and DNS.

import { decodeArp } from "../devices/net/arp.ts";
import { DHCP, dhcpMessageType } from "../devices/net/dhcp.ts";
import { checkSequenceIsGood, decodeFrame, ETHER_TYPE } from "../devices/net/ethernet.ts";
import { type Datagram, decodeEcho, decodeIpv4, decodeUdp, ECHO_REQUEST } from "../devices/net/ipv4.ts";
import { tftpMessage } from "../devices/net/tftp.ts";
import { hexBytes, quoted } from "./printable.ts";

/** Of a frame that does not decode: its Ethernet header and what stands behind it. */
const SHOWN_BYTES = 34;
const DHCP_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(DHCP).map(([name, type]) => [type, name]));

/** What is said on well-known ports (RFC 6335's registry); undefined where it is something else. */
const SERVICES: Readonly<Record<number, (payload: Uint8Array) => string | undefined>> = {
  7: () => "echo",
  53: () => "DNS",
  67: describeDhcp,
  68: describeDhcp,
  69: describeTftp,
};

/** @param bytes with the check sequence; any bytes will do */
export function frameSummary(bytes: Uint8Array): string {
  const frame = decodeFrame(bytes);
  if (frame === undefined) return hexBytes(bytes.subarray(0, SHOWN_BYTES));
  const damage = checkSequenceIsGood(bytes) ? "" : ", check sequence wrong";
  const known = describePayload(frame.etherType, frame.payload) ?? hexBytes(bytes.subarray(0, SHOWN_BYTES));
  return `${known}${damage}`;
}

function describePayload(etherType: number, payload: Uint8Array): string | undefined {
  if (etherType === ETHER_TYPE.ARP) return describeArp(payload);
  const packet = etherType === ETHER_TYPE.IPV4 ? decodeIpv4(payload) : undefined;
  if (packet === undefined) return undefined;
  const { source, destination, protocol } = packet;
  const datagram = decodeUdp(packet);
  if (datagram !== undefined) return describeUdp(datagram);
  const echo = decodeEcho(packet);
  if (echo === undefined) return `${source} > ${destination}: protocol ${protocol}`;
  const { type, identifier, sequence, data } = echo;
  const direction = type === ECHO_REQUEST ? "request" : "reply";
  return `${source} > ${destination}: ICMP echo ${direction}, id ${identifier}, seq ${sequence}, ${data.length} bytes`;
}

function describeArp(payload: Uint8Array): string | undefined {
  const arp = decodeArp(payload);
  if (arp === undefined) return undefined;
  const { operation, senderAddress, senderIp, targetIp } = arp;
  return operation === "request"
    ? `ARP who has ${targetIp}, tell ${senderIp}`
    : `ARP ${senderIp} is at ${senderAddress}`;
}

function describeUdp({ source, sourcePort, destination, destinationPort, payload }: Datagram): string {
  const service = SERVICES[destinationPort] ?? SERVICES[sourcePort];
  const what = service?.(payload) ?? "UDP";
  return `${source}:${sourcePort} > ${destination}:${destinationPort}: ${what}, ${payload.length} bytes`;
}

function describeDhcp(payload: Uint8Array): string | undefined {
  const type = dhcpMessageType(payload);
  return type === undefined ? undefined : `DHCP ${DHCP_NAMES.get(type) ?? `message ${type}`}`;
}

function describeTftp(payload: Uint8Array): string | undefined {
  const message = tftpMessage(payload);
  if (message === undefined) return undefined;
  return `TFTP ${message.name}${message.file === undefined ? "" : ` ${quoted(message.file)}`}`;
}
