// Part: how long a snapshot takes: a guest of 64 MiB, 8 MiB of which hold data that does not compress, stopped in the middle of its work.

import { decodePlain, encodePlain } from "../src/core/plain-data.ts";
import { RandomStreams } from "../src/core/random.ts";
import { MIB } from "../src/core/units.ts";
import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine, type MachineState } from "../src/machine/machine.ts";
import { loadImage } from "./files.ts";
import { median, table, timed } from "./measure.ts";

const GUEST_MIB = 64;
const DATA_BYTES = 8 * MIB;
/** Above what the guest uses. */
const DATA_ADDRESS = 48 * MIB;
const RUN_NS = 50_000_000;
const SAMPLES = 9;

function machine(): Machine {
  const images = new Images({ guest: { guest: "bench-mem" } }, loadImage);
  const config = completeConfig({ domains: [{ name: "guest", kernel: "guest", memoryMiB: GUEST_MIB }] });
  return new Machine(config, images, "bench", () => {});
}

/** A table of milliseconds: as plain data in memory, and to and from bytes that could be a file. */
export function snapshotTimes(): string {
  const original = machine();
  while (original.now < RUN_NS && original.step());
  const data = new Uint32Array(DATA_BYTES / 4);
  const random = new RandomStreams("bench").stream("data");
  for (let index = 0; index < data.length; index++) data[index] = random.uint32();
  original.processor.memory.write(DATA_ADDRESS, new Uint8Array(data.buffer));

  const other = machine();
  let state: MachineState | undefined;
  let bytes = new Uint8Array(0);
  let decoded: MachineState | undefined;
  const steps: readonly [string, () => void][] = [
    ["save", () => (state = original.save())],
    ["encode as bytes", () => (bytes = new Uint8Array(encodePlain(state)))],
    ["decode from bytes", () => (decoded = decodePlain(bytes, "snapshot") as unknown as MachineState)],
    ["restore", () => other.load(decoded!)],
  ];
  const samples = steps.map((): number[] => []);
  for (let round = 0; round < SAMPLES; round++) {
    for (const [index, [, work]] of steps.entries()) samples[index]!.push(1000 * timed(work));
  }
  if (Buffer.compare(encodePlain(other.save()), bytes) !== 0)
    throw new Error("a restored machine is not the saved one");
  const header = [`snapshot of ${GUEST_MIB} MiB, ${(bytes.length / MIB).toFixed(1)} MiB in use`, "CPU ms"];
  return table(
    header,
    steps.map(([name], index) => [name, median(samples[index]!).toFixed(1)]),
  );
}
