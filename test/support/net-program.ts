// Model domains' programs that speak over their interface: one sends numbered frames and checks what comes back, the other sends every
// frame back to where it came from.

import { Netfront, type NetfrontOptions, type NetfrontState } from "../../src/devices/vnif/front.ts";
import type { ModelKernel, ModelProgram } from "../../src/xen/model/kernel.ts";

const ETHER_TYPE = 0x88b5;
const HEADER = 14;

export interface SenderOptions extends Partial<NetfrontOptions> {
  /** Sizes of the frames, in turn; each begins with its number. */
  readonly sizes: readonly number[];
  readonly count: number;
  /** Frames under way at once. */
  readonly depth: number;
}

/** Frame `number` for a station. */
export function numberedFrame(number: number, size: number, from: Uint8Array, to: Uint8Array): Uint8Array {
  const frame = new Uint8Array(size);
  for (let at = HEADER; at < size; at++) frame[at] = number + at * 3;
  frame.set(to);
  frame.set(from, 6);
  const view = new DataView(frame.buffer);
  view.setUint16(12, ETHER_TYPE);
  view.setUint32(HEADER, number);
  return frame;
}

const addressOf = (text: string | undefined) =>
  Uint8Array.from(text?.split(":") ?? [], (byte) => Number.parseInt(byte, 16));
const BROADCAST = new Uint8Array(6).fill(0xff);

/** Says at the end how many frames came back right and how many wrong, and ends its domain. */
export function sender(
  kernel: ModelKernel,
  { sizes, count, depth, ...options }: SenderOptions,
): ModelProgram<{ net: NetfrontState; sent: number; right: number; wrong: number }> {
  let [sent, right, wrong] = [0, 0, 0];
  const frame = (number: number) =>
    numberedFrame(number, sizes[number % sizes.length]!, addressOf(net.address), BROADCAST);
  const feed = () => {
    while (sent < count && sent - right - wrong < depth && net.send(frame(sent))) sent++;
    net.push();
  };
  const begin = kernel.alarm("begin", feed);
  const net: Netfront = new Netfront(
    kernel,
    { device: 0, ...options },
    {
      // The others need their time to connect.
      ready: () => begin.set(kernel.clock.now + 1_000_000),
      received(heard) {
        const expected = frame(right + wrong);
        const isRight =
          heard.length === Math.max(60, expected.length) && expected.every((byte, at) => at < 12 || heard[at] === byte);
        if (isRight) right++;
        else wrong++;
        if (right + wrong === count) net.disconnect();
        else feed();
      },
      closed() {
        kernel.console.write(`${right} right, ${wrong} wrong\n`);
        kernel.shutdown();
      },
    },
  );
  return {
    start: () => net.start(),
    save: () => ({ net: net.save(), sent, right, wrong }),
    load: (state) => {
      net.load(state.net);
      ({ sent, right, wrong } = state);
    },
  };
}

/** Sends everything back, until its device is closed. */
export function echo(kernel: ModelKernel, options: Partial<NetfrontOptions> = {}): ModelProgram<NetfrontState> {
  const net: Netfront = new Netfront(
    kernel,
    { device: 0, ...options },
    {
      ready() {},
      received(frame) {
        const back = frame.slice();
        back.set(frame.subarray(6, 12));
        back.set(addressOf(net.address), 6);
        net.send(back);
        net.push();
      },
      closed() {},
    },
  );
  return { start: () => net.start(), save: () => net.save(), load: (state) => net.load(state) };
}
