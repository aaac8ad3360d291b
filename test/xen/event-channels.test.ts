import { describe, expect, test } from "vitest";
import { EVENT_CHANNEL_H as O, XEN_H } from "../../src/xen/abi/constants.ts";
import { create, decode } from "../../src/xen/abi/layout.ts";
import {
  EVTCHN_ALLOC_UNBOUND,
  EVTCHN_BIND_INTERDOMAIN,
  EVTCHN_BIND_VIRQ,
  EVTCHN_SEND,
  EVTCHN_STATUS,
} from "../../src/xen/abi/structures.ts";
import { guestRead, guestWrite, hypercall, startMachine, type TestMachine } from "./support.ts";

const ARGUMENT = 0x20_0000;
const EINVAL = -22;
const SHARED = { pending: 2048, mask: 2176 };

function operation(machine: TestMachine, number: number, argument: Uint8Array): number {
  guestWrite(machine, ARGUMENT, argument);
  return hypercall(machine, XEN_H.__HYPERVISOR_event_channel_op, number, ARGUMENT);
}

function allocate(machine: TestMachine, remote: number): number {
  const argument = create(EVTCHN_ALLOC_UNBOUND, { dom: XEN_H.DOMID_SELF, remote_dom: remote });
  expect(operation(machine, O.EVTCHNOP_alloc_unbound, argument)).toBe(0);
  return decode(EVTCHN_ALLOC_UNBOUND, guestRead(machine, ARGUMENT, 8)).port;
}

const send = (machine: TestMachine, port: number): number =>
  operation(machine, O.EVTCHNOP_send, create(EVTCHN_SEND, { port }));
const close = (machine: TestMachine, port: number): number =>
  operation(machine, O.EVTCHNOP_close, create(EVTCHN_SEND, { port }));

/** A word of shared_info. */
function shared({ domain, processor }: TestMachine, offset: number): number {
  return processor.memory.load32(domain.sharedInfoFrame * 4096 + offset);
}

function status(machine: TestMachine, port: number) {
  const argument = create(EVTCHN_STATUS, { dom: XEN_H.DOMID_SELF, port });
  expect(operation(machine, O.EVTCHNOP_status, argument)).toBe(0);
  return decode(EVTCHN_STATUS, guestRead(machine, ARGUMENT, 24));
}

