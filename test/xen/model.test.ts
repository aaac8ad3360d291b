import { describe, expect, test } from "vitest";
import { noImages } from "../../src/machine/images.ts";
import { defineScenario, type Run, type Scenario } from "../../src/machine/scenario.ts";
import { record } from "../../src/replay/record.ts";
import { replay } from "../../src/replay/replayer.ts";
import { Session } from "../../src/replay/session.ts";
import { EVENT_CHANNEL_H, GRANT_TABLE_H, XEN_H } from "../../src/xen/abi/constants.ts";
import type { GrantMapping } from "../../src/xen/backend-host.ts";
import type { ModelKernel, ModelProgram } from "../../src/xen/model/kernel.ts";
import type { Page } from "../../src/xen/model/memory.ts";

type Make = (kernel: ModelKernel) => Partial<ModelProgram>;
const STATELESS = { start() {}, save: () => null, load() {} };

/** Domains with the given programs, numbered from 1. */
function scenario(programs: Record<string, Make>, pages = 16): Scenario {
  const models = Object.keys(programs).map((name) => ({ name, program: name, pages }));
  return defineScenario({
    name: "models",
    why: "A test's.",
    images: {},
    machine: { domains: [], models, timeLimitNs: 1e9 },
    programs: Object.fromEntries(
      Object.entries(programs).map(([name, make]) => [name, (kernel) => ({ ...STATELESS, ...make(kernel) })]),
    ),
    expect: { "it ends": () => true },
  });
}

/** Runs, records and replays; the programs run twice. */
function run(programs: Record<string, Make>, pages?: number): Run {
  const given = scenario(programs, pages);
  const { run: finished, bytes } = record(given);
  expect(replay(bytes, given).divergence).toBeUndefined();
  return finished;
}

/** A step of a program, so many virtual microseconds after the machine's start. */
const at = (kernel: ModelKernel, us: number, step: () => void): void => kernel.alarm(`at ${us}`, step).set(us * 1000);

describe("a model domain", () => {
  test("speaks on its console, reads the store and shuts down, as hypercalls in the trace show", () => {
    const finished = run({
      hello: (kernel) => ({
        start() {
          kernel.console.write(`I am ${kernel.store.read("name")}\n`);
          at(kernel, 1000, () => kernel.shutdown());
        },
      }),
    });
    expect(finished.console("hello")).toBe("I am hello\n");
    expect(finished.ended("hello")).toBe("poweroff");
    expect(finished.reason).toBe("domains ended");
    const calls = finished.events("hypercall").map(({ number, result }) => [number, result]);
    expect(calls).toEqual([
      [XEN_H.__HYPERVISOR_event_channel_op, 0],
      [XEN_H.__HYPERVISOR_sched_op, 0],
    ]);
    const read = finished.events("xenstore").filter(({ domain, type }) => domain === 1 && type === 2);
    expect(read.map(({ reply, payload }) => [reply, Buffer.from(payload).toString()])).toEqual([
      [false, "name\0"],
      [true, "hello"],
    ]);
  });

  test("writes more on its console than the ring holds, and takes what is typed", () => {
    const text = `${"0123456789".repeat(1000)}end`;
    const typed: string[] = [];
    const given = {
      ...scenario({
        talker: (kernel) => ({
          start() {
            kernel.console.onInput = (line) => {
              typed.push(line);
              kernel.shutdown();
            };
            kernel.console.write(text);
          },
        }),
      }),
      input: [{ domain: "talker", after: "end", type: "stop\n" }],
    };
    expect(record(given).run.console("talker")).toBe(text);
    expect(typed).toEqual(["stop\n"]);
  });

  test("that has ended runs no handler any more", () => {
    let ran = 0;
    run({
      short: (kernel) => ({
        start() {
          at(kernel, 20, () => ran++);
          kernel.shutdown();
          expect(kernel.notify(1)).toBe(-3);
        },
      }),
    });
    expect(ran).toBe(0);
  });

  test("sees no memory but its own, and is refused what the hypervisor refuses a guest", () => {
    run({
      nosy: (kernel) => ({
        start() {
          expect(() => kernel.page(16).load8(0)).toThrow(/out of range/);
          expect(() => kernel.page(5).load32(4094)).toThrow(/out of range/);
          // A structure at an address that is not the domain's: -EFAULT; a sub-operation that there is not: -ENOSYS.
          expect(kernel.hypercall(XEN_H.__HYPERVISOR_event_channel_op, 4, 0x10_0000)).toBe(-14);
          expect(kernel.hypercall(XEN_H.__HYPERVISOR_event_channel_op, 99, 0)).toBe(-38);
          expect(kernel.hypercall(77)).toBe(-38);
        },
      }),
    });
  });
});

