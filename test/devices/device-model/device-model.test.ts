// What a guest sees of I/O that a device model carries out, from machine code to the device and back.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IOREQ_H as R } from "../../../src/xen/abi/constants.ts";
import { HvmMachine, INNER_PORT, LATENCY_NS, MMIO, PORT } from "./hvm-machine.ts";

const SET_DX = (port: number) => [0xba, port & 0xff, port >> 8];
const EAX = 0;

describe("an HVM domain", () => {
  it("starts at the reset vector; the firmware's end below 1 MiB can be written, the ROM at 4 GiB cannot", () => {
    // MOV BYTE CS:[0200], 5A in the shadow.
    const machine = new HvmMachine([0x2e, 0xc6, 0x06, 0x00, 0x02, 0x5a]).run();
    expect(machine.hypervisor.endOf(machine.domid)).toBe("poweroff");
    expect(machine.memory(0xf_0200, 1)).toEqual([0x5a]);
    expect(machine.memory(0xffff_0200, 1)).toEqual([0]);
    const host = machine.hypervisor.deviceModelHost(machine.domid);
    expect(host.memory.write(0xffff_0200, Uint8Array.of(1))).toBe(false);
  });

  it("finds no hypervisor: no Xen leaf, and VMCALL is undefined", () => {
    // MOV EAX, 40000000h; CPUID; MOV CS:[0200], EBX
    const code = [0x66, 0xb8, 0, 0, 0, 0x40, 0x0f, 0xa2, 0x2e, 0x66, 0x89, 0x1e, 0x00, 0x02];
    const machine = new HvmMachine(code).run();
    expect(Buffer.from(machine.memory(0xf_0200, 4)).toString("latin1")).not.toBe("XenV");
    const called = new HvmMachine([0x0f, 0x01, 0xc1]).run(1_000_000);
    expect(called.of("hypercall")).toEqual([]);
  });
});

describe("IN and OUT", () => {
  it.each([
    [[0xec], 0x1234_56ff],
    [[0xed], 0x1234_fcff],
    [[0x66, 0xed], 0xffff_fcff],
  ])("%j merges what the device answers into EAX by its width, and retires once", (instruction, expected) => {
    // MOV EAX, 12345678h; IN; INC BX
    const code = [...SET_DX(PORT), 0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, ...instruction, 0x43];
    const machine = new HvmMachine(code).run();
    expect(machine.processor.state.gpr(EAX)).toBe(expected);
    expect(machine.processor.state.gpr(3) & 0xffff).toBe(1);
    expect(machine.accesses).toHaveLength(1);
    expect(machine.of("ioreq")).toHaveLength(1);
    expect(machine.of("ioreq-answer")).toHaveLength(1);
  });

  it("reaches a device inside the hypervisor without a request, and nobody's port reads all ones by a request", () => {
    const machine = new HvmMachine([0xe4, INNER_PORT, 0xe6, INNER_PORT + 1, 0xe4, 0x99]).run();
    expect(machine.accesses).toEqual(["in1 40", "out1 41 bf"]);
    expect(machine.of("ioreq").map(({ address }) => address)).toEqual([0x99]);
    expect(machine.of("ioreq-answer").map(({ data }) => data)).toEqual([0xff]);
  });

  it("waits for the device model as long as it takes: request, notification, answer, notification, each at its time", () => {
    const machine = new HvmMachine([...SET_DX(PORT), 0xec, 0xec]).run();
    // The first request meets the notification that binding a port raises.
    const [, asked] = machine.of("ioreq");
    const [, answered] = machine.of("ioreq-answer");
    expect(answered!.at - asked!.at).toBe(LATENCY_NS);
    expect(machine.of("evtchn-send")).toHaveLength(4);
  });
});

describe("string I/O", () => {
  it("moves any number of data of any width in any direction as single instructions would", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0x3f80, max: 0x4080 }),
        fc.boolean(),
        fc.boolean(),
        (width, count, start, down, input) => {
          const opcode = (input ? 0x6c : 0x6e) + (width === 1 ? 0 : 1);
          const code = [
            ...SET_DX(PORT),
            ...[0x31, 0xc0, 0x8e, 0xc0, 0x8e, 0xd8], // DS = ES = 0
            ...[0xb9, count, 0, input ? 0xbf : 0xbe, start & 0xff, start >> 8, down ? 0xfd : 0xfc],
            ...[0xf3, ...(width === 4 ? [0x66] : []), opcode],
          ];
          const machine = new HvmMachine(code);
          const host = machine.hypervisor.deviceModelHost(machine.domid);
          host.memory.write(
            0x3e00,
            Uint8Array.from({ length: 0x500 }, (_, index) => (index * 7) & 0xff),
          );
          const before = machine.memory(0x3e00, 0x500);
          machine.run();
          const step = down ? -width : width;
          const at = (index: number) => start + index * step - 0x3e00;
          const data = (index: number) => Buffer.from(before).readUIntLE(at(index), width).toString(16);
          const wanted = Array.from({ length: count }, (_, index) =>
            input ? `in${width} 300` : `out${width} 300 ${data(index)}`,
          );
          expect(machine.accesses).toEqual(wanted);
          const after = Buffer.from(before);
          const read = (~PORT & (0xffff_ffff >>> (32 - 8 * width))) >>> 0;
          if (input) for (let index = 0; index < count; index++) after.writeUIntLE(read, at(index), width);
          expect(machine.memory(0x3e00, 0x500)).toEqual([...after]);
          expect(machine.processor.state.gpr(1) & 0xffff).toBe(0);
          expect(machine.processor.state.gpr(input ? 7 : 6) & 0xffff).toBe((start + count * step) & 0xffff);
        },
      ),
      { numRuns: 25, seed: 1 },
    );
  }, 60_000);
});

