import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { decodeArp, encodeArp } from "../../../src/devices/net/arp.ts";
import { DHCP, DhcpServer, decodeOptions, OPTION } from "../../../src/devices/net/dhcp.ts";
import { DnsServer } from "../../../src/devices/net/dns.ts";
import { decodeFrame, encodeFrame } from "../../../src/devices/net/ethernet.ts";
import type { Host } from "../../../src/devices/net/host.ts";
import {
  checksum,
  decodeEcho,
  decodeIpv4,
  decodeUdp,
  encodeIpv4,
  encodeUdp,
  parseIpv4,
} from "../../../src/devices/net/ipv4.ts";
import { Pinger } from "../../../src/devices/net/pinger.ts";
import { TftpServer } from "../../../src/devices/net/tftp.ts";
import { UdpEcho } from "../../../src/devices/net/udp-echo.ts";
import { FULL, Lan, Mailbox } from "./lan.ts";

const ascii = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder("latin1").decode(bytes);

/** A client and a server on one cable. */
function two(options = FULL, seed: string | number = "lan") {
  const lan = new Lan(seed);
  const link = lan.link("cable", options);
  const client = lan.host("client", link.ends[0], 1);
  const server = lan.host("server", link.ends[1], 2);
  return { lan, client, server };
}

describe("codecs", () => {
  test("the Internet checksum of RFC 1071's example", () => {
    expect(checksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(0x220d);
  });

  test("a UDP datagram survives, and any flipped bit is noticed", () => {
    const datagram = {
      source: "10.0.2.1",
      sourcePort: 5000,
      destination: "10.0.2.2",
      destinationPort: 7,
      payload: ascii("hello"),
    };
    const bytes = encodeIpv4(encodeUdp(datagram));
    expect(decodeUdp(decodeIpv4(bytes)!)).toEqual(datagram);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const packet = decodeIpv4(damaged);
      expect(packet === undefined ? undefined : decodeUdp(packet), `bit ${bit}`).toBeUndefined();
    }
  });

  test("a UDP checksum of zero goes out as ones, since zero would mean none", () => {
    for (let word = 0; word < 0x10000; word++) {
      const payload = Uint8Array.of(word >> 8, word & 0xff);
      const packet = encodeUdp({
        source: "10.0.2.1",
        sourcePort: 1,
        destination: "10.0.2.2",
        destinationPort: 2,
        payload,
      });
      const sum = (packet.payload[6]! << 8) | packet.payload[7]!;
      expect(sum).not.toBe(0);
      if (sum === 0xffff) {
        expect(decodeUdp(packet)?.payload).toEqual(payload);
        return;
      }
    }
    expect.unreachable("no payload sums to zero");
  });

  test("any bytes decode or do not, without an error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 40 }), (bytes, body) => {
        decodeFrame(bytes);
        decodeArp(bytes);
        decodeOptions(bytes);
        for (const payload of [
          bytes,
          encodeIpv4({ source: "1.2.3.4", destination: "5.6.7.8", protocol: bytes[0] ?? 1, payload: body }),
        ]) {
          const packet = decodeIpv4(payload);
          if (packet === undefined) continue;
          decodeUdp(packet);
          decodeEcho(packet);
        }
      }),
      { numRuns: 1000, seed: 4 },
    );
  });

  test("addresses are checked", () => {
    for (const bad of ["1.2.3", "1.2.3.256", "1.2.3.04", "a.b.c.d", ""])
      expect(() => parseIpv4(bad)).toThrow(InputError);
  });
});

