// Domains share one processor by their weights and caps; one that sleeps and wakes does not wait for those that spin.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { completeConfig, type DomainConfig, type MachineConfig } from "../../src/machine/config.ts";
import { Images } from "../../src/machine/images.ts";
import { Machine } from "../../src/machine/machine.ts";
import type { TraceEvent } from "../../src/trace/events.ts";
import { VCPU_H } from "../../src/xen/abi/constants.ts";
import { pvhKernel } from "../xen/support.ts";

const MS = 1_000_000;
/** 1: inc ecx; jmp 1b */
const SPINNER = pvhKernel([0x41, 0xeb, 0xfd]);
/** 1: mov eax, 29 (sched_op); xor ebx, ebx (yield); vmcall; jmp 1b */
const YIELDER = pvhKernel([0xb8, 29, 0, 0, 0, 0x31, 0xdb, 0x0f, 0x01, 0xc1, 0xeb, 0xf4]);
const ECHO = new Uint8Array(readFileSync(new URL("../../guests/images/ne2000-echo.elf", import.meta.url)));

const images = new Images(
  {
    spinner: { build: () => SPINNER },
    yielder: { build: () => YIELDER },
    "ne2000-echo": { build: () => ECHO },
  },
  () => new Uint8Array(0),
);

const spinner = (name: string, share: Partial<DomainConfig> = {}): DomainConfig => ({
  name,
  kernel: "spinner",
  memoryMiB: 2,
  ...share,
});

function run(
  domains: readonly DomainConfig[],
  timeLimitNs: number,
  stopAfter = Number.POSITIVE_INFINITY,
  network: MachineConfig["network"] = {},
) {
  const config = completeConfig({ domains, network, timeLimitNs });
  const events: TraceEvent[] = [];
  const made = () => new Machine(config, images, "shares", (event) => events.push(event));
  let machine = made();
  while (machine.step()) {
    if (machine.steps !== stopAfter) continue;
    const saved = machine.save();
    machine = made();
    machine.load(saved);
  }
  const vcpus = Array.from(machine.hypervisor.domains.values(), ({ vcpus: [vcpu] }) => vcpu!);
  const spent = (state: number) =>
    vcpus.map(({ runstate }) => {
      const { times, state: present, since } = runstate.save();
      return (times[state] ?? 0) + (present === state ? machine.now - since : 0);
    });
  const ran = spent(VCPU_H.RUNSTATE_running).map((ns) => Math.round(ns / MS));
  return { events, ran, offline: spent(VCPU_H.RUNSTATE_offline), digest: machine.stateDigest() };
}

describe("domains that spin", () => {
  test("get the same, if nothing else is said", () => {
    for (const ran of run([spinner("a"), spinner("b"), spinner("c")], 300 * MS).ran) {
      expect(Math.abs(ran - 100)).toBeLessThanOrEqual(3);
    }
  });

  test("share by weight", () => {
    const [heavy, light, other] = run(
      [spinner("heavy", { weight: 512 }), spinner("light", { weight: 128 }), spinner("other", { weight: 128 })],
      600 * MS,
    ).ran;
    expect(Math.abs(heavy! - 400)).toBeLessThanOrEqual(12);
    expect(Math.abs(light! - 100)).toBeLessThanOrEqual(12);
    expect(Math.abs(other! - 100)).toBeLessThanOrEqual(12);
  });

  test("get no more than their cap, even of an idle processor, and are offline for the rest", () => {
    const { ran, offline } = run([spinner("capped", { cap: 25 })], 200 * MS);
    expect(ran).toEqual([50]);
    expect(offline[0]! / MS).toBeGreaterThan(140);
    expect(run([spinner("capped", { cap: 10 }), spinner("free")], 200 * MS).ran).toEqual([20, 180]);
  });

  test("let one that yields wait, and the other way round", () => {
    const [yielding, spinning] = run([{ ...spinner("y"), kernel: "yielder" }, spinner("s")], 100 * MS).ran;
    expect(yielding).toBeLessThan(2);
    expect(spinning).toBeGreaterThan(97);
  });

  test("do so in the same way each time, saved and restored in between or not", () => {
    const domains = [spinner("a", { weight: 300 }), spinner("b", { cap: 40 }), spinner("c")];
    const straight = run(domains, 100 * MS);
    expect(run(domains, 100 * MS, 57).digest).toEqual(straight.digest);
  });
});

test("a domain that sleeps answers as fast beside one that spins as alone, though it has no greater weight", () => {
  const guest: DomainConfig = {
    name: "guest",
    kernel: "ne2000-echo",
    memoryMiB: 2,
    board: { kind: "pc", nics: [{ model: "ne2000-isa", address: "52:54:00:12:34:56" }] },
  };
  const ping = { to: "10.0.0.2", sizes: Array.from({ length: 20 }, () => 100), startNs: 20 * MS, intervalNs: 3 * MS };
  const network = { hosts: [{ name: "tester", address: "52:54:00:00:00:01", ip: "10.0.0.1", ping }] };
  const slowest = (domains: readonly DomainConfig[]) => {
    const sent = run(domains, 100 * MS, undefined, network).events.filter((event) => event.kind === "frame-sent");
    // The end 0 of its cable is the card's.
    const [answers, questions] = [0, 1].map((end) =>
      sent.filter((event) => event.link === "guest net0" && event.end === end).map(({ at }) => at),
    );
    expect(answers).toHaveLength(21);
    return Math.max(...answers!.map((at, index) => at - questions![index]!));
  };
  expect(slowest([guest, spinner("hog"), spinner("pig")])).toBeLessThan(slowest([guest]) + 20_000);
});
