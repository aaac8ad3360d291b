// Part: an event as one line of text, with the names that its numbers have in their specifications.
// One row per kind: what the row does not mention is not in the line, and `ringback events --json` shows it.

import { describeExit, describeInterruption } from "../cpu/vmx/exit-reasons.ts";
import { EVENT_KINDS, type EventKindName, type EventOf, type TraceEvent } from "../trace/events.ts";
import { frameSummary } from "./frame-summary.ts";
import {
  blockDeviceName,
  blockOperationName,
  blockStatusName,
  diskOperationName,
  grantStatusName,
  hypercallName,
  ioRequestTypeName,
  netifExtraName,
  netifFlags,
  netifStatusName,
  resultName,
  shutdownReasonName,
  statusName,
  subOperationName,
  xenbusStateName,
  xenstoreTypeName,
} from "./names.ts";
import { hexBytes, oneLine, quoted } from "./printable.ts";
import { formatTime } from "./time.ts";

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const vcpuName = (event: { readonly domain: number; readonly vcpu: number }): string =>
  `d${event.domain}v${event.vcpu}`;
const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** Sides of a split driver, as the catalogue numbers them. */
const SIDES = ["front", "back"] as const;
const sideName = (side: number): string => SIDES[side] ?? `side ${side}`;

/** Text is shown up to so many bytes: a line stays a line. */
const SHOWN_BYTES = 96;

/** Of a fragment of a frame: its Ethernet header and what stands behind it. */
const SHOWN_FRAME_BYTES = 34;

function shown(bytes: Uint8Array): string {
  if (bytes.length <= SHOWN_BYTES) return quoted(bytes);
  return `${quoted(bytes.subarray(0, SHOWN_BYTES))}… (${bytes.length} bytes)`;
}

/** Bits of the unplug port (Xen docs/misc/hvm-emulated-unplug). */
const UNPLUGGED = ["IDE disks", "network cards", "IDE disks but the first"] as const;