describe("hosts", () => {
  test("resolve an address before the first datagram and answer echoes of every size", () => {
    const { lan, client } = two();
    const sizes = [0, 1, 17, 56, 1000, 1472];
    const pinger = new Pinger(lan.clock, client, { to: "10.0.2.2", sizes, startNs: 1_000, intervalNs: 10_000_000 });
    lan.wait(100_000_000);
    expect(pinger.result).toEqual({ sent: 6, answers: [1, 1, 1, 1, 1, 1], wrong: 0 });
    const types = lan.of("frame-sent").map(({ data }) => decodeFrame(data)!.etherType);
    expect(types.slice(0, 4)).toEqual([0x0806, 0x0806, 0x0800, 0x0800]);
    expect(types.filter((type) => type === 0x0806)).toHaveLength(2);
  });

  test("on a cable that takes large frames, echoes may have them", () => {
    const { lan, client } = two({ ...FULL, maxFrame: 65_539 });
    const sizes = [65_493, 1473, 9000];
    const pinger = new Pinger(lan.clock, client, { to: "10.0.2.2", sizes, startNs: 0, intervalNs: 100_000_000 });
    lan.wait(1_000_000_000);
    expect(pinger.result).toEqual({ sent: 3, answers: [1, 1, 1], wrong: 0 });
    expect(() => new Pinger(lan.clock, client, { to: "10.0.2.2", sizes: [65_494], startNs: 0, intervalNs: 1 })).toThrow(
      "not from 0 to 65493",
    );
  });

  test("over a link that loses and duplicates every answer is accounted for", () => {
    const { lan, client } = two({
      ...FULL,
      faults: { lossPpm: 100_000, duplicationPpm: 100_000, corruptionPpm: 50_000 },
    });
    const sizes = Array.from({ length: 300 }, (_, index) => (index * 37) % 1473);
    const pinger = new Pinger(lan.clock, client, { to: "10.0.2.2", sizes, startNs: 0, intervalNs: 5_000_000 });
    lan.wait(3_000_000_000);
    const { sent, answers, wrong } = pinger.result;
    expect([sent, wrong]).toEqual([300, 0]);
    const missing = answers.filter((count) => count === 0).length;
    expect(missing).toBeGreaterThan(30);
    expect(missing).toBeLessThan(150);
    expect(answers.some((count) => count > 1)).toBe(true);
  });

  test("answer an address probe without remembering that nobody has an address", () => {
    const lan = new Lan();
    const link = lan.link("cable");
    const host = lan.host("server", link.ends[0], 2);
    const probe = {
      operation: "request",
      senderAddress: "02:00:00:00:00:07",
      senderIp: "0.0.0.0",
      targetAddress: "00:00:00:00:00:00",
      targetIp: "10.0.2.2",
    } as const;
    const medium = link.ends[1];
    const heard: Uint8Array[] = [];
    medium.attach({ receive: (frame) => heard.push(frame), carrierChanged: () => {} });
    const frame = encodeFrame({
      destination: "ff:ff:ff:ff:ff:ff",
      source: probe.senderAddress,
      etherType: 0x0806,
      payload: encodeArp(probe),
    });
    lan.wait(medium.begin(frame));
    medium.end();
    lan.wait(10_000_000);
    expect(decodeArp(decodeFrame(heard[0]!)!.payload)).toMatchObject({ operation: "reply", senderIp: "10.0.2.2" });
    expect(host.save().neighbours).toEqual([]);
  });

  test("do not answer for others, nor damaged packets, nor fragments", () => {
    const { lan, client, server } = two();
    client.sendUdp("10.0.2.9", 7, 5000, ascii("nobody"));
    lan.wait(10_000_000);
    expect(lan.of("frame-sent")).toHaveLength(1);
    expect(server.save().neighbours).toEqual([]);
    expect(() => new Lan().host("x", new Lan().link("y").ends[0], 10)).toThrow(InputError);
  });

  test("UDP echo answers with the same bytes, but never another echo service", () => {
    const { lan, client, server } = two();
    const mailbox = new Mailbox(5000);
    client.serve(mailbox);
    server.serve(new UdpEcho());
    client.sendUdp("10.0.2.2", 7, 5000, ascii("hello"));
    client.sendUdp("10.0.2.2", 7, 7, ascii("loop"));
    lan.wait(10_000_000);
    expect(mailbox.got.map(({ payload }) => text(payload))).toEqual(["hello"]);
  });
});

