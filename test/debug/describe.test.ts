// Events as text: each kind once with names, and numbers where a guest uses what has no name.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeDetail, describeEvent, eventJson } from "../../src/debug/describe.ts";
import { EVENT_KINDS, type TraceEvent } from "../../src/trace/events.ts";
import { traceEvents } from "../support/trace-events.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const vcpu = { at: 0, domain: 1, vcpu: 0 } as const;
const request = { at: 0, domain: 1, device: 51712, side: 1, index: 4, operation: 0, id: 7n } as const;

const vif = { at: 0, domain: 1, device: 0, index: 3 } as const;

const LINES: readonly (readonly [string, TraceEvent])[] = [
  [
    "d1v0 I/O instruction: OUT 0x3f8, 1 byte, value 0x41, at EIP 0x100123, 77 retired",
    { kind: "vm-exit", ...vcpu, reason: 30, qualification: 0x3f8_0000, rip: 0x100123, retired: 77, value: 0x41 },
  ],
  [
    "d1v0 EPT violation: write (data), not present: guest-physical 0xfee00000, at EIP 0x10, 5 retired",
    { kind: "vm-exit", ...vcpu, reason: 48, qualification: 0x182, rip: 0x10, retired: 5, gpa: 0xfee0_0000 },
  ],
  [
    "d1v0 exit reason 999, at EIP 0x0, 0 retired",
    { kind: "vm-exit", ...vcpu, reason: 999, qualification: 0, rip: 0, retired: 0 },
  ],
  [
    "d1v0 injects hardware exception #GP, error code 0x18, 9 retired",
    { kind: "vm-entry", ...vcpu, interruption: 0x8000_0b0d, errorCode: 0x18, retired: 9 },
  ],
  [
    "d1v0 VM-entry failure: invalid guest state: VMCS link pointer",
    { kind: "vm-entry-failed", ...vcpu, reason: 0x8000_0021, qualification: 4 },
  ],
  ["d1v0 VM-instruction error 7", { kind: "vm-entry-failed", ...vcpu, reason: 7, qualification: 0 }],
  ["pic.0 up", { kind: "irq-line", at: 0, line: "pic.0", level: true }],
  ["d1v0 vector 0xf3", { kind: "irq-delivery", ...vcpu, vector: 0xf3 }],
  [
    "d1 port 2 to d0 port 5, was pending",
    { kind: "evtchn-send", at: 0, domain: 1, port: 2, remoteDomain: 0, remotePort: 5, pending: false },
  ],
  ["d1v0 port 2", { kind: "evtchn-delivery", ...vcpu, port: 2 }],
  [
    "d1v0 memory_op(XENMEM_add_to_physmap, 0x1000) = -EFAULT",
    { kind: "hypercall", ...vcpu, number: 12, arguments: [7, 0x1000], result: -14 },
  ],
  ["d1v0 hypercall 55(0x1, 0x2) = -ENOSYS", { kind: "hypercall", ...vcpu, number: 55, arguments: [1, 2], result: -38 }],
  ["d1v0 sched_op(0x63) = -1000", { kind: "hypercall", ...vcpu, number: 29, arguments: [99], result: -1000 }],
  [
    "d0 maps d1 ref 8 read-only: handle 3",
    { kind: "grant-map", at: 0, domain: 0, owner: 1, ref: 8, readOnly: true, handle: 3, status: 0 },
  ],
  [
    "d0 maps d1 ref 8: GNTST_bad_gntref",
    { kind: "grant-map", at: 0, domain: 0, owner: 1, ref: 8, readOnly: false, handle: 0, status: -3 },
  ],
  ["d0 unmaps handle 3: GNTST_bad_handle", { kind: "grant-unmap", at: 0, domain: 0, handle: 3, status: -4 }],
  [
    "d0 copies 1 byte to d1 ref 9+0x10: status -77",
    { kind: "grant-copy", at: 0, domain: 0, owner: 1, ref: 9, toGrant: true, offset: 16, length: 1, status: -77 },
  ],
  [
    'd1 -> WRITE request 3 transaction 2 "device/vbd/51712/state\\04"',
    {
      kind: "xenstore",
      at: 0,
      domain: 1,
      reply: false,
      type: 11,
      requestId: 3,
      transaction: 2,
      payload: bytes("device/vbd/51712/state\x004"),
    },
  ],
  [
    'd1 <- type 77 "\\x1b[2J"',
    {
      kind: "xenstore",
      at: 0,
      domain: 1,
      reply: true,
      type: 77,
      requestId: 0,
      transaction: 0,
      payload: bytes("\x1b[2J"),
    },
  ],
  [
    "d1 xvda back #4 READ id 7 sector 64, segments 9[0..7] 10[0..3]",
    { kind: "blkif-request", ...request, sector: 64n, segments: [9, 0, 7, 10, 0, 3] },
  ],
  ["d1 xvda back #4 READ id 7 EOPNOTSUPP", { kind: "blkif-response", ...request, status: -2 }],
  [
    "d1 vbd/51712 req_prod is 32",
    { kind: "ring-index", at: 0, domain: 1, ring: "vbd/51712", index: "req_prod", update: false, value: 32 },
  ],
  [
    "1/xvda write 4 sectors at 207 in 0.045964 ms, digest 019bfb9e: -EIO",
    {
      kind: "disk-operation",
      at: 0,
      disk: "1/xvda",
      operation: 1,
      sector: 207,
      count: 4,
      status: -5,
      serviceNs: 45_964,
      digest: 0x19b_fb9e,
    },
  ],
  ['d1 "done\\r\\n"', { kind: "console-output", at: 0, domain: 1, data: bytes("done\r\n") }],
  [
    'console:guest before step 12: "\\"\\\\\\xff"',
    { kind: "input", at: 0, channel: "console:guest", step: 12, data: Uint8Array.of(34, 92, 255) },
  ],
  ["d1 shutdown: crash", { kind: "domain-state", at: 0, domain: 1, state: "shutdown", reason: "3" }],
  ["d1 crashed: triple fault", { kind: "domain-state", at: 0, domain: 1, state: "crashed", reason: "triple fault" }],
  ["d1 vbd/51712 front Connected", { kind: "xenbus-state", at: 0, domain: 1, device: "vbd/51712", side: 0, state: 4 }],
  ["disk 1/xvda: read", { kind: "fault-injected", at: 0, name: "disk 1/xvda", detail: "read" }],
  [
    "net0 end 1 sends #6, 2 bytes, cut short: aa55",
    { kind: "frame-sent", at: 0, link: "net0", end: 1, number: 6, whole: false, data: Uint8Array.of(0xaa, 0x55) },
  ],
  ["net0 end 0 receives #6", { kind: "frame-arrival", at: 0, link: "net0", end: 0, number: 6 }],
  [
    "net0 end 0 receives #7, changed: 00",
    { kind: "frame-arrival", at: 0, link: "net0", end: 0, number: 7, data: Uint8Array.of(0) },
  ],
  ["d1v0 PIO read 0x61, 1 byte", { kind: "ioreq", ...vcpu, type: 0, read: true, address: 0x61, size: 1 }],
  [
    "d1v0 COPY write 0xb8000, 2 bytes, value 0x741, buffered",
    { kind: "ioreq", ...vcpu, type: 1, read: false, address: 0xb8000, size: 2, data: 0x741, buffered: true },
  ],
  [
    "d1v0 PIO write 0x310, 2 bytes x 32 downwards, data at 0x8000",
    {
      kind: "ioreq",
      ...vcpu,
      type: 0,
      read: false,
      address: 0x310,
      size: 2,
      count: 32,
      data: 0x8000,
      pointer: true,
      down: true,
    },
  ],
  ["d1v0 0x20", { kind: "ioreq-answer", ...vcpu, data: 0x20 }],
  ["d1v0 done", { kind: "ioreq-answer", ...vcpu }],
  ["d1v0 refused: type 9", { kind: "ioreq-answer", ...vcpu, data: 0xff, refused: "type 9" }],
  ["d1 vbd/51712 notifies the front end", { kind: "ring-notify", at: 0, domain: 1, ring: "vbd/51712", sent: true }],
  ["d1 vbd/51712 need not notify", { kind: "ring-notify", at: 0, domain: 1, ring: "vbd/51712", sent: false }],
  [
    "d1 vbd/51712 -EINVAL: ring-ref",
    { kind: "xenbus-error", at: 0, domain: 1, device: "vbd/51712", errno: 22, message: "ring-ref" },
  ],
  ["d1 vbd/51712 gone", { kind: "device-plug", at: 0, domain: 1, device: "vbd/51712", change: "gone" }],
  [
    "d1 xvda back #4 INDIRECT id 7 sector 9, READ, 13 segments in ref 5 6",
    { kind: "blkif-request", ...request, operation: 6, sector: 9n, segments: [], count: 13, indirect: [0, 5, 6] },
  ],
  [
    "d1 xvda back #4 DISCARD id 7 sector 9+64",
    { kind: "blkif-request", ...request, operation: 5, sector: 9n, segments: [], discard: 64n },
  ],
  [
    "d1 xvda #4 from ref 5, segments 20[0..7]",
    { kind: "blkif-segments", at: 0, domain: 1, device: 51712, index: 4, ref: 5, segments: [20, 0, 7] },
  ],
  [
    "d1 xvda id 7: 12 segments",
    { kind: "blkif-refusal", at: 0, domain: 1, device: 51712, id: 7n, reason: "12 segments" },
  ],
  [
    "d1 vif/0 tx front #3 id 5 ref 8+0x10, 60 bytes, csum_blank more_data",
    { kind: "netif-tx-request", ...vif, side: 0, ref: 8, offset: 16, flags: 5, id: 5, size: 60 },
  ],
  ["d1 vif/0 tx back #3 id 5 ERROR", { kind: "netif-tx-response", ...vif, side: 1, id: 5, status: -1 }],
  ["d1 vif/0 rx front #3 id 5 ref 8", { kind: "netif-rx-request", ...vif, side: 0, id: 5, ref: 8 }],
  [
    "d1 vif/0 rx back #3 id 5 60 bytes at 0x0",
    { kind: "netif-rx-response", ...vif, side: 1, id: 5, offset: 0, flags: 0, status: 60 },
  ],
  [
    "d1 vif/0 tx front #3 type 99 0102",
    { kind: "netif-extra-info", ...vif, side: 0, type: 99, flags: 0, data: Uint8Array.of(1, 2) },
  ],
  [
    "d1 vif/0 from the guest, 60 bytes: no room",
    { kind: "packet-dropped", at: 0, domain: 1, device: "vif/0", toGuest: false, length: 60, reason: "no room" },
  ],
  [
    "d1 vif/0 is shut, -EINVAL: ring",
    { kind: "frontend-error", at: 0, domain: 1, device: "vif/0", errno: 22, message: "ring" },
  ],
  ["d1 without 0x80", { kind: "emulated-unplug", at: 0, domain: 1, mask: 0x80 }],
  [
    "d1 0xc0000..0xc3fff: reads from RAM, writes to the bus",
    { kind: "bios-area", at: 0, domain: 1, address: 0xc0000, size: 0x4000, readsRam: true, writesRam: false },
  ],
  ['d1 com1 "S"', { kind: "device-output", at: 0, domain: 1, device: "com1", data: bytes("S") }],
  ["domains ended, 1 instruction retired", { kind: "end", at: 0, reason: "domains ended", retired: 1, steps: 4 }],
];

