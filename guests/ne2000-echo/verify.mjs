// Runs ne2000-echo under QEMU and holds every frame to account: node guests/ne2000-echo/verify.mjs [image]. Needs qemu-system-i386 (7.2 or
// newer, for its dgram network); takes a minute. With the ISA and the PCI card:
//
//  1. ARP, ping of every size from 0 to 1472 bytes, UDP echo of many sizes; each answer is compared byte for byte.
//  2. Frames that must stay unanswered, each for its reason, which the guest's counts must give.
//  3. Bursts into a slow guest: more frames than its ring holds. What QEMU's card drops, it drops silently and without the overflow
//     interrupt; what it took must be answered exactly once.
//  4. A damaged ring: QEMU lets a frame of six pages fill the ring to the last page, then takes the ring for empty and writes over it. The
//     guest must find that out, reset the card and go on.
//  5. The guest's counts: they must add up, and agree with what was sent and what came back.

import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { join } from "node:path";

const image =
  process.argv[2] ?? join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../images/ne2000-echo.elf");
const GUEST = { address: "525400123456", ip: "0a000207" };
const HOST = { address: "021122334455", ip: "0a000201" };
const IN_FLIGHT = 8;
const PATIENCE_MS = 20_000;
const QUIET_MS = 1_000;
const CARDS = [
  {
    name: "ISA",
    device: "ne2k_isa,iobase=0x300,irq=9",
    append: "",
    says: /NE2000 at 0x300, IRQ 9,/,
    ports: [20701, 20702],
  },
  {
    name: "ISA, other ports",
    device: "ne2k_isa,iobase=0x340,irq=5",
    append: "io=0x340 irq=5",
    says: /NE2000 at 0x340, IRQ 5,/,
    ports: [20703, 20704],
  },
  {
    name: "PCI",
    device: "ne2k_pci",
    append: "",
    says: /RTL8029 in PCI slot \d+, ports 0x\w+, IRQ \d+,/,
    ports: [20705, 20706],
  },
];

let failures = 0;

function expect(what, found, wanted) {
  if (found === wanted) return;
  failures++;
  console.log(`  WRONG ${what}: ${found}, expected ${wanted}`);
}

// ---- frames ----

const hex = (text) => Buffer.from(text, "hex");

function u16(...values) {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, 2 * index);
  return bytes;
}

function checksum(...parts) {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += at + 1 < bytes.length ? bytes.readUInt16BE(at) : bytes[at] << 8;
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return ~sum & 0xffff;
}

function ethernet(type, payload, { to = GUEST.address } = {}) {
  const frame = Buffer.concat([hex(to), hex(HOST.address), u16(type), payload]);
  return Buffer.concat([frame, Buffer.alloc(Math.max(0, 60 - frame.length))]);
}

function ip(protocol, payload, { to = GUEST.ip, from = HOST.ip, flags = 0, options = "", break: broken = 0 } = {}) {
  const length = 20 + options.length / 2;
  const first = Buffer.concat([
    u16(0x4000 | (length << 6), length + payload.length, 0x1234, flags),
    Buffer.from([64, protocol]),
  ]);
  const last = hex(from + to + options);
  return Buffer.concat([first, u16(checksum(first, last) ^ broken), last, payload]);
}

/** Bytes that differ from place to place and from frame to frame. */
const pattern = (length, seed) =>
  Buffer.from(Array.from({ length }, (_, index) => (index * 31 + seed * 7 + (index >> 8)) & 0xff));

function echo(sequence, length, type = 8, broken = 0) {
  const rest = Buffer.concat([u16(0x7777, sequence), pattern(length, sequence)]);
  const head = Buffer.from([type, 0]);
  return Buffer.concat([head, u16(checksum(head, rest) ^ broken), rest]);
}

function udp(from, to, payload, { addresses = HOST.ip + GUEST.ip, check = true, broken = 0 } = {}) {
  const ports = u16(from, to);
  const length = u16(8 + payload.length);
  const sum = check ? checksum(hex(addresses), u16(17), length, ports, length, payload) || 0xffff : 0;
  return Buffer.concat([ports, length, u16(sum ^ broken), payload]);
}