describe("DHCP", () => {
  const options = {
    first: "10.0.2.15",
    count: 2,
    netmask: "255.255.255.0",
    router: "10.0.2.2",
    dns: "10.0.2.3",
    leaseSeconds: 86_400,
    nextServer: "10.0.2.2",
    bootFile: "boot.ipxe",
  };

  /** A client's message. */
  const message = (type: number, chaddr: number, extra: number[] = [], ciaddr = [0, 0, 0, 0]) => {
    const bytes = new Uint8Array(300);
    bytes.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, chaddr]);
    bytes.set(ciaddr, 12);
    bytes.set([0x52, 0x54, 0, 0, 0, chaddr], 28);
    bytes.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, ...extra, 255], 236);
    return bytes;
  };

  const build = () => {
    const { lan, client, server } = two();
    const mailbox = new Mailbox(68);
    const dhcp = new DhcpServer(options);
    client.serve(mailbox);
    server.serve(dhcp);
    const ask = (bytes: Uint8Array) => {
      mailbox.got.length = 0;
      client.sendUdp("255.255.255.255", 67, 68, bytes);
      lan.wait(10_000_000);
      const reply = mailbox.got[0]?.payload;
      if (reply === undefined) return undefined;
      const found = decodeOptions(reply.subarray(240));
      const to = mailbox.got[0]!.destination;
      return {
        to,
        reply,
        type: found.get(OPTION.MESSAGE_TYPE)?.[0],
        ip: [...reply.subarray(16, 20)].join("."),
        options: found,
      };
    };
    return { ask, dhcp };
  };

  test("offers, acknowledges, and tells mask, router, name server, boot server and file", () => {
    const { ask } = build();
    const offer = ask(message(DHCP.DISCOVER, 1))!;
    expect([offer.type, offer.ip]).toEqual([DHCP.OFFER, "10.0.2.15"]);
    expect([...offer.reply.subarray(4, 8)]).toEqual([0xde, 0xad, 0xbe, 1]);
    const ack = ask(message(DHCP.REQUEST, 1, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]))!;
    expect([ack.type, ack.ip]).toEqual([DHCP.ACK, "10.0.2.15"]);
    expect([...ack.reply.subarray(20, 24)].join(".")).toBe("10.0.2.2");
    expect(text(ack.reply.subarray(108, 118))).toBe("boot.ipxe\0");
    const told = [OPTION.SUBNET_MASK, OPTION.ROUTER, OPTION.DNS, OPTION.SERVER_ID].map((code) =>
      ack.options.get(code)?.join("."),
    );
    expect(told).toEqual(["255.255.255.0", "10.0.2.2", "10.0.2.3", "10.0.2.2"]);
    expect([...ack.options.get(OPTION.LEASE_TIME)!]).toEqual([0, 1, 0x51, 0x80]);
    expect(text(ack.options.get(OPTION.BOOT_FILE)!)).toBe("boot.ipxe");
  });

  test("keeps a client's address, refuses what is not to be had, runs out, and takes back", () => {
    const { ask } = build();
    expect(ask(message(DHCP.DISCOVER, 1, [50, 4, 10, 0, 2, 16]))!.ip).toBe("10.0.2.16");
    expect(ask(message(DHCP.DISCOVER, 1))!.ip).toBe("10.0.2.16");
    expect(ask(message(DHCP.DISCOVER, 2))!.ip).toBe("10.0.2.15");
    expect(ask(message(DHCP.DISCOVER, 3))).toBeUndefined();
    expect(ask(message(DHCP.REQUEST, 3, [50, 4, 10, 0, 2, 15]))!.type).toBe(DHCP.NAK);
    expect(ask(message(DHCP.REQUEST, 2, [50, 4, 10, 0, 2, 99]))!.type).toBe(DHCP.NAK);
    expect(ask(message(DHCP.REQUEST, 2, [54, 4, 10, 0, 2, 77]))).toBeUndefined();
    expect(ask(message(DHCP.RELEASE, 2))).toBeUndefined();
    expect(ask(message(DHCP.DISCOVER, 3))!.ip).toBe("10.0.2.15");
    expect(ask(message(DHCP.DECLINE, 3))).toBeUndefined();
    expect(ask(message(DHCP.DISCOVER, 3))).toBeUndefined();
  });

  test("a client that has its address is answered there", () => {
    const { ask } = build();
    const inform = ask(message(DHCP.INFORM, 9, [], [10, 0, 2, 1]))!;
    expect([inform.type, inform.ip]).toEqual([DHCP.ACK, "0.0.0.0"]);
    expect(inform.options.has(OPTION.LEASE_TIME)).toBe(false);
    expect(inform.to).toBe("10.0.2.1");
    const refused = ask(message(DHCP.REQUEST, 9, [], [10, 0, 2, 1]))!;
    expect([refused.type, refused.to]).toEqual([DHCP.NAK, "255.255.255.255"]);
  });

  test("nonsense is not answered and changes nothing", () => {
    const { ask, dhcp } = build();
    const before = dhcp.save();
    const good = message(DHCP.DISCOVER, 1);
    expect(ask(good.subarray(0, 100))).toBeUndefined();
    expect(ask(Uint8Array.from(good, (byte, index) => (index === 236 ? 0 : byte)))).toBeUndefined();
    expect(ask(Uint8Array.from(good, (byte, index) => (index === 2 ? 16 : byte)))).toBeUndefined();
    expect(ask(message(99, 1))).toBeUndefined();
    expect(dhcp.save()).toEqual(before);
    for (const bad of [{ count: 0 }, { count: 255 }, { first: "x" }, { bootFile: "" }, { router: "1" }]) {
      expect(() => new DhcpServer({ ...options, ...bad })).toThrow(InputError);
    }
    expect(() => dhcp.load({ leases: [] })).toThrow(InputError);
  });
});

