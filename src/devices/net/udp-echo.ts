// Part: the UDP echo service (RFC 862).

import type { Host, UdpService } from "./host.ts";
import type { Datagram } from "./ipv4.ts";

export const ECHO_PORT = 7;

export class UdpEcho implements UdpService {
  handles(port: number): boolean {
    return port === ECHO_PORT;
  }

  receive({ source, sourcePort, payload }: Datagram, host: Host): void {
    // Two echo services would send one datagram to and fro for ever.
    if (sourcePort !== ECHO_PORT) host.sendUdp(source, sourcePort, ECHO_PORT, payload);
  }
}
