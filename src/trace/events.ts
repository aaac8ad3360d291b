/**
 * The event catalogue: everything a trace can say, as one table.
 *
 * The table is the only place where a kind is described. The discriminated union {@link TraceEvent}, the CBOR framing, the
 * CDDL schema in `docs/trace-format.md` and the text dump are all derived from it. A changed row is a changed format:
 * bump {@link FORMAT_VERSION}.
 *
 * Field types: `uint` and `int` are integers below 2^53 in magnitude; `u64` is a BigInt; `text`, `bytes` and `bool` are
 * what CBOR calls them; `uints` is an array of `uint`. A trailing `?` marks a field that may be absent. `delta` is a `uint` that
 * seldom moves far: it is stored as the difference to the same field of the kind's event before it in the chunk.
 */

export const FORMAT_VERSION = 2;

interface FieldTypes {
  uint: number;
  int: number;
  delta: number;
  u64: bigint;
  text: string;
  bytes: Uint8Array;
  bool: boolean;
  uints: readonly number[];
}

export type FieldType = keyof FieldTypes | `${keyof FieldTypes}?`;
export type FieldTable = Readonly<Record<string, FieldType>>;

export interface EventKind {
  /** Stable number of the kind in the file. */
  readonly id: number;
  readonly what: string;
  readonly fields: FieldTable;
}

const kinds = <T extends Readonly<Record<string, EventKind>>>(table: T): T => table;