describe("TFTP", () => {
  const FILE = Uint8Array.from({ length: 3000 }, (_, index) => (index * 13) & 0xff);
  const files = new Map([
    ["boot.ipxe", ascii("#!ipxe\necho hello\n")],
    ["large", FILE],
    ["even", FILE.subarray(0, 1024)],
  ]);

  const build = (options = FULL, seed: string | number = 1) => {
    const { lan, client, server } = two(options, seed);
    const tftp = new TftpServer(lan.clock, server, files);
    server.serve(tftp);
    const mailbox = new Mailbox(5000);
    client.serve(mailbox);
    const send = (bytes: Uint8Array, port = 69) => client.sendUdp("10.0.2.2", port, 5000, bytes);
    const request = (...fields: string[]) =>
      send(Uint8Array.of(0, 1, ...ascii(fields.map((field) => `${field}\0`).join(""))));
    return { lan, mailbox, tftp, send, request };
  };

  /** A client as RFC 1350 describes it, which asks again after a silence of two seconds. */
  const fetchFile = (setup: ReturnType<typeof build>, ...fields: string[]) => {
    const { lan, mailbox, send, request } = setup;
    const received: number[] = [];
    let [blockSize, expected, seen, done] = [512, 1, 0, false];
    let again = () => request(...fields);
    again();
    for (let quiet = 0; !done && quiet < 20; ) {
      lan.wait(10_000_000);
      if (mailbox.got.length === seen) {
        if (++quiet % 10 === 0) again();
        lan.wait(200_000_000);
        continue;
      }
      for (; seen < mailbox.got.length && !done; seen++) {
        quiet = 0;
        const { payload, sourcePort } = mailbox.got[seen]!;
        // The first answer settles the transfer's port (RFC 1350 section 4).
        if (sourcePort !== mailbox.got[0]!.sourcePort) continue;
        const acknowledge = (number: number) => {
          again = () => send(Uint8Array.of(0, 4, number >> 8, number & 0xff), sourcePort);
          again();
        };
        if (payload[1] === 6) {
          const granted = text(payload.subarray(2)).split("\0");
          const at = granted.indexOf("blksize");
          if (at !== -1) blockSize = Number(granted[at + 1]);
          if (expected === 1) acknowledge(0);
        } else if (payload[1] === 3) {
          const number = (payload[2]! << 8) | payload[3]!;
          if (number === expected) {
            received.push(...payload.subarray(4));
            done = payload.length - 4 < blockSize;
            expected++;
          }
          acknowledge(number);
        } else return text(payload.subarray(4, -1));
      }
    }
    lan.wait(20_000_000);
    return done ? Uint8Array.from(received) : undefined;
  };

  test.each([
    ["a small file", "boot.ipxe", ["octet"]],
    ["with a slash in front", "/boot.ipxe", ["octet"]],
    ["a file of whole blocks, which ends with an empty one", "even", ["octet"]],
    ["with iPXE's options", "large", ["octet", "blksize", "1432", "tsize", "0"]],
    ["with blocks larger than a frame", "large", ["octet", "blksize", "65464"]],
    ["with small blocks", "large", ["OCTET", "BLKSIZE", "8"]],
  ])("gives %s", (_name, name, fields) => {
    const setup = build();
    expect(fetchFile(setup, name, ...fields)).toEqual(files.get(name.replace("/", "")));
    expect(setup.tftp.save().transfers).toEqual([]);
  });

  test("tells the size and the block that it grants", () => {
    const { lan, mailbox, request } = build();
    request("large", "octet", "tsize", "0", "blksize", "9000", "windowsize", "4", "timeout", "3");
    lan.wait(10_000_000);
    expect(text(mailbox.got[0]!.payload)).toBe("\0\x06tsize\x003000\0blksize\x001468\0timeout\x003\0");
  });

  test.each([
    ["a missing file", ["nothing", "octet"], "File not found"],
    ["an unknown mode", ["large", "mail"], "Illegal TFTP operation"],
    ["no mode", ["large"], "Illegal TFTP operation"],
  ])("refuses %s", (_name, fields, answer) => {
    expect(fetchFile(build(), ...fields)).toBe(answer);
  });

  test("refuses to be written to, strangers, and more transfers than it keeps", () => {
    const { lan, mailbox, tftp, send, request } = build();
    send(Uint8Array.of(0, 2, ...ascii("x\0octet\0")));
    send(Uint8Array.of(0, 4, 0, 1), 50_000);
    lan.wait(10_000_000);
    expect(mailbox.got.map(({ payload }) => payload[3])).toEqual([2, 5]);
    request("large", "octet");
    request("large", "octet");
    lan.wait(10_000_000);
    expect(tftp.save().transfers).toHaveLength(1);
    send(Uint8Array.of(0, 5, 0, 0, 0), 49_152);
    lan.wait(10_000_000);
    expect(tftp.save().transfers).toEqual([]);
  });

  test("asks again from its transfer until the first acknowledgement; later a request is another transfer", () => {
    const { lan, mailbox, tftp, send, request } = build();
    request("large", "octet");
    lan.wait(10_000_000);
    request("large", "octet");
    lan.wait(10_000_000);
    expect(mailbox.got.map(({ sourcePort }) => sourcePort)).toEqual([49_152, 49_152]);
    send(Uint8Array.of(0, 4, 0, 1), 49_152);
    lan.wait(10_000_000);
    request("large", "octet");
    lan.wait(10_000_000);
    expect(tftp.save().transfers.map(({ port, block }) => [port, block])).toEqual([
      [49_152, 2],
      [49_153, 1],
    ]);
  });

  test("repeats what is not acknowledged five times, then gives up", () => {
    const { lan, mailbox, tftp, request } = build();
    request("boot.ipxe", "octet");
    lan.wait(20_000_000_000);
    expect(mailbox.got).toHaveLength(5);
    expect(tftp.save().transfers).toEqual([]);
    expect(lan.clock.nextDeadline()).toBeUndefined();
  });

  test("gets through a link that loses, duplicates and damages", () => {
    for (let seed = 0; seed < 5; seed++) {
      const setup = build(
        { ...FULL, faults: { lossPpm: 100_000, duplicationPpm: 100_000, corruptionPpm: 50_000 } },
        seed,
      );
      expect(fetchFile(setup, "large", "octet", "blksize", "500")).toEqual(FILE);
    }
  });

  test("any datagram is answered or not, without an error, and transfers stay few", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.uint8Array({ maxLength: 30 }), fc.constantFrom(69, 49_152, 49_153)), { maxLength: 30 }),
        (all) => {
          const { lan, tftp, send } = build();
          for (const [bytes, port] of all) send(bytes, port);
          lan.wait(1_000_000_000);
          expect(tftp.save().transfers.length).toBeLessThanOrEqual(16);
        },
      ),
      { numRuns: 100, seed: 5 },
    );
  });

  test("a snapshot keeps the transfers", () => {
    const { lan, tftp, request } = build();
    request("large", "octet");
    lan.wait(10_000_000);
    const saved = tftp.save();
    const other = build();
    other.tftp.load(saved);
    expect(other.tftp.save()).toEqual(saved);
    expect(() => other.tftp.load({ ...saved, transfers: [{ ...saved.transfers[0]!, file: "gone" }] })).toThrow(
      InputError,
    );
  });
});

