import { expect, test } from "vitest";
import { InputError } from "../../../src/core/errors.ts";
import { encodePlain } from "../../../src/core/plain-data.ts";
import { Host } from "../../../src/devices/net/host.ts";
import { Network, type NetworkConfig } from "../../../src/devices/net/network.ts";
import { Lan, Mailbox } from "./lan.ts";

const CONFIG: NetworkConfig = {
  cards: { net0: { fullDuplex: true } },
  hosts: [
    {
      name: "server",
      address: "02:00:00:00:00:02",
      ip: "10.0.2.2",
      dhcp: {
        first: "10.0.2.15",
        count: 4,
        netmask: "255.255.255.0",
        leaseSeconds: 3600,
        nextServer: "10.0.2.2",
        bootFile: "boot.ipxe",
      },
      tftp: { "boot.ipxe": "#!ipxe\necho hello\n" },
      dns: { "boot.example": "10.0.2.2" },
      udpEcho: true,
    },
    {
      name: "prober",
      address: "02:00:00:00:00:03",
      ip: "10.0.2.3",
      ping: { to: "10.0.2.15", sizes: [10, 20, 1000], startNs: 1_000_000, intervalNs: 1_000_000 },
    },
  ],
  peers: [{ name: "listener", script: [{ atNs: 5_000_000, bytes: new Uint8Array(60).fill(0xff) }] }],
};

function build(config: NetworkConfig = CONFIG) {
  const lan = new Lan();
  const wires = { clock: lan.clock, random: (name: string) => lan.random.stream(name) };
  return { lan, network: new Network({ ...wires, emit: (event) => void lan.events.push(event) }, config) };
}

/** A machine's station in the place of a card. */
function withStation(config?: NetworkConfig) {
  const { lan, network } = build(config);
  const wires = { clock: lan.clock, medium: network.card("net0"), random: lan.random.stream("station") };
  const station = new Host("station", wires, { address: "52:54:00:12:34:56", ip: "10.0.2.15" });
  const mailbox = new Mailbox(5000);
  station.serve(mailbox);
  return { lan, network, station, mailbox };
}

test("a card reaches the services of the hosts behind the switch, and is reached", () => {
  const { lan, network, station, mailbox } = withStation();
  station.sendUdp("10.0.2.2", 69, 5000, new TextEncoder().encode("\0\x01boot.ipxe\0octet\0"));
  station.sendUdp("10.0.2.2", 7, 5000, Uint8Array.of(1, 2, 3));
  lan.wait(100_000_000);
  expect(mailbox.got.map(({ payload }) => new TextDecoder().decode(payload))).toEqual([
    "\0\x03\0\x01#!ipxe\necho hello\n",
    "\x01\x02\x03",
  ]);
  expect(network.pings("prober")).toEqual({ sent: 3, answers: [1, 1, 1], wrong: 0 });
  expect(network.pings("server")).toBeUndefined();
  expect(network.heard("listener").length).toBeGreaterThan(0);
  expect(lan.of("frame-sent").filter(({ link }) => link === "net0").length).toBeGreaterThan(8);
});

test("a snapshot in the middle goes on as the original", () => {
  const first = withStation();
  first.lan.wait(2_050_000);
  const second = withStation();
  second.network.load(first.network.save());
  second.station.load(first.station.save());
  second.lan.random.load(first.lan.random.save());
  second.lan.clock.load(first.lan.clock.save());
  for (const { lan } of [first, second]) lan.wait(100_000_000);
  expect(encodePlain(second.network.save())).toEqual(encodePlain(first.network.save()));
  expect(second.network.pings("prober")?.answers).toEqual([1, 1, 1]);
});

test("names are told apart and cards need a cable", () => {
  const server = CONFIG.hosts![0]!;
  expect(() => build({ cards: {}, hosts: [server, server] })).toThrow("network, server: two stations of this name");
  expect(() => build().network.card("net1")).toThrow("net1: the network has no cable for this card");
  const cards = Object.fromEntries(Array.from({ length: 49 }, (_, index) => [`net${index}`, {}]));
  expect(() => build({ cards })).toThrow("network: 49 stations, at most 48: the ports of a large switch");
  expect(() => build({ cards: {} }).network.load(build().network.save())).toThrow(InputError);
});