const DESCRIBE: { readonly [K in EventKindName]: (event: EventOf<K>) => string } = {
  "vm-exit": (event) => {
    const value = event.value === undefined ? "" : `, value ${hex(event.value)}`;
    return `${vcpuName(event)} ${describeExit(event)}${value}, at EIP ${hex(event.rip)}, ${event.retired} retired`;
  },
  "vm-entry": (event) => {
    const code = event.errorCode === undefined ? "" : `, error code ${hex(event.errorCode)}`;
    return `${vcpuName(event)} injects ${describeInterruption(event.interruption)}${code}, ${event.retired} retired`;
  },
  "vm-entry-failed": (event) => `${vcpuName(event)} ${describeEntryFailure(event.reason, event.qualification)}`,
  "irq-line": ({ line, level }) => `${oneLine(line)} ${level ? "up" : "down"}`,
  "irq-delivery": (event) => `${vcpuName(event)} vector ${hex(event.vector)}`,
  "evtchn-send": ({ domain, port, remoteDomain, remotePort, pending }) =>
    `d${domain} port ${port} to d${remoteDomain} port ${remotePort}${pending ? "" : ", was pending"}`,
  "evtchn-delivery": (event) => `${vcpuName(event)} port ${event.port}`,
  hypercall: (event) => `${vcpuName(event)} ${describeHypercall(event)} = ${resultName(event.result)}`,
  "grant-map": ({ domain, owner, ref, readOnly, handle, status }) =>
    `d${domain} maps d${owner} ref ${ref}${readOnly ? " read-only" : ""}: ${status === 0 ? `handle ${handle}` : grantStatusName(status)}`,
  "grant-unmap": ({ domain, handle, status }) =>
    `d${domain} unmaps handle ${handle}${status === 0 ? "" : `: ${grantStatusName(status)}`}`,
  "grant-copy": ({ domain, owner, ref, toGrant, offset, length, status }) =>
    `d${domain} copies ${plural(length, "byte")} ${toGrant ? "to" : "from"} d${owner} ref ${ref}+${hex(offset)}${status === 0 ? "" : `: ${grantStatusName(status)}`}`,
  xenstore: ({ domain, reply, type, requestId, transaction, payload }) => {
    const ids = `${requestId === 0 ? "" : ` request ${requestId}`}${transaction === 0 ? "" : ` transaction ${transaction}`}`;
    return `d${domain} ${reply ? "<-" : "->"} ${xenstoreTypeName(type)}${ids} ${shown(payload)}`;
  },
  "blkif-request": (event) => {
    const { domain, device, side, index, operation, id, sector, segments } = event;
    return (
      `d${domain} ${blockDeviceName(device)} ${sideName(side)} #${index} ${blockOperationName(operation)} id ${id} ` +
      `sector ${sector}${describeRequest(event)}${describeSegments(segments)}`
    );
  },
  "blkif-response": ({ domain, device, side, index, operation, id, status }) =>
    `d${domain} ${blockDeviceName(device)} ${sideName(side)} #${index} ${blockOperationName(operation)} id ${id} ` +
    blockStatusName(status),
  "netif-tx-request": ({ domain, device, side, index, ref, offset, flags, id, size }) =>
    `d${domain} vif/${device} tx ${sideName(side)} #${index} id ${id} ref ${ref}+${hex(offset)}, ${plural(size, "byte")}${netifFlags("tx", flags)}`,
  "netif-tx-response": ({ domain, device, side, index, id, status }) =>
    `d${domain} vif/${device} tx ${sideName(side)} #${index} id ${id} ${netifStatusName(status)}`,
  "netif-rx-request": ({ domain, device, side, index, id, ref }) =>
    `d${domain} vif/${device} rx ${sideName(side)} #${index} id ${id} ref ${ref}`,
  "netif-rx-response": ({ domain, device, side, index, id, offset, flags, status }) =>
    `d${domain} vif/${device} rx ${sideName(side)} #${index} id ${id} ${status < 0 ? netifStatusName(status) : plural(status, "byte")} at ${hex(offset)}${netifFlags("rx", flags)}`,
  "netif-extra-info": ({ domain, device, side, index, type, flags, data }) =>
    `d${domain} vif/${device} tx ${sideName(side)} #${index} ${netifExtraName(type)}${flags === 0 ? "" : ` flags ${hex(flags)}`} ${hexBytes(data)}`,
  "packet-dropped": ({ domain, device, toGuest, length, reason }) =>
    `d${domain} ${oneLine(device)} ${toGuest ? "to" : "from"} the guest, ${plural(length, "byte")}: ${oneLine(reason)}`,
  "ring-index": ({ domain, ring, index, update, value }) =>
    `d${domain} ${oneLine(ring)} ${oneLine(index)} ${update ? "=" : "is"} ${value}`,
  "disk-operation": ({ disk, operation, sector, count, status, serviceNs, digest }) => {
    const data = digest === undefined ? "" : `, digest ${digest.toString(16).padStart(8, "0")}`;
    const result = status === 0 ? "" : `: ${statusName(status)}`;
    return `${oneLine(disk)} ${diskOperationName(operation)} ${plural(count, "sector")} at ${sector} in ${formatTime(serviceNs)}${data}${result}`;
  },
  "console-output": ({ domain, data }) => `d${domain} ${shown(data)}`,
  input: ({ channel, step, data }) => `${oneLine(channel)} before step ${step}: ${shown(data)}`,
  "domain-state": ({ domain, state, reason }) =>
    `d${domain} ${oneLine(state)}${reason === undefined ? "" : `: ${oneLine(shutdownReasonName(reason))}`}`,
  "xenbus-state": ({ domain, device, side, state }) =>
    `d${domain} ${oneLine(device)} ${sideName(side)} ${xenbusStateName(state)}`,
  "fault-injected": ({ name, detail }) => `${oneLine(name)}: ${oneLine(detail)}`,
  "frame-sent": ({ link, end, number, whole, data }) =>
    `${oneLine(link)} end ${end} sends #${number}, ${plural(data.length, "byte")}${whole ? `: ${frameSummary(data)}` : `, cut short: ${hexBytes(data.subarray(0, SHOWN_FRAME_BYTES))}`}`,
  "frame-arrival": ({ link, end, number, data }) =>
    `${oneLine(link)} end ${end} receives #${number}${data === undefined ? "" : `, changed: ${frameSummary(data)}`}`,
  ioreq: (event) => `${vcpuName(event)} ${describeIoRequest(event)}`,
  "ioreq-answer": (event) =>
    `${vcpuName(event)} ${event.refused === undefined ? (event.data === undefined ? "done" : hex(event.data)) : `refused: ${oneLine(event.refused)}`}`,
  "device-output": ({ domain, device, data }) => `d${domain} ${oneLine(device)} ${shown(data)}`,
  "blkif-segments": ({ domain, device, index, ref, segments }) =>
    `d${domain} ${blockDeviceName(device)} #${index} from ref ${ref}${describeSegments(segments)}`,
  "blkif-refusal": ({ domain, device, id, reason }) =>
    `d${domain} ${blockDeviceName(device)} id ${id}: ${oneLine(reason)}`,
  "ring-notify": ({ domain, ring, sent }) =>
    `d${domain} ${oneLine(ring)} ${sent ? "notifies the front end" : "need not notify"}`,
  "frontend-error": ({ domain, device, errno, message }) =>
    `d${domain} ${oneLine(device)} is shut, ${resultName(-errno)}: ${oneLine(message)}`,
  "xenbus-error": ({ domain, device, errno, message }) =>
    `d${domain} ${oneLine(device)} ${resultName(-errno)}: ${oneLine(message)}`,
  "device-plug": ({ domain, device, change }) => `d${domain} ${oneLine(device)} ${oneLine(change)}`,
  "emulated-unplug": ({ domain, mask }) => {
    const parts = UNPLUGGED.filter((_, bit) => ((mask >>> bit) & 1) === 1);
    return `d${domain} without ${parts.length === 0 ? hex(mask) : parts.join(", ")}`;
  },
  "bios-area": ({ domain, address, size, readsRam, writesRam }) =>
    `d${domain} ${hex(address)}..${hex(address + size - 1)}: reads from ${readsRam ? "RAM" : "the bus"}, writes to ${writesRam ? "RAM" : "the bus"}`,
  end: ({ reason, retired }) => `${oneLine(reason)}, ${plural(retired, "instruction")} retired`,
};

