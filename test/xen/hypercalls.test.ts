import { describe, expect, test } from "vitest";
import { HVM_OP_H, PARAMS_H, SCHED_H, VCPU_H, VERSION_H, XEN_H } from "../../src/xen/abi/constants.ts";
import { create, decode } from "../../src/xen/abi/layout.ts";
import {
  SCHED_POLL,
  VCPU_REGISTER_RUNSTATE_MEMORY_AREA,
  VCPU_REGISTER_VCPU_INFO,
  VCPU_SET_SINGLESHOT_TIMER,
  XEN_FEATURE_INFO,
  XEN_HVM_PARAM,
} from "../../src/xen/abi/structures.ts";
import { timeScale } from "../../src/xen/time.ts";
import { guestRead, guestWrite, hypercall, startMachine, type TestMachine } from "./support.ts";

const ARGUMENT = 0x20_0000;
const SELF = XEN_H.DOMID_SELF;

function withArgument(
  machine: TestMachine,
  number: number,
  operation: number,
  argument: Uint8Array,
  ...more: number[]
) {
  guestWrite(machine, ARGUMENT, argument);
  return hypercall(machine, number, operation, ...more, ARGUMENT);
}

describe("hypercalls", () => {
  test("that do not exist are -ENOSYS and traced", () => {
    const machine = startMachine();
    for (const number of [0, 1, 55, 127, 0xffff_ffff]) expect(hypercall(machine, number, 1, 2)).toBe(-38);
    expect(machine.of("hypercall").at(-1)).toMatchObject({ number: 0xffff_ffff, arguments: [1, 2], result: -38 });
  });

  test("are for the guest's kernel only", () => {
    const machine = startMachine();
    machine.processor.state.cpl = 3;
    expect(hypercall(machine, XEN_H.__HYPERVISOR_xen_version, 0)).toBe(-1);
  });

  test("xen_version tells version and features", () => {
    const machine = startMachine();
    expect(hypercall(machine, XEN_H.__HYPERVISOR_xen_version, VERSION_H.XENVER_version)).toBe((4 << 16) | 17);
    expect(hypercall(machine, XEN_H.__HYPERVISOR_xen_version, VERSION_H.XENVER_pagesize)).toBe(4096);
    const query = create(XEN_FEATURE_INFO, {});
    expect(withArgument(machine, XEN_H.__HYPERVISOR_xen_version, VERSION_H.XENVER_get_features, query)).toBe(0);
    // Translated physical map (2) and upcalls by vector (8).
    expect(decode(XEN_FEATURE_INFO, guestRead(machine, ARGUMENT, 8)).submap & 0x104).toBe(0x104);
    expect(hypercall(machine, XEN_H.__HYPERVISOR_xen_version, VERSION_H.XENVER_extraversion, 0xf000_0000)).toBe(-14);
  });

  test("hvm_op reads the rings' places and sets only the callback", () => {
    const machine = startMachine();
    const param = (operation: number, index: number, value = 0n, domid: number = SELF) =>
      withArgument(machine, XEN_H.__HYPERVISOR_hvm_op, operation, create(XEN_HVM_PARAM, { domid, index, value }));
    expect(param(HVM_OP_H.HVMOP_get_param, PARAMS_H.HVM_PARAM_CONSOLE_PFN)).toBe(0);
    expect(decode(XEN_HVM_PARAM, guestRead(machine, ARGUMENT, 16)).value).toBe(0xfefffn);
    expect(param(HVM_OP_H.HVMOP_set_param, PARAMS_H.HVM_PARAM_CONSOLE_PFN, 5n)).toBe(-1);
    expect(param(HVM_OP_H.HVMOP_get_param, 39)).toBe(-22);
    expect(param(HVM_OP_H.HVMOP_get_param, PARAMS_H.HVM_PARAM_STORE_PFN, 0n, 2)).toBe(-3);
    expect(param(HVM_OP_H.HVMOP_set_param, PARAMS_H.HVM_PARAM_CALLBACK_IRQ, (2n << 56n) | 0xf3n)).toBe(0);
    expect(machine.domain.callback).toEqual({ type: "vector", vector: 0xf3 });
    param(HVM_OP_H.HVMOP_set_param, PARAMS_H.HVM_PARAM_CALLBACK_IRQ, (1n << 56n) | 0x1803n);
    expect(machine.domain.callback).toEqual({ type: "pci-intx", bus: 0, devfn: 0x18, intx: 3 });
    for (const [gsi, type] of [
      [47n, "gsi"],
      [48n, "none"],
      [0n, "none"],
    ] as const) {
      param(HVM_OP_H.HVMOP_set_param, PARAMS_H.HVM_PARAM_CALLBACK_IRQ, gsi);
      expect(machine.domain.callback.type).toBe(type);
    }
  });

  test("console_io writes to the domain's console, in bounded pieces", () => {
    const machine = startMachine();
    guestWrite(machine, ARGUMENT, new TextEncoder().encode("panic\n"));
    expect(hypercall(machine, XEN_H.__HYPERVISOR_console_io, 0, 6, ARGUMENT)).toBe(0);
    expect(machine.console()).toBe("panic\n");
    expect(hypercall(machine, XEN_H.__HYPERVISOR_console_io, 0, 0xffff_ffff, ARGUMENT)).toBe(-7);
  });

  const schedOp = (machine: TestMachine, operation: number, ...words: number[]) =>
    withArgument(machine, XEN_H.__HYPERVISOR_sched_op, operation, new Uint8Array(Uint32Array.from(words).buffer));

  test("sched_op shutdown_code says what a domain ended by, whatever ended it", () => {
    const machine = startMachine();
    expect(schedOp(machine, SCHED_H.SCHEDOP_shutdown_code, SCHED_H.SHUTDOWN_reboot)).toBe(0);
    machine.xen.crash(machine.domain, "a triple fault");
    expect(machine.xen.endOf(1)).toBe("reboot");
  });

  test("sched_op watchdog ends a domain that does not set it again in time", () => {
    const machine = startMachine();
    const set = (id: number, seconds: number) => schedOp(machine, SCHED_H.SCHEDOP_watchdog, id, seconds);
    expect([set(0, 0), set(1, 5), set(3, 5)]).toEqual([-22, -22, -22]);
    expect([set(0, 2), set(0, 0xffff_ffff), set(0, 9)]).toEqual([1, 2, -28]);
    machine.clock.advanceTo(1.5e9);
    expect([set(1, 2), set(2, 0), set(2, 1)]).toEqual([0, 0, -22]);
    machine.clock.advanceTo(3.4e9);
    expect(machine.xen.endOf(1)).toBe("running");
    machine.clock.advanceTo(3.5e9);
    expect(machine.xen.endOf(1)).toBe("watchdog");
  });

  test("sched_op lets a guest neither end another domain nor choose a processor", () => {
    const machine = startMachine();
    expect(schedOp(machine, SCHED_H.SCHEDOP_remote_shutdown, 0, 0)).toBe(-1);
    expect(schedOp(machine, SCHED_H.SCHEDOP_remote_shutdown, 77, 0)).toBe(-3);
    expect(schedOp(machine, SCHED_H.SCHEDOP_pin_override, 0)).toBe(-1);
  });

  test("sched_op shutdown ends the domain and tells who listens", () => {
    const machine = startMachine();
    const heard: string[] = [];
    machine.xen.watchDomains(({ domid, end }, event) => heard.push(`${domid} ${event} ${end}`));
    expect(
      withArgument(machine, XEN_H.__HYPERVISOR_sched_op, SCHED_H.SCHEDOP_shutdown, Uint8Array.of(9, 0, 0, 0)),
    ).toBe(-22);
    expect(
      withArgument(machine, XEN_H.__HYPERVISOR_sched_op, SCHED_H.SCHEDOP_shutdown, Uint8Array.of(1, 0, 0, 0)),
    ).toBe(0);
    expect(machine.xen.endOf(1)).toBe("reboot");
    expect(machine.xen.runnable()).toEqual([]);
    expect(heard).toEqual(["1 shutdown reboot"]);
    machine.xen.destroyDomain(1);
    expect(heard.at(-1)).toBe("1 destroyed reboot");
    expect(machine.xen.endOf(1)).toBe("destroyed");
  });

  test("a poll sleeps until a polled port is pending or its time is up", () => {
    const machine = startMachine();
    const { console: ring } = machine.domain;
    const [vcpu] = machine.domain.vcpus;
    machine.processor.memory.store32(machine.domain.sharedInfoFrame * 4096 + 2048, 0);
    const poll = (timeout: bigint) => {
      guestWrite(machine, ARGUMENT + 64, new Uint8Array(Uint32Array.of(ring.port).buffer));
      const argument = create(SCHED_POLL, { ports: ARGUMENT + 64, nr_ports: 1, timeout });
      return withArgument(machine, XEN_H.__HYPERVISOR_sched_op, SCHED_H.SCHEDOP_poll, argument);
    };
    expect(poll(5_000n)).toBe(0);
    expect(vcpu!.runnable).toBe(false);
    expect(machine.xen.waiting()[0]).toMatch(/port 2, in SCHEDOP_poll/);
    machine.clock.advanceTo(5_000);
    expect(vcpu!.runnable).toBe(true);
    expect(poll(0n)).toBe(0);
    machine.xen.consoleInput(1, Uint8Array.of(65));
    expect(vcpu!.runnable).toBe(true);
    expect(poll(0n)).toBe(0);
    expect(vcpu!.runnable).toBe(true);
  });

  test("a single-shot timer raises its virtual interrupt at its time", () => {
    const machine = startMachine();
    expect(machine.domain.events.bindVirq(XEN_H.VIRQ_TIMER, 0)).toBe(3);
    const timer = create(VCPU_SET_SINGLESHOT_TIMER, { timeout_abs_ns: 70_000n });
    const set = VCPU_H.VCPUOP_set_singleshot_timer;
    expect(withArgument(machine, XEN_H.__HYPERVISOR_vcpu_op, set, timer, 0)).toBe(0);
    machine.clock.advanceTo(69_999);
    expect(machine.domain.shared.pending(3)).toBe(false);
    machine.clock.advanceTo(70_000);
    expect(machine.domain.shared.pending(3)).toBe(true);
    const late = create(VCPU_SET_SINGLESHOT_TIMER, { timeout_abs_ns: 1n, flags: VCPU_H.VCPU_SSHOTTMR_future });
    expect(withArgument(machine, XEN_H.__HYPERVISOR_vcpu_op, set, late, 0)).toBe(-62);
    expect(withArgument(machine, XEN_H.__HYPERVISOR_vcpu_op, set, late, 1)).toBe(-2);
  });

  test("vcpu_info moves once, with everything pending, into the guest's own memory", () => {
    const machine = startMachine();
    const register = (mfn: bigint, offset: number) =>
      withArgument(
        machine,
        XEN_H.__HYPERVISOR_vcpu_op,
        VCPU_H.VCPUOP_register_vcpu_info,
        create(VCPU_REGISTER_VCPU_INFO, { mfn, offset }),
        0,
      );
    expect([register(0x300n, 4090), register(0xf_0000n, 0), register(2n ** 60n, 0)]).toEqual([-22, -22, -22]);
    expect(register(0x300n, 256)).toBe(0);
    const info = new DataView(guestRead(machine, 0x30_0100, 64).buffer);
    expect([info.getUint8(0), info.getUint32(4, true)]).toEqual([1, 0xffff_ffff]);
    // The time came along.
    expect(info.getUint32(56, true)).toBe(0x8000_0000);
    expect(register(0x301n, 0)).toBe(-22);
  });
});

