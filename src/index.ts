/**
 * ringback: deterministic record and replay of whole machines.
 *
 * Nothing here touches the host: bytes come in and go out. What a program on Node needs besides (bundled guests and scenarios, files)
 * is in `ringback/node`.
 *
 * Errors: {@link InputError} for what a person, a file or a peer got wrong; {@link NotModelled} when a guest does what
 * ringback does not know; {@link InvariantError} for a bug of ringback's own.
 */

export { InputError, InvariantError, NotModelled } from "./core/errors.ts";
export { type Nanoseconds, NS_PER_MS, NS_PER_SECOND, NS_PER_US } from "./core/units.ts";
export { describeExit, exitReason } from "./cpu/vmx/exit-reasons.ts";
export { describeDetail, describeEvent, eventJson } from "./debug/describe.ts";
export { divergenceReport } from "./debug/report.ts";
export { formatTime, parseTime } from "./debug/time.ts";
export { buildExt2, type Ext2File, type Ext2Options } from "./devices/block/ext2.ts";
export { type Arp, decodeArp, encodeArp } from "./devices/net/arp.ts";
export { decodeFrame, ETHER_TYPE, encodeFrame, type Frame } from "./devices/net/ethernet.ts";
export {
  type Datagram,
  decodeEcho,
  decodeIpv4,
  decodeUdp,
  ECHO_REPLY,
  ECHO_REQUEST,
  type Echo,
  encodeEcho,
  encodeIpv4,
  encodeUdp,
  type Ipv4Packet,
  PROTOCOL,
} from "./devices/net/ipv4.ts";
export { type CapturedFrame, readPcap, writePcap } from "./devices/net/pcap.ts";
export { Blkfront } from "./devices/vbd/front.ts";
export type { BlkfrontHandlers, BlkfrontOptions, BlkfrontState } from "./devices/vbd/front-options.ts";
export {
  Netfront,
  type NetfrontHandlers,
  type NetfrontOptions,
  type NetfrontState,
  type SendOptions,
} from "./devices/vnif/front.ts";
export type {
  DiskAction,
  DiskConfig,
  DiskFaultConfig,
  DomainAction,
  DomainConfig,
  FullMachineConfig,
  MachineAction,
  MachineConfig,
  ModelConfig,
  ProgramParameters,
  VifConfig,
} from "./machine/config.ts";
export type { ImageLoader, ImageSource } from "./machine/images.ts";
export { defineScenario, type Run, type Scenario, type TypedInput } from "./machine/scenario.ts";
export type { MachineView } from "./machine/view.ts";
export { PRODUCT } from "./replay/product.ts";
export { type Recording, type RecordOptions, record } from "./replay/record.ts";
export { type Divergence, Replayer, type ReplayResult, replay } from "./replay/replayer.ts";
export {
  CHUNK_EVENTS,
  type Outcome,
  Session,
  type SessionOptions,
  type SessionResult,
  STOPPED,
} from "./replay/session.ts";
export { traceSchema } from "./trace/cddl.ts";
export { differingFields, sameEvent } from "./trace/compare.ts";
export {
  type Emit,
  EVENT_KINDS,
  type EventKindName,
  type EventOf,
  FORMAT_VERSION,
  type TraceEvent,
} from "./trace/events.ts";
export type { ChunkRecord, Damage, ImageRecord, TraceEnd, TraceHeader } from "./trace/format.ts";
export { Trace } from "./trace/reader.ts";
export { TraceWriter } from "./trace/writer.ts";
export type { ModelFactory, ModelKernel, ModelProgram } from "./xen/model/kernel.ts";