describe("an event as a line", () => {
  it.each(LINES)("%s", (line, event) => {
    expect(describeDetail(event)).toBe(line);
  });

  it("is shown here for every kind", () => {
    expect(new Set(LINES.map(([, { kind }]) => kind))).toEqual(new Set(Object.keys(EVENT_KINDS)));
  });

  it("begins with its time and kind, in columns", () => {
    expect(describeEvent({ kind: "irq-delivery", at: 1_234_567, domain: 1, vcpu: 0, vector: 3 })).toBe(
      "       1.234567 ms  irq-delivery       d1v0 vector 0x3",
    );
  });

  it("shortens long data and says how long it is", () => {
    const line = describeDetail({ kind: "console-output", at: 0, domain: 1, data: new Uint8Array(4096).fill(65) });
    expect(line).toBe(`d1 "${"A".repeat(96)}"… (4096 bytes)`);
  });

  it("is one line of plain characters, whatever a guest or a file puts into the event", () => {
    fc.assert(
      fc.property(traceEvents, (events) => {
        for (const event of events) {
          // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
          expect(describeEvent(event)).not.toMatch(/[\x00-\x1f\x7f-\x9f]/);
          expect(JSON.parse(eventJson(event))).toMatchObject({ kind: event.kind, at: event.at });
        }
      }),
    );
  });
});
