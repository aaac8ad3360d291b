// Part: what virtual network interfaces cost: packets a second from one model domain's front end over its back end, cable, switch, and another
// back end to the other domain's front end; and the half of that way that ends on the cable.

import { nodeSha256 } from "../src/cli/host/sha256.ts";
import { Netfront } from "../src/devices/vnif/front.ts";
import { completeConfig } from "../src/machine/config.ts";
import { Images } from "../src/machine/images.ts";
import { Machine } from "../src/machine/machine.ts";
import type { TraceEvent } from "../src/trace/events.ts";
import { TraceWriter } from "../src/trace/writer.ts";
import type { ModelFactory, ModelKernel } from "../src/xen/model/kernel.ts";
import { loadImage } from "./files.ts";
import { quickest, type Rate, table, timed, verdict } from "./measure.ts";
import { headerFor } from "./recorded.ts";

const PAGES = 300;
const BUFFERS = 128;
/** Packets handed over at once: what a busy stack gives a driver. */
const BATCH = 64;
const PACKETS = 150_000;
const WARM_UP = 30_000;
const DEMANDED_PACKETS = 300_000;

interface Load {
  readonly size: number;
  /** To the other domain; else to the switch, which has nobody to pass it on to. */
  readonly through: boolean;
}

const LOADS: Readonly<Record<string, Load>> = {
  "60 bytes to the cable": { size: 60, through: false },
  "1514 bytes to the cable": { size: 1514, through: false },
  "60 bytes to another domain": { size: 60, through: true },
  "1514 bytes to another domain": { size: 1514, through: true },
};

type Program = ReturnType<ModelFactory>;

const program = (net: Netfront): Program => ({ start: () => net.start(), save: () => net.save(), load: () => {} });

function streamer(kernel: ModelKernel, size: number): Program {
  const frame = new Uint8Array(size);
  frame.set([0x00, 0x16, 0x3e, 0, 0, 2, 0x00, 0x16, 0x3e, 0, 0, 1, 0x88, 0xb5]);
  let room = BATCH;
  const fill = (): void => {
    for (; room > 0 && net.send(frame); room--);
    net.push();
  };
  const net: Netfront = new Netfront(
    kernel,
    { device: 0, txBuffers: BUFFERS, rxBuffers: 8 },
    {
      ready: fill,
      received: () => {},
      sent: (count) => {
        room += count;
        fill();
      },
      closed: () => {},
    },
  );
  return program(net);
}

function listener(kernel: ModelKernel, heard: () => void): Program {
  const handlers = { ready: () => {}, received: heard, closed: () => {} };
  return program(new Netfront(kernel, { device: 0, txBuffers: 8, rxBuffers: BUFFERS }, handlers));
}

export function packetRate({ size, through }: Load, recorded: boolean, packets = PACKETS): Rate {
  const link = { bitsPerSecond: 10_000_000_000 };
  const model = (name: string, last: number) => ({
    name,
    program: name,
    pages: PAGES,
    vifs: [{ address: `00:16:3e:00:00:0${last}`, link }],
  });
  const config = completeConfig({
    domains: [],
    models: [model("streamer", 1), ...(through ? [model("listener", 2)] : [])],
    timeLimitNs: 2 ** 50,
    tscKhz: 1000,
  });
  let done = 0;
  let events = 0;
  const writer = new TraceWriter(headerFor("packets", config, []), () => {}, nodeSha256);
  const emit = (event: TraceEvent): void => {
    events++;
    if (!through && event.kind === "frame-arrival") done++;
    if (recorded) writer.write(event);
  };
  const programs = {
    streamer: (kernel: ModelKernel) => streamer(kernel, size),
    listener: (kernel: ModelKernel) => listener(kernel, () => done++),
  };
  const machine = new Machine(config, new Images({}, loadImage), "bench", emit, { programs });
  const runUntil = (count: number): void => {
    while (done < count && machine.step()) if (writer.full) writer.closeChunk(machine.stateDigest());
    if (done < count) throw new Error(`${done} of ${count} packets arrived: ${machine.reason}`);
  };
  runUntil(WARM_UP);
  const [doneBefore, eventsBefore] = [done, events];
  const seconds = timed(() => runUntil(WARM_UP + packets));
  const made = done - doneBefore;
  return { perSecond: made / seconds, eventsEach: (events - eventsBefore) / made };
}

export interface PacketCosts {
  readonly table: string;
  readonly demands: readonly string[];
}

export function packetCosts(progress: (line: string) => void): PacketCosts {
  const thousands = (rate: number): string => (rate / 1000).toFixed(0);
  let best = 0;
  const rows = Object.entries(LOADS).map(([name, load]) => {
    progress(`packets of ${name}`);
    const free = quickest(() => packetRate(load, false));
    const recorded = quickest(() => packetRate(load, true));
    best = Math.max(best, recorded.perSecond);
    const rates = [thousands(free.perSecond), thousands(recorded.perSecond)];
    return [name, ...rates, recorded.eventsEach.toFixed(1)];
  });
  return {
    table: table(["k packets a CPU second", "not recording", "recording", "events a packet"], rows),
    demands: [
      `packets of a model domain: ${thousands(best)} k/s, at least 300 k/s demanded: ${verdict(best >= DEMANDED_PACKETS)}`,
    ],
  };
}