describe("vcpu_op (Xen: common_vcpu_op)", () => {
  const OP = XEN_H.__HYPERVISOR_vcpu_op;
  const words = (machine: TestMachine, address: number): number[] => {
    const view = new DataView(guestRead(machine, address, 44).buffer);
    return [view.getInt32(0, true), ...[4, 12, 20, 28, 36].map((at) => Number(view.getBigUint64(at, true)))];
  };

  test("the runstate area says how long the vCPU ran, waited and slept, as of when it last got the processor", () => {
    const machine = startMachine();
    const [vcpu] = machine.domain.vcpus;
    // It lies across two pages.
    const area = 0x30_0ff0;
    const register = create(VCPU_REGISTER_RUNSTATE_MEMORY_AREA, { "addr.h": area });
    const place = VCPU_H.VCPUOP_register_runstate_memory_area;
    machine.clock.advanceTo(1_000);
    expect(
      withArgument(machine, OP, place, create(VCPU_REGISTER_RUNSTATE_MEMORY_AREA, { "addr.h": 0xf000_0000 }), 0),
    ).toBe(-14);
    expect(withArgument(machine, OP, place, register, 0)).toBe(0);
    machine.xen.runVcpu(vcpu!, 500);
    machine.clock.advanceTo(2_000);
    expect(hypercall(machine, OP, VCPU_H.VCPUOP_get_runstate_info, 0, ARGUMENT)).toBe(0);
    expect(words(machine, ARGUMENT)).toEqual([0, 1_000, 1_000, 1_000, 0, 0]);
    machine.clock.advanceTo(5_000);
    vcpu!.block("a test");
    machine.clock.advanceTo(11_000);
    vcpu!.wake();
    machine.clock.advanceTo(12_000);
    machine.xen.runVcpu(vcpu!, 10);
    const first = guestRead(machine, area, 16);
    const rest = guestRead(machine, area + 16, 28);
    guestWrite(machine, ARGUMENT, Uint8Array.of(...first, ...rest));
    expect(words(machine, ARGUMENT)).toEqual([0, 12_000, 4_000, 2_000, 6_000, 0]);
  });

  test("a domain's one vCPU is initialised and up until it goes down, which ends the domain", () => {
    const machine = startMachine();
    expect(hypercall(machine, OP, VCPU_H.VCPUOP_is_up, 0)).toBe(1);
    expect(hypercall(machine, OP, VCPU_H.VCPUOP_initialise, 0, ARGUMENT)).toBe(-17);
    expect(hypercall(machine, OP, VCPU_H.VCPUOP_up, 0)).toBe(0);
    expect(hypercall(machine, OP, VCPU_H.VCPUOP_is_up, 1)).toBe(-2);
    expect(hypercall(machine, OP, VCPU_H.VCPUOP_register_vcpu_time_memory_area, 0, ARGUMENT)).toBe(-38);
    expect(hypercall(machine, OP, VCPU_H.VCPUOP_down, 0)).toBe(0);
    expect(machine.xen.endOf(1)).toBe("poweroff");
  });

  test("of the assists a translated guest has the runstate area's update flag alone", () => {
    const machine = startMachine();
    const assist = (command: number, type: number) => hypercall(machine, XEN_H.__HYPERVISOR_vm_assist, command, type);
    expect([assist(0, 5), assist(1, 5), assist(2, 5), assist(0, 2), assist(0, 99)]).toEqual([0, 0, -38, -22, -22]);
  });
});

describe("time", () => {
  test.each([1_000, 33_333, 999_999, 1_000_000, 1_000_001, 2_400_000, 4_000_000])(
    "at %i kHz is scaled to nanoseconds",
    (khz) => {
      const { mul, shift } = timeScale(khz);
      expect(mul).toBeGreaterThanOrEqual(2 ** 31);
      const second = BigInt(khz) * 1000n;
      const shifted = shift >= 0 ? second << BigInt(shift) : second >> BigInt(-shift);
      const ns = (shifted * BigInt(mul)) >> 32n;
      expect(Math.abs(Number(ns) - 1e9)).toBeLessThan(3);
    },
  );

  test("is in shared_info with an even version, and the wall clock with it", () => {
    const { domain, processor } = startMachine();
    const page = new DataView(processor.memory.read(domain.sharedInfoFrame * 4096, 4096).buffer);
    expect(page.getUint32(32, true) % 2).toBe(0);
    expect([page.getUint32(56, true), page.getInt8(60)]).toEqual([0x8000_0000, 1]);
    expect([page.getUint32(2304, true) % 2, page.getUint32(2308, true)]).toEqual([0, 1_700_000_000]);
  });
});
