// A model domain's program that writes a disk full of numbered sectors, with many requests in flight, reads it back and compares.

import { Blkfront, MAX_SECTORS } from "../../src/devices/vbd/front.ts";
import type { BlkfrontState } from "../../src/devices/vbd/front-options.ts";
import type { ModelKernel, ModelProgram } from "../../src/xen/model/kernel.ts";

export const XVDA = 51712;

export interface VerifierState {
  disk: BlkfrontState;
  phase: string;
  next: number;
  wrong: number;
  failed: number;
}

export interface VerifierOptions {
  readonly sectors: number;
  /** Sectors of a request: 1 to 88. */
  readonly size: number;
  readonly persistent?: boolean;
  readonly protocol?: "x86_32-abi" | "x86_64-abi";
  readonly start?: number;
}

const DEPTH = 48;

/** What a sector holds: its number and a pattern that depends on it. */
export function sectorBytes(sector: number): Uint8Array {
  const bytes = new Uint8Array(512);
  for (let index = 0; index < 512; index++) bytes[index] = (sector * 7 + index * 3 + (sector >> 8)) & 0xff;
  new DataView(bytes.buffer).setUint32(0, sector, true);
  return bytes;
}

export function verifier(kernel: ModelKernel, options: VerifierOptions): ModelProgram<VerifierState> {
  const size = Math.min(options.size, MAX_SECTORS);
  let phase = "write";
  let next = 0;
  let wrong = 0;
  let failed = 0;
  const bye = kernel.alarm("bye", () => kernel.shutdown());
  const { persistent = false, protocol = "x86_32-abi", start = 0 } = options;
  const disk = new Blkfront(
    kernel,
    { device: XVDA, persistent, protocol, start },
    {
      ready() {
        kernel.console.write(`${disk.sectors} sectors\n`);
        feed();
      },
      done(tag, status, data) {
        if (status !== 0) failed++;
        if (phase === "read" && status === 0) {
          for (let at = 0; at < data.length; at += 512) {
            const expected = sectorBytes(tag + at / 512);
            if (expected.some((byte, index) => data[at + index] !== byte)) wrong++;
          }
        }
        feed();
      },
      closed() {
        kernel.console.write("closed\n");
        bye.set(kernel.clock.now + 1_000_000);
      },
    },
  );
  const feed = (): void => {
    if (!disk.connected) return;
    while (next < options.sectors && disk.pending < DEPTH) {
      const count = Math.min(size, options.sectors - next);
      if (phase === "write") {
        const data = new Uint8Array(512 * count);
        for (let index = 0; index < count; index++) data.set(sectorBytes(next + index), 512 * index);
        disk.submit(next, "write", next, count, data);
      } else disk.submit(next, "read", next, count);
      next += count;
    }
    disk.push();
    if (next < options.sectors || disk.pending > 0) return;
    if (phase === "write") {
      phase = "flush";
      disk.submit(0, "flush");
      disk.push();
    } else if (phase === "flush") {
      phase = "read";
      next = 0;
      feed();
    } else if (phase === "read") {
      phase = "end";
      kernel.console.write(`${wrong} wrong, ${failed} failed\n`);
      disk.disconnect();
    }
  };
  return {
    start: () => {
      disk.start();
    },
    save: () => ({ disk: disk.save(), phase, next, wrong, failed }),
    load(state) {
      disk.load(state.disk);
      ({ phase, next, wrong, failed } = state);
    },
  };
}