export const EVENT_KINDS = kinds({
  "vm-exit": {
    id: 1,
    what: "the processor left VMX non-root operation (SDM Vol. 3 §27); value: what an I/O, MSR or CR access carried",
    fields: {
      domain: "uint",
      vcpu: "uint",
      reason: "uint",
      qualification: "uint",
      rip: "delta",
      retired: "delta",
      value: "uint?",
      gpa: "uint?",
      interruption: "uint?",
      vectoring: "uint?",
    },
  },
  "vm-entry": {
    id: 2,
    what: "a VM entry that injected an event (SDM Vol. 3 §26.6)",
    fields: { domain: "uint", vcpu: "uint", interruption: "uint", errorCode: "uint?", retired: "delta" },
  },
  "vm-entry-failed": {
    id: 3,
    what: "a VM entry that failed: VM-instruction error, or exit reason with bit 31 and qualification",
    fields: { domain: "uint", vcpu: "uint", reason: "uint", qualification: "uint" },
  },
  "irq-line": {
    id: 4,
    what: "an interrupt line changed its level; of a domain: irq and gsi, the inputs of the interrupt controllers, INTR, the 8259 pair's output, callback, what tells of events",
    fields: { line: "text", level: "bool" },
  },
  "irq-delivery": {
    id: 5,
    what: "an interrupt was accepted for delivery to a vCPU",
    fields: { domain: "uint", vcpu: "uint", vector: "uint" },
  },
  "evtchn-send": {
    id: 6,
    what: "a notification was sent over an event channel; pending: whether it made the remote port newly pending",
    fields: { domain: "uint", port: "uint", remoteDomain: "uint", remotePort: "uint", pending: "bool" },
  },
  "evtchn-delivery": {
    id: 7,
    what: "a pending, unmasked port raised an upcall to its vCPU",
    fields: { domain: "uint", vcpu: "uint", port: "uint" },
  },
  hypercall: {
    id: 8,
    what: "a hypercall with its register arguments and its result (negative errno on error)",
    fields: { domain: "uint", vcpu: "uint", number: "uint", arguments: "uints", result: "int" },
  },
  "grant-map": {
    id: 9,
    what: "a domain mapped another's grant; status is a GNTST_ value",
    fields: { domain: "uint", owner: "uint", ref: "uint", readOnly: "bool", handle: "uint", status: "int" },
  },
  "grant-unmap": {
    id: 10,
    what: "a domain unmapped a grant",
    fields: { domain: "uint", handle: "uint", status: "int" },
  },
  "grant-copy": {
    id: 11,
    what: "a hypervisor copy between a domain and a grant",
    fields: {
      domain: "uint",
      owner: "uint",
      ref: "uint",
      toGrant: "bool",
      offset: "uint",
      length: "uint",
      status: "int",
    },
  },
  xenstore: {
    id: 12,
    what: "a xenstore message (io/xs_wire.h): reply false from the domain, true to it",
    fields: { domain: "uint", reply: "bool", type: "uint", requestId: "uint", transaction: "uint", payload: "bytes" },
  },
  "blkif-request": {
    id: 13,
    what: "a block request in the ring (io/blkif.h): side 0 as the front end published it, 1 as the back end fetched it; segments: gref, first, last for each; count: nr_segments where it is not theirs; discard: nr_sectors; indirect: indirect_op, then indirect_grefs",
    fields: {
      domain: "uint",
      device: "uint",
      side: "uint",
      index: "delta",
      operation: "uint",
      id: "u64",
      sector: "u64",
      segments: "uints",
      count: "uint?",
      discard: "u64?",
      indirect: "uints?",
    },
  },
  "blkif-response": {
    id: 14,
    what: "a block response in the ring: side 1 as the back end published it, 0 as the front end took it",
    fields: {
      domain: "uint",
      device: "uint",
      side: "uint",
      index: "delta",
      operation: "uint",
      id: "u64",
      status: "int",
    },
  },
  "ring-index": {
    id: 15,
    what: "a shared ring index was fetched or updated by a back end; index is the field's name in io/ring.h",
    fields: { domain: "uint", ring: "text", index: "text", update: "bool", value: "delta" },
  },
  "disk-operation": {
    id: 16,
    what: "a disk carried out an operation (0 read, 1 write, 2 flush, 3 discard); status 0 or a negative errno; digest of the data moved",
    fields: {
      disk: "text",
      operation: "uint",
      sector: "delta",
      count: "uint",
      status: "int",
      serviceNs: "uint",
      digest: "uint?",
    },
  },
  "console-output": {
    id: 17,
    what: "bytes a domain wrote to its console",
    fields: { domain: "uint", data: "bytes" },
  },
  input: {
    id: 18,
    what: "bytes from outside the machine, taken in at the beginning of a step of the machine; replay takes them from here",
    fields: { channel: "text", step: "uint", data: "bytes" },
  },
  "domain-state": {
    id: 19,
    what: "a domain's life: created, running, shutdown, crashed, destroyed; reason is a SHUTDOWN_ value or text",
    fields: { domain: "uint", state: "text", reason: "text?" },
  },
  "xenbus-state": {
    id: 20,
    what: "one end of a split driver moved to a XenbusState",
    fields: { domain: "uint", device: "text", side: "uint", state: "uint" },
  },
  "fault-injected": {
    id: 21,
    what: "a fault that the scenario asked for took effect",
    fields: { name: "text", detail: "text" },
  },
  end: {
    id: 23,
    what: "the machine stopped, and why; steps: how many it made",
    fields: { reason: "text", retired: "uint", steps: "uint" },
  },
  "frame-sent": {
    id: 24,
    what: "an Ethernet frame left a station for a link, number counts the link's frames; data: the frame with its check sequence; whole false: a collision cut it short",
    fields: { link: "text", end: "uint", number: "uint", whole: "bool", data: "bytes" },
  },
  "frame-arrival": {
    id: 25,
    what: "a frame reached the station at an end of a link; data: what arrived, where it is not what was sent",
    fields: { link: "text", end: "uint", number: "uint", data: "bytes?" },
  },
  ioreq: {
    id: 26,
    what: "an I/O request for a domain's device model (hvm/ioreq.h): type IOREQ_TYPE_; pointer: data is the guest-physical address of the data; down: addresses descend; buffered: nobody waits for it",
    fields: {
      domain: "uint",
      vcpu: "uint",
      type: "uint",
      read: "bool",
      address: "uint",
      size: "uint",
      count: "uint?",
      data: "uint?",
      pointer: "bool?",
      down: "bool?",
      buffered: "bool?",
    },
  },
  "ioreq-answer": {
    id: 27,
    what: "the device model answered an I/O request; data: what was read; refused: why it did not carry out a nonsense one",
    fields: { domain: "uint", vcpu: "uint", data: "uint?", refused: "text?" },
  },
  "device-output": {
    id: 28,
    what: "bytes that a domain's device sent out: a UART (com1, com2), the debug console (debug) or the Xen platform device's log (xen-platform)",
    fields: { domain: "uint", device: "text", data: "bytes" },
  },
  "netif-tx-request": {
    id: 40,
    what: "a slot of the transmit ring (io/netif.h): side 0 as the front end published it, 1 as the back end fetched it; flags NETTXF_; size: of a packet's first slot the whole packet's",
    fields: {
      domain: "uint",
      device: "uint",
      side: "uint",
      index: "delta",
      ref: "uint",
      offset: "uint",
      flags: "uint",
      id: "uint",
      size: "uint",
    },
  },
  "netif-tx-response": {
    id: 41,
    what: "a response in the transmit ring: side 1 as the back end published it, 0 as the front end took it; status NETIF_RSP_",
    fields: { domain: "uint", device: "uint", side: "uint", index: "delta", id: "uint", status: "int" },
  },
  "netif-rx-request": {
    id: 42,
    what: "a buffer that the front end posted in the receive ring: side 0 as it was published, 1 as the back end fetched it",
    fields: { domain: "uint", device: "uint", side: "uint", index: "delta", id: "uint", ref: "delta" },
  },
  "netif-rx-response": {
    id: 43,
    what: "a response in the receive ring: side 1 as the back end published it, 0 as the front end took it; flags NETRXF_; status: bytes in the buffer, or NETIF_RSP_",
    fields: {
      domain: "uint",
      device: "uint",
      side: "uint",
      index: "delta",
      id: "uint",
      offset: "uint",
      flags: "uint",
      status: "int",
    },
  },
  "netif-extra-info": {
    id: 44,
    what: "an extra-info slot of the transmit ring: type XEN_NETIF_EXTRA_TYPE_, data: the six bytes behind type and flags",
    fields: {
      domain: "uint",
      device: "uint",
      side: "uint",
      index: "delta",
      type: "uint",
      flags: "uint",
      data: "bytes",
    },
  },
  "packet-dropped": {
    id: 45,
    what: "a network back end lost a packet or a part of one, to the guest or from it, and why",
    fields: { domain: "uint", device: "text", toGuest: "bool", length: "uint", reason: "text" },
  },
  "ring-notify": {
    id: 50,
    what: "a back end published responses; sent: whether the front end's rsp_event asked for a notification (io/ring.h)",
    fields: { domain: "uint", ring: "text", sent: "bool" },
  },
  "blkif-segments": {
    id: 53,
    what: "a back end fetched segments of an indirect request from a granted page; index: of the request; segments: gref, first, last for each",
    fields: { domain: "uint", device: "uint", index: "delta", ref: "uint", segments: "uints" },
  },
  "blkif-refusal": {
    id: 54,
    what: "why a back end does not carry out a block request",
    fields: { domain: "uint", device: "uint", id: "u64", reason: "text" },
  },
  "xenbus-error": {
    id: 51,
    what: "a back end cannot serve its front end and closes (xenbus_dev_fatal); errno is positive",
    fields: { domain: "uint", device: "text", errno: "uint", message: "text" },
  },
  "device-plug": {
    id: 52,
    what: "a toolstack's change of a guest's device: plugged in, unplug asked for, removed, gone, or its new size",
    fields: { domain: "uint", device: "text", change: "text" },
  },
  "frontend-error": {
    id: 60,
    what: "a front end of a model domain shuts its device because of what the back end did (xenbus_dev_fatal); errno is positive",
    fields: { domain: "uint", device: "text", errno: "uint", message: "text" },
  },
  "emulated-unplug": {
    id: 71,
    what: "an HVM guest had emulated devices taken away (hvm-emulated-unplug): mask bit 0 IDE disks, 1 network cards, 2 IDE disks but the first",
    fields: { domain: "uint", mask: "uint" },
  },
  "bios-area": {
    id: 70,
    what: "the chipset changed what reads and writes of a part of C0000h to FFFFFh reach: RAM, or else the bus with its ROMs",
    fields: { domain: "uint", address: "uint", size: "uint", readsRam: "bool", writesRam: "bool" },
  },
});

type RequiredKeys<F extends FieldTable> = { [K in keyof F]: F[K] extends `${string}?` ? never : K }[keyof F];
type OptionalKeys<F extends FieldTable> = { [K in keyof F]: F[K] extends `${string}?` ? K : never }[keyof F];
type ValueOf<T extends FieldType> = T extends `${infer B extends keyof FieldTypes}?`
  ? FieldTypes[B]
  : T extends keyof FieldTypes
    ? FieldTypes[T]
    : never;
type FieldValues<F extends FieldTable> = { readonly [K in RequiredKeys<F>]: ValueOf<F[K]> } & {
  readonly [K in OptionalKeys<F>]?: ValueOf<F[K]>;
};

export type EventKindName = keyof typeof EVENT_KINDS;

/** One event: its kind, the virtual time `at` in nanoseconds, and the kind's fields. */
export type TraceEvent = {
  [K in EventKindName]: { readonly kind: K; readonly at: number } & FieldValues<(typeof EVENT_KINDS)[K]["fields"]>;
}[EventKindName];

export type EventOf<K extends EventKindName> = Extract<TraceEvent, { kind: K }>;

/** Where producers send events. */
export type Emit = (event: TraceEvent) => void;