describe("DNS", () => {
  const ask = (name: string, type = 1, damage: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes) => {
    const { lan, client, server } = two();
    const mailbox = new Mailbox(5000);
    client.serve(mailbox);
    server.serve(new DnsServer({ "boot.example": "10.0.2.2" }));
    const labels = name.split(".").flatMap((label) => [label.length, ...ascii(label)]);
    const query = Uint8Array.of(0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1);
    client.sendUdp("10.0.2.2", 53, 5000, damage(query));
    lan.wait(10_000_000);
    return mailbox.got[0]?.payload;
  };

  test("answers with the address, whatever the letters' case", () => {
    const reply = ask("Boot.Example")!;
    expect([...reply.subarray(0, 12)]).toEqual([0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    expect([...reply.subarray(-16)]).toEqual([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 10, 0, 2, 2]);
  });

  test("says what it does not have", () => {
    expect([...ask("other.example")!.subarray(2, 8)]).toEqual([0x85, 0x83, 0, 1, 0, 0]);
    expect([...ask("boot.example", 28)!.subarray(2, 8)]).toEqual([0x85, 0x80, 0, 1, 0, 0]);
    expect([...ask("boot.example", 1, (bytes) => bytes.subarray(0, 20))!.subarray(2, 8)]).toEqual([
      0x85, 0x81, 0, 0, 0, 0,
    ]);
    expect(ask("boot.example", 1, (bytes) => bytes.subarray(0, 5))).toBeUndefined();
    expect(() => new DnsServer({ "a..b": "1.2.3.4" })).toThrow(InputError);
    expect(() => new DnsServer({ a: "1.2.3" })).toThrow(InputError);
  });
});

test("any frame reaches a host with all services without an error", () => {
  const setup = two();
  const { lan, server } = setup;
  for (const service of [new UdpEcho(), new DnsServer({ a: "1.2.3.4" }), new TftpServer(lan.clock, server, new Map())])
    server.serve(service);
  const peer: Host = setup.client;
  fc.assert(
    fc.property(
      fc.constantFrom(7, 53, 67, 68, 69, 50_000),
      fc.nat(65_535),
      fc.uint8Array({ maxLength: 600 }),
      (to, from, bytes) => {
        peer.sendUdp("10.0.2.2", to, from, bytes);
        lan.wait(10_000_000);
      },
    ),
    { numRuns: 300, seed: 6 },
  );
  expect(
    encodeFrame({ destination: peer.address, source: peer.address, etherType: 1, payload: new Uint8Array(1) }),
  ).toHaveLength(64);
});