/** Where a program tells another a number. */
const publish = (kernel: ModelKernel, name: string, value: number, reader: number): void => {
  kernel.store.write(`data/${name}`, String(value));
  kernel.store.setPermissions(`data/${name}`, [`n${kernel.domid}`, `r${reader}`]);
};
const lookUp = (kernel: ModelKernel, domid: number, name: string): number =>
  Number(kernel.store.read(`/local/domain/${domid}/data/${name}`));

describe("event channels between model domains", () => {
  test("bind, notify, mask, unmask, tell their state, and become unbound when their peer closes", () => {
    const heard: string[] = [];
    const S = EVENT_CHANNEL_H;
    run({
      one: (kernel) => ({
        start() {
          heard.length = 0;
          const port = kernel.allocUnbound(2, () => heard.push("one"));
          expect(kernel.portStatus(port)).toBe(S.EVTCHNSTAT_unbound);
          publish(kernel, "port", port, 2);
          at(kernel, 100, () => {
            expect(kernel.portStatus(port)).toBe(S.EVTCHNSTAT_interdomain);
            expect([kernel.notify(port), kernel.notify(port)]).toEqual([0, 0]);
          });
          at(kernel, 300, () => {
            expect(heard).toEqual(["two", "two", "one"]);
            expect(kernel.portStatus(port)).toBe(S.EVTCHNSTAT_unbound);
            // Events on an unbound port are dropped.
            expect(kernel.notify(port)).toBe(0);
            expect([kernel.unbind(port), kernel.unbind(port)]).toEqual([0, -22]);
            expect(kernel.portStatus(port)).toBe(S.EVTCHNSTAT_closed);
            expect(kernel.portStatus(1024)).toBe(-22);
            heard.push("end");
          });
        },
      }),
      two: (kernel) => ({
        start() {
          at(kernel, 50, () => {
            const remote = lookUp(kernel, 1, "port");
            expect(kernel.bindInterdomain(1, 999, () => {})).toBe(-22);
            expect(kernel.bindInterdomain(9, remote, () => {})).toBe(-3);
            // Whoever binds finds an event pending.
            const port = kernel.bindInterdomain(1, remote, () => heard.push("two"));
            at(kernel, 90, () => kernel.mask(port));
            at(kernel, 150, () => {
              expect(heard).toEqual(["two"]);
              kernel.unmask(port);
            });
            at(kernel, 200, () => {
              // Two notifications while it was masked are one event.
              expect(heard).toEqual(["two", "two"]);
              kernel.notify(port);
            });
            at(kernel, 250, () => kernel.unbind(port));
          });
          expect(kernel.bindVirq(XEN_H.VIRQ_TIMER, () => {})).toBeGreaterThan(0);
          expect(kernel.bindVirq(XEN_H.VIRQ_TIMER, () => {})).toBe(-17);
          const own = kernel.bindIpi(() => {});
          expect(kernel.portStatus(own)).toBe(S.EVTCHNSTAT_ipi);
        },
      }),
    });
    expect(heard.at(-1)).toBe("end");
  });

  test("that ask for themselves without end pass time with each event, and run out at the ABI's limit", () => {
    let rounds = 0;
    const finished = run({
      loop: (kernel) => ({
        start() {
          rounds = 0;
          const port: number = kernel.bindIpi(() => {
            rounds++;
            if (rounds < 1000) kernel.notify(port);
            else kernel.shutdown();
          });
          kernel.notify(port);
          let last = port;
          while (last > 0) last = kernel.allocUnbound(0, () => {});
          expect(last).toBe(-28);
        },
      }),
    });
    expect(finished.durationNs).toBeGreaterThanOrEqual(1000 * 5_000);
  });
});

