// Part: what model domains cost: block requests a second through a front end and the back end, and a thousand domains on one machine.

import { nodeSha256 } from "../src/cli/host/sha256.ts";
import type { ServiceTime } from "../src/devices/block/service.ts";
import { Blkfront } from "../src/devices/vbd/front.ts";
import type { BlockOperation } from "../src/devices/vbd/front-options.ts";
import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import type { TraceEvent } from "../src/trace/events.ts";
import { TraceWriter } from "../src/trace/writer.ts";
import type { ModelFactory, ModelKernel } from "../src/xen/model/kernel.ts";
import { loadImage } from "./files.ts";
import { quickest, type Rate, table, timed, verdict } from "./measure.ts";
import { headerFor } from "./recorded.ts";

const XVDA = 51712;
const DISK_SECTORS = 65_536;
/** Requests in flight: a full ring. */
const DEPTH = 32;
const REQUESTS = 100_000;
const WARM_UP = 40_000;
const DEMANDED_REQUESTS = 300_000;
const MANY = 1000;

interface Load {
  readonly operation: BlockOperation;
  /** Sectors of 512 bytes in a request. */
  readonly sectors: number;
  readonly persistent: boolean;
  /** A disk without jitter: requests that come together end together, and are answered by one notification. */
  readonly together: boolean;
}

const STEADY: ServiceTime = { operationNs: 20_000, perSectorNs: 0, jitterNs: 0 };

const LOADS: Readonly<Record<string, Load>> = {
  "read a sector, persistent grants, together": { operation: "read", sectors: 1, persistent: true, together: true },
  "read 4 KiB, persistent grants, together": { operation: "read", sectors: 8, persistent: true, together: true },
  "read a sector, persistent grants": { operation: "read", sectors: 1, persistent: true, together: false },
  "read 4 KiB, persistent grants": { operation: "read", sectors: 8, persistent: true, together: false },
  "read 4 KiB": { operation: "read", sectors: 8, persistent: false, together: false },
  "write 4 KiB": { operation: "write", sectors: 8, persistent: false, together: false },
};

/** Keeps a full ring of requests in flight, for ever. */
function loader(
  kernel: ModelKernel,
  { operation, sectors, persistent }: Load,
  done: () => void,
): ReturnType<ModelFactory> {
  const data = new Uint8Array(operation === "write" ? sectors * 512 : 0);
  let next = 0;
  const fill = (): void => {
    while (disk.pending < DEPTH) {
      disk.submit(0, operation, next, sectors, data);
      next = (next + sectors) % DISK_SECTORS;
    }
    disk.push();
  };
  const disk = new Blkfront(
    kernel,
    { device: XVDA, persistent },
    {
      ready: fill,
      done: () => {
        done();
        disk.submit(0, operation, next, sectors, data);
        next = (next + sectors) % DISK_SECTORS;
      },
      closed: () => {},
    },
  );
  return {
    start: () => {
      disk.start();
    },
    save: () => ({ disk: disk.save(), next }),
    load: () => {},
  };
}

function blockRate(load: Load, recorded: boolean, requests = REQUESTS): Rate {
  const disk = { device: "xvda", sectors: DISK_SECTORS, ...(load.together ? { service: STEADY } : {}) };
  const config = completeConfig({
    domains: [],
    models: [{ name: "loader", program: "loader", pages: 64, disks: [disk] }],
    timeLimitNs: 2 ** 50,
    tscKhz: 1000,
  });
  let done = 0;
  let events = 0;
  const writer = new TraceWriter(headerFor("models", config, []), () => {}, nodeSha256);
  const programs = { loader: (kernel: ModelKernel) => loader(kernel, load, () => done++) };
  const emit = (event: TraceEvent): void => {
    events++;
    if (recorded) writer.write(event);
  };
  const machine = new Machine(config, new Images({}, loadImage), "bench", emit, { programs });
  const runUntil = (count: number): void => {
    while (done < count && machine.step()) if (writer.full) writer.closeChunk(machine.stateDigest());
  };
  runUntil(WARM_UP);
  const [doneBefore, eventsBefore] = [done, events];
  const seconds = timed(() => runUntil(WARM_UP + requests));
  const made = done - doneBefore;
  return { perSecond: made / seconds, eventsEach: (events - eventsBefore) / made };
}

/** A thousand domains, each with a disk that it writes a sector of. */
function manyDomains(): { readonly memoryKib: number; readonly heapKib: number; readonly microseconds: number } {
  const config = completeConfig({
    domains: [],
    models: Array.from({ length: MANY }, (_, index) => ({
      name: `m${index}`,
      program: "one",
      pages: 8,
      disks: [{ device: "xvda", sectors: 64 }],
    })),
  });
  let done = 0;
  const one = (kernel: ModelKernel): ReturnType<ModelFactory> => {
    const disk = new Blkfront(
      kernel,
      { device: XVDA },
      {
        ready: () => {
          disk.submit(0, "write", 0, 1, new Uint8Array(512));
          disk.push();
        },
        done: () => {
          done++;
        },
        closed: () => {},
      },
    );
    return {
      start: () => {
        disk.start();
      },
      save: () => disk.save(),
      load: () => {},
    };
  };
  const heapBefore = process.memoryUsage().heapUsed;
  let machine: Machine | undefined;
  const seconds = timed(() => {
    const built = new Machine(config, new Images({}, loadImage), "bench", () => {}, { programs: { one } });
    while (done < MANY && built.step());
    machine = built;
  });
  if (done < MANY) throw new Error(`${done} of ${MANY} domains wrote their disk`);
  const { frames, processor } = machine!.hypervisor;
  const used = processor.memory.size / 4096 - frames.available;
  const heapKib = (process.memoryUsage().heapUsed - heapBefore) / 1024 / MANY;
  return { memoryKib: (used * 4) / MANY, heapKib, microseconds: (seconds * 1e6) / MANY };
}

export interface ModelCosts {
  readonly table: string;
  readonly demands: readonly string[];
}

export function modelCosts(progress: (line: string) => void): ModelCosts {
  const thousands = (rate: number): string => (rate / 1000).toFixed(0);
  let best = 0;
  const rows = Object.entries(LOADS).map(([name, load]) => {
    progress(name);
    const free = quickest(() => blockRate(load, false));
    const recorded = quickest(() => blockRate(load, true));
    best = Math.max(best, recorded.perSecond);
    const rates = [thousands(free.perSecond), thousands(recorded.perSecond)];
    return [name, ...rates, recorded.eventsEach.toFixed(1)];
  });
  progress(`${MANY} domains`);
  const { memoryKib, heapKib, microseconds } = manyDomains();
  const many = table(
    [
      `${MANY} model domains, each`,
      "guest and hypervisor KiB",
      "heap KiB",
      "CPU µs to build, connect a disk and write",
    ],
    [["", memoryKib.toFixed(1), heapKib.toFixed(1), microseconds.toFixed(0)]],
  );
  const holds = verdict(best >= DEMANDED_REQUESTS);
  return {
    table: `${table(["k block requests a CPU second", "not recording", "recording", "events a request"], rows)}\n${many}`,
    demands: [`block requests of a model domain: ${thousands(best)} k/s, at least 300 k/s demanded: ${holds}`],
  };
}
