import fc from "fast-check";
import { expect, test } from "vitest";
import { frameSummary } from "../../src/debug/frame-summary.ts";
import { encodeArp } from "../../src/devices/net/arp.ts";
import { BROADCAST, ETHER_TYPE, encodeFrame } from "../../src/devices/net/ethernet.ts";
import { ECHO_REPLY, encodeEcho, encodeIpv4, encodeUdp, PROTOCOL } from "../../src/devices/net/ipv4.ts";

const [OURS, THEIRS] = ["52:54:00:12:34:56", "52:54:00:00:00:01"];
const addresses = { source: "10.0.2.15", destination: "10.0.2.2" };
const frame = (etherType: number, payload: Uint8Array): Uint8Array =>
  encodeFrame({ destination: BROADCAST, source: OURS, etherType, payload });
const udp = (sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array =>
  frame(ETHER_TYPE.IPV4, encodeIpv4(encodeUdp({ ...addresses, sourcePort, destinationPort, payload })));
const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

function dhcp(type: number): Uint8Array {
  const message = new Uint8Array(244);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, 255], 236);
  return message;
}

const arp = { senderAddress: OURS, senderIp: "10.0.2.15", targetAddress: THEIRS, targetIp: "10.0.2.2" };
const echo = encodeEcho({ type: ECHO_REPLY, identifier: 7, sequence: 3, data: new Uint8Array(5) });

test.each([
  ["ARP who has 10.0.2.2, tell 10.0.2.15", frame(ETHER_TYPE.ARP, encodeArp({ ...arp, operation: "request" }))],
  [`ARP 10.0.2.15 is at ${OURS}`, frame(ETHER_TYPE.ARP, encodeArp({ ...arp, operation: "reply" }))],
  [
    "10.0.2.15 > 10.0.2.2: ICMP echo reply, id 7, seq 3, 5 bytes",
    frame(ETHER_TYPE.IPV4, encodeIpv4({ ...addresses, protocol: PROTOCOL.ICMP, payload: echo })),
  ],
  ["10.0.2.15:68 > 10.0.2.2:67: DHCP DISCOVER, 244 bytes", udp(68, 67, dhcp(1))],
  ["10.0.2.15:68 > 10.0.2.2:67: DHCP message 99, 244 bytes", udp(68, 67, dhcp(99))],
  ['10.0.2.15:1024 > 10.0.2.2:69: TFTP RRQ "a\\n", 11 bytes', udp(1024, 69, latin1("\0\x01a\n\0octet\0"))],
  ["10.0.2.15:1024 > 10.0.2.2:7: echo, 2 bytes", udp(1024, 7, new Uint8Array(2))],
  ["10.0.2.15:1024 > 10.0.2.2:1025: UDP, 2 bytes", udp(1024, 1025, new Uint8Array(2))],
  [
    "10.0.2.15 > 10.0.2.2: protocol 6",
    frame(ETHER_TYPE.IPV4, encodeIpv4({ ...addresses, protocol: 6, payload: new Uint8Array(20) })),
  ],
  ["ffffffffffff52540012345688b50102", frame(0x88b5, Uint8Array.of(1, 2))],
])("%s", (summary, bytes) => {
  expect(frameSummary(bytes).startsWith(summary)).toBe(true);
  expect(frameSummary(bytes)).not.toContain("check sequence");
  const damaged = bytes.slice();
  damaged[damaged.length - 1]! ^= 1;
  expect(frameSummary(damaged)).toMatch(/, check sequence wrong$/);
});

test("any bytes make one line of printable characters", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom(67, 69, 53, 7, 1000), (bytes, port) => {
      for (const each of [bytes, frame(ETHER_TYPE.ARP, bytes), frame(ETHER_TYPE.IPV4, bytes), udp(1000, port, bytes)]) {
        expect(frameSummary(each)).toMatch(/^[ -~]*$/);
      }
    }),
  );
});