const arp = (operation, target = GUEST.ip) =>
  ethernet(
    0x0806,
    Buffer.concat([u16(1, 0x0800, 0x0604, operation), hex(`${HOST.address}${HOST.ip}000000000000${target}`)]),
    {
      to: "ffffffffffff",
    },
  );
const ping = (sequence, length) => ethernet(0x0800, ip(1, echo(sequence, length)));
const datagram = (port, payload, options) => ethernet(0x0800, ip(17, udp(port, 7, payload, options)));

/** What is wrong with an answer to a ping or datagram, and which it answers. */
function parse(frame) {
  if (
    frame.length < 60 ||
    frame.subarray(0, 6).toString("hex") !== HOST.address ||
    frame.subarray(6, 12).toString("hex") !== GUEST.address
  )
    return { key: "bad frame" };
  if (frame.readUInt16BE(12) === 0x0806) return { key: `arp ${frame.subarray(14, 42).toString("hex")}` };
  const header = frame.subarray(14, 34);
  const length = header.readUInt16BE(2);
  const payload = frame.subarray(34, 14 + length);
  if (checksum(header) !== 0 || header.subarray(12).toString("hex") !== GUEST.ip + HOST.ip)
    return { key: "bad IP header" };
  if (frame.length !== Math.max(60, 14 + length)) return { key: "bad length" };
  if (header[9] === 1) {
    const sequence = payload.readUInt16BE(6);
    const wanted = echo(sequence, payload.length - 8, 0);
    return { key: payload.equals(wanted) ? `ping ${sequence} ${payload.length - 8}` : "bad ping answer" };
  }
  const port = payload.readUInt16BE(2);
  const wanted = udp(7, port, payload.subarray(8), { addresses: GUEST.ip + HOST.ip });
  return { key: payload.equals(wanted) ? `udp ${port} ${payload.subarray(8).toString("hex")}` : "bad UDP answer" };
}

// ---- a guest and the cable to it ----