/** With bit 31 an exit reason (SDM Vol. 3 §27.8), else a VM-instruction error (§31.4). */
function describeEntryFailure(reason: number, qualification: number): string {
  if (reason >>> 31 === 1) return describeExit({ reason, qualification });
  return `VM-instruction error ${reason}`;
}

function describeHypercall({ number, arguments: given }: EventOf<"hypercall">): string {
  const operation = given[0] === undefined ? undefined : subOperationName(number, given[0]);
  const [first, rest] = operation === undefined ? [[], given] : [[operation], given.slice(1)];
  return `${hypercallName(number)}(${[...first, ...rest.map(hex)].join(", ")})`;
}

function describeIoRequest(event: EventOf<"ioreq">): string {
  const { type, read, address, size, count, data, pointer, down, buffered } = event;
  const what = `${ioRequestTypeName(type)} ${read ? "read" : "write"} ${hex(address)}, ${plural(size, "byte")}`;
  const repeated = count === undefined ? "" : ` x ${count}${down === true ? " downwards" : ""}`;
  const value = data === undefined ? "" : `, ${pointer === true ? "data at" : "value"} ${hex(data)}`;
  return `${what}${repeated}${value}${buffered === true ? ", buffered" : ""}`;
}

function describeRequest({ count, discard, indirect }: EventOf<"blkif-request">): string {
  const segments = count === undefined ? "" : `, ${plural(count, "segment")}`;
  if (indirect === undefined) return `${segments}${discard === undefined ? "" : `+${discard}`}`;
  const [operation = 0, ...refs] = indirect;
  return `, ${blockOperationName(operation)}${segments} in ref ${refs.join(" ")}`;
}

/** Segments as the catalogue lists them: gref, first, last, each three numbers. */
function describeSegments(segments: readonly number[]): string {
  const texts: string[] = [];
  for (let index = 0; index + 2 < segments.length; index += 3) {
    texts.push(`${segments[index]}[${segments[index + 1]}..${segments[index + 2]}]`);
  }
  return texts.length === 0 ? "" : `, segments ${texts.join(" ")}`;
}

/** What the event says, without its time and kind. */
export function describeDetail(event: TraceEvent): string {
  const describe = DESCRIBE[event.kind] as (event: TraceEvent) => string;
  return describe(event);
}

const KIND_WIDTH = Math.max(...Object.keys(EVENT_KINDS).map(({ length }) => length));
const TIME_WIDTH = 18;

/**
 * "       1.234567 ms  hypercall        d1v0 sched_op(SCHEDOP_yield, 0x0) = 0"
 * @param note what else is known of the event, put behind it
 */
export function describeEvent(event: TraceEvent, note?: string): string {
  const detail = describeDetail(event);
  const line = `${formatTime(event.at).padStart(TIME_WIDTH)}  ${event.kind.padEnd(KIND_WIDTH)}  ${detail}`;
  return note === undefined ? line : `${line}: ${note}`;
}

/** The event as JSON on one line: BigInts as decimal text, bytes as hexadecimal text. */
export function eventJson(event: TraceEvent): string {
  return JSON.stringify(event, (_, value: unknown) => {
    if (typeof value === "bigint") return value.toString();
    return value instanceof Uint8Array ? hexBytes(value) : value;
  });
}

/** One field's value, as exact as the event has it. */
export function fieldText(event: TraceEvent, field: string): string {
  const value: unknown = (event as unknown as Readonly<Record<string, unknown>>)[field];
  if (value === undefined) return "absent";
  if (value instanceof Uint8Array) return shown(value);
  if (typeof value === "string") return oneLine(JSON.stringify(value));
  if (Array.isArray(value)) return `[${value.join(", ")}]`;
  if (typeof value === "number" && field !== "at" && value > 9) return `${value} (${hex(value)})`;
  return String(value);
}