describe("grants between model domains", () => {
  test("are mapped, copied and taken back, but not while they are in use", () => {
    const G = GRANT_TABLE_H;
    let ended = false;
    run({
      owner: (kernel) => ({
        start() {
          const [shared, readOnly] = [kernel.allocatePage() as Page, kernel.allocatePage() as Page];
          shared.store32(8, 0x1234);
          readOnly.store32(0, 99);
          const refs = [kernel.grantAccess(2, shared), kernel.grantAccess(2, readOnly, true)] as const;
          publish(kernel, "shared", refs[0], 2);
          publish(kernel, "read-only", refs[1], 2);
          at(kernel, 100, () => {
            expect(shared.load32(12)).toBe(0x5678);
            expect(readOnly.load32(0)).toBe(99);
            expect(refs.map((ref) => kernel.endAccess(ref))).toEqual([false, true]);
          });
          at(kernel, 200, () => {
            expect(kernel.endAccess(refs[0])).toBe(true);
            // A reference is used again at once, and the table grows by a frame when one is full.
            expect(kernel.grantAccess(2, shared)).toBe(refs[0]);
            const many = Array.from({ length: 600 }, () => kernel.grantAccess(2, shared));
            expect(new Set(many).size).toBe(600);
            expect(Math.max(...many)).toBeGreaterThanOrEqual(512);
            ended = true;
          });
        },
      }),
      user: (kernel) => ({
        start() {
          at(kernel, 50, () => {
            const [shared, readOnly] = [lookUp(kernel, 1, "shared"), lookUp(kernel, 1, "read-only")];
            const page = kernel.mapGrant(1, shared, false) as GrantMapping;
            expect(page.load32(8)).toBe(0x1234);
            page.store32(12, 0x5678);
            expect(kernel.mapGrant(1, readOnly, false)).toBe(G.GNTST_general_error);
            const reading = kernel.mapGrant(1, readOnly, true) as GrantMapping;
            expect(reading.load32(0)).toBe(99);
            expect(() => reading.store8(0, 1)).toThrow(/out of range/);
            expect(reading.unmap()).toBe(G.GNTST_okay);
            expect(() => reading.load32(0)).toThrow(/out of range/);
            expect(kernel.copyFromGrant(1, readOnly, 0, 4)).toEqual(Uint8Array.of(99, 0, 0, 0));
            expect(kernel.copyToGrant(1, readOnly, 0, Uint8Array.of(1))).toBe(G.GNTST_general_error);
            expect(kernel.copyToGrant(1, shared, 4090, Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(G.GNTST_okay);
            expect(kernel.copyFromGrant(1, shared, 4092, 4)).toEqual(Uint8Array.of(3, 4, 5, 6));
            expect(kernel.copyFromGrant(1, shared, 4093, 4)).toBe(G.GNTST_bad_copy_arg);
            expect(kernel.mapGrant(1, 7, true)).toBe(G.GNTST_general_error);
            expect(kernel.mapGrant(7, 7, true)).toBe(G.GNTST_bad_domain);
            at(kernel, 150, () => expect(page.unmap()).toBe(G.GNTST_okay));
          });
        },
      }),
    });
    expect(ended).toBe(true);
  });

  test("outlive their domain while they are mapped, and give its memory back when they are not", () => {
    let mapped: GrantMapping | undefined;
    const given = scenario({
      dying: (kernel) => ({
        start() {
          const page = kernel.allocatePage() as Page;
          page.store32(0, 42);
          publish(kernel, "ref", kernel.grantAccess(2, page), 2);
          publish(
            kernel,
            "port",
            kernel.allocUnbound(2, () => {}),
            2,
          );
        },
      }),
      heir: (kernel) => ({
        start() {
          at(kernel, 50, () => {
            mapped = kernel.mapGrant(1, lookUp(kernel, 1, "ref"), false) as GrantMapping;
            kernel.bindInterdomain(1, lookUp(kernel, 1, "port"), () => {});
          });
        },
      }),
    });
    const session = new Session({ scenario: given, seed: "1", load: noImages, product: "test", sink: () => {} });
    while (session.run(1));
    const { hypervisor } = session.machine;
    const before = hypervisor.frames.available;
    hypervisor.destroyDomain(1);
    const freed = hypervisor.frames.available - before;
    expect(freed).toBeGreaterThanOrEqual(16);
    expect(mapped?.load32(0)).toBe(42);
    expect(hypervisor.domains.get(2)?.events.status(3)?.status).toBe(EVENT_CHANNEL_H.EVTCHNSTAT_unbound);
    mapped?.unmap();
    expect(hypervisor.frames.available - before).toBe(freed + 1);
  });
});

describe("xenstore for model domains", () => {
  test("enforces permissions and quotas, and tells watchers", () => {
    const events: string[] = [];
    run({
      one: (kernel) => ({
        start() {
          const { store } = kernel;
          events.length = 0;
          expect(store.write("/local/domain/2/data/x", "1")).toBe("EACCES");
          expect(store.write("/tool/x", "1")).toBe("EACCES");
          expect(store.read("/local/domain/2/data")).toBeUndefined();
          expect(store.write("data/mine", "secret")).toBeUndefined();
          expect(store.permissions("data/mine")).toEqual(["n1"]);
          expect(store.setPermissions("data/mine", ["n2"])).toBe("EPERM");
          expect(store.setPermissions("data/mine", ["n1", "b2"])).toBeUndefined();
          expect(store.setPermissions("data/mine", ["n1", "r2", "r3", "r4", "r5", "r6"])).toBe("ENOSPC");
          expect(store.write("data/long", "x".repeat(2049))).toBe("ENOSPC");
          expect(store.write("data/a bad name", "")).toBe("EINVAL");
          store.watch("data", "token", (path) => events.push(path));
          at(kernel, 100, () => {
            expect(store.read("data/mine")).toBe("changed by 2");
            expect(events).toEqual(["data", "data/mine"]);
            for (let index = 0; index < 1100; index++) store.mkdir(`data/${index}`);
            expect(store.mkdir("data/one-too-many")).toBe("ENOSPC");
            for (let index = 0; index < 200; index++) store.watch(`data/${index}`, `w${index}`, () => {});
            expect(store.request(4, 0, Buffer.from("data/x\0y\0")).type).toBe(16);
          });
        },
      }),
      two: (kernel) => ({
        start() {
          at(kernel, 50, () => {
            expect(kernel.store.write("/local/domain/1/data/mine", "changed by 2")).toBeUndefined();
            expect(kernel.store.rm("/local/domain/1/data")).toBe("EACCES");
            expect(kernel.store.setPermissions("/local/domain/1/data/mine", ["n2"])).toBe("EACCES");
          });
        },
      }),
    });
  });

  test("a transaction that met somebody else's change is tried again", () => {
    let tries = 0;
    const finished = run({
      one: (kernel) => ({
        start() {
          tries = 0;
          kernel.store.write("data/count", "0");
          kernel.store.transaction((transaction) => {
            tries++;
            const count = Number(transaction.read("data/count"));
            // A change from outside of the transaction, the first time.
            if (tries === 1) kernel.store.write("data/count", "10");
            transaction.write("data/count", String(count + 1));
          });
          expect(kernel.store.read("data/count")).toBe("11");
        },
      }),
    });
    expect(tries).toBe(2);
    const ends = finished.events("xenstore").filter(({ type, reply }) => reply && (type === 7 || type === 16));
    expect(ends.map(({ payload }) => Buffer.from(payload).toString())).toEqual(["EAGAIN\0", "OK\0"]);
  });
});
