// Part: VM exits a second, from a guest that does nothing else, through the whole hypervisor.

import { completeConfig, type MachineConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import type { TraceEvent } from "../src/trace/events.ts";
import { TraceWriter } from "../src/trace/writer.ts";
import { loadImage } from "./files.ts";
import { table, timed } from "./measure.ts";
import { headerFor } from "./recorded.ts";

/** What exits; a jump back follows, which is one instruction more for each exit. */
const GUESTS: Readonly<Record<string, readonly number[]>> = {
  // CPUID
  CPUID: [0x0f, 0xa2],
  // OUT 80h, AL
  "port output": [0xe6, 0x80],
  // MOV EAX, 17 (xen_version); XOR EBX, EBX (XENVER_version); VMCALL
  "hypercall xen_version": [0xb8, 17, 0, 0, 0, 0x31, 0xdb, 0x0f, 0x01, 0xc1],
  // MOV [F000_0000h], AL: nothing answers there
  "EPT violation": [0xa2, 0, 0, 0, 0xf0],
};
const LOAD_ADDRESS = 0x10_0000;
/** One instruction retires an exit, so exits come at a million a virtual second, and a turn of the machine is ten thousand of them. */
export const EXIT_SPEED = [1000, 1] as const;
const SPANS = { warmUpNs: 200_000_000, measuredNs: 1_000_000_000 };
const PHYS32_ENTRY = 18;

/** The smallest PVH kernel: ELF header, a segment that holds the note with the entry point, and the code. */
function pvhKernel(code: readonly number[]): Uint8Array {
  const HEADERS = 52 + 2 * 32;
  const NOTE_BYTES = 20;
  const entry = LOAD_ADDRESS + HEADERS + NOTE_BYTES;
  const jump = [0xeb, -(code.length + 2) & 0xff];
  const bytes = Buffer.alloc(HEADERS + NOTE_BYTES + code.length + jump.length);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  const half = (at: number, ...values: number[]): void => {
    for (const [index, value] of values.entries()) bytes.writeUInt16LE(value, at + 2 * index);
  };
  const words = (at: number, ...values: number[]): void => {
    for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, at + 4 * index);
  };
  half(16, 2, 3);
  words(20, 1, entry, 52, 0, 0);
  half(40, 52, 32, 2, 40, 0, 0);
  words(52, 1, 0, LOAD_ADDRESS, LOAD_ADDRESS, bytes.length, bytes.length, 7, 4096);
  words(84, 4, HEADERS, LOAD_ADDRESS + HEADERS, LOAD_ADDRESS + HEADERS, NOTE_BYTES, NOTE_BYTES, 4, 4);
  words(HEADERS, 4, 4, PHYS32_ENTRY);
  bytes.write("Xen\0", HEADERS + 12, "latin1");
  words(HEADERS + 16, entry);
  bytes.set([...code, ...jump], HEADERS + NOTE_BYTES);
  return new Uint8Array(bytes);
}

/** Virtual time, ns: until the guest's loop is warm, and of the part that counts. */
export interface Spans {
  readonly warmUpNs: number;
  readonly measuredNs: number;
}

/** Exits in a CPU second of a machine whose guest does nothing else, all events recorded or thrown away. */
export function exitRate(machineConfig: MachineConfig, images: Images, spans: Spans, recorded: boolean): number {
  const config = completeConfig(machineConfig);
  const writer = new TraceWriter(headerFor("exits", config, images.records()), () => {});
  let exits = 0;
  const machine = new Machine(config, images, "bench", (event: TraceEvent) => {
    if (event.kind === "vm-exit") exits++;
    if (recorded) writer.write(event);
  });
  const runUntil = (ns: number): void => {
    while (machine.now < ns && machine.step()) if (writer.full) writer.closeChunk(machine.stateDigest());
  };
  runUntil(spans.warmUpNs);
  const before = exits;
  const seconds = timed(() => runUntil(spans.warmUpNs + spans.measuredNs));
  return (exits - before) / seconds;
}

function rate(code: readonly number[], recorded: boolean): number {
  const config = {
    domains: [{ name: "guest", kernel: "kernel", memoryMiB: 4 }],
    nsPerInstruction: EXIT_SPEED,
    exitCostNs: 0,
  };
  return exitRate(config, new Images({ kernel: { build: () => pvhKernel(code) } }, loadImage), SPANS, recorded);
}

export function exitRates(): string {
  const rows = Object.entries(GUESTS).map(([name, code]) => [
    name,
    ...[false, true].map((recorded) => (rate(code, recorded) / 1e6).toFixed(2)),
  ]);
  return table(["M VM exits a CPU second", "not recording", "recording"], rows);
}