async function start(card, append) {
  const [guestPort, hostPort] = card.ports;
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  await new Promise((resolve) => socket.bind(hostPort, "127.0.0.1", resolve));
  const network = [
    "-netdev",
    `dgram,id=n,local.type=inet,local.host=127.0.0.1,local.port=${guestPort},remote.type=inet,remote.host=127.0.0.1,remote.port=${hostPort}`,
    "-device",
    `${card.device},netdev=n,mac=52:54:00:12:34:56`,
  ];
  const common = ["-machine", "pc", "-m", "32", "-nic", "none", "-display", "none", "-serial", "stdio", "-no-reboot"];
  const exit = ["-device", "isa-debug-exit,iobase=0xf4,iosize=1"];
  const kernel = ["-kernel", image, "-append", `ip=10.0.2.7 ${card.append} ${append}`];
  const qemu = spawn("qemu-system-i386", [...common, ...network, ...exit, ...kernel], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const guest = { text: "", answers: new Map(), received: 0, code: undefined };
  qemu.stdout.on("data", (bytes) => {
    guest.text += bytes.toString("latin1").replaceAll("\r", "");
  });
  qemu.on("exit", (code) => {
    guest.code = code;
  });
  socket.on("message", (frame) => {
    const { key } = parse(frame);
    guest.received++;
    guest.answers.set(key, (guest.answers.get(key) ?? 0) + 1);
  });
  guest.send = (frame) => new Promise((resolve) => socket.send(frame, guestPort, "127.0.0.1", resolve));
  guest.stop = () => {
    socket.close();
    if (guest.code === undefined) qemu.kill();
  };
  return guest;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition, what) {
  for (let waited = 0; waited < PATIENCE_MS; waited += 2) {
    if (condition()) return;
    await sleep(2);
  }
  throw new Error(`nothing came of: ${what}`);
}

/** Waits until no answer has come for a while. */
async function quiet(guest) {
  for (let seen = -1; seen !== guest.received; ) {
    seen = guest.received;
    await sleep(QUIET_MS);
  }
}

/** Sends frames, few at a time, until each has had its answer; how many were sent. */
async function exchange(guest, frames) {
  const before = guest.received;
  let sent = 0;
  for (const [frame, key] of frames) {
    await until(() => sent - (guest.received - before) < IN_FLIGHT, key);
    await guest.send(frame);
    sent++;
  }
  await until(() => guest.received - before >= sent, "the last answers");
  for (const [, key] of frames) if (guest.answers.get(key) !== 1) expect(key.slice(0, 60), guest.answers.get(key), 1);
  return sent;
}

/** The numbers of the guest's last statistics, by name. */
function counts(text) {
  const last = text.slice(text.lastIndexOf("frames in:"));
  const found = {};
  for (const [, number, name] of last.matchAll(/(\d+) ([a-z ]+?)(?= \(|[,;+]|\n| \+)/g)) found[name] = Number(number);
  found.in = Number(/frames in: (\d+)/.exec(last)?.[1]);
  found.answers = Number(/answers: (\d+)/.exec(last)?.[1]);
  return found;
}

function addUp(found) {
  expect(
    "sum of the frames",
    found.arp + found.icmp + found.udp + found["not for us"] + found["not served"] + found.damaged,
    found.in,
  );
  expect("sum of the answers", found.sent + found.failed + found.refused + found.lost + found.waiting, found.answers);
  expect("answers", found.arp + found.icmp + found.udp, found.answers);
}

async function finish(guest, { resets = 0 } = {}) {
  await guest.send(datagram(9999, Buffer.from("exit")));
  await until(() => guest.code !== undefined, "exit");
  expect("exit code", guest.code, 1); // isa-debug-exit: 2 * 0 + 1
  expect("last line", guest.text.trimEnd().split("\n").at(-1), "done");
  const found = counts(guest.text);
  addUp(found);
  expect("frames that came back", guest.received, found.sent);
  for (const name of ["failed", "refused", "lost", "waiting", "dma errors"]) expect(name, found[name], 0);
  expect("resets", found.resets, resets);
  expect("ring errors", found["ring errors"], found.resets);
  return found;
}

// ---- the trials ----

const unanswered = [
  ["not for us", arp(1, "0a0002fe")],
  ["not for us", ethernet(0x0800, ip(1, echo(1, 8), { to: "0a0002fe" }))],
  ["not for us", ethernet(0x0800, ip(1, echo(1, 8)), { to: "ffffffffffff" })],
  ["not served", arp(2)],
  ["not served", ethernet(0x86dd, Buffer.alloc(46))],
  ["not served", ethernet(0x0800, ip(6, Buffer.alloc(20)))],
  ["not served", ethernet(0x0800, ip(1, echo(1, 8, 0)))],
  ["not served", ethernet(0x0800, ip(1, echo(1, 8), { flags: 0x2000 }))],
  ["not served", ethernet(0x0800, ip(1, echo(1, 8), { flags: 0x0010 }))],
  ["not served", ethernet(0x0800, ip(1, echo(1, 8), { from: GUEST.ip }))],
  ["not served", ethernet(0x0800, ip(1, echo(1, 8), { from: "e0000001" }))],
  ["not served", ethernet(0x0800, ip(17, udp(1000, 8, Buffer.alloc(8))))],
  ["not served", datagram(7, Buffer.alloc(8))],
  ["damaged", ethernet(0x0800, ip(1, echo(1, 8), { break: 0x100 }))],
  ["damaged", ethernet(0x0800, ip(1, echo(1, 8, 8, 0x100)))],
  ["damaged", ethernet(0x0800, ip(1, echo(1, 9, 8, 1)))],
  ["damaged", ethernet(0x0800, ip(1, Buffer.alloc(7)))],
  ["damaged", datagram(1000, Buffer.alloc(9), { broken: 1 })],
  ["damaged", ethernet(0x0800, ip(17, u16(1000, 7, 7, 0)))],
  ["damaged", ethernet(0x0800, ip(17, u16(1000, 7, 9, 0)))],
  ["damaged", ethernet(0x0800, ip(17, u16(1000, 7)))],
  ["damaged", ethernet(0x0800, Buffer.concat([hex("44"), ip(1, echo(1, 8)).subarray(1)]))],
  ["damaged", ethernet(0x0800, Buffer.concat([hex("65"), ip(1, echo(1, 8)).subarray(1)]))],
  ["damaged", ping(1, 100).subarray(0, 100)],
];

async function correctness(card) {
  const guest = await start(card, "");
  try {
    await until(() => guest.text.includes("listening as 10.0.2.7\n"), "the guest's start");
    expect("card", card.says.test(guest.text), true);
    let sent = await exchange(guest, [
      [arp(1), `arp 0001080006040002${GUEST.address}${GUEST.ip}${HOST.address}${HOST.ip}`],
    ]);
    sent += await exchange(
      guest,
      Array.from({ length: 1473 }, (_, n) => [ping(n, n), `ping ${n} ${n}`]),
    );
    sent += await exchange(guest, [[ethernet(0x0800, ip(1, echo(2000, 56), { options: "01010101" })), "ping 2000 56"]]);
    const sizes = Array.from({ length: 200 }, (_, n) => Math.min(1472, n < 50 ? n : (n - 50) * 10));
    const payloads = sizes.map((size, n) => pattern(size, n));
    sent += await exchange(
      guest,
      payloads.map((payload, n) => [
        datagram(1024 + n, payload, { check: n % 3 !== 0 }),
        `udp ${1024 + n} ${payload.toString("hex")}`,
      ]),
    );
    for (const [, frame] of unanswered) await guest.send(frame);
    sent += unanswered.length;
    sent += await exchange(guest, [
      [datagram(3000, Buffer.from("stats\n")), `udp 3000 ${Buffer.from("stats\n").toString("hex")}`],
    ]);
    await until(() => /errors: .*\n/.test(guest.text), "statistics");
    expect("frames in, when asked", counts(guest.text).in, sent);
    const found = await finish(guest);
    expect("frames in", found.in, sent + 1);
    expect("ARP", found.arp, 1);
    expect("ICMP", found.icmp, 1474);
    expect("UDP", found.udp, 202);
    for (const reason of ["not for us", "not served", "damaged"])
      expect(reason, found[reason], unanswered.filter(([why]) => why === reason).length);
    expect("frames across the ring's end", found.wraps > 0, true);
    console.log(
      `${card.name}: ${found.in} frames, all accounted for; ${found.interrupts} interrupts, ${found.wraps} wraps`,
    );
  } finally {
    guest.stop();
  }
}

async function bursts(card) {
  const guest = await start(card, "slow=2000000");
  try {
    await until(() => guest.text.includes("listening"), "the guest's start");
    let sent = 0;
    for (let burst = 0; burst < 8; burst++) {
      for (let n = 0; n < 120; n++, sent++) await guest.send(ping(sent, [18, 60, 1200, 400, 229][n % 5]));
      await quiet(guest);
    }
    const found = await finish(guest);
    const pings = [...guest.answers].filter(([key]) => key.startsWith("ping "));
    expect("pings answered as the guest counts", pings.length, found.icmp);
    expect("pings answered twice", pings.filter(([, times]) => times !== 1).length, 0);
    expect("wrong answers", [...guest.answers.keys()].filter((key) => key.startsWith("bad")).join(), "");
    expect("more came than the ring held", found.icmp > 8 && found.icmp < sent, true);
    console.log(`${card.name}: of ${sent} pings in bursts ${found.icmp} were taken and answered once each`);
  } finally {
    guest.stop();
  }
}

/** The ring has 52 pages of 256 bytes, one of which is always kept free. */
async function damage(card) {
  const guest = await start(card, "slow=400000000");
  try {
    await until(() => guest.text.includes("listening"), "the guest's start");
    await guest.send(ping(0, 18));
    await sleep(60); // the guest has taken it and is busy: 51 pages are free
    for (let n = 1; n <= 3; n++) await guest.send(ping(n, 18));
    for (let n = 4; n <= 11; n++) await guest.send(ping(n, 1472));
    await guest.send(ping(12, 400)); // two pages, the second over the header of ping 1
    await until(() => guest.received === 1, "the first answer");
    await sleep(QUIET_MS);
    await exchange(guest, [[ping(13, 1472), "ping 13 1472"]]);
    const found = await finish(guest, { resets: 1 });
    expect("pings answered", found.icmp, 2);
    console.log(`${card.name}: the damaged ring was found, the card reset`);
  } finally {
    guest.stop();
  }
}

for (const card of CARDS) {
  await correctness(card);
  await bursts(card);
  await damage(card);
}
console.log(failures === 0 ? "all as expected" : `${failures} WRONG`);
process.exitCode = failures === 0 ? 0 : 1;