describe("event channels", () => {
  test("the lowest free port is handed out, and again after it was closed", () => {
    const machine = startMachine();
    const first = allocate(machine, 0);
    expect(allocate(machine, 0)).toBe(first + 1);
    expect(close(machine, first)).toBe(0);
    expect(allocate(machine, 0)).toBe(first);
  });

  test("a notification reaches the control domain later, never inside the hypercall", () => {
    const machine = startMachine();
    const port = allocate(machine, 0);
    const seen: number[] = [];
    const local = machine.xen.serviceDomain(0).bindInterdomain(1, port, () => seen.push(machine.clock.now));
    machine.clock.advanceTo(10_000);
    seen.length = 0;
    expect(send(machine, port)).toBe(0);
    expect(send(machine, port)).toBe(0);
    expect(seen).toEqual([]);
    machine.clock.advanceTo(20_000);
    expect(seen).toEqual([12_000]);
    expect(machine.of("evtchn-send").map(({ remotePort, pending }) => ({ remotePort, pending }))).toEqual([
      { remotePort: local, pending: true },
      { remotePort: local, pending: false },
    ]);
  });

  test("an event for the guest sets pending, selector and upcall once", () => {
    const machine = startMachine();
    const port = allocate(machine, 0);
    const local = machine.xen.serviceDomain(0).bindInterdomain(1, port, () => undefined);
    machine.xen.serviceDomain(0).notify(local);
    machine.xen.serviceDomain(0).notify(local);
    expect(shared(machine, SHARED.pending)).toBe(1 << port);
    // evtchn_upcall_pending is byte 0, evtchn_pending_sel the word at 4.
    expect(shared(machine, 0) & 0xff).toBe(1);
    expect(shared(machine, 4)).toBe(1);
    expect(machine.of("evtchn-delivery")).toHaveLength(1);
  });

  test("a masked port becomes pending silently and raises the upcall when it is unmasked", () => {
    const machine = startMachine();
    const port = allocate(machine, 0);
    const local = machine.xen.serviceDomain(0).bindInterdomain(1, port, () => undefined);
    machine.processor.memory.store32(machine.domain.sharedInfoFrame * 4096 + SHARED.mask, 0xffff_ffff);
    machine.xen.serviceDomain(0).notify(local);
    expect([shared(machine, SHARED.pending), shared(machine, 4)]).toEqual([1 << port, 0]);
    expect(operation(machine, O.EVTCHNOP_unmask, create(EVTCHN_SEND, { port }))).toBe(0);
    expect([shared(machine, SHARED.mask) >>> 0, shared(machine, 4)]).toEqual([~(1 << port) >>> 0, 1]);
  });

  test("closing one end leaves the other unbound for the same domain to bind again", () => {
    const machine = startMachine();
    const dom0 = machine.xen.serviceDomain(0);
    const port = allocate(machine, 0);
    const local = dom0.bindInterdomain(1, port, () => undefined);
    expect(status(machine, port)).toMatchObject({ status: O.EVTCHNSTAT_interdomain, "u.interdomain.port": local });
    dom0.unbind(local);
    expect(status(machine, port)).toMatchObject({ status: O.EVTCHNSTAT_unbound, "u.unbound.dom": 0 });
    expect(send(machine, port)).toBe(0);
    expect(dom0.bindInterdomain(1, port, () => undefined)).toBe(local);
  });

  test("a port that is kept for another domain cannot be taken", () => {
    const machine = startMachine();
    const port = allocate(machine, 5);
    expect(machine.xen.serviceDomain(0).bindInterdomain(1, port, () => undefined)).toBe(EINVAL);
    expect(machine.xen.serviceDomain(0).bindInterdomain(1, 999, () => undefined)).toBe(EINVAL);
    expect(machine.xen.serviceDomain(0).bindInterdomain(77, port, () => undefined)).toBe(-3);
  });

  test("a guest can bind to itself, and such an event is pending at once", () => {
    const machine = startMachine();
    const port = allocate(machine, XEN_H.DOMID_SELF);
    const argument = create(EVTCHN_BIND_INTERDOMAIN, { remote_dom: XEN_H.DOMID_SELF, remote_port: port });
    expect(operation(machine, O.EVTCHNOP_bind_interdomain, argument)).toBe(0);
    const local = decode(EVTCHN_BIND_INTERDOMAIN, guestRead(machine, ARGUMENT, 12)).local_port;
    expect(shared(machine, SHARED.pending)).toBe(1 << local);
    expect(send(machine, local)).toBe(0);
    expect(shared(machine, SHARED.pending)).toBe((1 << local) | (1 << port));
  });

  test("a virtual interrupt is bound once for each vCPU", () => {
    const machine = startMachine();
    const bind = (virq: number, vcpu: number) =>
      operation(machine, O.EVTCHNOP_bind_virq, create(EVTCHN_BIND_VIRQ, { virq, vcpu }));
    expect(bind(XEN_H.VIRQ_TIMER, 0)).toBe(0);
    expect([bind(XEN_H.VIRQ_TIMER, 0), bind(XEN_H.NR_VIRQS, 0), bind(XEN_H.VIRQ_TIMER, 9)]).toEqual([-17, -22, -2]);
  });

  test("nonsense is answered, and nothing changes", () => {
    const machine = startMachine();
    const before = machine.domain.events.save();
    for (const port of [0, 9, 1023, 1024, 0xffff_ffff]) {
      expect([send(machine, port), close(machine, port)]).toEqual([EINVAL, EINVAL]);
    }
    const { __HYPERVISOR_event_channel_op: op } = XEN_H;
    expect(hypercall(machine, op, O.EVTCHNOP_send, 0xfff0_0000)).toBe(-14);
    expect(hypercall(machine, op, O.EVTCHNOP_init_control, ARGUMENT)).toBe(-38);
    expect(hypercall(machine, op, 0xffff_ffff, ARGUMENT)).toBe(-38);
    expect(machine.domain.events.save()).toEqual(before);
  });

  test("ports run out at the ABI's limit", () => {
    const { domain } = startMachine();
    let last = 0;
    for (let count = 0; count < 1100 && last >= 0; count++) last = domain.events.allocUnbound(0);
    expect(last).toBe(-28);
    expect(domain.events.save().channels).toHaveLength(1024);
  });
});
