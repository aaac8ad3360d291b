// QEMU's ne2k_isa behind its qtest protocol (docs/devel/testing/qtest.rst): port accesses as text on standard input and output, frames as UDP
// datagrams on the loopback interface. Debian's QEMU has no qtest accelerator, so the processor runs, and a firmware of HLTs keeps it still.

import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { AccessWidth } from "../../../src/core/bus.ts";

const QEMU = "qemu-system-i386";
const SUFFIX = { 1: "b", 2: "w", 4: "l" } as const;
/** A line of the first 8259 that can be level-triggered, so that its request register follows the card's pin. */
const IRQ = 5;
const FIRMWARE_SIZE = 65_536;
const HLT = 0xf4;

/** Why the comparison cannot be made here; undefined when it can. */
export function qemuMissing(): string | undefined {
  const { error, status } = spawnSync(QEMU, ["-device", "ne2k_isa,help"], { stdio: "ignore" });
  if (error === undefined && status === 0) return undefined;
  return `no ${QEMU} with ne2k_isa (apt-get install qemu-system-x86)`;
}

export class QemuCard {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: Interface;
  readonly #socket: Socket;
  readonly #qemuPort: number;
  readonly #base: number;
  /** Those who wait for an answer, in the order of their commands. */
  readonly #waiting: ((answer: string) => void)[] = [];
  /** Frames that the card sent, without check sequence. */
  readonly seen: Uint8Array[] = [];
  #onFrame: (() => void) | undefined;

  private constructor(
    process: ChildProcessByStdio<Writable, Readable, null>,
    socket: Socket,
    qemuPort: number,
    base: number,
  ) {
    this.#process = process;
    this.#socket = socket;
    this.#qemuPort = qemuPort;
    this.#base = base;
    this.#lines = createInterface({ input: process.stdout });
    this.#lines.on("line", (line) => {
      if (line.startsWith("OK") || line.startsWith("FAIL") || line.startsWith("ERR")) this.#waiting.shift()?.(line);
    });
    socket.on("message", (frame) => {
      this.seen.push(new Uint8Array(frame));
      this.#onFrame?.();
    });
  }

  static async start(address: string, base: number): Promise<QemuCard> {
    const [socket, other] = await Promise.all([bound(), bound()]);
    const qemuPort = other.address().port;
    await new Promise<void>((resolve) => other.close(() => resolve()));
    const udp = `udp=127.0.0.1:${socket.address().port},localaddr=127.0.0.1:${qemuPort}`;
    const firmware = join(tmpdir(), "ringback-halt.bin");
    writeFileSync(firmware, new Uint8Array(FIRMWARE_SIZE).fill(HLT));
    const process = spawn(
      QEMU,
      [
        ...["-machine", "isapc", "-accel", "tcg", "-bios", firmware, "-qtest", "stdio", "-qtest-log", "/dev/null"],
        ...["-display", "none", "-nodefaults", "-netdev", `socket,id=net,${udp}`],
        ...["-device", `ne2k_isa,netdev=net,mac=${address},iobase=${base},irq=${IRQ}`],
      ],
      { stdio: ["pipe", "pipe", "ignore"] },
    );
    const card = new QemuCard(process, socket, qemuPort, base);
    // The 8259: initialised for edges, then this line level-triggered through ELCR.
    for (const [port, value] of [
      [0x20, 0x11],
      [0x21, 8],
      [0x21, 4],
      [0x21, 1],
      [0x4d0, 1 << IRQ],
    ]) {
      await card.#command(`outb ${port} ${value}`);
    }
    return card;
  }

  async in(offset: number, width: AccessWidth = 1): Promise<number> {
    const answer = await this.#command(`in${SUFFIX[width]} ${this.#base + offset}`);
    return Number.parseInt(answer.split(" ")[1] ?? "", 16);
  }

  async out(offset: number, value: number, width: AccessWidth = 1): Promise<void> {
    await this.#command(`out${SUFFIX[width]} ${this.#base + offset} ${value >>> 0}`);
  }

  /** The card's interrupt pin. */
  async irq(): Promise<boolean> {
    await this.#command("outb 32 10");
    const answer = await this.#command("inb 32");
    return (Number.parseInt(answer.split(" ")[1] ?? "", 16) & (1 << IRQ)) !== 0;
  }

  /** A frame without check sequence; QEMU has looked at it when this resolves. */
  async arrive(frame: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.send(frame, this.#qemuPort, "127.0.0.1", () => resolve()));
    // Once round QEMU's main loop may answer before it looks at the socket; twice cannot.
    for (let round = 0; round < 2; round++) await this.#command("inb 128");
  }

  /** Resolves when so many frames have been sent in all. */
  async sent(count: number): Promise<void> {
    while (this.seen.length < count) await new Promise<void>((resolve) => (this.#onFrame = resolve));
  }

  async stop(): Promise<void> {
    const gone = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await gone;
    this.#lines.close();
    this.#socket.close();
  }

  #command(text: string): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#process.stdin.write(`${text}\n`);
    });
  }
}

async function bound(): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}
