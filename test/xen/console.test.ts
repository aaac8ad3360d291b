import { describe, expect, test } from "vitest";
import { startMachine, type TestMachine } from "./support.ts";

const IN_CONS = 3072;
const IN_PROD = 3076;
const OUT_CONS = 3080;
const OUT_PROD = 3084;

/** Host-physical address of the console ring. */
const ring = ({ domain }: TestMachine): number => domain.p2m.frameOf(domain.console.gfn) * 4096;
const word = (machine: TestMachine, offset: number): number => machine.processor.memory.load32(ring(machine) + offset);

/** Puts text where the guest's driver would, from free-running index `from` on, and notifies. */
function print(machine: TestMachine, text: string, from = word(machine, OUT_PROD)): void {
  const { memory } = machine.processor;
  for (const [index, byte] of new TextEncoder().encode(text).entries()) {
    memory.store8(ring(machine) + 1024 + ((from + index) % 2048), byte);
  }
  memory.store32(ring(machine) + OUT_PROD, (from + text.length) >>> 0);
  machine.domain.events.send(machine.domain.console.port);
}

const wait = (machine: TestMachine): void => machine.clock.advanceTo(machine.clock.now + 5_000);
const type = (machine: TestMachine, count: number): void => {
  machine.xen.consoleInput(
    1,
    Uint8Array.from({ length: count }, (_, index) => index & 0xff),
  );
};

describe("the console", () => {
  test("takes what the guest wrote, across the ring's end and the end of the index", () => {
    const machine = startMachine();
    machine.processor.memory.store32(ring(machine) + OUT_CONS, 0xffff_fffa);
    print(machine, "around the end", 0xffff_fffa);
    wait(machine);
    expect(machine.console()).toBe("around the end");
    expect(word(machine, OUT_CONS)).toBe(8);
  });

  test("tells the guest that there is room again", () => {
    const machine = startMachine();
    wait(machine);
    const { domain } = machine;
    domain.shared.clearPending(domain.console.port);
    print(machine, "x".repeat(2048));
    expect(domain.shared.pending(domain.console.port)).toBe(false);
    wait(machine);
    expect(domain.shared.pending(domain.console.port)).toBe(true);
  });

  test("takes nothing from indices that are nonsense, and goes on when they are right again", () => {
    const machine = startMachine();
    for (const [produced, consumed] of [
      [2049, 0],
      [0, 1],
      [0x8000_0000, 0],
    ] as const) {
      machine.processor.memory.store32(ring(machine) + OUT_PROD, produced);
      machine.processor.memory.store32(ring(machine) + OUT_CONS, consumed);
      machine.domain.events.send(machine.domain.console.port);
      wait(machine);
    }
    expect(machine.console()).toBe("");
    machine.processor.memory.store32(ring(machine) + OUT_CONS, 5);
    print(machine, "hello", 5);
    wait(machine);
    expect(machine.console()).toBe("hello");
  });

  test("keeps input that finds no room until the guest has read", () => {
    const machine = startMachine();
    type(machine, 1500);
    expect(word(machine, IN_PROD)).toBe(1024);
    machine.processor.memory.store32(ring(machine) + IN_CONS, 1000);
    machine.domain.events.send(machine.domain.console.port);
    wait(machine);
    expect(word(machine, IN_PROD)).toBe(1500);
    expect(machine.processor.memory.load8(ring(machine) + (1499 % 1024))).toBe(1499 & 0xff);
  });

  test("refuses input without end", () => {
    const machine = startMachine();
    expect(() => type(machine, 100_000)).toThrow(/at most 65536 because/);
    expect(() => machine.xen.consoleInput(9, Uint8Array.of(1))).toThrow(/no such console/);
  });

  test("shows the last words of a domain that ends before they were fetched", () => {
    const machine = startMachine();
    print(machine, "goodbye");
    machine.xen.crash(machine.domain, "test");
    expect(machine.console()).toBe("goodbye");
    expect(machine.events.at(-1)).toMatchObject({ kind: "domain-state", state: "crashed" });
  });
});