describe("devices' memory", () => {
  const INTO_ES = [0xb8, 0x00, 0xb8, 0x8e, 0xc0]; // MOV AX, B800; MOV ES, AX

  it("makes each access of an instruction that reads and writes once, the write buffered", () => {
    // OR BYTE ES:[0010], 2
    const machine = new HvmMachine([...INTO_ES, 0x26, 0x80, 0x0e, 0x10, 0x00, 0x02]).run();
    const read = ~(MMIO + 0x10) & 0xff;
    expect(machine.accesses).toEqual(["in1 b8010", `out1 b8010 ${(read | 2).toString(16)}`]);
    expect(machine.of("ioreq").map(({ buffered }) => buffered ?? false)).toEqual([false, true]);
  });

  it("carries out buffered writes before the request behind them, in their order", () => {
    // MOV BYTE ES:[0], 1; MOV BYTE ES:[1], 2; MOV AL, ES:[2]
    const code = [0x26, 0xc6, 0x06, 0, 0, 1, 0x26, 0xc6, 0x06, 1, 0, 2, 0x26, 0xa0, 2, 0];
    const machine = new HvmMachine([...INTO_ES, ...code]).run();
    expect(machine.accesses).toEqual(["out1 b8000 1", "out1 b8001 2", "in1 b8002"]);
  });

  it("copies from device to device with one access for each datum", () => {
    // DS = ES; SI = 0; DI = 100; CX = 3; REP MOVSW
    const code = [0x8e, 0xd8, 0x31, 0xf6, 0xbf, 0x00, 0x01, 0xb9, 3, 0, 0xf3, 0xa5];
    const machine = new HvmMachine([...INTO_ES, ...code]).run();
    expect(machine.accesses.map((access) => access.split(" ").slice(0, 2).join(" "))).toEqual([
      "in2 b8000",
      "out2 b8100",
      "in2 b8002",
      "out2 b8102",
      "in2 b8004",
      "out2 b8104",
    ]);
  });
});

describe("the device model", () => {
  it("answers a request with nonsense fields with all ones, does nothing, and says why", () => {
    fc.assert(
      fc.property(
        fc.record({
          type: fc.integer({ min: 0, max: 255 }),
          size: fc.constantFrom(0, 3, 5, 8, 0xffff_ffff),
          count: fc.constantFrom(0, 1, 2, 4097, 0xffff_ffff),
          address: fc.integer({ min: 0, max: 0xffff_ffff }),
        }),
        ({ type, size, count, address }) => {
          const machine = new HvmMachine([...SET_DX(PORT), 0xec]);
          // As far as the request; then its fields are spoilt before the device model sees them.
          while (machine.of("ioreq").length === 0) {
            machine.hypervisor.runVcpu(machine.hypervisor.runnable()[0]!, 1_000);
          }
          const { ioreqs } = machine.hypervisor.deviceModelHost(machine.domid);
          ioreqs.store32(0, address);
          ioreqs.store32(16, count);
          ioreqs.store32(20, size);
          ioreqs.store8(31, type);
          machine.run();
          expect(machine.accesses).toEqual([]);
          expect(machine.of("ioreq-answer").map(({ refused }) => typeof refused)).toEqual(["string"]);
          expect(machine.processor.state.gpr(EAX) & 0xff).toBe(0xff);
          expect(machine.hypervisor.endOf(machine.domid)).toBe("poweroff");
        },
      ),
      { numRuns: 30, seed: 2 },
    );
  });

  it("fetches each field of a request once", () => {
    const machine = new HvmMachine([...SET_DX(PORT), 0xec]);
    while (machine.of("ioreq").length === 0) {
      machine.hypervisor.runVcpu(machine.hypervisor.runnable()[0]!, 1_000);
    }
    const { memory } = machine.processor;
    const page = machine.hypervisor.domains.get(machine.domid)!.platform!.ioreqs.page * 4096;
    const fetched: number[] = [];
    for (const width of ["load8", "load32"] as const) {
      const load = memory[width].bind(memory);
      memory[width] = (address) => {
        if (address >= page && address < page + 32) fetched.push(address - page);
        return load(address);
      };
    }
    machine.run();
    const byDeviceModel = fetched.slice(0, fetched.indexOf(31) + 1);
    expect(new Set(byDeviceModel).size).toBe(byDeviceModel.length);
  });

  it("leaves the domain to crash when its answer is in no state that an answer has", () => {
    const machine = new HvmMachine([...SET_DX(PORT), 0xec]);
    while (machine.of("ioreq").length === 0) {
      machine.hypervisor.runVcpu(machine.hypervisor.runnable()[0]!, 1_000);
    }
    const host = machine.hypervisor.deviceModelHost(machine.domid);
    host.ioreqs.store8(30, R.STATE_IOREQ_NONE);
    const [sent] = machine.of("evtchn-send");
    host.notify(sent!.remotePort);
    expect(machine.hypervisor.endOf(machine.domid)).toMatch(/wrong state/);
  });
});
