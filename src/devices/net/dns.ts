// Part: a name server (RFC 1035) with the addresses that the scenario gives: one answer to questions of type A and class IN, an empty one to other types of
// known names, NXDOMAIN to unknown names.

import { InputError } from "../../core/errors.ts";
import type { Host, UdpService } from "./host.ts";
import { type Datagram, parseIpv4 } from "./ipv4.ts";

const PORT = 53;
const HEADER_SIZE = 12;
/** A name's longest text (RFC 1035 section 2.3.4). */
const MAX_NAME = 255;
const TYPE_A = 1;
const CLASS_IN = 1;
const RCODE = { OK: 0, FORMAT: 1, NO_NAME: 3, NOT_IMPLEMENTED: 4 } as const;
/** Opcode, truncation and recursion-desired bits of the header's flags; response, authoritative, recursion available. */
const OPCODE_MASK = 0x7800;
const RECURSION_DESIRED = 0x0100;
const RESPONSE = 0x8480;
const TIME_TO_LIVE_SECONDS = 3600;

export class DnsServer implements UdpService {
  readonly #addresses = new Map<string, Uint8Array>();

  /** @param names addresses by their names, without a point at the end @throws InputError on an address or name that is none */
  constructor(names: Readonly<Record<string, string>>) {
    for (const [name, address] of Object.entries(names)) {
      parseIpv4(address);
      if (!/^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/i.test(name) || name.length > MAX_NAME - 2) {
        throw new InputError("not a domain name", name);
      }
      this.#addresses.set(name.toLowerCase(), Uint8Array.from(address.split("."), Number));
    }
  }

  handles(port: number): boolean {
    return port === PORT;
  }

  receive({ source, sourcePort, payload }: Datagram, host: Host): void {
    if (payload.length < HEADER_SIZE) return;
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    const flags = view.getUint16(2);
    if ((flags & 0x8000) !== 0) return;
    const question = view.getUint16(4) === 1 ? decodeQuestion(payload) : undefined;
    const answer = question === undefined ? undefined : this.#addresses.get(question.name);
    const isAnswered = answer !== undefined && question?.type === TYPE_A && question.class === CLASS_IN;
    let code: number = answer === undefined ? RCODE.NO_NAME : RCODE.OK;
    if (question === undefined) code = RCODE.FORMAT;
    if ((flags & OPCODE_MASK) !== 0) code = RCODE.NOT_IMPLEMENTED;
    const hasAnswer = code === RCODE.OK && isAnswered;
    const end = question?.end ?? HEADER_SIZE;
    const reply = new Uint8Array(end + (hasAnswer ? 16 : 0));
    const out = new DataView(reply.buffer);
    reply.set(payload.subarray(0, end));
    out.setUint16(2, RESPONSE | (flags & (OPCODE_MASK | RECURSION_DESIRED)) | code);
    out.setUint16(4, question === undefined ? 0 : 1);
    out.setUint16(6, hasAnswer ? 1 : 0);
    out.setUint32(8, 0);
    if (hasAnswer) {
      // The name by a pointer to the question's (section 4.1.4).
      out.setUint16(end, 0xc000 | HEADER_SIZE);
      out.setUint16(end + 2, TYPE_A);
      out.setUint16(end + 4, CLASS_IN);
      out.setUint32(end + 6, TIME_TO_LIVE_SECONDS);
      out.setUint16(end + 10, 4);
      reply.set(answer, end + 12);
    }
    host.sendUdp(source, sourcePort, PORT, reply);
  }
}

/** The one question; undefined when it is damaged. A question's name has no pointers, since nothing is before it. */
function decodeQuestion(bytes: Uint8Array): { name: string; type: number; class: number; end: number } | undefined {
  const labels: string[] = [];
  let at = HEADER_SIZE;
  for (let length = bytes[at]; length !== 0; length = bytes[at]) {
    if (length === undefined || length > 63 || at + 1 + length - HEADER_SIZE > MAX_NAME) return undefined;
    labels.push(new TextDecoder("latin1").decode(bytes.subarray(at + 1, at + 1 + length)));
    at += 1 + length;
  }
  if (at + 5 > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    name: labels.join(".").toLowerCase(),
    type: view.getUint16(at + 1),
    class: view.getUint16(at + 3),
    end: at + 5,
  };
}
